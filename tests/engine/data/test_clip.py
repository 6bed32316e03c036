"""Backbones of open_clip, on a tiny network that starts at random and lies in a folder: nothing is downloaded."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from curation.__main__ import main
from engine.contract.feature_dir import FeatureDir, FeatureStore
from engine.data.backbones import clip
from engine.data.backbones.backbone import BackboneError
from engine.data.backbones.opening import open_backbone
from engine.runs.extraction import FeatureRequest, make_features
from engine.runs.text_query import text_query
from tests.fakes import make_project

open_clip = pytest.importorskip("open_clip", reason="pip install open_clip_torch")
TOWERS = {"embed_dim": 16, "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16,
                                          "patch_size": 16},
          "text_cfg": {"context_length": 20, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return written(tmp_path / "tiny", seed=0)


def written(folder: Path, seed: int) -> Path:
    """A network of TOWERS as open_clip keeps one."""
    folder.mkdir(exist_ok=True)
    seen = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": TOWERS, "preprocess_cfg": seen}))
    safetensors.torch.save_file(network(seed).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def network(seed: int) -> torch.nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return open_clip.CLIP(**TOWERS).eval()


def test_both_towers_are_those_of_the_folder(folder):
    found = open_backbone(f"open_clip:{folder}")
    assert (found.num_features, found.image_size) == (16, 32)
    assert (found.mean, found.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    images, own = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1)), network(0)
    with torch.inference_mode():
        assert found.module is not None and torch.equal(found.module(images), own.encode_image(images))
        words = own.encode_text(open_clip.SimpleTokenizer(context_length=20)(["a photo of a dog"]))[0]
    assert np.array_equal(clip.text_features(found.name, 32, found.digest, "a photo of a dog"), words.numpy())


def test_pictures_are_found_by_text(folder, tmp_path, capsys):
    project = make_project(tmp_path / "p", num_train=6, num_clean=2, num_test=2, size=32)
    make_features(project, "clip", FeatureRequest(backbone=f"open_clip:{folder}"))
    out = tmp_path / "near.csv"
    command = ["similar", str(project), "--features", "clip", "--out", str(out), "--top", "3"]
    assert main([*command, "--text", "a photo of a dog"]) == 0 and "3 samples most similar to 'a photo" in \
        capsys.readouterr().out
    rows = FeatureDir.of(project, "clip").read_samples().set_index("row")["sample_id"].sort_index()
    values = FeatureStore.open(project, "clip").read(rows.index.to_numpy()).astype(np.float64)
    asked = text_query(project, "clip", "a photo of a dog")
    cosines = values @ asked / np.linalg.norm(values, axis=1) / np.linalg.norm(asked)
    wanted = rows.iloc[np.argsort(-cosines)[:3]].tolist()
    assert pd.read_csv(out)["sample_id"].tolist() == wanted
    assert main([*command, "--text", "x", "--to", wanted[0]]) == 2 and main(command) == 2
    assert "got both" in (said := capsys.readouterr().err) and "got neither" in said
    written(folder, seed=1)
    with pytest.raises(BackboneError, match="must be read by the network that made the features"):
        text_query(project, "clip", "a photo of a dog")


@pytest.mark.parametrize(("name", "says"), [
    ("open_clip:ViT-B-32", "got 'open_clip:ViT-B-32'; near it are open_clip:ViT-B-32/"),
    ("open_clip:", "is open_clip:ARCHITECTURE/WEIGHTS or open_clip:FOLDER"),
    ("open_clip:{tmp}", "has no open_clip_config.json; export it so")])
def test_what_cannot_be_had_is_one_line(tmp_path, name, says):
    with pytest.raises(BackboneError, match=says):
        open_backbone(name.format(tmp=tmp_path))


def test_weights_come_with_the_name_and_a_damaged_folder_is_one_line(folder):
    with pytest.raises(BackboneError, match="is named with its weights; got --weights x.safetensors"):
        open_backbone(f"open_clip:{folder}", "x.safetensors")
    with pytest.raises(BackboneError, match="a text must have words; got none"):
        clip.text_features(f"open_clip:{folder}", 32, "", " ")
    (folder / "open_clip_model.safetensors").write_bytes(b"no weights")
    with pytest.raises(BackboneError, match="must have a network that open_clip reads") as raised:
        open_backbone(f"open_clip:{folder}")
    assert "\n" not in str(raised.value)
