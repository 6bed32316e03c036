"""Features on disk: keyed by images, finished chunk by chunk, the same bytes however often it was stopped."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from engine.contract import feature_dir
from engine.contract.disk.journal import append_entry, read_journal
from engine.contract.feature_dir import FeatureDir, FeatureError, FeatureStore
from engine.contract.manifest import MANIFEST_NAME, file_digest, image_root, read_info, read_manifest
from engine.data import feature_plan, feature_store
from engine.data.decoding import to_square
from engine.data.feature_store import CHANGED, Extraction, extract
from engine.data.inference import Inference
from tests.fakes import make_project, write_manifest

SIZE, NUM_FEATURES, CHUNK = 8, 5, 16
MIX = np.random.default_rng(0).normal(size=(SIZE * SIZE * 3, NUM_FEATURES)) / 1000


class Stopped(Exception):
    """What stands for a kill or a cancel."""


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    for module in (feature_plan, feature_store, feature_dir):
        monkeypatch.setattr(module, "CHUNK", CHUNK)
    monkeypatch.setattr(feature_store, "SHARD_ROWS", 4 * CHUNK)
    monkeypatch.setattr("engine.contract.feature_dir.SHARD_ROWS", 4 * CHUNK)


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path / "p", num_train=90, num_clean=10, num_test=10, size=SIZE)


def embed(pixels: np.ndarray) -> np.ndarray:
    return (pixels.reshape(len(pixels), -1) @ MIX).astype(np.float32)


def run(project: Path, on_batch=lambda: None, on_progress=lambda done, total: None, batch_size=4) -> FeatureDir:
    """Make features "own" of a project with a backbone that adds pixels up."""
    folder = FeatureDir.of(project, "own")

    def watched(pixels: np.ndarray) -> np.ndarray:
        on_batch()
        return embed(pixels)

    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_document({"kind": "backbone", "num_features": NUM_FEATURES})
    extract(Extraction(folder=folder, manifest=read_manifest(project, ["path", "image"]),
                       root=image_root(project, read_info(project)),
                       manifest_digest=file_digest(project / MANIFEST_NAME), num_features=NUM_FEATURES, image_size=SIZE,
                       fit="squash"),
            lambda: contextlib.nullcontext(Inference(watched, batch_size, 2)), lambda *_: None, on_progress)
    return folder


def bytes_of(folder: FeatureDir) -> dict[str, bytes]:
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in sorted(folder.path.rglob("*"))
            if path.is_file()}


def expected(project: Path, sample_id: str) -> np.ndarray:
    rows = read_manifest(project, ["path"]).set_index("sample_id")
    with Image.open(project / "images" / rows.loc[sample_id, "path"]) as image:
        return embed(to_square(image, SIZE, "squash")[None])[0].astype(np.float16)


def stored(folder: FeatureDir, sample_id: str) -> np.ndarray:
    store = FeatureStore(folder)
    return store.read(store.rows_of(pd.Series([sample_id])))[0]


def test_every_sample_has_the_features_of_its_image(project):
    folder = run(project)
    samples = folder.read_samples()
    assert samples["sample_id"].tolist() == read_manifest(project)["sample_id"].tolist()
    assert samples["row"].tolist() == list(range(110)) and samples["reason"].isna().all()
    for sample_id in samples["sample_id"][::7]:
        assert (stored(folder, sample_id) == expected(project, sample_id)).all()
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "features.json", "journal.jsonl", "rows.parquet", "samples.parquet", "shards"]
    assert len(list((folder.path / "shards").iterdir())) == 2


def test_stopped_anywhere_and_gone_on_with_the_bytes_are_the_same(project, tmp_path):
    whole = bytes_of(run(project))
    for at in (1, 2, 7, 13, 27):
        copy = shutil.copytree(project, tmp_path / f"cut{at}", ignore=shutil.ignore_patterns("features"))
        calls = []

        def stop(calls=calls, at=at) -> None:
            calls.append(1)
            if len(calls) == at:
                raise Stopped

        for _ in range(5):
            calls.clear()
            with contextlib.suppress(Stopped):
                folder = run(copy, on_batch=stop)
                break
        else:
            folder = run(copy)
        assert bytes_of(folder) == whole


def test_a_stop_keeps_the_chunks_that_are_finished(project):
    def stop(done: int, total: int) -> None:
        if done > 3 * CHUNK:
            raise Stopped

    with pytest.raises(Stopped):
        run(project, on_progress=stop)
    folder, batches = FeatureDir.of(project, "own"), []
    assert not folder.exists() and len(read_journal(folder.journal_path)) == 3
    run(project, on_batch=lambda: batches.append(1))
    assert len(batches) == -(-(110 - 3 * CHUNK) // 4)


def test_a_new_import_computes_what_is_new_and_moves_nothing(project):
    before = FeatureStore(run(project))
    kept = before.read(np.arange(110))
    rows = read_manifest(project, ["path", "clean_label", "group"])
    shutil.copy(project / "images" / "train" / "00001.png", project / "images" / "copy.png")
    extra = rows.iloc[:3].assign(sample_id=["new-0", "new-1", "copy"], path=["new0.png", "new1.png", "copy.png"])
    for number in range(2):
        Image.new("RGB", (20, 9), (200, 10 * number, 3)).save(project / "images" / f"new{number}.png")
    write_manifest(project, pd.concat([extra, rows.iloc[5:]]), read_info(project).classes, root="images")
    seen = []
    folder = run(project, on_batch=lambda: seen.append(1))
    assert len(seen) == 1, "two new images make one batch"
    samples = folder.read_samples().set_index("sample_id")
    assert samples["row"].loc[["new-0", "new-1", "copy", "train-00005"]].tolist() == [112, 113, 1, 5]
    assert (FeatureStore(folder).read(np.arange(110)) == kept).all()
    assert (stored(folder, "new-1") == expected(project, "new-1")).all()
    write_manifest(project, rows, read_info(project).classes, root="images")
    run(project, on_batch=lambda: pytest.fail("what left the data and came back still has its row"))
    assert folder.read_samples()["row"].tolist() == list(range(110))


def test_damaged_chunks_are_found_and_made_again(project):
    folder = run(project)
    whole, path = bytes_of(folder), folder.shard_path(0)
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    seen = []
    run(project, on_batch=lambda: seen.append(1))
    assert bytes_of(folder) == whole and len(seen) == CHUNK / 4
    folder.shard_path(1).unlink()
    run(project)
    assert bytes_of(folder) == whole
    path.write_bytes(raw[:200])
    run(project)
    assert bytes_of(folder) == whole


def test_damage_where_an_image_left_the_data_forgets_that_image(project):
    folder = run(project)
    rows = read_manifest(project, ["path", "clean_label", "group"])
    write_manifest(project, rows.iloc[2:], read_info(project).classes, root="images")
    folder.shard_path(0).unlink()
    run(project)
    assert (stored(folder, "train-00002") == expected(project, "train-00002")).all()
    write_manifest(project, rows, read_info(project).classes, root="images")
    samples = run(project).read_samples()
    assert samples["row"].iloc[:3].tolist() == [112, 113, 2]
    assert (stored(folder, "train-00000") == expected(project, "train-00000")).all()


def test_unreadable_images_are_left_out_with_a_reason(project):
    (project / "images" / "train" / "00003.png").write_bytes(b"no picture")
    (project / "images" / "train" / "00004.png").unlink()
    folder = run(project)
    samples = folder.read_samples().set_index("sample_id")
    lost = samples[samples["row"] < 0]
    assert lost.index.tolist() == ["train-00003", "train-00004"]
    assert lost["reason"].str.startswith("unreadable image: ").all() and not lost["reason"].str.contains("\n").any()
    assert (stored(folder, "train-00005") == expected(project, "train-00005")).all()
    run(project, on_batch=lambda: pytest.fail("the same bytes stay unreadable"))
    Image.new("RGB", (9, 9), (1, 2, 3)).save(project / "images" / "train" / "00003.png")
    run(project)
    assert (stored(folder, "train-00003") == expected(project, "train-00003")).all()


def test_an_image_that_changes_on_the_way_is_left_out_until_the_next_time(project):
    path, changed = project / "images" / "test" / "00000.png", []

    def change() -> None:
        if not changed:
            changed.append(1)
            Image.new("RGB", (9, 9), (1, 2, 3)).save(path)

    original = path.read_bytes()
    samples = run(project, on_batch=change).read_samples().set_index("sample_id")
    assert samples.loc["test-00000", "row"] == -1 and samples.loc["test-00000", "reason"] == CHANGED
    path.write_bytes(original)
    folder = run(project)
    assert (stored(folder, "test-00000") == expected(project, "test-00000")).all()


def test_features_that_are_not_finite_are_left_out_and_large_ones_clipped(project, monkeypatch):
    plain = embed

    def odd(pixels: np.ndarray) -> np.ndarray:
        found = plain(pixels)
        found[0, 0], found[1, 1] = np.nan, 1e30
        return found

    monkeypatch.setitem(globals(), "embed", odd)
    folder = run(project)
    samples = folder.read_samples()
    assert (samples["row"][::4] == -1).all() and samples["reason"][0] == "its features are not finite"
    assert FeatureStore(folder).read(np.array([1]))[0, 1] == np.finfo(np.float16).max


def test_a_journal_line_that_was_cut_short_counts_as_not_written(tmp_path):
    path = tmp_path / "journal.jsonl"
    append_entry(path, {"start": 0, "digest": "a", "bad": {}})
    with open(path, "a") as file:
        file.write('{"start": 16, "dig')
    append_entry(path, {"start": 32, "digest": "b", "bad": {"33": "why"}})
    assert read_journal(path) == {0: {"start": 0, "digest": "a", "bad": {}},
                                  32: {"start": 32, "digest": "b", "bad": {"33": "why"}}}


@pytest.mark.parametrize(("fit", "top", "left"), [("squash", 255, 0), ("pad", 127, 0), ("crop", 255, 238)])
def test_an_image_becomes_a_square_in_three_ways(fit, top, left):
    """Twice as wide as high, black with a white square in its middle; 238: one edge pixel in bicubic."""
    pixels = np.zeros((40, 80, 3), np.uint8)
    pixels[:, 20:60] = 255
    square = to_square(Image.fromarray(pixels), 20, fit)
    assert square.shape == (20, 20, 3) and square.dtype == np.uint8
    assert (square[0, 10, 0], square[10, 0, 0]) == (top, left)


def test_a_changed_bit_of_a_shard_is_told_and_only_its_chunk_is_made_again(project):
    folder = run(project)
    whole = bytes_of(folder)
    shard = folder.shard_path(1)
    content = bytearray(shard.read_bytes())
    content[-CHUNK * NUM_FEATURES] ^= 1
    shard.unlink()  # another inode: the clock may stand still
    shard.write_bytes(content)
    with pytest.raises(FeatureError, match="of 'own' those from row 96 on have changed; run `python -m engine feat"):
        FeatureStore.open(project, "own")
    seen = []
    run(project, on_batch=lambda: seen.append(1))
    assert bytes_of(folder) == whole and len(seen) <= CHUNK / 4
    FeatureStore.open(project, "own")


def test_features_whose_journal_lost_a_line_are_not_taken_on_trust(project):
    folder = run(project)
    lines = folder.journal_path.read_text().splitlines(keepends=True)
    folder.journal_path.write_text("".join(lines[1:]))
    with pytest.raises(FeatureError, match="features must be as they were computed; of 'own' those from row 0 on"):
        FeatureStore.open(project, "own")
