"""Deciding in a real browser: by lasso with undo and redo, by keyboard alone, by a view's address, two at once."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from curation.project import Project
from curation.samples import saved_views
from curation.samples.regions import in_polygon
from curation.samples.table import sample_table
from tests.browser.driver import COUNTS, LOSE, Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(240)]
FOCUSED = """() => {
  let active = document.activeElement;
  while (active && active.shadowRoot && active.shadowRoot.activeElement) active = active.shadowRoot.activeElement;
  return Boolean(active && active.closest('.gallery'));
}"""


@pytest.fixture
def pets(server: tuple[str, Path]) -> Project:
    """600 training samples in three classes with one finished run called first."""
    path = make_project(server[1] / "pets", num_train=600)
    make_run(path, "first")
    return Project.open(path)


def decided(project: Project) -> pd.DataFrame:
    return project.ledger().state().set_index("sample_id")


def test_lasso_gallery_pin_undo_redo(browser: Browser, pets: Project) -> None:
    browser.open("explore?project=pets&run=first")
    browser.lasso([(0.1, 0.1), (0.6, 0.1), (0.6, 0.8), (0.1, 0.8), (0.1, 0.12)])
    table = sample_table(pets, pets.run("first"))
    inside = in_polygon(table[["x", "y"]].to_numpy(), browser.drawn_polygon())
    browser.see(f"{inside.sum():,} of 600 samples: inside the lasso.")
    marked = browser.mark(0, 2)
    assert set(marked) <= set(table["sample_id"][inside])
    browser.page.keyboard.press("v")
    browser.see(re.compile(r"3\s*pinned to validation"), COUNTS)
    assert decided(pets)["pin"].to_dict() == dict.fromkeys(marked, "validation")
    browser.page.keyboard.press("u")
    browser.miss("pinned to validation", COUNTS)
    assert decided(pets).empty
    browser.page.keyboard.press("Shift+U")
    browser.see(re.compile(r"3\s*pinned to validation"), COUNTS)
    assert decided(pets)["pin"].to_dict() == dict.fromkeys(marked, "validation")
    browser.see("inside the lasso")
    assert not browser.errors


PRESS_WITHOUT_FOCUS = """(gallery, isAway) => {
  const parent = gallery.parentNode, press = (key) => document.body.dispatchEvent(
    new KeyboardEvent('keydown', { key, bubbles: true }));
  gallery.getRootNode().activeElement.blur();
  if (!isAway) { press('v'); return; }
  gallery.remove();
  press('x');
  parent.append(gallery);
  gallery.__view.show(gallery.__view.data);
}"""


def test_a_key_pressed_while_the_gallery_is_mounted_anew_is_not_lost(browser: Browser, pets: Project) -> None:
    browser.open("explore?project=pets&run=first")
    gallery = browser.page.locator(".gallery")
    first, second = (browser.page.locator(".gallery .card").nth(i).get_attribute("data-id") for i in (0, 1))
    gallery.focus()
    gallery.evaluate(PRESS_WITHOUT_FOCUS, False)
    browser.see(re.compile(r"1\s*pinned to validation"), COUNTS)
    gallery.focus()
    gallery.evaluate(PRESS_WITHOUT_FOCUS, True)
    browser.see(re.compile(r"1\s*excluded"), COUNTS)
    assert decided(pets)["pin"].dropna().to_dict() == {first: "validation"}
    assert list(decided(pets).index[decided(pets)["excluded"]]) == [second]


def test_a_key_whose_message_is_lost_is_sent_again_and_done_once(browser: Browser, pets: Project) -> None:
    browser.open("explore?project=pets&run=first")
    gallery = browser.page.locator(".gallery")
    first = browser.page.locator(".gallery .card").nth(0).get_attribute("data-id")
    gallery.focus()
    gallery.evaluate(LOSE, 2)
    browser.page.keyboard.press("v")
    browser.page.keyboard.press("x")  # the cursor has moved on; both messages are lost
    wait_for(lambda: browser.page.wait_for_timeout(100) or len(decided(pets)) == 2, 30, "a decision is lost")
    browser.see(re.compile(r"1\s*pinned to validation"), COUNTS)
    browser.settle()
    assert decided(pets).loc[first, "pin"] == "validation" and len(pets.ledger().batches()) == 2
    assert "sending again" not in browser.page.locator(".gallery .hint").inner_text()


def test_a_dozen_samples_are_triaged_without_the_mouse(browser: Browser, pets: Project) -> None:
    browser.open("triage?project=pets&run=first")
    keys = browser.page.keyboard
    for _ in range(60):
        if browser.page.evaluate(FOCUSED):
            break
        keys.press("Tab")
    assert browser.page.evaluate(FOCUSED), "the queue can be reached with Tab"
    seen = []
    for number in range(12):
        cursor = browser.page.locator(".gallery .card.cursor")
        seen.append(cursor.get_attribute("data-id"))
        if number % 3 == 2:
            keys.press("r")
            browser.page.locator(".gallery .overlay input").wait_for()
            keys.press("Enter")  # the suggested class comes first
        else:
            keys.press("xv"[number % 3])
        wait_for(lambda done=number + 1: len(decided(pets)) == done, 20, f"decision {number + 1} is not in the ledger")
        browser.settle()
    state, suggested = decided(pets), sample_table(pets, pets.run("first")).set_index("sample_id")["suggested_label"]
    assert list(state.index.sort_values()) == sorted(seen), "one decision a sample, each on the one under the cursor"
    assert set(state.loc[seen[0::3], "excluded"]) == {True} and set(state.loc[seen[1::3], "pin"]) == {"validation"}
    relabelled = state.loc[seen[2::3], "label"]
    assert relabelled.notna().all()
    has_suggestion = suggested[relabelled.index].notna()
    assert (relabelled[has_suggestion] == suggested[relabelled.index][has_suggestion]).all() and has_suggestion.any()
    assert set(pets.ledger().batches()["view"].str.partition(":")[0]) == {"triage"}
    browser.see("12 decided here")
    assert not browser.errors


def test_a_saved_view_opens_by_its_address_in_a_fresh_browser(open_browser: Callable[[], Browser],
                                                              pets: Project) -> None:
    first = open_browser()
    first.open("explore?project=pets&run=first")
    first.page.locator(".st-key-explore-classes input").click()
    first.page.keyboard.type("dog")
    first.page.keyboard.press("Enter")
    first.page.keyboard.press("Escape")
    first.settle()
    first.lasso([(0.05, 0.05), (0.7, 0.05), (0.7, 0.95), (0.05, 0.95), (0.05, 0.07)])
    said = re.search(r"([\d,]+) of 600 samples: (.+)\.", first.page.locator('[data-testid="stMain"]').inner_text())
    assert said and "class" in said[2] and "inside the lasso" in said[2]
    first.press("Views")
    first.page.get_by_label("Save this selection as").fill("my-dogs")
    first.page.keyboard.press("Enter")
    first.settle()
    first.page.get_by_role("button", name="Save", exact=True).click()
    wait_for(lambda: saved_views.names(pets) == ["my-dogs"], 20, "the view is not saved")
    first.page.wait_for_url(re.compile("view=my-dogs"), timeout=20_000)

    fresh = open_browser()
    fresh.open(first.page.url.removeprefix(f"{fresh.url}/"))
    fresh.see(said[0])
    table = sample_table(pets, pets.run("first"))
    inside = in_polygon(table[["x", "y"]].to_numpy(), fresh.drawn_polygon())
    assert int(said[1]) == (inside & (table["current_label"] == "dog")).sum() > 0
    assert not first.errors and not fresh.errors


def test_two_people_see_each_others_decisions_and_none_is_lost(open_browser: Callable[[], Browser],
                                                               pets: Project) -> None:
    people = {name: open_browser() for name in ("ada", "bob")}
    for name, browser in people.items():
        browser.open("explore?project=pets&run=first")
        browser.page.get_by_role("textbox", name="Your name").fill(name)
        browser.page.keyboard.press("Enter")
        browser.settle()
    ada, bob = people.values()
    (first,) = ada.mark(0, 0)
    ada.page.keyboard.press("v")
    bob.see(re.compile(r"1\s*pinned to validation"), COUNTS)  # bob did nothing
    bob.page.locator(f'.gallery .card[data-id="{first}"]').click()
    bob.settle()
    bob.page.keyboard.press("t")
    ada.see(re.compile(r"1\s*pinned to training"), COUNTS)
    assert decided(pets).loc[first, "pin"] == "train"

    picked = {name: browser.mark(i, i)[0] for i, (name, browser) in enumerate(people.items(), start=3)}
    for browser in people.values():  # at once: neither waits for the other
        browser.page.keyboard.press("x")
    for browser in people.values():
        browser.see(re.compile(r"2\s*excluded"), COUNTS)
    state, batches = decided(pets), pets.ledger().batches()
    assert set(state.index[state["excluded"]]) == set(picked.values())
    assert sorted(batches["who"]) == ["ada", "ada", "bob", "bob"]
    ada.page.keyboard.press("u")  # her own exclusion, though his may be newer
    for browser in people.values():
        browser.see(re.compile(r"(?<!\d)1\s*excluded"), COUNTS)
    assert list(decided(pets).query("excluded").index) == [picked["bob"]]
    ada.page.keyboard.press("Shift+U")
    for browser in people.values():
        browser.see(re.compile(r"(?<!\d)2\s*excluded"), COUNTS)
    ada.open("decide?project=pets&run=first")
    ada.see(re.compile(r"Conflicts|conflict"))
    ada.see("bob")
    assert not ada.errors and not bob.errors
