"""Memory is given back or not taken: what objects in a circle hold, what each thread keeps, locks of cached values.

Streamlit has Python look through all of its objects after each draw, fragments' looks included: with all that this app
imports 0.15 s of one core, in which every page stands still; two thirds of what ten people at work cost. Without any
look, what cut draws leave behind (an error with the frames it went through, and their tables) would stay until Python
looks by itself, which goes by the number of objects, however large they are. So runner.postScriptGC is off in our
config.toml, and here is the look in its place.

Each draw has a thread of its own, and glibc an arena for every thread at work, up to eight for each core, in which it
keeps what lies between two pieces in use. What was in use stayed level at work, and what was kept so grew with each
press, until all arenas had seen their largest draw. Two are enough: Python's threads take turns.

Streamlit 1.67 keeps a lock for each value that a cached function was ever asked for (caching/cache_utils.py says that
it could be dropped). Values of ours go by the ledger's newest row, so each press would leave some for good; here a lock
is kept as long as somebody holds it or waits for it.
"""

import ctypes
import gc
import sys
import threading
import time
import weakref

from streamlit.runtime.caching.cache_utils import Cache

REST = 20.0
"""After a look through all objects there is none for that many times as long as it took ..."""
LEAST_SECONDS = 5.0
"""... nor for so long."""
NUM_ARENAS = 2
M_ARENA_MAX = -8
"""mallopt(3)"""
DELAY_SECONDS = 0.5
"""How long after a draw: by then its page has been sent."""


class Collector:
    """When it was looked last, and when that is due again. One for all sessions of a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next = 0.0

    def drew(self) -> threading.Timer | None:
        """After a draw: have all objects looked through soon, in a thread of its own, where that is due; which."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return None
            self._next = now + DELAY_SECONDS + LEAST_SECONDS
        timer = threading.Timer(DELAY_SECONDS, self._collect)
        timer.daemon = True
        timer.start()
        return timer

    def _collect(self) -> None:
        began = time.monotonic()
        gc.collect()
        ended = time.monotonic()
        with self._lock:
            self._next = ended + max(LEAST_SECONDS, REST * (ended - began))


COLLECTOR = Collector()


def limit_arenas() -> None:
    """Have no more than NUM_ARENAS made; to be called before threads begin, as those that are there stay. Does nothing
    where the C library is not glibc."""
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "gnu_get_libc_version"):
        library.mallopt(M_ARENA_MAX, NUM_ARENAS)


def _lock_in_use(self: Cache, value_key: str) -> threading.Lock:
    """Cache.compute_value_lock."""
    with self._value_locks_lock:
        if not isinstance(self._value_locks, weakref.WeakValueDictionary):
            vars(self)["_value_locks"] = weakref.WeakValueDictionary()
        lock = self._value_locks.get(value_key)
        if lock is None:
            lock = self._value_locks[value_key] = threading.Lock()
        return lock


Cache.compute_value_lock = _lock_in_use  # type: ignore[method-assign]
