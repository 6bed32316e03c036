"""Visits leave no file open: neither pages nor pictures keep a map of a file or a database.

A server has three handles more for each session that went away, for two minutes and for 128 of them at most: Streamlit
keeps those for who comes back (server.disconnectedSessionTTL), each with an event loop of its own.
"""

import gc
import os
from pathlib import Path

import pytest

from curation.views.routes import thumbnails
from tests import views
from tests.fakes import make_project, make_run


def held() -> int:
    """Open files that have a name; what only waits to be collected does not count."""
    gc.collect()
    targets = []
    for number in os.listdir("/proc/self/fd"):
        try:
            targets.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:  # that of the listing itself
            continue
    return sum(target.startswith("/") and not target.startswith("/dev/") for target in targets)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_open_files_are_as_many_after_many_visits_as_after_the_first(home: Path) -> None:
    project = make_project(home / "pets", 24, 6, 6)
    for name in ("first", "second"):
        make_run(project, name)

    def visit() -> None:
        for page in ("explore", "compare"):
            views.start(home, page, project="pets", run="first")
        for number in range(6):
            thumbnails.thumbnail(project, f"train-{number:05d}", 64)

    visit()
    first = held()
    for _ in range(2):
        visit()
    assert held() == first
