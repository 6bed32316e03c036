"""A run's request: one document, read back as it was written, and those of older code."""

import json
import os
import zipfile
from pathlib import Path

import pandas as pd
import pytest

from curation.jobs import request, run_jobs
from curation.jobs.request import RunRequest, read_request, train_command, write_request
from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.settings import ConfigError
from tests import ROOT

CONFIG = RunConfig(method="erm", epochs=7, device="cpu")
DECISIONS = pd.DataFrame({"sample_id": ["a", "b"], "pin": ["train", None], "excluded": [False, True],
                          "label": [None, "cat"], "who": ["ada", "bob"]})


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    found = RunDir.of(tmp_path, "asked")
    found.path.mkdir(parents=True)
    return found


@pytest.fixture
def old(tmp_path: Path) -> RunDir:
    """The request of the archive, in three files, as older code left it."""
    with zipfile.ZipFile(ROOT / "tests" / "before_rooms" / "before_rooms.zip") as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if "/runs/asked/" in name])
    return RunDir.of(tmp_path / "projects" / "pets", "asked")


def test_a_request_is_one_document_and_reads_back(run: RunDir) -> None:
    write_request(run, CONFIG, DECISIONS, warm_start="first", weights_from="head")
    found = read_request(run)
    assert found is not None and found == RunRequest(config=CONFIG, created=found.created, warm_start="first",
                                                     weights_from="head", decisions="request.parquet")
    assert json.loads((run.path / "request.json").read_text()).keys() == {"config", "created", "warm_start",
                                                                         "weights_from", "decisions", "sha256"}
    assert {path.name for path in run.path.iterdir()} == {"request.json", "request.parquet"}
    assert read_decisions(run.path / "request.parquet")["label"].tolist()[1] == "cat"
    assert train_command(run.path.parents[1], "asked")[4:] == [
        str(run.path.parents[1]), "--config", str(run.path / "request.json"), "--name", "asked", "--decisions",
        str(run.path / "request.parquet"), "--weights-from", "head", "--warm-start", "first"]
    assert request.weights_from_of(run) == "head"


def test_a_request_from_before_there_were_weights_to_take_names_none(run: RunDir) -> None:
    write_request(run, CONFIG)
    values = json.loads((run.path / "request.json").read_text())
    del values["weights_from"], values["sha256"]
    (run.path / "request.json").write_text(json.dumps(values))
    found = read_request(run)
    assert found is not None and found.weights_from is None and found.config == CONFIG


def test_without_decisions_those_in_force_at_the_beginning_count(run: RunDir) -> None:
    (run.path / "request.parquet").touch()  # what no request names is no part of it
    write_request(run, CONFIG)
    assert request.decisions_path_of(run) is None and request.warm_start_of(run) is None
    assert train_command(run.path.parents[1], "asked")[-2:] == ["--name", "asked"]


def test_a_request_of_older_code_says_the_same(old: RunDir) -> None:
    found = read_request(old)
    assert found is not None and (found.warm_start, found.decisions) == ("first", "request.parquet")
    assert found.config.epochs == 3 and found.created == (old.path / "request.json").stat().st_mtime
    assert len(read_decisions(old.path / "request.parquet")) == 10
    project = old.path.parents[1]
    assert train_command(project, "asked")[5:] == [
        "--config", str(old.path / "request.json"), "--name", "asked", "--decisions",
        str(old.path / "request.parquet"), "--warm-start", "first"]
    (old.path / "request_options.json").unlink()
    (old.path / "request.parquet").unlink()
    assert train_command(project, "asked")[-2:] == ["--name", "asked"]


@pytest.mark.parametrize("which", ["run", "old"])
def test_the_engine_reads_its_settings_from_the_request(which: str, request: pytest.FixtureRequest,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import __main__ as engine

    found: RunDir = request.getfixturevalue(which)
    if which == "run":
        write_request(found, CONFIG, DECISIONS, warm_start="first")
    started: list[object] = []
    monkeypatch.setattr("engine.runs.train.train", lambda *words: started.extend(words) or found)
    engine.app(train_command(found.path.parents[1], "asked")[3:], standalone_mode=False)
    asked = read_request(found)
    assert asked is not None and started == [asked.config, found.path.parents[1], "asked",
                                             found.path / "request.parquet", "first", None]


@pytest.mark.parametrize(("text", "error", "match"), [
    ("{", RunDirError, "must be JSON"),
    ("[1]", RunDirError, "must hold a JSON object; it holds list"),
    ('{"config": {}}', RunDirError, "must hold config, created, warm_start, weights_from, decisions"),
    ('{"config": {}, "created": 1.0, "warm_start": 3, "decisions": null}', RunDirError, "must hold config"),
    ('{"config": {}, "created": 1.0, "warm_start": null, "weights_from": [], "decisions": null}', RunDirError, "must"),
    ('{"config": {}, "created": 1.0, "warm_start": null, "decisions": "../../other"}', RunDirError, "must hold"),
    ('{"config": {"metod": 1}, "created": 1.0, "warm_start": null, "decisions": null}', ConfigError, "metod"),
    ('{"metod": 1}', ConfigError, "metod"),
])
def test_a_damaged_request_is_refused_in_one_line_and_hides_no_other_run(run: RunDir, text: str, match: str,
                                                                         error: type[Exception]) -> None:
    (run.path / "request.json").write_text(text)
    for read in (lambda: read_request(run), lambda: train_command(run.path.parents[1], "asked")):
        with pytest.raises(error, match=match) as caught:
            read()
        assert "\n" not in str(caught.value)
    write_request(RunDir.of(run.path.parents[1], "other"), CONFIG)
    project = run.path.parents[1]
    assert [found.name for found in run_jobs.run_dirs(project)] == ["other"]
    (damaged,) = run_jobs.damaged_runs(project)
    assert damaged.name == "asked" and match.partition(";")[0] in damaged.line
    assert request.warm_start_of(run) is None


def test_runs_are_listed_by_when_they_were_asked_for_not_by_when_a_file_was_copied(tmp_path: Path) -> None:
    for name in ("first", "second"):
        write_request(RunDir.of(tmp_path, name), CONFIG)
    os.utime(RunDir.of(tmp_path, "first").path / "request.json")
    assert [found.name for found in run_jobs.run_dirs(tmp_path)] == ["second", "first"]


def test_a_folder_without_a_request_is_refused(run: RunDir) -> None:
    with pytest.raises(RunDirError, match=r"must have request\.json; .* has none; start a new run"):
        request.config_of(run)
