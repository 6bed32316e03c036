"""Exploring in a real browser: opening a sample leaves everything as it was."""

from pathlib import Path

import pytest

from curation.project import Project
from tests.browser.driver import Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]
ROUND = [(0.1, 0.1), (0.6, 0.1), (0.6, 0.8), (0.1, 0.8), (0.1, 0.12)]


@pytest.fixture
def pets(server: tuple[str, Path]) -> Project:
    """600 training samples in three classes with one finished run called first."""
    path = make_project(server[1] / "pets", num_train=600)
    make_run(path, "first")
    return Project.open(path)


def on_offer(browser: Browser) -> list[str]:
    """The buttons that decide, as they are labelled, and whether they can be pressed."""
    buttons = browser.page.locator(".st-key-explore_actions button:visible")
    return [f"{button.inner_text()} {button.is_enabled()}" for button in buttons.all()]


def marked(browser: Browser) -> list[str]:
    return [card.get_attribute("data-id") for card in browser.page.locator(".gallery .card.marked").all()]


def what_stands(browser: Browser) -> tuple[list[str], list[str]]:
    """The buttons and the marks, read until they hold still: a draw that came late shows its button twice."""
    seen: list[tuple[list[str], list[str]]] = []

    def holds_still() -> bool:
        browser.settle()
        seen.append((on_offer(browser), marked(browser)))
        return len(seen) > 2 and seen[-1] == seen[-2] == seen[-3]

    wait_for(holds_still, 30, "buttons and marks did not hold still")
    return seen[-1]


def look(browser: Browser) -> None:
    """Wait for the opened sample and close it again."""
    browser.page.get_by_role("dialog").get_by_text("Nearest neighbours").wait_for()
    browser.settle()
    browser.page.keyboard.press("Escape")
    browser.page.get_by_role("dialog").wait_for(state="hidden")
    browser.settle()


def test_opening_a_sample_leaves_selection_marks_and_buttons_alone(browser: Browser, pets: Project) -> None:
    browser.open("explore?project=pets&run=first")
    browser.lasso(ROUND)
    opening_leaves_all(browser, num_marked=0)
    browser.mark(0, 2)
    opening_leaves_all(browser, num_marked=3)
    browser.see("inside the lasso")
    assert not browser.errors


def test_a_panel_that_is_shut_while_the_page_is_drawn_stays_shut(browser: Browser, pets: Project) -> None:
    browser.open("explore?project=pets&run=first")
    for clicked in (1, 5, 1, 5):
        browser.page.locator(".gallery .card").nth(clicked).click(click_count=2, delay=90)
        browser.page.get_by_role("dialog").wait_for()
        browser.page.keyboard.press("Escape")  # what follows a double click is still on its way
        wait_for(lambda: browser.settle() or not browser.page.get_by_role("dialog").count(), 20, "it is open again")
        for _ in range(3):
            browser.settle()
            assert not browser.page.get_by_role("dialog").count()
    assert not browser.errors


def opening_leaves_all(browser: Browser, num_marked: int) -> None:
    """Open samples with the mouse and with the keyboard."""
    before = what_stands(browser)
    assert any("True" in button for button in before[0]) and len(before[1]) == num_marked
    cards = browser.page.locator(".gallery .card")
    for clicked in (5, 1):
        cards.nth(clicked).click(click_count=2, delay=90)
        look(browser)
        assert what_stands(browser) == before
    browser.page.locator(".gallery").focus()
    browser.page.keyboard.press("ArrowRight")
    browser.page.keyboard.press("Enter")
    look(browser)
    assert what_stands(browser) == before
