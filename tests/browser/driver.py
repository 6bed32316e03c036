"""The real app in a real Chromium: a server of its own, a tab, and the waiting that both need.

Waits for what the app shows or writes, never for a length of time alone.
"""

import os
import re
import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from curation.views.routes.pages import PAGES
from engine.contract.run_dir import ENDED, RunDir

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]
IDLE = """() => {
  const app = document.querySelector('[data-testid="stApp"]');
  return app && app.getAttribute('data-test-connection-state') === 'CONNECTED'
    && app.getAttribute('data-test-script-state') === 'notRunning'
    && !document.querySelector('[data-testid="stSkeleton"]') && !document.querySelector('[data-stale="true"]');
}"""
LOSE = """(node, num) => {
  const real = node.__view.component;
  let left = num;
  node.__view.component = Object.create(real, { setTriggerValue: { value: (...sent) => {
    if (left > 0) left -= 1; else real.setTriggerValue(...sent);
  } } });
}"""
"""Of a component's root: the next `num` messages to the server are lost."""
COUNTS = ".st-key-explore_counts"
"""What people decided and the run did, counted on top of Explore."""
ACTION_MILLISECONDS = 30_000
FIRST_MILLISECONDS = 120_000
"""Of a page's first opening: on a machine that has just installed everything, all is compiled then."""
TRAIN_SECONDS = 150


def chromium() -> str | None:
    """A Chromium to drive: the system's, else the one Playwright downloaded. The shell first: it is Chromium without
    the pages of a browser's own window, and a page in it takes two thirds of the processor's time."""
    for name in ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    downloads = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    return next((str(path) for path in sorted(downloads.glob("chromium-*/*/chrome"))), None)


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
        self.addresses: list[str] = []
        """Where the tab has been, in order."""
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(f"{error} {error.stack or ''}"))
        page.on("framenavigated", lambda frame: frame.parent_frame or self.addresses.append(frame.url))

    def evidence(self) -> str:
        """What the tab shows and has complained of, for a test that failed."""
        try:
            main = self.page.locator('[data-testid="stMain"]')
            shown = (main if main.count() else self.page.locator("body")).first.inner_text(timeout=2_000)[:3_000]
        except Exception as error:  # a tab that crashed shows nothing
            shown = repr(error)
        return "\n".join(["addresses:", *self.addresses[-8:], "errors:", *self.errors, "shown:", shown])

    def settle(self, milliseconds: int = ACTION_MILLISECONDS) -> None:
        """Wait until the script has run. The first wait lets the browser's message reach the server: without it, 22
        of 25 reads were stale."""
        self.page.wait_for_timeout(160)
        self.page.wait_for_function(IDLE, timeout=milliseconds)

    def open(self, path: str) -> None:
        self.page.goto(f"{self.url}/{path}")
        self.arrive()

    def go_to(self, page: str) -> None:
        """By the sidebar, which is quicker than to load the app anew."""
        title = PAGES[page][0]
        self.page.get_by_role("link", name=title, exact=True).click()
        self.page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        self.settle()

    def reload(self) -> None:
        self.page.reload()
        self.arrive()

    def arrive(self) -> None:
        """Wait until a page that was asked for anew is there."""
        self.page.wait_for_selector('[data-testid="stApp"]', timeout=FIRST_MILLISECONDS)
        self.settle(FIRST_MILLISECONDS)

    def see(self, text: str | re.Pattern[str], within: str = '[data-testid="stMain"]',
            milliseconds: int = ACTION_MILLISECONDS) -> None:
        """Wait until this is on the page."""
        from playwright.sync_api import expect

        expect(self.page.locator(within).first).to_contain_text(text, timeout=milliseconds)

    def miss(self, text: str, within: str) -> None:
        """Wait until this is gone."""
        from playwright.sync_api import expect

        expect(self.page.locator(within).first).not_to_contain_text(text, timeout=ACTION_MILLISECONDS)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()
        self.settle()

    def choose(self, box: Any, option: str) -> None:
        """Open a select box and click an option of it. A page that is drawn again meanwhile may close the list."""
        from playwright.sync_api import Error

        deadline = time.monotonic() + ACTION_MILLISECONDS / 1000
        wanted = self.page.get_by_role("option", name=option, exact=True)
        while True:
            if not wanted.count():
                box.click()
            try:
                wanted.click(timeout=3_000)
                break
            except Error:
                if time.monotonic() > deadline:
                    raise
        self.settle()

    def map(self) -> Any:
        """The map once it has been drawn; a layer that is newer than what is seen has not been."""
        found = self.page.locator(".map")
        self.page.wait_for_function("""() => {
          const walk = (root) => root.querySelector('.map') || [...root.querySelectorAll('*')]
            .filter((node) => node.shadowRoot).map((node) => walk(node.shadowRoot)).find(Boolean);
          const map = walk(document);
          return map && map.__view && map.__view.data && map.dataset.drawn === map.__view.data.layer;
        }""", timeout=ACTION_MILLISECONDS)
        return found

    def lasso(self, corners: list[tuple[float, float]]) -> None:
        """Draw a lasso; corners are fractions of the map's width and height."""
        box = self.map().locator("canvas").bounding_box()
        spots = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
        self.page.mouse.move(*spots[0])
        self.page.mouse.down()
        for spot in spots[1:]:
            self.page.mouse.move(*spot, steps=8)
        self.page.mouse.up()
        self.see("inside the lasso")
        self.settle()

    def drawn_polygon(self) -> np.ndarray:
        """(M, 2) corners of the lasso in data coordinates, as the map has them."""
        return np.asarray(self.map().evaluate("map => map.__view.data.region.lasso[0]"))

    def mark(self, first: int, last: int) -> list[str]:
        """Mark a range of pictures in the gallery with click and shift-click; their sample ids."""
        cards = self.page.locator(".gallery .card")
        cards.nth(first).click()
        cards.nth(last).click(modifiers=["Shift"])
        self.page.wait_for_timeout(200)  # marks are sent together, a moment after the last
        self.settle()
        assert self.page.locator(".gallery .card.marked").count() == last - first + 1, "the marks are on the page"
        return [cards.nth(i).get_attribute("data-id") for i in range(first, last + 1)]


def wait_until_done(run: RunDir) -> None:
    """Wait for a run's end as its status says; a failure is told in its own words."""
    def has_ended() -> bool:
        return run.path.is_dir() and run.read_status()["state"] in ENDED

    wait_for(has_ended, TRAIN_SECONDS, f"run {run.name} did not end")
    status = run.read_status()
    assert status["state"] == "done", f"{status.get('error')}: {run.log_tail()}"
