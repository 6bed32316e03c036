"""Decoding, the image cache, augmentation and decisions on small files."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from engine import data as module
from engine.data import augment, decode_images, load_dataset, normalize
from engine.manifest import ManifestError, image_root, read_decisions, read_info, read_manifest
from tests.fakes import make_project, write_manifest


def quiet(done, total):
    pass


def load(project, size=None):
    return load_dataset(project, read_decisions(project / "decisions.parquet"), size, quiet)


def test_images_are_decoded_once_and_exactly(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", num_train=20, size=16)
    first = load(project)
    rows = read_manifest(project)
    for i in (0, 7, len(rows) - 1):
        expected = np.asarray(Image.open(project / "images" / rows["path"][i]).convert("RGB")).transpose(2, 0, 1)
        assert (first.images[i] == expected).all()
    monkeypatch.setattr(module, "_decode_into", None)
    assert (load(project).images == first.images).all(), "the second time comes from the cache"


def test_labels_splits_and_truth_follow_the_manifest(tmp_path):
    project = make_project(tmp_path / "p", num_train=20)
    data, rows = load(project), read_manifest(project)
    names = np.asarray(data.classes, dtype=object)
    assert names[data.labels].tolist() == rows["given_label"].tolist()
    assert names[data.clean_labels].tolist() == rows["clean_label"].tolist()
    assert data.sample_ids[data.test_idx].tolist() == rows["sample_id"][rows["split"] == "test"].tolist()
    assert data.num_train == 20 and not data.excluded.any()


def test_another_size_is_cropped_square_and_cached_apart(tmp_path):
    project = make_project(tmp_path / "p", num_train=20, size=16)
    assert load(project, 8).images.shape[-1] == 8 and load(project).images.shape[-1] == 16
    assert len(list((project / "cache").iterdir())) == 2


def test_an_interrupted_decoding_leaves_no_cache_behind(tmp_path):
    project = make_project(tmp_path / "p", num_train=20)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(project, read_decisions(project / "none"), None, stop)
    assert list((project / "cache").iterdir()) == []
    assert load(project).num_train == 20


def test_images_outside_the_root_and_broken_ones_are_bad_and_the_rest_loads(tmp_path):
    project = make_project(tmp_path / "p", num_train=20)
    rows = read_manifest(project)
    Image.new("RGB", (16, 16)).save(tmp_path / "secret.png")
    rows.loc[3, "path"] = "../../secret.png"
    rows.loc[4, "path"] = "train/absent.png"
    write_manifest(project, rows, read_info(project).classes, root="images")
    (project / "images" / rows["path"][5]).write_bytes((project / "images" / rows["path"][5]).read_bytes()[:40])
    data = load(project)
    assert np.flatnonzero(data.excluded).tolist() == [3, 4, 5]
    assert "must lie inside" in data.notes[3] and "No such file" in data.notes[4] and data.notes[5]


def test_embedded_image_bytes_are_read(tmp_path):
    project = make_project(tmp_path / "p", num_train=20)
    rows = read_manifest(project)
    rows["image"] = [{"bytes": (project / "images" / p).read_bytes(), "path": p} for p in rows["path"]]
    expected = np.array(load(project).images)
    write_manifest(project, rows.drop(columns="path"), read_info(project).classes, root="images")
    assert (load(project).images == expected).all()


def test_nothing_left_to_train_on_is_one_clear_line(tmp_path):
    project = make_project(tmp_path / "p", num_train=10)
    ids = read_manifest(project)["sample_id"][:10]
    pd.DataFrame({"sample_id": ids, "pin": None, "excluded": True, "label": None}).to_parquet(
        project / "decisions.parquet")
    with pytest.raises(ManifestError, match="training needs at least one usable sample; all 10"):
        load(project)


def test_shifts_are_translations_with_repeated_edges():
    images = torch.arange(2 * 3 * 16 * 16, dtype=torch.float32).reshape(2, 3, 16, 16)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    found = augment(images, "shift", np.random.default_rng(0)).numpy()
    for i in range(2):
        windows = [padded[i, :, r:r + 16, c:c + 16] for r in range(5) for c in range(5)]
        assert any((found[i] == w).all() for w in windows)
    mirrored = augment(images, "shift_flip", np.random.default_rng(3)).numpy()
    windows = [padded[i, :, r:r + 16, c:c + 16][:, :, ::flip] for i in range(2) for r in range(5) for c in range(5)
               for flip in (1, -1)]
    assert all(any((m == w).all() for w in windows) for m in mirrored)
    assert augment(images, "none", np.random.default_rng(0)) is images


def test_normalisation_is_imagenets():
    white = normalize(torch.full((1, 3, 2, 2), 255, dtype=torch.uint8))
    assert float(white[0, 0, 0, 0]) == pytest.approx((1 - 0.485) / 0.229)


def test_decoding_reports_its_progress(tmp_path):
    project = make_project(tmp_path / "p", num_train=20, num_clean=2, num_test=3)
    seen = []
    root = image_root(project, read_info(project))
    decode_images(project, read_manifest(project), root, 8, lambda done, total: seen.append((done, total)))
    assert seen == [(25, 25)]
