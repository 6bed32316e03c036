"""What leaves a project: the right samples, readable by those who read it, nothing that runs, nothing by halves."""

import doctest
import io
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from torchvision.datasets import ImageFolder

from curation.exports.curated import PROVENANCE
from curation.exports.exporting import EXPORTS, default_target, export
from curation.exports.staging import ExportError, staged
from curation.project import Project
from curation.samples import csv_cells
from curation.samples.csv_cells import SafeNames, neutral, write_csv
from curation.samples.table import sample_table
from engine.contract.manifest import file_digest, read_manifest
from engine.contract.run_dir import RunDir
from engine.contract.signal_columns import SIGNAL_COLUMNS
from tests.fakes import make_project, make_run, write_manifest

CLASSES = ("cat", "dog", "bird")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", size=4))


@pytest.fixture
def run(project: Project) -> RunDir:
    """A run, and after it: one routed sample excluded, one pinned to training, one other pinned, one relabelled."""
    run = make_run(project)
    table = sample_table(project, run)
    routed = table.loc[table["in_validation"], "sample_id"].tolist()
    other = table.loc[~table["in_validation"], "sample_id"].tolist()
    ledger = project.ledger()
    ledger.exclude(routed[:1], who="ada")
    ledger.pin(routed[1:2], "train", "ada")
    ledger.relabel(other[:1], "bird", "ada", why="=HYPERLINK(1)")
    ledger.pin(other[:1], "validation", "bob", why="-odd")
    return run


def curated_ids(project: Project, run: RunDir) -> set[str]:
    """The definition, written out once more from the run's files and the decisions."""
    history = run.read_history(np.arange(60))
    last = history[history["epoch"] == history["epoch"].max()]
    ids = set(run.read_signals()["sample_id"][last["routed"].to_numpy(dtype=bool)])
    state = project.ledger().state()
    ids |= set(state.loc[state["pin"] == "validation", "sample_id"])
    return ids - set(state.loc[state["excluded"] | (state["pin"] == "train"), "sample_id"])


# -- the table


def test_the_table_holds_the_curated_set_with_signals_decisions_and_provenance(project: Project, run: RunDir,
                                                                               tmp_path: Path) -> None:
    result = export(project, run, "hard-validation", "table", tmp_path / "out")
    rows = pd.read_parquet(tmp_path / "out" / "hard_validation.parquet")
    assert set(rows["sample_id"]) == curated_ids(project, run) and len(rows) == result.num_samples > 3
    decisions = {"pin", "relabel", "decided_by", "current_label"}
    assert {*SIGNAL_COLUMNS, *PROVENANCE, *decisions} - {"is_resting"} <= set(rows.columns)
    pinned = rows[rows["pin"] == "validation"].iloc[0]
    assert (pinned["current_label"], pinned["decided_by"], pinned["decided_why"]) == ("bird", "bob", "-odd")
    assert set(rows["run"]) == {"first"} and set(rows["method"]) == {"molere"} and set(rows["seed"]) == {0}
    assert set(rows["manifest_digest"]) == {file_digest(project.path / "manifest.parquet")}
    assert set(rows["decisions_digest"]) == {file_digest(project.decisions_path)}
    assert set(rows["config_digest"]) == {file_digest(run.path / "config.json")}
    assert pd.Timestamp(rows["exported_at"].iloc[0]).tzinfo is not None
    assert sum(result.class_counts.values()) == len(rows) and list(result.class_counts) == list(CLASSES)


def test_the_csv_reads_back_with_the_same_rows(project: Project, run: RunDir, tmp_path: Path) -> None:
    export(project, run, "hard-validation", "table", tmp_path / "out")
    rows = pd.read_parquet(tmp_path / "out" / "hard_validation.parquet")
    back = pd.read_csv(tmp_path / "out" / "hard_validation.csv")
    assert list(back.columns) == list(rows.columns) and list(back["sample_id"]) == list(rows["sample_id"])
    np.testing.assert_allclose(back["weight"], rows["weight"], rtol=1e-6)
    np.testing.assert_array_equal(back["excluded"], rows["excluded"])
    assert back["decided_why"].dropna().tolist() == ["'-odd"]


def test_the_readme_says_what_the_set_is_and_where_it_comes_from(project: Project, run: RunDir, tmp_path: Path) -> None:
    result = export(project, run, "hard-validation", "table", tmp_path / "out")
    text = (tmp_path / "out" / "README.txt").read_text()
    assert f"project p: {result.num_samples} samples" in text and "do not report accuracy on it" in text
    assert all(f"{name}: {count}" in text for name, count in result.class_counts.items())
    assert file_digest(project.path / "manifest.parquet") in text


# -- the image folder


def test_the_image_folder_opens_in_torchvision_with_the_right_classes(project: Project, run: RunDir,
                                                                      tmp_path: Path) -> None:
    result = export(project, run, "hard-validation", "imagefolder", tmp_path / "out")
    dataset = ImageFolder(tmp_path / "out" / "validation")
    meta = pd.read_csv(tmp_path / "out" / "validation" / "metadata.csv")
    assert len(dataset) == len(meta) == result.num_samples and set(meta["sample_id"]) == curated_ids(project, run)
    assert list(meta.columns[:2]) == ["file_name", "label"]
    label_of = dict(zip(meta["file_name"], meta["label"], strict=True))
    path_of = read_manifest(project.path).set_index("sample_id")["path"]
    sample_of = dict(zip(meta["file_name"], meta["sample_id"], strict=True))
    for path, target in dataset.samples:
        file_name = str(Path(path).relative_to(tmp_path / "out" / "validation"))
        assert label_of[file_name] == dataset.classes[target]
        original = project.root / path_of[sample_of[file_name]]
        assert Path(path).read_bytes() == original.read_bytes()
        assert os.stat(path).st_ino != os.stat(original).st_ino and not os.path.islink(path)
    assert not (tmp_path / "out" / "problems.csv").exists()
    moved = meta[meta["label"] == "bird"]
    assert "bird" in set(meta.loc[meta["pin"] == "validation", "label"]) and len(moved)


def test_a_missing_or_damaged_image_costs_one_line_and_the_rest_is_exported(project: Project, run: RunDir,
                                                                            tmp_path: Path) -> None:
    chosen = sorted(curated_ids(project, run))
    rows = read_manifest(project.path).set_index("sample_id")
    (project.root / rows.loc[chosen[0], "path"]).unlink()
    (project.root / rows.loc[chosen[1], "path"]).write_bytes(b"no image")
    (tmp_path / "secret.png").write_bytes(b"secret")
    rows.loc[chosen[2], "path"] = "../../secret.png"
    write_manifest(project.path, rows.reset_index(), CLASSES, "images")

    result = export(project, run, "hard-validation", "imagefolder", tmp_path / "out")
    assert result.num_samples == len(chosen) - 3 == len(ImageFolder(tmp_path / "out" / "validation"))
    problems = pd.read_csv(tmp_path / "out" / "problems.csv").set_index("sample_id")
    assert list(problems.index) == list(result.problems["sample_id"]) and set(problems.index) == set(chosen[:3])
    assert "is not there" in problems.loc[chosen[0], "reason"]
    assert "does not; replace it" in problems.loc[chosen[1], "reason"]
    assert "must lie inside" in problems.loc[chosen[2], "reason"]
    assert not any(b"secret" in file.read_bytes() for file in (tmp_path / "out").rglob("*.png"))


def test_nothing_is_left_where_no_image_can_be_copied(project: Project, run: RunDir, tmp_path: Path) -> None:
    for file in project.root.rglob("*.png"):
        file.unlink()
    with pytest.raises(ExportError, match="none of .* could be placed, first 'train-.*: an image file must exist"):
        export(project, run, "hard-validation", "imagefolder", tmp_path / "exports" / "out")
    assert list((tmp_path / "exports").iterdir()) == []


def test_images_in_the_manifest_are_written_out(tmp_path: Path) -> None:
    make_project(tmp_path / "p", size=4)
    project = Project.open(tmp_path / "p")
    rows = read_manifest(project.path)
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(buffer, format="JPEG")
    rows["image"] = [{"bytes": buffer.getvalue(), "path": "shot.jpeg"}, *[{"bytes": None, "path": p} for p in
                                                                         rows["path"].iloc[1:]]]
    write_manifest(project.path, rows.drop(columns="path"), CLASSES, "images")
    project.ledger().pin(["train-00000", "train-00001"], "validation", "ada")
    export(project, make_run(project), "hard-validation", "imagefolder", tmp_path / "out")
    meta = pd.read_csv(tmp_path / "out" / "validation" / "metadata.csv").set_index("sample_id")
    assert meta.loc["train-00000", "file_name"] == "cat/shot.jpeg"
    assert (tmp_path / "out" / "validation" / "cat" / "shot.jpeg").read_bytes() == buffer.getvalue()
    assert meta.loc["train-00001", "file_name"] == "dog/00001.png"


HOSTILE = ("=1+1", "<img src=x onerror=alert(1)>", "../up", "Cat", "cat", "a, \"b\"\nc")


def test_hostile_class_and_file_names_become_safe_unique_folders(tmp_path: Path) -> None:
    make_project(tmp_path / "p", size=4, classes=HOSTILE)
    project = Project.open(tmp_path / "p")
    rows = read_manifest(project.path)
    hostile_file = "train/@SUM(1+1)|cmd.PNG"
    (project.root / rows["path"].iloc[0]).rename(project.root / hostile_file)
    rows.loc[0, "path"] = hostile_file
    write_manifest(project.path, rows, HOSTILE, "images")
    ids = rows.loc[rows["split"] == "train", "sample_id"].tolist()
    project.ledger().pin(ids, "validation", "ada", why="@SUM(1)")
    result = export(project, make_run(project), "hard-validation", "imagefolder", tmp_path / "out")

    assert result.num_samples == len(ids)
    folders = pd.read_csv(tmp_path / "out" / "classes.csv")
    assert folders["label"].tolist() == [str(neutral(name)) for name in HOSTILE]
    assert len({name.casefold() for name in folders["folder"]}) == len(HOSTILE)
    assert all(name[0] not in "=+-@." and not set(name) & set("/\\<>:\"|?*\n,") for name in folders["folder"])
    assert sorted(ImageFolder(tmp_path / "out" / "validation").classes) == sorted(folders["folder"])
    meta = pd.read_csv(tmp_path / "out" / "validation" / "metadata.csv").set_index("sample_id")
    assert Path(meta.loc[ids[0], "file_name"]).name == "SUM_1_1__cmd.png"
    assert set(meta["label"]) == set(folders["label"]) and set(meta["decided_why"]) == {"'@SUM(1)"}
    assert meta.loc[ids[0], "original_path"] == hostile_file


# -- corrected labels


def test_corrections_say_who_corrected_and_leave_the_original_alone(project: Project, tmp_path: Path) -> None:
    given = read_manifest(project.path).set_index("sample_id")["given_label"]
    ledger = project.ledger()
    ledger.relabel(["train-00000", "train-00001"], "bird", "ada", why="+wings")
    ledger.relabel(["train-00003"], given["train-00003"], "ada", why="confirmed, not corrected")
    ledger.relabel(["train-00004"], "bird" if given["train-00004"] != "bird" else "cat", "ada")
    ledger.undo("ada")
    ledger.exclude(["train-00000"], who="bob", why="a later decision of another kind")
    before = file_digest(project.path / "manifest.parquet")
    result = export(project, None, "corrected-labels", "table", tmp_path / "out")
    rows = pd.read_csv(tmp_path / "out" / "corrected_labels.csv")
    assert list(rows.columns) == ["sample_id", "given_label", "corrected_label", "who", "at", "why"]
    assert rows[["sample_id", "given_label", "corrected_label", "who", "why"]].values.tolist() == [
        ["train-00000", "cat", "bird", "ada", "'+wings"], ["train-00001", "dog", "bird", "ada", "'+wings"]]
    assert result.num_samples == 2 and result.class_counts == {"cat": 0, "dog": 0, "bird": 2}
    assert before == file_digest(project.path / "manifest.parquet")
    assert before == file_digest(tmp_path / "out" / "original_manifest.parquet")


def test_the_parquet_holds_every_training_sample_with_the_corrected_label_beside_the_given_one(project: Project,
                                                                                               tmp_path: Path) -> None:
    rows = read_manifest(project.path).query("split == 'train'").reset_index(drop=True)
    ledger = project.ledger()
    ledger.relabel(["train-00001"], "bird", "ada", why="=1+1")
    ledger.relabel(["train-00002"], rows["given_label"][2], "ada", why="confirmed")
    ledger.exclude(["train-00000", "train-00001"], who="bob", why="blurred")
    export(project, None, "corrected-labels", "table", tmp_path / "out")
    found = pd.read_parquet(tmp_path / "out" / "corrected_labels.parquet")
    assert list(found.columns) == ["sample_id", "path", "given_label", "corrected_label", "is_changed", "is_excluded",
                                   "verdict", "num_reviewers", "who", "at", "why"]
    for name in ("sample_id", "path", "given_label"):
        assert found[name].tolist() == rows[name].tolist(), f"{name} as it came"
    assert found["corrected_label"].tolist() == [rows["given_label"][0], "bird", *rows["given_label"][2:]]
    assert np.flatnonzero(found["is_changed"]).tolist() == [1]
    assert np.flatnonzero(found["is_excluded"]).tolist() == [0, 1]
    assert found[["who", "why"]].values.tolist()[:3] == [["bob", "blurred"], ["ada", "=1+1"], ["ada", "confirmed"]]
    assert found[["who", "at", "why", "verdict"]].iloc[3:].isna().all(axis=None) and (found["num_reviewers"] == 0).all()


# -- cells


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_every_formula_lead_is_neutralised_wherever_it_stands(tmp_path: Path, lead: str) -> None:
    """As it would stand in class names, file names, reasons and a column's name."""
    formula = f"{lead}cmd|' /C calc'!A0"
    frame = pd.DataFrame({"label": [formula, "cat"], "file": pd.Categorical([formula, None]), "why": ["x", formula],
                          formula: [-1.5, 2.0], "nested": [{"bytes": b"x"}, None]})
    write_csv(frame, tmp_path / "cells.csv")
    raw = (tmp_path / "cells.csv").read_bytes().decode()
    back = pd.read_csv(io.StringIO(raw, newline=""))
    assert list(back.columns) == ["label", "file", "why", f"'{formula}", "nested"]
    assert back["label"].tolist() == [f"'{formula}", "cat"] and back["file"].iloc[0] == f"'{formula}"
    assert back["why"].tolist() == ["x", f"'{formula}"] and back[f"'{formula}"].tolist() == [-1.5, 2.0]


def test_texts_that_no_spreadsheet_runs_stay_as_they_are() -> None:
    for cell in ("cat", "a=b", "'quoted", "", 1, -1.5, None, True):
        assert neutral(cell) is cell


def test_the_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(csv_cells).attempted == 3 and doctest.testmod(csv_cells).failed == 0


def test_safe_names_are_short_unique_and_never_empty() -> None:
    names = SafeNames()
    texts = ["a" * 300, "a" * 301, "A" * 302, "...", "", "caf\u00e9", "cafe\u0301", "COM1.png", "x" * 5]
    made = [names.of(text, "image", ".png") for text in texts]
    assert len({name.casefold() for name in made}) == len(made)
    assert all(len(name.encode()) < 255 and name.endswith(".png") for name in made)
    assert made[3] == "image.png" and made[7] == "_COM1.png.png" and made[6] == "caf\u00e9-2.png"


# -- where it goes


def test_a_target_with_files_is_refused_and_an_empty_one_taken(project: Project, run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(project, run, "hard-validation", "table", tmp_path / "out")
    before = sorted((tmp_path / "out").iterdir())
    with pytest.raises(ExportError, match="a new or empty folder; .*out has files in it"):
        export(project, run, "hard-validation", "table", tmp_path / "out")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ExportError, match="an export goes to a folder"):
        export(project, run, "hard-validation", "table", tmp_path / "file")
    assert sorted((tmp_path / "out").iterdir()) == before and (tmp_path / "file").read_text() == "x"


def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def break_off() -> None:
        with staged(tmp_path / "exports" / "out") as folder:
            (folder / "half.csv").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert list((tmp_path / "exports").iterdir()) == []


def test_default_targets_do_not_collide(project: Project, run: RunDir) -> None:
    paths = [export(project, run, "hard-validation", "table").path for _ in range(2)]
    assert [path.name for path in paths] == ["first-hard-validation-table", "first-hard-validation-table-2"]
    assert all(path.parent == project.path / "exports" for path in paths)
    assert default_target(project, None, "corrected-labels", "table").name == "corrected-labels-table"


@pytest.mark.parametrize(("what", "form", "has_run", "message"), [
    ("everything", "table", True, "one of corrected-labels, hard-validation; got 'everything'"),
    ("hard-validation", "zip", True, "hard-validation is exported as imagefolder, .*, table, clothing1m; got 'zip'"),
    ("hard-validation", "table", False, "needs a run; none was given"),
    ("corrected-labels", "table", True, "there are none; relabel some first"),
])
def test_what_cannot_be_exported_is_said_in_one_line(project: Project, tmp_path: Path, what: str, form: str,
                                                     has_run: bool, message: str) -> None:
    run = make_run(project) if has_run else None
    with pytest.raises(ExportError, match=message):
        export(project, run, what, form, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_without_signals_or_without_validation_has_no_set(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="queued has none yet"):
        export(project, make_run(project, "queued", state="queued"), "hard-validation", "table", tmp_path / "out")
    with pytest.raises(ExportError, match="that of plain is empty"):
        export(project, make_run(project, "plain", method="erm"), "hard-validation", "table", tmp_path / "out")


def test_every_export_is_described() -> None:
    assert all(kind.title and kind.help.endswith(".") for kind in EXPORTS.values())
