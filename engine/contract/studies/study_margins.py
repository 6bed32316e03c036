"""Per-sample margins of the test split against the reference arm (Jain et al. 2024, figure 3). Imports no torch.

T test samples. The paper bins samples by the baseline's margin and looks at the change from that same margin; but then
any second run rises where the first was low by chance. So the margin that bins a sample comes from the reference's
other seeds, wherever there are any.
"""

import numpy as np
import pandas as pd

from engine.contract.statistics.intervals import mean_interval
from engine.contract.studies.study_dir import StudyDir

BIN_EDGES = np.linspace(-1.0, 1.0, 11)
Margins = dict[str, dict[int, np.ndarray]]
"""arm -> seed -> (T,) margins in [-1, 1], high is good."""


def read_all_margins(study: StudyDir, rows: pd.DataFrame) -> Margins:
    """The margins of every finished run, in float32."""
    found: Margins = {}
    for arm, seed in rows.loc[rows["state"] == "done", ["arm", "seed"]].itertuples(index=False):
        margins = study.read_margins(arm, seed)
        if margins is not None and len(margins):
            found.setdefault(arm, {})[int(seed)] = margins.astype(np.float32)
    return found


def margin_changes(margins: Margins, reference: str) -> dict[str, np.ndarray]:
    """arm -> (T,) its margin minus the reference's, mean over the seeds that both have; arms without one are left out.
    """
    found = {}
    for arm, by_seed in margins.items():
        seeds = sorted(set(by_seed) & set(margins.get(reference, {})))
        if arm != reference and seeds:
            found[arm] = np.mean([by_seed[s] - margins[reference][s] for s in seeds], axis=0)
    return found


def margin_bins(margins: Margins, reference: str, edges: np.ndarray = BIN_EDGES) -> pd.DataFrame:
    """Mean change of margin by bin of the reference's margin: arm, bin_low, bin_high, num_samples, num_seeds, mean,
    low, high.

    low, high: 95% t interval over seeds, null for fewer than two. num_samples: mean over seeds. The last bin holds its
    upper edge; empty bins are left out.
    """
    lines = []
    base = margins.get(reference, {})
    for arm, by_seed in margins.items():
        if arm == reference:
            continue
        counts: dict[int, list[int]] = {}
        means: dict[int, list[float]] = {}
        for seed in sorted(set(by_seed) & set(base)):
            others = [m for s, m in base.items() if s != seed] or [base[seed]]
            bins = np.clip(np.digitize(np.mean(others, axis=0), edges) - 1, 0, len(edges) - 2)
            change = by_seed[seed] - base[seed]
            for b in np.unique(bins):
                counts.setdefault(int(b), []).append(int((bins == b).sum()))
                means.setdefault(int(b), []).append(float(change[bins == b].mean()))
        for b in sorted(means):
            found = mean_interval(means[b])
            lines.append({"arm": arm, "bin_low": float(edges[b]), "bin_high": float(edges[b + 1]),
                          "num_samples": float(np.mean(counts[b])), "num_seeds": found.num, "mean": found.mean,
                          "low": found.low, "high": found.high})
    columns = ["arm", "bin_low", "bin_high", "num_samples", "num_seeds", "mean", "low", "high"]
    return pd.DataFrame(lines, columns=columns).astype({"mean": float, "low": float, "high": float})
