"""Decoding, the image cache, augmentation and decisions on small files."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from PIL import Image

from engine.contract.manifest import ManifestError, image_root, read_decisions, read_info, read_manifest
from engine.contract.pixels import GROUND
from engine.data import image_cache as module
from engine.data.batches import AHEAD, ImageStore, augment, normalize
from engine.data.dataset import load_dataset
from engine.data.image_cache import decode_images
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
    monkeypatch.setattr(module, "_decode_row", None)
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


def decoded_rows(monkeypatch) -> list[int]:
    """The rows that are decoded from now on."""
    decode, seen = module._decode_row, []
    monkeypatch.setattr(module, "_decode_row", lambda images, row, *rest: seen.append(row) or decode(images, row,
                                                                                                     *rest))
    return seen


def cached(project) -> Path:
    (folder,) = (project / "cache").iterdir()
    return folder


def test_an_interrupted_decoding_goes_on_where_it_was(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", num_train=20)
    monkeypatch.setattr(module, "CHUNK", 8)
    seen = decoded_rows(monkeypatch)

    def stop(done, total):
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(project, read_decisions(project / "none"), None, stop)
    assert sorted(seen) == list(range(16))
    with open(cached(project) / "journal.jsonl", "a") as file:
        file.write('{"start": 16, "dig')  # killed in the middle of a line
    seen.clear()
    images = load(project).images.copy()
    assert sorted(seen) == list(range(16, len(images)))
    shutil.rmtree(project / "cache")
    assert (load(project).images == images).all()


def test_a_damaged_cache_is_found_by_its_digest_and_that_part_decoded_again(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", num_train=20)
    monkeypatch.setattr(module, "CHUNK", 8)
    before = load(project).images.copy()
    path = cached(project) / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    seen = decoded_rows(monkeypatch)
    assert (load(project).images == before).all() and set(seen) == set(range(len(before) // 8 * 8, len(before)))
    seen.clear()
    path.write_bytes(content[:-5])
    assert (load(project).images == before).all() and set(seen) == set(range(len(before) // 8 * 8, len(before)))
    seen.clear()
    path.write_bytes(content[3:])
    assert (load(project).images == before).all() and sorted(seen) == list(range(len(before))), "no array: all anew"
    seen.clear()
    load(project)
    assert seen == []


def test_a_lost_array_takes_its_journal_along(tmp_path, monkeypatch):
    """Else whoever comes after a killed decoding would believe it of chunks that are black."""
    project = make_project(tmp_path / "p", num_train=20, size=16)
    monkeypatch.setattr(module, "CHUNK", 4)
    before = load(project).images.copy()
    (cached(project) / "images.npy").unlink()
    monkeypatch.setattr(module, "VERIFIED_BYTES", 1)  # of all chunks one is looked at

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_dataset(project, read_decisions(project / "none"), None, stop)
    assert (load(project).images == before).all()


def test_one_damaged_chunk_has_all_of_them_looked_at(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", num_train=20, size=16)
    monkeypatch.setattr(module, "CHUNK", 4)
    before = load(project).images.copy()
    images = np.load(cached(project) / "images.npy", mmap_mode="r+")
    images[:] = 0
    images.flush()
    monkeypatch.setattr(module, "VERIFIED_BYTES", 1)
    assert (load(project).images == before).all()


def test_of_a_large_cache_chunks_all_over_it_are_verified(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", num_train=20, size=16)
    monkeypatch.setattr(module, "CHUNK", 2)
    load(project)
    monkeypatch.setattr(module, "VERIFIED_BYTES", 3 * 2 * 3 * 16 * 16)  # three chunks' worth
    digest, looked = module._digest, []
    monkeypatch.setattr(module, "_digest", lambda images, start: looked.append(start) or digest(images, start))
    num = len(load(project).images)
    assert 2 <= len(looked) <= 3 and looked[0] == 0 and looked[-1] >= num // 2


def test_a_second_process_waits_for_the_first_and_reports_its_progress(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", num_train=20, size=16)
    monkeypatch.setattr(module, "CHUNK", 8)
    expected = load(project).images.copy()
    journal = cached(project) / "journal.jsonl"
    journal.write_text("".join(journal.read_text().splitlines(keepends=True)[:2]))
    holder, waited = FileLock(cached(project) / ".lock"), []
    holder.acquire()
    seen = decoded_rows(monkeypatch)

    def progress(done, total):
        waited.append((done, len(seen)))
        if len(waited) == 2:
            holder.release()

    monkeypatch.setattr(module, "WAITING_SECONDS", 0.01)
    images = load_dataset(project, read_decisions(project / "none"), None, progress).images
    assert waited[:2] == [(16, 0), (16, 0)] and (images == expected).all() and min(seen) == 16


def test_a_large_jpeg_is_decoded_to_what_shrinking_the_whole_gives(tmp_path):
    y, x = np.mgrid[:640, :640] / 640.0
    pixels = np.stack([x, y, (np.sin(6 * x) + np.cos(9 * y)) / 4 + 0.5], 2)
    whole = Image.fromarray((255 * pixels).astype(np.uint8))
    project = pictures_project(tmp_path, {"large.jpg": whole, "grey.jpg": whole.convert("L")}, quality=95)
    images = load(project).images
    assert images.shape[-1] == 16
    for row, mode in enumerate(("RGB", "L")):
        small = whole.convert(mode).convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
        assert np.abs(images[row].astype(int) - np.asarray(small).transpose(2, 0, 1)).max() <= 6


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
    assert data.exclusions[3:6].tolist() == ["excluded_unreadable"] * 3
    said = list(data.unreadable.values())
    assert "must lie inside" in said[0] and "No such file" in said[1] and said[2]


def test_a_mended_file_is_read_the_next_time(tmp_path):
    project = make_project(tmp_path / "p", num_train=20)
    file = project / "images" / read_manifest(project)["path"][5]
    whole = file.read_bytes()
    file.write_bytes(b"")
    assert np.flatnonzero(load(project).excluded).tolist() == [5]
    file.write_bytes(whole)
    data = load(project)
    assert not data.excluded.any() and (data.images[5] == np.asarray(Image.open(file)).transpose(2, 0, 1)).all()
    assert not load(project).excluded.any()


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


def pictures_project(tmp_path, images: dict[str, Image.Image], **options):
    """A project whose first training samples are these images; their rows in the order given."""
    project = make_project(tmp_path / "p", num_train=20, size=16)
    rows = read_manifest(project)
    for row, (name, image) in enumerate(images.items()):
        image.save(project / "images" / name, **options)
        rows.loc[row, "path"] = name
    write_manifest(project, rows, read_info(project).classes, root="images")
    return project


def test_every_mode_is_brought_to_eight_bit_colour(tmp_path):
    """A plain conversion clips deep greys to white: a run would train on blank squares and never say so."""
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = ramp.astype(np.uint16) * 257
    colour = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    data = load(pictures_project(tmp_path, {
        "grey.png": Image.fromarray(ramp), "deep.png": Image.fromarray(deep), "deep.tif": Image.fromarray(deep),
        "int.tif": Image.fromarray(deep.astype(np.int32)), "float.tif": Image.fromarray(deep.astype(np.float32)),
        "cmyk.tif": colour.convert("CMYK"), "palette.png": colour.quantize(256), "bits.png": colour.convert("1")}))
    for row in range(5):
        assert np.abs(data.images[row].astype(int) - ramp).max() <= 1, row
    assert not data.excluded.any()
    for row in (5, 6):
        assert np.abs(data.images[row].astype(int) - np.asarray(colour).transpose(2, 0, 1)).mean() < 30
    assert set(np.unique(data.images[7])) == {0, 255}


def test_transparency_shows_the_ground_and_an_animation_its_first_picture(tmp_path):
    pixels = np.zeros((16, 16, 4), dtype=np.uint8)
    pixels[:8] = [200, 10, 10, 255]
    project = pictures_project(tmp_path, {"clear.png": Image.fromarray(pixels)})
    frames = [Image.new("L", (16, 16), shade) for shade in (50, 200)]
    frames[0].save(project / "images" / "train" / "00001.png", "GIF", save_all=True, append_images=frames[1:])
    data = load(project)
    assert (data.images[0][:, 0, 0] == [200, 10, 10]).all() and (data.images[0][:, 15, 0] == GROUND).all()
    assert (data.images[1] == 50).all()


def test_a_picture_too_large_to_open_is_left_out_like_any_broken_one(tmp_path, monkeypatch):
    project = make_project(tmp_path / "p", num_train=20, size=16)
    Image.new("1", (64, 64)).save(project / "images" / "train" / "00000.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    data = load(project)
    assert data.images.shape[-1] == 16 and np.flatnonzero(data.excluded).tolist() == [0]
    assert data.exclusions[0] == "excluded_unreadable"
    assert "has far more; make it smaller" in list(data.unreadable.values())[0]


def test_everything_pinned_to_validation_is_one_clear_line(tmp_path):
    project = make_project(tmp_path / "p", num_train=10)
    ids = read_manifest(project)["sample_id"][:10]
    pd.DataFrame({"sample_id": ids, "pin": "validation", "excluded": [True] + [False] * 9, "label": None}).to_parquet(
        project / "decisions.parquet")
    with pytest.raises(ManifestError, match="outside validation; all 9 of .* are pinned to validation; unpin some"):
        load(project)


def test_a_label_by_decision_makes_an_unlabelled_sample_usable(tmp_path):
    project = make_project(tmp_path / "p", num_train=10)
    rows = read_manifest(project)
    rows.loc[:2, "given_label"] = None
    write_manifest(project, rows, read_info(project).classes, root="images")
    pd.DataFrame({"sample_id": rows["sample_id"][:2], "pin": ["validation", None], "excluded": [False, True],
                  "label": ["bird", "dog"]}).to_parquet(project / "decisions.parquet")
    data = load(project)
    assert np.flatnonzero(data.excluded).tolist() == [1, 2]
    assert data.exclusions[1] == "excluded_decision" and data.exclusions[2] == "excluded_unlabelled"
    assert data.classes[data.train_labels[0]] == "bird" and data.pins[0] == -1


def test_batches_come_in_order_while_the_next_two_are_gathered():
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
    store, asked = ImageStore(images, torch.device("cpu")), []

    def wanted():
        for start in range(0, 40, 7):
            asked.append(start)
            yield np.arange(start, min(start + 7, 40))

    for number, batch in enumerate(store.ahead(wanted())):
        assert torch.equal(batch, store.batch(np.arange(7 * number, min(7 * number + 7, 40))))
        assert len(asked) == min(number + 1 + AHEAD, 6)
    assert number == 5


def test_a_batch_that_cannot_be_gathered_ends_the_epoch_with_its_own_error():
    store = ImageStore(np.zeros((4, 3, 4, 4), np.uint8), torch.device("cpu"))
    with pytest.raises(IndexError, match="out of bounds"):
        list(store.ahead([np.arange(2), np.arange(9)]))
