"""The whole loop in a real browser on the demo: train, lasso, pin, exclude, retrain under the decisions, export.

Waits for what the app shows or writes, never for a length of time alone; what must be true is read from disk.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curation.project import Project
from curation.selection import in_polygon, sample_table
from engine.rundir import ENDED, RunDir

pytestmark = [pytest.mark.browser, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]
IDLE = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app && app.getAttribute('data-test-connection-state') === 'CONNECTED'
    && app.getAttribute('data-test-script-state') === 'notRunning'
    && !document.querySelector('[data-testid="stSkeleton"]') && !document.querySelector('[data-stale="true"]');
}"""
ACTION_MILLISECONDS = 30_000
TRAIN_SECONDS = 150


def chromium() -> str | None:
    """A Chromium to drive: the system's, else the one Playwright downloaded."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    downloads = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next((str(path) for path in sorted(downloads.glob("chromium-*/*/chrome"))), None)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The real app on an empty projects folder: its address and that folder. Leaves no run behind."""
    home = tmp_path / "projects"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"WHETSTONE_PROJECTS": str(home), "WHETSTONE_HOME": str(tmp_path / "home")}
    with open(tmp_path / "server.log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
                                   cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"), 60, "the app does not answer")
            yield f"http://127.0.0.1:{port}", home
        finally:
            for run in home.glob("*/runs/*"):
                if RunDir(run).read_status()["state"] not in ENDED:
                    RunDir(run).request_cancel()
            process.terminate()
            process.wait(20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def wait_for(is_so: Callable[[], bool], seconds: float, complaint: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"{complaint} within {seconds:g} s"
        time.sleep(0.2)


class Browser:
    """One tab of the app, with the waiting that Streamlit needs."""

    def __init__(self, page: Any, url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))

    def settle(self) -> None:
        """Wait until the script has run. The first wait lets the browser's message reach the server: without it, 22
        of 25 reads were stale."""
        self.page.wait_for_timeout(160)
        self.page.wait_for_function(IDLE, timeout=ACTION_MILLISECONDS)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}/{path}")
        self.page.wait_for_selector('[data-testid="stApp"]', timeout=60_000)
        self.settle()

    def see(self, text: str | re.Pattern[str], within: str = '[data-testid="stMain"]') -> None:
        """Wait until this is on the page."""
        from playwright.sync_api import expect

        expect(self.page.locator(within).first).to_contain_text(text, timeout=ACTION_MILLISECONDS)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def lasso(self, corners: list[tuple[float, float]]) -> None:
        """Draw a lasso; corners are fractions of the map's width and height."""
        self.page.wait_for_selector(".js-plotly-plot .draglayer", state="attached")
        self.settle()
        box = self.page.locator(".js-plotly-plot").first.bounding_box()
        spots = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
        self.page.mouse.move(*spots[0])
        self.page.mouse.down()
        for spot in spots[1:]:
            self.page.mouse.move(*spot, steps=8)
        self.page.mouse.up()
        self.see("inside the lasso")
        self.settle()

    def drawn_polygon(self) -> np.ndarray:
        """(M, 2) corners of the lasso in data coordinates, as Plotly has them."""
        path = self.page.evaluate("() => document.querySelector('.js-plotly-plot')._fullLayout.selections[0].path")
        return np.array([[float(v) for v in corner.split(",")] for corner in re.findall(r"[-\d.e]+,[-\d.e]+", path)])

    def mark(self, first: int, last: int) -> list[str]:
        """Mark a range of pictures in the gallery with click and shift-click; their sample ids."""
        cards = self.page.locator(".gallery .card")
        cards.nth(first).click()
        cards.nth(last).click(modifiers=["Shift"])
        self.settle()
        return [cards.nth(i).get_attribute("data-id") for i in range(first, last + 1)]


@pytest.fixture
def browser(server: tuple[str, Path]) -> Iterator[Browser]:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine; install the package chromium")
    with playwright.sync_playwright() as driver:
        app = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        page = app.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(ACTION_MILLISECONDS)
        yield Browser(page, server[0])
        app.close()


def wait_until_done(run: RunDir) -> None:
    """Wait for a run's end as its status says; a failure is told in its own words."""
    def has_ended() -> bool:
        return run.path.is_dir() and run.read_status()["state"] in ENDED

    wait_for(has_ended, TRAIN_SECONDS, f"run {run.name} did not end")
    status = run.read_status()
    assert status["state"] == "done", f"{status.get('error')}: {run.log_tail()}"


@pytest.mark.timeout(420)
def test_from_the_demo_to_a_curated_set_and_back(browser, server):
    home = server[1]
    train_the_demo(browser)
    project = Project.open(home / "demo")
    folder = project.path / "runs"
    wait_for(lambda: folder.is_dir() and any(folder.iterdir()), 30, "no run was started")
    first = RunDir(next(folder.iterdir()))
    wait_until_done(first)

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
    """From nothing to a run of the demo, by two buttons and a number."""
    browser.open("")
    browser.press("Create the demo project")
    browser.see("1,797")
    browser.open("train?project=demo")
    epochs = browser.page.get_by_label(re.compile("^Epochs")).first
    epochs.fill("4")
    epochs.press("Enter")
    browser.settle()
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
    """Pin five and exclude five with the keyboard; the selection stays."""
    pinned = browser.mark(0, 4)
    browser.page.keyboard.press("v")
    browser.see(re.compile(r"5\s*pinned to validation"), ".strip")
    browser.settle()
    excluded = browser.mark(5, 9)
    browser.page.keyboard.press("x")
    browser.see(re.compile(r"5\s*excluded\s*0\s*relabelled"), ".strip")
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
