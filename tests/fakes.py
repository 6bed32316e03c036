"""Small real projects and complete, plausible runs made without training: what tests of curation and views stand on.

The files are written through the contracts' own writers, so a fake that drifts from a contract fails at once.
"""

import io
import json
import os
import shutil
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from engine.contract.config import RunConfig
from engine.contract.disk.processes import process_start
from engine.contract.manifest import (
    DECISIONS_NAME,
    MANIFEST_NAME,
    ManifestInfo,
    file_digest,
    manifest_schema,
    read_decisions,
    read_info,
    read_manifest,
)
from engine.contract.methods import METHODS
from engine.contract.run_dir import HISTORY_DTYPE, RunDir
from engine.contract.signal_columns import ROLES, SIGNAL_COLUMNS
from tests.databases import new_database

GROUPS = ("day", "night")


def make_project(path: str | Path, num_train: int = 60, num_clean: int = 12, num_test: int = 12,
                 classes: tuple[str, ...] = ("cat", "dog", "bird"), size: int = 16) -> Path:
    """A project of small PNGs at `path`; every tenth training sample has a wrong given_label. Returns its path.

    Images lie under images/SPLIT/ as NUMBER.png; sample ids read train-00000; each class has a colour of its own.
    """
    project = Path(path)
    splits = {"train": num_train, "clean": num_clean, "test": num_test}
    pictures = iter(_pictures(tuple(splits.values()), len(classes), size))
    rows: list[dict[str, Any]] = []
    for split, count in splits.items():
        (project / "images" / split).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            true_idx = i % len(classes)
            is_wrong = split == "train" and i % 10 == 7 and len(classes) > 1
            given_idx = (true_idx + 1) % len(classes) if is_wrong else true_idx
            file = f"{split}/{i:05d}.png"
            (project / "images" / file).write_bytes(next(pictures))
            rows.append({"sample_id": f"{split}-{i:05d}", "path": file, "given_label": classes[given_idx],
                         "split": split, "clean_label": classes[true_idx], "group": GROUPS[i % 5 == 0]})
    write_manifest(project, pd.DataFrame(rows), classes, root="images")
    details = {"name": project.name, "source": "fake", "created": time.time()}
    if (database := new_database()) is not None:
        details["ledger"] = database
    (project / "project.json").write_text(json.dumps(details))
    return project


def write_manifest(project: Path, rows: pd.DataFrame, classes: tuple[str, ...], root: str) -> None:
    """manifest.parquet of `rows`, as an import would write it."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    info = ManifestInfo(classes=tuple(classes), root=root, source="fake")
    pq.write_table(table.cast(manifest_schema(table.schema, info)), project / MANIFEST_NAME)


def make_run(project: str | Path, name: str = "first", epochs: int = 4, seed: int = 0, method: str = "molere",
             state: str = "done", num_neighbors: int = 10) -> RunDir:
    """A contract-2 directory of synthetic values, trained "under" the project's present decisions.

    done has everything; running, failed and cancelled stop half-way, without embedding and predictions; queued has
    its config and status alone. As the engine has it: pins, exclusions and relabels hold in the signals; role is
    validation for all who were held out, routed or resting; signals of excluded samples are null.
    """
    project = Path(getattr(project, "path", project))
    features = "own" if METHODS[method].is_head_only else None
    config = RunConfig(method=method, seed=seed, epochs=epochs, features=features)
    epochs = config.epochs  # one, of methods that do not train
    run = RunDir.of(project, name)
    run.path.mkdir(parents=True, exist_ok=True)
    if (project / DECISIONS_NAME).exists():
        shutil.copyfile(project / DECISIONS_NAME, run.decisions_path)
    run.write_config({
        "config": config.to_dict(), "name": name, "method": method, "created": time.time(), "project": project.name,
        "versions": {"torch": "fake"}, "code_revision": "fake", "manifest_digest": file_digest(project / MANIFEST_NAME),
        "decisions_digest": file_digest(run.decisions_path), "num_decisions": len(read_decisions(run.decisions_path)),
        "hardware": "fake",
    })
    num_done = {"done": epochs, "queued": 0}.get(state, max(1, epochs // 2))
    _write_status(run, state, num_done, epochs)
    if num_done:
        rows, decided = _training_rows(project, run)
        record = _record(rows, decided, config, num_done, list(read_info(project).classes))
        for epoch in range(1, num_done + 1):
            run.write_history(epoch, record["history"][epoch - 1])
        run.write_signals(record["signals"])
        run.write_metrics(_metrics(record, rows, config, num_done))
    if state == "done":
        _write_map(run, record["signals"], rows, num_neighbors, np.random.default_rng(seed))
        run.write_predictions(_predictions(project, seed))
    run.log(f"{name}: {state}")
    return run


@lru_cache(maxsize=8)
def _pictures(counts: tuple[int, ...], num_classes: int, size: int) -> list[bytes]:
    """PNG files of all splits one after another: hundreds of tests ask for the same ones."""
    rng = np.random.default_rng(0)
    return [_drawn(i % num_classes, num_classes, size, rng) for count in counts for i in range(count)]


def _drawn(class_idx: int, num_classes: int, size: int, rng: np.random.Generator) -> bytes:
    """A noisy square in the class's own colour."""
    colour = np.array([40 + 200 * class_idx // max(num_classes - 1, 1), 120, 220 - 180 * class_idx // num_classes])
    pixels = np.clip(colour + rng.normal(0, 25, (size, size, 3)), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _training_rows(project: Path, run: RunDir) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training rows of the manifest, and the decisions on each of them (pin, excluded, label) in the same order."""
    rows = read_manifest(project).query("split == 'train'").reset_index(drop=True)
    decisions = read_decisions(run.decisions_path).set_index("sample_id").reindex(rows["sample_id"])
    decided = pd.DataFrame({
        "pin": decisions["pin"].astype(object).to_numpy(), "label": decisions["label"].astype(object).to_numpy(),
        "excluded": decisions["excluded"].eq(True).to_numpy(),
    })
    return rows, decided


def _record(rows: pd.DataFrame, decided: pd.DataFrame, config: RunConfig, num_epochs: int,
            classes: list[str]) -> dict[str, Any]:
    """signals and history that fit together: hard samples have low margins, wrong labels the lowest."""
    rng = np.random.default_rng(config.seed)
    n = len(rows)
    label = decided["label"].where(decided["label"].notna(), rows["given_label"]).to_numpy(dtype=object)
    truth = rows["clean_label"].to_numpy(dtype=object)
    is_wrong, excluded = label != truth, decided["excluded"].to_numpy()
    values = {"margin": np.clip(rng.normal(0.5, 0.25, n) - 1.0 * is_wrong, -1, 1), "weight": np.ones(n),
              "p_train": np.full(n, np.nan)}
    if METHODS[config.method].weights not in ("uniform", "rho"):
        values["weight"] = np.clip(1 + rng.normal(0, 0.2, n) - 0.4 * is_wrong, 0.3, 1.7)
    if config.method == "molere":
        values["p_train"] = np.clip(0.5 + 0.4 * values["margin"] + rng.normal(0, 0.05, n), 0, 1)
    if METHODS[config.method].is_head_only:
        values["weight"] = np.full(n, np.nan)
    routed = _route(values["margin"], label, is_wrong, decided, config, classes)
    history = _history(values, routed, excluded, config, num_epochs, rng)
    is_resting = (history[-1]["role"] == ROLES.index("validation")) & ~routed
    pin = decided["pin"].to_numpy(dtype=object)
    reason = np.select([excluded, pin == "validation", pin == "train", routed, is_resting, is_wrong],
                       ["excluded_decision", "pinned_validation", "pinned_train", "routed_learned", "rests",
                        "withheld_disputed"], "trains")
    heldout_epochs = (history["role"] == ROLES.index("validation")).sum(axis=0)
    if METHODS[config.method].is_head_only:
        heldout_epochs = (~excluded).astype(int)  # in training, and yet judged out of fold
    quality = np.where(heldout_epochs > 0, (values["margin"] + 1) / 2, np.nan)
    suggested = np.where(excluded, None, np.where(is_wrong, truth, label))
    numbers = {**values, "p_train_unpinned": np.where(pd.isna(pin), np.nan, values["p_train"]),
               "route_share": history["routed"].mean(axis=0), "mean_margin": values["margin"],
               "heldout_margin": np.where(heldout_epochs > 0, values["margin"] - 0.1, np.nan),
               "label_quality": quality, "loss": -np.log(np.clip((values["margin"] + 1) / 2, 1e-3, 1))}
    signals = pd.DataFrame({
        "sample_id": rows["sample_id"], "role": np.asarray(ROLES, dtype=object)[history[-1]["role"]],
        "role_reason": reason, "is_resting": is_resting & ~excluded,
        **{name: np.where(excluded, np.nan, value).astype(np.float32) for name, value in numbers.items()},
        "heldout_epochs": heldout_epochs, "forgetting": rng.integers(0, 3, n), "suggested_label": suggested,
        "predicted_label": suggested,
    })[list(SIGNAL_COLUMNS)]
    texts = ["sample_id", "role", "role_reason", "suggested_label", "predicted_label"]
    return {"signals": signals.astype(dict.fromkeys(texts, "string")), "history": history, "is_wrong": is_wrong}


def _route(margin: np.ndarray, label: np.ndarray, is_wrong: np.ndarray, decided: pd.DataFrame, config: RunConfig,
           classes: list[str]) -> np.ndarray:
    """The lowest margins of each class, wrong labels withheld as a perfect guard would, under the pins."""
    excluded, pin = decided["excluded"].to_numpy(), decided["pin"].to_numpy(dtype=object)
    routed = np.zeros(len(margin), dtype=bool)
    if config.validation_source not in ("none", "proxy"):
        for name in classes:
            members = np.flatnonzero((label == name) & ~excluded & ~is_wrong)
            take = max(1, round(config.val_fraction * len(members))) if len(members) else 0
            routed[members[np.argsort(margin[members])[:take]]] = True
    is_routed: np.ndarray = (routed | (pin == "validation")) & ~excluded & (pin != "train")
    return is_routed


def _history(values: dict[str, np.ndarray], routed: np.ndarray, excluded: np.ndarray, config: RunConfig,
             num_epochs: int, rng: np.random.Generator) -> np.ndarray:
    """(epochs, N) of HISTORY_DTYPE; a random eighth rests each epoch, the last one included."""
    n = len(routed)
    history = np.zeros((num_epochs, n), dtype=HISTORY_DTYPE)
    for epoch in range(num_epochs):
        rests = (rng.integers(0, config.rotation_groups or 8, n) == 0) & (not METHODS[config.method].is_head_only)
        held_out = routed | rests
        history[epoch]["margin"] = np.clip(values["margin"] + rng.normal(0, 0.1, n), -1, 1)
        history[epoch]["p_train"] = values["p_train"]
        history[epoch]["weight"] = np.where(held_out | excluded, np.nan, values["weight"])
        history[epoch]["role"] = np.where(excluded, ROLES.index("excluded"), held_out)
        history[epoch]["routed"] = routed
    return history


def _metrics(record: dict[str, Any], rows: pd.DataFrame, config: RunConfig, num_done: int) -> list[dict[str, Any]]:
    """One line an epoch with falling losses and rising accuracy."""
    history, wrong = record["history"], record["is_wrong"]
    num_active = int((history[0]["role"] != ROLES.index("excluded")).sum())
    lines = []
    for epoch in range(1, num_done + 1):
        routed = history[epoch - 1]["routed"].astype(bool)
        weights = history[epoch - 1]["weight"].astype(float)
        trained = ~np.isnan(weights)
        lines.append({
            "epoch": epoch, "seconds": 1.5, "lr": config.peak_lr() * (1 - epoch / config.epochs),
            "train_loss": 1.1 * 0.8**epoch, "validation_loss": 1.3 * 0.9**epoch if routed.any() else None,
            "clean_accuracy": 0.9 - 0.5 * 0.7**epoch + 0.01 * config.seed,
            "test_accuracy": 0.85 + 0.01 * config.seed if epoch == config.epochs else None,
            "num_train": int(trained.sum()), "num_validation": num_active - int(trained.sum()),
            "num_routed": int(routed.sum()), "validation_share": float(routed.sum() / max(num_active, 1)),
            "churn": 0.0, "effective_sample_frac": float(weights[trained].sum() ** 2 / max(
                trained.sum() * (weights[trained] ** 2).sum(), 1e-9)) if trained.any() else None,
            "label_noise": 0.1, "weight_freedom": 1.0,
            "weight_min": float(weights[trained].min()) if trained.any() else None,
            "weight_max": float(weights[trained].max()) if trained.any() else None,
            "weight_mean_wrong": float(weights[trained & wrong].mean()) if (trained & wrong).any() else None,
            "weight_mean_right": float(weights[trained & ~wrong].mean()) if (trained & ~wrong).any() else None,
            "num_withheld": int(wrong.sum()),
            "guard_wrong_share": float(wrong[routed].mean()) if routed.any() else None,
            "unguarded_wrong_share": 0.6 if routed.any() else None, "coverage": 1.0 if routed.any() else None,
            "events": [] if routed.any() or config.validation_source in ("none", "proxy") else [
                {"kind": "empty_validation"}],
        })
    return lines


def _write_map(run: RunDir, signals: pd.DataFrame, rows: pd.DataFrame, k: int, rng: np.random.Generator) -> None:
    """Classes on a circle, each a blob; neighbours by distance in that plane."""
    codes = pd.factorize(rows["clean_label"])[0]
    angle = 2 * np.pi * codes / max(codes.max() + 1, 1)
    xy = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 4 + rng.normal(0, 0.8, (len(rows), 2))
    dists = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(dists, np.inf)
    indices = np.argsort(dists, axis=1)[:, :min(k, len(rows) - 1)]
    run.write_embedding(signals["sample_id"].to_numpy(), xy.astype(np.float32), indices,
                        np.take_along_axis(dists, indices, axis=1) / 10)


def _predictions(project: Path, seed: int) -> pd.DataFrame:
    """Predictions of the clean and test splits, one in six of them wrong."""
    rng = np.random.default_rng(seed + 1000)
    rows = read_manifest(project).query("split != 'train'").reset_index(drop=True)
    classes = list(read_info(project).classes)
    label = rows["clean_label"].fillna(rows["given_label"]).to_numpy()
    wrong = rng.random(len(rows)) < 1 / 6
    other = np.array([classes[(classes.index(name) + 1) % len(classes)] for name in label], dtype=object)
    margin = np.where(wrong, -rng.random(len(rows)), rng.random(len(rows)))
    group = rows["group"] if "group" in rows else pd.Series([None] * len(rows), dtype=object)
    return pd.DataFrame({"sample_id": rows["sample_id"], "split": rows["split"], "label": label,
                         "prediction": np.where(wrong, other, label), "margin": margin, "group": group})


def _write_status(run: RunDir, state: str, num_done: int, num_epochs: int) -> None:
    """status.json of a run in that state; a running one claims to be this very process."""
    now, is_running = time.time(), state == "running"
    run.write_status(
        state=state, stage="training" if is_running else ("reporting" if state == "done" else "preparing images"),
        message="", epoch=num_done, num_epochs=num_epochs, step=num_done * 10, num_steps=num_epochs * 10,
        samples_per_second=1000.0, eta_seconds=12.0 if is_running else 0.0, started=now - 10, heartbeat=now,
        pid=os.getpid() if is_running else None, pid_started=process_start(os.getpid()) if is_running else None,
        device="cpu", error="training diverged at step 12" if state == "failed" else "",
    )
