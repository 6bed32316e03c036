"""Contract 2, the run directory: what a run leaves on disk, and how to read and write it. Imports no torch.

    config.json          RunDocument (engine.contract.run_document)
    decisions.parquet    the decisions this run was trained under (a copy; see engine.contract.manifest)
    status.json          state, stage, epoch, step, throughput, ETA, heartbeat, pid and its start time, error
    metrics.jsonl        one line an epoch
    signals.parquet      one row a training sample, in manifest order; replaced whole each epoch; on features every 3 s
    probabilities.npy    (N, C) float16 mean held-out probabilities, same order; NaN where never held out
    label_head.npy       (N, C) float32 probabilities by a head that did not see the sample's label
    history/0007.npy     HISTORY_DTYPE record of every row of signals.parquet in epoch 7, in the same order
    embedding.parquet    sample_id, x, y, pca_x, pca_y
    neighbours.npy       record of the k nearest others of every row of signals.parquet, in the same order, which has
                         the ids (NEIGHBOUR_FIELDS); runs of older code: indices and distances in neighbours.npz
    predictions.parquet  test and clean splits: sample_id, split, label, prediction, margin, group
    checkpoint/          complete state; the last two are kept
    tensorboard/         event files of TensorBoard; tracker.json: the run's id at another (engine.runs.trackers)
    log.txt
    cancel               present once somebody asked the run to stop
    request.*            what the app asked for (curation.jobs.request); output.txt: the process's own output
Every file but log.txt and metrics.jsonl is written under a temporary name and renamed, so a reader never sees half.
"""

import copy
import json
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from engine.contract.disk.seals import check_seal, is_sealed_json, opened_lines, sealed_lines
from engine.contract.errors import UserError
from engine.contract.inside import job_folder
from engine.contract.json_kinds import problem_of
from engine.contract.metrics import EpochMetrics
from engine.contract.older_runs import ADDED_METRICS, FORMER_METRICS, event_of, is_older, upgraded
from engine.contract.run_document import RunDocument, checked
from engine.contract.signal_columns import ROLES, SIGNAL_COLUMNS
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.work_dir import WorkDir, open_array, write_array, write_atomic

ENDED = ("done", "failed", "cancelled")
Probabilities = Literal["probabilities", "label_head"]
"""The two arrays of probabilities: mean held-out, and by a head on the features that did not see the label."""
PROBABILITIES: tuple[Probabilities, ...] = get_args(Probabilities)
HISTORY_DTYPE = np.dtype([("margin", "<f2"), ("p_train", "<f2"), ("weight", "<f2"), ("role", "u1"), ("routed", "u1")])
"""One sample in one epoch, 8 bytes. margin in [-1, 1]; p_train in [0, 1], NaN without a splitter, of pinned
samples as the splitter alone has it (runs of older code: 0 or 1; NaN while a run finishes); weight >= 0, NaN
where the sample was not trained on; role: index into ROLES (validation: held out of training); routed: 1 where the
splitter, the ranking or a pin put it there, 0 where it only rested by rotation."""
NEIGHBOUR_FIELDS = ("rows", "distances")
"""One sample's neighbours, 6k bytes, nearest first, in one file so that neither half is of another version: rows (k,)
int32 of signals.parquet, the sample's own left out; cosine distances (k,) float16 in [0, 2]."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class RunDirError(UserError):
    """A run's name or one of its files breaks the contract. One line, ready to show."""


def check_name(name: str) -> str:
    """The name itself if it can name a run, a view or an export. Raises RunDirError otherwise."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise RunDirError("a name must be 1 to 64 letters, digits, '-', '_' or '.', and start with a letter or digit; "
                          f"got {name!r}")
    return name


class RunDir(WorkDir):
    """One run's folder."""

    error = RunDirError

    @classmethod
    def of(cls, project: Path, name: str) -> "RunDir":
        """The run `name` of a project, there or not. Raises RunDirError for a bad name, OutsideError for links out."""
        return cls(job_folder(project, "runs", check_name(name)))

    @property
    def signals_path(self) -> Path:
        return self.path / "signals.parquet"

    @property
    def decisions_path(self) -> Path:
        return self.path / "decisions.parquet"

    @property
    def checkpoint_dir(self) -> Path:
        return self.path / "checkpoint"

    def exists(self) -> bool:
        return (self.path / "config.json").exists()

    # -- config.json

    def write_config(self, document: RunDocument) -> None:
        """Its config, and where its results come from."""
        self.write_json(self.path / "config.json", document)

    def read_config(self) -> RunDocument:
        """The document of write_config, its config whole (run_document.checked). Raises RunDirError if there is none or
        pages and commands could not go by it."""
        return copy.deepcopy(_document(self.path, stamp_of(self.path / "config.json")))

    # -- metrics.jsonl

    def write_metrics(self, rows: Sequence[EpochMetrics]) -> None:
        """Replace all lines; the loop keeps them in its state, so a resumed run repeats none."""
        text = "".join(json.dumps(row) + "\n" for row in rows)
        write_atomic(self.path / "metrics.jsonl", lambda p: p.write_text(sealed_lines(text)))

    def read_metrics(self) -> pd.DataFrame:
        """One row an epoch, oldest first; empty before the first epoch ends. events: a list of RunEvent each. Raises
        RunDirError, which names the line, if it is damaged."""
        path = self.path / "metrics.jsonl"
        try:
            texts = opened_lines(path.read_text(), is_sealed_json(self.path / "config.json")).splitlines()
        except FileNotFoundError:
            return pd.DataFrame()
        except (ValueError, OSError) as error:
            raise RunDirError(f"{path} must be text as it was written; {error}; {_METRICS_ADVICE}") from error
        return pd.DataFrame([_metrics_of(text, path, number) for number, text in enumerate(texts, 1) if text.strip()])

    # -- signals.parquet and history/

    def write_signals(self, signals: pd.DataFrame) -> None:
        assert tuple(signals.columns) == SIGNAL_COLUMNS, f"signals have {list(signals.columns)}"
        write_atomic(self.signals_path, lambda p: signals.to_parquet(p, index=False))

    def read_signals(self) -> pd.DataFrame:
        """One row a training sample in manifest order, with SIGNAL_COLUMNS. Raises RunDirError before epoch 1 ends."""
        if not self.signals_path.exists():
            raise RunDirError(f"run {self.name} has no signals yet; they appear when its first epoch ends")
        signals = self._table(self.signals_path)
        return upgraded(signals, self._last_routed()) if is_older(signals) else signals

    def _last_routed(self) -> np.ndarray | None:
        """(N,) bool, who was routed in the last epoch of the history; None without one."""
        epochs = sorted((self.path / "history").glob("*.npy"))
        return open_array(epochs[-1])["routed"].astype(bool) if epochs else None

    def write_probabilities(self, probs_NC: np.ndarray, name: Probabilities = "probabilities") -> None:
        """probs_NC: of one of PROBABILITIES, in the order of signals.parquet; NaN rows where there are none.

        What ranks labels is kept in float32: in half precision hundreds that are surely wrong have probability 0, and
        no order among them.
        """
        write_array(self.path / f"{name}.npy", probs_NC.astype(np.float32 if name == "label_head" else np.float16))

    def probabilities_path(self, name: Probabilities) -> Path:
        """The file of one of PROBABILITIES; older code called the head's cross_fitted.npy."""
        path, older = self.path / f"{name}.npy", self.path / "cross_fitted.npy"
        return older if name == "label_head" and older.exists() and not path.exists() else path

    def open_probabilities(self, name: Probabilities = "probabilities") -> np.ndarray | None:
        """(N, C) of one of PROBABILITIES, the label head's float32 (float16 by older code), read as far as it is used;
        None where there are none."""
        path = self.probabilities_path(name)
        return open_array(path) if path.exists() else None

    def read_probabilities(self, row: int) -> np.ndarray | None:
        """Held-out probabilities (C,) float32 of one row of signals.parquet; None where there are none."""
        kept = self.open_probabilities()
        is_known = kept is not None and row < len(kept) and bool(np.isfinite(kept[row]).all())
        return kept[row].astype(np.float32) if kept is not None and is_known else None

    def write_history(self, epoch: int, records: np.ndarray) -> None:
        """records: (N,) of HISTORY_DTYPE, in the order of signals.parquet. epoch counts from 1."""
        assert records.dtype == HISTORY_DTYPE, f"history has dtype {records.dtype}"
        write_array(self.path / "history" / f"{epoch:04d}.npy", records)

    def read_history(self, row_idx: int | np.ndarray) -> pd.DataFrame:
        """History of one row (or of an array of rows) of signals.parquet: epoch, row_idx and HISTORY_DTYPE's fields.

        Reads those rows alone (8 bytes a row and epoch), never whole files.
        """
        rows = np.atleast_1d(np.asarray(row_idx, dtype=np.int64))
        frames = []
        for path in sorted((self.path / "history").glob("*.npy")):
            frame = pd.DataFrame(open_array(path)[rows])
            frame.insert(0, "epoch", int(path.stem))
            frame.insert(1, "row_idx", rows)
            frames.append(frame)
        if not frames:
            return pd.DataFrame(columns=["epoch", "row_idx", *(HISTORY_DTYPE.names or ())])
        history = pd.concat(frames, ignore_index=True)
        history["role"] = np.asarray(ROLES, dtype=object)[history["role"].to_numpy()]
        return history

    # -- embedding, neighbours, predictions

    def write_neighbours(self, indices: np.ndarray, dists: np.ndarray) -> None:
        """indices: (N, k) rows in the order of signals.parquet, self left out; dists: (N, k) cosine distances."""
        write_array(self.path / "neighbours.npy", _neighbour_records(indices, dists))

    def write_embedding(self, sample_ids: np.ndarray, xy: np.ndarray, indices: np.ndarray, dists: np.ndarray,
                        pca_xy: np.ndarray | None = None) -> None:
        """xy: (N, 2) float32; indices, dists: as write_neighbours takes them. pca_xy: (N, 2) float32, the features'
        first two principal components."""
        frame = pd.DataFrame({"sample_id": sample_ids, "x": xy[:, 0], "y": xy[:, 1]})
        if pca_xy is not None:
            frame["pca_x"], frame["pca_y"] = pca_xy[:, 0], pca_xy[:, 1]
        self.write_neighbours(indices, dists)
        write_atomic(self.path / "embedding.parquet", lambda p: frame.to_parquet(p, index=False))

    def read_embedding(self) -> pd.DataFrame | None:
        """sample_id, x, y, pca_x, pca_y in the order of signals.parquet; None until it is made."""
        path = self.path / "embedding.parquet"
        return self._table(path) if path.exists() else None

    @property
    def neighbours_path(self) -> Path:
        """neighbours.npy, or the .npz that runs of older code have instead."""
        new, old = self.path / "neighbours.npy", self.path / "neighbours.npz"
        return old if old.exists() and not new.exists() else new

    def open_neighbours(self) -> np.ndarray | None:
        """(N,) records of NEIGHBOUR_FIELDS in the order of signals.parquet, read from disk as far as they are used (an
        .npz is read whole); None until they are made."""
        path = self.neighbours_path
        if not path.exists():
            return None
        if path.suffix == ".npy":
            return open_array(path)
        with np.load(path, allow_pickle=False) as arrays:
            return _neighbour_records(arrays["indices"], arrays["distances"])

    def read_neighbours(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(rows (N, k) int32 of signals.parquet, cosine distances (N, k) float16), in memory; None until they are
        made."""
        records = self.open_neighbours()
        if records is None:
            return None
        return np.ascontiguousarray(records["rows"]), np.ascontiguousarray(records["distances"])

    def write_predictions(self, predictions: pd.DataFrame) -> None:
        write_atomic(self.path / "predictions.parquet", lambda p: predictions.to_parquet(p, index=False))

    def read_predictions(self) -> pd.DataFrame | None:
        """sample_id, split, label, prediction, margin, group of the clean and test splits; None until the end."""
        path = self.path / "predictions.parquet"
        return self._table(path) if path.exists() else None

    def _table(self, path: Path) -> pd.DataFrame:
        """A Parquet file of this run. Raises RunDirError if it is damaged."""
        try:
            check_seal(path)
            return pd.read_parquet(path)
        except (OSError, ValueError) as error:  # pyarrow's errors are among them
            reason = " ".join(str(error).split())[:120]
            raise RunDirError(f"{path} must be Parquet; {reason}; it was damaged from outside: restore it from a copy, "
                              "or start a new run") from error


@lru_cache(maxsize=4096)
def _document(path: Path, stamp: Stamp) -> RunDocument:
    """read_config of one state of the file: many ask for the documents of all runs."""
    file, run = path / "config.json", RunDir(path)
    document = run.read_json(file)
    if document is None:
        raise RunDirError(f"a run must have config.json; {path} has none; start it with `train`")
    try:
        return checked(document)
    except UserError as error:
        raise RunDirError(f"{file} must be as it was written; {error}; restore it from a copy, or move the folder of "
                          "the run away") from error


def _neighbour_records(rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """(N,) records of NEIGHBOUR_FIELDS of two arrays (N, k)."""
    formats = [(name, kind, rows.shape[1:]) for name, kind in zip(NEIGHBOUR_FIELDS, ("<i4", "<f2"), strict=True)]
    records = np.empty(len(rows), dtype=np.dtype(formats))
    records["rows"], records["distances"] = rows, distances
    return records


_METRICS_ADVICE = "it was damaged from outside: restore it, or delete it: the run stays, without its curves"


def _metrics_of(text: str, path: Path, number: int) -> dict[str, object]:
    """One line of metrics.jsonl."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RunDirError(f"line {number} of {path} must be JSON; {str(error)[:120]}; {_METRICS_ADVICE}") from error
    if not isinstance(line, dict):
        raise RunDirError(f"line {number} of {path} must be an epoch's metrics; got {text[:60]}; {_METRICS_ADVICE}")
    row: dict[str, object] = {**ADDED_METRICS}
    row |= {FORMER_METRICS.get(str(name), str(name)): value for name, value in line.items()}
    said = row.get("events") or []
    if isinstance(said, list):
        row["events"] = [event for each in said if (event := event_of(each)) is not None]
    if problem := problem_of(row, EpochMetrics):
        raise RunDirError(f"line {number} of {path} must be an epoch's metrics; {problem}; {_METRICS_ADVICE}")
    return row
