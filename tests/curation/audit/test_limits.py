"""What an audit's report says that it does not know: as far as it applies, and no further."""

from dataclasses import replace
from pathlib import Path

import pytest

from curation.audit.estimate.allocation import draw
from curation.audit.estimate.goal import new_goal
from curation.audit.estimate.sampling_plan import PlanDigests, save_plan
from curation.audit.report.page import report_html
from curation.audit.report.summaries import agreement_part
from curation.audit.reviews.random_queue import num_seen_before, random_verdicts
from curation.ledger.verdicts import Verdict
from engine.contract.manifest import read_info, read_manifest
from tests.curation.audit.report.test_report import Audit, reviewed, text_of
from tests.fakes import write_manifest

SEEN = "had been judged before by the same person in the ranked queue"
ANEW = "imported anew since the audit was planned"


@pytest.fixture
def audit(tmp_path: Path) -> Audit:
    return Audit(tmp_path / "pets", ("cat", "dog", "bird"))


def limits(audit: Audit) -> str:
    return "\n".join(audit.health()["limits"])


def judge(audit: Audit, sample_id: str, who: str, queue: str, verdict: str, **more: object) -> None:
    """One verdict, with a suggestion beside it where one is given."""
    given = audit.scores.classes[audit.given[audit.ids == sample_id][0]]
    audit.project.verdicts().add([Verdict(audit="spring", queue=queue, sample_id=sample_id, verdict=verdict, who=who,
                                          given_label=given, **more)])  # type: ignore[arg-type]


def others(audit: Audit, sample_id: str) -> list[str]:
    given = audit.scores.classes[audit.given[audit.ids == sample_id][0]]
    return [name for name in audit.scores.classes if name != given]


def test_what_is_not_known_is_said_as_far_as_it_applies(audit):
    reviewed(audit)
    said = "\n".join(audit.health(goal=new_goal(0.0001), agreement=agreement_part(audit.verdicts()))["limits"])
    assert "One person reviewed the whole random queue" in said and "Fewer reviews than planned" in said
    assert "No hidden repeat" in said and "No hidden item" in said and "no verdict of it enters one" in said
    assert "agreement with anybody else" not in said and "poorly" not in said
    agreement = {"pairs": [{"reviewers": ["ada", "bob"], "num": 20, "agreement": 0.6, "kappa": 0.3, "low": 0.1,
                            "high": 0.5}], "fleiss": None, "consistency": {"ada": {"num": 5, "num_right": 5}},
                 "gold": {"ada": {"num": 4, "num_right": 3}}}
    said = "\n".join(audit.health(goal=new_goal(0.5), agreement=agreement)["limits"])
    assert "ada and bob agree poorly (kappa 0.30)" in said
    assert not any(words in said for words in ("No hidden", "Fewer reviews", "No two people share"))
    assert "Of 4 hidden items with a known answer 1 were answered otherwise" in said and "up to 25 points" in said
    agreement["pairs"][0]["num"] = 19
    said = "\n".join(audit.health(agreement=agreement)["limits"])
    assert "poorly" not in said and "No two people share 20 reviewed samples yet" in said


def test_answers_faster_than_a_look_are_named(audit):
    for seconds, is_named in ((0.4, True), (3.0, False)):
        judge(audit, str(audit.ids[0]), f"dan {seconds}", "find", "given", seconds=seconds)
        assert (f"dan {seconds} took" in limits(audit)) is is_named


def test_the_run_that_cut_the_strata_is_named_beside_the_run_that_is_looked_at(audit):
    said = " ".join(audit.health()["method"])
    assert f"cut by the probabilities of run {audit.plan.run} as they were" in said


def test_who_judged_a_drawn_sample_beside_the_models_opinion_before_is_counted(audit):
    drawn = reviewed(audit).verdicts().query("queue == 'estimate'")["sample_id"].tolist()
    assert num_seen_before(audit.verdicts()) == 0 and SEEN not in limits(audit)
    assert "shown as typical" in limits(audit)
    free = [i for i in audit.ids if i not in set(audit.verdicts()["sample_id"])]
    for sample_id, who in ((free[0], "ada"), (free[1], "bob"), (drawn[0], "ada"), (drawn[1], "ada")):
        judge(audit, sample_id, who, "find", "given", suggested_label=others(audit, sample_id)[0])
    audit.say(free[:2])  # by ada: bob's opinion of the second was not hers, hers of the drawn came afterwards
    assert num_seen_before(audit.verdicts()) == 1 and f"Of the random samples 1 {SEEN}" in limits(audit)


def test_what_settled_a_dispute_beside_the_models_opinion_is_not_in_the_rate(audit):
    sample_id = draw(audit.plan, random_verdicts(audit.verdicts()), num=1)[0]
    first, second = others(audit, sample_id)
    judge(audit, sample_id, "bob", "find", "suggested", suggested_label=first)
    judge(audit, sample_id, "cid", "adjudicate", "suggested", suggested_label=first)
    judge(audit, sample_id, "ann", "estimate", "given")
    (row,) = random_verdicts(audit.verdicts(), audit.plan).to_dict("records")
    assert row["is_wrong"] is False and row["num_reviewers"] == 1
    judge(audit, sample_id, "dan", "adjudicate", "other", label=second)
    (row,) = random_verdicts(audit.verdicts(), audit.plan).to_dict("records")
    assert row["is_wrong"] is None and row["num_reviewers"] == 2
    state = audit.health()
    assert state["rate"]["num_unsure"] == 1 and state["agreement"]["num_disputed"] == 1, "ann against dan is open"


def test_what_is_wrong_but_in_dispute_as_what_has_a_column_where_there_is_any(audit):
    drawn = reviewed(audit).verdicts().query("queue == 'estimate'")["sample_id"].tolist()
    page = report_html(audit.health())
    assert "<th>none</th></tr>" in page and "<th>?</th>" not in page
    wrong = [i for i in drawn[20:] if (audit.given != audit.truth)[audit.ids == i][0]][0]
    judge(audit, wrong, "bob", "adjudicate", "neither")
    state = audit.health()
    cells = [row["cells"][4]["num_reviewed"] for row in state["matrix"]["rows"]]
    assert sorted(cells) == [0, 0, 1] and "<th>?</th></tr>" in report_html(state)
    assert state["matrix"]["columns"] == ["cat", "dog", "bird", None, "wrong, in dispute as what"]
    assert state["rate"]["num_reviews"] == 150 and state["rate"]["num_unsure"] == 0


def test_data_imported_anew_are_told_and_the_rate_stays_that_of_the_plan(audit):
    save_plan(audit.project.path, audit.plan)
    manifest = reviewed(audit).health()["provenance"]["manifest"]
    audit.plan = replace(audit.plan, digests=PlanDigests(manifest=manifest))
    before = audit.health()
    assert ANEW not in "\n".join(before["limits"])
    rows, info = read_manifest(audit.project.path), read_info(audit.project.path)
    rows.loc[rows["split"] == "train", "given_label"] = rows.loc[rows["split"] == "train", "clean_label"]
    write_manifest(audit.project.path, rows, info.classes, root=info.root)
    after = audit.health()
    num = int((audit.given != audit.truth).sum())
    assert f"{ANEW}: {num} of its 300 samples are gone or have another label" in "\n".join(after["limits"])
    assert after["rate"] == before["rate"] | {"num_stale": num} and after["matrix"] == before["matrix"]
    assert ANEW in text_of(report_html(after)) and after["corrections"]["remaining"] is None
    wrong = audit.ids[audit.given != audit.truth][0]
    now = audit.scores.classes[audit.truth[audit.ids == wrong][0]]
    audit.project.verdicts().add([Verdict(audit="spring", queue="estimate", sample_id=str(wrong), verdict="given",
                                          who="eve", given_label=now)])
    assert audit.health()["rate"]["share"] == before["rate"]["share"], "what is said of the new label is no part of it"
