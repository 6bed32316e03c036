"""`python -m curation audit | estimate | verdicts | report`: what they print and leave, and one-line errors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.audit.estimate.goal import goal_of, new_goal
from curation.project import Project
from curation.samples.table import sample_table
from engine.contract.manifest import read_info, read_manifest
from tests.curation.audit.report.test_report import text_of
from tests.fakes import make_project, make_run, write_manifest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """400 training samples, a tenth wrong, the truth known for 30 of them; one run, whose predictions know it."""
    path = make_project(tmp_path / "p", num_train=400, size=2)
    run = make_run(path, "first")
    truth, rng = np.arange(400) % 3, np.random.default_rng(0)
    logits = rng.normal(0, 1, (400, 3))
    logits[np.arange(400), truth] += 3
    run.write_probabilities(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), "label_head")
    rows, info = read_manifest(path), read_info(path)
    rows.loc[(rows["split"] == "train") & (rows.index >= 30), "clean_label"] = None
    write_manifest(path, rows, info.classes, root=info.root)
    return path


def answered(path: Path, project: Path) -> int:
    """Fill in the truth, as the fake has it, for every row of a file to review; how many are wrong."""
    rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    classes = Project.open(project).classes
    truth = [classes[int(sample_id.removeprefix("train-")) % 3] for sample_id in rows["sample_id"]]
    rows["verdict"] = np.where(rows["given_label"] == truth, "given", "other")
    rows["label"] = np.where(rows["verdict"] == "other", truth, "")
    rows.to_csv(path, index=False)
    return int((rows["verdict"] == "other").sum())


def test_scores_are_written_most_suspect_first(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["audit", str(project), "--run", "first", "--out", str(tmp_path / "a.csv"), "--top", "50"]) == 0
    out = capsys.readouterr().out
    assert "400 labels scored by 1 run; calibrated on 0 verdicts and 30 dual labels" in out
    assert "promised once 50 labels are judged: 20 more" in out
    assert "self-confidence, where the truth is known (30, 3 wrong)" in out
    frame = pd.read_csv(tmp_path / "a.csv")
    assert len(frame) == 50 and frame["p_wrong"].is_monotonic_decreasing
    assert {"given_label", "suggested_label", "confidence", "self_confidence", "mean_margin"} <= set(frame)
    assert main(["audit", str(project), "--run", "first", "--out", str(tmp_path / "a.parquet")]) == 0
    assert len(pd.read_parquet(tmp_path / "a.parquet")) == 400


def test_a_sample_is_drawn_answered_and_turned_into_a_rate(project: Path, tmp_path: Path, capsys) -> None:
    estimate, file = ["estimate", str(project), "--out", str(tmp_path / "e.csv"), "--draw", "120"], tmp_path / "e.csv"
    assert main([*estimate, "--run", "first"]) == 0
    out = capsys.readouterr().out
    assert "no review yet of 400 samples" in out and "120 samples to review written" in out
    assert "suggested_label" not in pd.read_csv(file) and "p_wrong" not in pd.read_csv(file)
    num_wrong = answered(file, project)
    assert main(["verdicts", str(project), "--file", str(file), "--by", "ada", "--out", str(tmp_path / "v.csv")]) == 0
    assert f"120 verdicts by ada: {num_wrong} labels changed, 0 samples excluded" in capsys.readouterr().out
    table = sample_table(Project.open(project), None)
    assert table["relabel"].notna().sum() == num_wrong and len(pd.read_csv(tmp_path / "v.csv")) == 120

    assert main(estimate) == 0
    out = capsys.readouterr().out
    low, high = (float(part.rstrip("%")) for part in out.split(" of 400 given labels")[0].split(" to "))
    assert low <= 10.0 <= high and high - low < 10, "a tenth of the fake's labels are wrong"
    assert "120 samples to review written" in out
    assert not set(pd.read_csv(file)["sample_id"]) & set(pd.read_csv(tmp_path / "v.csv")["sample_id"])

    assert main(["audit", str(project), "--run", "first"]) == 0
    assert "calibrated on 120 verdicts" in capsys.readouterr().out
    for name in ("r.html", "r.json"):
        assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / name)]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["provenance"]["plan's run"] == "first"
    assert found["provenance"]["plan's model"] == found["provenance"]["model"]
    assert found["rate"]["num_reviews"] == 120 and found["rate"]["low"] <= 0.1 <= found["rate"]["high"]
    assert "of 400" in (tmp_path / "r.html").read_text().replace("&nbsp;", " ")


def test_answers_to_the_find_queue_are_kept_apart_from_the_estimate(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["audit", str(project), "--run", "first", "--out", str(tmp_path / "a.csv"), "--top", "20"]) == 0
    rows = pd.read_csv(tmp_path / "a.csv").assign(verdict="suggested")
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "a.csv"), "--by", "ada"]) == 0
    assert main(["estimate", str(project), "--run", "first"]) == 0
    assert "no review yet of 400 samples" in capsys.readouterr().out
    relabelled = sample_table(Project.open(project), None).set_index("sample_id")["relabel"].dropna()
    assert relabelled.to_dict() == dict(zip(rows["sample_id"], rows["suggested_label"], strict=True))
    found = Project.open(project).verdicts().in_force()
    assert set(found["queue"]) == {"find"} and found["p_wrong"].tolist() == pytest.approx(rows["p_wrong"].tolist())


def test_no_answer_enters_the_rate_that_was_not_drawn_or_was_given_beside_the_models_opinion(
        project: Path, tmp_path: Path, capsys) -> None:
    ranked, drawn = tmp_path / "a.csv", tmp_path / "e.csv"
    assert main(["audit", str(project), "--run", "first", "--out", str(ranked)]) == 0
    assert main(["estimate", str(project), "--run", "first", "--out", str(drawn), "--draw", "60"]) == 0
    before, ids = pd.read_csv(ranked).assign(verdict="given"), pd.read_csv(drawn)["sample_id"]

    def refused(rows: pd.DataFrame, words: str, *options: str) -> None:
        rows.to_csv(tmp_path / "x.csv", index=False)
        assert main(["verdicts", str(project), "--file", str(tmp_path / "x.csv"), "--by", "ada", *options]) == 2
        assert words in capsys.readouterr().err and Project.open(project).verdicts().in_force().empty

    refused(before, "got 'find', and 'estimate' as --queue", "--queue", "estimate")
    refused(before.drop(columns="queue"), "one queue of find, estimate, adjudicate; got 'none'")
    is_drawn = before["sample_id"].isin(ids)
    assert is_drawn.sum() == 60
    refused(before[is_drawn].drop(columns="queue"), "without the model's opinion", "--queue", "estimate")
    bare = before[["sample_id", "verdict"]]
    refused(bare[~is_drawn], "answers to its own draws alone", "--queue", "estimate")
    bare[is_drawn].to_csv(drawn, index=False)
    assert main(["verdicts", str(project), "--file", str(drawn), "--queue", "estimate", "--by", "ada"]) == 0
    assert main(["estimate", str(project)]) == 0 and "from 60 reviews" in capsys.readouterr().out
    assert main(["audit", str(project), "--run", "first", "--out", str(ranked)]) == 0
    assert not set(pd.read_csv(ranked)["sample_id"]) & set(ids), "what is drawn is not shown with a suggestion"


def test_two_files_of_draws_hold_different_samples_and_each_is_known(project: Path, tmp_path: Path) -> None:
    files = [tmp_path / "1.csv", tmp_path / "2.csv"]
    for file in files:
        assert main(["estimate", str(project), "--run", "first", "--out", str(file), "--draw", "50"]) == 0
    first, second = (set(pd.read_csv(file)["sample_id"]) for file in files)
    assert len(first | second) == 100
    for file in files:
        answered(file, project)
        assert main(["verdicts", str(project), "--file", str(file), "--by", "ada"]) == 0
    assert len(Project.open(project).verdicts().in_force()) == 100


def test_where_nothing_is_left_to_draw_it_says_why_and_writes_no_file(project: Path, tmp_path: Path, capsys) -> None:
    estimate = ["estimate", str(project), "--run", "first", "--draw", "400", "--out"]
    assert main([*estimate, str(tmp_path / "e.csv")]) == 0 and main([*estimate, str(tmp_path / "f.csv")]) == 0
    assert "Without an answer are 400 in others' hands or files" in capsys.readouterr().out
    assert not (tmp_path / "f.csv").exists()


def test_a_file_read_twice_counts_once(project: Path, tmp_path: Path, capsys) -> None:
    file = tmp_path / "e.csv"
    assert main(["estimate", str(project), "--run", "first", "--out", str(file), "--draw", "50"]) == 0
    answered(file, project)
    for words in ("50 verdicts by ada: ", "50 verdicts by ada (50 known already): 0 labels changed"):
        assert main(["verdicts", str(project), "--file", str(file), "--by", "ada"]) == 0
        assert words in capsys.readouterr().out
    assert len(Project.open(project).verdicts().rows()) == 50
    assert main(["verdicts", str(project), "--file", str(file), "--by", "bob"]) == 0
    assert len(Project.open(project).verdicts().rows()) == 100, "another person's answers are others"


def test_the_precision_asked_for_is_kept_for_commands_and_page(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["estimate", str(project), "--run", "first", "--target", "4", "--out", str(tmp_path / "e.csv")]) == 0
    answered(tmp_path / "e.csv", project)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "e.csv"), "--by", "ada"]) == 0
    assert goal_of(project, "audit") == new_goal(0.04)
    assert main(["estimate", str(project)]) == 0 and "judged whether \u00b14 points" in capsys.readouterr().out
    assert main(["estimate", str(project), "--target", "7"]) == 2
    assert "only be made finer" in capsys.readouterr().err and goal_of(project, "audit") == new_goal(0.04)
    assert main(["estimate", str(project), "--target", "2"]) == 0
    assert "judged whether \u00b12 points" in capsys.readouterr().out
    assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / "r.json")]) == 0
    rate = json.loads((tmp_path / "r.json").read_text())["rate"]
    assert rate["target"] == 0.02 and rate["changes"] == [{"half_width": 0.04, "num_reviews": 50}]
    assert main(["estimate", str(project), "--target", "0"]) == 2 and "got 0; say" in capsys.readouterr().err


def test_before_the_first_answer_any_precision_may_be_asked_for(project: Path, capsys) -> None:
    assert main(["estimate", str(project), "--run", "first", "--target", "1"]) == 0
    assert main(["estimate", str(project), "--target", "7"]) == 0 and goal_of(project, "audit") == new_goal(0.07)
    assert "the interval is judged first at 150" in capsys.readouterr().out


def test_page_command_and_report_say_the_same_of_one_estimate(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["estimate", str(project), "--run", "first", "--out", str(tmp_path / "e.csv"), "--draw", "30"]) == 0
    answered(tmp_path / "e.csv", project)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "e.csv"), "--by", "ada"]) == 0
    capsys.readouterr()
    assert main(["estimate", str(project)]) == 0
    out = capsys.readouterr().out.splitlines()
    assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / "r.html")]) == 0
    said = text_of((tmp_path / "r.html").read_text())
    basis = "95% interval from 30 reviews of samples drawn at random; too early for a single figure: 20 more."
    assert out[1].startswith(basis) and f"{out[0]} {basis}" in said and out[2] in said
    assert not any("simple random" in line or "stop here" in line for line in out)


def test_a_damaged_precision_is_told_unless_another_is_named(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["estimate", str(project), "--run", "first", "--target", "4"]) == 0
    (project / "audits" / "audit" / "goal.json").write_text("{}")
    report = ["report", str(project), "--run", "first", "--out", str(tmp_path / "r.json")]
    for command in (["estimate", str(project)], report):
        capsys.readouterr()
        assert main(command) == 2 and "goal.json cannot be read" in capsys.readouterr().err
    assert main(["estimate", str(project), "--target", "3"]) == 0
    assert goal_of(project, "audit") == new_goal(0.03, rule="until narrow"), "what was promised before is lost"


def test_a_damaged_draw_stays_out_of_the_ranked_queue_and_can_be_answered(project: Path, tmp_path: Path) -> None:
    """Who was drawn stands in the ledger as well."""
    found, drawn = tmp_path / "found.csv", tmp_path / "e.csv"
    assert main(["estimate", str(project), "--run", "first", "--out", str(drawn), "--draw", "50"]) == 0
    (file,) = (project / "audits" / "audit" / "batches").glob("*.json")
    file.write_text("?")
    assert main(["audit", str(project), "--run", "first", "--top", "200", "--out", str(found)]) == 0
    assert not set(pd.read_csv(found)["sample_id"]) & set(pd.read_csv(drawn)["sample_id"])
    answered(drawn, project)
    assert main(["verdicts", str(project), "--file", str(drawn), "--by", "ada"]) == 0
    assert set(Project.open(project).verdicts().rows()["sample_id"]) == set(pd.read_csv(drawn)["sample_id"])


def test_what_evidence_a_run_lacks_is_said(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["audit", str(project), "--run", "first"]) == 0 and "keeps no" not in capsys.readouterr().out
    (project / "runs" / "first" / "label_head.npy").unlink()
    assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / "r.json")]) == 0
    assert "Run first keeps no predictions of labels that did not see them, so labels are" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["missing"] == ["label_head"] and any("Run first keeps no" in line for line in found["limits"])


def test_a_run_that_has_not_learned_gives_no_queue_and_is_named(project: Path, tmp_path: Path, capsys) -> None:
    run = Project.open(project).run("first")
    shuffled = np.eye(3)[np.random.default_rng(0).integers(0, 3, 400)] * 0.7 + 0.1
    run.write_probabilities(shuffled, "label_head")
    assert main(["audit", str(project), "--run", "first", "--out", str(tmp_path / "a.csv")]) == 0
    out = capsys.readouterr().out
    assert "Run first has not learned to tell the classes" in out and not (tmp_path / "a.csv").exists()
    assert "suspected" not in out and "of the next" not in out
    assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["fault"] == "chance" and any("has not learned" in line for line in found["limits"])


def imported_anew(project: Path, change) -> None:
    """Write the manifest as `change` makes its rows."""
    rows, info = read_manifest(project), read_info(project)
    write_manifest(project, change(rows), info.classes, root=info.root)


def test_samples_that_left_the_data_are_drawn_no_more_and_the_rest_is(project: Path, tmp_path: Path, capsys) -> None:
    estimate = ["estimate", str(project), "--out", str(tmp_path / "e.csv"), "--draw", "60"]
    assert main([*estimate, "--run", "first"]) == 0
    gone = pd.read_csv(tmp_path / "e.csv")["sample_id"]
    for file in (project / "audits" / "audit" / "batches").iterdir():
        file.unlink()  # nobody has them in hand
    imported_anew(project, lambda rows: rows[~rows["sample_id"].isin(gone)].reset_index(drop=True))
    assert main(estimate) == 0
    assert "60 samples have left the data" in capsys.readouterr().out
    drawn = pd.read_csv(tmp_path / "e.csv")["sample_id"]
    assert len(drawn) == 60 and not set(drawn) & set(gone)


def test_labels_corrected_by_a_new_import_leave_the_measured_rate_as_it_was(project: Path, tmp_path: Path,
                                                                            capsys) -> None:
    estimate = ["estimate", str(project), "--out", str(tmp_path / "e.csv"), "--draw", "120"]
    assert main([*estimate, "--run", "first"]) == 0
    num_wrong = answered(tmp_path / "e.csv", project)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "e.csv"), "--by", "ada"]) == 0
    report = ["report", str(project), "--run", "first", "--out", str(tmp_path / "r.json")]
    assert main(report) == 0
    before = json.loads((tmp_path / "r.json").read_text())
    assert before["corrections"]["remaining"] and not any("imported anew" in line for line in before["limits"])
    right = sample_table(Project.open(project), None).set_index("sample_id")["current_label"]
    imported_anew(project, lambda rows: rows.assign(given_label=rows["sample_id"].map(right).fillna(
        rows["given_label"])))
    assert main(report) == 0
    after = json.loads((tmp_path / "r.json").read_text())
    assert after["rate"] == before["rate"] | {"num_stale": num_wrong} and after["rate"]["num_wrong"] == num_wrong > 0
    assert any(f"imported anew since the audit was planned: {num_wrong} of its 400" in line for line in after["limits"])
    assert after["corrections"]["remaining"] is None, "the import corrected what the ledger does not know of"
    capsys.readouterr()
    assert main(["audit", str(project), "--run", "first"]) == 0
    assert f"calibrated on {120 - num_wrong} verdicts" in capsys.readouterr().out
    assert main(estimate) == 0
    out = capsys.readouterr().out
    assert f"{num_wrong} samples have left the data, or have another label" in out and "from 120 reviews" in out
    rows = pd.read_csv(tmp_path / "e.csv", dtype=str, keep_default_na=False).assign(verdict="given")
    rows.loc[0, "given_label"] = "cat" if rows.loc[0, "given_label"] != "cat" else "dog"
    rows.to_csv(tmp_path / "e.csv", index=False)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "e.csv"), "--by", "ada"]) == 2
    assert "row 2: an answer is about the given label that was shown" in capsys.readouterr().err


def test_a_class_added_by_a_new_import_stops_no_report(project: Path, tmp_path: Path) -> None:
    assert main(["estimate", str(project), "--run", "first", "--out", str(tmp_path / "e.csv"), "--draw", "120"]) == 0
    answered(tmp_path / "e.csv", project)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "e.csv"), "--by", "ada"]) == 0
    rows, info = read_manifest(project), read_info(project)
    write_manifest(project, rows, (*info.classes, "ant"), root=info.root)
    assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert [c["name"] for c in found["classes"]] == list(info.classes)
    assert [row["name"] for row in found["matrix"]["rows"]] == list(info.classes)


def test_names_that_a_spreadsheet_would_run_are_read_back_as_they_are(tmp_path: Path) -> None:
    path = make_project(tmp_path / "odd", num_train=60, size=2, classes=("=cat", "-dog", "bird"))
    probs = np.full((60, 3), 0.1)
    probs[np.arange(60), np.arange(60) % 3] = 0.8
    make_run(path, "first").write_probabilities(probs, "label_head")
    assert main(["audit", str(path), "--run", "first", "--out", str(tmp_path / "a.csv")]) == 0
    rows = pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False)
    assert "'=cat" in set(rows["given_label"]) | set(rows["suggested_label"])
    is_first, names = rows.index < 5, np.array(["'=cat", "'-dog"], dtype=object)
    rows["verdict"] = np.where(is_first, "suggested", "other")
    rows["label"] = np.where(is_first, "", names[(rows["given_label"] == "'=cat").astype(int)])
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert main(["verdicts", str(path), "--file", str(tmp_path / "a.csv"), "--by", "ada"]) == 0
    found = Project.open(path).verdicts().in_force()
    for name in ("given_label", "suggested_label"):
        assert found[name].tolist() == rows[name].str.removeprefix("'").tolist()
    assert found["label"][5:].tolist() == rows["label"][5:].str.removeprefix("'").tolist()


@pytest.mark.parametrize(("rows", "message"), [
    ("sample_id,label\ntrain-00001,cat\n", "lacks verdict"),
    ("sample_id,verdict\ntrain-99999,given\n", "row 2: an answer is about a training sample; got 'train-99999'"),
    ("sample_id,verdict,queue\ntrain-00001,given,find\ntrain-00002,perhaps,find\n", "row 3: verdict must be"),
    ("sample_id,verdict,label,queue\ntrain-00002,other,ferret,find\n", "row 2: the verdict other must mean"),
    ("sample_id,verdict,queue\ntrain-00002,suggested,find\n", "row 2: the verdict suggested must mean"),
    ("sample_id,verdict,queue\ntrain-00002,given,other\n", "row 2: queue must be one of"),
    ("sample_id,verdict,queue,p_wrong\ntrain-00002,given,find,much\n", "row 2: p_wrong is a number"),
    ("sample_id,verdict,queue,p_wrong\ntrain-00002,given,find,3\n", "row 2: p_wrong must be a number from 0 to 1")])
def test_a_bad_file_of_answers_is_one_line_and_nothing_of_it_counts(project: Path, tmp_path: Path, capsys, rows: str,
                                                                    message: str) -> None:
    (tmp_path / "bad.csv").write_text(rows)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "bad.csv"), "--by", "ada"]) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert Project.open(project).verdicts().in_force().empty


def test_what_is_missing_is_said(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["estimate", str(project)]) == 2 and "--run" in capsys.readouterr().err
    assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / "r.pdf")]) == 2
    assert ".html or .json" in capsys.readouterr().err
    assert main(["verdicts", str(project), "--file", str(tmp_path / "none.csv")]) == 2
    assert "a CSV must be readable" in capsys.readouterr().err
