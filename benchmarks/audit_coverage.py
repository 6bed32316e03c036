"""Does the noise rate's 95% interval hold the truth, and how much narrower is it than simple random reviews'?

    python benchmarks/audit_coverage.py PROJECT RUN [RUN...] [--answers audit_answers.csv] [--audits 500]
        [--rates asis 0.09 0.01] [--guesses asis sharp flat]

Simulates audits from draw to interval by the app's own functions, a perfect reviewer reading the answers; runs that
differ by seed alone are averaged into one score. A rate other than "asis" keeps all right labels and a random part of
the wrong ones. A guess is the p_wrong at the plan's time: "sharp" doubles its log-odds, "flat" halves them and adds 1.
Prints for each: coverage, width, its ratio to Wilson's interval of simple random reviews (no finite population
correction) and to the normal one with correction, bias, coverage by class; and of the looks at +-3 points: the coverage
where they end, and how many more reviews were expected at 200 against how many it took. Trains nothing.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from statsmodels.stats.proportion import proportion_confint

from benchmarks.closed_loop import truth_of
from curation.audit.estimate.allocation import draw
from curation.audit.estimate.goal import new_goal
from curation.audit.estimate.looks import progress
from curation.audit.estimate.noise_rate import NoiseRate, estimate, reviews_to
from curation.audit.estimate.sampling_plan import Plan, make_plan
from curation.audit.suspects.scores import scores_of
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import sample_table

BUDGETS = (100, 200, 500, 1000)
BATCH = 50
STOP_AT, PROMISED_AT = 0.03, 200
GUESSES = {"asis": (1.0, 0.0), "sharp": (2.0, 0.0), "flat": (0.5, 1.0)}
"""What the log-odds of p_wrong are multiplied by, and what is added."""


@dataclass(frozen=True, slots=True)
class Population:
    """N samples with the truth known."""

    given: np.ndarray
    p_wrong: np.ndarray
    is_wrong: np.ndarray
    classes: tuple[str, ...]

    def plan(self, seed: int) -> Plan:
        return make_plan(audit="simulated", run="simulated", sample_id=np.arange(len(self.given)).astype(str),
                         given=self.given, p_wrong=self.p_wrong, is_active=np.ones(len(self.given), dtype=bool),
                         classes=self.classes, seed=seed, created=0.0)


@dataclass(frozen=True, slots=True)
class Audit:
    """One simulated audit."""

    rates: dict[int, NoiseRate]
    """By number of reviews."""
    promised: int | None
    """Reviews in all to STOP_AT, as told after PROMISED_AT."""
    stopped: tuple[int, NoiseRate] | None
    """When the batch ended that reached STOP_AT at a planned look, and what was told then."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--audits", type=int, default=500)
    parser.add_argument("--rates", nargs="+", default=["asis", "0.09", "0.01"])
    parser.add_argument("--guesses", nargs="+", default=["asis"], choices=tuple(GUESSES))
    parser.add_argument("--out", type=Path, help="write the figures here too, as JSON")
    args = parser.parse_args()
    everything = population_of(Project.open(args.project), args.runs, args.answers)
    rows = []
    for rate in args.rates:
        for guess in args.guesses:
            population = with_guess(with_rate(everything, rate), guess)
            print(f"\n{args.project.name} {'+'.join(args.runs)}, {population.is_wrong.mean():.1%} wrong of "
                  f"{len(population.given):,}, guess {guess}: {limits(population)}", flush=True)
            start = time.perf_counter()
            audits = [simulate(population, seed) for seed in range(args.audits)]
            figures = [figures_of(population, audits, budget) for budget in BUDGETS]
            print(pd.DataFrame(figures).to_string(index=False, float_format=lambda x: f"{x:.4f}"))
            print(f"  {stop_line(population, audits)}; {time.perf_counter() - start:.0f} s", flush=True)
            rows += [{"project": args.project.name, "runs": args.runs, "rate": rate, "guess": guess, **f}
                     for f in figures]
    if args.out:
        args.out.write_text(json.dumps(rows, indent=1))


def population_of(project: Project, names: list[str], answers: Path | None) -> Population:
    """Everybody active whose truth is known, with the p_wrong of an audit that has no verdict yet."""
    runs = [project.run(name) for name in names]
    table = sample_table(project, runs[0])
    scores = scores_of(project, runs, SampleTable.of(table), runs[0].read_neighbours())
    truth = truth_of(project, table, answers)
    rows = np.flatnonzero(scores.is_active & truth.notna().to_numpy())
    is_wrong = truth.ne(table["given_label"]).to_numpy(dtype=bool)
    return Population(scores.given[rows], scores.p_wrong[rows], is_wrong[rows], scores.classes)


def with_rate(everything: Population, rate: str) -> Population:
    """The same with fewer wrong labels, at random."""
    if rate == "asis":
        return everything
    right, wrong = np.flatnonzero(~everything.is_wrong), np.flatnonzero(everything.is_wrong)
    num_wrong = round(float(rate) / (1 - float(rate)) * len(right))
    kept = np.sort(np.concatenate([right, np.random.default_rng(0).choice(wrong, num_wrong, replace=False)]))
    return Population(everything.given[kept], everything.p_wrong[kept], everything.is_wrong[kept], everything.classes)


def with_guess(population: Population, guess: str) -> Population:
    times, plus = GUESSES[guess]
    p = np.clip(population.p_wrong.astype(np.float64), 1e-6, 1 - 1e-6)
    bent = 1 / (1 + np.exp(-(times * np.log(p / (1 - p)) + plus)))
    return Population(population.given, bent.astype(np.float32), population.is_wrong, population.classes)


def limits(population: Population) -> str:
    """How good the score is, and the ratio of widths that no stratification by it can beat."""
    from sklearn.isotonic import IsotonicRegression
    from sklearn.metrics import roc_auc_score

    scored = np.flatnonzero(np.isfinite(population.p_wrong))
    p, wrong = population.p_wrong[scored].astype(np.float64), population.is_wrong[scored].astype(np.float64)
    rank = np.argsort(np.argsort(p, kind="stable"), kind="stable") * 200 // len(p)  # 200 steps: no fit to single ones
    level = np.bincount(rank, weights=wrong) / np.bincount(rank)
    exact = IsotonicRegression().fit(np.arange(len(level)), level).predict(rank)
    share = wrong.mean()
    best = np.sqrt(exact * (1 - exact)).mean() / np.sqrt(share * (1 - share))
    return f"AUROC {roc_auc_score(wrong, p):.3f}, ratio of widths at the optimum (exact p, no correction) {best:.3f}"


def simulate(population: Population, seed: int) -> Audit:
    """One audit, BATCH by BATCH to the greatest budget."""
    plan, rates, promised, stopped = population.plan(seed), {}, None, None
    verdicts = pd.DataFrame({"sample_id": pd.Series(dtype=object), "is_wrong": pd.Series(dtype=object)})
    while len(verdicts) < min(BUDGETS[-1], plan.num_population):
        ids = draw(plan, verdicts, num=BATCH)
        judged = pd.DataFrame({"sample_id": ids, "is_wrong": population.is_wrong[np.asarray(ids, dtype=int)]})
        verdicts = pd.concat([verdicts, judged.astype({"is_wrong": object})], ignore_index=True)
        told = estimate(plan, verdicts)
        if len(verdicts) in BUDGETS:
            rates[len(verdicts)] = told
        if len(verdicts) == PROMISED_AT and (more := reviews_to(plan, verdicts, STOP_AT)) is not None:
            promised = PROMISED_AT + more
        if stopped is None and progress(plan, verdicts, new_goal(STOP_AT)).is_reached:
            stopped = len(verdicts), told
    return Audit(rates, promised, stopped)


def figures_of(population: Population, audits: list[Audit], budget: int) -> dict[str, float]:
    """One row of the table; widths and bias as shares of the population."""
    N, share = len(population.given), float(population.is_wrong.mean())
    told = [audit.rates[budget] for audit in audits]
    low, high, mid = (np.array([getattr(t.overall, name) for t in told]) for name in ("low", "high", "share"))
    counts = np.random.default_rng(1).hypergeometric(int(share * N), N - int(share * N), budget, 5000)
    wilson = proportion_confint(counts, budget, 0.05, "wilson")
    normal = 2 * 1.96 * np.sqrt(share * (1 - share) / budget * (N - budget) / (N - 1))
    truth = np.bincount(population.given, weights=population.is_wrong) / np.bincount(population.given)
    is_in = np.array([[r.low - 1e-9 <= t <= r.high + 1e-9 for r, t in zip(x.per_class, truth, strict=True)]
                      for x in told])
    width = float((high - low).mean())
    return {"reviews": budget, "coverage": float(((low <= share) & (share <= high)).mean()), "width": width,
            "ratio_wilson": width / float((wilson[1] - wilson[0]).mean()), "ratio_normal": width / normal,
            "sd_times_3.92": float(3.92 * mid.std()), "bias": float(mid.mean() - share),
            "equivalent": float(np.median([equivalent(t, N) for t in told])),
            "class_coverage": float(is_in.mean()), "class_worst": float(is_in.mean(axis=0).min()),
            "class_width": float(np.mean([[r.high - r.low for r in x.per_class] for x in told]))}


def equivalent(told: NoiseRate, num: int) -> float:
    """Simple random reviews of `num` samples, without replacement, whose normal interval would be as wide."""
    rate = told.overall
    variance, spread = (rate.half_width / 1.96) ** 2, rate.share * (1 - rate.share)
    return num / (1 + (num - 1) * variance / spread) if spread > 0 else 0.0


def stop_line(population: Population, audits: list[Audit]) -> str:
    share, ended = population.is_wrong.mean(), [a.stopped for a in audits if a.stopped]
    if not ended:
        return f"+-{STOP_AT}: not reached"
    is_in = np.mean([told.overall.low <= share <= told.overall.high for _, told in ended])
    pairs = [(a.promised, a.stopped[0]) for a in audits if a.promised and a.stopped and a.stopped[0] > PROMISED_AT]
    said = f"; promised {np.mean([p for p, _ in pairs]):.0f} in all, took {np.mean([t for _, t in pairs]):.0f}, " \
           f"apart by {np.mean([abs(p - t) for p, t in pairs]):.0f}" if pairs else ""
    return f"looks at +-{STOP_AT}: {len(ended)} of {len(audits)} stopped, coverage {is_in:.3f}{said}"


if __name__ == "__main__":
    main()
