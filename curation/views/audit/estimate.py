"""Estimate: a random sample reviewed without the model's opinion; how many reviews it takes, and when to stop.

While it is reviewed the page says nothing of how many are wrong so far, unless one asks: that would bend the answers.
"""

import secrets
from dataclasses import replace

import streamlit as st

from curation.audit.estimate import allocation, sampling_plan
from curation.audit.estimate.goal import TARGET, first_look, new_goal, save_goal
from curation.audit.estimate.noise_rate import planned_reviews
from curation.audit.opening import plan_of as new_plan
from curation.audit.report.rate_words import plan_words, points
from curation.audit.reviews import batch_files, batches
from curation.audit.reviews.batches import Served
from curation.audit.reviews.random_queue import random_verdicts
from curation.views.audit import at_hand
from curation.views.audit import review as audit_review
from curation.views.audit.at_hand import Audit, Standing
from curation.views.audit.words import goal_words, rate_basis, rate_headline, until_then
from curation.views.widgets import actions, state
from curation.views.widgets.review import Summary
from curation.words import counted

_GOAL_KEY = "audit.goal"
POINTS = (0.5, 1.0, 1.5, 2.0, 3.0, 5.0)


def show(audit: Audit) -> None:
    plan = at_hand.plan_of(audit)
    if plan is None:
        _begin(audit)
        return
    served, number = audit_review.current(audit, "estimate")
    if served is None:
        served = audit_review.keep(audit, _make(audit, plan, number))
    _head(audit, served)
    audit_review.show(audit, served, f"Random batch {served.number}, model hidden", lambda _: _summary(audit),
                      "" if served.questions else allocation.empty_words(_left(audit, plan)))


def _make(audit: Audit, plan: sampling_plan.Plan, number: int) -> Served:
    return batches.estimate_served(plan, at_hand.scores_now(audit), audit.verdicts, at_hand.gold_ids(audit),
                                   number=number, reserved=_reserved(audit), stale=plan.stale(audit.table),
                                   further=_further(audit), **audit_review.facts(audit))


def _further(audit: Audit) -> int | None:
    found = at_hand.standing_of(audit)
    return found.progress.further if found else None


def _reserved(audit: Audit) -> list[str]:
    return batch_files.in_hand(audit.project.path, audit.name, "estimate", state.user_name(), audit.verdicts)


def _left(audit: Audit, plan: sampling_plan.Plan) -> allocation.Left:
    return allocation.left_of(plan, random_verdicts(audit.verdicts, plan), _reserved(audit), plan.stale(audit.table))


# -- before the first


def _begin(audit: Audit) -> None:
    with st.container(border=True, width=760):
        st.header("Draw the random sample")
        st.markdown("The noise rate comes from samples drawn at random, more of them where the model is torn, each "
                    "weighed by how it was drawn. You review them **without seeing what the model thinks**. The sample "
                    "is drawn once and kept, so that no answer can sway it.")
        chosen = st.select_slider("Precision, plus or minus", POINTS, value=100 * TARGET, key=_GOAL_KEY,
                                  format_func=lambda p: points(p / 100), width=420)
        half_width = float(chosen) / 100
        found = at_hand.scores_now(audit)
        p, given = found.p_wrong, found.given
        num = int((found.is_active & (given >= 0)).sum())
        st.markdown(plan_words(half_width, min(first_look(half_width), num),
                               planned_reviews(p[found.is_active], half_width)))
        st.button("Draw the sample", key="audit.draw", type="primary", icon=":material/casino:", on_click=_draw,
                  args=(audit, half_width))


def _draw(audit: Audit, half_width: float) -> None:
    try:
        plan = new_plan(audit.project, at_hand.scores_now(audit), audit.name, secrets.randbelow(2**31))
        sampling_plan.save_plan(audit.project.path, plan)
        save_goal(audit.project.path, audit.name, new_goal(half_width))
    except ValueError as error:
        if not state.is_ours(error):
            raise
        actions.say(str(error), is_error=True)


# -- above the sample


def _head(audit: Audit, served: Served) -> None:
    """How many are reviewed and to go; the rate behind a click."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        rows = audit.verdicts[audit.verdicts["queue"].eq("estimate") & audit.verdicts["purpose"].eq("main")]
        num = rows["sample_id"].nunique()
        st.markdown(f"**{counted(num, 'drawn sample')} reviewed.** {_to_go(audit, served)}",
                    width="stretch")
        with st.popover("The rate so far", icon=":material/visibility:",
                        help="Better not while you review: knowing it sways answers."):
            if st.toggle("Show it", key="audit.estimate.peek"):
                found = at_hand.standing_of(audit)
                if found is not None:
                    st.markdown(f"**{rate_headline(found)}.** {rate_basis(found)} {until_then(found)}")
            else:
                st.caption("Knowing the rate sways answers. It is in the Overview, too.")


def _to_go(audit: Audit, served: Served) -> str:
    """What was to go when the batch was first seen, less its answers since. What these say moves it at the end of the
    batch alone: one does not watch how they fall, nor is a rate worked out for each."""
    if served.is_done(audit.verdicts):
        found = at_hand.standing_of(audit)
        return goal_words(found) if found else ""
    own = served.own(audit.verdicts)
    num = int((own["purpose"].eq("main") & own["is_wrong"].notna()).sum())
    key = f"audit.standing/{audit_review.token_of(served)}"
    if key not in st.session_state:
        st.session_state[key] = (at_hand.standing_of(audit), num)
    kept: tuple[Standing | None, int] = st.session_state[key]
    if kept[0] is None:
        return ""
    then = kept[0].progress
    return goal_words(replace(kept[0], progress=replace(then, num_answered=then.num_answered + num - kept[1])))


def _summary(audit: Audit) -> Summary:
    found = at_hand.standing_of(audit)
    if found is None:
        return Summary("This batch is done.", (), "Go on")
    lines = (goal_words(found), "The Overview says how many were wrong, for when you are done.")
    if found.progress.is_reached:
        return Summary("The random sample is done.", lines, "Review more anyway")
    return Summary("This batch is done.", lines, "Next batch")
