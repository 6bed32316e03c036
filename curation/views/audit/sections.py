"""The sections of the Audit page, and the way from one to another. Draws nothing."""

import streamlit as st

SECTIONS = {"Overview": "overview", "Find": "find", "Estimate": "estimate",
            "Noise matrix": "matrix", "Reviewers": "people", "Report": "report"}
"""What the control says -> module with show(audit). A section is imported when it is first opened."""
SECTION_KEY = "section"


def go(section: str) -> None:
    """Show another section when the page is drawn next; for callbacks."""
    st.session_state[SECTION_KEY] = section
