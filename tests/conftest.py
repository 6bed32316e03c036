"""Fixtures that more than one room's tests stand on. torch stays on one thread: the nets are tiny."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from importlib import import_module
from pathlib import Path

import pytest

from tests.databases import IS_POSTGRESQL, let_go, on_postgresql

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read once, when torch is imported: threads only slow nets this small
os.environ.setdefault("NUMBA_OPT", "0")  # UMAP is compiled in each process and then runs for moments: the quicker way


def pytest_collection(session: pytest.Session) -> None:
    """Each worker begins elsewhere with the compiling of the whole suite, and finds the rest compiled by the others:
    pytest rewrites every assertion, which is half of a first collection."""
    worker, num_workers = os.environ.get("PYTEST_XDIST_WORKER"), os.environ.get("PYTEST_XDIST_WORKER_COUNT")
    if worker and num_workers and session.config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        here = Path(__file__).parent
        names = sorted(".".join(file.relative_to(here).with_suffix("").parts) for file in here.rglob("test_*.py"))
        begin = len(names) * int(worker.removeprefix("gw")) // int(num_workers)
        logging.disable(logging.WARNING)  # Streamlit's, that no app is running
        for name in names[begin:] + names[:begin]:
            with suppress(Exception, pytest.skip.Exception):  # pytest imports it once more, and says what is wrong
                import_module(f"tests.{name}")
        logging.disable(logging.NOTSET)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests come last, the longest file first: they may be left out where time is short."""
    items.sort(key=lambda item: (is_in_browser(item), item.path.name != "test_loop.py"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """WHETSTONE_UNTIL, in seconds since 1970: after it no browser test begins."""
    if IS_POSTGRESQL and item.get_closest_marker("sqlite"):
        pytest.skip("this is about SQLite's own file")
    if is_in_browser(item) and time.time() > float(os.environ.get("WHETSTONE_UNTIL", "inf")):
        pytest.skip("WHETSTONE_UNTIL is past: no time is left for the browser")


def is_in_browser(item: pytest.Item) -> bool:
    return item.get_closest_marker("browser") is not None


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Tests neither see nor leave anything in the queue and the log of who runs them."""
    os.environ["WHETSTONE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session", autouse=True)
def ledgers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where tests have their ledgers (tests.databases)."""
    with on_postgresql() if IS_POSTGRESQL else nullcontext():
        yield


@pytest.fixture(autouse=True)
def connections() -> Iterator[None]:
    yield
    let_go()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Real images with real label noise in Clothing1M's layout, unpacked; tests that want them skip without."""
    folder = os.environ.get("WHETSTONE_DATA")
    if not folder or not (Path(folder) / "noisy_label_kv.txt").exists():
        pytest.skip("WHETSTONE_DATA names no folder in Clothing1M's layout")
    return Path(folder)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty projects folder and a queue of its own for the app under test, which looks for nothing by
    itself. No page starts the process of the live loop: this one stands for it."""
    monkeypatch.setattr("curation.audit.suspects.leaks.begin", lambda project, features: None)
    monkeypatch.setenv("WHETSTONE_PROJECTS", str(tmp_path / "projects"))
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("curation.jobs.live_jobs.start_detached", lambda *_: os.getpid())
    return tmp_path / "projects"
