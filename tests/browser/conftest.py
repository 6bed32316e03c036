"""Fixtures of the browser tests: the app, which they share, on an empty projects folder, and a tab of Chromium."""

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.contract.live.live_dir import LiveDir
from engine.contract.run_dir import ENDED, RunDir
from engine.contract.run_list import damage_of
from tests import ROOT
from tests.browser.driver import ACTION_MILLISECONDS, ARGUMENTS, Browser, answers, chromium, wait_for


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]
                              ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What the tab was showing, and what the browser had complained of, beside what the test expected."""
    report = yield
    browser = getattr(item, "funcargs", {}).get("browser")
    if report.failed and isinstance(browser, Browser):
        report.sections.append(("the tab", browser.evidence()))
    return report


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
            leave_no_run(home)
            process.terminate()
            process.wait(20)


def leave_no_run(home: Path) -> None:
    for run in [*home.glob("*/features/*"), *home.glob("*/runs/*")]:
        if damage_of(RunDir(run)) or RunDir(run).read_status()["state"] not in ENDED:
            RunDir(run).request_cancel()
    for live in home.glob("*/live/*"):
        LiveDir(live).request_cancel()


@dataclass
class SharedApp:
    """One running app for many tests. Its projects folder is a link, which the app resolves whenever it looks: each
    test has an empty folder of its own, and nothing that is kept by a folder's path is met again."""

    address: str
    link: Path
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def new_home(self) -> Path:
        home = self.link.with_name(f"projects-{next(self.numbers)}")
        home.mkdir()
        self.show(home)
        return home

    def show(self, home: Path) -> None:
        """Have the app look at this folder from now on."""
        new = self.link.with_name("next")
        new.symlink_to(home)
        new.replace(self.link)


@pytest.fixture(scope="package")
def shared_app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedApp]:
    with running_app(tmp_path_factory.mktemp("app")) as (address, link):
        yield SharedApp(address, link)


@pytest.fixture(scope="package")
def chrome() -> Iterator[Any]:
    """Chromium, of which each tab has a session and storage of its own."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    executable = chromium()
    if executable is None:
        pytest.skip("no Chromium on this machine; install the package chromium")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield running
        running.close()


@contextmanager
def tabs_on(chrome: Any, address: str) -> Iterator[Callable[[], Browser]]:
    """Opens a tab of its own session and storage, as another person's browser has, each time it is called."""
    contexts = []

    def opened() -> Browser:
        contexts.append(chrome.new_context(viewport={"width": 1440, "height": 1000}))
        page = contexts[-1].new_page()
        page.set_default_timeout(ACTION_MILLISECONDS)
        return Browser(page, address)

    try:
        yield opened
    finally:
        for context in contexts:
            context.close()


@pytest.fixture
def server(shared_app: SharedApp) -> Iterator[tuple[str, Path]]:
    """Address of the app, and the empty folder of projects that it looks at."""
    home = shared_app.new_home()
    yield shared_app.address, home
    leave_no_run(home)


@pytest.fixture
def open_browser(chrome: Any, server: tuple[str, Path]) -> Iterator[Callable[[], Browser]]:
    with tabs_on(chrome, server[0]) as opened:
        yield opened


@pytest.fixture
def browser(open_browser: Callable[[], Browser]) -> Browser:
    return open_browser()
