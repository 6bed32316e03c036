"""Predictions that people bring: out-of-fold probabilities in a file -> an ordinary finished run, runs/NAME/.

The run has what one held-out epoch leaves behind, so Explore, Triage and the audit read it as any other. That no sample
was predicted by a model that saw its label is the word of those who bring them: it cannot be seen in the numbers.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from curation.evidence.array_file import ArrayFile, EvidenceError
from curation.evidence.matching import Match, match, match_lines
from curation.evidence.opening import open_array_file
from curation.evidence.probabilities import Columns, columns_of, read_probabilities
from curation.ledger import people
from curation.project import Project
from engine.contract.config import RunConfig
from engine.contract.disk.temporaries import temporary_beside
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_decisions, read_manifest
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.run_document import RunDocument
from engine.contract.run_list import list_runs
from engine.contract.signal_columns import ROLES
from engine.contract.statistics.confident import history_of, label_margins, signals_of

METHOD = "imported"
MARKED_GAIN = 0.1
"""By how much another order of the classes must agree better with the given labels before it is pointed out."""
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportedPredictions:
    """What an import of predictions did."""

    run: RunDir
    file: ArrayFile
    match: Match
    columns: Columns
    num_samples: int
    """Of the project."""
    num_train: int
    """Samples of split train with a prediction."""
    num_evaluated: int
    """Samples of the splits clean and test with a prediction."""
    num_without: int
    """Rows of samples that hold NaN alone: no prediction."""
    agreement: float
    """Share of the predictions on split train that equal the given label."""
    best_agreement: float
    """The same if the classes were in the order that agrees best."""
    map_of: str | None
    """The run whose map and neighbours it has."""


def import_predictions(project: Project, path: Path, name: str, *, classes_file: Path | None = None,
                       map_of: RunDir | None = None, progress: Progress | None = None) -> ImportedPredictions:
    """Read a file of probabilities (curation.evidence.array_file) into the new run `name`.

    classes_file: names of the classes in the order of the columns, one a line, where columns have no names. map_of: the
    run whose map and neighbours to take; None: those of the newest finished run of method discriminant on the same
    data, where there is one. Raises EvidenceError, with the project as it was, for a file that breaks a rule or a name
    that is taken.
    """
    people.require("owner", "an import")
    run = RunDir.of(project.path, name)
    if run.path.exists():
        raise EvidenceError(f"predictions become a run, which needs a new name; {name!r} exists; choose another "
                            "name")
    file = open_array_file(path, "probabilities")
    rows = read_manifest(project.path, ["clean_label", "group"])
    found, columns = match(file, rows, "predictions"), columns_of(file, project.classes, classes_file)
    probs_MC = read_probabilities(file, found, columns, len(rows), progress or (lambda done, total, message: None))
    is_train = rows["split"].eq("train").to_numpy(dtype=bool)
    is_known = np.isfinite(probs_MC).all(axis=1)
    if not (is_train & is_known).any():
        raise EvidenceError(f"predictions must be of samples of split train; {path} has none of them; add their rows")
    source = map_of or _newest_map(project)
    if source is not None:
        _check_map(project, source)
    labels = _codes(rows["given_label"], project.classes)
    _write(project, run, rows, is_train, probs_MC, path, source)
    judged = is_train & is_known & (labels >= 0)
    now, best = _agreement(probs_MC[judged].argmax(axis=1), labels[judged], len(project.classes))
    num_read = int((found.sample_of_row >= 0).sum())
    return ImportedPredictions(
        run=run, file=file, match=found, columns=columns, num_samples=len(rows),
        num_train=int((is_train & is_known).sum()), num_evaluated=int((~is_train & is_known).sum()),
        num_without=num_read - int(is_known.sum()), agreement=now, best_agreement=best,
        map_of=source.name if source is not None else None)


def prediction_lines(done: ImportedPredictions, classes: tuple[str, ...]) -> list[str]:
    """What was found in the file, a line each."""
    return [*match_lines(done.match, done.file, done.num_samples, "predictions"), *_column_lines(done, classes),
            f"they name the given label for {done.agreement:.1%} of the training samples",
            f"map and neighbours of run {done.map_of}" if done.map_of else
            "no map and no neighbours, which Triage needs: make features first, or name a run with --map-of"]


def _column_lines(done: ImportedPredictions, classes: tuple[str, ...]) -> list[str]:
    """What is to be said of the columns."""
    lines = []
    if done.columns.is_reordered:
        lines.append("the columns are in another order than the project's classes: matched by name")
    if not done.columns.are_named:
        lines.append(f"columns without names: taken in the project's order, {', '.join(classes[:12])}"
                     f"{' ...' if len(classes) > 12 else ''}")
    if done.columns.left_out:
        lines.append(f"columns that are no class were left out: {', '.join(done.columns.left_out[:12])}")
    if done.num_without:
        lines.append(f"{done.num_without:,} rows are NaN: no prediction")
    if done.best_agreement > done.agreement + MARKED_GAIN:
        lines.append(f"with the classes in another order they would agree with {done.best_agreement:.1%} of the given "
                     f"labels, now with {done.agreement:.1%}: check the order of the columns")
    return lines


# -- the run


def _write(project: Project, run: RunDir, rows: pd.DataFrame, is_train: np.ndarray, probs_MC: np.ndarray, path: Path,
           source: RunDir | None) -> None:
    """The run's files; its folder appears whole."""
    staged = RunDir(temporary_beside(run.path))
    try:
        staged.path.mkdir(parents=True)
        if project.decisions_path.exists():
            shutil.copyfile(project.decisions_path, staged.decisions_path)
        config = RunConfig(method=METHOD, embedding="none")
        document: RunDocument = {
            "config": config.to_dict(), "name": run.name, "method": METHOD, "created": time.time(),
            "project": project.name, "versions": {name: version(name) for name in ("numpy", "pandas")},
            "manifest_digest": file_digest(project.path / MANIFEST_NAME),
            "decisions_digest": file_digest(staged.decisions_path),
            "num_decisions": len(read_decisions(staged.decisions_path)),
            "imported_file": path.name, "imported_digest": file_digest(path),
            "map_of": source.name if source is not None else None}
        train, probs_NC = rows[is_train].reset_index(drop=True), probs_MC[is_train]
        labels, roles, reasons = _under_decisions(train, read_decisions(staged.decisions_path), project.classes)
        signals = signals_of(probs_NC, labels, train["sample_id"].to_numpy(dtype=object), roles, reasons,
                             project.classes)
        staged.write_history(1, history_of(signals))
        staged.write_probabilities(probs_NC)
        staged.write_probabilities(probs_NC, "label_head")
        staged.write_signals(signals)
        staged.write_predictions(_predictions(rows[~is_train], probs_MC[~is_train], project.classes))
        if source is not None:
            for file in (source.neighbours_path, source.path / "embedding.parquet"):
                if file.exists():
                    shutil.copyfile(file, staged.path / file.name)
        staged.write_status(state="done", stage="imported", message="", epoch=1, num_epochs=1, error=None,
                            started=time.time(), heartbeat=time.time(), eta_seconds=0.0)
        staged.log(f"predictions imported from {path.name}")
        staged.write_config(document)
        staged.path.rename(run.path)
    finally:
        shutil.rmtree(staged.path, ignore_errors=True)


def _under_decisions(train: pd.DataFrame, decisions: pd.DataFrame,
                     classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the train split: codes of the labels in force, positions in ROLES and ROLE_REASONS."""
    decided = decisions.set_index("sample_id").reindex(train["sample_id"])
    pin, is_excluded = decided["pin"].to_numpy(dtype=object), decided["excluded"].eq(True).to_numpy(dtype=bool)
    relabel = pd.Series(decided["label"].to_numpy(dtype=object), index=train.index)
    labels = _codes(relabel.where(relabel.notna(), train["given_label"]), classes)
    reasons = np.full(len(train), "trains", dtype=object)
    reasons[pin == "train"], reasons[pin == "validation"] = "pinned_train", "pinned_validation"
    reasons[labels < 0], reasons[is_excluded] = "excluded_unlabelled", "excluded_decision"
    roles = np.where(is_excluded | (labels < 0), ROLES.index("excluded"),
                     np.where(pin == "validation", ROLES.index("validation"), ROLES.index("train")))
    return labels, roles, reasons


def _predictions(rows: pd.DataFrame, probs: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """predictions.parquet: samples outside split train that have a label and a prediction."""
    labels = _codes(rows["given_label"], classes)
    margins = label_margins(probs, labels)
    kept = np.isfinite(margins)
    names = np.asarray(classes, dtype=object)
    group = rows["group"].to_numpy(dtype=object)[kept] if "group" in rows else None
    frame = pd.DataFrame({
        **{name: rows[name].to_numpy(dtype=object)[kept] for name in ("sample_id", "split")},
        "label": names[labels[kept]], "prediction": names[probs[kept].argmax(axis=1)], "margin": margins[kept],
        "group": group})
    return frame.astype({"sample_id": "string", "split": "string", "label": "string", "prediction": "string",
                         "margin": "float32", "group": "string"})


def _codes(labels: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    """(n,) int64 positions in classes; -1 for null or no class."""
    return pd.Index(list(classes), dtype=object).get_indexer(pd.Index(labels, dtype=object)).astype(np.int64)


def _newest_map(project: Project) -> RunDir | None:
    """The newest finished run of a method on features alone that has neighbours, on the manifest as it is."""
    digest = file_digest(project.path / MANIFEST_NAME)
    for run in list_runs(project.path):
        document = run.read_config()
        own = METHODS.get(document.get("method", ""))
        if own is not None and own.is_head_only and document.get("manifest_digest") == digest \
                and run.neighbours_path.exists():
            return run
    return None


def _check_map(project: Project, source: RunDir) -> None:
    if not source.neighbours_path.exists():
        raise EvidenceError(f"a map is taken from a run that has one; {source.name!r} has no neighbours; choose "
                            "another")
    if source.read_config().get("manifest_digest") != file_digest(project.path / MANIFEST_NAME):
        raise EvidenceError(f"a map is taken from a run on the same data; the manifest changed since "
                            f"{source.name!r}; choose another")


def _agreement(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> tuple[float, float]:
    """Share of predictions equal to the labels, and the largest that an exchange of classes could make of it."""
    from scipy.optimize import linear_sum_assignment

    counts = np.bincount(labels * num_classes + predicted, minlength=num_classes**2).reshape(num_classes, num_classes)
    rows, columns = linear_sum_assignment(-counts)
    num = max(len(labels), 1)
    return float(counts.trace() / num), float(counts[rows, columns].sum() / num)
