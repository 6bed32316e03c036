"""What others decide on this project meanwhile: said within seconds, and the page drawn anew.

Looks at the ledger's revision alone (milliseconds), and at its batches only once that has grown.
"""

import pandas as pd
import streamlit as st

from curation.project import Project
from curation.views.widgets import actions, state

SECONDS = 3
_SEEN_KEY = "_seen_revision"


def watch() -> None:
    """Draw the watcher of the current project, which shows nothing, before the page: what that shows counts as seen."""
    project = state.current_project()
    if project is not None:
        st.session_state[_SEEN_KEY] = (str(project.path), project.ledger().revision)
        st.fragment(look, run_every=SECONDS)(project)


def look(project: Project) -> None:
    """One look; redraws the page where the ledger has grown since it was drawn."""
    if actions.is_changed():
        return  # the page is being redrawn, and sees the rest as well
    path, seen = st.session_state.get(_SEEN_KEY, ("", 0))
    ledger = project.ledger()
    if path != str(project.path) or ledger.revision <= seen:
        return
    for words in news(ledger.batches(), seen, state.user_name()):
        actions.say(words)
    st.rerun()


def news(batches: pd.DataFrame, seen: int, me: str) -> list[str]:
    """What others did after batch `seen`, a sentence a person; none where it was all this person's own (in another
    window). batches: as the ledger lists them."""
    new = batches[(batches["batch_id"] > seen) & (batches["who"] != me)].sort_values("batch_id")
    found = []
    for who, part in new.groupby("who", sort=False):
        last = part.iloc[-1]
        words = actions.batch_words(last["kind"], last["value"], last["num_samples"])
        more = f", and {len(part) - 1:,} decision{'' if len(part) == 2 else 's'} before" if len(part) > 1 else ""
        found.append(f"{who} decided: {words}{more}.")
    return found
