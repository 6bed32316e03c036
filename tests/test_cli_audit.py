"""`python -m curation audit | estimate | verdicts | report`: what they print and leave, and one-line errors."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.project import Project
from curation.selection import sample_table
from engine.manifest import read_info, read_manifest
from tests.fakes import make_project, make_run, write_manifest


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """400 training samples, a tenth wrong, the truth known for 30 of them; one run, whose predictions know it."""
    path = make_project(tmp_path / "p", num_train=400, size=2)
    run = make_run(path, "first")
    truth, rng = np.arange(400) % 3, np.random.default_rng(0)
    logits = rng.normal(0, 1, (400, 3))
    logits[np.arange(400), truth] += 3
    run.write_probabilities(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), "cross_fitted")
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
    assert "of the next 50 about" in out and "self-confidence, where the truth is known (30, 3 wrong)" in out
    frame = pd.read_csv(tmp_path / "a.csv")
    assert len(frame) == 50 and frame["p_wrong"].is_monotonic_decreasing
    assert {"given_label", "suggested_label", "confidence", "self_confidence", "aum"} <= set(frame)
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
    low, high = (float(part.rstrip("%)")) for part in out.split("95% interval ")[1].split(" of ")[0].split(" to "))
    assert low <= 10.0 <= high and high - low < 10, "a tenth of the fake's labels are wrong"
    assert "120 samples to review written" in out
    assert not set(pd.read_csv(file)["sample_id"]) & set(pd.read_csv(tmp_path / "v.csv")["sample_id"])

    assert main(["audit", str(project), "--run", "first"]) == 0
    assert "calibrated on 120 verdicts" in capsys.readouterr().out
    for name in ("r.html", "r.json"):
        assert main(["report", str(project), "--run", "first", "--out", str(tmp_path / name)]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["rate"]["num_reviews"] == 120 and found["rate"]["low"] <= 0.1 <= found["rate"]["high"]
    assert "of 400" in (tmp_path / "r.html").read_text().replace("&nbsp;", " ")


def test_answers_to_the_find_queue_are_kept_apart_from_the_estimate(project: Path, tmp_path: Path, capsys) -> None:
    assert main(["audit", str(project), "--run", "first", "--out", str(tmp_path / "a.csv"), "--top", "20"]) == 0
    rows = pd.read_csv(tmp_path / "a.csv").assign(verdict="suggested")
    rows.to_csv(tmp_path / "a.csv", index=False)
    assert main(["verdicts", str(project), "--file", str(tmp_path / "a.csv"), "--queue", "find", "--by", "ada"]) == 0
    assert main(["estimate", str(project), "--run", "first"]) == 0
    assert "no review yet of 400 samples" in capsys.readouterr().out
    relabelled = sample_table(Project.open(project), None).set_index("sample_id")["relabel"].dropna()
    assert relabelled.to_dict() == dict(zip(rows["sample_id"], rows["suggested_label"], strict=True))


@pytest.mark.parametrize(("rows", "message"), [
    ("sample_id,label\ntrain-00001,cat\n", "lacks verdict"),
    ("sample_id,verdict\ntrain-99999,given\n", "row 2 says 'train-99999'"),
    ("sample_id,verdict,label\ntrain-00001,given,\ntrain-00002,perhaps,\n", "row 3: "),
    ("sample_id,verdict,label\ntrain-00002,other,ferret\n", "row 2: "),
    ("sample_id,verdict,label\ntrain-00002,suggested,\n", "row 2: ")])
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
    assert "readable CSV" in capsys.readouterr().err
