"""Two runs side by side: what they scored on data nobody curated, and what changed for each sample.

Figures of quality come from predictions.parquet alone: the splits clean and test, less any sample that was trained on
or decided about, since accuracy on a set that a person or a splitter chose says how it was chosen. Where a run used
the clean split for validation, that split's figures are marked as seen. A preview (a short training that began with
another run's classifier) never stands in a paired difference. Draws nothing; curation.experiments.effects has figures
over seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.experiments.repeats import flat
from curation.jobs.request import warm_start_of, weights_from_of
from curation.samples.table import routed_signals
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.manifest import read_decisions
from engine.contract.run_dir import ENDED, RunDir
from engine.contract.statistics.intervals import paired_interval
from engine.contract.statistics.measures import worst_group

SPLITS = ("clean", "test")
CHANGE_COLUMNS = ("role", "weight", "margin", "heldout_margin", "label_quality", "p_train")
EPOCH_FIGURES = ("train_loss", "validation_loss", "num_routed", "validation_share", "churn", "effective_sample_frac",
                 "num_withheld", "guard_wrong_share", "unguarded_wrong_share", "coverage")


class CompareError(UserError):
    """Two runs cannot be compared. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PairedDifference:
    """b minus a over runs paired by seed, with a 95% t interval of the mean."""

    figure: str
    seeds: tuple[int, ...]
    values_a: tuple[float, ...]
    values_b: tuple[float, ...]
    mean: float | None
    low: float | None
    high: float | None
    """Ends of the interval; None for fewer than two pairs."""
    note: str
    """What limits this comparison, in one line; "" where nothing does."""

    @property
    def num_pairs(self) -> int:
        return len(self.seeds)


def scored_predictions(run: RunDir) -> pd.DataFrame:
    """Predictions that quality may be measured on, with is_right; no rows before the run's end.

    Leaves out every sample that the run trained on or that its decisions are about.
    """
    predictions = run.read_predictions()
    if predictions is None:
        return pd.DataFrame({name: pd.Series(dtype="str") for name in ("sample_id", "split", "label", "prediction",
                             "group")} | {"margin": pd.Series(dtype=float), "is_right": pd.Series(dtype=bool)})
    touched = set(read_decisions(run.decisions_path)["sample_id"])
    if run.signals_path.exists():  # of a million trained samples those alone that were predicted as well: none or few
        trained = pq.read_table(run.signals_path, columns=["sample_id"])["sample_id"].cast(pa.string())
        both = pc.is_in(trained, value_set=pa.array(predictions["sample_id"], pa.string()))
        touched |= set(trained.filter(both).to_pylist())
    is_untouched = predictions["split"].isin(SPLITS) & ~predictions["sample_id"].isin(touched)
    rows = predictions[is_untouched].reset_index(drop=True)
    return rows.assign(is_right=rows["label"].eq(rows["prediction"]).fillna(False).to_numpy(dtype=bool))


def accuracy_table(a: RunDir, b: RunDir, by: str | None = None) -> pd.DataFrame:
    """Accuracy of both runs on the samples that both predicted, a row a split, or a row a split and class or group.

    by: None, "label" or "group". Columns: split, `by` (where given), num_samples, accuracy_a, accuracy_b, difference
    (b minus a, in [-1, 1]), is_seen (a run used this split for validation). Rows without a group are left out.
    """
    keys = ["split", *([by] if by else [])]
    pairs = common_predictions(a, b)
    grouped = pairs.dropna(subset=keys).groupby(keys, sort=True, observed=True)
    table = grouped.agg(num_samples=("is_right_a", "size"), accuracy_a=("is_right_a", "mean"),
                        accuracy_b=("is_right_b", "mean")).reset_index()
    seen = seen_splits(a) | seen_splits(b)
    return table.assign(difference=table["accuracy_b"] - table["accuracy_a"], is_seen=table["split"].isin(seen))


def worst_groups(a: RunDir, b: RunDir) -> pd.DataFrame:
    """Each run's worst group, a row a split: split, group_a, accuracy_a, group_b, accuracy_b, difference, is_seen.

    Groups are those of the data; where it has none, its classes (column kind: group or label). Those of fewer than
    SMALLEST_GROUP samples are left out.
    """
    rows: list[dict[str, object]] = []
    for kind in ("group", "label"):
        table = accuracy_table(a, b, by=kind)
        for split, part in table.groupby("split"):
            at = [worst_group(part[f"accuracy_{side}"].to_numpy(), part["num_samples"].to_numpy()) for side in "ab"]
            if at[0] is None or at[1] is None or any(row["split"] == split for row in rows):
                continue
            worst_a, worst_b = part.iloc[at[0]], part.iloc[at[1]]
            rows.append({"split": split, "kind": kind, "group_a": worst_a[kind], "accuracy_a": worst_a["accuracy_a"],
                         "group_b": worst_b[kind], "accuracy_b": worst_b["accuracy_b"],
                         "difference": worst_b["accuracy_b"] - worst_a["accuracy_a"], "is_seen": worst_a["is_seen"]})
    columns = ["split", "kind", "group_a", "accuracy_a", "group_b", "accuracy_b", "difference", "is_seen"]
    return pd.DataFrame(rows, columns=columns)


def epoch_figures(a: RunDir, b: RunDir) -> pd.DataFrame:
    """Figures of the last epoch that each run finished: figure, a, b, difference; null where one has none."""
    last = [metrics.iloc[-1] if len(metrics := run.read_metrics()) else pd.Series(dtype=float) for run in (a, b)]
    values = {side: pd.to_numeric(pd.Series([line.get(name) for name in EPOCH_FIGURES], dtype=object))
              for side, line in zip("ab", last, strict=True)}
    table = pd.DataFrame({"figure": EPOCH_FIGURES, **values})
    return table.assign(difference=table["b"] - table["a"])


def sample_changes(a: RunDir, b: RunDir) -> pd.DataFrame:
    """What changed for each training sample of both runs: sample_id, then NAME_a, NAME_b of CHANGE_COLUMNS, and
    role_changed, weight_change, margin_change (b minus a). Raises RunDirError where a run has no signals yet.

    role is validation for routed and pinned samples, not for those that rested in the last epoch.
    """
    left, right = (routed_signals(run)[["sample_id", *CHANGE_COLUMNS]] for run in (a, b))
    both = left.merge(right, on="sample_id", how="inner", suffixes=("_a", "_b"), validate="one_to_one")
    return both.assign(role_changed=both["role_a"].ne(both["role_b"]).to_numpy(dtype=bool),
                       weight_change=both["weight_b"] - both["weight_a"],
                       margin_change=both["margin_b"] - both["margin_a"])


def role_flow(changes: pd.DataFrame) -> pd.DataFrame:
    """Samples by role in a (rows) and in b (columns), from sample_changes."""
    return pd.crosstab(changes["role_a"], changes["role_b"]).rename_axis(index="a", columns="b")


def setting_differences(a: RunDir, b: RunDir) -> pd.DataFrame:
    """Settings that differ: setting, a, b (as text); weights_from, the run whose weights were taken, among them."""
    left, right = (flat(_config(run).to_dict()) | {"weights_from": weights_from_of(run)} for run in (a, b))
    rows = [(name, str(left[name]), str(right[name])) for name in left if left[name] != right[name]]
    return pd.DataFrame(rows, columns=["setting", "a", "b"])


def decision_differences(a: RunDir, b: RunDir) -> pd.DataFrame:
    """Samples whose decisions, as each run was trained under, differ: sample_id, pin_a, excluded_a, label_a, pin_b...
    """
    both = read_decisions(a.decisions_path).merge(read_decisions(b.decisions_path), on="sample_id", how="outer",
                                                  suffixes=("_a", "_b"))
    for side in "ab":
        both[f"excluded_{side}"] = both[f"excluded_{side}"].eq(True)
    is_same = np.ones(len(both), dtype=bool)
    for name in ("pin", "excluded", "label"):
        left, right = both[f"{name}_a"].astype(object), both[f"{name}_b"].astype(object)
        is_same &= (left.isna() & right.isna()).to_numpy() | left.eq(right).fillna(False).to_numpy(dtype=bool)
    return both[~is_same].reset_index(drop=True)


def cautions(a: RunDir, b: RunDir) -> list[str]:
    """What a reader must know before believing the comparison, one line each."""
    lines = [f"{run.name} is a preview: a short training that began with the classifier of {source}. It "
             "measures no effect and counts in no interval." for run in (a, b) if (source := warm_start_of(run))]
    for run in (a, b):
        if seen_splits(run):
            lines.append(f"{run.name} used the clean split for validation: accuracy on it is no fair figure.")
        if run.read_predictions() is None:
            lines.append(f"{run.name} ended without predictions." if run.read_status()["state"] in ENDED else
                         f"{run.name} has not ended, so it has no predictions yet.")
    documents = [run.read_config() for run in (a, b)]
    if documents[0].get("manifest_digest") != documents[1].get("manifest_digest"):
        lines.append("The data were imported again between the runs: only samples that both know are compared.")
    sets = [set(scored_predictions(run)["sample_id"]) for run in (a, b)]
    if all(sets) and sets[0] != sets[1]:
        lines.append(f"{len(sets[0] ^ sets[1]):,} clean or test samples that only one run predicted are left out.")
    differing = [name for name in setting_differences(a, b)["setting"] if name != "seed"]
    if len(differing) > 1 or (differing and len(decision_differences(a, b))):
        what = [*differing, *(["decisions"] if len(decision_differences(a, b)) else [])]
        lines.append(f"More than one thing differs ({', '.join(what)}), so the difference has no single cause.")
    if _config(a).seed != _config(b).seed:
        lines.append("The seeds differ, so part of the difference is chance.")
    return lines


def pairs_by_seed(runs_a: Sequence[RunDir], runs_b: Sequence[RunDir]) -> list[tuple[int, RunDir, RunDir]]:
    """(seed, a, b) of every seed that both sides have, ascending. Of several runs of one seed the newest counts;
    previews are left out."""
    sides = [{_config(run).seed: run for run in sorted(runs, key=_created) if warm_start_of(run) is None}
             for runs in (runs_a, runs_b)]
    return [(seed, sides[0][seed], sides[1][seed]) for seed in sorted(sides[0].keys() & sides[1].keys())]


def paired_difference(runs_a: Sequence[RunDir], runs_b: Sequence[RunDir], split: str = "test") -> PairedDifference:
    """Accuracy of b minus a on a split, over pairs of runs with one seed, with a 95% t interval.

    Of several runs of one seed the newest counts. Raises CompareError for a split that is neither clean nor test.
    """
    if split not in SPLITS:
        raise CompareError(f"runs are compared on one of {', '.join(SPLITS)}; got {split!r}; choose one of them")
    notes = []
    for runs in (runs_a, runs_b):
        if len({_config(run).seed for run in runs}) < len(runs):
            notes.append("of several runs of one seed the newest counts")
    if any(warm_start_of(run) for run in (*runs_a, *runs_b)):
        notes.append("previews are left out")
    pairs = []
    for seed, a, b in pairs_by_seed(runs_a, runs_b):
        rows = common_predictions(a, b)
        rows = rows[rows["split"] == split]
        if len(rows):
            pairs.append((seed, float(rows["is_right_a"].mean()), float(rows["is_right_b"].mean())))
    if any(split in seen_splits(run) for run in (*runs_a, *runs_b)):
        notes.append(f"a run used the {split} split for validation, so this is no fair figure")
    return _paired(f"{split} accuracy", pairs, notes)


def _paired(figure: str, pairs: list[tuple[int, float, float]], notes: list[str]) -> PairedDifference:
    """The difference over (seed, a, b) pairs."""
    found = paired_interval([p[1] for p in pairs], [p[2] for p in pairs])
    if not pairs:
        notes = ["no seed has a finished run on both sides", *notes]
    elif found.low is None:
        notes = ["one seed gives no interval; run more seeds of both", *notes]
    return PairedDifference(figure=figure, seeds=tuple(p[0] for p in pairs), values_a=tuple(p[1] for p in pairs),
                            values_b=tuple(p[2] for p in pairs), mean=found.mean, low=found.low, high=found.high,
                            note="; ".join(notes))


def common_predictions(a: RunDir, b: RunDir) -> pd.DataFrame:
    """Scored samples of both runs: sample_id, split, label, group, is_right_a, is_right_b. Split and label are b's."""
    left = scored_predictions(a)[["sample_id", "is_right"]]
    return left.merge(scored_predictions(b), on="sample_id", how="inner", suffixes=("_a", "_b"), validate="one_to_one")


def _config(run: RunDir) -> RunConfig:
    return RunConfig.of_run(run.read_config()["config"])


def seen_splits(run: RunDir) -> set[str]:
    """Splits of the predictions that the run itself learned from."""
    return {"clean"} if _config(run).validation_source == "clean" else set()


def _created(run: RunDir) -> float:
    return float(run.read_config().get("created") or 0.0)
