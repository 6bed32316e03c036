"""Clothing1M's files: exactly the labels that people know, and the import reads them back to the same labels."""

import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from curation.audit.reviews.known_labels import decided_labels
from curation.audit.reviews.reconcile import reconcile
from curation.exports.exporting import export
from curation.exports.staging import ExportError
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.samples.table import sample_table
from curation.sources.importing import import_project
from engine.contract.manifest import file_digest, read_manifest
from tests.curation.sources.test_clothing1m import TRAIN, lines, write_images, write_layout
from tests.fakes import make_project, make_run, write_manifest

KEYS = list(TRAIN)
"""images/0/00/1,1.jpg and so on: keys with commas and with a space; given labels 0, 1, 1, 0 of Shirt and T-Shirt."""


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    root = write_layout(tmp_path / "data")
    write_images(root)
    return root


@pytest.fixture
def clothing(layout: Path, tmp_path: Path) -> Project:
    import_project("clothing1m", tmp_path / "p", root=layout, check="none")
    return Project.open(tmp_path / "p")


def read_pairs(path: Path) -> dict[str, int]:
    """`key label` a line, split at the last space, as the format has it."""
    pairs = [line.rpartition(" ") for line in path.read_text().splitlines()]
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: int(label) for key, _, label in pairs}


def decide(project: Project) -> None:
    """First key changed, second confirmed, third left out, fourth undecided."""
    ledger = project.ledger()
    ledger.relabel([KEYS[0]], "T-Shirt", "ada")
    ledger.relabel([KEYS[1]], "T-Shirt", "ada", why="as given")
    ledger.relabel([KEYS[2]], "Shirt", "ada")
    ledger.exclude([KEYS[2]], who="bob")


def test_the_label_file_holds_what_people_know_and_nothing_else(clothing: Project, tmp_path: Path) -> None:
    decide(clothing)
    result = export(clothing, None, "corrected-labels", "clothing1m", tmp_path / "out")
    out = tmp_path / "out"
    assert read_pairs(out / "corrected_label_kv.txt") == {KEYS[0]: 1, KEYS[1]: 1}
    assert read_pairs(out / "all_label_kv.txt") == {KEYS[0]: 1, KEYS[1]: 1, KEYS[2]: 0, KEYS[3]: 0}
    assert (out / "corrected_train_key_list.txt").read_text() == lines([KEYS[0], KEYS[1], KEYS[3]])
    assert (out / "excluded_key_list.txt").read_text() == lines([KEYS[2]])
    assert (out / "category_names_eng.txt").read_text() == "Shirt\nT-Shirt\n"
    assert result.num_samples == 2 and result.class_counts == {"Shirt": 0, "T-Shirt": 2}
    readme = (out / "README.txt").read_text()
    assert "2 known labels, 1 samples left out, of 4 in training" in readme
    assert "the keys of the lists that the data came from" in readme
    assert file_digest(clothing.path / "manifest.parquet") in readme
    assert all((out / name).exists() for name in re.findall(r"^(\S+\.txt):", readme, re.M))


def test_what_is_exported_imports_again_to_the_labels_in_force(clothing: Project, layout: Path, tmp_path: Path) -> None:
    decide(clothing)
    table = sample_table(clothing, None).query("not excluded").set_index("sample_id")
    before = {path.name: path.read_bytes() for path in layout.glob("*.txt")}
    export(clothing, None, "corrected-labels", "clothing1m", tmp_path / "out")
    assert before == {path.name: path.read_bytes() for path in layout.glob("*.txt")}, "the data stay as they are"
    again = tmp_path / "again"
    shutil.copytree(layout, again)
    shutil.copy(tmp_path / "out" / "all_label_kv.txt", again / "noisy_label_kv.txt")
    shutil.copy(tmp_path / "out" / "corrected_train_key_list.txt", again / "noisy_train_key_list.txt")
    shutil.copy(tmp_path / "out" / "category_names_eng.txt", again / "category_names_eng.txt")
    import_project("clothing1m", tmp_path / "q", root=again, check="none")
    rows = read_manifest(tmp_path / "q").query("split == 'train'").set_index("sample_id")
    assert rows["given_label"].to_dict() == table["current_label"].to_dict()
    assert rows["given_label"].to_dict() == {KEYS[0]: "T-Shirt", KEYS[1]: "T-Shirt", KEYS[3]: "Shirt"}


def test_an_undone_change_is_known_no_longer(clothing: Project, tmp_path: Path) -> None:
    clothing.ledger().relabel([KEYS[3]], "T-Shirt", "ada")
    clothing.ledger().relabel([KEYS[0]], "T-Shirt", "ada")
    clothing.ledger().undo("ada")
    export(clothing, None, "corrected-labels", "clothing1m", tmp_path / "out")
    assert read_pairs(tmp_path / "out" / "corrected_label_kv.txt") == {KEYS[3]: 1}


def test_without_a_review_there_is_nothing_to_export(clothing: Project, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="confirmed, changed or left out; there are none; review some samples first"):
        export(clothing, None, "corrected-labels", "clothing1m", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_validation_list_is_the_curated_set(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", size=4))
    run = make_run(project)
    project.ledger().relabel(["train-00001"], "bird", "ada")
    project.ledger().pin(["train-00001"], "validation", "ada")
    result = export(project, run, "hard-validation", "clothing1m", tmp_path / "out")
    table = sample_table(project, run).query("in_validation")
    labels = {row.path: project.classes.index(row.current_label) for row in table.itertuples()}
    assert read_pairs(tmp_path / "out" / "curated_val_label_kv.txt") == labels and labels["train/00001.png"] == 2
    assert (tmp_path / "out" / "curated_val_key_list.txt").read_text() == lines(labels)
    assert result.num_samples == len(table) and sum(result.class_counts.values()) == len(table)
    readme = (tmp_path / "out" / "README.txt").read_text()
    assert "Keys are the images' paths" in readme and "do not report accuracy on it" in readme


def test_where_paths_repeat_or_are_absent_the_key_is_the_sample_id(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", size=4))
    rows = read_manifest(project.path)
    rows.loc[1, "path"] = rows["path"][0]
    write_manifest(project.path, rows, project.classes, "images")
    run = make_run(project)
    for what, name in (("corrected-labels", "all_label_kv.txt"), ("hard-validation", "curated_val_label_kv.txt")):
        project.ledger().relabel(["train-00005"], "cat", "ada")
        export(project, run, what, "clothing1m", tmp_path / what)
        assert all(key.startswith("train-") for key in read_pairs(tmp_path / what / name))
        assert "Keys are our sample ids" in (tmp_path / what / "README.txt").read_text()


def test_keys_that_no_line_can_hold_are_named_and_the_rest_is_written(tmp_path: Path) -> None:
    project = Project.open(make_project(tmp_path / "p", size=4))
    rows = read_manifest(project.path)
    rows.loc[0, "path"], rows.loc[1, "path"], rows.loc[2, "path"] = "two\nlines.png", " lead.png", "a b, c 7.png"
    write_manifest(project.path, rows, project.classes, "images")
    project.ledger().relabel(["train-00000", "train-00002"], "cat", "ada")
    result = export(project, None, "corrected-labels", "clothing1m", tmp_path / "out")
    assert read_pairs(tmp_path / "out" / "corrected_label_kv.txt") == {"a b, c 7.png": 0}
    assert len(read_pairs(tmp_path / "out" / "all_label_kv.txt")) == 58
    problems = pd.read_csv(tmp_path / "out" / "problems.csv")
    assert problems["sample_id"].tolist() == ["train-00000", "train-00001"] == result.problems["sample_id"].tolist()
    assert (problems["reason"] == "a key must stand on one line without spaces at its ends").all()


def test_the_labels_of_undecided_samples_are_not_called_known(clothing: Project) -> None:
    decide(clothing)
    rows = decided_labels(clothing).set_index("sample_id")
    assert rows["is_known"].to_dict() == {KEYS[0]: True, KEYS[1]: True, KEYS[2]: False}
    assert rows["is_excluded"].to_dict() == {KEYS[0]: False, KEYS[1]: False, KEYS[2]: True}
    assert rows.loc[KEYS[2], ["who", "label"]].tolist() == ["ada", "Shirt"]


def say(project: Project, key: str, verdict: str, who: str, label: str | None = None) -> int:
    given = sample_table(project, None).set_index("sample_id").loc[key, "given_label"]
    return project.verdicts().add([Verdict(audit="a", queue="find", sample_id=key, verdict=verdict, given_label=given,
                                           suggested_label=None, label=label, who=who)])[0]


def test_verdicts_confirm_labels_once_people_agree(clothing: Project, tmp_path: Path) -> None:
    say(clothing, KEYS[0], "given", "ada")
    say(clothing, KEYS[0], "both", "bob")
    say(clothing, KEYS[1], "given", "ada")
    say(clothing, KEYS[1], "other", "bob", label="Shirt")  # disputed: not known
    say(clothing, KEYS[2], "unsure", "ada")
    taken_back = say(clothing, KEYS[3], "given", "ada")
    clothing.verdicts().retract(taken_back, "ada")
    export(clothing, None, "corrected-labels", "clothing1m", tmp_path / "out")
    assert read_pairs(tmp_path / "out" / "corrected_label_kv.txt") == {KEYS[0]: 0}
    rows = decided_labels(clothing).set_index("sample_id")
    assert rows.loc[KEYS[0], ["verdict", "num_reviewers", "who", "is_known"]].tolist() == ["both", 2, "bob", True]
    assert rows["is_known"].to_dict() == {KEYS[0]: True, KEYS[1]: False, KEYS[2]: False} and rows["label"].isna().all()


def test_applied_verdicts_are_what_the_label_file_holds(clothing: Project, tmp_path: Path) -> None:
    say(clothing, KEYS[0], "other", "ada", label="T-Shirt")
    say(clothing, KEYS[1], "given", "ada")
    say(clothing, KEYS[3], "neither", "ada")
    reconcile(clothing, clothing.ledger(), KEYS, clothing.verdicts().in_force(), "ada")
    export(clothing, None, "corrected-labels", "clothing1m", tmp_path / "out")
    assert read_pairs(tmp_path / "out" / "corrected_label_kv.txt") == {KEYS[0]: 1, KEYS[1]: 1}
    assert (tmp_path / "out" / "excluded_key_list.txt").read_text() == lines([KEYS[3]])
    export(clothing, None, "corrected-labels", "table", tmp_path / "table")
    rows = pd.read_parquet(tmp_path / "table" / "corrected_labels.parquet").set_index("sample_id")
    assert rows["verdict"].fillna("-").tolist() == ["other", "given", "-", "neither"]
    assert rows["num_reviewers"].tolist() == [1, 1, 0, 1]
