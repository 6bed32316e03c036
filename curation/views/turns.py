"""Whose turn it is: while a press waits to be carried out, the pages of other people wait at their next st.* call.

All sessions share one interpreter, so that a press would take as long as all pages that are being drawn at that moment;
carried out first, it takes as long as its own act. A page waits for a second at most each time, for no press that has
waited longer (an act that takes long, such as an export, holds up nothing), and for SECONDS_A_DRAW in one draw, however
many press.
"""

import threading
import time

SECONDS = 1.0
SECONDS_A_DRAW = 3.0


class Turns:
    """The presses of a process that wait, each named by what has it (a session's requests)."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._since: dict[object, float] = {}

    def press(self, of: object) -> None:
        """One waits from now on; another of the same that waits already is as old as the first."""
        with self._changed:
            self._since.setdefault(of, time.monotonic())
            self._changed.notify_all()

    def is_waiting(self, of: object) -> bool:
        return of in self._since

    def done(self, of: object) -> None:
        """It was carried out, or dropped."""
        with self._changed:
            self._since.pop(of, None)
            self._changed.notify_all()

    def let_go_first(self, of: object, most: float = SECONDS) -> float:
        """Return once no press of others waits that came within the last second; after a second, or `most` seconds
        where that is less; or for one's own. Returns the seconds waited."""
        if not self._since:  # most often: costs nothing
            return 0.0
        with self._changed:
            now = began = time.monotonic()
            until = now + min(SECONDS, most)
            while self._since and of not in self._since:
                left = min(until, max(self._since.values()) + SECONDS) - now
                if left <= 0:
                    break
                self._changed.wait(left)
                now = time.monotonic()
            return now - began


TURNS = Turns()
