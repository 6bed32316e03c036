"""The Explore page on a million samples in a real Chromium: how long each thing takes that people do all day.

    python benchmarks/million_project.py FOLDER/million
    python benchmarks/curate_million.py FOLDER [--project million] [--repeats 5]

Starts the app on FOLDER, drives it as a person would and prints medians and ranges: from the click or key until the
result can be seen (numbers, map drawn, every picture loaded), server and browser on the same cores. Memory is the
server's resident set before and after a second browser opens the same page. Writes JSON to --out.
"""

import argparse
import json
import os
import platform
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests import ROOT
from tests.browser.driver import ARGUMENTS, Browser, answers, chromium, wait_for

TARGETS = {"open the page, warm": 4.0, "lasso to result": 1.0, "filter change": 0.7, "gallery page": 0.7,
           "recolour": 1.0, "zoom": None, "decide on five by key": None}
"""Seconds, as the project promises them; None: no promise."""
PICTURES = """() => {
  const walk = (root) => root.querySelector('.gallery') || [...root.querySelectorAll('*')]
    .filter((node) => node.shadowRoot).map((node) => walk(node.shadowRoot)).find(Boolean);
  const gallery = walk(document);
  const images = gallery ? [...gallery.querySelectorAll('.card img')] : [];
  return images.length >= 60 && images.every((image) => image.complete && image.naturalWidth > 0)
    && (window.__before === undefined || images[0].src !== window.__before) ? images[0].src : false;
}"""
COUNTS = "() => [...document.querySelectorAll('[class*=st-key-explore-count-]')].map((n) => n.innerText).join()"
CLASSES = ("Hoodie", "Suit", "Vest", "Dress", "Jacket", "Shawl", "Shirt", "Chiffon")


def timed(act: Callable[[], None], seen: Callable[[], Any]) -> float:
    began = time.perf_counter()
    act()
    seen()
    return time.perf_counter() - began


class Session:
    """One browser on the page, with what is timed."""

    def __init__(self, page: Page, url: str, project: str) -> None:
        self.page, self.app, self.project = page, Browser(page, url), project

    def open(self) -> None:
        self.page.goto(f"{self.app.url}/explore?project={self.project}&run=first")
        self.page.evaluate("window.__before = undefined")
        self.pictures()
        self.app.map()

    def pictures(self) -> str:
        return str(self.page.wait_for_function(PICTURES, timeout=60_000, polling=20).json_value())

    def number(self) -> str:
        text = self.page.locator('[data-testid="stMain"]').inner_text()
        found = re.search(r"([\d,]+) of [\d,]+ samples", text)
        assert found is not None, "the page says how many samples are selected"
        return found[1]

    def wait_number(self, other_than: str) -> None:
        self.page.wait_for_function(
            "(before) => { const m = document.querySelector('[data-testid=stMain]').innerText"
            ".match(/([\\d,]+) of [\\d,]+ samples/); return m && m[1] !== before; }", arg=other_than, polling=20)

    def lasso(self, at: float) -> float:
        """A lasso around the middle of the map; the time from letting go to its number."""
        box, before = self.app.map().locator("canvas").bounding_box(), self.number()
        assert box is not None, "the map is on the page"
        corners = [(at, 0.3), (at + 0.2, 0.28), (at + 0.22, 0.52), (at + 0.02, 0.55), (at, 0.31)]
        spots = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in corners]
        self.page.mouse.move(*spots[0])
        self.page.mouse.down()
        for spot in spots[1:]:
            self.page.mouse.move(*spot, steps=6)
        return timed(self.page.mouse.up, lambda: self.wait_number(before))

    def choose(self, key: str, text: str) -> None:
        """Open a select box and type; the caller's Enter is what is timed."""
        self.page.locator(f".st-key-{key} input").first.click()
        self.page.keyboard.type(text)
        self.page.wait_for_timeout(120)

    def filter_class(self, name: str) -> float:
        before = self.number()
        self.choose("explore-classes", name)
        taken = timed(lambda: self.page.keyboard.press("Enter"), lambda: self.wait_number(before))
        self.page.keyboard.press("Escape")
        return taken

    def recolour(self, title: str) -> float:
        def layer() -> str:
            return str(self.app.map().get_attribute("data-drawn"))

        before = layer()
        self.choose("explore-colour", title)
        return timed(lambda: self.page.keyboard.press("Enter"), lambda: self.page.wait_for_function(
            """(before) => {
              const walk = (root) => root.querySelector('.map') || [...root.querySelectorAll('*')]
                .filter((node) => node.shadowRoot).map((node) => walk(node.shadowRoot)).find(Boolean);
              const map = walk(document);
              return map && map.dataset.drawn !== before;
            }""", arg=before, polling=20))

    def turn_page(self) -> float:
        self.page.evaluate("(src) => { window.__before = src; }", self.pictures())
        self.page.locator(".gallery").focus()
        taken = timed(lambda: self.page.keyboard.press("n"), self.pictures)
        self.page.evaluate("window.__before = undefined")
        return taken

    def zoom(self) -> float:
        canvas = self.app.map().locator("canvas")
        canvas.hover()
        before = canvas.evaluate("c => c.getRootNode().querySelector('.map').__view.imageBox")
        return timed(lambda: self.page.mouse.wheel(0, -240), lambda: self.page.wait_for_function(
            """(before) => {
              const walk = (root) => root.querySelector('.map') || [...root.querySelectorAll('*')]
                .filter((node) => node.shadowRoot).map((node) => walk(node.shadowRoot)).find(Boolean);
              const view = walk(document).__view;
              return view.imageBox[0] !== before[0] && view.imageBox[0] === view.box[0];
            }""", arg=before, polling=20))

    def decide(self) -> float:
        cards = self.page.locator(".gallery .card")
        cards.nth(0).click()
        cards.nth(4).click(modifiers=["Shift"])
        self.app.settle()
        before = self.page.evaluate(COUNTS)
        changed = f"(before) => ({COUNTS})() !== before"
        taken = timed(lambda: self.page.keyboard.press("t"),  # v asks first where labels look wrong
                      lambda: self.page.wait_for_function(changed, arg=before, polling=20))
        self.app.settle()
        decided = self.page.evaluate(COUNTS)
        self.page.locator(".gallery").focus()
        self.page.keyboard.press("u")  # so that the next time, and the next run, find the five as they were
        self.page.wait_for_function(changed, arg=decided)
        return taken


def measure(session: Session, repeats: int) -> dict[str, list[float]]:
    session.open()  # cold: nothing is timed
    times: dict[str, list[float]] = {name: [] for name in TARGETS}
    lassoed: list[str] = []
    for i in range(repeats):
        times["open the page, warm"].append(timed(session.open, lambda: None))
        session.app.settle()
        times["lasso to result"].append(session.lasso(0.3 + 0.04 * i))
        lassoed.append(session.number())
        session.app.settle()
        times["gallery page"].append(session.turn_page())
        session.app.settle()
        times["zoom"].append(session.zoom())
        session.page.get_by_role("button", name="Clear lasso").first.click()
        session.app.settle()
        times["filter change"].append(session.filter_class(CLASSES[i % len(CLASSES)]))
        session.app.settle()
        times["recolour"].append(session.recolour(("Margin", "Class", "Weight", "Given", "Label quality")[i % 5]))
        session.app.settle()
        times["decide on five by key"].append(session.decide())
        session.app.settle()
    print(f"samples in the lassos: {', '.join(lassoed)}")
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--project", default="million")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url, rows = f"http://127.0.0.1:{port}", []
    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        environment = os.environ | {"WHETSTONE_PROJECTS": str(args.folder.resolve()), "WHETSTONE_HOME": home}
        server = subprocess.Popen([sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
                                  cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(lambda: answers(f"{url}/_stcore/health"), 60, "the app does not answer")
            app = driver.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            first = Session(app.new_page(viewport={"width": 1440, "height": 1000}), url, args.project)
            first.page.set_default_timeout(60_000)
            times = measure(first, args.repeats)
            before = psutil.Process(server.pid).memory_info().rss
            second = Session(app.new_context().new_page(), url, args.project)
            second.page.set_viewport_size({"width": 1440, "height": 1000})
            second.page.set_default_timeout(60_000)
            second.open()
            second.app.settle()
            second.lasso(0.35)
            after = psutil.Process(server.pid).memory_info().rss
            app.close()
        finally:
            server.terminate()
            server.wait(20)
    about = f"{platform.machine()}, {os.cpu_count()} cores, Chromium headless without a GPU on the same machine"
    print(f"{about}; {args.project}, medians of {args.repeats}")
    for name, found in times.items():
        target = TARGETS[name]
        rows.append({"what": name, "seconds": statistics.median(found), "low": min(found), "high": max(found),
                     "target": target})
        print(f"{name:24s} {statistics.median(found):5.2f} s ({min(found):.2f} to {max(found):.2f})"
              + (f"   promised {target:.1f}" if target else ""))
    print(f"server: {before / 2**20:.0f} MiB, {(after - before) / 2**20:+.0f} MiB with a second browser")
    args.out.write_text(json.dumps({"hardware": about, "rows": rows, "server_mib": before / 2**20,
                                    "second_session_mib": (after - before) / 2**20}, indent=1))


if __name__ == "__main__":
    main()
