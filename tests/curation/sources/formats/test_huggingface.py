"""What Hugging Face's `datasets` writes is read as it means it; where the library is installed, it writes itself."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curation.project import Project
from curation.sources.importing import import_project
from curation.sources.preview import preview
from curation.sources.recognise import recognise
from curation.tables.report import SourceError
from engine.contract.manifest import image_root, read_info, read_manifest, resolve_image

CLASSES = ["zebra", "ant", "cat"]
FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": CLASSES},
            "sender": {"_type": "Value", "dtype": "string"}}


def encoded(value: int, kind: str = "PNG") -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (6, 5), (value, 255 - value, 7)).save(sink, format=kind)
    return sink.getvalue()


def shard(path: Path, labels: list[int | None], pictures: list[bytes | None], names: list[str | None] | None = None,
          features: dict[str, object] | None = FEATURES) -> Path:
    """A Parquet file as the hub has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": one, "path": name} for one, name in zip(pictures, names or [None] * len(labels), strict=True)]
    table = pa.table({"image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
                      "label": pa.array(labels, pa.int64()), "sender": [f"s{idx}" for idx in range(len(labels))]})
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=2)
    return path


def pixel(project: Path, sample: str) -> int:
    """The red of a sample's picture, through the manifest as everything else reads it."""
    rows, info = read_manifest(project).set_index("sample_id"), read_info(project)
    with Image.open(resolve_image(image_root(project, info), rows.loc[sample, "path"])) as image:
        return image.convert("RGB").getpixel((0, 0))[0]  # type: ignore[index, return-value]


def test_parquet_keeps_class_order_names_splits_and_pictures(tmp_path: Path) -> None:
    data = tmp_path / "hub"
    names = ["a.png", "b.png", "c"]
    shard(data / "data/train-00000-of-00002.parquet", [0, 1, 2], [encoded(n) for n in (1, 2, 3)], names)
    shard(data / "data/train-00001-of-00002.parquet", [0, 1], [encoded(4), encoded(5)], ["d.png", "e.png"])
    shard(data / "data/validation-00000-of-00001.parquet", [1], [encoded(6)], ["a.png"])
    assert [way.source for way in recognise(data)][0] == "huggingface"
    project = tmp_path / "p"
    result = import_project("huggingface", project, root=data)
    assert read_info(project).classes == tuple(CLASSES) and result.splits == {"train": 5, "clean": 1, "test": 0}
    rows = read_manifest(project).set_index("sample_id")
    assert rows["given_label"].to_dict() == {
        "train/a.png": "zebra", "train/b.png": "ant", "train/c": "cat", "train/d.png": "zebra", "train/e.png": "ant",
        "clean/a.png": "ant"}
    assert rows["sender"]["train/d.png"] == "s0"
    assert [pixel(project, one) for one in ("train/a.png", "train/e.png", "clean/a.png")] == [1, 5, 6]
    assert read_info(project).root == "images", "a project that is copied keeps its pictures"


def test_rows_without_name_or_of_one_name_are_kept_apart_and_keep_their_ids(tmp_path: Path) -> None:
    pictures = [encoded(1), encoded(1), encoded(2), encoded(3), encoded(3)]
    file = shard(tmp_path / "train.parquet", [0, 1, 2, 0, 1], pictures, [None, None, "same.png", "same.png", "one.png"])
    import_project("huggingface", tmp_path / "p", root=file)
    rows = read_manifest(tmp_path / "p")
    assert len(rows) == 5 and rows["sample_id"].is_unique and "train/one.png" in set(rows["sample_id"])
    first = dict(zip(rows["sender"], rows["sample_id"], strict=True))
    assert first["s1"] == first["s0"] + "-2"
    order = [4, 2, 3, 0, 1]
    names = [None, None, "same.png", "same.png", "one.png"]
    shard(file, [[0, 1, 2, 0, 1][n] for n in order], [pictures[n] for n in order], [names[n] for n in order])
    result = import_project("huggingface", tmp_path / "p", root=file)
    assert (result.num_added, result.num_removed) == (0, 0), "ids are of the content, not of the row"


def test_a_bad_row_costs_itself_alone(tmp_path: Path) -> None:
    torn = encoded(9, "JPEG")[:200]
    shard(tmp_path / "train.parquet", [0, 1, 2, 7, -1, None, 2],
          [encoded(1), None, b"<html>", encoded(2), encoded(3), encoded(4), torn])
    shard(tmp_path / "test.parquet", [1, 2], [encoded(5), encoded(6)])
    shard(tmp_path / "more" / "train.parquet", [1], [encoded(8)])
    result = import_project("huggingface", tmp_path / "p", root=tmp_path)
    assert result.num_loaded == 4
    assert result.problem_kinds == {"missing label": 2, "damaged file": 1, "empty class": 1, "missing picture": 1,
                                    "not an image": 1, "unknown label": 1}
    report = Project.open(tmp_path / "p").import_report()
    assert sorted(report["row"].dropna().astype(int).tolist()) == [2, 3, 3, 4, 5, 6]


def test_an_import_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = shard(tmp_path / "train.parquet", [0, 1] * 4, [encoded(n) for n in range(8)])

    def stop(done: int, total: int, message: str) -> None:
        if message == "writing pictures":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_project("huggingface", tmp_path / "p", root=file, progress=stop)
    assert not (tmp_path / "p" / "manifest.parquet").exists()
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "p" / "images").rglob("*.png")}
    assert len(there) == 8
    import_project("huggingface", tmp_path / "p", root=file)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "p" / "images").rglob("*.png")} == there


def test_no_picture_is_written_through_a_link_out_of_the_project(tmp_path: Path) -> None:
    file = shard(tmp_path / "train.parquet", [0, 1], [encoded(1), encoded(2)])
    import_project("huggingface", tmp_path / "first", root=file)
    folders = [path.name for path in (tmp_path / "first" / "images").iterdir()]
    (tmp_path / "out").mkdir()
    (tmp_path / "p" / "images").mkdir(parents=True)
    (tmp_path / "p" / "images" / folders[0]).symlink_to(tmp_path / "out")
    with pytest.raises(SourceError, match="leads out of it"):
        import_project("huggingface", tmp_path / "p", root=file)
    assert not list((tmp_path / "out").iterdir())


def test_what_is_no_such_data_set_is_refused_in_words(tmp_path: Path) -> None:
    file = shard(tmp_path / "train.parquet", [0, 1], [encoded(1), encoded(2)])
    with pytest.raises(SourceError, match="label column|column of labels must be in train.parquet; got 'y'"):
        import_project("huggingface", tmp_path / "p", root=file, label_column="y")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="a data set of Hugging Face is a folder"):
        import_project("huggingface", tmp_path / "p", root=tmp_path / "empty")
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(SourceError, match="a data set of Hugging Face|whole file"):
        import_project("huggingface", tmp_path / "p", root=file)


def test_a_preview_writes_nothing(tmp_path: Path) -> None:
    file = shard(tmp_path / "data" / "train.parquet", [0, 1], [encoded(1), encoded(2)])
    before = sorted(tmp_path.rglob("*"))
    found = preview("huggingface", file, lambda *step: None, {}, None)
    assert found.num_samples == 2 and found.pictures == () and sorted(tmp_path.rglob("*")) == before


def test_metadata_beside_images_names_them_for_each_split(tmp_path: Path) -> None:
    for split, names in (("train", ("0.png", "1.png", "2.png")), ("test", ("0.png",))):
        for idx, name in enumerate(names):
            (tmp_path / "d" / split).mkdir(parents=True, exist_ok=True)
            (tmp_path / "d" / split / name).write_bytes(encoded(idx))
    (tmp_path / "d/train/metadata.csv").write_text(
        "file_name,label,phone\n0.png,cat,0049\n1.png,dog,0050\n2.png,,1\ngone.png,cat,2\n../../x.png,cat,3\n")
    (tmp_path / "d/test/metadata.jsonl").write_text('{"file_name": "0.png", "label": "dog"}\n')
    assert recognise(tmp_path / "d")[0].source == "huggingface"
    result = import_project("huggingface", tmp_path / "p", root=tmp_path / "d")
    rows = read_manifest(tmp_path / "p")
    assert rows[["sample_id", "given_label", "split", "phone"]].fillna("").values.tolist() == [
        ["train/0.png", "cat", "train", "0049"], ["train/1.png", "dog", "train", "0050"],
        ["test/0.png", "dog", "test", ""]]
    assert result.problem_kinds == {"leaves root": 1, "missing file": 1, "missing label": 1} or \
        result.problem_kinds == {"missing file": 2, "missing label": 1}


def test_without_a_label_column_the_folders_are_the_labels(tmp_path: Path) -> None:
    for name in ("cat/0.png", "dog/1.png"):
        (tmp_path / "d/train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d/train" / name).write_bytes(encoded(3))
    (tmp_path / "d/train/metadata.csv").write_text("file_name,by\ncat/0.png,ada\ndog/1.png,bob\n")
    import_project("huggingface", tmp_path / "p", root=tmp_path / "d")
    rows = read_manifest(tmp_path / "p")
    assert rows["given_label"].tolist() == ["cat", "dog"] and rows["by"].tolist() == ["ada", "bob"]


@pytest.mark.parametrize("kind", ["arrow", "parquet"])
def test_what_the_library_itself_writes(tmp_path: Path, kind: str) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=CLASSES),
                                  "kids": datasets.Value("bool")})
    rng = np.random.default_rng(0)
    pixels = [Image.fromarray(rng.integers(0, 255, (5, 6, 3), dtype=np.uint8)) for _ in range(5)]
    made = {}
    for split, start, stop, labels in (("train", 0, 3, [2, 0, 1]), ("test", 3, 5, [1, 1])):
        columns = {"image": pixels[start:stop], "label": labels, "kids": [True] * len(labels)}
        made[split] = datasets.Dataset.from_dict(columns, features=features)
    if kind == "arrow":
        datasets.DatasetDict(made).save_to_disk(str(tmp_path / "d"))
    else:
        for split, one in made.items():
            one.to_parquet(str(tmp_path / "d" / f"{split}-00000-of-00001.parquet"))
    assert recognise(tmp_path / "d")[0].source == "huggingface"
    import_project("huggingface", tmp_path / "p", root=tmp_path / "d")
    rows = read_manifest(tmp_path / "p")
    assert read_info(tmp_path / "p").classes == tuple(CLASSES)
    assert pd.crosstab(rows["split"], rows["given_label"]).stack().to_dict() == {
        ("test", "ant"): 2, ("test", "cat"): 0, ("test", "zebra"): 0,
        ("train", "ant"): 1, ("train", "cat"): 1, ("train", "zebra"): 1}
    found = [np.asarray(Image.open(tmp_path / "p" / "images" / path)) for path in rows["path"]]
    for image, label in zip(found, rows["given_label"], strict=True):
        idx = next(n for n, one in enumerate(pixels) if np.array_equal(np.asarray(one), image))
        assert CLASSES[[2, 0, 1, 1, 1][idx]] == label
