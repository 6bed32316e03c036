"""What others decide on this project meanwhile: said within seconds, and the page drawn anew.

Looks at the ledger's newest decision alone (milliseconds), and at its batches only once there is another. Ten people
who decide would have ten pages drawn for each decision, and each press wait for them: pages that are drawn for others'
sake take a fifth of the time of this process, and are late, not the presses.
"""

import threading
import time

import pandas as pd
import streamlit as st

from curation.project import Project
from curation.views.widgets import actions, decided, state

SECONDS = 3
REST = 4.0
"""After a page was drawn for others' sake none is for that many times as long as a draw takes."""
_SEEN_KEY = "_seen_decision"
_SAID_KEY = "_said_decision"


class _Pace:
    """How long draws of this process take, and when the next may be for others' sake."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._next = 0.0

    def drew(self, seconds: float) -> None:
        with self._lock:
            self._seconds += (seconds - self._seconds) / 4

    def may_draw(self) -> bool:
        """Whether a page may be drawn for others' sake now; if so, it is meant to be."""
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return False
            self._next = now + (1 + REST) * self._seconds
            return True


PACE = _Pace()


def watch() -> None:
    """Draw the watcher of the current project, which shows nothing, before the page: what that shows counts as seen."""
    project = state.current_project()
    if project is not None:
        st.session_state[_SEEN_KEY] = (str(project.path), project.newest.decisions)
        st.fragment(look, run_every=SECONDS)(project)


def look(project: Project) -> None:
    """One look: says what is new since the page was drawn, and has it drawn anew as soon as that may be."""
    if actions.is_changed():
        return  # the page is being redrawn, and sees the rest as well
    path, seen = st.session_state.get(_SEEN_KEY, ("", None))
    newest = project.newest.decisions
    if path != str(project.path) or newest == seen:
        return
    said_path, said = st.session_state.get(_SAID_KEY, ("", 0))
    said = max(said, seen.number) if said_path == path else seen.number
    if newest.number > said:
        for words in news(decided.batches_cached(project, newest), said, state.user_name()):
            actions.say(words)
    st.session_state[_SAID_KEY] = (path, newest.number)  # fewer than were said where an older copy was put back
    if PACE.may_draw():
        st.rerun()
    else:
        actions.show_notices()


def news(batches: pd.DataFrame, seen: int, me: str) -> list[str]:
    """What others did after batch `seen`, a sentence a person; none where it was all this person's own (in another
    window). batches: as the ledger lists them."""
    new = batches[batches["batch_id"] > seen]
    new = new[new["who"] != me].sort_values("batch_id")
    found = []
    for who, part in new.groupby("who", sort=False):
        last = part.iloc[-1]
        words = actions.batch_words(last["kind"], last["value"], last["num_samples"])
        more = f", and {len(part) - 1:,} decision{'' if len(part) == 2 else 's'} before" if len(part) > 1 else ""
        found.append(f"{who} decided: {words}{more}.")
    return found
