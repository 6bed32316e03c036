"""Complete, plausible studies made without training, through StudyDir's own writers: what tests of the app stand on."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine.contract.disk.processes import process_start
from engine.contract.manifest import read_info
from engine.contract.methods import METHODS
from engine.contract.studies.study_dir import StudyDir, StudyDocument
from engine.contract.studies.study_plan import Arm, StudyPlan, config_of
from tests.fakes import GROUPS

EVIL = "</script><img src=x onerror=alert(1)>"
"""A name that would be markup."""


def make_study(project: str | Path, name: str = "methods", arms: tuple[str, ...] = ("erm", "molere", "lrw_random"),
               num_seeds: int = 3, state: str = "done", gain: float = 0.03, failed: tuple[str, ...] = (),
               groups: tuple[str, ...] = GROUPS, error: str = "FloatingPointError: a loss is not finite") -> StudyDir:
    """A study of synthetic figures: each arm after the first, the reference, has `gain` more test accuracy.

    done: every run ended. running claims to be this very process, interrupted a process that is gone; both, like
    cancelled, lack the last seed's runs. failed: arms whose last seed failed, with that error. groups: () for none.
    """
    study = StudyDir.of(Path(getattr(project, "path", project)), name)
    plan = StudyPlan(arms=tuple(map(Arm.of_method, arms)), seeds=tuple(range(num_seeds)), settings={"epochs": 4},
                     reference=arms[0])
    study.write_document(document_of(plan, name))
    classes = list(read_info(study.path.parents[1]).classes)
    seeds = plan.seeds if state == "done" else plan.seeds[:-1]
    for i, arm in enumerate(arms):
        for seed in seeds:
            row = {"arm": arm, "seed": seed, "error": None, "settings": plan.arms[i].to_dict(),
                   "config": config_of(plan.arms[i], plan.settings, seed).to_dict(), "decisions_digest": "",
                   "manifest_digest": "fake", "code_revision": "fake", "finished": time.time()}
            if arm in failed and seed == seeds[-1]:
                study.write_row({**row, "state": "failed", "error": error, "method": arm})
            else:
                figures, margins = _study_figures(arm, seed, gain if i else 0.0, classes, groups)
                study.write_row({**row, "state": "done", **figures}, margins)
    _write_study_status(study, state, plan, len(seeds))
    return study


def row(arm: str, seed: int, accuracy: float | None, **more: Any) -> dict[str, Any]:
    """A row of few figures, one class of it EVIL."""
    base = {"arm": arm, "seed": seed, "state": "done", "error": None, "test_accuracy": accuracy, "seconds": 2.0,
            "ranking_seconds": 0.0, "settings": {"name": arm}, "config": {"validation": None}, "decisions_digest": "",
            "manifest_digest": "d", "code_revision": "abc", "device": "cpu",
            "class_accuracies": {"cat": 0.5, EVIL: 0.25}, "group_accuracies": {},
            "curve": {"churn": [None, 0.5], "validation_loss": [None, 1.0], "rest_loss": [1.0, None]}}
    return base | more


def rows_by_hand() -> pd.DataFrame:
    """erm on four seeds, better on three and one that failed, lone on one."""
    erm = [row("erm", s, a) for s, a in enumerate((0.60, 0.62, 0.61, 0.65))]
    better = [row("better", s, a, seconds=3.0, ranking_seconds=1.0, effective_sample_frac=0.5 + s / 10)
              for s, a in enumerate((0.70, 0.73, 0.70))]
    failed = [row("better", 3, None, state="failed", error="boom"), row("lone", 0, 0.4)]
    return pd.DataFrame([*erm, *better, *failed])


def study_by_hand(project: Path) -> StudyDir:
    """A study directory of those rows, with margins; its project, hardware and an error are EVIL."""
    study = StudyDir.of(project, "made")
    plan = StudyPlan(arms=tuple(Arm(name=name, settings={"method": "erm"}) for name in ("erm", "better", "lone")),
                     seeds=(0, 1, 2, 3), reference="erm")
    study.write_document(document_of(plan, "made", True, project=EVIL, hardware=EVIL))
    for line in rows_by_hand().to_dict("records"):
        error = EVIL if line["state"] == "failed" else None
        study.write_row({**line, "error": error}, np.linspace(-0.9, 0.9, 20) + 0.01 * line["seed"])
    return study


def document_of(plan: StudyPlan, name: str, is_tuned_here: bool | None = None, **changes: Any) -> StudyDocument:
    """study.json of a plan, all else made up."""
    return StudyDocument(**({
        "plan": plan, "name": name, "project": "fake", "created": 1.0, "updated": 2.0, "is_tuned_here": is_tuned_here,
        "versions": {"torch": "fake"}, "code_revision": "fake", "hardware": "fake", "manifest_digest": "fake"}
        | changes))


def _study_figures(arm: str, seed: int, gain: float, classes: list[str],
                   groups: tuple[str, ...]) -> tuple[dict[str, Any], np.ndarray]:
    """A row's figures and (40,) margins: accuracy wobbles by seed, and by arm and seed a tenth of that."""
    rng = np.random.default_rng([seed, sum(map(ord, arm))])
    accuracy = 0.8 + 0.01 * seed + gain + float(rng.normal(0, 0.001))
    by_class = {name: accuracy - 0.02 * i for i, name in enumerate(classes)}
    by_group = {name: accuracy - 0.1 * i for i, name in enumerate(groups)}
    is_learned = METHODS[arm].validation == "learned"
    has_weights = METHODS[arm].weights != "uniform"
    curve = {"train_loss": [1.0, 0.8, 0.6, 0.5], "churn": [None, 0.5, 0.3, 0.1] if is_learned else [None] * 4,
             "validation_loss": [None, 1.4, 1.2, 1.1] if is_learned else [None] * 4,
             "rest_loss": [1.1, 0.9, 0.8, 0.7] if is_learned else [None] * 4,
             "effective_sample_frac": [1.0] * 4, "guard_wrong_share": [None] * 4,
             "clean_accuracy": [0.5, 0.6, 0.7, 0.8]}
    margins = np.clip(np.linspace(-0.9, 0.95, 40) + gain + rng.normal(0, 0.02, 40), -1, 1)
    return {"method": arm, "test_accuracy": accuracy, "balanced_accuracy": accuracy - 0.02,
            "worst_class_accuracy": min(by_class.values()),
            "worst_group_accuracy": min(by_group.values(), default=None),
            "worst_group": groups[-1] if groups else None, "class_accuracies": by_class, "group_accuracies": by_group,
            "effective_sample_frac": 0.8 if has_weights else 1.0, "guard_wrong_share": 0.1 if is_learned else None,
            "weight_right": 1.1 if has_weights else 1.0, "weight_wrong": 0.6 if has_weights else 1.0,
            "seconds": 8.0 + 4.0 * is_learned, "ranking_seconds": 0.0, "cpu_seconds": 8.0, "epochs": 4, "device": "cpu",
            "curve": curve}, margins


def _write_study_status(study: StudyDir, state: str, plan: StudyPlan, num_ended: int) -> None:
    """status.json as the engine writes it; interrupted is a running one whose process is gone."""
    now, is_running = time.time(), state in ("running", "interrupted")
    running = [{"arm": plan.arms[0].name, "seed": plan.seeds[-1], "message": "epoch 2 of 4, step 1 of 5"}]
    study.write_status(
        state="running" if is_running else state, done=len(plan.arms) * num_ended, failed=0, total=plan.num_runs,
        running=running if is_running else [], eta_seconds=75.0 if is_running else 0.0, started=now - 10, heartbeat=now,
        pid=os.getpid() if is_running else None, error="OSError: disk full" if state == "failed" else None,
        pid_started=0.0 if state == "interrupted" else process_start(os.getpid()) if is_running else None)
