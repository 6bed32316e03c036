"""The files of a study: written and read back, those of older code as well; damaged ones are refused in one line."""

import json
from pathlib import Path

import pytest

from engine.contract.studies.study_dir import StudyDir, StudyDocument
from engine.contract.studies.study_plan import Arm, StudyError, StudyPlan
from tests.fake_studies import document_of

PLAN = StudyPlan(arms=(Arm.of_method("erm"), Arm.of_method("molere")), seeds=(0, 1), reference="erm")
ROW = {"arm": "erm", "seed": 0, "state": "done", "error": None, "method": "erm", "settings": PLAN.arms[0].to_dict(),
       "config": {"method": "erm"}, "decisions_digest": "", "manifest_digest": "d", "code_revision": "c",
       "finished": 1.0, "test_accuracy": 0.5}


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return StudyDir.of(tmp_path, "s")


def test_a_document_comes_back_as_it_was(study):
    document = document_of(PLAN, "s", True)
    study.write_document(document)
    assert study.read_document() == document


def test_sentences_of_older_code_are_left_alone():
    document = document_of(PLAN, "s")
    assert StudyDocument.of_dict(document.to_dict() | {"not_controlled": ["Networks: tiny."]}) == document


@pytest.mark.parametrize(("change", "words"), [
    ({"seeds": None}, "is no study's: a plan must have arms"),
    ({"hardware": None}, "is no study's: a study must have name, .*; its hardware is None"),
    ({"created": "yesterday"}, "its created is 'yesterday'"),
    ({"is_tuned_here": "yes"}, "its is_tuned_here is 'yes'"),
    ({"versions": []}, r"its versions is \[\]"),
])
def test_a_damaged_document_is_refused_in_one_line(study, change, words):
    study.write_json(study.path / "study.json", document_of(PLAN, "s").to_dict() | change)
    with pytest.raises(StudyError, match=words) as caught:
        study.read_document()
    assert "\n" not in str(caught.value) and "study.json" in str(caught.value)


def test_a_study_without_a_document_says_how_to_begin(study):
    with pytest.raises(StudyError, match="a study needs study.json; .* start it with"):
        study.read_document()


def test_rows_come_in_the_plans_order_and_others_are_left_out(study):
    study.write_document(document_of(PLAN, "s"))
    assert study.read_rows().empty
    for arm, seed in (("molere", 1), ("erm", 1), ("erm", 0), ("gone", 0), ("erm", 7)):
        study.write_row({**ROW, "arm": arm, "seed": seed})
    assert study.read_rows()[["arm", "seed"]].values.tolist() == [["erm", 0], ["erm", 1], ["molere", 1]]


def test_figures_that_older_code_named_otherwise_are_found_under_their_names_of_now(study):
    study.write_row({**ROW, "aum_auroc": 0.75, "aum_average_precision": None, "effective_sample_size": 0.5,
                     "curve": {"effective_sample_size": [0.4, 0.5]}})
    row = study.read_row("erm", 0)
    assert row["mean_margin_auroc"] == 0.75 and row["mean_margin_average_precision"] is None and "aum_auroc" not in row
    assert row["effective_sample_frac"] == 0.5 and row["curve"] == {"effective_sample_frac": [0.4, 0.5]}


@pytest.mark.parametrize(("text", "words"), [
    (json.dumps(ROW | {"state": "going"}), "a row must have state .done or failed., .*; its state is 'going'"),
    (json.dumps({k: v for k, v in ROW.items() if k != "config"}), "its config is None"),
    ("[]", "must hold a JSON object; it holds list; .*remove it to train that run again"),
    ("{", "must be JSON"),
])
def test_a_damaged_row_is_refused_in_one_line(study, text, words):
    study.write_row(ROW)
    path = study.path / "rows" / "erm-s0.json"
    path.write_text(text)
    with pytest.raises(StudyError, match=words) as caught:
        study.read_row("erm", 0)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
