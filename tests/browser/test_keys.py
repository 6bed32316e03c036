"""The keyboard in a real browser: the focused picture is always in sight, and digits mean classes that are digits."""

import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.project import Project
from engine.contract.run_dir import RunDir
from tests.browser.driver import Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]
FOCUSED = """gallery => {
  const card = gallery.querySelector('.card.cursor').getBoundingClientRect();
  const bars = [...document.querySelectorAll('.st-key-explore_bar, .st-key-triage_bar')];
  const below = Math.max(60, ...bars.map((bar) => bar.getBoundingClientRect()).filter((bar) => bar.left < card.right
    && bar.right > card.left).map((bar) => bar.bottom));
  return { top: card.top - below, bottom: innerHeight - card.bottom };
}"""
"""How far the focused picture is from the bar above it and from the lower edge of the window, in pixels."""


def project_of(home: Path, classes: tuple[str, ...], num: int = 600) -> Project:
    """A project with a run whose predictions know the truth."""
    path = make_project(home / "pets", num_train=num, classes=classes)
    make_run(path, "first")
    logits = np.random.default_rng(0).normal(0, 1, (num, len(classes)))
    logits[np.arange(num), np.arange(num) % len(classes)] += 3
    RunDir.of(path, "first").write_probabilities(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), "label_head")
    return Project.open(path)


def current(browser: Browser) -> dict[str, Any]:
    """The sample on show in a review."""
    found: dict[str, Any] = browser.page.locator(".review").evaluate(
        "review => review.__view.data.items[review.__view.at]")
    return found


def test_the_focused_picture_is_wholly_in_sight_wherever_keys_lead(browser: Browser,
                                                                   server: tuple[str, Path]) -> None:
    project_of(server[1], ("cat", "dog", "bird"))
    browser.open("data?project=pets&run=first")
    for width, page in product((1440, 900), ("triage", "explore")):
        browser.page.set_viewport_size({"width": width, "height": 900})
        browser.go_to(page)
        gallery = browser.page.locator(".gallery")
        gallery.locator(".card").first.wait_for()
        gallery.focus()
        for key in ("ArrowDown",) * 6 + ("x", "x") + ("ArrowUp",) * 7 + ("End", "Home"):
            browser.page.keyboard.press(key)
            browser.settle()
            gaps = gallery.evaluate(FOCUSED)
            assert min(gaps.values()) >= 0, f"{page} of {width}, after {key}: {gaps}"
    assert not browser.errors


def test_where_classes_are_digits_a_digit_means_its_class(browser: Browser, server: tuple[str, Path]) -> None:
    project = project_of(server[1], ("7", "1", "10"), num=240)
    browser.open("audit?project=pets&run=first&section=Find")
    browser.page.locator(".review .class.given").wait_for()
    said: dict[str, tuple[str, str]] = {}
    for number, key in enumerate("17711"):
        at = current(browser)
        keys = browser.page.locator(".review .answers kbd").all_inner_texts()
        assert not {"2", "3", "4", "5", "6"} & set(keys) and "1, 7" in keys, "shown keys tell"
        browser.page.keyboard.press("2")  # no class, and no answer
        browser.page.keyboard.press(key)
        said[at["id"]] = ("given" if key == at["given"] else "suggested" if key == at["suggestion"] else "other", key)
        wait_for(lambda num=number + 1: browser.page.wait_for_timeout(50) or len(project.verdicts().in_force()) == num,
                 30, "the answer is not in the log")
    rows = project.verdicts().in_force()
    assert dict(zip(rows["sample_id"], zip(rows["verdict"], rows["label"], strict=True), strict=True)) == said

    browser.open("triage?project=pets&run=first")
    browser.page.locator(".gallery .card").first.wait_for()
    first = browser.page.locator(".gallery .card.cursor").get_attribute("data-id")
    assert browser.page.locator(".gallery .hint").inner_text().endswith("; 1, 7 relabel.")
    browser.page.keyboard.press("1")
    browser.see(re.compile("1 decided here"))
    assert project.ledger().state().set_index("sample_id").loc[first, "label"] == "1"
    assert not browser.errors


def test_a_sample_is_relabelled_by_the_queues_keys_in_its_dialog_and_the_focus_goes_on(
        browser: Browser, server: tuple[str, Path]) -> None:
    project = project_of(server[1], ("7", "1", "10"), num=240)
    browser.open("triage?project=pets&run=first")
    cards = browser.page.locator(".gallery .card")
    cards.first.wait_for()
    first, second, third = (cards.nth(i).get_attribute("data-id") for i in range(3))

    def labels() -> dict[str, str]:
        state = project.ledger().state()
        return dict(zip(state["sample_id"], state["label"], strict=True))

    browser.page.keyboard.press("ArrowRight")
    browser.page.keyboard.press("Enter")
    dialog = browser.page.get_by_role("dialog")
    dialog.locator(".relabel .open").wait_for()
    browser.settle()
    browser.page.keyboard.press("r")
    dialog.locator(".relabel input").wait_for()
    browser.page.keyboard.type("1")
    browser.page.keyboard.press("Enter")  # the class of that very name, before 10
    wait_for(lambda: browser.page.wait_for_timeout(50) or labels() == {second: "1"}, 20, "the key relabelled nothing")
    browser.settle()
    browser.page.keyboard.press("7")
    wait_for(lambda: browser.page.wait_for_timeout(50) or labels() == {second: "7"}, 20, "nor did the digit")
    browser.settle()
    browser.page.keyboard.press("Escape")
    dialog.wait_for(state="hidden")
    browser.settle()
    wait_for(lambda: browser.page.wait_for_timeout(50) or cards.nth(1).get_attribute("data-id") != second, 20,
             "the sample does not leave the queue")
    assert [cards.nth(i).get_attribute("data-id") for i in range(2)] == [first, third]
    assert browser.page.locator(".gallery .card.cursor").get_attribute("data-id") == third, "where one was"
    assert not browser.errors
