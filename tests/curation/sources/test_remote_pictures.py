"""Pictures that stay in S3: imported, turned into features, trained on, shown and exported from there, through a cache
that is smaller than they are, also where the server is away in between."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from curation.exports.exporting import export
from curation.project import Project
from curation.sources.importing import import_project
from curation.views.routes.thumbnails import thumbnail
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureDir
from engine.contract.manifest import read_manifest
from engine.contract.pictures import mirror as mirrors
from engine.contract.pictures.mirror import RemoteError, patience
from engine.runs.extraction import FeatureRequest, make_features
from engine.runs.train import train
from tests.fakes import make_project
from tests.s3_server import BUCKET, S3, s3_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[S3, Path]]:
    """The server, and a table of the pictures in it; one that the table names is not there."""
    folder = tmp_path_factory.mktemp("s3")
    source = make_project(folder / "pets", num_train=36, size=32)
    rows = read_manifest(source)[["path", "given_label", "split"]]
    rows.loc[len(rows)] = ["train/none.png", "cat", "train"]
    rows.to_csv(folder / "pets.csv", index=False)
    with s3_server() as server:
        server.put(source / "images", "pictures/")
        yield server, folder / "pets.csv"


@pytest.fixture
def project(bucket: tuple[S3, Path], tmp_path: Path) -> Project:
    result = import_project("table", tmp_path / "pets", root=bucket[1], image_root=f"s3://{BUCKET}/pictures",
                            keep_gigabytes=3e-6)
    assert result.num_loaded == 60 and result.num_lost == 1
    assert result.first_problems["kind"].tolist() == ["missing file"]
    return Project.open(tmp_path / "pets")


def size_of(project: Project) -> int:
    return sum(file.stat().st_size for file in (project.path / "pictures").rglob("*.png"))


def test_all_is_done_with_them_that_is_done_with_files(project: Project, tmp_path: Path) -> None:
    assert project.root == project.path / "pictures" and size_of(project) <= 3_000
    features = make_features(project.path, "lite", FeatureRequest(image_size=32))
    assert (FeatureDir.of(project.path, features.name).read_samples()["row"] >= 0).all()
    run = train(RunConfig(epochs=2, network="tiny", embedding="none", device="cpu"), project.path, "first")
    assert run.read_status()["state"] == "done" and size_of(project) <= 3_000
    ids = project.manifest()["sample_id"].tolist()
    for sample_id in ids[::10]:
        encoded, tag = thumbnail(project.path, sample_id, 64)
        assert tag and encoded
    project.ledger().pin(ids[:5], "validation", "ada")
    export(project, run, "hard-validation", "imagefolder", tmp_path / "hard")
    with pytest.raises(UserError, match="needs a picture that stays; .*copy instead"):
        export(project, run, "hard-validation", "imagefolder", tmp_path / "linked", placing="symlink")
    assert len(list((tmp_path / "hard").rglob("*.png"))) > 1 and size_of(project) <= 3_000


def test_a_server_that_is_away_for_a_while_costs_no_picture(bucket: tuple[S3, Path], tmp_path: Path) -> None:
    server = bucket[0].process
    server.send_signal(signal.SIGSTOP)
    back = threading.Timer(3.0, lambda: server.send_signal(signal.SIGCONT))
    back.start()
    try:
        result = import_project("table", tmp_path / "pets", root=bucket[1], image_root=f"s3://{BUCKET}/pictures")
    finally:
        back.join()
    assert result.num_loaded == 60 and result.num_lost == 1


def test_a_server_that_stays_away_ends_the_import_in_a_line_and_no_page(project: Project, tmp_path: Path,
                                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "_system_of", lambda _: (_ for _ in ()).throw(ConnectionError("refused")))
    for file in (project.path / "pictures").rglob("*.png"):
        os.unlink(file)
    ids = project.manifest()["sample_id"].tolist()
    with patience(0.1):
        assert thumbnail(project.path, ids[-1], 128)[1] == "", "a card that says so, and is not kept"
    monkeypatch.setattr(mirrors, "PATIENCE_SECONDS", 0.1)
    with pytest.raises(RemoteError, match="must be reached where it lies; s3://photos/pictures/"):
        make_features(project.path, "lite", FeatureRequest(image_size=32))
    rows = pd.DataFrame({"path": ["train/00000.png"], "label": ["cat"]})
    rows.to_csv(tmp_path / "one.csv", index=False)
    with pytest.raises(UserError, match="must be reached where it lies"):
        import_project("table", tmp_path / "one", root=tmp_path / "one.csv", image_root=f"s3://{BUCKET}/pictures")
    assert not (tmp_path / "one" / "manifest.parquet").exists()
