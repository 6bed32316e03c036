"""How many labels of a batch are wrong, promised before it is judged and held against what came of it.

Pure functions on probabilities and verdicts. The ranked queue's share of wrong labels is no noise rate.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from types import MappingProxyType
from typing import Literal

import numpy as np
import pandas as pd

Outcome = Literal["kept", "too much", "too little"]
"""What came of a promise: as many wrong labels as p_wrong allows (95%), or fewer, or more."""
MIN_CALIBRATED = 50
"""Labels whose truth must be known before a number is promised. Simulated audits held their promises when calibrated on
50 and more; before any verdict 37 were promised of 50 labels of clothing, where 18 were wrong (benchmarks/LOG.md)."""
NUM_DOUBTS = 41
_DOUBTS = np.array([NormalDist().inv_cdf((i + 0.5) / NUM_DOUBTS) for i in range(NUM_DOUBTS)])
"""Standard deviations by which a promise's log-odds are moved; the promise is the mean over them."""
Doubts = Mapping[tuple[str, int], float]
"""Served.doubt by reviewer and number of a batch."""


@dataclass(frozen=True, slots=True)
class Expected:
    """How many of num given labels will turn out wrong, if p_wrong is right: mean and 95% interval (whole numbers)."""

    num: int
    expected: float
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Promise:
    """What came of a promise, over the items judged so far."""

    num_judged: int
    num_found: int
    """Wrong labels among them."""
    expected: float
    low: int
    high: int

    @property
    def outcome(self) -> Outcome:
        return "too much" if self.num_found < self.low else "too little" if self.num_found > self.high else "kept"


def expected_yield(p_wrong: np.ndarray, odds_sd: np.ndarray | float = 0.0) -> Expected:
    """How many of these labels are wrong: each with its own probability (Poisson-binomial, exact), all log-odds off
    together by a normal number of standard deviations, of which NUM_DOUBTS are gone through; NaN are left out.

    p_wrong (n,) in [0, 1]; odds_sd: (n,) or one for all, >= 0: what was fitted to few verdicts is off for all alike.
    low and high are the least whole numbers that 2.5% and 97.5% of the probability reach, so at least 95% lies between
    them, both included. n squared steps: 5,000 take a tenth of a second, with doubts NUM_DOUBTS times that.
    """
    p = np.asarray(p_wrong, dtype=np.float64)
    is_known = ~np.isnan(p)
    p, sd = p[is_known], np.broadcast_to(np.asarray(odds_sd, dtype=np.float64), is_known.shape)[is_known]
    if (sd > 0).any():
        with np.errstate(divide="ignore"):  # 0 and 1 stay what they are
            odds = np.log(p) - np.log1p(-p)
        chances_nD = 1 / (1 + np.exp(-odds[:, None] - sd[:, None] * _DOUBTS))
    else:
        chances_nD = p[:, None]
    mass_mD = np.zeros((len(p) + 1, chances_nD.shape[1]))
    mass_mD[0] = 1.0
    for i, chance_D in enumerate(chances_nD):
        mass_mD[1:i + 2] = mass_mD[1:i + 2] * (1 - chance_D) + mass_mD[:i + 1] * chance_D
        mass_mD[0] *= 1 - chance_D
    mass = mass_mD.mean(axis=1)
    low, high = np.searchsorted(np.cumsum(mass), [0.025 - 1e-12, 0.975 - 1e-12])
    expected = float(chances_nD.mean(axis=1).sum())
    return Expected(num=len(p), expected=expected, low=int(low), high=int(min(high, len(p))))


def promise_kept(verdicts: pd.DataFrame, doubts: Doubts = MappingProxyType({})) -> Promise:
    """What came of a batch (or more) so far: its main items that were scored and judged wrong or right.

    verdicts: in force, of those batches (purpose, sample_id, is_wrong, p_wrong as it was when asked; who, batch where
    there are doubts); checks, unsure ones and items without p_wrong count neither as promised nor as found.
    """
    rows = verdicts[verdicts["purpose"] == "main"].drop_duplicates(["sample_id"], keep="last")
    rows = rows[rows["is_wrong"].notna() & rows["p_wrong"].notna()]
    doubt = [doubts.get(key, 0.0) for key in zip(rows["who"], rows["batch"].fillna(0).astype(int), strict=True)] \
        if doubts else 0.0
    promised = expected_yield(rows["p_wrong"].to_numpy(dtype=np.float64), np.asarray(doubt))
    return Promise(num_judged=len(rows), num_found=int(rows["is_wrong"].astype(bool).sum()),
                   expected=promised.expected, low=promised.low, high=promised.high)


def promises(verdicts: pd.DataFrame, num_dual: int = 0, doubts: Doubts = MappingProxyType({})
             ) -> tuple[Promise, list[tuple[str, int, Promise]]]:
    """What came of the ranked queue's promises: in all, and (reviewer, batch, promise) of each batch, newest first.

    verdicts: in force, of an audit. num_dual: labels whose truth is known besides. Batches that began before
    MIN_CALIBRATED labels were known promised nothing and are left out. Answers from a file without a batch count in
    all alone.
    """
    rows = verdicts[verdicts["queue"].eq("find")]
    began = rows.groupby(["who", "batch"])["verdict_id"].transform("min").fillna(np.inf)
    judged = np.sort(verdicts.loc[verdicts["is_wrong"].notna(), "verdict_id"].to_numpy())
    rows = rows[np.searchsorted(judged, began) + num_dual >= MIN_CALIBRATED]
    each = [(str(part["who"].iloc[0]), int(part["batch"].iloc[0]), promise_kept(part, doubts),
             int(part["verdict_id"].max()))
            for _, part in rows[rows["batch"].notna()].groupby(["who", "batch"])]
    each.sort(key=lambda row: -row[3])
    return promise_kept(rows, doubts), [row[:3] for row in each if row[2].num_judged]
