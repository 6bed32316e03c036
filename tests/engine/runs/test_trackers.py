"""What a run tells trackers, read back by TensorBoard's own reader; MLflow and W&B by modules that stand for them."""

import builtins
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import HISTOGRAMS, SCALARS, EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from engine.contract.config import RunConfig
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError
from engine.runs import trackers
from engine.runs import train as module
from engine.runs.train import resume, train
from tests.fake_features import make_features
from tests.fakes import make_project

FAST = {"method": "molere", "features": "own", "epochs": 4, "batch_size": 16, "weight_decay": 0.01, "embedding": "none",
        "device": "cpu", "num_threads": 1, "network": "linear"}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    project = make_project(tmp_path / "p", num_train=60, size=8)
    make_features(project)
    return project


def config_of(**changes: object) -> RunConfig:
    return RunConfig.from_dict(FAST | changes)


def read(run: RunDir) -> EventAccumulator:
    found = EventAccumulator(str(run.path / "tensorboard"), size_guidance={SCALARS: 0, HISTOGRAMS: 0})
    return found.Reload()


def stop_before(monkeypatch: pytest.MonkeyPatch, epoch: int) -> None:
    """The next training ends in KeyboardInterrupt once it is to train this epoch; its checkpoints are written as they
    come to be: of heads seconds apart, so of no epoch of these."""
    real = module._train_epoch

    def stop(files, status, metrics, at, first_step):
        if at == epoch:
            raise KeyboardInterrupt
        return real(files, status, metrics, at, first_step)

    monkeypatch.setattr(module, "_train_epoch", stop)


def test_event_files_have_each_epoch_the_settings_and_histograms(project):
    run = train(config_of(), project, "first")
    events, metrics = read(run), run.read_metrics()
    for name in ("train_loss", "clean_accuracy", "num_routed", "effective_sample_frac", "lr", "num_withheld"):
        told = [(event.step, event.value) for event in events.Scalars(name)]
        expected = [(epoch, value) for epoch, value in zip(metrics["epoch"], metrics[name], strict=True)
                    if np.isfinite(value)]
        assert told == [(epoch, pytest.approx(value, rel=1e-6)) for epoch, value in expected] and told
    assert [event.step for event in events.Scalars("test_accuracy")] == [4], "read in the last epoch alone"
    assert set(events.Tags()["histograms"]) == {"samples/margin", "samples/weight", "head/weight", "head/bias"}
    last = events.Histograms("samples/margin")[-1]
    margins = run.read_signals()["margin"].to_numpy(dtype=float)
    assert last.step == 4 and last.histogram_value.num == len(margins)
    assert last.histogram_value.sum == pytest.approx(margins.sum(), rel=1e-4)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["method"].string_value == "molere" and settings["weight_decay"].number_value == 0.01
    assert settings["splitter.coverage"].number_value == config_of().splitter.coverage


def test_a_run_that_goes_on_has_no_epoch_twice(project, monkeypatch):
    """Killed after three epochs, of which no checkpoint tells: all are trained anew, and are there once."""
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_before(patch, 4)
        train(config_of(), project, "first")
    assert [event.step for event in read(RunDir.of(project, "first")).Scalars("train_loss")] == [1, 2, 3]
    run = resume(project, "first")
    events = read(run).Scalars("train_loss")
    assert [event.step for event in events] == [1, 2, 3, 4]
    assert [event.value for event in events] == pytest.approx(run.read_metrics()["train_loss"].tolist(), rel=1e-6)
    assert len(list((run.path / "tensorboard").iterdir())) == 2


def test_without_its_package_a_run_says_so_once_and_trains_the_same(project, monkeypatch):
    def refuse(name: str, *args: object, **options: object) -> object:
        if name.partition(".")[0] in ("tensorboardX", "mlflow", "wandb"):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **options)

    real = builtins.__import__
    told = train(config_of(), project, "told")
    monkeypatch.setattr(builtins, "__import__", refuse)
    run = train(config_of(tracker="mlflow"), project, "untold")
    lines = [line for line in run.log_tail(99) if "pip install" in line]
    assert len(lines) == 2 and "no TensorBoard: it needs tensorboardX" in lines[0] and "no MLflow" in lines[1]
    assert not (run.path / "tensorboard").exists() and run.read_status()["state"] == "done"
    assert run.read_signals().equals(told.read_signals()), "telling uses no randomness of the training"


def test_a_tracker_that_fails_is_one_line_and_stops_nothing(project, monkeypatch):
    def fail(self: object, data: object) -> None:
        raise OSError(28, "No space left on device")

    from tensorboardX.record_writer import RecordWriter

    real = trackers.TensorBoard.log

    def log(self, epoch, figures, histograms):
        if epoch == 2:
            monkeypatch.setattr(RecordWriter, "write", fail)
        real(self, epoch, figures, histograms)

    monkeypatch.setattr(trackers.TensorBoard, "log", log)
    run = train(config_of(), project, "first")
    assert run.read_status()["state"] == "done" and len(run.read_metrics()) == 4
    assert [line for line in run.log_tail(99) if "No space left" in line] == [
        line for line in run.log_tail(99) if "TensorBoard is told no more: OSError" in line] != []
    assert sum("is told no more" in line for line in run.log_tail(99)) == 1


def test_the_first_of_several_processes_alone_tells(project, monkeypatch, tmp_path):
    monkeypatch.setattr(trackers.distributed, "is_rank_zero", lambda: False)
    run = RunDir(tmp_path / "run")
    run.path.mkdir()
    assert trackers.Trackers(run, config_of(tracker="wandb"), 1).open == [] and list(run.path.iterdir()) == []


# -- MLflow and W&B, which are told where they are asked for


class FakeClient:
    """MLflow's client, as far as it is called: what it was told, kept over the processes of one test."""

    metrics: list[tuple[str, float, int]] = []
    params: dict[str, object] = {}
    states: list[str] = []

    def get_experiment_by_name(self, name: str) -> None:
        assert name == "p"

    def create_experiment(self, name: str) -> str:
        return "7"

    def create_run(self, experiment_id: str, run_name: str) -> object:
        assert (experiment_id, run_name) == ("7", "first") and not self.states
        self.states.append("RUNNING")
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))

    def log_param(self, run_id: str, key: str, value: object) -> None:
        self.params[key] = value

    def log_metric(self, run_id: str, key: str, value: float, step: int) -> None:
        assert run_id == "abc"
        self.metrics.append((key, value, step))

    def get_metric_history(self, run_id: str, key: str) -> list[object]:
        return [types.SimpleNamespace(step=step) for name, _, step in self.metrics if name == key]

    def update_run(self, run_id: str, status: str) -> None:
        self.states.append(status)

    def set_terminated(self, run_id: str, status: str) -> None:
        self.states.append(status)


def test_mlflow_is_told_where_asked_and_goes_on_under_one_run(project, monkeypatch):
    addresses: list[str] = []
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(  # type: ignore[arg-type]
        MlflowClient=FakeClient, is_tracking_uri_set=lambda: bool(addresses), set_tracking_uri=addresses.append))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3")
    for name, empty in (("metrics", []), ("params", {}), ("states", [])):
        monkeypatch.setattr(FakeClient, name, empty)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_before(patch, 3)
        train(config_of(tracker="mlflow"), project, "first")
    run = resume(project, "first")
    losses = [(step, value) for name, value, step in FakeClient.metrics if name == "train_loss"]
    assert losses == list(zip([1, 2, 3, 4], run.read_metrics()["train_loss"], strict=True))
    assert FakeClient.params["method"] == "molere" and FakeClient.params["splitter.coverage"]
    assert FakeClient.states == ["RUNNING", "FAILED", "RUNNING", "FINISHED"]
    assert addresses == [f"sqlite:///{project / 'mlflow.db'}"], "in the project, where no server is named"


def test_wandb_is_told_where_asked_and_goes_on_under_one_run(project, monkeypatch):
    begun: list[dict] = []
    told: list[tuple[int, dict]] = []
    ends: list[int] = []

    def init(**options: object) -> object:
        begun.append(options)
        return types.SimpleNamespace(log=lambda figures, step: told.append((step, figures)),
                                     finish=lambda exit_code: ends.append(exit_code))

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(  # type: ignore[arg-type]
        init=init, Settings=lambda **values: values))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop_before(patch, 3)
        train(config_of(tracker="wandb"), project, "first")
    run = resume(project, "first")
    assert [options["id"] for options in begun] == [begun[0]["id"]] * 2 and begun[1]["resume"] == "allow"
    assert begun[0]["project"] == "p" and begun[0]["config"]["method"] == "molere"
    assert [step for step, _ in told] == [1, 2, 1, 2, 3, 4], "W&B itself drops steps that it knows"
    assert told[-1][1]["test_accuracy"] == run.read_metrics()["test_accuracy"].iloc[-1] and ends == [1, 0]


def test_none_is_imported_unasked_and_others_are_refused(project, monkeypatch):
    for name in ("mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would be an error, and a line in the log
    run = train(config_of(epochs=1), project, "first")
    assert not any("pip install" in line for line in run.log_tail(99))
    with pytest.raises(ConfigError, match="tracker must be one of mlflow, wandb; got 'neptune'"):
        config_of(tracker="neptune")
    assert config_of(tracker="none").tracker is None
