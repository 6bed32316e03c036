"""The audit `spring` that the version before the rooms left (make.py says what is in it) goes on in this one."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.audit.estimate.goal import Goal, goal_of
from curation.audit.estimate.sampling_plan import load_plan
from curation.audit.reviews import batch_files, batches
from curation.audit.reviews.answering import answer, take_back
from curation.audit.reviews.batches import Served
from curation.audit.reviews.reconcile import reconcile_all
from curation.audit.suspects.evidence import missing_of
from curation.audit.suspects.scores import Scores, scores_of
from curation.exports.exporting import export
from curation.project import Project
from curation.samples.table import sample_table, samples
from engine.contract.manifest import file_digest
from tests import ROOT, views

NONE = np.empty(0, dtype=object)
DRAWN = ("p010", "p004", "p002", "p019")
"""Of the file, those that were answered."""


@pytest.fixture
def pets(tmp_path: Path) -> Project:
    with zipfile.ZipFile(ROOT / "tests" / "before_rooms" / "before_rooms.zip") as archive:
        archive.extractall(tmp_path)
    return Project.open(tmp_path / "projects" / "pets")


def scores(project: Project) -> Scores:
    run = project.run("first")
    return scores_of(project, [run], samples(project, run), run.read_neighbours())


def newest(project: Project, queue: str, who: str) -> Served:
    found = batch_files.newest(project.path, "spring", queue, who)
    assert found is not None
    return found


def test_plan_goal_and_batches_are_read_with_their_empty_model(pets: Project) -> None:
    plan = load_plan(pets.path, "spring")
    assert plan is not None and plan.num_population == 65 and goal_of(pets.path, "spring") == Goal(
        half_width=0.05, first_look=150, rule="until narrow")
    assert plan.digests.model == file_digest(pets.run("first").path / "config.json")
    assert plan.digests.manifest and plan.digests.population and plan.stale(samples(pets, None)) == []
    drawn = newest(pets, "estimate", batches.FILE)
    assert drawn.model == "" and drawn.mode is None and [q.sample_id for q in drawn.questions[:4]] == list(DRAWN)
    found = newest(pets, "find", "ada")
    assert found.model == plan.digests.model and found.mode == "value" and len(found.questions) == 8
    verdicts = pets.verdicts().in_force("spring")
    assert len(verdicts) == 17 and [len(newest(pets, "find", who).own(verdicts)) for who in ("ada", "bob")] == [5, 5]
    everything = {q.sample_id for served in (drawn, newest(pets, "estimate", "bob")) for q in served.questions}
    assert batch_files.drawn(pets.path, "spring", verdicts, pets.verdicts().draws()) == everything


def test_its_labels_are_as_its_verdicts_say_and_reconciling_changes_none(pets: Project) -> None:
    revision = pets.ledger().revision
    reconcile_all(pets)
    assert pets.ledger().revision == revision
    labels = sample_table(pets, None).set_index("sample_id")
    assert labels.loc[["p027", "p047", "p057", "p037"], "current_label"].tolist() == ["bird", "bird", "bird", "cat"]
    assert bool(labels.loc["p004", "excluded"])


def test_answers_go_on_in_its_batches_and_can_be_taken_back(pets: Project) -> None:
    served, log = newest(pets, "find", "bob"), pets.verdicts()
    before = log.in_force()
    assert len(before) == 17 and served.questions[5].sample_id not in set(served.own(before)["sample_id"])
    open_id = next(q.sample_id for q in served.questions if q.sample_id not in set(before["sample_id"]))
    answer(pets, served, open_id, "neither", key="k")
    assert pets.ledger().state().set_index("sample_id").loc[open_id, "excluded"]
    assert take_back(pets, served, open_id) and len(log.in_force()) == len(before)
    assert take_back(pets, newest(pets, "find", "ada"), "p027"), "an answer that the older version took"
    assert "p027" not in set(pets.ledger().state()["sample_id"])


def test_the_next_batches_of_both_queues_ask_what_is_open(pets: Project) -> None:
    plan, verdicts, found = load_plan(pets.path, "spring"), pets.verdicts().in_force("spring"), scores(pets)
    assert plan is not None
    drawn = batch_files.drawn(pets.path, "spring", verdicts, pets.verdicts().draws())
    asked = batches.find_served(found, verdicts, NONE, audit="spring", reviewer="eve", number=1, run="first",
                                model=plan.digests.model, reserved=sorted(drawn))
    ids = {q.sample_id for q in asked.questions if q.purpose == "main"}
    assert ids and not ids & (drawn | set(verdicts["sample_id"]))
    random = batches.estimate_served(plan, found, verdicts, NONE, reviewer="eve", number=1, run="first",
                                     model=plan.digests.model, size=10)
    main_ids = {q.sample_id for q in random.questions if q.purpose == "main"}
    assert len(main_ids) == 10 and not main_ids & set(DRAWN)
    file = batches.file_served(plan, verdicts, number=2, size=3)
    assert file.model == plan.digests.model
    for served in (asked, random, file):
        batch_files.save(pets, served)
        assert newest(pets, served.queue, served.reviewer) == served


def test_its_report_goes_on_under_the_rules_of_now(pets: Project, tmp_path: Path, capsys) -> None:
    report = ["report", str(pets.path), "--run", "first", "--audit", "spring", "--out"]
    assert main([*report, str(tmp_path / "r.json")]) == 0 and main([*report, str(tmp_path / "r.html")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    rate = found["rate"]
    assert [rate[name] for name in ("num_population", "num_reviews", "num_wrong", "num_unsure", "num_seen",
                                    "target")] == [65, 6, 1, 1, 1, 0.05]
    assert rate["share"] is None and (rate["num_early"], rate["planned"], rate["rule"]) == (44, 64, "until narrow")
    np.testing.assert_allclose([rate["low"], rate["high"]], [0.026629, 0.752001], atol=1e-5)
    done = found["corrections"]
    assert (done["num_changed"], done["num_confirmed"], done["num_excluded"]) == (5, 9, 2)
    assert found["find"] is None, "its batch began before so many labels were known that a promise is made"
    assert found["missing"] == []
    assert "of 65 given labels are wrong" in (tmp_path / "r.html").read_text()


def test_its_random_queue_draws_for_a_file_and_takes_the_answers(pets: Project, tmp_path: Path, capsys) -> None:
    file = tmp_path / "e.csv"
    assert main(["estimate", str(pets.path), "--audit", "spring", "--out", str(file), "--draw", "10"]) == 0
    rows = pd.read_csv(file, dtype=str)
    plan = load_plan(pets.path, "spring")
    assert plan is not None and rows["sample_id"].nunique() == 10 and not set(rows["sample_id"]) & set(DRAWN)
    assert set(rows["sample_id"]) <= set(plan.population["sample_id"])
    rows["verdict"] = "given"
    rows.to_csv(file, index=False)
    assert main(["verdicts", str(pets.path), "--audit", "spring", "--file", str(file), "--by", "eve"]) == 0
    assert "10 verdicts by eve" in capsys.readouterr().out


def test_its_corrections_are_exported(pets: Project, tmp_path: Path) -> None:
    assert export(pets, None, "corrected-labels", "table", tmp_path / "out").num_samples == 5
    rows = pd.read_csv(tmp_path / "out" / "corrected_labels.csv").set_index("sample_id")
    assert rows["corrected_label"].to_dict() == {"p017": "dog", "p027": "bird", "p037": "cat", "p057": "bird",
                                                 "p064": "dog"}
    assert rows.loc["p027", ["who", "why"]].tolist() == ["ada", "audit: the given label is wrong"]


def test_every_section_of_its_page_is_shown(pets: Project, monkeypatch) -> None:
    app = views.start(pets.path.parent, "audit", project="pets", run="first")
    app.text_input(key="person").set_value("ada")
    for section in ("Overview", "Find", "Estimate", "Noise matrix", "Reviewers", "Report"):
        app.session_state["section"] = section
        assert "cannot be read" not in views.texts(views.rerun(app)) and not app.error


def test_a_run_of_it_without_a_map_says_what_evidence_it_lacks(pets: Project, capsys) -> None:
    assert missing_of(pets.run("untouched")) == ["label_head", "neighbours"] and missing_of(pets.run("first")) == []
    assert main(["audit", str(pets.path), "--run", "untouched", "--audit", "spring"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "keeps no" in line]
    assert line.startswith("Run untouched keeps no predictions of labels that did not see them and no neighbours")
