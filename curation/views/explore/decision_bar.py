"""Buttons that decide on the marked samples or on the whole selection, the same beside every panel of Explore.

Decides through the function it is given. Knows no panel.
"""

from collections.abc import Callable
from typing import Protocol

import streamlit as st

from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.predicates import MAX_IDS
from curation.views.explore import chosen
from curation.views.explore.selected import PAGE_OF_KEY, Selection
from curation.views.widgets import actions, likeness, state

PENDING_KEY = "explore.pending"
WHY_KEY = "explore.why"
UNMARKED = "Mark samples to decide on them, or lasso or filter to decide on many at once."
"""In a hint and not on the page, where it would move the pictures as the first is clicked."""
MAIN: tuple[actions.Op, ...] = ("validation", "train", "exclude")
BACK: tuple[actions.Op, ...] = ("unpin", "include")
_DECIDED_IN_KEY = "explore.decided_in"


class Decide(Protocol):
    def __call__(self, op: actions.Op, ids: Callable[[], list[str]], label: str | None = None) -> None: ...


def go_on_with_marked(selection: Selection) -> None:
    """After a decision on marked samples, which lets go of the marks: the next click must not fall on the whole
    selection. Marks that come and go without a decision, as in a double click, change nothing."""
    st.session_state[_DECIDED_IN_KEY] = selection.token


class Targets:
    """The samples that buttons are about: how many, what is said of them, and a function that names them on a click."""

    def __init__(self, num: int, words: str, ids: Callable[[], list[str]]) -> None:
        self.num, self.words, self.ids = num, words, ids

    @property
    def count(self) -> str:
        """In a button: 'Pin 5 to validation', beside the words."""
        return f"{self.num:,}" if self.num else "marked"


def decision_bar(project: Project, selection: Selection, table: SampleTable, marked: list[str],
                 decide: Decide, more_like: Callable[[list[str]], None]) -> None:
    """Buttons for what the keys do, on the marked samples or on the whole selection. more_like: shows all samples by
    their likeness to these."""
    on_offer = {}
    if marked or st.session_state.get(_DECIDED_IN_KEY) == selection.token:
        on_offer["marked"] = Targets(len(marked), f"{len(marked):,} marked", lambda: marked)
    if selection.is_narrowed and selection.num:
        num = selection.num
        on_offer["selected"] = Targets(num, f"{num:,} selected", lambda: selection.ids(table))
    target = Targets(0, "marked", lambda: [])
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="explore_actions"):
        if on_offer:
            # A widget of its own for each set of choices: a remembered choice must be among those on offer.
            names = list(on_offer)
            name = st.segmented_control("Decide on", names, default=names[0], required=True,
                                        label_visibility="collapsed", key=f"explore.target.{len(names)}.{names[0]}",
                                        format_func=lambda name: on_offer[name].words)
            target = on_offer[str(name)]
            if name == "marked":
                decide = _on_marked(decide, selection)
        revision = table.revision
        for op in MAIN:
            _button(actions.VERBS[op].format(target.count), op, target, decide, revision)
        _relabel(project, target, decide, revision)
        if likeness.can_ask(project):
            st.button("More like these", key="explore.more_like", icon=":material/image_search:",
                      disabled=not 0 < target.num <= likeness.MAX_PATTERN, on_click=lambda: more_like(target.ids()),
                      help="All samples, those most like the marked or selected ones first.")
        _aside(project, target, decide, revision)
    _confirmation(selection, target, decide, revision)


def _on_marked(decide: Decide, selection: Selection) -> Decide:
    def decide_on_marked(op: actions.Op, ids: Callable[[], list[str]], label: str | None = None) -> None:
        go_on_with_marked(selection)
        decide(op, ids, label)

    return decide_on_marked


def _button(text: str, op: actions.Op, target: Targets, decide: Decide, revision: str, label: str | None = None,
            key: str = "", is_off: bool = False) -> None:
    """A decision button; above CONFIRM_ABOVE samples it asks first."""
    has_key = op in actions.SHORTCUTS and not key
    args = (op, target.num, label, revision) if target.num > actions.CONFIRM_ABOVE else (op, target.ids, label)
    st.button(text, key=key or f"explore.do.{op}", disabled=is_off or not target.num,
              on_click=_ask if target.num > actions.CONFIRM_ABOVE else decide, args=args,
              help=UNMARKED if not target.num else f"Key: {actions.SHORTCUTS[op]}" if has_key else None)


def _relabel(project: Project, target: Targets, decide: Decide, revision: str) -> None:
    with st.popover(actions.VERBS["relabel"].format(target.count), disabled=not target.num, help="Key: r"):
        label = st.selectbox("New class", project.classes, index=None, placeholder="choose a class",
                             key="explore.relabel.class")
        _button("Relabel", "relabel", target, decide, revision, label, key="explore.do.relabel", is_off=label is None)
        _button("Back to the given label", "relabel", target, decide, revision, None, key="explore.do.given")


def _aside(project: Project, target: Targets, decide: Decide, revision: str) -> None:
    """Less used: taking decisions back, and the reason to be kept with the next ones."""
    with st.popover("More", help="Take decisions back; say why; keep the marked alone"):
        if target.words.endswith("marked") and 0 < target.num <= MAX_IDS:
            st.button(f"Keep only the {target.num:,} marked", key="explore.keep_marked",
                      on_click=lambda: chosen.change(project, "ids", target.ids()),
                      help="They become the selection, which can be saved as a view.")
        for op in BACK:
            _button(actions.VERBS[op].format(target.count), op, target, decide, revision)
        st.text_input("Why (optional)", key=WHY_KEY, max_chars=500, persist_state="session",
                      placeholder="kept with each decision taken here")
    st.button("Undo", key="explore.undo", icon=":material/undo:", on_click=actions.undo, args=(project,),
              help=f"{actions.undo_words(project)} Key: u")
    st.button("Redo", key="explore.redo", icon=":material/redo:", on_click=actions.redo, args=(project,),
              help="Brings back what you undid last. Key: Shift+u")


def _ask(op: actions.Op, num: int, label: str | None, revision: str) -> None:
    st.session_state[PENDING_KEY] = (op, num, label, st.session_state.get(PAGE_OF_KEY), revision)


def _confirmation(selection: Selection, target: Targets, decide: Decide, revision: str) -> None:
    """Ask before one decision on very many samples. Another selection, panel, or decision meanwhile takes the question
    back: who would be decided on is no longer who was asked about."""
    op, num, label, asked_for, asked_at = st.session_state.get(PENDING_KEY, ("", 0, None, None, 0))
    is_same = asked_for == st.session_state.get(PAGE_OF_KEY) and str(asked_for).startswith(selection.token)
    if not op or not is_same or (num, asked_at) != (target.num, revision):
        st.session_state.pop(PENDING_KEY, None)
        return
    sentence = actions.VERBS[op].format(actions.samples(target.num)) + (f" to {state.plain(label)}" if label else "")
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{sentence}?** It is one decision and can be undone.", width="content")
        st.button("Yes, do it", key="explore.confirm", type="primary", on_click=decide, args=(op, target.ids, label))
        st.button("Cancel", key="explore.cancel", on_click=st.session_state.pop, args=(PENDING_KEY, None))
