"""A pin to validation of what looks mislabeled is asked about first: pin anyway, relabel, or look.

The pin waits in actions; this draws the question and carries out the answer.
"""

from collections.abc import Callable

import streamlit as st

from curation.project import Project
from curation.views.widgets import actions, state
from curation.views.widgets.actions import PinQuestion
from curation.views.widgets.pins import look_words

Open = Callable[[str, list[str]], None]
"""Opens a sample, of these ids."""


def show_as_dialog(project: Project, on_open: Open) -> None:
    """The question in a dialog of its own, where no other is open. Nothing where no pin waits."""
    if actions.question() is not None:
        in_dialog = st.dialog("Pin to validation?", icon=":material/help:", on_dismiss=actions.drop_question)
        in_dialog(draw)(project, on_open)


def draw(project: Project, on_open: Open) -> None:
    """The question in the place where this is called. Nothing where no pin waits."""
    asked = actions.question()
    if asked is None:
        return
    num, num_looks = len(asked.ids), len(asked.looks)
    named = sum(bool(other) for _, other in asked.looks.values())
    st.warning(state.plain(f"{look_words(asked.looks, num)}."), icon=":material/warning:")
    st.caption("The next run would learn from how well it does on them: a wrong label in validation teaches it the "
               "mistake. Nothing is pinned yet.")
    with st.container(horizontal=True, gap="small"):
        st.button("Look at them", key="pin.look", type="primary", icon=":material/image_search:", on_click=_look,
                  args=(asked, on_open))
        if named:
            st.button(f"Relabel {named:,}, then pin", key="pin.relabel", help="Each to the class that it looks like.",
                      on_click=_relabel_and_pin, args=(project, asked))
        if num > num_looks:
            others = [sample_id for sample_id in asked.ids if sample_id not in asked.looks]
            st.button(f"Pin the other {num - num_looks:,}", key="pin.others", on_click=_pin,
                      args=(project, asked, others))
        st.button("Pin anyway", key="pin.anyway", on_click=_pin, args=(project, asked, list(asked.ids)))
        st.button("Cancel", key="pin.cancel", on_click=_cancel)


# -- answers; the whole page is drawn anew after each, as the question may stand in a dialog


def _look(asked: PinQuestion, on_open: Open) -> None:
    actions.drop_question()
    on_open(next(iter(asked.looks)), list(asked.looks))
    st.rerun()


def _cancel() -> None:
    actions.drop_question()
    st.rerun()


def _pin(project: Project, asked: PinQuestion, ids: list[str]) -> None:
    actions.drop_question()
    actions.take(project, "validation", ids, view=asked.view, run=asked.run, why=asked.why, is_sure=True)
    st.rerun()


def _relabel_and_pin(project: Project, asked: PinQuestion) -> None:
    classes: dict[str, list[str]] = {}
    for sample_id, (_, other) in asked.looks.items():
        if other:
            classes.setdefault(other, []).append(sample_id)
    for label, ids in classes.items():
        actions.take(project, "relabel", ids, label=label, view=asked.view, run=asked.run, why=asked.why)
    _pin(project, asked, list(asked.ids))
