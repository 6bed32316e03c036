"""What draws leave behind is given back, at a pace."""

import gc
import os
import platform
import subprocess
import sys
import tomllib
import weakref

import pytest
import streamlit as st

from curation.views import garbage
from tests import ROOT, views
from tests.fakes import make_project


class Circle:
    def __init__(self) -> None:
        self.itself = self


def test_streamlit_does_not_look_through_all_objects_after_each_draw():
    assert tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["runner"]["postScriptGC"] is False


def test_what_a_draw_leaves_in_a_circle_is_given_back_and_then_there_is_a_rest(monkeypatch):
    monkeypatch.setattr(garbage, "DELAY_SECONDS", 0.0)
    collector = garbage.Collector()
    gc.disable()
    try:
        left = weakref.ref(Circle())
        timer = collector.drew()
        assert timer is not None
        timer.join(30)
        assert left() is None
        assert collector.drew() is None, "the next draw, a moment later"
    finally:
        gc.enable()


def test_the_longer_it_takes_the_longer_the_rest(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(garbage.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(garbage.gc, "collect", lambda: now.__setitem__(0, now[0] + 2.0))
    collector = garbage.Collector()
    collector._collect()
    for now[0], is_due in ((102.0 + 2.0 * garbage.REST - 1, False), (102.0 + 2.0 * garbage.REST, True)):
        timer = collector.drew()
        assert (timer is not None) == is_due
    assert timer is not None
    timer.cancel()


def test_each_draw_of_a_page_is_told(home, monkeypatch: pytest.MonkeyPatch):
    told = list[int]()
    monkeypatch.setattr(garbage.COLLECTOR, "drew", lambda: told.append(1))
    make_project(home / "pets")
    views.rerun(views.start(home, "data", project="pets"))
    assert len(told) == 2


def test_arrow_takes_its_memory_from_the_system_where_the_app_runs():
    """Its own allocator keeps memory for each thread that used it, and each draw has a thread of its own."""
    code = "import app, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    without = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env=without, text=True)
    assert said.split()[-1] == "system"


ARENAS = """
import ctypes, sys, threading
import app

library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p

def num_arenas() -> int:
    file = ctypes.c_void_p(library.fopen(sys.argv[1].encode(), b"w"))
    library.malloc_info(0, file)
    library.fclose(file)
    return open(sys.argv[1]).read().count("<heap nr=")

before, together = num_arenas(), threading.Barrier(8)
threads = [threading.Thread(target=lambda: (bytes(100_000), together.wait())) for _ in range(8)]
[thread.start() for thread in threads], [thread.join() for thread in threads]
print(before, num_arenas())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_a_few_arenas(tmp_path):
    done = subprocess.run([sys.executable, "-c", ARENAS, str(tmp_path / "info")], cwd=ROOT, capture_output=True,
                          text=True, timeout=120)
    before, after = map(int, done.stdout.split())
    assert 0 < after <= max(before, garbage.NUM_ARENAS)


def test_no_lock_is_left_of_a_value_that_was_cached():
    @st.cache_resource(max_entries=2, show_spinner=False)
    def twice(number: int) -> int:
        return 2 * number

    assert [twice(number) for number in range(50)] == [2 * number for number in range(50)]
    cache = twice._info.get_function_cache(twice._function_key)
    assert len(cache._value_locks) == 0
    held = cache.compute_value_lock("key")
    assert cache.compute_value_lock("key") is held, "for two who want one value it is the same"
