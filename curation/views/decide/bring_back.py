"""What people said in other tools, or in another project, back from a file: what it would bring, then its recording.

curation.audit.reviews.brought reads and records; this asks, shows and presses once.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from curation.audit.reviews.brought import SUFFIXES, Brought, read_back, says, take
from curation.audit.reviews.confirming import audit_at_hand
from curation.audit.reviews.own_decisions import LEFT_OUT
from curation.ledger import people
from curation.ledger.newest import NewestRows
from curation.project import Project
from curation.views.presses import drop, kept_button, taken
from curation.views.widgets import actions, state
from curation.views.widgets.layout import table_height
from curation.words import counted
from engine.contract.errors import UserError

KEY = "decide.bring"
MAX_MEGABYTES = 100
MAX_SHOWN = 500
"""Rows and lines that the preview lists."""
HELP = ("Label Studio's JSON, FiftyOne's samples.json or 'CVAT for images' XML of samples that were exported to these "
        "tools (Export); a CSV of answers, as an audit writes it; or corrected_labels.csv or .parquet of another "
        f"project with these samples. Up to {MAX_MEGABYTES} MB; larger ones by the command `verdicts --file`.")
_OPEN_KEY, _FOUND_KEY = KEY + ".open", KEY + ".found"


class _Key(NamedTuple):
    """What a preview is of."""

    file: str
    project: str
    audit: str
    who: str
    newest: NewestRows


def bring_back_section(project: Project) -> None:
    """An expander, whose parts are drawn while it is open."""
    box = st.expander("Bring decisions back from a file", key=_OPEN_KEY, on_change="rerun")
    if not box.open:
        return
    with box:
        left, right = st.columns([3, 2])
        file = left.file_uploader("File from another tool or project", [one[1:] for one in SUFFIXES],
                                  key=KEY + ".file", max_upload_size=MAX_MEGABYTES, help=HELP)
        who = state.user_name()
        if people.signed_in() is None:
            who = right.text_input("Who answered, if not in the file", key=KEY + ".who", max_chars=200,
                                   placeholder=who).strip() or who
        if file is None:
            st.caption("Answers from Label Studio, FiftyOne or CVAT, and corrected labels of another project, keep "
                       "their authors' names. Nothing is recorded before you have seen what the file holds.")
            return
        _file(project, file, who)


def _file(project: Project, file: UploadedFile, who: str) -> None:
    """What the file would bring, and the button."""
    audit = audit_at_hand(project)
    try:
        found = _found(project, file, audit, who)
    except UserError as error:
        drop(KEY + ".take")
        st.error(state.plain(error), icon=":material/error:")
        return
    _show(project, found, audit)
    refusal = people.brought_refusal(found.new_authors)
    if refusal:
        st.info(state.plain(refusal), icon=":material/lock:")
    if not found.num_new:
        drop(KEY + ".take")
        return
    if kept_button(f"Record {counted(found.num_new, 'answer')}", key=KEY + ".take", icon=":material/move_to_inbox:",
                   about=(project.path, file.file_id), disabled=bool(refusal)):
        _take(project, file, audit, who)


def _take(project: Project, file: UploadedFile, audit: str, who: str) -> None:
    """Record it. Cut short and begun again it records the rest: an answer is known by what it says."""
    try:
        with taken(KEY + ".take", is_long=True), st.spinner("Recording ..."):
            done = take(project, _read(project, file, audit, who))
    except UserError as error:
        st.error(state.plain(error), icon=":material/error:")
        return
    if done.num_decisions:
        actions.say(f"{counted(done.num_decisions, 'decision')} recorded.")
    else:
        actions.say(f"{counted(done.num_verdicts, 'answer')} recorded: "
                    f"{counted(done.labels.num_relabelled, 'label')} changed, "
                    f"{counted(done.labels.num_excluded, 'sample')} excluded.")
    st.rerun()


def _found(project: Project, file: UploadedFile, audit: str, who: str) -> Brought:
    """What is new in the file, read once for what is recorded now. Raises UserError."""
    key = _Key(file.file_id, str(project.path), audit, who, project.newest)
    kept: _Key | None
    found: Brought | None
    kept, found = st.session_state.get(_FOUND_KEY, (None, None))
    if kept != key or found is None:
        with st.spinner("Reading ..."):
            found = _read(project, file, audit, who)
        st.session_state[_FOUND_KEY] = (key, found)
    return found


def _read(project: Project, file: UploadedFile, audit: str, who: str) -> Brought:
    """Raises UserError, which calls the file by its own name."""
    name = Path(file.name.replace("\\", "/")).name or "file"
    with tempfile.TemporaryDirectory(prefix="whetstone-") as folder:
        path = Path(folder) / f"file{Path(name).suffix.lower()}"
        path.write_bytes(file.getbuffer())
        try:
            return read_back(project, path, who=who, audit=audit, usual="find")
        except UserError as error:
            raise UserError(str(error).replace(str(path), name)) from error


def _show(project: Project, found: Brought, audit: str) -> None:
    """Counts, what is new, and what cannot be taken."""
    num_other = len(found.refused) - found.num_unknown
    with st.container(horizontal=True, gap="medium"):
        st.metric("New", f"{found.num_new:,}", width="content")
        st.metric("Known already", f"{found.num_same:,}", width="content",
                  help="The same person has said the same of the sample.")
        st.metric("Against another's word", f"{len(found.against):,}", width="content",
                  help="New ones on samples of which another person says otherwise, here or in this file.")
        st.metric("Unknown samples", f"{found.num_unknown:,}", width="content",
                  help="No training sample of this project has the id.")
        if num_other:
            st.metric("Cannot be taken", f"{num_other:,}", width="content", help="Each is told below.")
        if found.num_older:
            st.metric("Older", f"{found.num_older:,}", width="content",
                      help="Than what was said of the sample here since: what is newer counts.")
    if found.num_unchanged:
        st.caption(f"{counted(found.num_unchanged, 'label')} in the file are as they were exported: whether anybody "
                   "looked at them is not known.")
    if found.num_new:
        rows = new_rows(project, found)
        st.dataframe(rows.head(MAX_SHOWN), hide_index=True, placeholder="", height=table_height(len(rows), 320),
                     column_config={"when": st.column_config.DatetimeColumn("when (UTC)", format="YYYY-MM-DD HH:mm")})
        first = f"The first {MAX_SHOWN} of {len(rows):,}. " if len(rows) > MAX_SHOWN else ""
        st.caption(first + words_of(found, audit))
    elif not found.refused:
        st.caption("The file holds nothing that is not recorded already.")
    if found.refused:
        with st.expander(f"{counted(len(found.refused), 'answer')} that cannot be taken"):
            st.dataframe(pd.DataFrame({"why": found.refused[:MAX_SHOWN]}), hide_index=True)


def words_of(found: Brought, audit: str) -> str:
    """What recording does, in Markdown."""
    if found.decisions:
        return ("These become decisions of these people, from now on. Where two people decide differently, both are "
                "listed under disagreements on this page.")
    return (f"These become answers in the audit **{state.plain(audit)}**, and labels follow what most people say: an "
            "answer against another's changes no label until there is a majority.")


def new_rows(project: Project, found: Brought) -> pd.DataFrame:
    """sample, label now, says, who, otherwise, when: one row an answer, those against another's word first."""
    table = state.samples_cached(project, None)
    told = [(one.sample_id, one.who, one.at, says(one, project.classes)) for one in found.verdicts]
    told += [(one.sample_id, one.who, one.at, LEFT_OUT if one.label is None else one.label) for one in found.decisions]
    rows = pd.DataFrame(told, columns=["sample", "who", "when", "says"], dtype=object)
    rows["when"] = pd.to_datetime(rows["when"], utc=True, format="ISO8601")
    at = table.positions(rows["sample"])
    now = table.rows(at[at >= 0], ["sample_id", "current_label"]).set_index("sample_id")["current_label"]
    rows["label now"] = now[~now.index.duplicated()].reindex(rows["sample"]).to_numpy(dtype=object)
    rows["otherwise"] = [found.against.get(one) for one in zip(rows["sample"], rows["who"], strict=True)]
    rows = rows[["sample", "label now", "says", "who", "otherwise", "when"]]
    return rows.sort_values("otherwise", key=lambda column: column.isna(), kind="stable").reset_index(drop=True)
