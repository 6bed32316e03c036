"""The run that judges labels on features: taken where it is up to date, made and waited for where it is not."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.jobs import feature_runs, run_jobs
from curation.jobs.feature_runs import judged_on
from curation.jobs.queue import JobError
from curation.project import Project
from engine.contract.config import RunConfig
from engine.contract.feature_dir import FeatureDir, FeatureError
from engine.contract.manifest import file_digest
from engine.contract.run_dir import RunDir
from engine.contract.run_list import map_run
from tests.fake_features import make_features
from tests.fakes import make_project, make_run


@pytest.fixture
def project(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(feature_runs, "POLL_SECONDS", 0.01)
    path = make_project(tmp_path / "p", size=2)
    make_features(path, "own")
    return path


def fake_run(project: Path, name: str = "own", features: str = "own", state: str = "done") -> RunDir:
    """A run of method discriminant that is up to date."""
    run = make_run(project, name, method="discriminant", state=state)
    document = run.read_config()
    document["config"]["features"] = features
    run.write_config({**document, "features_digest": file_digest(FeatureDir.of(project, features).samples_path)})
    return run


def no_submit(*_: object, **__: object) -> None:
    raise AssertionError("nothing is to be started")


def test_one_that_is_up_to_date_is_taken_and_nothing_started(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = fake_run(project)
    monkeypatch.setattr(run_jobs, "submit", no_submit)
    assert judged_on(project, "own", print).name == run.name


@pytest.mark.parametrize("change", ["decisions", "features", "method", "state"])
def test_one_that_is_out_of_date_is_passed_over(project: Path, change: str) -> None:
    run = fake_run(project, state="failed" if change == "state" else "done")
    assert map_run(project, "own")[1] == (change != "state")
    if change == "decisions":
        Project.open(project).ledger().exclude(["train-00001"], True, who="ada", why="", view="", run="",
                                               origin="person")
    elif change == "features":
        make_features(project, "own", missing=("train-00002",))
    elif change == "method":
        make_run(project, "own", method="erm")
    found, is_there = map_run(project, "own")
    assert (found.name, is_there) == ("own-2", False) and run.exists()


def test_a_new_one_is_asked_for_and_waited_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[RunConfig] = []

    def submit(path: Path, name: str, config: RunConfig) -> None:
        asked.append(config)
        fake_run(path, name)

    monkeypatch.setattr(run_jobs, "submit", submit)
    lines: list[str] = []
    assert judged_on(project, "own", lines.append).name == "own"
    assert [(config.method, config.features) for config in asked] == [("discriminant", "own")]
    assert lines[0] == "run own: labels are judged on features own, out of fold; nothing is trained"


def test_one_that_is_under_way_is_waited_for(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, looks = fake_run(project, state="running"), []
    monkeypatch.setattr(run_jobs, "submit", no_submit)

    def sleep(_: float) -> None:
        looks.append(1)
        if len(looks) == 3:
            fake_run(project)

    monkeypatch.setattr(time, "sleep", sleep)
    lines: list[str] = []
    assert judged_on(project, "own", lines.append).name == run.name and len(looks) == 3
    assert lines[0] == "waiting for run own, which is under way" and len(lines) == 2, "one line a stage, not one a look"


def test_a_failure_is_one_line_with_its_reason(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_jobs, "submit", lambda path, name, config: fake_run(path, name, state="failed"))
    with pytest.raises(JobError, match="'own' is failed: training diverged at step 12; mend that"):
        judged_on(project, "own", print)
    with pytest.raises(FeatureError, match="features 'none' must be finished"):
        judged_on(project, "none", print)


def test_the_audit_takes_features_or_a_run(project: Path, tmp_path: Path, capsys) -> None:
    run = fake_run(project)
    run.write_probabilities(0.1 + 0.7 * np.eye(3)[np.arange(60) % 3], "label_head")
    out = tmp_path / "suspects.csv"
    assert main(["audit", str(project), "--features", "own", "--out", str(out)]) == 0
    assert "60 labels scored by 1 run" in capsys.readouterr().out
    assert {"p_wrong", "path", "given_label"} <= set(pd.read_csv(out))
    for options, word in (([], "neither"), (["--run", "own", "--features", "own"], "both")):
        assert main(["audit", str(project), *options]) == 2
        assert f"got {word}; give one of --run and --features" in capsys.readouterr().err


@pytest.mark.slow
def test_the_engine_makes_it_in_the_background(project: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "suspects.csv"
    assert main(["audit", str(project), "--features", "own", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "run own: labels are judged on features own" in said and "60 labels scored" in said
    suspects = pd.read_csv(out)
    is_wrong = suspects["sample_id"].isin([f"train-{i:05d}" for i in range(7, 60, 10)])
    assert is_wrong[:6].mean() >= 0.5 and RunDir.of(project, "own").read_status()["state"] == "done"
