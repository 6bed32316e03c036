"""Side-by-side layout that stacks where there is no room, and the style sheet of the pages about samples."""

from collections.abc import Sequence
from typing import Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from curation.views.widgets import state

ROWS_AT_ONCE = 10


def style() -> None:
    """Load assets/shared/curation.css; each of these pages calls it once."""
    st.html(state.ASSETS / "shared" / "curation.css")


def side_by_side(name: str, widths: Sequence[int]) -> Sequence[DeltaGenerator]:
    """Columns of these relative widths; below 1,180 pixels one under another. `name` is unique on the page."""
    with st.container(key=f"stack_{name}"):
        return st.columns(widths, gap="medium")


def next_step(why: str, *steps: tuple[str, str, str | None]) -> None:
    """The end of a page: what usually comes now, as buttons, the first the likeliest. steps: (page, label, run to show
    there or None for the one that is shown)."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="next_step"):
        st.markdown(f"**Next:** {why}", width="content")
        for number, (page, label, run) in enumerate(steps):
            st.button(label, key=f"next.{page}", icon=":material/arrow_forward:",
                      type="secondary" if number else "primary", on_click=state.leave_for, args=(page, run))


def table_height(num_rows: int, most: int = 400) -> Literal["auto"] | int:
    """Height of a data frame: as its rows need, a scrolling `most` pixels for more than a few."""
    return "auto" if num_rows <= ROWS_AT_ONCE else most
