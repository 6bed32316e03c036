"""A text asked of features whose backbone reads none, and without the package that would: one line each."""

import sys

import pytest

from curation.samples.similarity import SimilarityError, text_direction
from engine.contract.feature_dir import FeatureError
from engine.data.backbones.backbone import BackboneError
from engine.data.backbones.opening import open_backbone
from engine.runs.text_query import text_query
from tests.fake_features import make_features
from tests.fakes import make_project


def test_a_backbone_without_a_text_tower_reads_no_text(tmp_path):
    project = make_project(tmp_path / "p", num_train=6, num_clean=2, num_test=2, size=2)
    folder = make_features(project, "own")
    line = "'own' are of 'fake', which reads none; make features of such as open_clip:ViT-B-32/"
    with pytest.raises(SimilarityError, match=line):
        text_direction(project, "own", "--help")
    folder.write_document({**folder.read_document(), "kind": "backbone", "image_size": 224})
    with pytest.raises(FeatureError, match=line):
        text_query(project, "own", "a dog")


def test_without_its_package_a_backbone_of_open_clip_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(BackboneError, match="open_clip_torch is not installed; pip install open_clip_torch"):
        open_backbone("open_clip:ViT-B-32/laion2b_s34b_b79k")
