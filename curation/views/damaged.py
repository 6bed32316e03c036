"""What of a project was damaged from outside, listed with what to do about it; all else of the project works on."""

from collections.abc import Sequence

import streamlit as st

from curation.samples.taking_part import is_lacking, part_lines
from curation.views.widgets import state
from engine.contract.run_dir import RunDir
from engine.contract.run_list import Damaged


def show_damaged(found: Sequence[Damaged], one: str, many: str) -> None:
    """One line for each of them, below what works; nothing where nothing is damaged. one, many: what they
    are."""
    if not found:
        return
    with st.container(border=True):
        words = f"One {one} cannot be read and is" if len(found) == 1 else \
            f"{len(found):,} {many} cannot be read and are"
        st.markdown(f":material/broken_image: **{words} left out of every list.** All else works as before.")
        for name, line in found:
            st.markdown(f"**{state.plain(name)}**: {state.plain(line[:1].upper() + line[1:])}.")


def show_parts(*runs: RunDir) -> None:
    """That figures are of a part of the data, a line a split and run; nothing where all samples take part."""
    lines = "\n\n".join(state.plain(line) for run in runs for line in part_lines(run))
    if any(map(is_lacking, runs)):
        st.warning(lines, icon=":material/data_alert:")
    elif lines:
        st.caption(lines)
