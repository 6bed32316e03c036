"""Contract 1: round trip, metadata, required columns, unique ids, and no image path that leaves its root."""

import os

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from engine.contract.manifest import (
    MANIFEST_NAME,
    ManifestError,
    ManifestInfo,
    file_digest,
    image_root,
    manifest_schema,
    read_decisions,
    read_info,
    read_manifest,
    resolve_image,
)
from tests.picture_files import ODD_NAMES, write_image

INFO = ManifestInfo(classes=ODD_NAMES, root="images", source="test")


def frame() -> pd.DataFrame:
    num = len(ODD_NAMES)
    return pd.DataFrame({
        "sample_id": list(ODD_NAMES), "path": [f"{name}.png" for name in ODD_NAMES], "given_label": list(ODD_NAMES),
        "split": (["train", "clean", "test"] * num)[:num], "clean_label": [None, *ODD_NAMES[1:]],
        "score": [float(idx) for idx in range(num)]})


def write(project, rows: pd.DataFrame, info: ManifestInfo | None = INFO) -> None:
    project.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pandas(rows, preserve_index=False)
    if info is not None:
        table = table.cast(manifest_schema(table.schema, info))
    pq.write_table(table, project / MANIFEST_NAME)


def test_rows_and_metadata_come_back_as_they_were_written(tmp_path):
    write(tmp_path, frame())
    assert read_info(tmp_path) == INFO
    rows = read_manifest(tmp_path)
    pd.testing.assert_frame_equal(rows, frame().astype({"clean_label": rows["clean_label"].dtype}))
    assert pd.isna(rows["clean_label"][0]) and rows["sample_id"].dtype == "str"


def test_asked_columns_come_with_the_required_ones_and_absent_ones_are_left_out(tmp_path):
    write(tmp_path, frame())
    assert list(read_manifest(tmp_path, ["score", "group"]).columns) == ["sample_id", "given_label", "split", "score"]


@pytest.mark.parametrize("column", ["sample_id", "given_label", "split", "path"])
def test_a_manifest_without_a_required_column_is_refused(tmp_path, column):
    write(tmp_path, frame().drop(columns=column))
    with pytest.raises(ManifestError, match="must have the columns sample_id, given_label, split and path or image"):
        read_manifest(tmp_path)


def test_embedded_images_stand_in_for_paths(tmp_path):
    rows = frame().drop(columns="path")
    rows["image"] = [{"bytes": b"x", "path": None}] * len(rows)
    write(tmp_path, rows)
    assert read_manifest(tmp_path)["image"][0]["bytes"] == b"x"


def test_a_repeated_id_is_refused_by_name(tmp_path):
    rows = frame()
    rows.loc[1, "sample_id"] = rows.loc[0, "sample_id"]
    write(tmp_path, rows)
    with pytest.raises(ManifestError, match=r"must be unique .*'=1\+1' repeats"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("split", ["validation", "", None])
def test_an_unknown_split_is_refused(tmp_path, split):
    rows = frame()
    rows.loc[1, "split"] = split
    write(tmp_path, rows)
    with pytest.raises(ManifestError, match="split must be one of train, clean, test"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(("content", "message"), [
    (None, "needs manifest.parquet"), (b"PAR1 no", "must be a Parquet file"), (b"", "must be a Parquet file")])
def test_a_file_that_is_no_manifest_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_info(tmp_path)


def test_a_parquet_file_of_others_is_refused(tmp_path):
    write(tmp_path, frame(), info=None)
    with pytest.raises(ManifestError, match="must carry class names in its metadata"):
        read_manifest(tmp_path)


def test_the_root_is_relative_to_the_project_or_absolute(tmp_path):
    assert image_root(tmp_path / "p", INFO) == tmp_path / "p" / "images"
    away = ManifestInfo(classes=("a",), root=str(tmp_path / "away"))
    assert image_root(tmp_path / "p", away) == tmp_path / "away"


@pytest.mark.parametrize("path", ["a.png", "sub/b.png", "sub/../a.png", "in_link.png", "in_dir/b.png", "not_there.png"])
def test_paths_inside_the_root_resolve(tmp_path, path):
    root = make_root(tmp_path)
    assert resolve_image(root, path).is_relative_to(root)


@pytest.mark.parametrize("path", [
    "../secret.png", "sub/../../secret.png", "/etc/passwd", "out_link.png", "out_dir/secret.png",
    "out_dir/../secret.png", "../root_twin/x.png", "chain.png", "out_dir/new.png"])
def test_paths_that_leave_the_root_are_refused_through_links_as_well(tmp_path, path):
    root = make_root(tmp_path)
    with pytest.raises(ManifestError, match="an image must lie inside .*; got"):
        resolve_image(root, path)


def make_root(folder):
    """A root with links that stay inside and links that lead out, beside a secret and a folder of a similar name."""
    root = folder / "root"
    write_image(root / "a.png")
    write_image(root / "sub" / "b.png")
    write_image(folder / "secret.png")
    write_image(folder / "root_twin" / "x.png")
    os.symlink(root / "a.png", root / "in_link.png")
    os.symlink("sub", root / "in_dir", target_is_directory=True)
    os.symlink(folder / "secret.png", root / "out_link.png")
    os.symlink(folder, root / "out_dir", target_is_directory=True)
    os.symlink("out_link.png", root / "chain.png")
    return root.resolve()


def test_a_digest_tells_files_apart_and_an_absent_file_has_none(tmp_path):
    write(tmp_path, frame())
    first = file_digest(tmp_path / MANIFEST_NAME)
    write(tmp_path, frame().iloc[:3])
    assert len(first) == 64 and first != file_digest(tmp_path / MANIFEST_NAME)
    assert file_digest(tmp_path / "none") == ""


def test_no_decisions_read_as_an_empty_frame_of_the_contracts_columns(tmp_path):
    assert list(read_decisions(tmp_path / "decisions.parquet").columns) == ["sample_id", "pin", "excluded", "label"]
    assert read_decisions(tmp_path / "decisions.parquet").empty
