"""What a run tells to trackers as its epochs end: TensorBoard's event files always, MLflow or Weights & Biases where
asked for (setting tracker).

    tensorboard/      event files: scalars, the settings, histograms; one more file each time the run goes on
    tracker.json      TrackerDocument: the run's id there, by which it goes on under the same

A tracker whose package is not installed, or that fails, is one line in log.txt, and the run goes on without it. None of
their packages is imported before it is needed. The first of several processes alone tells them.
"""

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, TypedDict

import numpy as np

from engine.contract.config import RunConfig
from engine.contract.metrics import EpochMetrics
from engine.contract.run_dir import RunDir
from engine.contract.settings import leaves
from engine.runs.status import Cancelled
from engine.runtime import distributed
from engine.training.trainer import Trainer

FOLDER, DOCUMENT = "tensorboard", "tracker.json"
NUM_BINS = 64
"""Of a histogram."""
MAX_VALUES = 200_000
"""That a histogram is made of, evenly drawn of more."""
Settings = dict[str, str | int | float | bool]
Ending = Literal["done", "cancelled", "failed"]
_PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that does not answer holds a run up once, for seconds: MLflow's own defaults are minutes a call."""
_WANDB_SECONDS = 30.0


class TrackerDocument(TypedDict):
    """tracker.json."""

    tracker: str
    id: str


class Tracker(Protocol):
    """One place that is told. Each method may raise anything."""

    name: str

    def log(self, epoch: int, figures: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None: ...

    def close(self, ending: Ending) -> None: ...


class Trackers:
    """Those of one run, open within the context. first_epoch: the epoch that it begins or goes on at."""

    def __init__(self, run: RunDir, config: RunConfig, first_epoch: int) -> None:
        self.run, self.open = run, list[Tracker]()
        if not distributed.is_rank_zero():
            return
        settings: Settings = {name: value for name, value, *_ in leaves(config) if value is not None}
        self._begin("TensorBoard", "tensorboardX", lambda: TensorBoard(run, settings, first_epoch))
        if config.tracker == "mlflow":
            self._begin("MLflow", "mlflow", lambda: MLflow(run, settings))
        if config.tracker == "wandb":
            self._begin("Weights & Biases", "wandb", lambda: WandB(run, settings))

    def __enter__(self) -> "Trackers":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        ending: Ending = "done" if kind is None else "cancelled" if issubclass(kind, Cancelled) else "failed"
        self._each(lambda tracker: tracker.close(ending))

    def end_epoch(self, line: EpochMetrics, trainer: Trainer, *, is_written: bool) -> None:
        """Tell of the epoch that just ended. is_written: whether the run's files are of it, as they then are; heads,
        whose epochs are short, have histograms with these alone."""
        if not self.open:
            return
        figures = {name: float(value) for name, value in line.items()
                   if name != "epoch" and isinstance(value, int | float) and np.isfinite(value)}
        histograms = histograms_of(trainer) if is_written else {}
        self._each(lambda tracker: tracker.log(line["epoch"], figures, histograms))

    def _begin(self, name: str, package: str, begin: Callable[[], Tracker]) -> None:
        try:
            self.open.append(begin())
        except ImportError as error:
            self.run.log(f"no {name}: it needs {package} ({_one_line(error)}); pip install {package}")
        except Exception as error:  # of whatever kind: another's package ends no run
            self.run.log(f"no {name}: {type(error).__name__}: {_one_line(error)}")

    def _each(self, act: Callable[[Tracker], None]) -> None:
        """Act on each; one that fails is left out from then on."""
        for tracker in list(self.open):
            try:
                act(tracker)
            except Exception as error:
                self.open.remove(tracker)
                with contextlib.suppress(Exception):
                    tracker.close("failed")
                self.run.log(f"{tracker.name} is told no more: {type(error).__name__}: {_one_line(error)}")


def histograms_of(trainer: Trainer) -> dict[str, np.ndarray]:
    """Finite values, float, by name: sample weights and margins, each matrix of the classifier's head."""
    found = {"samples/margin": trainer.record.margin.detach().cpu().numpy()[trainer.active]}
    if trainer.learns_weights:
        found["samples/weight"] = trainer.record.weight.detach().cpu().numpy()
    found |= {f"head/{name}": value.detach().float().cpu().numpy().ravel()
              for name, value in trainer.model.head.named_parameters()}
    finite = {name: values[np.isfinite(values)] for name, values in found.items()}
    return {name: values[:: -(-len(values) // MAX_VALUES)] for name, values in finite.items() if len(values)}


class TensorBoard:
    """Event files, written as each epoch ends: a thread of its own, as tensorboardX's SummaryWriter has one, would die
    on a full disk and leave the run waiting for it."""

    name = "TensorBoard"

    def __init__(self, run: RunDir, settings: Settings, first_epoch: int) -> None:
        from tensorboardX import summary
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import RecordWriter

        self.event, self.summary = Event, summary
        folder = run.path / FOLDER
        folder.mkdir(exist_ok=True)
        number = len(list(folder.iterdir()))  # readers take the files by name, whatever the clock said
        self.writer = RecordWriter(str(folder / f"events.out.tfevents.{number:06}.{int(time.time())}"))
        self._write(Event(file_version="brain.Event:2"), 0)
        # Readers drop what an earlier file says of this epoch and later ones, which are trained anew.
        self._write(Event(session_log=SessionLog(status=SessionLog.START)), first_epoch)
        for part in summary.hparams(settings, {"clean_accuracy": 0.0, "test_accuracy": 0.0}):
            self._write(Event(summary=part), first_epoch)
        self.writer.flush()

    def log(self, epoch: int, figures: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        for name, value in figures.items():
            self._write(self.event(summary=self.summary.scalar(name, value)), epoch)
        for name, values in histograms.items():
            self._write(self.event(summary=self.summary.histogram(name, values, NUM_BINS)), epoch)
        self.writer.flush()

    def _write(self, event: object, epoch: int) -> None:
        event.step, event.wall_time = epoch, time.time()  # type: ignore[attr-defined]
        self.writer.write(event.SerializeToString())  # type: ignore[attr-defined]

    def close(self, ending: Ending) -> None:
        self.writer.close()


class MLflow:
    """A run of the experiment that is called as the project, on the server that MLflow is set to, else in the project's
    file mlflow.db."""

    name = "MLflow"
    _STATES: dict[Ending, str] = {"done": "FINISHED", "cancelled": "KILLED", "failed": "FAILED"}

    def __init__(self, run: RunDir, settings: Settings) -> None:
        for variable, seconds in _PATIENCE.items():
            os.environ.setdefault(variable, seconds)
        import mlflow

        if not mlflow.is_tracking_uri_set():
            mlflow.set_tracking_uri(f"sqlite:///{_project(run) / 'mlflow.db'}")
        self.client = mlflow.MlflowClient()
        known = _known_id(run, "mlflow")
        if known is None:
            experiment = self.client.get_experiment_by_name(_project(run).name)
            number = experiment.experiment_id if experiment else self.client.create_experiment(_project(run).name)
            self.id = str(self.client.create_run(number, run_name=run.name).info.run_id)
            for setting, value in settings.items():
                self.client.log_param(self.id, setting, value)
            _keep_id(run, "mlflow", self.id)
        else:
            self.id = known
            self.client.update_run(self.id, status="RUNNING")
        told = [] if known is None else self.client.get_metric_history(self.id, "train_loss")
        self.last_epoch = max((int(metric.step) for metric in told), default=0)

    def log(self, epoch: int, figures: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        if epoch <= self.last_epoch:  # trained anew, to the same end: MLflow would keep both
            return
        for name, value in figures.items():
            self.client.log_metric(self.id, name, value, step=epoch)

    def close(self, ending: Ending) -> None:
        self.client.set_terminated(self.id, self._STATES[ending])


class WandB:
    """A run of the W&B project that is called as the project; its files lie in the run's folder. Steps that it knows
    already W&B itself drops."""

    name = "Weights & Biases"

    def __init__(self, run: RunDir, settings: Settings) -> None:
        import wandb

        known = _known_id(run, "wandb") or uuid.uuid4().hex[:16]
        _keep_id(run, "wandb", known)
        self.run = wandb.init(
            project=_project(run).name, name=run.name, id=known, resume="allow", dir=str(run.path), config=settings,
            settings=wandb.Settings(console="off", silent=True, init_timeout=_WANDB_SECONDS))

    def log(self, epoch: int, figures: Mapping[str, float], histograms: Mapping[str, np.ndarray]) -> None:
        self.run.log(dict(figures), step=epoch)

    def close(self, ending: Ending) -> None:
        self.run.finish(exit_code=0 if ending == "done" else 1)


def _project(run: RunDir) -> Path:
    return run.path.absolute().parents[1]


def _known_id(run: RunDir, tracker: str) -> str | None:
    """The run's id at this tracker, where it was told of before."""
    document = run.read_json(run.path / DOCUMENT)
    return str(document["id"]) if document and document.get("tracker") == tracker and document.get("id") else None


def _keep_id(run: RunDir, tracker: str, number: str) -> None:
    run.write_json(run.path / DOCUMENT, TrackerDocument(tracker=tracker, id=number))


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
