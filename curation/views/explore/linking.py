"""How other pages lead to Explore with a selection: samples named there, pictures and map here."""

from collections.abc import Sequence

import streamlit as st

from curation.project import Project
from curation.samples.predicates import MAX_IDS
from curation.views.explore import chosen
from curation.views.widgets import state
from curation.views.widgets.pins import LOOK, set_words, suspects_among
from engine.contract.run_dir import RunDir


def show_in_explore(project: Project, run: RunDir | None, ids: Sequence[str]) -> None:
    """For callbacks: these samples, MAX_IDS at most, as the selection of Explore, and go there."""
    chosen.put(project, run, {"ids": list(ids[:MAX_IDS])})
    state.leave_for("explore", run.name if run is not None else None)


def doubt_line(project: Project, run: RunDir | None, ids: Sequence[str], key: str, of: str = "") -> None:
    """How many of a set look mislabeled, with the way to them; nothing where none does. of: what set, as a sentence
    begins; "" where the page says it. key: the button's."""
    looks = suspects_among(project, run, ids)
    if not looks:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.warning(f"{of}{set_words(len(looks), len(ids))} {LOOK}", icon=":material/warning:", width="stretch")
        st.button("Look at it" if len(looks) == 1 else f"Look at these {len(looks):,}", key=key,
                  icon=":material/image_search:", on_click=show_in_explore, args=(project, run, list(looks)))
