"""Clothing1M's layout: joins, leakage, every broken line, scale without images, and the real data where it is."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.project import Project
from curation.sources.importing import ImportResult, import_project
from curation.tables.report import SourceError
from engine.contract.manifest import image_root, read_info, read_manifest, resolve_image
from tests.picture_files import write_broken, write_image

TRAIN = {"images/0/00/1,1.jpg": (0, 0), "images/0/01/2,2.jpg": (1, 0), "images/0/02/3 3.jpg": (1, None),
         "images/0/03/4,4.jpg": (0, None)}
"""key -> (noisy, clean or None)"""
EXTRA = {"images/1/00/5,5.jpg": 1}
VAL = {"images/2/00/6,6.jpg": 0, "images/2/00/7,7.jpg": 1}
TEST = {"images/3/00/8,8.jpg": 1}


def write_layout(folder: Path, **replace: str | bytes | None) -> Path:
    """The four-list layout of the constants above; replace: list name without suffix -> its text, None for no file."""
    duals = {key: clean for key, (_, clean) in TRAIN.items() if clean is not None}
    noisy = {key: label for key, (label, _) in TRAIN.items()} | {next(iter(VAL)): 1}
    texts: dict[str, str | bytes | None] = {
        "category_names_eng": "Shirt\nT-Shirt\n",
        "noisy_train_key_list": lines(TRAIN), "clean_train_key_list": lines([*duals, *EXTRA]),
        "clean_val_key_list": lines(VAL), "clean_test_key_list": lines(TEST),
        "noisy_label_kv": pairs(noisy), "clean_label_kv": pairs({**duals, **EXTRA, **VAL, **TEST}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {**texts, **replace}.items():
        if text is not None:
            (folder / f"{name}.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def lines(keys: object) -> str:
    return "".join(f"{key}\n" for key in keys)  # type: ignore[attr-defined]


def pairs(labels: dict[str, int]) -> str:
    return "".join(f"{key} {label}\n" for key, label in labels.items())


def write_images(root: Path, prefix: str = "images/") -> None:
    for idx, key in enumerate([*TRAIN, *EXTRA, *VAL, *TEST]):
        write_image(root / (prefix + key.removeprefix("images/")), seed=idx)


def import_layout(root: Path, project: Path, check: str = "none") -> tuple[ImportResult, pd.DataFrame, pd.DataFrame]:
    result = import_project("clothing1m", project, root=root, check=check)
    return result, read_manifest(project).set_index("sample_id"), Project.open(project).import_report()


@pytest.mark.parametrize("annotations", ["", "annotations"])
@pytest.mark.parametrize("prefix", ["images/", ""])
def test_lists_and_labels_join_and_images_are_found(tmp_path, annotations, prefix):
    root = tmp_path / "data"
    write_layout(root / annotations)
    write_images(root, prefix)
    result, rows, report = import_layout(root, tmp_path / "p", check="decode")
    assert report.empty
    assert rows.index.tolist() == [*TRAIN, *VAL, *EXTRA, *TEST]
    assert result.splits == {"train": 4, "clean": 3, "test": 1}
    names = ("Shirt", "T-Shirt")
    for key, (noisy, clean) in TRAIN.items():
        row = rows.loc[key]
        assert (row["split"], row["given_label"], row["noisy_label"]) == ("train", names[noisy], names[noisy])
        assert row["clean_label"] == names[clean] if clean is not None else pd.isna(row["clean_label"])
        assert row["dual_labelled"] == (clean is not None)
    for key, label in {**EXTRA, **VAL, **TEST}.items():
        row = rows.loc[key]
        assert row["given_label"] == row["clean_label"] == names[label] and not row["dual_labelled"]
    assert rows["noisy_label"].notna().sum() == 5 and rows.loc[next(iter(VAL)), "noisy_label"] == "T-Shirt"
    assert rows["key_list"].value_counts().to_dict() == {
        "noisy_train": 4, "clean_val": 2, "clean_train": 1, "clean_test": 1}
    info = read_info(tmp_path / "p")
    assert info.classes == names and info.source == "clothing1m"
    for path in rows["path"]:
        assert resolve_image(image_root(tmp_path / "p", info), path).is_file()


def test_class_table_and_disagreement_are_those_of_the_dual_labels(tmp_path):
    result, _, _ = import_layout(write_layout(tmp_path / "data"), tmp_path / "p")
    table = result.classes.set_index("class")
    assert table.loc["Shirt"].tolist() == [2, 1, 0, 1, 0]
    assert table.loc["T-Shirt"].tolist() == [2, 2, 1, 1, 1]
    measured = result.disagreement
    assert measured is not None
    assert (measured["num_dual"], measured["num_wrong"], measured["share"]) == (2, 1, 0.5)
    # Wilson's interval for 1 of 2, by hand: centre 1/2, half-width z/(1 + z^2/2) sqrt(1/8 + z^2/16).
    z = 1.959964
    half = z / (1 + z * z / 2) * np.sqrt(1 / 8 + z * z / 16)
    assert measured["low"] == pytest.approx(0.5 - half) and measured["high"] == pytest.approx(0.5 + half)
    assert result.counts == {"clean_test keys": 1, "clean_val keys": 2, "noisy_train keys": 4, "clean_train keys": 3,
                             "clean_train keys that are noisy_train keys too": 2}


def test_each_broken_image_is_one_line_and_the_rest_loads(tmp_path):
    root = tmp_path / "data"
    broken = write_broken(root / "images" / "b", outside=tmp_path / "secret.jpg")
    keys = {f"images/b/{name}": (0, None) for name in broken}
    everything = {**TRAIN, **keys}
    write_layout(root, noisy_train_key_list=lines([*everything, "images/none.jpg", "../secret.jpg", "/etc/passwd"]),
                 noisy_label_kv=pairs({**{key: noisy for key, (noisy, _) in everything.items()},
                                       "images/none.jpg": 0, "../secret.jpg": 0, "/etc/passwd": 0}))
    write_images(root)
    result, rows, report = import_layout(root, tmp_path / "p", check="decode")
    assert rows.index.tolist() == [*TRAIN, *VAL, *EXTRA, *TEST]
    expected = {f"images/b/{name}": kind for name, kind in broken.items()} | {
        "images/none.jpg": "missing file", "../secret.jpg": "leaves root", "/etc/passwd": "leaves root"}
    assert dict(zip(report["sample_id"], report["kind"], strict=True)) == expected
    assert len(report) == len(expected) == result.num_problems
    missing = report[report["sample_id"] == "images/none.jpg"].iloc[0]
    assert missing["file"] == "images/none.jpg"
    assert f"noisy_train_key_list.txt, row {len(everything) + 1}" in missing["reason"]


def test_each_broken_line_is_one_line_with_its_file_and_row(tmp_path):
    first, second, third, fourth = TRAIN
    root = write_layout(
        tmp_path / "data",
        noisy_train_key_list=f"{first}\n\n{second}\nimages/unlabelled.jpg\n{third}\n{first}\nbad\x1fkey\n".encode()
        + b"images/\xff\xfe.jpg\n" + f"images/unknown.jpg\nimages/negative.jpg\nimages/word.jpg\n{fourth}".encode(),
        noisy_label_kv=pairs({key: noisy for key, (noisy, _) in TRAIN.items()}).encode()
        + b"nospace\nimages/unknown.jpg 2\nimages/negative.jpg -1\nimages/word.jpg Shirt\n"
        + f"{first} 1\n".encode() + b"images/\xff.jpg 1\n" + b"images/huge.jpg 99999999999999999999999999\n",
        clean_test_key_list="")
    result, rows, report = import_layout(root, tmp_path / "p")
    assert rows.index[:4].tolist() == list(TRAIN) and result.splits == {"train": 4, "clean": 3, "test": 0}
    assert rows.loc[first, "given_label"] == "Shirt", "the first of two labels counts"
    got = {(file, None if pd.isna(row) else int(row), kind) for file, row, kind
           in report[["file", "row", "kind"]].itertuples(index=False)}
    keys, labels = "noisy_train_key_list.txt", "noisy_label_kv.txt"
    assert got == {
        (keys, 4, "missing label"), (keys, 6, "duplicate key"), (keys, 7, "malformed line"), (keys, 8, "not UTF-8"),
        (labels, 5, "malformed line"), (labels, 6, "unknown label"), (labels, 7, "unknown label"),
        (labels, 8, "unknown label"), (labels, 9, "duplicate key"), (labels, 10, "not UTF-8"),
        ("clean_test_key_list.txt", None, "empty list")}
    assert len(report) == len(got)
    reasons = report.set_index(["file", "row"])["reason"]
    assert "noisy_train_key_list.txt, row 1" in reasons[keys, 6]
    assert "'-1'" in reasons[labels, 7] and "'nospace'" in reasons[labels, 5]
    assert not report["reason"].str.contains("\n").any()


def test_a_bad_clean_label_of_a_train_key_is_reported_and_the_row_stays(tmp_path):
    first, second = list(TRAIN)[:2]
    root = write_layout(tmp_path / "data", clean_label_kv=pairs({second: 7, **EXTRA, **VAL, **TEST}))
    _, rows, report = import_layout(root, tmp_path / "p")
    assert rows.loc[[first, second], "clean_label"].isna().all() and not rows["dual_labelled"].any()
    assert set(zip(report["sample_id"], report["kind"], report["action"], strict=True)) == {
        (first, "missing label", "kept"), (second, "unknown label", "kept")}


def test_a_key_in_train_and_test_stays_in_test_alone(tmp_path):
    leaked = next(iter(TEST))
    root = write_layout(tmp_path / "data", noisy_train_key_list=lines([*TRAIN, leaked]),
                        noisy_label_kv=pairs({**{key: noisy for key, (noisy, _) in TRAIN.items()}, leaked: 0}))
    result, rows, report = import_layout(root, tmp_path / "p")
    assert rows.loc[leaked, "split"] == "test" and result.splits["train"] == 4
    assert report[["file", "row", "kind"]].values.tolist() == [["noisy_train_key_list.txt", 5, "duplicate key"]]
    assert "clean_test_key_list.txt, row 1" in report["reason"][0]


def test_a_class_without_training_samples_keeps_its_place_and_is_said(tmp_path):
    root = write_layout(tmp_path / "data", category_names_eng="Shirt\nT-Shirt\nCoat\n")
    _, _, report = import_layout(root, tmp_path / "p")
    assert read_info(tmp_path / "p").classes == ("Shirt", "T-Shirt", "Coat")
    assert report[["file", "row", "kind", "action"]].values.tolist() == [
        ["category_names_eng.txt", 3, "empty class", "kept"]]


def test_odd_class_names_windows_line_ends_and_a_byte_order_mark_are_read(tmp_path):
    names = ["=cmd()", "<b>\u00e9</b>, \"x\""]
    root = write_layout(tmp_path / "data", category_names_eng="\ufeff" + "\r\n".join(names) + "\r\n",
                        noisy_train_key_list=lines(TRAIN).replace("\n", "\r\n"))
    _, rows, report = import_layout(root, tmp_path / "p")
    assert read_info(tmp_path / "p").classes == tuple(names) and report.empty
    assert rows.index[:4].tolist() == list(TRAIN) and rows["given_label"].iloc[0] == names[0]


def test_optional_lists_may_be_absent(tmp_path):
    root = write_layout(tmp_path / "data", clean_label_kv=None, clean_train_key_list=None, clean_val_key_list=None,
                        clean_test_key_list=None)
    result, rows, report = import_layout(root, tmp_path / "p")
    assert result.splits == {"train": 4, "clean": 0, "test": 0} and report.empty and result.disagreement is None
    assert any("clean_val_key_list.txt is absent" in note for note in result.notes)
    assert any("no sample in split test" in note for note in result.notes)


def test_nothing_but_the_layout_is_read(tmp_path):
    root = write_layout(tmp_path / "data")
    answers = root / "audit_answers.csv"
    os.mkfifo(answers)  # opening it would hang until the test's time is up
    result, rows, _ = import_layout(root, tmp_path / "p")
    assert result.num_loaded == 8 and rows["clean_label"].isna().sum() == 2


@pytest.mark.parametrize(("replace", "message"), [
    ({"noisy_train_key_list": None}, "noisy_train_key_list.txt not found"),
    ({"category_names_eng": None, "noisy_label_kv": None}, "category_names_eng.txt, noisy_label_kv.txt not found"),
    ({"category_names_eng": ""}, "at least two classes; got 0"),
    ({"category_names_eng": "one\n"}, "at least two classes; got 1"),
    ({"category_names_eng": "a\nb\na\n"}, "class names must differ; 'a' repeats"),
    ({"noisy_train_key_list": ""}, "needs training samples; .* empty list: noisy_train_key_list.txt"),
    ({"noisy_label_kv": "\n"}, "needs training samples; none of 4 rows"),
])
def test_what_cannot_load_is_refused_and_makes_no_project(tmp_path, replace, message):
    root = write_layout(tmp_path / "data", **replace)
    with pytest.raises(SourceError, match=message):
        import_layout(root, tmp_path / "p")
    assert not (tmp_path / "p").exists()


def test_20_000_keys_import_without_touching_an_image(tmp_path, monkeypatch):
    num, num_dual = 20_000, 500
    keys = [f"images/{idx % 10}/{idx % 100:02d}/{idx},{idx * 7}.jpg" for idx in range(num)]
    rng = np.random.default_rng(0)
    noisy, clean = rng.integers(0, 14, num), rng.integers(0, 14, num_dual)
    root = write_layout(
        tmp_path / "data", category_names_eng=lines(f"class {idx}" for idx in range(14)),
        noisy_train_key_list=lines(keys), clean_train_key_list=lines(keys[:num_dual]),
        noisy_label_kv=pairs(dict(zip(keys[::-1], noisy[::-1], strict=True))),
        clean_label_kv=pairs(dict(zip(keys[:num_dual], clean, strict=True))),
        clean_val_key_list=None, clean_test_key_list=None)
    monkeypatch.setattr("PIL.Image.open", lambda *a, **k: pytest.fail("an image was opened"))
    seen: list[tuple[int, int, str]] = []
    result = import_project("clothing1m", tmp_path / "p", root=root, check="none",
                            progress=lambda *step: seen.append(step))
    rows = read_manifest(tmp_path / "p")
    assert rows["sample_id"].tolist() == keys
    assert rows["given_label"].tolist() == [f"class {label}" for label in noisy]
    assert rows["clean_label"].dropna().tolist() == [f"class {label}" for label in clean]
    assert result.disagreement is not None
    assert result.disagreement["num_wrong"] == int((noisy[:num_dual] != clean).sum())
    assert result.check == "none" and any("20,000 images were not looked at" in note for note in result.notes)
    assert all(0 <= done <= total for done, total, _ in seen) and seen[-1] == (1, 1, "writing")


@pytest.mark.skipif(not os.environ.get("WHETSTONE_DATA"), reason="WHETSTONE_DATA names no folder of real data")
def test_the_real_data_gives_the_counts_that_its_lists_hold(tmp_path):
    root = Path(os.environ["WHETSTONE_DATA"])
    result, rows, report = import_layout(root, tmp_path / "p", check="exists")
    assert result.splits == {"train": 12_000, "clean": 1_000, "test": 4_000} and report.empty
    assert rows["dual_labelled"].sum() == 1_000 and rows["clean_label"].notna().sum() == 6_000
    assert result.disagreement is not None
    assert result.disagreement["num_dual"] == 1_000 and 0.3 < result.disagreement["share"] < 0.5
    assert len(read_info(tmp_path / "p").classes) == 10
