"""The live loop in a real Chromium: seconds from the key that relabels to the new queue, and to what the decisions did.

    python benchmarks/live_loop.py FOLDER --project cifar --run lite0 [--repeats 10]

FOLDER/PROJECT must be a project with a run on features. Works on a copy of it: opens Triage, presses the keys that
relabel the first of the queue to its suggestion, and waits until the queue shown is of that decision; each third time
until the effect is, and the weights where the run's method has any. Checks that what was on screen kept its place.
Prints medians and the machine's load; writes JSON to --out.
"""

import argparse
import json
import os
import platform
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from engine.contract.live.live_dir import LiveDir
from tests import ROOT
from tests.browser.driver import ARGUMENTS, IDLE, Browser, answers, chromium, wait_for

DONE = """(wanted) => {
  const line = document.querySelector('.live');
  return line && (line.dataset.done || '').split(' ').includes(wanted);
}"""
MILLISECONDS = 120_000


class Session:
    """One browser on Triage."""

    def __init__(self, page: Page, url: str, query: str) -> None:
        self.page, self.app = page, Browser(page, url)
        page.set_default_timeout(MILLISECONDS)
        self.app.open(f"triage?{query}")
        self.wait("judged")

    def wait(self, what: str) -> None:
        """Until the page is of the decisions in force, and drawn."""
        self.page.wait_for_function(DONE, arg=what, timeout=MILLISECONDS, polling=20)
        self.page.wait_for_function(IDLE, timeout=MILLISECONDS, polling=20)

    def ids(self) -> list[str]:
        found: list[str] = self.page.locator(".gallery .card").evaluate_all("cards => cards.map(c => c.dataset.id)")
        return found

    def relabel(self) -> tuple[float, bool]:
        """Relabel the first card to its suggestion: seconds to the new queue; whether the rest kept its place."""
        before, judged = self.ids(), self.page.locator(".live").get_attribute("data-judged")
        self.page.locator(".gallery").focus()
        self.page.keyboard.press("Home")
        self.page.keyboard.press("r")
        self.page.locator(".gallery .overlay input").wait_for()
        began = time.perf_counter()
        self.page.keyboard.press("Enter")
        self.page.wait_for_function("(old) => document.querySelector('.live').dataset.judged !== old", arg=judged,
                                    timeout=MILLISECONDS, polling=20)
        self.wait("judged")
        taken = time.perf_counter() - began
        after = self.ids()
        return taken, after[:len(before) - 1] == before[1:]


def measure(url: str, query: str, live: LiveDir, repeats: int, screenshot: Path | None) -> dict[str, Any]:
    with sync_playwright() as driver:
        app = driver.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        began = time.perf_counter()
        session = Session(app.new_page(viewport={"width": 1440, "height": 1000}), url, query)
        opened = time.perf_counter() - began
        times, kept, later = [], [], {"measured": [], "trained": []}
        for number in range(repeats):
            taken, is_kept = session.relabel()
            times.append(taken)
            kept.append(is_kept)
            began = time.perf_counter()
            for name in later if number % 3 == 0 else ():
                session.wait(name)
                later[name].append(taken + time.perf_counter() - began)
        effect = live.read_effect()
        if screenshot is not None:
            session.page.screenshot(path=screenshot)
        app.close()
    return {"first_seconds": opened, "seconds": times, "median": statistics.median(times), "kept_its_place": all(kept),
            "effect_seconds": later["measured"], "weights_seconds": later["trained"], "effect": effect}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--project", default="cifar")
    parser.add_argument("--run", default="lite0")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--screenshot", type=Path, help="Where to leave a picture of the page at the end.")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    args = parser.parse_args()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as home:
        projects = Path(home) / "projects"
        shutil.copytree(args.folder / args.project, projects / args.project,
                        ignore=shutil.ignore_patterns("live", "checkpoint"))
        environment = os.environ | {"WHETSTONE_PROJECTS": str(projects), "WHETSTONE_HOME": home}
        server = subprocess.Popen([sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)],
                                  cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        live = LiveDir.of(projects / args.project, args.run)
        try:
            wait_for(lambda: answers(f"{url}/_stcore/health"), 120, "the app does not answer")
            found = measure(url, f"project={args.project}&run={args.run}", live, args.repeats,
                            args.screenshot)
        finally:
            live.request_cancel()
            server.terminate()
            server.wait(20)
            wait_for(lambda: not live.read_status()["is_alive"], 60, "the live process does not end")
    found["hardware"] = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{found['hardware']}; {args.project}, run {args.run}: from opening the page to the first judgement "
          f"{found['first_seconds']:.1f} s")
    print(f"key to new queue: median {found['median']:.2f} s of {args.repeats} ({min(found['seconds']):.2f} to "
          f"{max(found['seconds']):.2f}); what was on screen kept its place: {found['kept_its_place']}")
    for what in ("effect", "weights"):
        seconds = found[f"{what}_seconds"]
        print(f"key to {what}: median {statistics.median(seconds):.1f} s of {len(seconds)} ({min(seconds):.1f} to "
              f"{max(seconds):.1f})")
    print(found["effect"])
    args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
