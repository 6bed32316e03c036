"""Out-of-fold probabilities that people bring: an ordinary run, columns by name, and one line for what is wrong."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.evidence.array_file import EvidenceError
from curation.evidence.predictions import import_predictions
from curation.experiments.repeats import experiment_key
from curation.ledger.ledger import Ledger
from curation.project import Project
from curation.samples.table import sample_table
from engine.contract.config import RunConfig
from engine.contract.manifest import read_manifest
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run

CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """40 training samples, every tenth with a wrong label, 6 clean, 6 test."""
    return Project.open(make_project(tmp_path / "p", num_train=40, num_clean=6, num_test=6, size=2))


@pytest.fixture
def probs(project: Project) -> np.ndarray:
    """(52, 3) rows that know the truth."""
    truth = read_manifest(project.path, ["clean_label"])["clean_label"]
    codes = truth.map({name: i for i, name in enumerate(CLASSES)}).to_numpy(dtype=int)
    logits = np.random.default_rng(0).normal(0, 0.3, (52, 3))
    logits[np.arange(52), codes] += 3
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def saved(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def ledger(project: Project) -> Ledger:
    return project.ledger()


def test_they_become_a_finished_run_with_the_signals_of_one_held_out_epoch(project: Project, probs, tmp_path) -> None:
    words = {"who": "ada", "why": "", "view": "test", "run": ""}
    ledger(project).exclude(["train-00003"], True, origin="person", **words)
    ledger(project).relabel(["train-00007"], "dog", origin="person", **words)  # its truth
    ledger(project).pin(["train-00005"], "validation", origin="person", **words)
    probs[4] = np.nan
    done = import_predictions(project, saved(tmp_path / "a.npy", probs), "oof")
    assert (done.num_train, done.num_evaluated, done.num_without, done.map_of) == (39, 12, 1, None)
    run, table = project.run("oof"), sample_table(project, project.run("oof")).set_index("sample_id")
    assert run.read_status()["state"] == "done" and RunConfig.of_run(run.read_config()["config"]).method == "imported"
    assert run.read_config()["num_decisions"] == 3 and run.read_config()["imported_file"] == "a.npy"
    kept = table.drop(["train-00003", "train-00004"])
    label = kept["current_label"].map({name: i for i, name in enumerate(CLASSES)}).to_numpy(dtype=int)
    rows = np.flatnonzero(~table.index.isin(["train-00003", "train-00004"]))
    assert kept["label_quality"].to_numpy() == pytest.approx(probs[rows, label], abs=1e-6)
    assert set(kept["heldout_epochs"]) == {1} and kept["loss"].to_numpy() == pytest.approx(-np.log(probs[rows, label]),
                                                                                           abs=1e-5)
    is_wrong = (kept["current_label"] != kept["clean_label"]).to_numpy()
    assert is_wrong.sum() == 3 and (kept["suggested_label"][is_wrong] == kept["clean_label"][is_wrong]).all()
    assert (kept["heldout_margin"][is_wrong] < 0).all() and (kept["heldout_margin"][~is_wrong] > 0).all()
    assert table.loc["train-00003", "role_reason"] == "excluded_decision" and table.loc["train-00005", "role"] == \
        "validation"
    unjudged = table.loc[["train-00003", "train-00004"]]
    assert unjudged[["label_quality", "margin", "suggested_label"]].isna().all(axis=None)
    assert run.open_probabilities("label_head").shape == (40, 3) and np.isnan(run.open_probabilities()[4]).all()
    assert len(run.read_predictions()) == 12 and (run.read_predictions()["prediction"] ==
                                                  run.read_predictions()["label"]).all()
    assert run.read_history(0)["margin"][0] == pytest.approx(table["margin"].iloc[0], abs=1e-3)


@pytest.mark.parametrize("file", ["a.csv", "a.parquet"])
def test_columns_go_to_their_classes_by_name_in_any_order(project: Project, probs, tmp_path: Path, file: str,
                                                          capsys) -> None:
    rows = read_manifest(project.path)
    frame = pd.DataFrame({"bird": probs[:, 2], "note": "n", "fold": 1, "cat": probs[:, 0], "dog": probs[:, 1],
                          "sample_id": rows["sample_id"]}).iloc[:40].sample(frac=1.0, random_state=0)
    frame.to_csv(tmp_path / file, index=False) if file.endswith("csv") else frame.to_parquet(tmp_path / file)
    assert main(["predictions", str(project.path), "--file", str(tmp_path / file), "--name", "oof"]) == 0
    out = capsys.readouterr().out
    assert "another order than the project's classes: matched by name" in out and "no class were left out: fold" in out
    assert "columns that are no numbers were left out: note" in out
    assert "run oof: predictions of 40 training samples and 0 of clean and test" in out
    assert np.allclose(project.run("oof").open_probabilities(), probs[:40], atol=1e-3)
    assert len(project.run("oof").read_predictions()) == 0


def test_columns_without_names_take_a_file_of_names_and_a_wrong_order_is_pointed_out(project: Project, probs,
                                                                                    tmp_path: Path, capsys) -> None:
    file = saved(tmp_path / "a.npy", probs[:40, [2, 0, 1]])
    command = ["predictions", str(project.path), "--file", str(file)]
    assert main([*command, "--name", "guessed"]) == 0
    out = capsys.readouterr().out
    assert "taken in the project's order, cat, dog, bird" in out and "taken as the 40 samples of split train" in out
    assert "with the classes in another order they would agree with 90.0%" in out
    (tmp_path / "names.txt").write_text("bird\ncat\ndog\n")
    assert main([*command, "--name", "told", "--classes", str(tmp_path / "names.txt")]) == 0
    out = capsys.readouterr().out
    assert "in another order they would" not in out and "for 90.0% of the training samples" in out
    assert np.allclose(project.run("told").open_probabilities(), probs[:40], atol=1e-3)
    (tmp_path / "names.txt").write_text("bird\ncat\n")
    assert main([*command, "--name", "x", "--classes", str(tmp_path / "names.txt")]) == 2
    assert "names must have one a column" in capsys.readouterr().err
    (tmp_path / "names.txt").write_text("bird\ncat\ncow\n")
    assert main([*command, "--name", "x", "--classes", str(tmp_path / "names.txt")]) == 2
    assert "names.txt has none for 'dog'" in capsys.readouterr().err


def changed(probs: np.ndarray, row: int, values: list[float]) -> np.ndarray:
    found = probs.copy()
    found[row] = values
    return found


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda p: p[:, :2], "a column for each of the 3 classes; .* has 2; the classes are 'cat', 'dog', 'bird'"),
    (lambda p: changed(p, 3, [-0.1, 0.5, 0.6]), r"at least 0; row 3 \(counted from 0\) of .* has -0.1"),
    (lambda p: changed(p, 3, [0.5, 0.1, 0.1]), r"sum to 1 \(\+-0.01\); row 3 .* sums to 0.7; normalise each row"),
    (lambda p: np.log(p) + 3, "look like logits: take the softmax"),
    (lambda p: np.log(p), "look like logarithms: take exp"),
    (lambda p: 100 * p, "look like percent: divide by 100"),
    (lambda p: changed(p, 3, [np.nan, 0.5, 0.5]), "or NaN in the whole row for no prediction; row 3 .* has nan"),
    (lambda p: changed(p, 3, [np.inf, 0.5, 0.5]), "must be finite.* row 3 .* has inf"),
    (lambda p: p[:39], "52 in all or 40 of split train; .* has 39"),
    (lambda p: np.full_like(p, np.nan), "must be of samples of split train; .* has none"),
])
def test_what_is_no_probability_is_one_line_and_the_project_stays(project: Project, probs, tmp_path: Path, spoil,
                                                                  words: str) -> None:
    with pytest.raises(EvidenceError, match=words) as caught:
        import_predictions(project, saved(tmp_path / "a.npy", spoil(probs)), "oof")
    assert "\n" not in str(caught.value) and not (project.path / "runs" / "oof").exists()


def test_tables_without_a_class_or_with_an_id_twice_are_refused(project: Project, probs, tmp_path: Path) -> None:
    frame = pd.DataFrame(probs, columns=CLASSES)
    frame.insert(0, "sample_id", read_manifest(project.path)["sample_id"])
    frame.drop(columns="dog").to_parquet(tmp_path / "a.parquet")
    with pytest.raises(EvidenceError, match="has none for 'dog'; its columns are 'cat', 'bird'"):
        import_predictions(project, tmp_path / "a.parquet", "oof")
    frame.assign(sample_id=["x", "x", *frame["sample_id"][2:]]).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(EvidenceError, match="repeats row 0"):
        import_predictions(project, tmp_path / "a.parquet", "oof")
    frame.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "names.txt").write_text("cat\ndog\nbird\n")
    with pytest.raises(EvidenceError, match="leave it out"):
        import_predictions(project, tmp_path / "a.parquet", "oof", classes_file=tmp_path / "names.txt")


def test_the_audit_reads_them_and_their_map_is_that_of_a_discriminant(project: Project, probs, tmp_path: Path,
                                                                      capsys) -> None:
    make_run(project.path, "mapped", method="discriminant", epochs=1)
    file = saved(tmp_path / "a.npy", np.concatenate([probs[:40], probs[40:]]))
    assert main(["predictions", str(project.path), "--file", str(file), "--name", "oof"]) == 0
    assert "map and neighbours of run mapped" in capsys.readouterr().out
    run = project.run("oof")
    assert np.array_equal(run.read_neighbours()[0], project.run("mapped").read_neighbours()[0])
    assert main(["triage", str(project.path), "--run", "oof"]) == 0
    assert main(["audit", str(project.path), "--run", "oof", "--out", str(tmp_path / "s.csv")]) == 0
    suspects = pd.read_csv(tmp_path / "s.csv")
    assert {"p_wrong", "path", "given_label"} <= set(suspects)
    is_wrong = suspects["sample_id"].isin([f"train-{i:05d}" for i in (7, 17, 27, 37)])
    assert is_wrong[:4].all(), "the labels that its predictions contradict come first"
    assert main(["predictions", str(project.path), "--file", str(file), "--name", "oof"]) == 2
    assert "needs a new name; 'oof' exists" in capsys.readouterr().err
    assert main(["predictions", str(project.path), "--file", str(file), "--name", "b", "--map-of", "oof"]) == 0
    assert json.loads((project.path / "runs" / "b" / "config.json").read_text())["map_of"] == "oof"
    assert experiment_key(RunDir.of(project.path, "b")) is None, "two files are no repeats of one another"
    (project.path / "runs" / "b" / "neighbours.npy").unlink()
    assert main(["predictions", str(project.path), "--file", str(file), "--name", "c", "--map-of", "b"]) == 2
    assert "'b' has no neighbours" in capsys.readouterr().err
