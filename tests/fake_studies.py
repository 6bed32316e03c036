"""Complete, plausible studies made without training, through StudyDir's own writers: what tests of the app stand on."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from engine.contract.manifest import read_info
from engine.contract.methods import METHODS
from engine.contract.processes import process_start
from engine.contract.study_dir import Arm, StudyDir
from engine.contract.study_plan import config_of, not_controlled
from tests.fakes import GROUPS


def make_study(project: str | Path, name: str = "methods", arms: tuple[str, ...] = ("erm", "molere", "lrw_random"),
               num_seeds: int = 3, state: str = "done", gain: float = 0.03, failed: tuple[str, ...] = (),
               groups: tuple[str, ...] = GROUPS, error: str = "FloatingPointError: a loss is not finite") -> StudyDir:
    """A study of synthetic figures: each arm after the first, the reference, has `gain` more test accuracy.

    done: every run ended. running claims to be this very process, interrupted a process that is gone; both, like
    cancelled, lack the last seed's runs. failed: arms whose last seed failed, with that error. groups: () for none.
    """
    study = StudyDir.of(Path(getattr(project, "path", project)), name)
    plan = {"arms": [Arm(name=arm, settings={"method": arm}).to_dict() for arm in arms], "name": name,
            "seeds": list(range(num_seeds)), "settings": {"epochs": 4}, "reference": arms[0], "project": "fake",
            "versions": {"torch": "fake"}, "code_revision": "fake", "hardware": "fake", "manifest_digest": "fake"}
    study.write_plan({**plan, "not_controlled": not_controlled(plan)})
    classes = list(read_info(study.path.parents[1]).classes)
    seeds = plan["seeds"] if state == "done" else plan["seeds"][:-1]
    for i, arm in enumerate(arms):
        for seed in seeds:
            config = config_of(Arm(name=arm, settings={"method": arm}), plan["settings"], seed).to_dict()
            row = {"arm": arm, "seed": seed, "error": None, "settings": plan["arms"][i], "config": config,
                   "decisions_digest": "", "manifest_digest": "fake", "code_revision": "fake", "finished": time.time()}
            if arm in failed and seed == seeds[-1]:
                study.write_row({**row, "state": "failed", "error": error, "method": arm})
            else:
                figures, margins = _study_figures(arm, seed, gain if i else 0.0, classes, groups)
                study.write_row({**row, "state": "done", **figures}, margins)
    _write_study_status(study, state, len(arms), len(seeds), num_seeds)
    return study


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
             "effective_sample_size": [1.0] * 4, "guard_wrong_share": [None] * 4,
             "clean_accuracy": [0.5, 0.6, 0.7, 0.8]}
    margins = np.clip(np.linspace(-0.9, 0.95, 40) + gain + rng.normal(0, 0.02, 40), -1, 1)
    return {"method": arm, "test_accuracy": accuracy, "balanced_accuracy": accuracy - 0.02,
            "worst_class_accuracy": min(by_class.values()),
            "worst_group_accuracy": min(by_group.values(), default=None),
            "worst_group": groups[-1] if groups else None, "class_accuracies": by_class, "group_accuracies": by_group,
            "effective_sample_size": 0.8 if has_weights else 1.0, "guard_wrong_share": 0.1 if is_learned else None,
            "weight_right": 1.1 if has_weights else 1.0, "weight_wrong": 0.6 if has_weights else 1.0,
            "seconds": 8.0 + 4.0 * is_learned, "ranking_seconds": 0.0, "cpu_seconds": 8.0, "epochs": 4, "device": "cpu",
            "curve": curve}, margins


def _write_study_status(study: StudyDir, state: str, num_arms: int, num_ended: int, num_seeds: int) -> None:
    """status.json as the engine writes it; interrupted is a running one whose process is gone."""
    now, is_running = time.time(), state in ("running", "interrupted")
    running = [{"arm": study.read_plan()["arms"][0]["name"], "seed": num_seeds - 1,
                "message": "epoch 2 of 4, step 1 of 5"}]
    study.write_status(
        state="running" if is_running else state, done=num_arms * num_ended, failed=0, total=num_arms * num_seeds,
        running=running if is_running else [], eta_seconds=75.0 if is_running else 0.0, started=now - 10, heartbeat=now,
        pid=os.getpid() if is_running else None, error="OSError: disk full" if state == "failed" else None,
        pid_started=0.0 if state == "interrupted" else process_start(os.getpid()) if is_running else None)
