"""Projects and runs of older layouts open and are used as they are; a newer one is refused in one line.

The ledger's layouts: tests/curation/ledger/test_layouts.py; studies and audits of older code: tests/before_rooms.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.__main__ import main
from curation.jobs.run_jobs import damaged_runs
from curation.project import Project, ProjectError
from engine.contract.disk import layouts
from engine.contract.run_dir import HISTORY_DTYPE, RunDir
from tests import views
from tests.curation.ledger.old_ledgers import make_old_ledger
from tests.fakes import make_project, make_run

DETAILS: dict[str, dict[str, object] | None] = {
    "2026-11-23, none": None,
    "2026-11-23": {"name": "pets", "source": "imagefolder", "created": 1.8e9},
    "2026-11-24": {"name": "pets", "source": "imagefolder", "created": 1.8e9, "imported": 1.8e9, "root": "images",
                   "num_samples": 84, "num_problems": 0, "options": {}, "check": "decode", "counts": {},
                   "splits": {"train": 60, "clean": 12, "test": 12}, "disagreement": None, "problem_kinds": {},
                   "notes": [], "num_added": 84, "num_removed": 0, "seconds": 1.0},
    "2026-11-29": {"name": "pets", "source": "table", "created": 1.8e9,
                   "held_out": {"test_frac": 0.1, "clean_frac": 0.0, "together": None, "seed": 0}}}
"""project.json by the day of the code that wrote it; None: there was no file."""


def make_old_project(path: Path, age: str = "2026-11-23") -> Path:
    """A project as the first versions left it: no seals, no layout, a ledger of decisions alone, none of the folders
    that came later."""
    make_project(path)
    table = pq.read_table(path / "manifest.parquet")
    pq.write_table(table, path / "manifest.parquet")  # without the seal
    details = DETAILS[age]
    (path / "project.json").unlink()
    if details is not None:
        (path / "project.json").write_text(json.dumps(details))
    make_old_ledger(path / "ledger.sqlite", "decisions")
    return path


SETTINGS = {
    "method": "molere", "seed": 0, "epochs": 20, "batch_size": 128, "val_fraction": 0.1, "validation": None,
    "warmup_fraction": 0.25, "rotation_groups": 8, "guard": "confident", "network": "auto", "weights": None,
    "image_size": None, "augment": "auto", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.0005, "folds": 3,
    "device": "auto", "num_threads": None, "checkpoint_seconds": 300.0, "embedding": "umap",
    "reweighter": {"hypergradient": "last_layer", "every": 4, "val_batch_size": 128, "inputs": "features_label_loss",
                   "val_loss": "generalized_cross_entropy", "min_weight": 0.3, "max_weight": 1.7, "lr": 0.001,
                   "hidden": 64, "uniform_pull": 0.01},
    "splitter": {"every": 4, "lr": 0.001, "hidden": 64, "gap_strength": 1.0, "ratio_strength": 1.0,
                 "balance_strength": 1.0, "is_soft": True, "hysteresis": 0.05, "coverage": 0.5, "num_neighbors": 10}}
"""What RunConfig().to_dict() was then."""
SIGNALS = ("sample_id", "role", "p_train", "route_share", "weight", "margin", "heldout_margin", "heldout_epochs", "aum",
           "label_quality", "suggested_label", "predicted_label", "loss", "forgetting", "why")


def make_old_run(project: Path) -> Path:
    """A finished run as the code of 2026-11-23 left it: reasons in prose, neighbours as .npz, no seals."""
    run = make_run(project, "first")
    (run.path / "config.json").write_text(json.dumps({
        "config": SETTINGS, "name": "first", "method": "molere", "created": 1.8e9, "project": "pets", "versions": {},
        "code_revision": "", "manifest_digest": "", "decisions_digest": "", "num_decisions": 0}))
    status = json.loads((run.path / "status.json").read_text())
    status.pop("sha256", None)
    (run.path / "status.json").write_text(json.dumps(status))
    rows = pd.read_parquet(run.signals_path)
    old = pd.DataFrame({name: rows[name] if name in rows else rows["mean_margin"] if name == "aum" else
                        "withheld: held-out predictions name another class" for name in SIGNALS})
    pq.write_table(pa.Table.from_pandas(old, preserve_index=False), run.signals_path)
    for path in run.path.glob("neighbours*"):
        path.unlink()
    ids = old["sample_id"].to_numpy(dtype=str)
    np.savez(run.path / "neighbours.npz", sample_id=ids, indices=np.zeros((len(ids), 5), np.int32),
             distances=np.zeros((len(ids), 5), np.float16))
    for path in (run.path / "history").glob("*.npy"):
        np.save(path, np.zeros(len(ids), HISTORY_DTYPE))
    for name in ("decisions.parquet", "label_head.npy", "probabilities.npy"):
        (run.path / name).unlink(missing_ok=True)
    return run.path


@pytest.mark.parametrize("age", DETAILS)
def test_an_older_project_opens_and_takes_decisions(tmp_path: Path, age: str) -> None:
    path = make_old_project(tmp_path / "pets", age)
    before = {name: (path / name).read_bytes() for name in ("manifest.parquet", "project.json")
              if (path / name).exists()}
    project = Project.open(path)
    assert len(project.manifest()) == 84 and project.import_report().empty
    assert project.ledger().pin(["train-00004"], "train", "eve") == 4
    assert main(["doctor", str(path)]) == 0
    assert {name: (path / name).read_bytes() for name in before} == before, "nothing is rewritten"


def test_an_older_run_is_shown_by_every_page_that_shows_runs(home: Path) -> None:
    path = make_old_project(home / "pets")
    make_old_run(path)
    assert damaged_runs(path) == [] and [run.name for run in Project.open(path).runs()] == ["first"]
    Project.open(path).ledger()
    assert main(["doctor", str(path)]) == 0
    for page in ("data", "train", "explore", "triage", "decide", "compare", "export"):
        app = views.start(home, page, project="pets", run="first")
        assert not [error.value for error in app.error], page


def newer_project(path: Path) -> None:
    (path / "project.json").write_text(json.dumps({"layout": layouts.PROJECT + 1}))


def newer_manifest(path: Path) -> None:
    table = pq.read_table(path / "manifest.parquet")
    about = json.loads(table.schema.metadata[b"whetstone"])
    assert about["version"] == layouts.MANIFEST
    metadata = {b"whetstone": json.dumps({**about, "version": layouts.MANIFEST + 1}).encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path / "manifest.parquet")


@pytest.mark.parametrize("renew", [newer_project, newer_manifest])
def test_a_newer_project_is_refused_in_one_line(tmp_path: Path, renew: object, home: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    path = make_project(home / "pets")
    assert callable(renew)
    renew(path)
    with pytest.raises(ProjectError, match="its layout is 2, and this version knows 1; update Whetstone"):
        Project.open(path)
    assert main(["decide", str(path), "list"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: a project is read by the version that wrote it or a later one") \
        and said.count("\n") == 1
    shown = views.texts(views.start(home, "explore", project="pets"))
    assert "update Whetstone" in shown and "Something went wrong" not in shown


def test_a_newer_run_is_named_and_harms_no_other(tmp_path: Path) -> None:
    path = make_project(tmp_path / "pets")
    make_run(path, "first"), make_run(path, "second")
    run = RunDir.of(path, "second")
    run.write_config({**run.read_config(), "layout": layouts.RUN + 1})
    assert [each.name for each in Project.open(path).runs()] == ["first"]
    assert "its layout is 2, and this version knows 1; update Whetstone" in damaged_runs(path)[0].line
