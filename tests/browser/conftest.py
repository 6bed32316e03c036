"""Fixtures of the browser tests: the app on an empty projects folder, and a tab of Chromium."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.contract.live.live_dir import LiveDir
from engine.contract.run_dir import ENDED, RunDir
from engine.contract.run_list import damage_of
from tests import ROOT
from tests.browser.driver import ACTION_MILLISECONDS, ARGUMENTS, Browser, answers, chromium, wait_for


@contextmanager
def running_app(folder: Path, more: Callable[[int], list[str]] = lambda port: []) -> Iterator[tuple[str, Path]]:
    """The real app on an empty projects folder: its address and that folder. Leaves no run behind.

    more: what else to say on its command line, given its port.
    """
    home = folder / "projects"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"WHETSTONE_PROJECTS": str(home), "WHETSTONE_HOME": str(folder / "home")}
    with open(folder / "server.log", "wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port),
                                    *more(port)], cwd=ROOT, env=environment, stdout=log, stderr=log)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"), 60, "the app does not answer")
            yield f"http://127.0.0.1:{port}", home
        finally:
            for run in [*home.glob("*/features/*"), *home.glob("*/runs/*")]:
                if damage_of(RunDir(run)) or RunDir(run).read_status()["state"] not in ENDED:
                    RunDir(run).request_cancel()
            for live in home.glob("*/live/*"):
                LiveDir(live).request_cancel()
            process.terminate()
            process.wait(20)


@contextmanager
def tabs_on(address: str) -> Iterator[Callable[[], Browser]]:
    """Opens a tab of its own session and storage, as another person's browser has, each time it is called."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine; install the package chromium")
    with playwright.sync_playwright() as driver:
        app = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)

        def opened() -> Browser:
            page = app.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            page.set_default_timeout(ACTION_MILLISECONDS)
            return Browser(page, address)

        yield opened
        app.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    with running_app(tmp_path) as found:
        yield found


@pytest.fixture
def open_browser(server: tuple[str, Path]) -> Iterator[Callable[[], Browser]]:
    with tabs_on(server[0]) as opened:
        yield opened


@pytest.fixture
def browser(open_browser: Callable[[], Browser]) -> Browser:
    return open_browser()
