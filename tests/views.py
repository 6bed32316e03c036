"""Drives the app's pages in Streamlit's AppTest: start on a projects folder, switch page, inject a selection.

The helpers wrap what AppTest does not offer for pages made of functions and for charts, so that the tests need not
know. Rerun with `.run()` as usual after acting on a widget.
"""

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest, local_script_runner
from streamlit.util import calc_hash

from curation.views.routes.pages import DEFAULT_PAGE
from tests import ROOT

MAIN = ROOT / "curation" / "views" / "main.py"


def _ended(runner: local_script_runner.LocalScriptRunner, timeout: float = 3) -> None:
    """Wait for a script's thread. Streamlit's own looks a thousand times a second, and takes the processor for it."""
    thread = runner._script_thread
    assert thread is not None, "it was started"
    thread.join(timeout)
    if thread.is_alive():
        runner.request_stop()
        runner.join()
        raise RuntimeError(f"AppTest script run timed out after {timeout}(s)")


local_script_runner.require_widgets_deltas = _ended
# Each AppTest reads the metadata of all that is installed: a fifth of what a test of a page takes.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


class PageFailed(AssertionError):
    """A page met an exception that is none of our named ones."""


def start(projects: Path, page: str = "data", *, project: str = "", run: str = "", query: dict[str, str] | None = None,
          timeout: float = 30) -> AppTest:
    """The app on a folder of projects, on one page (a module of curation.views), with project and run picked.

    query: what the link that opened the app has after its question mark.

    Sets WHETSTONE_PROJECTS for this process: call it in tests that hold monkeypatch of it, or set it in all of them.
    """
    os.environ["WHETSTONE_PROJECTS"] = str(projects)
    app = AppTest.from_file(str(MAIN), default_timeout=timeout)
    if project:
        app.session_state["project"] = project
    if run:
        app.session_state["run"] = run
    for name, value in (query or {}).items():
        app.query_params[name] = value
    return go(app, page)


def go(app: AppTest, page: str) -> AppTest:
    """Switch to a page and run it. AppTest.switch_page knows pages that are files alone; ours are functions."""
    app._page_hash = calc_hash("" if page == DEFAULT_PAGE else page)
    return rerun(app)


def rerun(app: AppTest) -> AppTest:
    """app.run(), but an exception that the page turned into a calm notice fails the test with its traceback."""
    with _failures() as failures:
        app.run()
    if failures:
        raise PageFailed(f"the page failed: {failures[0]!r}") from failures[0]
    assert not app.exception, f"the page shows {app.exception[0].value}"
    return app


def select(app: AppTest, key: str, **selection: Any) -> AppTest:
    """Act as if the user had selected in a chart or table, e.g. select(app, "map", lasso=[{"x": [...], "y": [...]}]).

    Undocumented in Streamlit (it takes what session_state holds under the key), so it lives here alone. The page must
    read the event with item access: event["selection"]["lasso"].
    """
    empty = {"points": [], "point_indices": [], "box": [], "lasso": [], "rows": [], "columns": [], "cells": []}
    app.session_state[key] = {"selection": {**empty, **selection}}
    return rerun(app)


def texts(app: AppTest) -> str:
    """Everything a page says in words, for `in` checks: headings, markdown, captions, notices, metrics, labels."""
    found: list[str] = []
    for kind in ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success", "text",
                 "code"):
        found += [str(element.value) for element in getattr(app, kind)]
    found += [f"{metric.label} {metric.value}" for metric in app.metric]
    found += [button.label for button in app.button]
    return "\n".join(found)


@contextmanager
def _failures() -> Iterator[list[BaseException]]:
    """The exceptions that pages log while this is open."""
    found: list[BaseException] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info and record.exc_info[1] is not None:
                found.append(record.exc_info[1])

    handler, logger = Collect(), logging.getLogger("whetstone")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)
