"""The form of a new run as other pages know it: they fill it in before they lead to it. Draws nothing."""

import streamlit as st

KEY = "new_run."
"""How the keys of its widgets begin."""
FORM_KEY = "train.form"
"""Whether the form is open."""
IMAGES = "the images themselves"


def fill_in(method: str, features: str | None) -> None:
    """Have the form open with this method on these features; None: on the images."""
    st.session_state[KEY + "method"] = method
    st.session_state[KEY + "features"] = features or IMAGES
    st.session_state[FORM_KEY] = True
