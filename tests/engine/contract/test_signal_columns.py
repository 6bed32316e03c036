"""signals.parquet holds what its definition says, whoever wrote it: the engine, the fakes, an older version."""

import numpy as np
import pandas as pd
import pytest

from engine.contract.config import RunConfig
from engine.contract.methods import METHODS, TRAINABLE
from engine.contract.older_runs import event_of, upgraded
from engine.contract.run_dir import RunDir
from engine.contract.signal_columns import COLUMNS, ROLE_REASONS, SIGNAL_COLUMNS
from engine.runs.train import train
from tests.fake_features import make_features
from tests.fakes import make_project, make_run

FAST = {"epochs": 4, "batch_size": 16, "embedding": "none", "device": "cpu", "num_threads": 1}


def breaches(signals: pd.DataFrame) -> list[str]:
    """What a table says that the definition does not allow, a line each."""
    found = [] if tuple(signals.columns) == SIGNAL_COLUMNS else [f"columns {list(signals.columns)}"]
    for name, column in COLUMNS.items():
        values = signals[name]
        is_kind = {"text": pd.api.types.is_string_dtype, "flag": pd.api.types.is_bool_dtype,
                   "number": lambda dtype: dtype == np.float32, "count": pd.api.types.is_integer_dtype}[column.kind]
        found += [f"{name} is {values.dtype}"] * (not is_kind(values.dtype))
        found += [f"{name} has nulls"] * (bool(values.isna().any()) and not column.is_nullable)
        known = values.dropna()
        found += [f"{name} below {column.low}"] * (column.low is not None and bool((known < column.low).any()))
        found += [f"{name} above {column.high}"] * (column.high is not None and bool((known > column.high).any()))
        found += [f"{name} has {set(known) - set(column.choices)}"] * (
            bool(column.choices) and not set(known) <= set(column.choices))
    return found


@pytest.mark.parametrize("method", TRAINABLE)
def test_the_engine_writes_what_is_defined(tmp_path, method):
    project = make_project(tmp_path / "p", size=8)
    (project / "images" / "train" / "00004.png").write_bytes(b"no image")
    inputs = {"network": "tiny"}
    if METHODS[method].is_head_only:
        make_features(project, missing=("train-00004",))
        inputs = {"features": "own"}
    run = train(RunConfig(method=method, **FAST, **inputs), project, "first")
    signals = run.read_signals()
    assert breaches(signals) == []
    assert signals.loc[signals["role"] == "excluded", "role_reason"].tolist() == ["excluded_unreadable"]
    numbers = [name for name, column in COLUMNS.items() if column.kind == "number"]
    assert signals.loc[signals["role"] == "excluded", numbers].isna().all(axis=None)


def test_the_fakes_do(tmp_path):
    assert breaches(make_run(make_project(tmp_path / "p")).read_signals()) == []


def test_a_table_that_breaks_the_definition_is_told(tmp_path):
    signals = make_run(make_project(tmp_path / "p")).read_signals()
    assert breaches(signals.assign(margin=np.float32(2.0))) == ["margin above 1.0"]
    assert breaches(signals.assign(role_reason=pd.array(["because"] * 60, "string"))) == ["role_reason has {'because'}"]
    assert breaches(signals.assign(is_resting=1)) == ["is_resting is int64"]


WHY = {
    "": "trains",
    "kept in training by coverage: too many of its neighbours are in validation": "kept_by_coverage",
    "withheld by the guard: held-out predictions confidently say cat": "withheld_disputed",
    "withheld by the guard: held-out predictions do not support its label": "withheld_unsupported",
    "withheld by the guard: it has no held-out prediction yet": "withheld_unknown",
    "rests this epoch by rotation, to collect a held-out prediction": "rests",
    "routed by a random split": "routed_random",
    "routed by the splitter: among the lowest p_train of its class; trained on since epoch 5": "routed_learned",
    "routed by rank: among the lowest cross-fitted margins of its class": "routed_hard",
    "routed by rank: among the highest cross-fitted margins of its class": "routed_easy",
    "pinned to validation; the splitter alone gives it p_train 0.83": "pinned_validation",
    "pinned to training": "pinned_train",
}
OUT = {"excluded by decision": "excluded_decision", "no usable label": "excluded_unlabelled",
       "unreadable image: cannot identify": "excluded_unreadable"}


def test_the_sentences_of_older_code_are_read_as_the_reasons_they_were(tmp_path):
    num = len(WHY) + len(OUT)
    assert num == len(ROLE_REASONS) and {*WHY.values(), *OUT.values()} == set(ROLE_REASONS)
    signals = make_run(make_project(tmp_path / "p", num_train=num)).read_signals()
    reasons = [*WHY.values(), *OUT.values()]
    roles = ["excluded" if r.startswith("excluded") else "validation" if r.startswith(("routed", "rests")) or
             r == "pinned_validation" else "train" for r in reasons]
    older = signals.drop(columns=["role_reason", "is_resting", "p_train_unpinned"]).rename(
        columns={"mean_margin": "aum"}).assign(why=pd.array([*WHY, *OUT], "string"), role=pd.array(roles, "string"))
    routed = np.array([r.startswith("routed") or r == "pinned_validation" for r in reasons])
    now = upgraded(older, routed)
    assert breaches(now) == [] and now["role_reason"].tolist() == reasons
    assert now["is_resting"].tolist() == [r == "rests" for r in reasons]
    assert now["p_train_unpinned"].dropna().tolist() == [np.float32(0.83)]
    assert now["mean_margin"].equals(signals["mean_margin"])


@pytest.mark.parametrize(("said", "event"), [
    ("empty validation: no sample was routed, so weights were not updated", {"kind": "empty_validation"}),
    ("churning: 62% of the routed samples are new since the epoch before", {"kind": "churning", "share": 0.62}),
    ("early stopping: went back to the classifier of epoch 7, validation accuracy 0.912",
     {"kind": "went_back", "epoch": 7, "accuracy": 0.912}),
    ("weights were held near 1: margins lie in one heap (bimodality 0.38, below 0.45), so the classifier cannot tell "
     "wrong labels from hard ones yet", {"kind": "weights_held", "bimodality": 0.38, "threshold": 0.45}),
    ("weights collapse onto a few samples: effective sample size 0.21 apart from class sizes",
     {"kind": "weights_collapse", "effective_sample_frac": 0.21}),
    ("something that no version wrote", None),
    ({"kind": "one_class"}, {"kind": "one_class"}),
])
def test_the_events_of_older_code_are_read_as_facts(said, event):
    assert event_of(said) == event


def test_an_older_run_reads_as_todays(tmp_path, monkeypatch):
    run = make_run(make_project(tmp_path / "p"))
    signals = run.read_signals()
    older = signals.drop(columns=["role_reason", "is_resting", "p_train_unpinned"]).rename(
        columns={"mean_margin": "aum"}).assign(why=pd.array([""] * len(signals), "string"))
    older.to_parquet(run.signals_path, index=False)
    now = RunDir(run.path).read_signals()
    assert breaches(now) == [] and now["is_resting"].tolist() == signals["is_resting"].tolist()
