"""Planning a retraining with and without decisions: which runs it takes, what is reused, what it costs."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.experiments import planning, repeats
from curation.experiments.planning import ExperimentError, plan_experiment
from curation.jobs import request, run_jobs
from curation.project import Project
from engine.contract.config import RunConfig
from engine.contract.disk.seals import opened_lines
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_decisions
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("WHETSTONE_HOME", str(tmp_path / "home"))
    project = Project.open(make_project(tmp_path / "p", size=2))
    make_run(project, "first")
    project.ledger().relabel(["train-00007"], "cat", "ada")
    return project


def plan(project: Project, num_seeds: int = 2, base: str = "first") -> planning.ExperimentPlan:
    return plan_experiment(project.path, project.run(base), num_seeds, project.ledger().state(),
                           file_digest(project.path / MANIFEST_NAME))


def test_every_seed_is_paired_and_what_is_there_is_taken(project: Project) -> None:
    found = plan(project)
    assert [(run.name, run.seed, run.side, run.state) for run in found.runs] == [
        ("first", 0, "without", "done"), ("first-e1-s0-with", 0, "with", "new"),
        ("first-e1-s1-without", 1, "without", "new"), ("first-e1-s1-with", 1, "with", "new")]
    assert found.seconds == pytest.approx(10, abs=1), "wall clock of the run, longer than its four epochs of 1.5 s"
    make_run(project, "again")
    assert plan(project).runs[1].name == "again", "under the decisions in force"
    make_run(project, "other-epochs", epochs=5, seed=1)
    make_run(project, "broken", seed=1, state="failed")
    assert len(plan(project).new) == 2


def test_a_preview_other_data_and_other_decisions_are_not_taken(project: Project) -> None:
    run = make_run(project, "again")
    document = run.read_config()
    run.write_config(document | {"warm_start": {"run": "first", "checkpoint": "x"}})
    assert plan(project).runs[1].state == "new"
    run.write_config(document | {"weights_from": {"run": "head", "signals_digest": "0"}})
    assert plan(project).runs[1].state == "new"
    with pytest.raises(planning.ExperimentError, match="under the weights and decisions of head; choose head"):
        planning.plan_experiment(project.path, run, 1, project.ledger().state(), "")
    run.write_config(document | {"manifest_digest": "another"})
    assert plan(project).runs[1].state == "new"
    run.write_config(document)
    project.ledger().relabel(["train-00007"], "bird", "ada")
    assert plan(project).runs[1].state == "new"


def test_queued_runs_keep_the_decisions_of_the_day_and_their_engine_trains_under_them(
        project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(run_jobs, "enqueue", lambda project, kind, run, device, command: (
        run.write_status(state="queued"), asked.append((run.name, command))))
    found, decisions = plan(project), project.ledger().state()
    assert planning.start(project.path, found, decisions) == [run.name for run in found.new]
    monkeypatch.setattr(run_jobs, "status_of", lambda run: run_jobs.RunStatus(
        state=run.read_status()["state"], details={}))
    assert [run.state for run in plan(project).runs] == ["done", "queued", "queued", "queued"], "asked for once"
    project.ledger().relabel(["train-00008"], "bird", "ada")
    for name, command in asked:
        run = RunDir.of(project.path, name)
        path = command[command.index("--decisions") + 1]
        frozen = read_decisions(Path(path))
        assert frozen["sample_id"].tolist() == (["train-00007"] if name.endswith("-with") else [])
        assert "--warm-start" not in command
        assert request.config_of(run) == RunConfig.from_dict({**found.config.to_dict(), "seed": int(name[-6]) if
                                                             name.endswith("-with") else int(name[-9])})


def test_names_count_on_and_do_not_grow(project: Project) -> None:
    make_run(project, "first-e1-s0-with", seed=3)
    assert planning.free_stem(project.path, "first") == "first-e2"
    assert planning.free_stem(project.path, "first-e1-s0-with") == "first-e2"
    stem = planning.free_stem(project.path, "n" * 64)
    assert RunDir.of(project.path, f"{stem}-s2147483647-without")


@pytest.mark.parametrize(("seeds", "said"), [(0, "1 to 10 seeds; got 0"), (11, "1 to 10 seeds; got 11")])
def test_too_few_or_many_seeds_are_refused(project: Project, seeds: int, said: str) -> None:
    with pytest.raises(ExperimentError, match=said):
        plan(project, seeds)


def test_without_decisions_there_is_nothing_to_measure(project: Project) -> None:
    project.ledger().undo("ada")
    with pytest.raises(ExperimentError, match="none is in force"):
        plan(project)


def test_a_preview_is_short_gentle_and_asks_for_a_warm_start(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(run_jobs, "enqueue", lambda project, kind, run, device, command: asked.append(command))
    config = planning.preview_config(request.config_of(project.run("first")), 100)
    assert config.epochs == 3 and config.lr == pytest.approx(0.01) and config.embedding == "none"
    assert planning.preview_config(RunConfig(epochs=2), 100).epochs == 2
    begun = make_run(project, "begun")
    (begun.path / "metrics.jsonl").unlink()
    assert planning.num_usable(begun, project.ledger().state()) == 0, "no epoch has ended"
    head = planning.preview_config(RunConfig(features="lite0"), 12_000)
    assert head.lr == pytest.approx(0.02), "a fifth of what a head's larger batches train at"
    run_jobs.submit(project.path, "look", config, warm_start="first", decisions=project.ledger().state())
    assert asked[0][-2:] == ["--warm-start", "first"]
    assert request.warm_start_of(RunDir.of(project.path, "look")) == "first"
    assert request.warm_start_of(project.run("first")) is None


@pytest.mark.parametrize(("num_excluded", "batch_size", "lr"), [(0, 256, 0.02), (60, 128, 0.01)])
def test_a_preview_trains_at_a_fifth_of_the_rate_that_its_own_batches_go_with(
        project: Project, num_excluded: int, batch_size: int, lr: float) -> None:
    run = project.run("first")
    lines = [json.loads(line) for line in opened_lines((run.path / "metrics.jsonl").read_text()).splitlines()]
    run.write_metrics([line | {"num_train": 8_200, "num_validation": 900} for line in lines])  # held out, yet used
    decisions = pd.DataFrame({"sample_id": [str(idx) for idx in range(num_excluded)], "pin": None, "label": None,
                              "excluded": True})
    config, usable = RunConfig(features="lite0"), planning.num_usable(run, decisions)
    assert usable == 9_100 - num_excluded and config.step_size(usable) == batch_size
    assert planning.preview_config(config, usable).lr == pytest.approx(lr)


def test_no_decisions_at_all_are_a_file_that_the_engine_accepts(project: Project) -> None:
    from engine.contract.manifest import check_decisions

    run = RunDir.of(project.path, "none")
    empty: pd.DataFrame = project.ledger().state().iloc[:0]
    request.write_request(run, RunConfig(), empty)
    check_decisions(run.path / request.DECISIONS_NAME)
    assert request.decisions_path_of(run) == run.path / request.DECISIONS_NAME
    assert request.decisions_path_of(RunDir.of(project.path, "gone")) is None
    assert repeats.digest_of_decisions(run.path / request.DECISIONS_NAME) == repeats.digest_of(empty)


def test_a_run_of_an_experiment_is_found_again_by_what_it_trained_under(project: Project) -> None:
    for side, rows in (("with", project.ledger().state()), ("without", project.ledger().state().iloc[:0])):
        run = make_run(project, f"first-e1-s1-{side}", seed=1)
        request.write_request(run, RunConfig(), rows)
        (run.path / request.DECISIONS_NAME).replace(run.decisions_path)
    assert [(run.name, run.state) for run in plan(project).runs if run.seed == 1] == [
        ("first-e1-s1-without", "done"), ("first-e1-s1-with", "done")]


def test_a_digest_follows_the_file_it_is_of(tmp_path: Path) -> None:
    path, frames = tmp_path / "d.parquet", []
    for sample_ids in (["a", "b"], ["b", "c"], ["b", "a"]):
        frames.append(pd.DataFrame({"sample_id": sample_ids, "pin": None, "excluded": True, "label": None}))
        frames[-1].to_parquet(path)
        assert repeats.digest_of_decisions(path) == repeats.digest_of(frames[-1])
    assert repeats.digest_of(frames[0]) == repeats.digest_of(frames[2]) != repeats.digest_of(frames[1])
