"""What is killed: each scene is a few steps of real work on a small project, which go on from any step, and what must
be the same in the end whether it was killed or not. Imports what is heavy when it is needed."""

import csv
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curation import __main__ as curation_main
from curation.project import Project
from engine.contract.errors import UserError
from tests.fakes import make_project, make_run

Result = dict[str, Any]
Act = Callable[[Path, int, Callable[[int], None]], None]
"""act(place, first, done): take the steps from number `first` on, each told to done(number) once it is acknowledged."""
TRAINING = {"epochs": 2, "batch_size": 16, "augment": "shift", "rotation_groups": 3, "num_threads": 1, "folds": 2,
            "device": "cpu", "reweighter.every": 1, "reweighter.val_batch_size": 8, "splitter.num_neighbors": 3}
"""Settings of trainings; embedding is pca, for UMAP is compiled for seconds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One kind of work."""

    name: str
    is_engine: bool
    prepare: Callable[[Path], None]
    """Fill an empty folder with what is there before."""
    act: Act
    look: Callable[[Path, int], None]
    """Reopen after a kill, after so many acknowledged steps: raises UserError where something is said to be broken,
    AssertionError where an acknowledged step is gone."""
    result: Callable[[Path], Result]
    preload: tuple[str, ...] = ()
    """Modules that are slow to import, loaded once for all trials."""


def command(*arguments: object) -> None:
    """A command that must end well. Raises UserError with the line it prints."""
    status = curation_main.app(list(map(str, arguments)), standalone_mode=False)
    assert not status, f"status {status}"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def files_below(folder: Path, without: tuple[str, ...] = ()) -> dict[str, str]:
    return {str(path.relative_to(folder)): digest(path) for path in sorted(folder.rglob("*"))
            if path.is_file() and not set(path.relative_to(folder).parts) & set(without) and path.name not in without}


# -- import

def _import_before(place: Path) -> None:
    make_project(place / "source", 24, 6, 6)
    for number, path in enumerate(sorted((place / "source" / "images" / "train").iterdir())):
        target = place / "photos" / ("cat" if number % 2 else "dog") / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)
    command("import", "imagefolder", place / "photos", "--project", place / "p")
    command("decide", place / "p", "pin", "--id", "cat/00001.png", "--to", "train", "--by", "ada")
    for path in sorted((place / "photos" / "dog").iterdir())[:5]:
        path.rename(place / "photos" / "cat" / path.name)


def _import(place: Path, first: int, done: Callable[[int], None]) -> None:
    for number, project in enumerate(("p", "new")):
        if number >= first:
            command("import", "imagefolder", place / "photos", "--project", place / project, "--hold-out-test", 0.25)
            done(number)


def _look_at_import(place: Path, num: int) -> None:
    Project.open(place / "p").manifest()
    if num > 1 or (place / "new" / "manifest.parquet").exists():
        Project.open(place / "new").manifest()


def _imported(place: Path) -> Result:
    return {name: [Project.open(place / name).manifest().to_dict("records"),
                   Project.open(place / name).import_report().to_dict("records"),
                   Project.open(place / name).ledger().state()["sample_id"].tolist()] for name in ("p", "new")}


# -- decide

STEPS: tuple[tuple[str, ...], ...] = (
    ("pin", "--id", "train-00001", "--id", "train-00002", "--to", "validation"), ("exclude", "--id", "train-00003"),
    ("relabel", "--id", "train-00004", "--label", "dog"), ("undo",), ("pin", "--id", "train-00005", "--to", "train"),
    ("include", "--id", "train-00003"))


def _fake_project(place: Path) -> None:
    make_run(make_project(place / "p", 30, 6, 6))


def _decide(place: Path, first: int, done: Callable[[int], None]) -> None:
    """Each step is taken once: a revision beyond it says that it was, whether that was acknowledged or not."""
    for number, step in enumerate(STEPS):
        if number >= first and Project.open(place / "p").ledger().revision == number:
            command("decide", place / "p", step[0], *step[1:], "--by", "ada")
            done(number)


def _look_at_decisions(place: Path, num: int) -> None:
    revision = Project.open(place / "p").ledger().revision
    assert num <= revision <= num + 1, f"{num} acknowledged, {revision} in the ledger"


def _decided(place: Path) -> Result:
    ledger = Project.open(place / "p").ledger()
    state = ledger.state()[["sample_id", "pin", "excluded", "label"]]
    kept = pd.read_parquet(place / "p" / "decisions.parquet")[list(state)]
    return {"batches": ledger.batches().drop(columns=["at"]).to_dict("records"), "state": state.to_dict("records"),
            "snapshot is the state": kept.to_dict("records") == state.to_dict("records"),
            "problem": ledger.snapshot_problem}


# -- estimate

def _estimate(place: Path, first: int, done: Callable[[int], None]) -> None:
    project, out = place / "p", place / "draw.csv"
    for number in range(4):
        if number < first:
            continue
        if number in (0, 2):
            command("estimate", project, "--run", "first", "--out", out, "--draw", 6)
        else:
            with open(out, newline="") as file:
                rows = list(csv.DictReader(file))
            with open(out, "w", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows({**row, "verdict": "given"} for row in rows)
            command("verdicts", project, "--file", out, "--by", "ada")
        done(number)


def _look_at_estimate(place: Path, num: int) -> None:
    if num:
        command("estimate", place / "p")
    said = Project.open(place / "p").verdicts().in_force()
    assert len(said) in ({0: (0,), 1: (0, 6), 2: (6,), 3: (6, 12), 4: (12,)}[num]), f"{num} steps, {len(said)} verdicts"


def _estimated(place: Path) -> Result:
    said = Project.open(place / "p").verdicts().in_force()
    plan = json.loads((place / "p" / "audits" / "audit" / "plan.json").read_text())
    return {"verdicts": len(said), "once": bool(said["sample_id"].is_unique),
            "plan": {name: value for name, value in plan.items() if name not in ("created", "digests")}}


# -- export

def _corrected_project(place: Path) -> None:
    _fake_project(place)
    command("decide", place / "p", "relabel", "--id", "train-00004", "--label", "bird", "--by", "ada")


def _export(place: Path, first: int, done: Callable[[int], None]) -> None:
    for number, (what, form) in enumerate((("hard-validation", "imagefolder"), ("corrected-labels", "table"))):
        target = place / f"out-{number}"
        if number >= first and not target.exists():
            command("export", place / "p", "--run", "first", "--what", what, "--format", form, "--out", target)
        done(number)


def _look_at_export(place: Path, num: int) -> None:
    for number in range(num):
        assert (place / f"out-{number}").is_dir(), f"export {number} is gone"


def _exported(place: Path) -> Result:
    return {f"out-{number}": {name: found for name, found in files_below(place / f"out-{number}").items()
                              if name.endswith(".png")} | {"files": sorted(files_below(place / f"out-{number}"))}
            for number in range(2)}


COMMANDS = (
    Scene(name="import", is_engine=False, prepare=_import_before, act=_import, look=_look_at_import, result=_imported),
    Scene(name="decide", is_engine=False, prepare=_fake_project, act=_decide, look=_look_at_decisions, result=_decided),
    Scene(name="estimate", is_engine=False, prepare=_fake_project, act=_estimate, look=_look_at_estimate,
          result=_estimated),
    Scene(name="export", is_engine=False, prepare=_corrected_project, act=_export, look=_look_at_export, result=_exported),
)


# -- the engine

def _images(place: Path) -> None:
    from tests.fake_features import make_features

    make_project(place / "p", 30, 9, 9, size=8)
    make_features(place / "p")


def _train(**settings: Any) -> Act:
    def act(place: Path, first: int, done: Callable[[int], None]) -> None:
        from engine.contract.config import RunConfig
        from engine.contract.run_dir import RunDir
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
    from engine.contract.run_dir import RunDir
    from engine.contract.run_list import damage_of, list_runs

    run = RunDir.of(place / "p", "first")
    if run.exists():
        assert [found.name for found in list_runs(place / "p")] == ["first"], "the run is not listed"
        assert num == 0 or run.read_status()["state"] == "done"
    if run.path.is_dir() and (line := damage_of(run)):
        raise UserError(line)


def _trained(place: Path) -> Result:
    from engine.contract.run_dir import RunDir

    run = RunDir.of(place / "p", "first")
    metrics = run.read_metrics().drop(columns=["seconds"]).to_dict("records")
    return {"state": run.read_status()["state"], "metrics": repr(metrics),
            "files": files_below(run.path, without=("checkpoint", "status.json", "log.txt", "config.json",
                                                    "metrics.jsonl", ".lock", "weight_decay.json"))}


def _features_before(place: Path) -> None:
    from tests.tiny_backbone import write_weights

    make_project(place / "p", 40, 6, 6, size=8)
    write_weights(place / "w.safetensors")


def _embed(place: Path, first: int, done: Callable[[int], None]) -> None:
    from engine.data import feature_plan, feature_store
    from engine.runs.extraction import FeatureRequest, make_features
    from tests.tiny_backbone import ARCHITECTURE

    feature_plan.CHUNK = feature_store.CHUNK = 8  # several chunks of few images
    made = make_features(place / "p", "own", FeatureRequest(
        backbone=ARCHITECTURE, weights=str(place / "w.safetensors"), image_size=32, device="cpu"))
    assert made.read_status()["state"] == "done"
    done(0)


def _look_at_features(place: Path, num: int) -> None:
    from engine.contract.feature_dir import FeatureStore, list_features

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
    from engine.contract.studies.study_dir import StudyDir

    study = StudyDir.of(place / "p", "s")
    if study.exists():
        study.read_status()
        study.read_rows()


def _studied(place: Path) -> Result:
    from engine.contract.studies.study_dir import StudyDir

    study = StudyDir.of(place / "p", "s")
    rows = study.read_rows()
    timed = [name for name in rows if "second" in str(name) or name == "finished"]
    return {"rows": repr(rows.drop(columns=timed).to_dict("records")),
            "margins": files_below(study.path / "margins")}


_TORCH = ("torch", "engine.runs.train", "engine.study.runner", "tests.fake_features")
ENGINE = (
    Scene(name="train", is_engine=True, prepare=_images, act=_train(method="molere", embedding="pca"),
          look=_look_at_run, result=_trained, preload=_TORCH),
    Scene(name="train-head", is_engine=True, prepare=_images, look=_look_at_run, result=_trained, preload=_TORCH,
          act=_train(method="molere", embedding="pca", features="own", augment=None)),
    Scene(name="train-ranked", is_engine=True, prepare=_images, look=_look_at_run, result=_trained, preload=_TORCH,
          act=_train(method="lrw_hard", embedding="none")),
    Scene(name="embed", is_engine=True, prepare=_features_before, act=_embed, look=_look_at_features, result=_embedded,
          preload=("torch", "engine.runs.extraction", "tests.tiny_backbone")),
    Scene(name="study", is_engine=True, prepare=_images, act=_study, look=_look_at_study, result=_studied,
          preload=_TORCH),
)
SCENES = {scene.name: scene for scene in (*COMMANDS, *ENGINE)}
