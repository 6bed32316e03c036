"""The opened sample in the address of a page. Opens nothing itself."""

import streamlit as st

from curation.samples.frames import SampleTable
from curation.views.widgets import address, state

KEY = "sample"


def arrived(table: SampleTable) -> str | None:
    """The sample that the address which has just arrived has open; "" where it has none open, or one that is not in
    the table, which is said. None: no address has arrived."""
    wanted = address.take(KEY)
    if not wanted or table.position(wanted) is not None:
        return wanted
    st.toast(state.plain(f"The link names the sample {wanted}, which is not here: the rest is shown."),
             icon=":material/link_off:", duration="infinite")
    return ""


def put(sample_id: str | None) -> None:
    """Have the address name this sample; None for none."""
    address.put(KEY, sample_id)
