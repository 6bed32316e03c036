"""Does the noise rate's 95% interval hold the truth where the audit ends, and how many reviews does that take?

    python benchmarks/stopping.py [--audits 500] [--shares 0.01 0.02 0.09 0.4] [--batch 40] [--out FILE.json]

Simulates audits of 6,000 samples in 10 classes by the app's own draw, looks and estimate, a perfect reviewer answering
in batches; each goes on until it has reached +-1, +-2 and +-3 points. Two scores of the same order: "blind" takes 3
wrong labels in 10 for right ones and tells the others well, "calibrated" is the exact probability. Each audit is judged
by two rules:

    looks    the app's: at planned numbers of reviews (curation.audit.estimate.looks)
    narrow   the one before: after every batch, until the interval is narrow enough, by the interval as it was then

--changes instead has people who ask for +-3 points and, in sight of the result, for +-2: all, or those alone whose
first result was above the truth, or below it. Trains nothing.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scipy.stats import rankdata

from curation.audit.estimate import estimator
from curation.audit.estimate.allocation import draw
from curation.audit.estimate.goal import new_goal
from curation.audit.estimate.looks import progress
from curation.audit.estimate.noise_rate import NoiseRate, estimate, has_reached
from curation.audit.estimate.sampling_plan import Plan, make_plan

NUM_SAMPLES, NUM_CLASSES = 6000, 10
TARGETS = (0.01, 0.02, 0.03)
SCORES = {"blind": (3.0, 0.3), "calibrated": (1.6, 0.0)}
"""How many standard deviations a wrong label's evidence is above a right one's, and the share of wrong labels whose
evidence is a right one's. The score is what would be the probability if there were none of these."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Population:
    """N samples with the truth known."""

    given: np.ndarray
    p_wrong: np.ndarray
    is_wrong: np.ndarray

    @property
    def auroc(self) -> float:
        num = int(self.is_wrong.sum())
        return float((rankdata(self.p_wrong)[self.is_wrong].mean() - (num + 1) / 2) / (len(self.given) - num))

    def plan(self, seed: int) -> Plan:
        return make_plan(audit="simulated", run="simulated", sample_id=np.arange(len(self.given)).astype(str),
                         given=self.given, p_wrong=self.p_wrong, is_active=np.ones(len(self.given), dtype=bool),
                         classes=[str(c) for c in range(NUM_CLASSES)], seed=seed, created=0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Where one audit ended for one target."""

    num_reviews: int
    share: float
    low: float
    high: float


def population_of(share: float, score: str, num: int = NUM_SAMPLES, seed: int = 0) -> Population:
    """A share of wrong labels in [0, 1], with a score by name."""
    rng = np.random.default_rng(seed)
    apart, blind = SCORES[score]
    is_wrong = rng.permutation(np.arange(num) < round(share * num))
    is_told = is_wrong & (rng.random(num) >= blind)
    evidence = rng.normal(size=num) + apart * is_told
    told = share * (1 - blind)
    p_wrong = 1 / (1 + np.exp(apart ** 2 / 2 - apart * evidence - np.log(told / (1 - told))))
    return Population(given=rng.integers(0, NUM_CLASSES, num), p_wrong=p_wrong.astype(np.float32), is_wrong=is_wrong)


def audit(population: Population, targets: Sequence[float], batch: int, rules: Sequence[str],
          seed: int) -> dict[tuple[str, float], End]:
    """One audit, to the end of every rule and target."""
    plan, ends, due = population.plan(seed), {}, dict.fromkeys(targets, 0)
    verdicts = pd.DataFrame({"sample_id": pd.Series(dtype=object), "is_wrong": pd.Series(dtype=object)})
    while len(ends) < len(targets) * len(rules):
        ids = draw(plan, verdicts, num=batch)
        judged = pd.DataFrame({"sample_id": ids, "is_wrong": population.is_wrong[np.asarray(ids, dtype=int)]})
        verdicts = pd.concat([verdicts, judged.astype({"is_wrong": object})], ignore_index=True)
        if "narrow" in rules and ("narrow", min(targets)) not in ends:
            with as_it_was():
                told = estimate(plan, verdicts)
            for target in targets:
                if has_reached(told.overall, target):
                    ends.setdefault(("narrow", target), end_of(told))
        for target in targets if "looks" in rules else ():
            if ("looks", target) not in ends and len(verdicts) >= due[target]:
                found = progress(plan, verdicts, new_goal(target))
                assert found.planned is not None, "everything can be answered"
                due[target] = found.planned
                if found.is_reached:
                    ends["looks", target] = end_of(estimate(plan, verdicts[:found.planned]))
    return ends


def end_of(told: NoiseRate) -> End:
    rate = told.overall
    assert rate.share is not None and rate.low is not None and rate.high is not None, "there is a population"
    return End(num_reviews=rate.num_reviews, share=rate.share, low=rate.low, high=rate.high)


@contextmanager
def as_it_was() -> Iterator[None]:
    """With the interval of the rule before, which counted nothing unseen."""
    kept, estimator.UNSEEN = estimator.UNSEEN, 0.0
    try:
        yield
    finally:
        estimator.UNSEEN = kept


def figures_of(ends: Sequence[End], truth: float) -> dict[str, float]:
    """Coverage with its binomial standard error, bias and width as shares, reviews."""
    num, share, low, high = (np.array([getattr(end, name) for end in ends])
                             for name in ("num_reviews", "share", "low", "high"))
    coverage = float(((low <= truth) & (truth <= high)).mean())
    return {"audits": len(ends), "coverage": coverage, "error": float(np.sqrt(coverage * (1 - coverage) / len(ends))),
            "above": float((low > truth).mean()), "below": float((high < truth).mean()),
            "bias": float(share.mean() - truth), "half_width": float((high - low).mean() / 2),
            "median": float(np.median(num)), "most": float(np.quantile(num, 0.9)), "least": float(num.min())}


def changed(ends: Sequence[dict[tuple[str, float], End]], truth: float) -> dict[str, list[End]]:
    """What is signed by people who made +-3 points finer in sight of the result."""
    first, last = ([end["looks", target] for end in ends] for target in (0.03, 0.02))
    return {"all": last,
            "those above": [b if a.share > truth else a for a, b in zip(first, last, strict=True)],
            "those below": [b if a.share < truth else a for a, b in zip(first, last, strict=True)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=500)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.01, 0.02, 0.09, 0.4])
    parser.add_argument("--scores", nargs="+", default=list(SCORES), choices=tuple(SCORES))
    parser.add_argument("--targets", type=float, nargs="+", default=TARGETS)
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--changes", action="store_true")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, help="add the figures to this JSON file")
    args = parser.parse_args()
    for score in args.scores:
        for share in args.shares:
            population, start = population_of(share, score), time.perf_counter()
            rules = ["looks"] if args.changes else ["narrow", "looks"]
            one = partial(audit, population, (0.02, 0.03) if args.changes else args.targets, args.batch, rules)
            with Pool(args.processes) as pool:
                ends = pool.map(one, range(args.audits))
            truth = float(population.is_wrong.mean())
            facts = {"score": score, "auroc": population.auroc, "wrong": share, "batch": args.batch}
            rows = [{**facts, "rule": "changed", "target": 0.02, "by": who, **figures_of(end, truth)}
                    for who, end in changed(ends, truth).items()] if args.changes else [
                {**facts, "rule": rule, "target": target, **figures_of([end[rule, target] for end in ends], truth)}
                for target in args.targets for rule in rules]
            print(f"{score} (AUROC {population.auroc:.3f}), {share:.0%} wrong, {time.perf_counter() - start:.0f} s")
            print(pd.DataFrame(rows).drop(columns=["score", "auroc", "wrong", "batch"]).to_string(
                index=False, float_format=lambda x: f"{x:.4f}"), flush=True)
            if args.out:
                before = json.loads(args.out.read_text()) if args.out.exists() else []
                args.out.write_text(json.dumps(before + rows, indent=1))


if __name__ == "__main__":
    main()
