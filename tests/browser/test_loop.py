"""The whole loop in a real browser on the demo: train, lasso, pin, exclude, retrain under the decisions, export.

Waits for what the app shows or writes, never for a length of time alone; what must be true is read from disk.
"""

import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from curation.jobs.request import config_of
from curation.project import Project
from curation.samples.regions import in_polygon
from curation.samples.table import sample_table
from engine.contract.run_dir import RunDir
from tests.browser.driver import COUNTS, Browser, wait_for, wait_until_done

FEATURES_SECONDS = 240
"""Of 1,797 pictures on a CPU that others use as well, and the map of them."""
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.timeout(600)
def test_from_the_demo_to_a_curated_set_and_back(browser, server):
    home = server[1]
    train_the_demo(browser)
    project = Project.open(home / "demo")
    first = RunDir.of(project.path, "molere")
    wait_for(first.path.is_dir, 30, "no run was started")
    wait_until_done(first)
    assert config_of(first).features == "lite0", "a head on features is the default"
    assert config_of(first).embedding == "pca", "as the form was filled in"

    browser.open(f"explore?project=demo&run={first.name}")
    select_by_lasso(browser, project, first)
    pinned, excluded = decide(browser, project)

    again = retrain(browser, project, first)
    table = sample_table(project, again).set_index("sample_id")
    assert set(table.loc[pinned, "role"]) == {"validation"}
    assert set(table.loc[excluded, "role"]) == {"excluded"}
    history = again.read_history(table.loc[excluded, "signal_row"].to_numpy())
    assert set(history["role"]) == {"excluded"} and not history["routed"].any(), "in no epoch, in no set"
    browser.open(f"compare?project=demo&run={again.name}")
    browser.see("Test accuracy, A to B")
    browser.see("Decisions trained under")

    export_and_open(browser, project, again, pinned, excluded)
    assert not browser.errors, "the browser's console stays free of errors"


def train_the_demo(browser: Browser) -> None:
    """From nothing to its features, which begin by themselves, and a run on them, by three buttons, a number and a
    choice."""
    browser.open("")
    browser.press("Create the demo project")
    browser.see("All 1,797 samples have them.", milliseconds=1000 * FEATURES_SECONDS)
    browser.see("Audit the labels", milliseconds=1000 * FEATURES_SECONDS)
    browser.settle()
    browser.press("Triage")
    browser.see(re.compile(r"Probably mislabeled [0-9]+"))
    browser.open("train?project=demo")
    browser.page.get_by_text("New run", exact=True).click()
    browser.settle()
    epochs = browser.page.get_by_label(re.compile("^Epochs")).first
    epochs.fill("4")
    epochs.press("Enter")
    browser.settle()
    browser.page.get_by_text("More settings", exact=True).click()  # UMAP made the first map, and compiles itself anew
    browser.choose(browser.page.get_by_role("combobox", name="Map of samples"), "pca")
    browser.press("Start run")


def select_by_lasso(browser: Browser, project: Project, run: RunDir) -> None:
    """The number shown is that of the samples inside the polygon drawn, counted here over the whole table."""
    browser.lasso([(0.02, 0.1), (0.6, 0.1), (0.6, 0.5), (0.62, 0.97), (0.02, 0.97), (0.02, 0.11)])
    table = sample_table(project, run)
    inside = in_polygon(table[["x", "y"]].to_numpy(), browser.drawn_polygon())
    assert 10 <= inside.sum() < len(table), "the lasso must leave some in and some out"
    browser.see(f"{inside.sum():,} of {len(table):,} samples: inside the lasso.")
    shown = browser.page.locator(".gallery .card").evaluate_all("cards => cards.map(card => card.dataset.id)")
    assert set(shown) <= set(table["sample_id"][inside])


def decide(browser: Browser, project: Project) -> tuple[list[str], list[str]]:
    """Pin five and exclude five with the keyboard; the selection stays. Pinning what looks mislabeled asks."""
    pinned = browser.mark(0, 4)
    browser.page.keyboard.press("v")
    browser.settle()
    anyway = browser.page.get_by_role("button", name="Pin anyway")
    if anyway.count():
        anyway.click()
    browser.see(re.compile(r"5\s*pinned to validation"), COUNTS)
    browser.settle()
    excluded = browser.mark(5, 9)
    browser.page.keyboard.press("x")
    browser.see(re.compile(r"5\s*excluded"), COUNTS)
    browser.see("inside the lasso")
    state = project.ledger().state().set_index("sample_id")
    assert set(state.index[state["pin"] == "validation"]) == set(pinned) and len(pinned) == 5
    assert set(state.index[state["excluded"]]) == set(excluded) and len(excluded) == 5
    return pinned, excluded


def retrain(browser: Browser, project: Project, first: RunDir) -> RunDir:
    browser.page.get_by_role("link", name="Decide", exact=True).click()
    browser.see("5 more pinned to validation")
    browser.see("5 more excluded")
    browser.settle()
    browser.page.get_by_role("radio", name="One run", exact=True).click()
    browser.settle()
    browser.press("Retrain")
    browser.see(f"Started {first.name}-r2")
    again = project.run(f"{first.name}-r2")
    wait_until_done(again)
    return again


def export_and_open(browser: Browser, project: Project, run: RunDir, pinned: list[str], excluded: list[str]) -> None:
    """The export holds the pinned and not the excluded, and every picture in it opens."""
    browser.open(f"export?project=demo&run={run.name}")
    browser.press("Export")
    browser.see("Written")
    folder = Path(browser.page.locator('[data-testid="stCode"]').first.inner_text().strip())
    assert folder.parent == project.path / "exports"
    metadata = pd.read_csv(folder / "validation" / "metadata.csv", dtype={"label": str})
    assert set(pinned) <= set(metadata["sample_id"]) and not set(excluded) & set(metadata["sample_id"])
    table = sample_table(project, run)
    assert set(metadata["sample_id"]) == set(table["sample_id"][table["in_validation"]])
    for row in metadata.itertuples():
        with Image.open(folder / "validation" / row.file_name) as image:
            assert image.size == (8, 8), "a digit, as it was imported"
