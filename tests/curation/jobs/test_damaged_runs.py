"""A run whose files were changed from outside harms itself alone: whichever value of its config, status or metrics is
gone or of another kind, it is read, or named with what to do; the lists of runs and the sound ones are never harmed."""

import contextlib
import copy
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from curation.evidence import predictions
from curation.experiments import planning, repeats, stability
from curation.experiments.compare import cautions, pairs_by_seed
from curation.experiments.pin_disagreement import pin_tension
from curation.exports.curated import provenance_of
from curation.jobs import live_jobs, request, run_jobs, study_jobs
from curation.project import Project
from curation.samples.table import samples
from curation.views.runs.run_table import runs_frame
from curation.views.train import progress
from engine.contract.disk.seals import opened_json, opened_lines
from engine.contract.errors import UserError
from engine.contract.run_dir import RunDir
from engine.contract.run_list import damage_of, list_runs, map_run
from tests.fakes import make_project, make_run

DEEP: Any = 3
for _ in range(300):
    DEEP = [DEEP]
WRONG = (None, "x", -1, 1e999, True, DEEP, {"a": []})
NUM_WRONG = 1
"""So many of them a value, the next in turn, so that the test stays short."""
SETTINGS = {"method", "seed", "epochs", "val_fraction", "features", "splitter"}
"""Of a run's config, which engine.contract.config checks whole, these stand for all."""
GONE = object()
ADVICE = ("restore", "delete it", "move")


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = make_project(tmp_path_factory.mktemp("projects") / "pets", num_train=12, num_clean=3, num_test=3, size=2)
    for name in ("first", "third"):
        run = make_run(project, name, epochs=2)
    document = run.read_config()
    document |= {"warm_start": {"run": "first", "checkpoint": "1.pt"}, "num_processes": 1, "launch": None,
                 "weights_from": {"run": "first", "signals_digest": "ab"}, "features_digest": "",
                 "chosen": {"weight_decay": 0.1, "heldout": [{"weight_decay": 0.1, "accuracy": 0.5,
                                                               "cross_entropy": 1.0}]}}
    run.write_config(document)
    return project


def changed(value: Any) -> Iterator[tuple[str, Any]]:
    """(what was done, the document) with each value gone, or one of WRONG, at every depth."""
    places: list[tuple[Any, ...]] = []

    def visit(inner: Any, place: tuple[Any, ...]) -> None:
        for key, item in inner.items() if isinstance(inner, dict) else enumerate(inner):
            if place[:1] == ("config",) and (len(place) > 1 or key not in SETTINGS):
                continue
            places.append((*place, key))
            if isinstance(item, (dict, list)):
                visit(item, (*place, key))

    visit(value, ())
    for number, place in enumerate(places):
        for wrong in (GONE, *(WRONG[(number + turn) % len(WRONG)] for turn in range(NUM_WRONG))):
            document = copy.deepcopy(value)
            inner = document
            for key in place[:-1]:
                inner = inner[key]
            if wrong is GONE:
                del inner[place[-1]]
            else:
                inner[place[-1]] = wrong
            yield f"{place} {'gone' if wrong is GONE else repr(wrong)[:20]}", document


def readers(project: Project, run: RunDir) -> list[Callable[[], object]]:
    """What pages and commands read of one run."""
    first = project.run("first")
    status = run_jobs.status_of
    return [
        run.read_config, run.read_status, run.read_metrics, lambda: status(run), lambda: request.config_of(run),
        lambda: progress.fraction_done(status(run).details), lambda: progress._progress_text(status(run)),
        lambda: progress._pace_text(status(run).details), lambda: planning.num_usable(run, project.ledger().state()),
        lambda: planning.run_seconds(run), lambda: provenance_of(project, run), lambda: cautions(first, run),
        lambda: pairs_by_seed([first], [run]), lambda: repeats.repeats_of(project.path, run),
        lambda: pin_tension(run, samples(project, run)), lambda: stability.stability(run, 0)]


def check(project: Project, run: RunDir, what: str) -> None:
    line = damage_of(run)
    names = [each.name for each in list_runs(project.path)]
    assert set(names) == ({"first"} if line else {"first", "third"}), what
    assert [each.name for each in run_jobs.run_dirs(project.path)] == names, what
    assert [each.name for each in run_jobs.damaged_runs(project.path)] == (["third"] if line else []), what
    assert len(line) < 1_000 and "\n" not in line and (not line or any(word in line for word in ADVICE)), what
    if line:
        for read in (run.read_config, run.read_status, run.read_metrics):
            with contextlib.suppress(UserError):
                read()
        return
    runs_frame(project.runs())
    study_jobs.epoch_seconds(project.path)
    live_jobs.can_follow(run), request.warm_start_of(run), request.weights_from_of(run), request.method_of(run)
    request.created_of(run), predictions._newest_map(project), map_run(project.path, "own")
    repeats.repeats_of(project.path, project.run("first"))
    for read in readers(project, run):
        read()


@pytest.mark.parametrize("file", ["config.json", "status.json", "metrics.jsonl"])
def test_every_value_gone_or_wrong_is_read_or_named(pets: Path, file: str) -> None:
    project, path = Project.open(pets), pets / "runs" / "third" / file
    sound, number = path.read_text(), 0
    lines = opened_lines(sound).splitlines()
    first = opened_json(json.loads(lines[-1] if file == "metrics.jsonl" else sound))
    if file == "metrics.jsonl":
        first["events"] = [{"kind": "churning", "share": 0.6}]
    try:
        for what, document in changed(first):
            text = json.dumps(document)
            path.write_text("\n".join([*lines[:-1], text]) if file == "metrics.jsonl" else text)
            number += 1
            os.utime(path, ns=(number, number))  # the clock may stand still between two writes
            check(project, RunDir(path.parent), f"{file}: {what}")
    finally:
        path.write_text(sound)
    assert number > 25 and not damage_of(RunDir(path.parent))


@pytest.mark.parametrize(("file", "text"), [
    ("status.json", ""), ("config.json", "[" * 100_000), ("status.json", '{"state": ' + "[" * 900 + "]" * 900 + "}"),
    ("metrics.jsonl", '{"epoch": ' + "[" * 900 + "]" * 900 + "}")], ids=["empty", "too deep", "deep", "a deep line"])
def test_what_is_empty_or_deep_is_named_in_one_short_line(pets: Path, file: str, text: str) -> None:
    path = pets / "runs" / "third" / file
    sound = path.read_text()
    path.write_text(text)
    try:
        assert file in damage_of(RunDir(path.parent))
        check(Project.open(pets), RunDir(path.parent), file)
    finally:
        path.write_text(sound)
        os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("name", [
    "signals.parquet", "embedding.parquet", "predictions.parquet", "decisions.parquet", "probabilities.npy",
    "label_head.npy", "neighbours.npy", "history/0002.npy"])
def test_files_of_numbers_that_are_cut_or_no_such_files_are_named(pets: Path, name: str) -> None:
    run = RunDir.of(pets, "third")
    path = run.path / name
    sound = path.read_bytes() if path.exists() else None
    if sound is None:
        example = "history/0001.npy" if path.suffix == ".npy" else "signals.parquet"
        path.write_bytes((run.path / example).read_bytes())
    whole = path.read_bytes()
    try:
        for broken in (whole[:len(whole) // 2], b"garbage", b""):
            path.unlink()
            path.write_bytes(broken)
            os.utime(path.parent, ns=(len(broken), len(broken)))
            assert name in damage_of(run)
            check(Project.open(pets), run, name)
    finally:
        path.unlink()
        if sound is not None:
            path.write_bytes(sound)
    os.utime(path.parent)
    assert not damage_of(run)


def test_a_folder_in_the_place_of_a_file_is_named(pets: Path) -> None:
    run = make_run(pets, "odd", epochs=1)
    for name in ("status.json", "metrics.jsonl"):
        (run.path / name).unlink()
        (run.path / name).mkdir()
        assert name in damage_of(run)
        (run.path / name).rmdir()
    shutil.rmtree(run.path)


def test_a_run_of_older_code_without_a_time_is_no_copy(pets: Path) -> None:
    runs = [make_run(pets, name, epochs=1) for name in ("older", "newer")]
    for run in runs:
        document = run.read_config()
        document.pop("created")
        run.write_config({**document, "name": "older"})
    assert not damage_of(runs[1])


def test_metrics_of_the_first_runs_are_read_without_what_they_did_not_have(pets: Path) -> None:
    run = make_run(pets, "older-metrics", epochs=2)
    path = run.path / "metrics.jsonl"
    lines = [json.loads(line) for line in opened_lines(path.read_text()).splitlines()]
    for line in lines:
        line.pop("label_noise", None), line.pop("weight_freedom", None)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    config = run.path / "config.json"
    bare = {name: value for name, value in json.loads(config.read_text()).items() if name != "sha256"}
    config.write_text(json.dumps(bare))  # those had no seals
    assert not damage_of(run) and run.read_metrics()[["label_noise", "weight_freedom"]].isna().all(axis=None)


def test_a_copied_folder_is_no_second_run(pets: Path) -> None:
    original, copied = (RunDir.of(pets, name) for name in ("first", "first-copy"))
    shutil.copytree(original.path, copied.path)
    try:
        assert "is a copy of run first; move it away" in damage_of(copied) and not damage_of(original)
        assert "first-copy" not in [run.name for run in repeats.repeats_of(pets, original)], "it would count twice"
        original.path.rename(pets / "away")
        assert not damage_of(copied), "what is left of a run is a run"
    finally:
        (pets / "away").rename(original.path)
        shutil.rmtree(copied.path)
