"""Scenes of the command line: import, decide, estimate, export."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from curation import __main__ as curation_main
from curation.project import Project
from tests.fakes import make_project, make_run
from tests.faults.scene import Result, Scene, files_below


def command(*arguments: object) -> None:
    """A command that must end well. Raises UserError with the line it prints."""
    status = curation_main.app(list(map(str, arguments)), standalone_mode=False)
    assert not status, f"status {status}"


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
            "plan": {name: value for name, value in plan.items() if name not in ("created", "digests", "sha256")}}


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


def _load() -> object:
    import pyarrow.dataset
    import pydantic
    from PIL import Image
    from statsmodels.stats import proportion
    from typer import _adapters

    Image.init()
    return pyarrow.dataset, pydantic, proportion, _adapters


COMMANDS = (
    Scene(name="import", is_engine=False, prepare=_import_before, act=_import, look=_look_at_import,
          result=_imported, load=_load),
    Scene(name="decide", is_engine=False, prepare=_fake_project, act=_decide, look=_look_at_decisions,
          result=_decided, load=_load),
    Scene(name="estimate", is_engine=False, prepare=_fake_project, act=_estimate, look=_look_at_estimate,
          result=_estimated, load=_load),
    Scene(name="export", is_engine=False, prepare=_corrected_project, act=_export, look=_look_at_export,
          result=_exported, load=_load),
)
