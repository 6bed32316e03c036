"""The address of a page: what a link, a reload or Back brings, and what the page writes into it as it changes.

An address speaks once, when it arrives; after that the session does, and the address follows. It is not read at each
draw: a draw asked for while an older change was still on its way to the browser comes with the older address.
Knows no page's keys.
"""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

_ARRIVED_KEY = "_address"
_PAGE = ""
"""The page that an address is of, beside its keys, of which none is empty."""


def begin(page: str) -> None:
    """Once in each draw, before anything else is: take down the address where it opened this session or came by Back
    or Forward. It is of the page `page`, and forgotten on another."""
    context = get_script_run_ctx()
    if _ARRIVED_KEY not in st.session_state or (context is not None and context.is_history_navigation):
        st.session_state[_ARRIVED_KEY] = {**st.query_params.to_dict(), _PAGE: page}
    elif st.session_state[_ARRIVED_KEY].get(_PAGE) != page:
        st.session_state[_ARRIVED_KEY] = {}


def take(key: str) -> str | None:
    """What the address that has just arrived says of this: "" for nothing. None where it was asked before, or none has
    arrived: then what the session has stays in force."""
    arrived: dict[str, str | None] = st.session_state.get(_ARRIVED_KEY, {})
    if not arrived:
        return None
    value = arrived.get(key, "")
    arrived[key] = None
    return value


def put(key: str, value: str | None) -> None:
    """Have the address say this from now on; None takes it out."""
    put_all({key: value})


def put_all(values: dict[str, str | None]) -> None:
    """Have the address say all of this at once from now on, as one message to the browser; None takes a key out."""
    for key in [key for key, value in values.items() if value is None]:
        st.query_params.pop(key, None)
    said = {key: value for key, value in values.items() if value is not None}
    if any(st.query_params.get(key) != value for key, value in said.items()):
        st.query_params.update(said)
