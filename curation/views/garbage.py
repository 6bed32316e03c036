"""Memory that objects in a circle hold is given back at a pace, not after each draw.

Streamlit has Python look through all of its objects after each draw, fragments' looks included: with all that this app
imports 0.15 s of one core, in which every page stands still; two thirds of what ten people at work cost. Without any
look, what cut draws leave behind (an error with the frames it went through, and their tables) would stay until Python
looks by itself, which goes by the number of objects, however large they are. So runner.postScriptGC is off in our
config.toml, and here is the look in its place.
"""

import gc
import threading
import time

REST = 20.0
"""After a look through all objects there is none for that many times as long as it took ..."""
LEAST_SECONDS = 5.0
"""... nor for so long."""
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
