"""A queue of the Audit page on the review component: which batch is in hand, answers into the log, the next batch.

The same for every queue; what goes into a batch and what is said at its end, the sections say. Between two answers
nothing large is read: the batch is a file, the answers are the log's.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TypedDict

import streamlit as st

from curation.audit.reviews import answering, batch_files, batches, promise
from curation.audit.reviews.batches import Served
from curation.audit.reviews.given_labels import given_rows
from curation.ledger.verdicts import VERDICTS, Queue, choice
from curation.views.audit import at_hand
from curation.views.audit.at_hand import Audit
from curation.views.scored import chance_words
from curation.views.widgets import actions, state
from curation.views.widgets.review import Act, ReviewItem, Summary, review
from engine.contract.manifest import file_digest

_SERVED_KEY = "audit.served"
_PASSED_KEY = "audit.passed"
_SHOWN_KEY = "audit.shown"
MAX_KEPT = 4
"""Batches whose late answers are still taken in this session."""


def current(audit: Audit, queue: Queue,
            is_wanted: Callable[[Served], bool] = lambda _: True) -> tuple[Served | None, int]:
    """(the batch in hand, None where a new one is due; the number of that new one).

    is_wanted: whether a batch that is not done is still the one asked for. Where a new one is due, labels are brought
    in line with all verdicts there are.
    """
    served, number = _in_hand(audit, queue, is_wanted)
    if served is None:
        at_hand.reconcile_once(audit.project, f"{audit.name}/{queue}/{number}")
    return served, number


def _in_hand(audit: Audit, queue: Queue, is_wanted: Callable[[Served], bool]) -> tuple[Served | None, int]:
    served = batch_files.newest(audit.project.path, audit.name, queue, state.user_name())
    if served is None:
        return None, 1
    whole = _still_there(audit, served)
    served = _blind(audit, whole)
    if not served.is_done(audit.verdicts):
        if is_wanted(whole):
            return served, served.number
        return None, served.number + (not served.own(audit.verdicts).empty)
    is_at_its_end = st.session_state.get(_SHOWN_KEY) == token_of(served) != st.session_state.get(_PASSED_KEY)
    return (served if is_at_its_end else None), served.number + 1


def _still_there(audit: Audit, served: Served) -> Served:
    """The batch without questions that cannot be answered any longer, as data imported anew has lost the sample or has
    another label for it; what is answered stays."""
    rows = given_rows(audit.project, [question.sample_id for question in served.questions])
    now = dict(zip(rows["sample_id"], rows["given_label"], strict=True))
    answered = set(served.own(audit.verdicts)["sample_id"])
    return replace(served, questions=tuple(q for q in served.questions if q.sample_id in answered
                                           or now.get(q.sample_id) == q.given_label))


def _blind(audit: Audit, served: Served) -> Served:
    """The batch without what the random queue has drawn since, as far as it would tell the model's opinion of it."""
    try:
        drawn = at_hand.drawn(audit)
    except batch_files.BatchError:  # any sample may be drawn
        if served.queue == "find":
            raise
        return replace(served, typical={})
    return batches.without_opinion_on(served, drawn, set(served.own(audit.verdicts)["sample_id"]))


class Facts(TypedDict):
    """What each batch records of who answers it and by which model."""

    reviewer: str
    run: str
    model: str


def facts(audit: Audit) -> Facts:
    """Of the person at the page."""
    return Facts(reviewer=state.user_name(), run=audit.run.name, model=file_digest(audit.run.path / "config.json"))


def keep(audit: Audit, served: Served) -> Served:
    """Write a new batch, unless there is nothing in it; as it is shown."""
    if served.questions:
        batch_files.save(audit.project, served)
    return _blind(audit, served)


def token_of(served: Served) -> str:
    """Names these very items: an untouched batch may be replaced under its number."""
    return f"{served.audit}/{served.queue}/{served.number}/{served.created:.3f}/{served.reviewer}"


def show(audit: Audit, served: Served, heading: str, summary: Callable[[Served], Summary], empty: str) -> None:
    """The component with this batch."""
    own, token = served.own(audit.verdicts), token_of(served)
    st.session_state[_SHOWN_KEY] = token
    known: dict[str, Served] = st.session_state.setdefault(_SERVED_KEY, {})
    known.setdefault(token, served)  # with what has been drawn since: an answer to it may be under way
    for old in list(known)[:-MAX_KEPT]:
        del known[old]
    own = own.sort_values("verdict_id")
    answers = {str(sample_id): (str(verdict), str(label) if verdict == "other" else None) for sample_id, verdict, label
               in zip(own["sample_id"], own["verdict"], own["label"], strict=True)}
    is_told = may_tell_chances(served)
    review(audit.project, [_item(question, is_told) for question in served.questions], lambda act: _act(audit, act),
           key=f"audit.review.{served.queue}", batch=token, answers=answers, references=served.typical, heading=heading,
           last=next(reversed(answers), None), empty=empty,
           summary=summary(served) if served.questions and served.is_done(audit.verdicts) else None)


def may_tell_chances(served: Served) -> bool:
    """Whether a batch may say how probably each label is wrong: beside suggestions alone, once enough is known, and
    where that tells no hidden check from the others."""
    main, checks = ([q.p_wrong for q in served.questions if (q.purpose == "main") == is_main]
                    for is_main in (True, False))
    known = [p for p in main if p is not None]
    is_hidden = all(p is not None and known and min(known) <= p <= max(known) for p in checks)
    return served.queue == "find" and served.num_calibrated >= promise.MIN_CALIBRATED and is_hidden


def _item(question: batches.Question, is_told: bool) -> ReviewItem:
    sure, p = question.confidence, question.p_wrong
    chance = f"wrong: {chance_words(p)}" if is_told and p is not None else None
    confidence = None if sure is None else f"{chance_words(sure)} if the given label is wrong"
    return ReviewItem(key=question.sample_id, sample_id=question.sample_id, given=question.given_label,
                      suggestion=question.suggested_label, confidence=confidence, chance=chance)


def _act(audit: Audit, act: Act) -> None:
    """One act of the browser, on the batch that it is about: that may be an earlier one by now."""
    served = st.session_state.get(_SERVED_KEY, {}).get(act.batch)
    if served is None:
        actions.say("An answer came for a batch that this session does not know; it was not taken. Load the page "
                    "again and answer it anew.", is_error=True)
        return
    if act.op == "next":
        st.session_state[_PASSED_KEY] = act.batch
        return
    try:
        if act.op == "retract":
            answering.take_back(audit.project, served, str(act.item), key=act.key)
        else:
            verdict = choice("verdict", str(act.verdict), VERDICTS)
            answering.answer(audit.project, served, str(act.item), verdict, label=act.label, seconds=act.seconds,
                             key=act.key)
    except ValueError as error:
        if not state.is_ours(error):
            raise
        actions.say(str(error), is_error=True)
