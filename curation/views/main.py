"""Entry script of the app: page settings, sidebar, navigation. Runs at each interaction; every page is a module."""

import importlib
import time
from collections.abc import Callable

import streamlit as st

from curation.views import garbage, presses, roles
from curation.views.routes.pages import DEFAULT_PAGE, PAGES
from curation.views.sidebar import sidebar
from curation.views.sign_in import let_in
from curation.views.widgets import actions, address, others, state
from engine.contract.disk import event_log

SHOW_DECISIONS = ("explore", "triage", "decide", "export")
# A draw that takes longer goes into the log. (No string here: Streamlit would draw it on every page of this script.)
SLOW_SECONDS = 2.0


def _page_of(name: str) -> Callable[[], None]:
    """A page's function; its module is imported when the page is first opened, so that the app starts quickly."""
    def draw() -> None:
        state.guarded(importlib.import_module(f"curation.views.{name}.page").page)

    draw.__name__ = name
    return draw


def main() -> None:
    began = time.monotonic()
    shared = state.ASSETS / "shared"
    st.set_page_config(page_title="Whetstone", page_icon=str(shared / "icon.svg"), layout="wide")
    st.html(shared / "app.css")
    st.html((shared / "app.html").read_text(), unsafe_allow_javascript=True)  # ours, without a word from outside
    st.logo(str(shared / "logo.svg"), size="large", icon_image=str(shared / "icon.svg"))
    if not let_in():
        return
    roles.install()
    pages = {name: st.Page(_page_of(name), title=title, icon=icon, url_path=name, default=name == DEFAULT_PAGE)
             for name, (title, icon) in PAGES.items()}
    state.set_pages(pages)
    chosen = st.navigation(list(pages.values()))
    state.leave()
    address.begin(chosen.url_path)
    state.guarded(sidebar)
    if chosen.url_path in SHOW_DECISIONS:
        state.guarded(others.watch)
    actions.show_notices()
    chosen.run()
    presses.drop_unmet()
    seconds = time.monotonic() - began
    others.PACE.drew(seconds)
    if seconds > SLOW_SECONDS:
        event_log.event("slow_page", verb=chosen.url_path or DEFAULT_PAGE, seconds=round(seconds, 3))
    garbage.COLLECTOR.drew()


main()
