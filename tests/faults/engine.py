"""Scenes of the engine: train, embed, study. torch is imported when it is needed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureStore, list_features
from engine.contract.run_dir import RunDir
from engine.contract.run_list import damage_of, list_runs
from engine.contract.studies.study_dir import StudyDir
from tests.fakes import make_project
from tests.faults.scene import Act, Result, Scene, files_below

TRAINING = {"epochs": 2, "batch_size": 16, "augment": "shift", "rotation_groups": 3, "num_threads": 1, "folds": 2,
            "device": "cpu", "reweighter.every": 1, "reweighter.val_batch_size": 8, "splitter.num_neighbors": 3}
"""Settings of trainings; embedding is pca, for UMAP is compiled for seconds."""


def _images(place: Path) -> None:
    from tests.fake_features import make_features

    make_project(place / "p", 30, 9, 9, size=8)
    make_features(place / "p")


def _train(**settings: Any) -> Act:
    def act(place: Path, first: int, done: Callable[[int], None]) -> None:
        from engine.runs.train import resume, train

        wanted = {name: value for name, value in (TRAINING | settings).items() if value is not None}
        config = RunConfig.from_settings([f"{name}={value}" for name, value in wanted.items()])
        run = RunDir.of(place / "p", "first")
        if run.exists():
            resume(place / "p", "first")
        else:
            train(config, place / "p", "first")
        done(0)

    return act


def _look_at_run(place: Path, num: int) -> None:
    run = RunDir.of(place / "p", "first")
    if run.exists():
        assert [found.name for found in list_runs(place / "p")] == ["first"], "the run is not listed"
        assert num == 0 or run.read_status()["state"] == "done"
    if run.path.is_dir() and (line := damage_of(run)):
        raise UserError(line)


def _trained(place: Path) -> Result:
    run = RunDir.of(place / "p", "first")
    metrics = run.read_metrics().drop(columns=["seconds"]).to_dict("records")
    return {"state": run.read_status()["state"], "metrics": repr(metrics),
            "files": files_below(run.path, without=("checkpoint", "status.json", "log.txt", "config.json",
                                                    "metrics.jsonl", ".lock", "weight_decay.json", "tensorboard"))}


def _features_before(place: Path) -> None:
    from tests.tiny_backbone import write_weights

    make_project(place / "p", 40, 6, 6, size=8)
    write_weights(place / "w.safetensors")


def _embed(place: Path, first: int, done: Callable[[int], None]) -> None:
    from engine.contract import feature_dir
    from engine.data import feature_plan, feature_store
    from engine.runs.extraction import FeatureRequest, make_features
    from tests.tiny_backbone import ARCHITECTURE

    feature_dir.CHUNK = feature_plan.CHUNK = feature_store.CHUNK = 8  # several chunks of few images
    made = make_features(place / "p", "own", FeatureRequest(
        backbone=ARCHITECTURE, weights=str(place / "w.safetensors"), image_size=32, device="cpu"))
    assert made.read_status()["state"] == "done"
    done(0)


def _look_at_features(place: Path, num: int) -> None:
    found = [features.name for features in list_features(place / "p")]
    assert num == 0 or found == ["own"], "the features are gone"
    if found:
        FeatureStore.open(place / "p", "own")


def _embedded(place: Path) -> Result:
    folder = place / "p" / "features" / "own"
    return {"files": {name: found for name, found in files_below(folder).items()
                      if name.endswith((".npy", ".parquet"))}}


def _study(place: Path, first: int, done: Callable[[int], None]) -> None:
    from engine.contract.studies.study_plan import Arm
    from engine.study.runner import run_study

    study = run_study(place / "p", "s", [Arm.of_method("erm"), Arm.of_method("molere")], [0, 1],
                      TRAINING | {"embedding": "none", "epochs": 1})
    assert study.read_status()["state"] == "done"
    done(0)


def _look_at_study(place: Path, num: int) -> None:
    study = StudyDir.of(place / "p", "s")
    if study.exists():
        study.read_status()
        study.read_rows()


def _studied(place: Path) -> Result:
    study = StudyDir.of(place / "p", "s")
    rows = study.read_rows()
    timed = [name for name in rows if "second" in str(name) or name == "finished"]
    return {"rows": repr(rows.drop(columns=timed).to_dict("records")),
            "margins": files_below(study.path / "margins")}


def _load() -> object:
    from PIL import Image

    from engine.data.backbones import opening
    from engine.runs import extraction, train
    from engine.study import runner
    from tests import fake_features, tiny_backbone

    Image.init()
    return opening, extraction, train, runner, fake_features, tiny_backbone


ENGINE = (
    Scene(name="train", is_engine=True, prepare=_images, act=_train(method="molere", embedding="pca"),
          look=_look_at_run, result=_trained, load=_load),
    Scene(name="train-head", is_engine=True, prepare=_images, look=_look_at_run, result=_trained, load=_load,
          act=_train(method="molere", embedding="pca", features="own", augment=None)),
    Scene(name="train-ranked", is_engine=True, prepare=_images, look=_look_at_run, result=_trained, load=_load,
          act=_train(method="lrw_hard", embedding="none")),
    Scene(name="embed", is_engine=True, prepare=_features_before, act=_embed, look=_look_at_features, result=_embedded,
          load=_load),
    Scene(name="study", is_engine=True, prepare=_images, act=_study, look=_look_at_study, result=_studied,
          load=_load),
)
