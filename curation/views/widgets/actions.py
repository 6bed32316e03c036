"""Decisions taken in a view: into the ledger with who, why, view and run; what was done is said on the next page drawn.

The only place where views write decisions. Draws nothing but those notices.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from curation.audit.reviews import confirming, own_acts
from curation.audit.reviews.own_acts import OwnAct
from curation.ledger import people
from curation.ledger.batch import LedgerError, Origin, Pin
from curation.ledger.newest import Newest
from curation.project import Project
from curation.views.widgets import state
from curation.views.widgets.gallery import Act
from curation.views.widgets.pins import Look, suspects_among
from engine.contract.run_dir import RunDir

Op = Literal["validation", "train", "unpin", "exclude", "include", "relabel", "confirm"]
VERBS: dict[Op, str] = {
    "validation": "Pin {} to validation", "train": "Pin {} to training", "unpin": "Unpin {}", "exclude": "Exclude {}",
    "include": "Include {} again", "relabel": "Relabel {}", "confirm": "Label is right: {}",
}
"""What a button says; {} becomes a number of samples."""
DONE: dict[Op, str] = {
    "validation": "Pinned {} to validation", "train": "Pinned {} to training", "unpin": "Unpinned {}",
    "exclude": "Excluded {}", "include": "Included {} again", "relabel": "Relabelled {}",
    "confirm": "The label is right: {}",
}
NEXT: dict[Op, str] = {
    "validation": "The next run holds them out of training and learns from how well it does on them.",
    "train": "The next run trains on them and never routes them to validation.",
    "unpin": "The next run chooses their side itself.",
    "exclude": "The next run leaves them out of training and validation.",
    "include": "The next run uses them again.", "relabel": "The next run uses the new label.",
    "confirm": "They leave Triage and this audit for everybody, and the guesses at which labels are wrong learn from "
               "it. The next run trains as before.",
}
"""What a decision does, in one sentence."""
PINS_TO: dict[str, Pin | None] = {"validation": "validation", "train": "train", "unpin": None}
SHORTCUTS: dict[Op, str] = {"validation": "v", "train": "t", "exclude": "x", "relabel": "r", "confirm": "l"}
CONFIRM_ABOVE = 1_000
"""More samples than this in one decision ask for a second click."""
_NOTICES_KEY = "_notices"
_QUESTION_KEY = "_pin_question"
_CHANGED_KEY = "_decided"


def samples(num: int) -> str:
    """'1 sample', '1,234 samples'."""
    return f"{num:,} sample{'' if num == 1 else 's'}"


def carry_out(project: Project, act: Act, *, view: str, run: str = "", why: str = "") -> bool:
    """Do what a gallery's act asks of the ledger: take a decision, or step back or forward. True if it took a decision.

    An act about the page alone (open, next, previous) is the page's, and does nothing here.
    """
    match act.op:
        case "undo":
            undo(project)
        case "redo":
            redo(project)
        case "open" | "next" | "previous":
            pass
        case op:
            return take(project, op, act.ids, label=act.label, view=view, run=run, why=why)
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class PinQuestion:
    """A pin to validation that waits for a word, as some of its labels look wrong."""

    ids: tuple[str, ...]
    looks: dict[str, Look]
    view: str
    run: str
    why: str


def question() -> PinQuestion | None:
    """The pin that waits, if one does."""
    found: PinQuestion | None = st.session_state.get(_QUESTION_KEY)
    return found


def drop_question() -> None:
    st.session_state.pop(_QUESTION_KEY, None)


def take(project: Project, op: Op, ids: Iterable[str], *, label: str | None = None, view: str, run: str = "",
         why: str = "", origin: Origin = "person", is_sure: bool = False) -> bool:
    """Put one decision on these samples into the ledger; True if it was taken. An error becomes a notice.

    A pin to validation of what looks mislabeled waits as question() instead, unless is_sure.
    """
    ids = list(ids)
    if op == "validation" and not is_sure:
        looks = suspects_among(project, _run_named(project, run), ids)
        if looks:
            st.session_state[_QUESTION_KEY] = PinQuestion(ids=tuple(ids), looks=looks, view=view, run=run, why=why)
            return False
    words = {"who": state.user_name(), "why": why.strip(), "view": view[:500], "run": run}
    try:
        ledger = project.ledger()
        if op in PINS_TO:
            ledger.pin(ids, to=PINS_TO[op], origin=origin, **words)
        elif op in ("exclude", "include"):
            ledger.exclude(ids, is_excluded=op == "exclude", origin=origin, **words)
        elif op == "confirm":
            confirming.confirm(project, list(dict.fromkeys(ids)), words["who"], run)
        else:
            assert op == "relabel", f"no decision is called {op}"
            ledger.relabel(ids, label, origin=origin, **words)
    except LedgerError as error:
        say(str(error), is_error=True)
        return False
    to = "" if op != "relabel" else f" to {label}" if label is not None else " back to the given label"
    say(f"{DONE[op].format(samples(len(set(ids))))}{to}. {NEXT[op]}")
    st.session_state[_CHANGED_KEY] = True
    return True


def _run_named(project: Project, name: str) -> RunDir | None:
    run = RunDir.of(project.path, name) if name else None
    return run if run is not None and run.path.is_dir() else None


def undo(project: Project) -> None:
    """Take back this person's own newest act as a whole: a decision in force, or answers and what they brought about.
    """
    _step(project, "undo")


def undo_words(project: Project) -> str:
    """What undo would take back now, for the help of its button; labels are escaped."""
    newest = project.newest
    return _undo_words(str(project.path), state.user_name(), newest.decisions, newest.verdicts, project)


@st.cache_data(max_entries=20, show_spinner=False)
def _undo_words(path: str, who: str, decisions: Newest, verdicts: Newest, _project: Project) -> str:
    try:
        act = own_acts.to_undo(_project, who)
    except LedgerError:  # a name that no decision can bear; undo itself says so
        act = None
    if act is None:
        return "There is nothing of yours to undo."
    return f"Takes back your own newest decision: {state.plain(_act_words(act))}."


def _act_words(act: OwnAct) -> str:
    """What undo or redo is about. Holds labels and names: escape it."""
    if act.batch is not None:
        return batch_words(act.batch["kind"], act.batch["value"], act.batch["num_samples"])
    if act.is_confirmation:
        return f"that the label of {samples(len(act.answers))} is right"
    row = act.answers.iloc[-1]
    return f"your answer on {row['sample_id']} in the audit {row['audit']}"


def redo(project: Project) -> None:
    """Bring back the act that this person undid last."""
    _step(project, "redo")


def undo_refusal(who: str) -> str:
    """Why the person at the page may not undo a decision of this one by its number, one line; "" where they may."""
    return people.refusal("reviewer" if who == state.user_name() else "owner", "undoing this decision")


def undo_batch(project: Project, batch_id: int) -> None:
    """Take one batch out of force wherever it lies in the history."""
    try:
        touched = project.ledger().undo_batch(batch_id, state.user_name())
    except LedgerError as error:
        say(str(error), is_error=True)
        return
    say(f"Undone: decision {touched}.")
    st.session_state[_CHANGED_KEY] = True


def _step(project: Project, name: Literal["undo", "redo"]) -> None:
    who = state.user_name()
    try:
        act = own_acts.undo(project, who) if name == "undo" else own_acts.redo(project, who)
    except LedgerError as error:
        say(str(error), is_error=True)
        return
    if act is None:
        say(f"There is nothing of yours to {name}. Another person's decision: Decide, All decisions.")
        return
    by = f", by {act.batch['who']}" if act.batch is not None else ""
    say(f"{'Undone' if name == 'undo' else 'Done again'}: {_act_words(act)}{by}.")
    st.session_state[_CHANGED_KEY] = True


def batch_words(kind: str, value: object, num_samples: int) -> str:
    """A batch in words: 'pin 5 samples to validation'. Holds labels: escape it where it is shown."""
    count = samples(int(num_samples))
    has_value = isinstance(value, str) and value != ""
    if kind == "pin":
        return f"pin {count} to {'training' if value == 'train' else value}" if has_value else f"unpin {count}"
    if kind == "exclude":
        return f"exclude {count}" if value == "excluded" else f"include {count} again"
    if kind == "relabel":
        return f"relabel {count} to {value}" if has_value else f"put {count} back to the given label"
    return f"{kind} decision {value} ({count})"


def take_changed() -> bool:
    """True once after a decision was taken or taken back, for a fragment that must redraw the page around it."""
    return bool(st.session_state.pop(_CHANGED_KEY, False))


def is_changed() -> bool:
    """Whether a page is about to be redrawn for a decision of this session."""
    return bool(st.session_state.get(_CHANGED_KEY, False))


# -- notices


def say(text: str, is_error: bool = False) -> None:
    """Keep a notice for the next page drawn: a callback runs before there is a page."""
    st.session_state.setdefault(_NOTICES_KEY, []).append((text, is_error))


def show_notices() -> None:
    """Show what was said since the last page, as toasts that fade, errors longer than successes."""
    for text, is_error in st.session_state.pop(_NOTICES_KEY, []):
        st.toast(state.plain(text), icon=":material/error:" if is_error else ":material/check:",
                 duration="long" if is_error else "short")
