"""Auditing in a real browser by keyboard alone: closed and come back to, undone, exported; lost messages come again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.project import Project
from engine.contract.manifest import MANIFEST_NAME, ManifestInfo, manifest_schema, read_info, read_manifest
from engine.contract.run_dir import RunDir
from tests.browser.driver import LOSE, Browser, wait_for
from tests.fakes import make_project, make_run

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(300)]
NUM = 240
KEYS = "12346o1223"
"""Answers in turn: every kind, o with a class typed."""
CURRENT = """review => {
  const view = review.__view, item = view.data.items[view.at];
  return item ? { id: item.id, given: item.given, suggestion: item.suggestion, at: view.at } : null;
}"""


@pytest.fixture
def clothes(server: tuple[str, Path]) -> Project:
    """240 training samples with keys as Clothing1M has them, and a run whose predictions know the truth."""
    path = make_project(server[1] / "clothes", num_train=NUM, classes=("Shirt", "Knitwear", "Down Coat"))
    make_run(path, "first")
    rng, truth = np.random.default_rng(0), np.arange(NUM) % 3
    logits = rng.normal(0, 1, (NUM, 3))
    logits[np.arange(NUM), truth] += 3
    RunDir.of(path, "first").write_probabilities(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), "label_head")
    rows = read_manifest(path)
    rows.loc[rows["split"] == "train", "clean_label"] = None
    info = ManifestInfo(classes=read_info(path).classes, root="images", source="clothing1m")
    table = pa.Table.from_pandas(rows, preserve_index=False)
    pq.write_table(table.cast(manifest_schema(table.schema, info)), path / MANIFEST_NAME)
    return Project.open(path)


def current(browser: Browser) -> dict[str, Any]:
    """The sample on show."""
    found: dict[str, Any] | None = browser.page.locator(".review").evaluate(CURRENT)
    assert found is not None, "a sample is on show"
    return found


def answer(browser: Browser, key: str, classes: tuple[str, ...]) -> tuple[str, str, str | None]:
    """Press one key (and choose a class, for o); (sample, what it says, class meant)."""
    at = current(browser)
    browser.page.keyboard.press(key)
    if key == "o":
        other = next(name for name in classes if name not in (at["given"], at["suggestion"]))
        browser.page.locator(".review .overlay input").wait_for()
        browser.page.keyboard.type(other[:4].lower())
        browser.page.keyboard.press("Enter")
        return at["id"], "other", other
    says = {"1": ("given", at["given"]), "2": ("suggested", at["suggestion"]), "3": ("both", at["given"]),
            "4": ("neither", None), "6": ("unsure", None)}[key]
    return at["id"], *says


def in_force(project: Project) -> pd.DataFrame:
    return project.verdicts().in_force("audit")


def wait_for_verdicts(browser: Browser, project: Project, num: int) -> None:
    wait_for(lambda: browser.page.wait_for_timeout(50) or len(in_force(project)) == num, 60,
             f"{num} verdicts are not in the log")
    browser.settle()


def read_pairs(path: Path) -> dict[str, int]:
    return {key: int(label) for key, _, label in (line.rpartition(" ") for line in path.read_text().splitlines())}


def test_thirty_are_audited_by_keyboard_and_five_more_after_coming_back(open_browser: Callable[[], Browser],
                                                                        clothes: Project) -> None:
    first = open_browser()
    first.open("audit?project=clothes&run=first&section=Find")
    first.page.locator(".review .class.given").wait_for()
    said = [answer(first, KEYS[number % len(KEYS)], clothes.classes) for number in range(30)]
    assert len({sample_id for sample_id, _, _ in said}) == 30, "each answer shows the next sample at once"
    wait_for_verdicts(first, clothes, 30)
    assert not first.errors
    first.page.context.close()

    again = open_browser()
    again.open("audit?project=clothes&run=first")
    again.see("30 of ")
    again.page.get_by_role("button", name="Go on with Find").click()
    again.settle()
    again.page.locator(".review .class.given").wait_for()
    assert current(again)["at"] == 30 and "30 of" in again.page.locator(".review .count").inner_text()
    said += [answer(again, key, clothes.classes) for key in "21o42"]
    wait_for_verdicts(again, clothes, 35)
    again.page.keyboard.press("u")
    assert current(again)["id"] == said[-1][0], "undo goes to what it undid"
    wait_for_verdicts(again, clothes, 34)
    undone, kept = said[-1][0], {sample_id: (verdict, label) for sample_id, verdict, label in said[:-1]}

    verdicts = in_force(clothes).set_index("sample_id")
    assert dict(zip(verdicts.index, zip(verdicts["verdict"], verdicts["label"], strict=True), strict=True)) == kept
    assert set(verdicts["batch"]) == {1} and verdicts["seconds"].between(0, 60).all()

    again.open("export?project=clothes&run=first")
    again.choose(again.page.locator(".st-key-export-what input"), "Corrected labels as Clothing1M's files")
    again.press("Export")
    again.see("Written")
    folder = Path(again.page.locator('[data-testid="stCode"]').first.inner_text().strip())
    known = {sample_id: clothes.classes.index(label) for sample_id, (_, label) in kept.items() if label is not None}
    assert read_pairs(folder / "corrected_label_kv.txt") == known and undone not in known
    left_out = {sample_id for sample_id, (verdict, _) in kept.items() if verdict == "neither"}
    assert set((folder / "excluded_key_list.txt").read_text().splitlines()) == left_out and left_out
    assert {verdict for verdict, _ in kept.values()} == {"given", "suggested", "both", "neither", "other", "unsure"}
    assert not again.errors


def test_an_answer_whose_message_is_lost_is_sent_again_and_counts_once(browser: Browser, clothes: Project) -> None:
    browser.open("audit?project=clothes&run=first&section=Find")
    browser.page.locator(".review .class.given").wait_for()
    browser.page.locator(".review").evaluate(LOSE, 3)
    said = [answer(browser, key, clothes.classes) for key in "1221"]
    wait_for_verdicts(browser, clothes, 4)
    assert in_force(clothes)["sample_id"].tolist() == [sample_id for sample_id, _, _ in said]
    assert len(clothes.verdicts().rows()) == 4
    assert "sending again" not in browser.page.locator(".review .hint").inner_text()


def test_looking_back_replaces_an_answer_and_nothing_of_the_model_shows_in_the_random_queue(browser: Browser,
                                                                                            clothes: Project) -> None:
    browser.open("audit?project=clothes&run=first&section=Estimate")
    browser.press("Draw the sample")
    browser.page.locator(".review .class.given").wait_for()
    assert browser.page.locator(".review .class.suggested").count() == 0
    assert browser.page.locator('.review .answers [data-verdict="suggested"]').count() == 0
    first = current(browser)
    browser.page.keyboard.press("2")
    assert current(browser)["at"] == 0, "there is no suggestion to accept"
    sample_id, _, _ = answer(browser, "1", clothes.classes)
    wait_for_verdicts(browser, clothes, 1)
    browser.page.keyboard.press("ArrowLeft")
    assert current(browser)["id"] == sample_id == first["id"]
    assert browser.page.locator(".review .answers .chosen").get_attribute("data-verdict") == "given"
    browser.page.keyboard.press("4")
    wait_for(lambda: browser.page.wait_for_timeout(50) or in_force(clothes)["verdict"].tolist() == ["neither"], 30,
             "the new answer does not replace the old")
    assert current(browser)["at"] == 1 and len(in_force(clothes)) == 1
    assert not browser.errors
