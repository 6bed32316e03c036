"""Arriving at a page in a real browser: keys work without a click, and map and gallery share half a screen."""

from pathlib import Path

import pytest

from curation.project import Project
from tests.browser.driver import Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def pets(server: tuple[str, Path]) -> Project:
    """600 training samples in three classes with one finished run called first."""
    path = make_project(server[1] / "pets", num_train=600)
    make_run(path, "first")
    return Project.open(path)


@pytest.mark.parametrize("is_by_link", [False, True])
def test_keys_decide_in_triage_on_arrival(browser: Browser, pets: Project, is_by_link: bool) -> None:
    browser.open(("explore" if is_by_link else "triage") + "?project=pets&run=first")
    if is_by_link:
        browser.page.get_by_role("link", name="Triage", exact=True).click()
    browser.page.locator(".gallery .card").first.wait_for()
    browser.settle()
    browser.page.keyboard.press("x")
    wait_for(lambda: len(pets.ledger().state()) == 1, 20, "the key decided nothing")
    assert pets.ledger().state()["excluded"].all()
    assert not browser.errors


def test_on_half_a_screen_the_map_is_beside_the_gallery_and_stays_while_it_scrolls(browser: Browser,
                                                                                   pets: Project) -> None:
    browser.page.set_viewport_size({"width": 900, "height": 900})
    browser.open("explore?project=pets&run=first")
    picture = browser.map().bounding_box()
    card = browser.page.locator(".gallery .card").first.bounding_box()
    assert picture["x"] + picture["width"] <= card["x"], "beside, not above"
    last = browser.page.locator(".gallery .card").last
    last.scroll_into_view_if_needed()
    assert last.bounding_box()["y"] < 900
    box = browser.map().locator("canvas").bounding_box()
    assert 0 <= box["y"] < 500, "the map stays in view"
    assert not browser.errors
