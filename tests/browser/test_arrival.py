"""Arriving at a page in a real browser: keys work without a click, and map and gallery share half a screen."""

from pathlib import Path

import pytest

from curation.project import Project
from tests.browser.driver import COUNTS, Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def pets(server: tuple[str, Path]) -> Project:
    """600 training samples in three classes with one finished run called first."""
    path = make_project(server[1] / "pets", num_train=600)
    make_run(path, "first")
    return Project.open(path)


def test_keys_decide_in_triage_on_arrival(browser: Browser, pets: Project) -> None:
    browser.open("triage?project=pets&run=first")
    a_key_decides(browser, pets, "by its address", 1)
    browser.open("explore?project=pets&run=first")
    browser.page.get_by_role("link", name="Triage", exact=True).click()
    a_key_decides(browser, pets, "by the sidebar", 2)
    assert not browser.errors


def a_key_decides(browser: Browser, pets: Project, how: str, num_decided: int) -> None:
    browser.see("Triage", "h1")  # Explore has a gallery as well
    browser.page.locator(".gallery .card").first.wait_for()
    browser.settle()
    browser.page.keyboard.press("x")
    wait_for(lambda: len(pets.ledger().state()) == num_decided, 20, f"opened {how}, the key decided nothing")
    assert pets.ledger().state()["excluded"].all()


def test_map_and_gallery_share_the_screen_under_a_low_header_and_the_map_stays(browser: Browser, pets: Project) -> None:
    for width, num_rows in ((1440, 3), (900, 1)):
        browser.page.set_viewport_size({"width": width, "height": 900})
        browser.open("explore?project=pets&run=first")
        check_the_screen(browser, num_rows)
    assert not browser.errors


def check_the_screen(browser: Browser, num_rows: int) -> None:
    picture = browser.map().bounding_box()
    cards = browser.page.locator(".gallery .card")
    boxes = [card.bounding_box() for card in cards.all()]
    assert picture["x"] + picture["width"] <= boxes[0]["x"], "beside, not above"
    whole = {box["y"] for box in boxes if box["y"] + box["height"] <= 900}
    assert len(whole) >= num_rows, "so many rows of pictures show before anything is scrolled"
    chips = browser.page.locator(f"{COUNTS} button:visible", has_text="in ")
    assert {"546 in training", "54 in validation"} <= {" ".join(text.split()) for text in chips.all_inner_texts()}
    assert chips.evaluate_all("chips => chips.every((chip) => chip.scrollWidth <= chip.clientWidth)"), "whole"
    cards.last.scroll_into_view_if_needed()
    assert cards.last.bounding_box()["y"] < 900
    box = browser.map().locator("canvas").bounding_box()
    assert 0 <= box["y"] < 500, "the map stays in view"
