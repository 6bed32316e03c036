"""Every page under axe-core in both themes, and our components entered, used and left by keyboard. One app, one tab."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.project import Project
from curation.views.routes.pages import PAGES
from engine.contract.run_dir import RunDir
from tests.browser.conftest import SharedApp, tabs_on
from tests.browser.driver import Browser
from tests.fake_studies import make_study
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]
NUM = 60
AUDIT = ("Find", "Estimate", "Noise matrix", "Reviewers", "Report")
WITHIN = """() => {
  const names = [];
  let at = document.activeElement;
  while (at.shadowRoot && at.shadowRoot.activeElement) at = at.shadowRoot.activeElement;
  for (; at; at = at.parentElement) names.push(...at.classList);
  return names;
}"""
"""Class names of what has the keyboard and of all around it, up to the root of its component."""
DIALOG = '[role="dialog"]'


@pytest.fixture(scope="module")
def opened(shared_app: SharedApp, chrome: Any) -> Iterator[tuple[Path, Browser]]:
    """A project with two runs, one with predictions to audit by, one decision and a study; a tab on it."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    home = shared_app.new_home()
    path = make_project(home / "pets", num_train=NUM)
    for seed, name in enumerate(("first", "second")):
        make_run(path, name, seed=seed)
    logits = np.random.default_rng(0).normal(0, 1, (NUM, 3))
    logits[np.arange(NUM), np.arange(NUM) % 3] += 3
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    RunDir.of(path, "first").write_probabilities(probs, "label_head")
    Project.open(path).ledger().exclude(["train-00003"], who="ada", view="test")
    make_study(path)
    with tabs_on(chrome, shared_app.address) as opened_tab:
        browser = opened_tab()
        browser.open("data?project=pets&run=first")
        yield home, browser


@pytest.fixture
def tab(opened: tuple[Path, Browser], shared_app: SharedApp) -> Browser:
    """The tab, and the app looks at its project."""
    home, browser = opened
    shared_app.show(home)
    return browser


def found_by_axe(tab: Browser, **options: Any) -> list[str]:
    """What axe-core finds, with where and why. Nothing is left out: Streamlit's own widgets are held to it as well."""
    from axe_playwright_python.sync_playwright import Axe

    if not tab.page.evaluate("'axe' in window"):
        tab.page.evaluate(Axe().axe_script)
    answer = tab.page.evaluate("options => axe.run(options)", {"resultTypes": ["violations"], **options})
    return [f"{rule['id']} at {node['target']}: {node['failureSummary']}" for rule in answer["violations"]
            for node in rule["nodes"]]


DRESSED = """() => {
  const colour = (node) => getComputedStyle(node).color;
  const app = colour(document.querySelector('[data-testid="stApp"]'));
  return [...document.querySelectorAll('.stBidiComponent')].every((node) => colour(node) === app);
}"""
"""Streamlit draws its components anew one after another."""


def check_in_both_themes(tab: Browser) -> None:
    assert not found_by_axe(tab)
    tab.page.emulate_media(color_scheme="dark")  # without a reload: the app follows the browser at once
    try:
        tab.page.wait_for_function("() => document.documentElement.style.colorScheme === 'dark'")
        tab.settle()  # a page that is drawn anew just now is dressed once more
        tab.page.wait_for_function(DRESSED)
        ground = tab.page.locator('[data-testid="stApp"]').evaluate("app => getComputedStyle(app).backgroundColor")
        assert ground == "rgb(17, 24, 22)", "theme.dark.backgroundColor"
        assert not found_by_axe(tab, runOnly={"type": "rule", "values": ["color-contrast"]})
    finally:
        tab.page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_accessible_light_and_dark(tab: Browser, page: str) -> None:
    tab.go_to(page)
    if page in ("explore", "triage"):
        tab.page.locator(".gallery .card").first.wait_for()
    check_in_both_themes(tab)


@pytest.mark.parametrize("section", AUDIT)
def test_a_section_of_the_audit_is_accessible(tab: Browser, section: str) -> None:
    if section == AUDIT[0]:
        tab.go_to("audit")
    tab.page.get_by_role("radio", name=section, exact=True).click()
    tab.settle()
    if section == "Find":
        tab.page.locator(".review .answers button").first.wait_for()
    check_in_both_themes(tab)


def test_the_dialog_of_a_sample_is_accessible(tab: Browser) -> None:
    tab.go_to("explore")
    tab.page.locator(".gallery .card").first.dblclick()
    tab.page.locator(DIALOG).get_by_text("Decisions on it").wait_for()
    tab.settle()
    check_in_both_themes(tab)
    tab.page.keyboard.press("Escape")
    tab.page.locator(DIALOG).wait_for(state="detached")
    tab.settle()


def test_a_map_on_show_is_drawn_anew_when_the_theme_changes(tab: Browser) -> None:
    tab.go_to("explore")
    tab.map()
    try:
        with tab.page.expect_request(lambda asked: "/api/map?" in asked.url and "theme=dark" in asked.url):
            tab.page.emulate_media(color_scheme="dark")
    finally:
        tab.page.emulate_media(color_scheme="light")


def test_an_open_menu_is_legible_in_the_dark(tab: Browser) -> None:
    """Contrast alone: Streamlit's stPopoverBody scrolls without a part that takes the keyboard, which axe-core minds
    (scrollable-region-focusable); Chromium itself gives it the keyboard."""
    try:
        tab.page.emulate_media(color_scheme="dark")
        tab.page.get_by_role("button", name="Glossary").click()
        tab.page.get_by_role("dialog", name="Glossary").wait_for()
        tab.settle()
        assert not found_by_axe(tab, runOnly={"type": "rule", "values": ["color-contrast"]})
        tab.page.keyboard.press("Escape")
    finally:
        tab.page.emulate_media(color_scheme="light")


def tab_until(tab: Browser, name: str, is_within: bool, key: str = "Tab", most: int = 60) -> None:
    """Press Tab until the keyboard is, or is no longer, inside what has this class."""
    for _ in range(most):
        if (name in tab.page.evaluate(WITHIN)) == is_within:
            return
        tab.page.keyboard.press(key)
    raise AssertionError(f"{most} times {key} do not {'reach' if is_within else 'leave'} .{name}")


def test_map_and_gallery_are_entered_used_and_left_by_keyboard(tab: Browser) -> None:
    tab.go_to("explore")
    tab.map()
    keys = tab.page.keyboard
    tab_until(tab, "map", True)
    before = tab.page.locator(".map").evaluate("map => map.__view.box")
    keys.press("+")
    after = tab.page.locator(".map").evaluate("map => map.__view.box")
    assert after[1] - after[0] < before[1] - before[0], "plus zooms"
    tab_until(tab, "map", False)
    tab_until(tab, "grid", True)
    keys.press("ArrowRight")
    keys.press(" ")
    marked = tab.page.locator(".gallery .card[aria-selected=true]")
    assert marked.count() == 1 and marked.get_attribute("id") == tab.page.locator(".grid").get_attribute(
        "aria-activedescendant"), "a screen reader hears the one that is marked"
    tab.settle()
    tab_until(tab, "gallery", False)
    tab_until(tab, "gallery", True, key="Shift+Tab", most=6)
    keys.press("Escape")
    tab.settle()


def test_the_review_is_entered_used_and_left_by_keyboard(tab: Browser) -> None:
    tab.go_to("audit")
    tab.page.get_by_role("radio", name="Find", exact=True).click()
    tab.page.locator(".review .answers button").first.wait_for()
    tab.settle()
    tab_until(tab, "review", True)
    said = tab.page.locator(".review .said")
    assert said.inner_text().startswith("Sample 1 of")
    tab_until(tab, "answers", True)
    tab.page.keyboard.press("Enter")  # the answer that the keyboard is on
    tab.page.wait_for_function("""() => {
      const walk = (root) => root.querySelector('.review') || [...root.querySelectorAll('*')]
        .filter((node) => node.shadowRoot).map((node) => walk(node.shadowRoot)).find(Boolean);
      return walk(document).querySelector('.said').textContent.startsWith('Sample 2 of');
    }""")
    tab.settle()
    tab_until(tab, "review", False, most=20)
    assert not tab.errors
