"""The Decide page: what is in force, retraining under it, decisions by id list, and every decision ever taken.

Decisions go through actions; the ledger keeps them.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
import streamlit as st

from curation.project import Project
from curation.views.decide.bring_back import bring_back_section
from curation.views.decide.retrain import KINDS, retrain_box
from curation.views.explore.linking import doubt_line
from curation.views.sample import dialog
from curation.views.widgets import actions, state
from curation.views.widgets.conflicts import conflicts_section
from curation.views.widgets.decided import batches_cached
from curation.views.widgets.gallery import CHANGE_COLUMN, Act, gallery
from curation.views.widgets.layout import next_step, side_by_side, style, table_height
from curation.views.widgets.pins import PIN_OF, tension_cached, tension_words, with_tension
from curation.views.widgets.shown import shown_samples
from curation.words import counted
from engine.contract.run_dir import RunDir

PAGE_SIZE = 60
BATCHES_KEY = "decide.batches"
BATCHES_A_PAGE = 200
"""A page of them is sent to each browser with each draw, however many there are."""
_NUM_DECIDED_KEY = "decide.num_decided"
TAKE_BACK: dict[str, actions.Op] = {
    "pinned to validation": "unpin", "pinned to training": "unpin", "excluded": "include", "relabelled": "relabel"}
BY_ID: dict[str, actions.Op] = {
    "Pin to validation": "validation", "Pin to training": "train", "Unpin": "unpin", "Exclude": "exclude",
    "Include again": "include", "Relabel": "relabel"}


def page() -> None:
    st.title("Decide")
    style()
    st.caption("What people decided about samples. Decisions change none of your files and can all be undone. A run "
               "trains under those in force when it starts.")
    project = state.need_project()
    run = state.current_run(project)
    actions.take_changed()  # this page redraws as a whole anyway
    left, right = side_by_side("decide", [3, 2])
    with right:
        state.guarded(lambda: retrain_box(project, run))
    with left:
        _in_force(project, run)
    conflicts_section(project, run, dialog.open_sample)
    _by_id(project, run)
    state.guarded(lambda: bring_back_section(project))
    _batches(project)
    next_step("after retraining, see whether it helped.", ("compare", "Compare runs", None),
              ("export", "Go to Export", None))


# -- in force


def _in_force(project: Project, run: RunDir | None) -> None:
    """The samples under a decision now, a kind at a time, as a gallery from which they can be taken back."""
    st.header("In force now")
    table = shown_samples(project, run)
    decided = table.rows(np.flatnonzero(~table["decided_by"].is_null))
    decided = decided.assign(label=decided["relabel"])
    masks = {kind: is_of(decided).fillna(False).to_numpy(dtype=bool) for kind, is_of in KINDS.items()}
    if not any(mask.any() for mask in masks.values()):
        state.empty_state("No decision is in force.", "Pin, exclude or relabel samples in Explore or Triage, or by a "
                          "list of ids below. The next run trains under these decisions.",
                          link=("triage", "Go to Triage"))
        dialog.show_if_open(project, run, table)
        return
    kinds = [kind for kind, mask in masks.items() if mask.any()]
    kind = str(st.segmented_control("Show", kinds, default=kinds[0], required=True, wrap=True,
                                    label_visibility="collapsed", key=f"decide.kind.{'.'.join(kinds)}",
                                    format_func=lambda name: f"{name} {int(masks[name].sum()):,}"))
    rows, value_column = decided[masks[kind]], "margin" if "margin" in table else None
    if kind == "pinned to validation":
        doubt_line(project, run, list(rows["sample_id"]), "decide.doubt")
    if kind in PIN_OF and run is not None and run.exists():
        tension = tension_cached(project, run)
        st.caption(state.plain(tension_words(kind, rows["sample_id"], tension, run.name)))
        rows = with_tension(rows, kind, tension)
        value_column = CHANGE_COLUMN if CHANGE_COLUMN in rows else value_column
    shown = rows.head(PAGE_SIZE)

    view = f"decide: {kind}"

    def take_back(ids: list[str]) -> None:
        if actions.take(project, TAKE_BACK[kind], ids, view=view, run=run.name if run else ""):
            _count()

    def acted(act: Act) -> None:
        if act.op == "open":
            dialog.open_sample(act.ids[0], list(shown["sample_id"]))
        elif actions.carry_out(project, act, view=view, run=run.name if run else ""):
            _count()

    bar = st.container(horizontal=True, vertical_alignment="center")
    token = f"{project.name}/{kind}/{st.session_state.get(_NUM_DECIDED_KEY, 0)}"  # a decision lets go of the marks
    marked = gallery(project, shown, acted, key="decide.gallery", token=token, size=88,
                     value_column=value_column, focus=st.session_state.get(dialog.FOCUS_KEY))
    with bar:
        ids = marked or list(rows["sample_id"])
        what = f"{len(marked):,} marked" if marked else f"all {len(ids):,}"
        text = "Back to the given label: {}" if kind == "relabelled" else actions.VERBS[TAKE_BACK[kind]]
        st.button(text.format(what), key="decide.take_back", on_click=take_back, args=(ids,))
        if len(rows) > len(shown):
            st.caption(f"The first {PAGE_SIZE} of {len(rows):,}. Explore shows all of them: filter Decision.")
    dialog.show_if_open(project, run, table)


def _count() -> None:
    st.session_state[_NUM_DECIDED_KEY] = st.session_state.get(_NUM_DECIDED_KEY, 0) + 1


# -- by id


def _by_id(project: Project, run: RunDir | None) -> None:
    with st.expander("Decide by a list of ids"), st.form("decide.by_id", border=False, clear_on_submit=False):
        st.text_area("Sample ids", key="decide.ids", height=110, max_chars=2_000_000,
                     help="One a line, or separated by spaces or commas.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.selectbox("Decision", list(BY_ID), key="decide.op", width=200)
            st.selectbox("Class, to relabel", project.classes, index=None, placeholder="given label", width=200,
                         key="decide.label", help="Only for Relabel. Empty: back to the given label.")
            st.text_input("Why (optional)", key="decide.why", max_chars=500, width=260)
            st.form_submit_button("Decide", key="decide.by_ids", on_click=_decide_by_id, args=(project, run))


def _decide_by_id(project: Project, run: RunDir | None) -> None:
    """What the form holds now, as a decision.

    A draw that failed above the form makes Streamlit drop the form's values, and not its callback. A press that was on
    its way brings the fields that were touched; one that was left alone is absent then, and means its first value.
    """
    text, what, label, why = (st.session_state.get(f"decide.{name}") for name in ("ids", "op", "label", "why"))
    ids = split_ids(text or "", lambda lines: _known(project, run, lines))
    actions.take(project, BY_ID[what or next(iter(BY_ID))], ids, label=label, why=why or "", view="decide: by id list",
                 run=run.name if run else "")


def split_ids(text: str, known: Callable[[list[str]], set[str]]) -> list[str]:
    """Ids of a typed list. A whole line that is a known id stays whole, for an id may hold commas and spaces.

    known: which of these lines are ids; not asked about lines that could not be parted anyhow.
    """
    parts = {line: line.replace(",", " ").split() for line in map(str.strip, text.splitlines())}
    whole = known(several) if (several := [line for line in parts if parts[line] not in ([], [line])]) else set()
    return list(dict.fromkeys(name for line, ids in parts.items() for name in ([line] if line in whole else ids)))


def _known(project: Project, run: RunDir | None, lines: list[str]) -> set[str]:
    table = state.samples_cached(project, run)
    return set(table.ids(np.flatnonzero(table.has_ids(lines))))


# -- the list


def _batches(project: Project) -> None:
    """Every decision with who, when and why; undo of the last and of any one."""
    batches = batches_cached(project, project.newest.decisions)
    st.header("All decisions")
    if batches.empty:
        st.caption("None yet. Each will be listed here with who made it, when, why and from which view.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.button("Undo", key="decide.undo", icon=":material/undo:", on_click=actions.undo, args=(project,),
                  help=f"{actions.undo_words(project)} To undo another person's, select it below.")
        st.button("Redo", key="decide.redo", icon=":material/redo:", on_click=actions.redo, args=(project,),
                  help="Brings back what you undid last.")
        kinds = st.multiselect("Kind", sorted(batches["kind"].unique()), key="decide.f.kind", placeholder="any",
                               width=170)
        people = st.multiselect("Who", sorted(batches["who"].unique()), key="decide.f.who", placeholder="any",
                                width=170)
        text = st.text_input("Why, view or run contains", key="decide.f.text", width=210) or ""
    found = filtered(batches, kinds, people, text)
    num_pages = max(1, -(-len(found) // BATCHES_A_PAGE))
    number = st.session_state.get(key := f"decide.batches.page.{num_pages}", 1)
    shown = found.iloc[(number - 1) * BATCHES_A_PAGE:number * BATCHES_A_PAGE]
    when = st.column_config.DatetimeColumn("when (UTC)", format="YYYY-MM-DD HH:mm:ss")
    event = st.dataframe(listed(shown), hide_index=True, on_select="rerun",
                         key=BATCHES_KEY if number == 1 else f"{BATCHES_KEY}.{number}",
                         selection_mode="single-row", height=table_height(len(shown)),
                         column_config={"when": when})
    if num_pages > 1:
        st.pagination(num_pages, key=key)
    rows = [row for row in event["selection"]["rows"] if row < len(shown)]
    if not rows:
        st.caption(f"{len(found):,} of {counted(len(batches), 'decision')}. Select one to undo it alone, however old.")
        return
    chosen = shown.iloc[rows[0]]
    number = int(chosen["batch_id"])
    reason = "Already undone." if chosen["is_undone"] else actions.undo_refusal(str(chosen["who"]))
    st.button(f"Undo decision {number} alone", key="decide.undo_batch", icon=":material/undo:",
              disabled=bool(reason), on_click=actions.undo_batch, args=(project, number), help=reason or None)


def filtered(batches: pd.DataFrame, kinds: list[str], people: list[str], text: str) -> pd.DataFrame:
    """The batches of these kinds and people (any where none is named) whose why, view or run holds the text."""
    mask = pd.Series(True, index=batches.index)
    if kinds:
        mask &= batches["kind"].isin(kinds)
    if people:
        mask &= batches["who"].isin(people)
    if text.strip():
        words = batches[["why", "view", "run"]].fillna("").agg("\n".join, axis=1)
        mask &= words.str.contains(text.strip(), case=False, regex=False)
    return batches[mask].reset_index(drop=True)


def listed(batches: pd.DataFrame) -> pd.DataFrame:
    """The batches as people read them; text stays text, a table cell interprets nothing."""
    return pd.DataFrame({
        "no.": batches["batch_id"], "when": pd.to_datetime(batches["at"], utc=True, format="ISO8601"),
        "who": batches["who"],
        "what": [actions.batch_words(kind, value, num) for kind, value, num in
                 zip(batches["kind"], batches["value"], batches["num_samples"], strict=True)],
        "why": batches["why"], "view": batches["view"], "run": batches["run"], "undone": batches["is_undone"]})
