"""How far reviewers agree: with each other, with themselves when asked again, with the truth where it is known.

Verdicts that settle a dispute do not count: these samples were chosen because people disagreed. Unsure ones abstain.
Agreement is on the class meant ("no class fits" being one) and, apart from that, on whether the given label is wrong.
What cannot be said is None, never NaN. Measures reviewers, not labels (curation.audit.estimate.noise_rate).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from engine.contract.statistics.intervals import wilson_interval

MIN_FOR_INTERVAL = 20
"""Samples below which kappa has no interval: its variance is that of large samples."""
NUM_RESAMPLES = 1000
_NO_CLASS = ""
"""Stands for "no class fits"; no class is called so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kappa:
    """Agreement of num samples, and kappa: 1 perfect, 0 what chance gives, below worse; with its 95% interval.

    kappa is None where all answers are one and the same; low and high also below MIN_FOR_INTERVAL samples, and where
    all agree or one of two always says the same, for then the variance is not known.
    """

    num: int
    agreement: float
    """Share of the pairs of answers that are the same, in [0, 1]."""
    kappa: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PairAgreement:
    """Two reviewers over the samples that both judged: Cohen's kappa."""

    reviewers: tuple[str, str]
    on_label: Kappa
    on_wrong: Kappa


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupAgreement:
    """All samples that exactly num_reviewers people judged, any of them: Fleiss' kappa."""

    num_reviewers: int
    on_label: Kappa
    on_wrong: Kappa


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """num_right of num answers, the share of them in [0, 1], 0 bad, and its 95% interval (Wilson)."""

    num: int
    num_right: int
    share: float
    low: float
    high: float


def pair_agreements(verdicts: pd.DataFrame) -> list[PairAgreement]:
    """Every pair of reviewers with samples in common, most of them first; of several verdicts by one the last counts.

    verdicts: in force, oldest first (VerdictLog.in_force).
    """
    answers = _answers(verdicts)
    by_person = {str(who): rows for who, rows in answers.groupby("who", sort=True)}
    found = []
    for first, second in combinations(by_person, 2):
        both = by_person[first].merge(by_person[second], on="sample_id", suffixes=("", "_second"))
        if len(both):
            found.append(PairAgreement(reviewers=(first, second), on_label=_cohen(both["label"], both["label_second"]),
                                       on_wrong=_cohen(both["is_wrong"], both["is_wrong_second"])))
    return sorted(found, key=lambda pair: -pair.on_label.num)


def group_agreement(verdicts: pd.DataFrame) -> GroupAgreement | None:
    """The samples that the same number of people judged: the number, 2 or more, that has most samples (of two alike the
    smaller); None where no two judged one. As above."""
    answers = _answers(verdicts)
    num_people = answers.groupby("sample_id")["who"].transform("size")
    num_samples = answers[num_people >= 2].groupby(num_people)["sample_id"].nunique()
    if num_samples.empty:
        return None
    num = int(num_samples.index.to_numpy()[num_samples.to_numpy().argmax()])
    rows = answers[num_people == num]
    return GroupAgreement(num_reviewers=num, on_label=_fleiss(rows["sample_id"], rows["label"]),
                          on_wrong=_fleiss(rows["sample_id"], rows["is_wrong"]))


def consistency(verdicts: pd.DataFrame) -> dict[str, Share]:
    """Of each reviewer, hidden repeats that were answered with the same class as the time before. As above."""
    rows = verdicts[verdicts["is_wrong"].notna()]
    label = rows["label"].fillna(_NO_CLASS)
    before = label.groupby([rows["sample_id"], rows["who"], rows["queue"]]).shift()
    is_repeat = rows["purpose"].eq("repeat") & before.notna()
    return _shares(rows.loc[is_repeat, "who"], label.eq(before)[is_repeat])


def gold_accuracy(verdicts: pd.DataFrame, truth: Mapping[str, str] | pd.Series) -> dict[str, Share]:
    """Of each reviewer, hidden items of known class that were answered with it; the last answer counts. As above.

    truth: sample_id -> clean_label. "both" is right if either of the two is.
    """
    gold = verdicts[verdicts["purpose"].eq("gold") & verdicts["is_wrong"].notna()]
    gold = gold.drop_duplicates(["sample_id", "who"], keep="last")
    clean = gold["sample_id"].map(pd.Series(truth, dtype=object))
    gold, clean = gold[clean.notna()], clean[clean.notna()]
    is_right = gold["label"].eq(clean) | (gold["verdict"].eq("both") & gold["suggested_label"].eq(clean))
    return _shares(gold["who"], is_right)


def _answers(verdicts: pd.DataFrame) -> pd.DataFrame:
    """sample_id, who, label, is_wrong: each one's last answer on each sample, without unsure and settling ones."""
    rows = verdicts[verdicts["queue"] != "adjudicate"].drop_duplicates(["sample_id", "who"], keep="last")
    rows = rows.loc[rows["is_wrong"].notna(), ["sample_id", "who", "label", "is_wrong"]]
    return rows.assign(label=rows["label"].fillna(_NO_CLASS).astype(object), is_wrong=rows["is_wrong"].astype(bool))


def _cohen(first: pd.Series, second: pd.Series) -> Kappa:
    """Cohen's kappa and its large-sample interval (Fleiss, Cohen and Everitt 1969) of answers (n,) each, n >= 1."""
    from statsmodels.stats.inter_rater import cohens_kappa  # type: ignore[import-untyped]  # takes a second

    codes, categories = pd.factorize(np.concatenate([first, second]))
    num, num_kinds = len(first), len(categories)
    table = np.bincount(codes[:num] * num_kinds + codes[num:], minlength=num_kinds**2).reshape(num_kinds, num_kinds)
    agreement = float(np.trace(table) / num)
    if num_kinds < 2:
        return Kappa(num=num, agreement=agreement, kappa=None, low=None, high=None)
    with np.errstate(invalid="ignore", divide="ignore"):  # its test of no agreement divides by a variance of 0
        found = cohens_kappa(table)
    ends = _ends(num, agreement, found.kappa_low, found.kappa_upp)
    return Kappa(num=num, agreement=agreement, kappa=float(found.kappa), low=ends[0], high=ends[1])


def _fleiss(sample_ids: pd.Series, answers: pd.Series) -> Kappa:
    """Fleiss' kappa with a bootstrap interval over samples, each of which has equally many answers, 2 or more."""
    from statsmodels.stats.inter_rater import fleiss_kappa  # type: ignore[import-untyped]  # takes a second

    table = pd.crosstab(sample_ids.to_numpy(), answers.to_numpy()).to_numpy()
    num, num_answers = len(table), int(table[0].sum())
    same = (table * (table - 1)).sum(axis=1) / (num_answers * (num_answers - 1))
    if table.shape[1] < 2:
        return Kappa(num=num, agreement=float(same.mean()), kappa=None, low=None, high=None)
    low = high = None
    if num >= MIN_FOR_INTERVAL and same.mean() < 1:
        rng = np.random.default_rng(0)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may have one kind of answer alone
            again = [fleiss_kappa(table[rng.integers(0, num, num)]) for _ in range(NUM_RESAMPLES)]
        low, high = np.nanquantile(again, [0.025, 0.975])
    ends = _ends(num, float(same.mean()), low, high)
    return Kappa(num=num, agreement=float(same.mean()), kappa=float(fleiss_kappa(table)), low=ends[0], high=ends[1])


def _ends(num: int, agreement: float, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """The interval within [-1, 1], None where it means nothing."""
    if low is None or high is None or num < MIN_FOR_INTERVAL or agreement >= 1 or not high - low > 1e-9:
        return None, None
    return max(-1.0, float(low)), min(1.0, float(high))


def _shares(who: pd.Series, is_right: pd.Series) -> dict[str, Share]:
    """Each person's share of right answers; only people with an answer."""
    found = {}
    for name, rows in is_right.astype(bool).groupby(who, sort=True):
        num, num_right = len(rows), int(rows.sum())
        low, high = wilson_interval(num_right / num, num)
        found[str(name)] = Share(num=num, num_right=num_right, share=num_right / num, low=float(low), high=float(high))
    return found
