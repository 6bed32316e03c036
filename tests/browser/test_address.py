"""Addresses in a real browser: a link, a reload, Back and Forward show what was shown, with one entry a page."""

import re
from pathlib import Path

import pytest

from curation.project import Project
from curation.views.routes.pages import DEFAULT_PAGE, PAGES
from tests.browser.driver import Browser
from tests.browser.test_explore import ROUND
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def pets(server: tuple[str, Path]) -> Project:
    """Two projects; of pets two runs, of which the app would open neither by itself."""
    path = make_project(server[1] / "pets", num_train=200)
    make_run(path, "first")
    make_run(path, "second", seed=1)
    make_run(make_project(server[1] / "zebras", num_train=20), "other")
    return Project.open(path)


def path_of(page: str) -> str:
    return "" if page == DEFAULT_PAGE else page


def shows(browser: Browser, page: str, run: str, seconds: int = 30) -> None:
    """Wait until the browser shows this page of this run, in its address as in its pickers."""
    browser.page.wait_for_url(re.compile(rf"/{path_of(page)}\?.*\bproject=pets&run={run}\b"), timeout=1000 * seconds)
    browser.see(PAGES[page][0], '[data-testid="stMain"] h1')
    browser.settle()
    picks = [browser.page.locator(f".st-key-{key} input").input_value() for key in ("project", "run")]
    assert picks == ["pets", run]


def test_every_page_opens_by_its_link_and_reload_back_and_forward_show_it(browser: Browser, pets: Project) -> None:
    runs = dict(zip(PAGES, ["first", "second"] * len(PAGES), strict=False))
    for page, run in runs.items():
        browser.open(f"{path_of(page)}?project=pets&run={run}")
        shows(browser, page, run)
    browser.reload()
    shows(browser, page, run)

    begun = browser.page.evaluate("history.length")
    walk = [name for name in PAGES if name != page]
    for name in walk:
        browser.page.get_by_role("link", name=PAGES[name][0], exact=True).click()
        shows(browser, name, run)
    assert browser.page.evaluate("history.length") - begun == len(walk), "one entry a page"
    for name in [*walk[-2::-1], page]:
        browser.page.go_back()
        shows(browser, name, run)
    browser.page.go_forward()
    shows(browser, walk[0], run)
    assert not browser.errors


def test_filters_lasso_and_opened_sample_are_kept_by_reload_back_and_link(browser: Browser, pets: Project) -> None:
    browser.open("explore?project=pets&run=first")
    plain = browser.page.url
    browser.lasso(ROUND)
    browser.page.locator(".st-key-explore-classes input").click()
    browser.page.keyboard.type("dog")
    browser.page.keyboard.press("Enter")
    browser.page.keyboard.press("Escape")
    browser.see(re.compile(r"of 200 samples: class = dog, inside the lasso\."))
    browser.settle()
    said = re.search(r"[\d,]+ of 200 samples: .+\.", browser.page.locator('[data-testid="stMain"]').inner_text())
    assert said
    polygon = browser.drawn_polygon().tolist()
    browser.page.locator(".gallery .card").nth(1).dblclick()
    browser.page.get_by_role("dialog").get_by_text("Nearest neighbours").wait_for()
    browser.settle()
    sample = browser.page.locator(".gallery .card").nth(1).get_attribute("data-id")
    address = browser.page.url
    assert f"sample={sample}" in address and len(address) < 1000

    browser.reload()
    browser.see(said[0])
    browser.page.get_by_role("dialog").get_by_text(str(sample)).first.wait_for()
    assert browser.drawn_polygon().tolist() == polygon
    browser.page.keyboard.press("Escape")
    browser.page.get_by_role("dialog").wait_for(state="hidden")
    browser.page.wait_for_url(lambda url: "sample=" not in url, timeout=30_000)
    browser.page.get_by_role("link", name="Decide", exact=True).click()
    browser.see("Decide", "h1")
    browser.settle()
    browser.choose(browser.page.locator(".st-key-run input"), "second")
    browser.page.go_back()
    browser.see(said[0])
    shows(browser, "explore", "first")

    browser.open(address.removeprefix(f"{browser.url}/").replace(f"sample={sample}", "sample=gone"))
    browser.see(said[0])
    browser.page.get_by_text("The link names the sample gone, which is not here").wait_for()
    browser.open(plain.removeprefix(f"{browser.url}/"))
    browser.see("200 of 200 samples: all samples.")
    assert not browser.errors
