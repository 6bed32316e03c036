"""Pictures outside training that are nearly in it: found once a set of features, kept, and named where figures are."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.audit.suspects import leaks
from curation.audit.suspects.leaks import (
    COLUMNS,
    SplitLeaks,
    begin,
    find_leaks,
    found_soon,
    leaks_of,
    words_of,
)
from curation.project import Project
from engine.contract.feature_dir import FeatureDir, FeatureError, write_blocks, write_features
from engine.contract.manifest import read_info, read_manifest
from tests.fakes import make_project, make_run, write_manifest

D = 24


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """400 training samples, 10 clean, 10 test; the files of test 0 and train 3 are the same."""
    path = make_project(tmp_path / "p", num_train=400, num_clean=10, num_test=10, size=2)
    images = path / "images"
    (images / "test" / "00000.png").write_bytes((images / "train" / "00003.png").read_bytes())
    return Project.open(path)


def values_of(project: Project) -> np.ndarray:
    """Features by which test 0 is train 3, test 1 nearly train 5 and clean 2 nearly train 7 and train 8."""
    rows = read_manifest(project.path)
    at = {name: i for i, name in enumerate(rows["sample_id"])}
    rng = np.random.default_rng(0)
    values = rng.normal(size=(len(rows), D))
    values[at["train-00008"]] = values[at["train-00007"]] + 0.01
    for first, second, noise in (("test-00000", "train-00003", 0.0), ("test-00001", "train-00005", 0.02),
                                 ("clean-00002", "train-00007", 0.02)):
        values[at[first]] = values[at[second]] + noise * rng.normal(size=D)
    return values


def write(project: Project, name: str = "own", known: np.ndarray | None = None) -> None:
    values, ids = values_of(project), read_manifest(project.path)["sample_id"].tolist()
    write_features(FeatureDir.of(project.path, name), {"kind": "imported", "num_features": D}, ids, values,
                   np.ones(len(ids), dtype=bool) if known is None else known)


def quiet(*_: object) -> None:
    pass


def test_near_pictures_are_found_counted_by_split_and_kept(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project)
    assert leaks_of(project) is None and leaks_of(project, "own") is None
    found = find_leaks(project, "own", quiet)
    pairs = set(zip(found.pairs["sample_id"], found.pairs["train_id"], strict=True))
    assert pairs == {("test-00000", "train-00003"), ("test-00001", "train-00005"), ("clean-00002", "train-00007"),
                     ("clean-00002", "train-00008")}
    assert found.of("test") == SplitLeaks(split="test", num_samples=10, num_near=2, num_identical=1)
    assert found.of("clean") == SplitLeaks(split="clean", num_samples=10, num_near=1, num_identical=0)
    assert found.pairs.loc[found.pairs["is_identical"], "sample_id"].tolist() == ["test-00000"]
    monkeypatch.setattr(leaks, "near_pairs", None)  # what is kept is not looked for again
    for kept in (leaks_of(project), leaks_of(project, "own"), find_leaks(project, "own", quiet)):
        assert kept is not None and kept.splits == found.splits
        pd.testing.assert_frame_equal(kept.pairs, found.pairs)


@pytest.mark.parametrize("change", ["features", "manifest", "version", "damage"])
def test_what_rests_on_other_data_is_not_shown_and_is_found_anew(project: Project, change: str,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    write(project)
    find_leaks(project, "own", quiet)
    rows, info = read_manifest(project.path), read_info(project.path)
    is_known = rows["sample_id"].ne("test-00001").to_numpy()
    if change == "features":
        write(project, known=is_known)
    elif change == "manifest":
        write_manifest(project.path, rows[is_known], info.classes, root=info.root)
    elif change == "version":
        monkeypatch.setattr(leaks, "VERSION", leaks.VERSION + 1)
    else:
        (project.path / "features" / "own" / leaks.FILE_NAME).write_bytes(b"no table")
    assert leaks_of(project) is None
    test = find_leaks(project, "own", quiet).of("test")
    assert test is not None and test.num_near == (1 if change in ("features", "manifest") else 2)
    assert leaks_of(project) is not None


def test_digests_kept_with_the_features_say_which_files_are_the_same(project: Project) -> None:
    values, ids = values_of(project), read_manifest(project.path)["sample_id"]
    digests = [f"d{i}" for i in range(len(ids))]
    digests[ids.tolist().index("test-00001")] = digests[ids.tolist().index("train-00005")]
    samples = pd.DataFrame({"sample_id": ids, "image_digest": digests, "row": np.arange(len(ids)), "reason": None})
    write_blocks(FeatureDir.of(project.path, "made"), {"kind": "backbone", "num_features": D}, samples, [values])
    found = find_leaks(project, "made", quiet)
    assert found.pairs.loc[found.pairs["is_identical"], "sample_id"].tolist() == ["test-00001"]


def test_giving_up_leaves_nothing_and_no_features_are_one_line(project: Project) -> None:
    write(project)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find_leaks(project, "own", stop)
    assert leaks_of(project) is None
    with pytest.raises(FeatureError, match="features must have features.json"):
        find_leaks(project, "none", quiet)


def test_they_are_found_at_once_where_that_is_quick(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write(project)
    monkeypatch.setattr(leaks, "MAX_AT_ONCE", 400 * 20 - 1)
    assert found_soon(project, "own", quiet) is None and leaks_of(project) is None
    monkeypatch.setattr(leaks, "MAX_AT_ONCE", 400 * 20)
    assert found_soon(project, "own", quiet) is not None
    monkeypatch.setattr(leaks, "MAX_AT_ONCE", 0)
    assert found_soon(project, "own", quiet) is not None, "what is kept costs nothing"


def test_without_other_splits_nothing_leaks(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", num_train=30, num_clean=0, num_test=0, size=2))
    ids = read_manifest(project.path)["sample_id"].tolist()
    write_features(FeatureDir.of(project.path, "own"), {"kind": "imported", "num_features": D}, ids,
                   np.random.default_rng(0).normal(size=(30, D)), np.ones(30, dtype=bool))
    found = find_leaks(project, "own", quiet)
    assert found.splits == () and list(found.pairs.columns) == list(COLUMNS) and words_of("own", found.splits) == []
    assert leaks_of(project) is not None


def test_the_commands_name_them(project: Project, tmp_path: Path, capsys) -> None:
    write(project)
    make_run(project.path, "first")
    out = tmp_path / "pairs.csv"
    assert main(["score", str(project.path), "--run", "first"]) == 0
    assert "in training" not in capsys.readouterr().out.replace("in training or validation", "").replace(
        "left in training", "")
    assert main(["leaks", str(project.path), "--features", "own", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "test: 2 of 10 are nearly in training, 1 the same file" in said and "4 pairs written" in said
    assert list(pd.read_csv(out).columns) == list(COLUMNS)
    sentence = "2 of 10 test pictures are nearly in training (1 the same file), by features own"
    assert main(["score", str(project.path), "--run", "first"]) == 0 and sentence in capsys.readouterr().out
    assert main(["report", str(project.path), "--run", "first", "--out", str(tmp_path / "r.json")]) == 0
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["leaks"]["splits"][1] == {"split": "test", "num_samples": 10, "num_near": 2, "num_identical": 1}
    assert any(sentence in line for line in report["limits"])


def test_it_is_begun_in_a_process_of_its_own(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(leaks.subprocess, "Popen", lambda command, **options: started.append((command, options)))
    begin(project, "own")
    command, options = started[0]
    assert command[1:] == ["-m", "curation", "leaks", str(project.path), "--features", "own"]
    assert options["start_new_session"]
