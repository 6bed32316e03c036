"""Reviewers: how much each judged, how far they agree with each other, themselves and the known truth; disputes."""

import numpy as np
import pandas as pd
import streamlit as st

from curation.audit.report.document import AgreementPart, CountPart, KappaPart
from curation.audit.report.summaries import agreement_part, reviewers_part
from curation.audit.reviews import batches
from curation.audit.reviews.batches import Served
from curation.audit.reviews.consensus import consensus
from curation.ledger.newest import Newest
from curation.views.audit import at_hand, came_along
from curation.views.audit import review as audit_review
from curation.views.audit.at_hand import Audit
from curation.views.widgets import state
from curation.views.widgets.layout import table_height
from curation.views.widgets.review import Summary
from curation.words import counted

_SETTLE_KEY = "audit.settling"


def show(audit: Audit) -> None:
    if audit.verdicts.empty:
        state.empty_state("No sample has been judged yet.", "Answer some in Find or Estimate: who agrees with whom, "
                          "and with the known truth, is measured along the way.")
        came_along.show(audit)
        return
    if st.session_state.get(_SETTLE_KEY) == audit.path and _settle(audit):
        return
    _disputes(audit)
    agreement = agreement_of(audit)
    _people(audit, agreement)
    _pairs(agreement)
    came_along.show(audit)


def agreement_of(audit: Audit) -> AgreementPart:
    """Of this audit. Read-only."""
    return _agreement(audit.path, audit.name, audit.revision, audit)


@st.cache_resource(max_entries=4, show_spinner="Comparing the reviewers ...")
def _agreement(path: str, name: str, revision: Newest, _audit: Audit) -> AgreementPart:
    gold = _audit.verdicts.loc[_audit.verdicts["purpose"].eq("gold"), "sample_id"]
    truth = None
    if len(gold) and "clean_label" in _audit.table:
        rows = np.flatnonzero(_audit.table.has_ids(gold.unique()))
        truth = _audit.table.rows(rows, ["sample_id", "clean_label"]).dropna().set_index("sample_id")["clean_label"]
    return agreement_part(_audit.verdicts, truth)


# -- disputes


def _disputes(audit: Audit) -> None:
    found, mine = at_hand.disputes_of(audit), len(at_hand.to_settle(audit))
    st.header("Disagreements")
    if not found:
        st.caption("None is open. Where two people mean different classes, a third decides.")
        return
    served, _ = audit_review.current(audit, "adjudicate")
    is_begun = served is not None and not served.is_done(audit.verdicts)
    can_settle = mine > 0 or is_begun
    waits = "" if can_settle else " You judged them yourself, and there is no majority: another person must settle."
    st.markdown(f"{dispute_words(found, consensus(at_hand.current_verdicts_of_all(audit)))}{waits}")
    words = f"Settle {counted(mine, 'disagreement')}" if mine else "Go on settling"
    st.button(words if can_settle else "Settle disagreements", key="audit.settle", type="primary",
              disabled=not can_settle, on_click=st.session_state.__setitem__, args=(_SETTLE_KEY, audit.path))


def dispute_words(sample_ids: list[str], settled: pd.DataFrame) -> str:
    """How many disagreements there are, and what waits for them. settled: curation.audit.reviews.consensus."""
    num, num_random = len(sample_ids), int(settled["state"].reindex(sample_ids).ne("disputed").sum())
    words = f"**{counted(num, 'sample')} in dispute.**"
    if num > num_random:
        words += " No label is changed until another person makes a majority."
    if num_random:
        words += (f" For {num_random:,} of them there is a majority only with answers that were given beside the "
                  "model's opinion: the noise rate waits for one without.")
    return words


def _settle(audit: Audit) -> bool:
    """The queue of disputes; False where there is nothing (left) in it."""
    served, number = audit_review.current(audit, "adjudicate")
    if served is None:
        rows = at_hand.current_verdicts_of_all(audit)
        rows = rows[rows["sample_id"].isin(at_hand.to_settle(audit))]  # not what other audits' estimates wait for
        served = batches.adjudicate_served(at_hand.scores_now(audit), rows, audit=audit.name, number=number,
                                           **audit_review.facts(audit))
        if not served.questions:
            st.session_state.pop(_SETTLE_KEY, None)
            return False
        served = audit_review.keep(audit, served)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Two people disagree on these; your answer decides.** What they said is hidden.", width="stretch")
        st.button("Back to the reviewers", key="audit.settle_back", icon=":material/arrow_back:",
                  on_click=st.session_state.pop, args=(_SETTLE_KEY, None))
    audit_review.show(audit, served, "Disagreements", _summary, "No disagreement is left for you.")
    return True


def _summary(served: Served) -> Summary:
    return Summary("These are settled as far as one answer can.",
                   ("Where three people mean three classes it stays open.",), "More, or back to the reviewers")


# -- people


def _people(audit: Audit, agreement: AgreementPart) -> None:
    st.header("People")
    rows = pd.DataFrame([{
        "reviewer": p["name"], "verdicts": p["num_verdicts"], "median seconds": p["median_seconds"],
        "can't tell": p["num_unsure"], "same answer again": share_words(p["consistency"]),
        "right where the truth is known": share_words(p["gold"])}
        for p in reviewers_part(audit.verdicts, agreement)])
    st.dataframe(rows, hide_index=True, height=table_height(len(rows)),
                 column_config={"median seconds": st.column_config.NumberColumn(format="%.1f")})
    st.caption("Measured by hidden checks, 5 to 10% of what is served: samples asked again, samples that another "
               "person judged, samples whose true class is known. In brackets the 95% interval.")


def share_words(found: CountPart | None) -> str:
    """'18 of 20, 90% (70 to 97)'."""
    if not found or not found["num"]:
        return "not asked yet"
    return (f"{found['num_right']} of {found['num']}, {found['share']:.0%} ({found['low']:.0%} to "
            f"{found['high']:.0%})")


def _pairs(agreement: AgreementPart) -> None:
    st.header("Agreement")
    if not agreement["pairs"]:
        st.caption("No two people have judged the same sample yet.")
        return
    rows = pd.DataFrame([{
        "reviewers": " and ".join(pair["reviewers"]), "both judged": pair["num"],
        "same class": f"{pair['agreement']:.0%}",
        "Cohen's kappa": kappa_words(pair), "on right or wrong alone": kappa_words(pair["on_wrong"])}
        for pair in agreement["pairs"]])
    st.dataframe(rows, hide_index=True, height=table_height(len(rows)))
    fleiss = agreement["fleiss"]
    if fleiss is not None and fleiss["num_reviewers"] > 2:
        st.markdown(f"Fleiss' kappa over {fleiss['num']:,} samples judged by {fleiss['num_reviewers']} people each: "
                    f"**{kappa_words(fleiss)}**.")
    st.caption("Kappa: 1 is perfect agreement, 0 what chance would give. Answers that settle a disagreement do not "
               "count: these samples were chosen because people disagreed.")


def kappa_words(found: KappaPart) -> str:
    """'0.82 (0.71 to 0.93)'; why there is none, where there is none."""
    if found["kappa"] is None:
        return "all answers alike"
    is_known = found["low"] is not None and found["high"] is not None
    ends = f" ({found['low']:z.2f} to {found['high']:z.2f})" if is_known else ""
    return f"{found['kappa']:z.2f}{ends or ', too few for an interval'}"
