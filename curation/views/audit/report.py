"""The report: what is missing before one would sign it, the page itself in a sandbox, and its two files."""

import streamlit as st

from curation.audit.estimate.goal import Goal, goal_of
from curation.audit.report.document import Health
from curation.audit.report.health import health
from curation.audit.report.page import report_html, report_json
from curation.audit.report.rate_words import points
from curation.ledger.newest import Newest
from curation.views.audit import at_hand, people
from curation.views.audit.at_hand import Audit
from curation.views.widgets import state
from curation.words import counted
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.stamps import Stamp, stamp_of

HEIGHT = 900


def show(audit: Audit) -> None:
    found = health_of(audit)
    missing = missing_of(found)
    if missing:
        st.warning("Before you sign it:\n\n" + "\n".join(f"- {state.plain(line)}" for line in missing),
                   icon=":material/pending_actions:")
    else:
        st.success("Nothing that the audit asks for is missing.", icon=":material/verified:")
    page = report_html(found)
    with st.container(horizontal=True, vertical_alignment="center"):
        name = f"label-audit-{audit.project.name}-{audit.name}"
        st.download_button("Download HTML", page, f"{name}.html", "text/html", key="audit.report.html", type="primary",
                           on_click="ignore", icon=":material/download:",
                           help="One file on its own; print it from any browser.")
        st.download_button("Download JSON", report_json(found), f"{name}.json", "application/json",
                           key="audit.report.json", on_click="ignore", icon=":material/download:",
                           help="The same figures for machines.")
        st.caption("As of now, from the verdicts in force.", width="content")
    st.iframe(page, height=HEIGHT)


def health_of(audit: Audit) -> Health:
    """Everything the report says. Read-only. Raises GoalError where the precision asked for cannot be read: a report
    is signed, so no default stands in for it."""
    goal = goal_of(audit.project.path, audit.name)
    decisions = audit.project.newest.decisions
    return _health(audit.path, audit.run.name, audit.name, audit.revision, decisions,
                   stamp_of(audit.project.path / MANIFEST_NAME), goal, audit)


@st.cache_resource(max_entries=2, show_spinner="Putting the report together ...")
def _health(path: str, run: str, name: str, revision: Newest, decisions: Newest, stamp: Stamp, goal: Goal,
            _audit: Audit) -> Health:
    return health(_audit.project, _audit.run, at_hand.scores_now(_audit), at_hand.plan_of(_audit),
                  _audit.verdicts, audit=name, agreement=people.agreement_of(_audit),
                  neighbours=_audit.run.read_neighbours(), goal=goal)


def missing_of(found: Health) -> list[str]:
    """What a data lead would ask for first, a sentence each; holds no names."""
    rate, lines = found["rate"], []
    if rate is None:
        return ["No random sample is drawn yet, so there is no noise rate to sign. Draw it in Estimate."]
    if not rate["num_reviews"]:
        lines.append("No drawn sample is reviewed yet.")
    elif not rate["is_complete"]:
        lines.append("Some strata have fewer than two reviews, so the interval is wide on purpose.")
    if not rate["is_reached"]:
        more = "" if rate["further"] is None else f": judged in {counted(rate['further'], 'more review')}"
        lines.append(f"The precision asked for, {points(rate['target'])}, is not reached{more}.")
    if rate["num_reviewers"] < 2:
        lines.append("One person reviewed the whole random sample, so how far another would agree is not known.")
    num_disputed = found["agreement"]["num_disputed"]
    if num_disputed:
        lines.append(f"{num_disputed:,} disagreement{'s are' if num_disputed != 1 else ' is'} open: under Reviewers "
                     "somebody who has not judged the sample settles it.")
    return lines
