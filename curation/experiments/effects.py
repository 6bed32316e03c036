"""What decisions bought: the effect of one side of an experiment over the other, with a 95% interval over seeds.

An experiment is two groups of runs that differ in their decisions alone, paired by seed. Its figures come from the
splits clean and test, less whatever was trained on, decided about or used for validation; what the runs did on sets
that a person or the splitter chose is `curated_figures`, apart, and never an effect. Draws nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.experiments import compare, repeats
from curation.samples.table import routed_signals
from engine.contract.manifest import read_decisions
from engine.contract.run_dir import RunDir
from engine.contract.statistics.intervals import t_half_width
from engine.contract.statistics.measures import SMALLEST_GROUP, worst_group

EFFECT_COLUMNS = ("split", "kind", "name", "num_samples", "num_pairs", "mean_a", "mean_b", "difference", "low", "high")


@dataclass(frozen=True, kw_only=True, slots=True)
class Experiment:
    """Runs a and b of the same seeds, alike in all but their decisions."""

    pairs: list[tuple[int, RunDir, RunDir]]
    """(seed, a, b) of finished runs, ascending by seed."""
    num_decided: tuple[int, int]
    """Decided samples that each side was trained under."""

    @property
    def seeds(self) -> list[int]:
        return [seed for seed, _, _ in self.pairs]


def experiment_of(a: RunDir, b: RunDir, runs: Sequence[RunDir]) -> Experiment | None:
    """The experiment that these two belong to, with every repeat of either among `runs`.

    None where they differ in more than decisions and seed, in nothing, or where one of them is a preview.
    """
    keys = [repeats.experiment_key(run) for run in (a, b)]
    if keys[0] is None or keys[1] is None or keys[0][:2] != keys[1][:2] or keys[0] == keys[1]:
        return None
    sides = [repeats.same_but_seed(run, runs) for run in (a, b)]
    return Experiment(pairs=compare.pairs_by_seed(*sides),
                      num_decided=(len(read_decisions(a.decisions_path)), len(read_decisions(b.decisions_path))))


def effects(pairs: Sequence[tuple[int, RunDir, RunDir]]) -> pd.DataFrame:
    """b minus a over pairs of runs with one seed, a row a split and figure: EFFECT_COLUMNS.

    kind: "all" (every sample of the split), "label" (a class, `name`), "group", or "worst" (each run's own worst group;
    where the data have none, its worst class; name: "group" or "label"). Accuracies in [0, 1], difference in [-1, 1];
    low and high, the ends of the 95% t interval of the mean difference, are NaN for fewer than two pairs. A split that
    a run used for validation is left out. num_samples: of the pair that has fewest.
    """
    parts = [part for seed, a, b in pairs for part in _figures(seed, a, b)]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype="str" if name in ("split", "kind", "name") else float)
                             for name in EFFECT_COLUMNS})
    rows = pd.concat(parts, ignore_index=True)
    rows["difference"] = rows["b"] - rows["a"]
    found = rows.groupby(["split", "kind", "name"], sort=True).agg(
        num_samples=("num_samples", "min"), num_pairs=("seed", "size"), mean_a=("a", "mean"), mean_b=("b", "mean"),
        difference=("difference", "mean"), spread=("difference", "std")).reset_index()
    half = t_half_width(found["spread"].to_numpy(), found["num_pairs"].to_numpy())
    return found.assign(low=found["difference"] - half, high=found["difference"] + half)[list(EFFECT_COLUMNS)]


def _figures(seed: int, a: RunDir, b: RunDir) -> list[pd.DataFrame]:
    """split, kind, name, num_samples, a, b, seed of one pair."""
    rows = compare.common_predictions(a, b)
    rows = rows[~rows["split"].isin(compare.seen_splits(a) | compare.seen_splits(b))]
    parts = [_accuracies(rows.assign(every="all"), "every", "all")]
    for kind in ("group", "label"):
        parts.append(_accuracies(rows.dropna(subset=[kind]), kind, kind))
    parts.append(_worst(pd.concat(parts[1:], ignore_index=True)))
    return [part.assign(seed=seed) for part in parts if len(part)]


def _accuracies(rows: pd.DataFrame, by: str, kind: str) -> pd.DataFrame:
    found = rows.groupby(["split", by], sort=True, observed=True).agg(
        num_samples=("is_right_a", "size"), a=("is_right_a", "mean"), b=("is_right_b", "mean")).reset_index()
    return found.rename(columns={by: "name"}).assign(kind=kind)


def _worst(figures: pd.DataFrame) -> pd.DataFrame:
    """Each side's lowest accuracy among the groups of a split, among its classes where it has no groups."""
    lines = []
    for split, part in figures.groupby("split", sort=True):
        for kind in ("group", "label"):
            own = part[part["kind"] == kind]
            sizes = own["num_samples"].to_numpy()
            at = {side: worst_group(own[side].to_numpy(), sizes) for side in "ab"}
            if at["a"] is not None and at["b"] is not None:
                lines.append({"split": split, "kind": "worst", "name": kind,
                              "num_samples": sizes[sizes >= SMALLEST_GROUP].min(),
                              "a": own["a"].iloc[at["a"]], "b": own["b"].iloc[at["b"]]})
                break
    return pd.DataFrame(lines)


def curated_figures(a: RunDir, b: RunDir) -> pd.DataFrame:
    """What each run made of sets that somebody chose, which measures the choice and not the run: name, num_a, share_a,
    num_b, share_b. Shares in [0, 1], NaN of an empty set.

    Of the samples in validation (routed or pinned) and of those pinned there: the share that the run's own last record
    predicts as its label. Of the clean split, where a run used that for validation: its accuracy.
    """
    columns: dict[str, dict[str, float]] = {}
    for side, run in (("a", a), ("b", b)):
        signals, decisions = routed_signals(run), read_decisions(run.decisions_path)
        pinned = decisions.loc[decisions["pin"].eq("validation"), "sample_id"]
        is_right = signals["margin"].gt(0).to_numpy()
        sets = {"routed or pinned to validation": signals["role"].eq("validation").to_numpy(),
                "pinned to validation by people": signals["sample_id"].isin(pinned).to_numpy()}
        found = {name: (int(mask.sum()), float(is_right[mask].mean()) if mask.any() else np.nan)
                 for name, mask in sets.items()}
        if "clean" in compare.seen_splits(a) | compare.seen_splits(b):
            rows = compare.scored_predictions(run)
            rows = rows[rows["split"] == "clean"]
            found["clean split, used for validation"] = (len(rows), float(rows["is_right"].mean()))
        columns |= {f"num_{side}": {k: v[0] for k, v in found.items()},
                    f"share_{side}": {k: v[1] for k, v in found.items()}}
    return pd.DataFrame(columns).rename_axis("name").reset_index()
