"""How probably each given label is wrong, from the evidence of runs, calibrated on verdicts as they come in.

    logit P(wrong) = a + sum_k b_k x_k + c[given label],   a ~ N(a0, s0^2), b_k ~ N(prior[k], 0.5^2), c ~ N(0, 0.7^2)

x: standardised evidence. Before any verdict this is the prior, a guess; a0 and s0 are curation.audit.suspects.level's,
and a guess is never shown as a rate. How many labels are wrong is curation.audit.estimate.noise_rate's to say. Draws
and decides nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from curation.audit.estimate.working_model import posterior_mode
from curation.audit.suspects.design import NAMES, Design, blocks, is_judged
from curation.audit.suspects.evidence import Evidence, losses_of, predictions_of, probabilities_of
from curation.audit.suspects.evidence import gather as gather_evidence
from curation.audit.suspects.learning import Learning, learning_of
from curation.audit.suspects.level import Level, level_of
from curation.project import Project
from curation.samples.codes import comparable
from curation.samples.frames import SampleTable
from engine.contract.run_dir import RunDir
from engine.contract.statistics.measures import detection

PRIOR = {"own": 0.9, "dynamics": 0.7, "rival": 0.0, "heldout": 0.0, "mean_margin": 0.0, "loss": 0.0, "neighbours": 0.0}
"""Log-odds of being wrong per standard deviation of each piece of evidence, before verdicts. Chosen on seeds 70 and 71
of eight problems (benchmarks/LOG.md): own and dynamics alone are a good ranking on all of them; the rest helps on some
and harms on others, which verdicts tell."""
FEATURE_PRIOR = PRIOR | {"dynamics": 0.35, "loss": 0.4, "neighbours": 0.2}
"""The same of runs on frozen features, whose neighbours no label has moved. Chosen on seeds 60 to 64 of 12,000 photos
at 39.8 and 9% wrong labels, of which the scores knew no truth (benchmarks/LOG.md)."""
SD_EVIDENCE, SD_CLASS = 0.5, 0.7
MAX_DUAL_SHARE = 0.5
"""Where the truth of more samples than this is known there is nothing to audit, and it is left to score the audit."""
MAX_CALIBRATED = 20_000
MAX_GUESSED = 200_000
"""Samples, evenly drawn, that the first guess of the level is made from."""


@dataclass(frozen=True, slots=True)
class Scores:
    """One row a training sample, in the order of the sample table; (N,) each."""

    samples: SampleTable
    """sample_id alone."""
    classes: tuple[str, ...]
    given: np.ndarray
    """int codes of given_label in classes; -1 without one."""
    current: np.ndarray
    """int codes of current_label: the given one, or what a decision in force made of it."""
    suggested: np.ndarray
    """int codes of the most probable class other than the given one; -1 unknown."""
    confidence: np.ndarray
    """float32 in [0, 1]: probability of the suggested class given that the label is wrong; NaN unknown."""
    p_wrong: np.ndarray
    """float32 in [0, 1]: probability that given_label is wrong, of the inactive as well; NaN without evidence, and of
    all where the run has not learned to tell the classes."""
    odds_sd: np.ndarray
    """float32: how far off the log-odds of p_wrong may be, a standard deviation; all are off together. NaN as there."""
    is_active: np.ndarray
    """bool: in the population of an audit: has a given label and is not excluded."""
    columns: dict[str, np.ndarray]
    """The evidence by name (curation.audit.suspects.evidence.Evidence.columns)."""
    num_calibrated: int
    """Verdicts and dual labels that p_wrong was calibrated on; 0: a guess."""
    num_dual: int
    """Of these, dual labels (clean_label known beside the given one)."""
    runs: tuple[str, ...]
    learning: Learning | None = None
    """How well the predictions that did not see a label name it. p_wrong is NaN of all where that is no better than
    chance; None: not judged."""

    def doubt_of(self, rows: np.ndarray) -> float:
        """Mean odds_sd of these rows (n,) int64, of those that have one; 0 where none has."""
        sds = self.odds_sd[rows]
        return float(np.nanmean(sds)) if np.isfinite(sds).any() else 0.0


def scores_of(project: Project, runs: Sequence[RunDir], table: SampleTable,
              neighbours: tuple[np.ndarray, np.ndarray] | None, verdicts: pd.DataFrame | None = None) -> Scores:
    """Scores of a sample table with the signals of runs[0], and its neighbours (RunDir.read_neighbours).

    runs: the run, and others that differ from it by seed alone (curation.experiments.repeats.repeats_of), averaged.
    verdicts: sample_id and is_wrong (True, False or None), one row a sample; None: none yet.
    """
    evidence = gather_evidence(table, runs, project.classes, neighbours)
    return calibrated(evidence, table, project.classes, verdicts, level=first_level(runs[0], table, evidence.given))


def calibrated(evidence: Evidence, table: SampleTable, classes: Sequence[str], verdicts: pd.DataFrame | None,
               level: Level) -> Scores:
    """Scores from evidence that is there already, under these verdicts. level: the first guess (first_level)."""
    given, relabel = evidence.given, table["relabel"]
    is_active = (given >= 0) & ~table["excluded"].flags
    learning = learning_of_evidence(evidence, is_active)
    is_scored = is_judged(evidence) & learning.has_learned
    rows, is_wrong, num_dual = _known(table, verdicts)
    is_usable = is_scored[rows]
    rows, is_wrong = rows[is_usable], is_wrong[is_usable]
    prior = FEATURE_PRIOR if evidence.is_on_features else PRIOR
    p_wrong, odds_sd = _probability(Design.of(evidence, is_active), rows, is_wrong, level, len(classes), prior)
    p_wrong[~is_scored], odds_sd[~is_scored] = np.nan, np.nan
    current = np.where(relabel.is_null, given, relabel.codes.into(classes))
    return Scores(samples=SampleTable(table.frame.select("sample_id"), table.columns), classes=tuple(classes),
                  given=given, current=current, suggested=evidence.rival, confidence=evidence.rival_share,
                  p_wrong=p_wrong, odds_sd=odds_sd, is_active=is_active, columns=evidence.columns,
                  num_calibrated=len(rows), num_dual=num_dual, runs=evidence.runs, learning=learning)


def first_level(run: RunDir, table: SampleTable, given: np.ndarray) -> Level:
    """The first guess of how many labels are wrong."""
    probs, rows = probabilities_of(run), table.frame["signal_row"].to_numpy()
    known = np.flatnonzero((rows >= 0) & (given >= 0)) if probs is not None else np.empty(0, dtype=np.int64)
    known = known[:: max(1, len(known) // MAX_GUESSED)]
    return level_of(given[known], probs[rows[known]] if probs is not None else np.empty((0, 1)))


def learning_of_evidence(evidence: Evidence, is_active: np.ndarray) -> Learning:
    """Of the active samples (N,) bool: a label is named where its probability is above every other's."""
    margin = evidence.columns["normalised_margin"]
    return learning_of(evidence.given, margin > 0.5, is_active & np.isfinite(margin), evidence.losses)


def learning_of_run(run: RunDir, table: SampleTable, classes: Sequence[str]) -> Learning:
    """The same of a run by itself, on a sample table with its signals; without them, as those of a run whose file is
    gone, there is no evidence."""
    given = table["given_label"].codes.into(classes)
    if "signal_row" not in table:
        nothing = np.zeros(len(given), dtype=bool)
        return learning_of(given, nothing, nothing, losses_of(run))
    own, best, *_ = predictions_of([run], table.frame["signal_row"].to_numpy(), given)
    is_known = np.isfinite(own) & ~table["excluded"].flags & (given >= 0)
    return learning_of(given, own > best, is_known, losses_of(run))


def _known(table: SampleTable, verdicts: pd.DataFrame | None) -> tuple[np.ndarray, np.ndarray, int]:
    """(rows (n,), is_wrong (n,) float, how many are dual labels) to calibrate on; a verdict beats a dual label."""
    found = pd.Series(dtype=float)
    if verdicts is not None and len(verdicts):
        judged = verdicts[verdicts["is_wrong"].notna()].drop_duplicates("sample_id", keep="last")
        rows = table.positions(judged["sample_id"])
        found = pd.Series(judged["is_wrong"].astype(float).to_numpy()[rows >= 0], index=rows[rows >= 0])
    dual = dual_labels(table)
    dual = dual[~dual.index.isin(found.index)]
    both = pd.concat([found, dual]) if len(found) else dual
    return both.index.to_numpy(dtype=np.int64), both.to_numpy(dtype=float), len(dual)


def dual_labels(table: SampleTable) -> pd.Series:
    """Whether the given label is wrong by the row of a dual-labelled sample; none where they are no minority."""
    if "clean_label" not in table:
        return pd.Series(dtype=float)
    clean, given = table["clean_label"].codes, table["given_label"].codes
    rows = np.flatnonzero((clean.codes >= 0) & (given.codes >= 0))
    if len(rows) > MAX_DUAL_SHARE * len(table):
        return pd.Series(dtype=float)
    rows = rows[:: max(1, -(-len(rows) // MAX_CALIBRATED))]
    true_codes, given_codes = comparable(clean.at(rows), given.at(rows))
    return pd.Series((true_codes != given_codes).astype(float), index=rows)


def _probability(design: Design, rows: np.ndarray, is_wrong: np.ndarray, level: Level, num_classes: int,
                 weights: dict[str, float]) -> tuple[np.ndarray, np.ndarray]:
    """P(wrong) (N,) float32 after `rows` (n,) turned out to be wrong or not, at the posterior's mode, and (N,) float32
    the standard deviation of its log-odds. weights: PRIOR or FEATURE_PRIOR."""
    given, num_evidence = design.evidence.given, len(NAMES)
    coefficients = np.array([weights[name] for name in NAMES])
    origin, first = _origin(design.rows(slice(None, None, max(1, len(design) // MAX_CALIBRATED))), coefficients,
                            level.odds)
    prior = np.r_[first, coefficients, np.zeros(num_classes)]
    precision = np.r_[level.sd, np.full(num_evidence, SD_EVIDENCE), np.full(num_classes, SD_CLASS)] ** -2.0
    beta, covariance = prior, np.diag(1 / precision)
    if len(rows):
        design_nK = np.zeros((len(rows), len(prior)))
        design_nK[:, 0], design_nK[:, 1:1 + num_evidence] = 1.0, design.rows(rows) - origin
        design_nK[np.arange(len(rows)), 1 + num_evidence + given[rows]] = 1.0
        beta, covariance = posterior_mode(design_nK, is_wrong, prior, precision)
    by_class = np.r_[beta[1 + num_evidence:], 0.0]  # the last is of code -1
    p_wrong, odds_sd = np.empty((2, len(given)), dtype=np.float32)
    for part in blocks(len(given)):
        x = design.rows(part) - origin
        odds = beta[0] + x @ beta[1:1 + num_evidence].astype(np.float32) + by_class[given[part]].astype(np.float32)
        p_wrong[part] = 1 / (1 + np.exp(-odds))
        odds_sd[part] = _odds_sd(x, given[part], covariance)
    return p_wrong, odds_sd


def _origin(x: np.ndarray, coefficients: np.ndarray, odds: float) -> tuple[np.ndarray, float]:
    """((K,) float32 where labels may be either, the intercept there that gives the share of wrong labels in log-odds).
    x: (n, K) of samples evenly drawn.

    The guess is of that share. With 0 elsewhere, such as at the mean, where nearly all labels are right, verdicts that
    make the curve steeper would raise the share as well.
    """
    sample = x.astype(np.float64)
    first = _intercept(sample @ coefficients, odds)
    chances = 1 / (1 + np.exp(-(sample @ coefficients + first)))
    doubt = chances * (1 - chances)
    origin = doubt @ sample / doubt.sum()
    return origin.astype(np.float32), first + float(origin @ coefficients)


def _odds_sd(x: np.ndarray, given: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard deviations (N,) of the log-odds of rows (1, x, class) under the coefficients' covariance."""
    num = 1 + x.shape[1]
    ones = np.concatenate([np.ones((len(x), 1), dtype=np.float32), x], axis=1)
    shared, crossed, own = (part.astype(np.float32) for part in (
        covariance[:num, :num], covariance[:num, num:], np.diag(covariance)[num:]))
    variance = np.einsum("nk,nk->n", ones @ shared, ones)
    variance += 2 * np.einsum("nk,nk->n", ones, crossed.T[given]) + own[given]  # code -1: some class's, never shown
    found: np.ndarray = np.sqrt(np.maximum(variance, 0))
    return found


def _intercept(odds: np.ndarray, level: float) -> float:
    """What to add to log-odds (N,) so that their mean probability is that of `level`, by bisection."""
    target, low, high = 1 / (1 + np.exp(-level)), -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        is_low = (1 / (1 + np.exp(-(odds + middle)))).mean() < target
        low, high = (middle, high) if is_low else (low, middle)
    return (low + high) / 2


# -- how good they are, where that is known


@dataclass(frozen=True, kw_only=True, slots=True)
class DualFigures:
    """How well self_confidence tells wrong labels from right ones; as engine.contract.statistics.measures.Detection."""

    num: int
    num_wrong: int
    """Of these."""
    auroc: float
    average_precision: float


def dual_figures(scores: Scores, table: SampleTable) -> DualFigures | None:
    """Of the samples with a known truth, which has not touched self_confidence; None without wrong and right ones."""
    if "clean_label" not in table:
        return None
    confidence = scores.columns["self_confidence"]
    clean, given = comparable(table["clean_label"].codes, table["given_label"].codes)
    is_known = (clean >= 0) & (given >= 0) & np.isfinite(confidence)
    is_wrong = (clean != given)[is_known]
    auroc, precision = detection(confidence[is_known], is_wrong)
    if auroc is None or precision is None:
        return None
    return DualFigures(num=int(is_known.sum()), num_wrong=int(is_wrong.sum()), auroc=auroc,
                       average_precision=precision)
