"""Our components for the browser: a folder each under assets/, registered once a process. Knows none of them."""

from functools import cache

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from curation.views.widgets import state


@cache
def component(name: str) -> ComponentRenderer:
    """The component of assets/NAME/NAME.html, .css and .js; Streamlit registers it anew in each runtime that mounts
    it."""
    html, css, js = ((state.ASSETS / name / f"{name}.{kind}").read_text() for kind in ("html", "css", "js"))
    shared = (state.ASSETS / "shared" / "component.js").read_text()
    return st.components.v2.component(f"whetstone_{name}", html=html, css=css, js=f"{shared}\n{js}")
