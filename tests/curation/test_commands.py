"""`python -m curation decide | export | score`: what they print, what they leave, exit status and one-line errors."""

import getpass
import io
import json
from pathlib import Path

import pandas as pd
import pytest

from curation.__main__ import main
from curation.commands import ACTIONS
from curation.project import Project
from engine.contract.manifest import read_decisions
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "p", size=2)


def test_decisions_from_a_file_of_ids_to_a_journal_and_back(project: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "hard.txt").write_text("train-00001\n\ntrain-00002\n")
    decide = ["decide", str(project)]
    assert main([*decide, "pin", "--ids-file", str(tmp_path / "hard.txt"), "--to", "validation", "--by", "ada",
                 "--why", "blurred"]) == 0
    assert capsys.readouterr().out == "pin: 2 samples to validation (batch 1, by ada)\n"
    assert main([*decide, "exclude", "--id", "train-00003", "--id", "train-00004"]) == 0
    assert main([*decide, "include", "--id", "train-00004", "--by", "ada"]) == 0
    assert main([*decide, "relabel", "--id", "train-00001", "--label", "bird", "--by", "ada"]) == 0
    assert main([*decide, "undo", "--by", "bob", "--batch", "4"]) == 0
    assert main([*decide, "undo", "--by", "bob"]) == 0
    assert "nothing to undo" in capsys.readouterr().out, "none of it is bob's own"
    assert main([*decide, "list"]) == 0
    out = capsys.readouterr().out
    assert "bob  undo 4  1 sample" in out and "ada  relabel bird  1 sample (undone)" in out
    assert "ada  pin validation  2 samples: blurred" in out and "5 batches, 3 samples decided on" in out

    decisions = read_decisions(project / "decisions.parquet").set_index("sample_id")
    assert decisions["pin"].dropna().to_dict() == {"train-00001": "validation", "train-00002": "validation"}
    assert decisions.index[decisions["excluded"]].tolist() == ["train-00003"]
    assert set(Project.open(project).ledger().batches()["who"]) == {"ada", "bob", getpass.getuser()}

    assert main([*decide, "dump", "--journal", str(tmp_path / "journal.jsonl")]) == 0
    again = make_project(tmp_path / "again", num_train=2, size=2)
    capsys.readouterr()
    assert main(["decide", str(again), "replay", "--journal", str(tmp_path / "journal.jsonl")]) == 0
    out = capsys.readouterr().out
    assert "5 batches replayed, 6 decisions on samples" in out
    assert "without effect: batch 1 pin train-00002: no such training sample now (kept in the ledger)" in out


def test_undo_redo_and_an_old_batch(project: Path, monkeypatch, capsys) -> None:
    decide = ["decide", str(project)]
    assert main([*decide, "undo"]) == 0 and main([*decide, "redo"]) == 0
    assert capsys.readouterr().out == "nothing to undo\nnothing to redo\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("train-00001\n"))
    assert main([*decide, "pin", "--ids-file", "-", "--to", "train"]) == 0
    assert main([*decide, "pin", "--id", "train-00002", "--to", "train"]) == 0
    assert main([*decide, "undo", "--batch", "1"]) == 0 and main([*decide, "redo"]) == 0
    assert main([*decide, "pin", "--id", "train-00002", "--to", "none"]) == 0
    assert main([*decide, "relabel", "--id", "train-00003", "--label", "bird"]) == 0
    assert main([*decide, "as-given", "--id", "train-00003"]) == 0
    assert capsys.readouterr().out.splitlines()[2:4] == ["undo: batch 1", "redo: batch 1"]
    assert read_decisions(project / "decisions.parquet")["sample_id"].tolist() == ["train-00001"]


@pytest.mark.parametrize(("arguments", "message"), [
    (["drop"], f"an action must be one of {', '.join(ACTIONS)}; got 'drop'"),
    (["pin", "--id", "train-00001"], "pin needs a place; none was given"),
    (["pin", "--id", "train-00001", "--to", "test"], "must be to one of validation, train or None; got 'test'"),
    (["pin", "--to", "train"], "at least one sample"),
    (["exclude", "--id", "nobody"], "first 'nobody' (not in the manifest)"),
    (["relabel", "--id", "train-00001", "--label", "horse"], "one of cat, dog, bird; got 'horse'"),
    (["relabel", "--id", "train-00001"], "relabel needs a --label and as-given takes none; got relabel with None"),
    (["exclude", "--ids-file", "no such file"], "a file of ids must be readable text"),
    (["undo", "--batch", "9"], "got 9"), (["dump"], "dump needs a file"),
    (["replay", "--journal", "no such file"], "a journal must be a readable file"),
])
def test_wrong_decisions_end_with_status_2_and_one_line(project: Path, capsys, arguments: list[str],
                                                        message: str) -> None:
    assert main(["decide", str(project), *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and message in err


def test_exports_land_where_they_are_sent(project: Path, tmp_path: Path, capsys) -> None:
    make_run(project)
    (project / "images" / "train" / "00001.png").unlink()
    Project.open(project).ledger().pin(["train-00001", "train-00002"], "validation", "ada")
    arguments = ["export", str(project), "--run", "first", "--format", "imagefolder", "--out", str(tmp_path / "out")]
    assert main(arguments) == 3, "a sample whose picture is gone is not in it"
    out = capsys.readouterr().out
    num = len(pd.read_csv(tmp_path / "out" / "validation" / "metadata.csv"))
    assert f"{num:,} samples exported to {tmp_path / 'out'}" in out and "1 problems" in out
    assert "train-00001: an image file must exist" in out and "bird" in out
    assert main(arguments) == 2
    assert "has files in it" in capsys.readouterr().err
    assert main(["export", str(project), "--run", "first"]) == 0
    assert (project / "exports" / "first-hard-validation-table" / "hard_validation.csv").is_file()
    assert main(["export", str(project), "--what", "corrected-labels"]) == 2
    assert "there are none" in capsys.readouterr().err
    assert main(["export", str(project), "--run", "absent"]) == 2
    assert "one of this project's (first); got 'absent'" in capsys.readouterr().err


def test_scores_say_what_they_rest_on(project: Path, tmp_path: Path, capsys) -> None:
    make_run(project)
    assert main(["score", str(project), "--run", "first"]) == 0
    out = capsys.readouterr().out
    assert "60, 60 with known truth" in out and "label_quality: AUROC" in out and "held out, " in out
    assert main(["score", str(project), "--run", "first", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["wrong_share"] == pytest.approx(0.1) and figures["num_scored"] > 0
    (tmp_path / "answers.csv").write_text("key,clean_label\ntrain-00000,0\nstranger,1\n")
    assert main(["score", str(project), "--run", "first", "--answers", str(tmp_path / "answers.csv")]) == 3
    out = capsys.readouterr().out
    assert "60, 1 with known truth" in out and "unknown" in out and "1 answer without a training sample" in out
    assert main(["score", str(tmp_path / "nowhere"), "--run", "first"]) == 2
    assert "there is none at" in capsys.readouterr().err
