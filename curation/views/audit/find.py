"""Find: the likeliest wrong labels first, batch by batch, each with a promise that is held against what came of it."""

import pandas as pd
import streamlit as st

from curation.audit.reviews import batch_files, batches, promise
from curation.audit.reviews.batches import Served
from curation.audit.reviews.queues import Mode
from curation.terms import define
from curation.views.audit import at_hand
from curation.views.audit import review as audit_review
from curation.views.audit.at_hand import Audit
from curation.views.runs.learned import suspects_none
from curation.views.widgets import state
from curation.views.widgets.layout import table_height
from curation.views.widgets.review import Summary
from curation.words import counted

MODE_WORDS: dict[Mode, str] = {"value": "Likeliest wrong first", "balanced": "The same from every class",
                               "uncertain": "Least certain first",
                               "confusion": "One confusion: given A, rather B"}
MODE_HELP = "Likeliest wrong first corrects the most labels, and helps the next training most where few are wrong. " \
    "Where many are, training has seen through those that are surely wrong: there least certain first helps it more."
_MODE_KEY = "audit.mode"
_CHOICES = ("audit.find.mode", "audit.find.given")
Order = tuple[Mode | None, tuple[str, str] | None]


def show(audit: Audit) -> None:
    if suspects_none(audit.project, audit.run):
        state.empty_state("There is no queue.", "This run cannot tell which labels are likely to be wrong. Estimate "
                          "still measures how many are.", link=("train", "Go to Train"))
        return
    wanted: Order | None = st.session_state.get(_mode_key(audit))
    served, number = audit_review.current(audit, "find", lambda batch: _is_wanted(audit, batch, wanted))
    if served is None:
        served = audit_review.keep(audit, _make(audit, number, wanted))
    _head(audit, served)
    order = (served.mode, served.confusion)
    audit_review.show(audit, served, f"Batch {served.number}", lambda batch: _summary(audit, batch),
                      "Nothing is left in this queue." + (" Choose another order above." if order[0] == "confusion"
                                                          else " Every sample has a verdict, is in "
                                                          "somebody's hands, is decided, or is drawn in Estimate."))


def want(audit: Audit, mode: Mode, confusion: tuple[str, str] | None = None) -> None:
    """Have the next batch drawn in this order; for callbacks."""
    for key in _CHOICES:  # they show the order of the batch in hand again
        st.session_state.pop(key, None)
    st.session_state[_mode_key(audit)] = (mode, confusion if mode == "confusion" else None)


def _mode_key(audit: Audit) -> str:
    return f"{_MODE_KEY}/{audit.path}/{audit.name}"


def _is_wanted(audit: Audit, served: Served, wanted: Order | None) -> bool:
    """Not if another order was asked for, nor, untouched, if it is of another run or the random queue has drawn of it
    since."""
    if wanted is not None and wanted != (served.mode, served.confusion):
        return False
    if not served.own(audit.verdicts).empty:
        return True
    return served.run == audit.run.name and not at_hand.drawn(audit) & {q.sample_id for q in served.questions}


def _make(audit: Audit, number: int, wanted: Order | None) -> Served:
    before = batch_files.newest(audit.project.path, audit.name, "find", state.user_name())
    mode, confusion = wanted or ((before.mode, before.confusion) if before else ("value", None))
    reserved = [*batch_files.in_hand(audit.project.path, audit.name, "find", state.user_name(), audit.verdicts),
                *at_hand.drawn(audit)]
    return batches.find_served(at_hand.scores_now(audit), audit.verdicts, at_hand.gold_ids(audit),
                               audit=audit.name, number=number, mode=mode or "value", confusion=confusion,
                               reserved=reserved, ended=at_hand.ended(audit), **audit_review.facts(audit))


# -- above the sample


def _head(audit: Audit, served: Served) -> None:
    """What is promised and what it rests on, in one line with the choice of order and the record."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{promise_words(served)} {basis_words(served.num_calibrated)}", width="stretch",
                    help=define("P(wrong)"))
        _order(audit, served)
        with st.popover("Promises kept", icon=":material/fact_check:"):
            _record(audit)


def promise_words(served: Served) -> str:
    """'About 37 of these 50 are wrong (31 to 42).', or that nothing is promised yet."""
    found = promise.expected_yield(served.main_p_wrong, served.doubt)
    if not found.num:
        return "**No promise:** the run knows nothing of these samples." if served.questions else ""
    left = promise.MIN_CALIBRATED - served.num_calibrated
    if left > 0:
        first = "least certain" if served.mode == "uncertain" else "likeliest wrong"
        return (f"**The {first} labels first.** How many of a batch are wrong is promised once "
                f"{promise.MIN_CALIBRATED} labels are judged: {left} more.")
    return f"**About {found.expected:.0f} of these {found.num} are wrong** ({found.low} to {found.high})."


def basis_words(num_calibrated: int) -> str:
    """What the probabilities rest on."""
    if not num_calibrated:
        return "Their order is the model's guess."
    return f"Calibrated on {counted(num_calibrated, 'known label')}."


def _order(audit: Audit, served: Served) -> None:
    now = served.mode or "value"
    words = MODE_WORDS[now] if now != "confusion" or not served.confusion else \
        f"{served.confusion[0]} \u2192 {served.confusion[1]}"
    with st.popover(f"Order: {state.plain(words)}", icon=":material/sort:"):
        mode = st.radio("Order of the queue", list(MODE_WORDS), format_func=MODE_WORDS.__getitem__, help=MODE_HELP,
                        index=list(MODE_WORDS).index(now), key=_CHOICES[0])
        classes, confusion = list(audit.project.classes), None
        if mode == "confusion" and len(classes) > 1:
            given = st.selectbox("Given label", classes, key=_CHOICES[1],
                                 index=classes.index(served.confusion[0]) if served.confusion else 0)
            others = [name for name in classes if name != given]
            at = served.confusion[1] if served.confusion else ""
            other = st.selectbox("Suggested instead", others, key=f"audit.find.other.{given}",
                                 index=others.index(at) if at in others else 0)
            confusion = (str(given), str(other))
        st.button("Begin a batch in this order", key="audit.find.begin", type="primary", on_click=want,
                  args=(audit, mode, confusion), disabled=(mode, confusion) == (served.mode, served.confusion))
        st.caption("A batch that is begun is left as it is; its open samples come again.")


# -- what came of it


def _record(audit: Audit) -> None:
    total, each = _promises(audit)
    if not total.num_judged:
        st.caption("Nothing has been promised and judged yet. Here you will see, batch by batch, how many wrong labels "
                   "were promised and how many were found.")
        return
    st.markdown(f"**{total.num_found:,} of {total.num_judged:,} were wrong**; {total.expected:.0f} promised "
                f"({total.low:,} to {total.high:,}): {total.outcome}.")
    rows = pd.DataFrame([{"reviewer": who, "batch": number, "judged": p.num_judged, "found wrong": p.num_found,
                          "promised": round(p.expected, 1), "from": p.low, "to": p.high, "promise": p.outcome}
                         for who, number, p in each])
    st.dataframe(rows, hide_index=True, height=table_height(len(rows), 300))


def _promises(audit: Audit) -> tuple[promise.Promise, list[tuple[str, int, promise.Promise]]]:
    return promise.promises(audit.verdicts, at_hand.num_dual(audit),
                           batch_files.doubts(audit.project.path, audit.name))


def _summary(audit: Audit, served: Served) -> Summary:
    own = served.own(audit.verdicts)
    done = promise.promise_kept(own, {(served.reviewer, served.number): served.doubt})
    is_promised = done.num_judged and served.num_calibrated >= promise.MIN_CALIBRATED
    lines = [f"About {done.expected:.0f} were promised ({done.low} to {done.high}): {done.outcome}."] \
        if is_promised else []
    num_unsure = int((own["is_wrong"].isna() & own["purpose"].eq("main")).sum())
    num_checks = int(own["purpose"].ne("main").sum())
    left_out = [f"{num_unsure} you could not tell"] * bool(num_unsure) + [
        f"{counted(num_checks, 'hidden check')}"] * bool(num_checks)
    lines += [f"Not counted: {' and '.join(left_out)}."] * bool(left_out)
    total, each = _promises(audit)
    if len(each) > 1:
        lines.append(f"Over {len(each)} batches: {total.num_found:,} of {total.num_judged:,} wrong, "
                     f"{total.expected:.0f} promised ({total.low:,} to {total.high:,}).")
    headline = f"{done.num_found} of these {done.num_judged} were wrong." if done.num_judged else \
        "Of none of these could it be told."
    return Summary(headline, tuple(lines), "Next batch")
