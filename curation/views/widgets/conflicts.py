"""Where two people decided differently: who said what, and the ways to settle it. On Decide and in the sample dialog.

Conflicts come from the ledger; settling them goes through actions. Draws and words.
"""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from curation.ledger.newest import Newest
from curation.ledger.replay import EXCLUSIONS
from curation.project import Project
from curation.views.widgets import actions, state
from curation.views.widgets.layout import table_height
from engine.contract.run_dir import RunDir

MAX_ROWS = 1_000
TABLE_KEY = "decide.conflicts"
_NUM_SETTLED_KEY = "decide.num_settled"


def conflicts_cached(project: Project) -> pd.DataFrame:
    """Every open conflict, read again when the ledger changes. Shared by all sessions: read-only."""
    return _conflicts(str(project.path), project.newest.decisions, project)


@st.cache_resource(max_entries=4, show_spinner=False)
def _conflicts(path: str, newest: Newest, _project: Project) -> pd.DataFrame:
    return _project.ledger().conflicts()


def words_of(kind: str, value: object) -> str:
    """What somebody decided, in a few words: 'pin to training', 'exclude', 'relabel to dog'. Holds labels."""
    has_value = isinstance(value, str) and value != ""
    if kind != "relabel" and value in EXCLUSIONS:
        return "exclude" if value == EXCLUSIONS[0] else "include again"
    if kind == "relabel":
        return f"relabel to {value}" if has_value else "back to the given label"
    return ("pin to training" if value == "train" else f"pin to {value}") if has_value else "unpin"


def listed(rows: pd.DataFrame) -> pd.DataFrame:
    """Conflicts as people read them; text stays text, a table cell interprets nothing."""
    columns: dict[str, pd.Series | list[str]] = {"sample": rows["sample_id"], "in force": _words(rows, "in_force")}
    for side, number in (("first", "1st"), ("second", "2nd")):
        columns |= {f"{number}: who": rows[f"{side}_who"],
                    f"{number}: said": _words(rows, f"{side}_value"),
                    f"{number}: when": pd.to_datetime(rows[f"{side}_at"], utc=True, format="ISO8601")}
    return pd.DataFrame(columns)


def _words(rows: pd.DataFrame, column: str) -> list[str]:
    return [words_of(kind, value) for kind, value in zip(rows["kind"], rows[column], strict=True)]


def conflict_sentences(rows: pd.DataFrame) -> list[str]:
    """Each conflict as a sentence. Holds labels and names: escape it."""
    return [f"{first} said {what_first} ({str(when_first)[:10]}), {second} said {what_second} "
            f"({str(when_second)[:10]}); in force: {now}." for first, what_first, when_first, second, what_second,
            when_second, now in zip(rows["first_who"], _words(rows, "first_value"), rows["first_at"],
                                    rows["second_who"], _words(rows, "second_value"), rows["second_at"],
                                    _words(rows, "in_force"), strict=True)]


def conflicts_section(project: Project, run: RunDir | None, on_open: Callable[[str, list[str]], None]) -> None:
    """The list with its buttons; one line where people agree. on_open: shows a sample, of these ids."""
    rows = conflicts_cached(project)
    st.header("Conflicts")
    if rows.empty:
        st.caption("None: no two people have decided differently on a sample.")
        return
    num = len(rows)
    st.warning(f"On {actions.samples(rows['sample_id'].nunique())} two people decided differently. The column "
               "*in force* says what holds until somebody settles it.", icon=":material/group:")
    shown = rows.head(MAX_ROWS)
    when = {f"{n}: when": st.column_config.DatetimeColumn(format="YYYY-MM-DD HH:mm") for n in ("1st", "2nd")}
    event = st.dataframe(listed(shown), hide_index=True, on_select="rerun", selection_mode="multi-row",
                         key=f"{TABLE_KEY}.{st.session_state.get(_NUM_SETTLED_KEY, 0)}",
                         height=table_height(len(shown)), column_config=when)
    chosen = shown.iloc[[row for row in event["selection"]["rows"] if row < len(shown)]]
    marked = chosen if len(chosen) else rows
    what = f"{len(marked):,} selected" if len(chosen) else f"all {num:,}"
    with st.container(horizontal=True, gap="small"):
        for side, label in (("second", "Keep the later"), ("first", "Go back to the earlier")):
            st.button(f"{label} for {what}", key=f"decide.settle.{side}", on_click=settle,
                      args=(project, marked, side, run.name if run else ""),
                      help="Takes a new decision in your name; both earlier ones stay in the history.")
        if len(chosen) == 1:
            row = chosen.iloc[0]
            for side in ("first", "second"):
                reason = actions.undo_refusal(str(row[f"{side}_who"]))
                st.button(state.plain(f"Undo decision {row[f'{side}_batch']} of {str(row[f'{side}_who'])[:30]}"),
                          key=f"decide.settle.undo.{side}", icon=":material/undo:", on_click=_undo,
                          args=(project, int(row[f"{side}_batch"])), disabled=bool(reason),
                          help=reason or "All of it, for all of its samples.")
            st.button("Open the sample", key="decide.settle.open", icon=":material/image_search:",
                      on_click=on_open, args=(row["sample_id"], list(shown["sample_id"])))
    if num > len(shown):
        st.caption(f"The newest {MAX_ROWS:,} of {num:,} are listed.")


def settle(project: Project, rows: pd.DataFrame, side: str, run: str = "") -> None:
    """Decide these conflicts anew as their `side` ("first" or "second") has it, in the present person's name."""
    now = project.ledger().conflicts()
    names = ["sample_id", "kind", "first_batch", "second_batch"]
    rows = rows.merge(now[names], on=names)  # what somebody settled meanwhile is settled
    values = rows[f"{side}_value"].fillna("")
    for (kind, value), part in rows.groupby([rows["kind"], values], sort=True):
        op, label = _operation(str(kind), str(value))
        actions.take(project, op, part["sample_id"], label=label, view="decide: conflicts", run=run,
                     origin="settlement", is_sure=True)  # the pin was asked about when it was first taken
    st.session_state[_NUM_SETTLED_KEY] = st.session_state.get(_NUM_SETTLED_KEY, 0) + 1


def _operation(kind: str, value: str) -> tuple[actions.Op, str | None]:
    """The decision, and its label, that has this value hold."""
    if kind == "relabel":
        return "relabel", value or None
    if kind == "exclude" or value == EXCLUSIONS[0]:
        return ("exclude" if value == EXCLUSIONS[0] else "include"), None
    return ("validation" if value == "validation" else "train" if value == "train" else "unpin"), None


def _undo(project: Project, batch_id: int) -> None:
    actions.undo_batch(project, batch_id)
    st.session_state[_NUM_SETTLED_KEY] = st.session_state.get(_NUM_SETTLED_KEY, 0) + 1
