"""python -m engine features: a job like a run, killed and gone on with to the same bytes, by one process or two."""

import dataclasses
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from engine.contract import feature_dir, pixels
from engine.contract.config import RunConfig
from engine.contract.disk.processes import process_start
from engine.contract.feature_dir import FeatureDir, FeatureError, FeatureStore
from engine.contract.manifest import file_digest, read_manifest
from engine.contract.pixels import VERSION
from engine.contract.run_dir import RunDir
from engine.contract.work_dir import StatusDocument
from engine.data import feature_store
from engine.data.components import open_components
from engine.runs import extraction
from engine.runs.extraction import FeatureRequest, channels_of, make_features, make_map, name_of
from engine.runs.train import train
from tests import ROOT
from tests.engine.commands import run_engine
from tests.fake_features import make_features as make_imported
from tests.fakes import make_project
from tests.tiny_backbone import ARCHITECTURE, NUM_FEATURES, write_weights


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path / "p", num_train=60, num_clean=6, num_test=6, size=16)


@pytest.fixture
def request_(tmp_path) -> FeatureRequest:
    return FeatureRequest(backbone=ARCHITECTURE, weights=write_weights(tmp_path / "w.safetensors"), image_size=32,
                          device="cpu")


def bytes_of(folder: FeatureDir) -> dict[str, bytes]:
    names = ("samples.parquet", "rows.parquet", "journal.jsonl")
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in sorted(folder.path.rglob("*"))
            if path.name in names or path.suffix == ".npy"}


def command(project: Path, request: FeatureRequest, *more: str) -> list[str]:
    return [sys.executable, "-m", "engine", "features", str(project), "--name", "own", "--backbone",
            str(request.backbone), "--weights", str(request.weights), "--image-size", str(request.image_size),
            "--device", "cpu", *more]


def test_a_job_leaves_features_a_status_and_a_document(project, request_):
    shown = []
    folder = make_features(project, "own", request_, shown.append)
    status, document = folder.read_status(), folder.read_document()
    assert set(status) <= set(StatusDocument.__annotations__)
    assert (status["state"], status["stage"], status["step"], status["num_steps"], status["error"]) == (
        "done", "computing features", 72, 72, None)
    assert status["samples_per_second"] > 0 and status["pid"] == os.getpid()
    assert {key: document[key] for key in ("kind", "backbone", "num_features", "image_size", "is_mirrored", "fit")} == {
        "kind": "backbone", "backbone": ARCHITECTURE, "num_features": NUM_FEATURES, "image_size": 32,
        "is_mirrored": False, "fit": extraction.DEFAULT_FIT}
    assert len(FeatureStore(folder).samples) == 72
    assert shown[-1] == "computing features: 72 of 72"
    assert folder.log_tail()[-1].endswith("done")


def test_a_folder_goes_on_with_what_it_has_and_refuses_anything_else(project, request_, tmp_path):
    folder = make_features(project, "own", request_)
    before = bytes_of(folder)
    make_features(project, "own", FeatureRequest(device="cpu"))
    assert bytes_of(folder) == before
    for change, words in (
            ({"image_size": 48}, "differs in pixels: 32 and 48"),
            ({"is_mirrored": True}, "differs in mirror averaging: False and True"),
            ({"fit": "pad"}, "differs in fit: crop and pad"),
            ({"mean": (0.1, 0.1, 0.1)}, "differs in mean: "),
            ({"weights": write_weights(tmp_path / "other.safetensors", seed=1)}, "differs in weights: ")):
        with pytest.raises(FeatureError, match=f"one backbone, prepared in one way; 'own' {words}.*choose another "
                           "--name"):
            make_features(project, "own", FeatureRequest(device="cpu", **change))
    assert folder.read_status()["state"] == "failed" and bytes_of(folder) == before
    make_imported(project, "dino")
    with pytest.raises(FeatureError, match="a folder has features of one origin; 'dino' was imported"):
        make_features(project, "dino", request_)


def test_features_of_pixels_that_were_decoded_otherwise_say_so_and_are_made_anew(project, request_, monkeypatch):
    """As an image that EXIF turns was read before its orientation counted."""
    image = Image.fromarray(np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(project / "images" / "train" / "00003.png", exif=exif)
    with monkeypatch.context() as older:
        older.setattr(pixels, "upright", lambda rgb, image: rgb)
        for module in (extraction, feature_dir):
            older.setattr(module, "VERSION", VERSION - 1)
        folder = make_features(project, "own", request_)
        assert folder.outdated == ""
    before, values = file_digest(folder.samples_path), FeatureStore(folder).read(np.arange(72))
    assert "'own' were made when EXIF's orientation" in folder.outdated and "\n" not in folder.outdated
    assert f"`python -m engine features {project} --name own`" in folder.outdated
    run = train(RunConfig(method="discriminant", features="own", embedding="pca"), project, "on")
    assert any(folder.outdated in line for line in run.log_tail(100))

    with monkeypatch.context() as killed:
        killed.setattr(extraction, "extract", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            make_features(project, "own", FeatureRequest(device="cpu"))
    assert not folder.exists(), "nobody reads a mixture"
    make_features(project, "own", FeatureRequest(device="cpu"))
    assert folder.outdated == "" and bytes_of(folder) == bytes_of(make_features(project, "new", request_))
    now = FeatureStore(folder).read(np.arange(72))
    turned = FeatureStore(folder).rows_of(np.array(["train-00003"]))[0]
    assert np.flatnonzero((now != values).any(axis=1)).tolist() == [turned]
    assert file_digest(folder.samples_path) != before, "what was made of the old ones is told apart by it"
    folder.write_document({key: value for key, value in folder.read_document().items() if key != "pixels"})
    assert "decoding not noted" in folder.outdated


def test_mirror_averaging_is_the_mean_of_both(project, request_):
    plain = FeatureStore(make_features(project, "own", request_)).read(np.arange(72)).astype(np.float32)
    folder = make_features(project, "both", FeatureRequest(
        backbone=ARCHITECTURE, weights=request_.weights, image_size=32, device="cpu", is_mirrored=True))
    both = FeatureStore(folder).read(np.arange(72)).astype(np.float32)
    assert folder.read_document()["is_mirrored"] and np.abs(both - plain).max() > 1e-3
    assert np.abs(both - plain).max() < 1.0


def test_one_process_makes_features_at_a_time(project, request_):
    folder = FeatureDir.of(project, "own")
    folder.path.mkdir(parents=True)
    with extraction.alone_in(folder.path, FeatureError("unused")), \
            pytest.raises(FeatureError, match="one process makes features; 'own' is being made by another"):
        make_features(project, "own", request_)


def test_unreadable_images_are_said(project, request_):
    (project / "images" / "train" / "00003.png").write_bytes(b"no picture")
    folder = make_features(project, "own", request_)
    assert any("left out: train-00003: unreadable image: " in line for line in folder.log_tail())


def test_a_request_to_cancel_stops_between_two_batches(project, request_, monkeypatch):
    folder = FeatureDir.of(project, "own")
    embed, calls = feature_store._embed, []

    def ask(*args):
        calls.append(1)
        if len(calls) == 2:
            folder.request_cancel()
        time.sleep(0.15)
        return embed(*args)

    monkeypatch.setattr(feature_store, "_embed", ask)
    made = make_features(project, "own", request_)
    status = made.read_status()
    assert (status["state"], status["message"]) == ("cancelled", "cancelled; the same command goes on from there")
    assert not made.exists() and not made.is_cancel_requested()
    monkeypatch.setattr(feature_store, "_embed", embed)
    assert make_features(project, "own", request_).read_status()["state"] == "done"


def test_the_map_is_made_once_and_anew_where_it_is_out_of_date(project, request_, monkeypatch):
    plain = extraction.train
    monkeypatch.setattr(extraction, "train", lambda config, *rest: plain(
        dataclasses.replace(config, embedding="pca"), *rest))  # UMAP compiles itself for half a minute
    make_features(project, "own", request_)
    run, is_new = make_map(project, "own")
    assert is_new and run.name == "own" and run.read_status()["state"] == "done"
    assert run.read_config()["method"] == "discriminant" and len(run.read_embedding()) == 60
    assert make_map(project, "own")[1] is False
    RunDir.of(project, "own").write_config(run.read_config() | {"decisions_digest": "older"})
    again, is_new = make_map(project, "own")
    assert is_new and again.name == "own-2" and make_map(project, "own") [0].name == "own-2"


def test_killed_at_random_it_goes_on_to_the_same_bytes(tmp_path, request_, monkeypatch):
    project = make_project(tmp_path / "p", num_train=700, num_clean=6, num_test=6, size=16)
    whole = bytes_of(make_features(project, "whole", request_))
    folder, rng, killed = FeatureDir.of(project, "own"), random.Random(0), 0
    for most in (0.0, 0.3):  # the first dies as soon as it has begun, however fast the machine is
        process = subprocess.Popen(command(project, request_, "--no-run"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith("computing"):
                break
        time.sleep(rng.random() * most)
        process.kill()
        killed += process.wait() == -signal.SIGKILL
        process.stdout.close()
        status = folder.read_status()
        assert status["state"] in ("running", "done") and not status["is_alive"]
    assert run_engine(monkeypatch, *command(project, request_, "--no-run")[3:]) == 0
    assert killed and bytes_of(folder) == whole


def test_two_processes_make_the_bytes_of_one(tmp_path, request_):
    project = make_project(tmp_path / "p", num_train=700, num_clean=6, num_test=6, size=16)
    whole = bytes_of(make_features(project, "whole", request_))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*torchrun, *command(project, request_)[1:]], cwd=ROOT, capture_output=True, text=True,
                          timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    assert bytes_of(FeatureDir.of(project, "own")) == whole
    assert f"a map: python -m engine train {project} --method discriminant --set features=own" in done.stdout


def test_the_command_ends_with_counts_and_a_map(project, request_, monkeypatch, capsys):
    (project / "images" / "train" / "00003.png").write_bytes(b"no picture")
    assert run_engine(monkeypatch, *command(project, request_, "--no-run")[3:]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  71 samples with features, 1 left out" in lines
    assert lines[-1].startswith("  left out: train-00003: unreadable image: ")
    assert run_engine(monkeypatch, *command(project, request_, "--fit", "pad")[3:]) == 2
    assert capsys.readouterr().err.startswith("error: a folder has features of one backbone")
    config = RunConfig(method="discriminant", features="own", embedding="none")
    monkeypatch.setattr(extraction, "RunConfig", lambda **values: config)
    for words in ("done", "up to date"):
        assert run_engine(monkeypatch, *command(project, request_)[3:]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == f"own: {words} in {project / 'runs' / 'own'}"


def test_names_and_channels_of_the_command():
    assert [name_of(name) for name in ("vit_small.dino", "torchvision/resnet18", "a/b.c/own.onnx", "...")] == [
        "vit_small-dino", "torchvision-resnet18", "own", "features"]
    assert channels_of("--mean", "0.5,0,1") == (0.5, 0.0, 1.0) and channels_of("--std", None) is None
    for option, text in (("--mean", "0.5"), ("--mean", "a,b,c"), ("--std", "0.5,0,1"), ("--mean", "2,0,0")):
        with pytest.raises(FeatureError, match=f"{option} must be three numbers from 0 to 1, one a channel; got"):
            channels_of(option, text)


def test_a_status_of_a_living_process_says_so(project, request_):
    folder = make_features(project, "own", request_)
    assert folder.read_status()["is_alive"] and folder.read_status()["pid_started"] == process_start(os.getpid())


def test_features_with_a_bit_changed_are_not_trained_on_and_made_anew(project, request_):
    folder, rows = make_features(project, "own", request_), read_manifest(project)
    ids, train_idx = rows["sample_id"].to_numpy(dtype=object), np.flatnonzero(rows["split"] == "train")
    sound = folder.shard_path(0).read_bytes()
    folder.shard_path(0).write_bytes(sound[:-99] + bytes([sound[-99] ^ 1]) + sound[-98:])
    with pytest.raises(FeatureError, match="must be as they were computed; of 'own' those from row 0 on have changed; "
                                           "run `python -m engine features .* --name own`"):
        open_components(project, "own", ids, train_idx, 4, lambda *_: None)
    make_features(project, "own", request_)
    assert folder.shard_path(0).read_bytes() == sound
    assert open_components(project, "own", ids, train_idx, 4, lambda *_: None)[0].shape == (72, 4)
