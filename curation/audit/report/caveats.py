"""How an audit was done and what it does not know, in plain words, as far as they apply to it. Works nothing out."""

from collections.abc import Mapping, Sequence

from curation.audit.estimate.goal import Rule
from curation.audit.report.document import Facts
from curation.audit.report.parts import RatePart
from curation.audit.report.rate_words import UNTIL_THEN, points
from curation.audit.suspects.evidence import Missing
from curation.audit.suspects.leaks import SplitLeaks, words_of
from curation.audit.suspects.learning import Learning
from engine.contract.methods import METHODS

POOR_KAPPA = 0.6
"""Kappa below which reviewers are said to agree poorly (Landis and Koch 1977: below "substantial")."""
MIN_SHARED = 20
"""Samples that two people must share for their kappa to say anything of them."""
MIN_SECONDS = 0.5
"""A median faster than this is no look at a picture."""


def method_of(health: Facts) -> list[str]:
    """How it was done, a paragraph each."""
    rate, run = health["rate"], health["provenance"].get("run")
    lines = ["A given label is wrong where reviewers found that another class is right, or that no class fits. Where "
             "they found that the given class and another one both fit, it is right. Of several people who reviewed "
             "one sample the majority holds; a tie is open until another person settles it."]
    if rate is not None:
        lines += [
            f"The noise rate stands on the random queue alone: {rate['num_population']:,} training samples that had a "
            f"label and were not excluded when the audit was planned, in {len(health['strata'])} strata by the model's "
            "probability that the label is wrong, reviewed in an order that was drawn at random within each stratum "
            "and fixed before the first of these reviews. More reviews went to strata where labels may be either "
            "(Neyman's allocation). Reviewers saw the picture and the classes, not the model's opinion; no answer that "
            "was given beside it counts, not even one that settles a dispute.",
            "The estimate is what a working model expects of every sample plus the reviews' mean difference from it, "
            "stratum by stratum, times the stratum's size (a difference estimator). A bad model makes the interval "
            "wider, not the estimate wrong. Intervals are 95% Wilson intervals at the effective number of reviews, "
            "corrected for the finite population.",
            f"The interval is judged at planned numbers of reviews alone: first at {rate['first_look']:,}, which the "
            "precision asked for says, then at the number that the reviews up to there call for. To stop wherever it "
            f"happens to be narrow would make it miss the truth more often. {_UNDER[rate['rule']]}"]
    planned = health["provenance"].get("plan's run")
    if planned:
        lines.append(f"The strata were cut by the probabilities of run {planned} as they were at the time of the plan.")
    if run:
        lines.append(f"What the model expects, here, is of run {run} ({health['provenance']['method']}): each sample's "
                     f"probability comes from {_judged_by(health['provenance']['method'])}, calibrated on "
                     f"{health['num_calibrated']:,} verdicts and known labels. A model orders the ranked queue and "
                     "cuts the strata; none ever sets the noise rate.")
    return lines


_UNDER: dict[Rule, str] = {
    "looks": "This was fixed before the first review.",
    "until narrow": "This audit was begun by an older version, which offered to stop after any batch; its looks are at "
                    "these numbers all the same."}


def _judged_by(method: str) -> str:
    """What a run's probabilities come from."""
    own = METHODS.get(method)
    if own is not None and own.is_imported:
        return "predictions made elsewhere, which are said not to have seen its label"
    if own is not None and own.is_head_only:
        return ("predictions that did not see its label (a linear head, fitted without it on features that were not "
                "learned from these labels)")
    return ("predictions that did not see its label (a linear head, fitted without it on features of a network that "
            "did train on it) and from its course through training")


def limits_of(health: Facts, learning: Learning | None = None) -> list[str]:
    """What is not known, or holds only as far as it is said. learning: of the run (Scores.learning)."""
    rate = health["rate"]
    if rate is None or not rate["num_reviews"]:
        lines = ["Nothing is known of the noise rate before the random queue is reviewed; the model's own count of "
                 "wrong labels is no estimate of it."]
    else:
        lines = ["The interval covers the luck of the draw alone. It takes every verdict as right: what reviewers get "
                 "wrong is in the rate.", *_of_rate(rate), *_of_data(rate, health["provenance"])]
    lines += _of_reviewers(health)
    if health["find"] is not None:
        lines.append("The ranked queue looks where errors are likely, so its share of errors is no noise rate, and no "
                     "verdict of it enters one.")
    if health["duplicates"] is not None:
        lines.append("Near-duplicates are near in the run's features, which need not be near to the eye.")
    if health["leaks"] is not None:
        lines += words_of(health["leaks"]["features"], [SplitLeaks(**split) for split in health["leaks"]["splits"]])
    if learning is not None and not learning.has_learned:
        lines.append(learning_words(health["provenance"].get("run", ""), learning))
    lines += health["parts"]
    if health["missing"]:
        lines.append(missing_words(health["provenance"]["run"], health["missing"], health["provenance"]["method"]))
    if health["num_unscored"]:
        lines.append(f"{health['num_unscored']:,} samples could not be scored by the model. They are a stratum of "
                     "their own and in the rate, but not in the ranked queue.")
    return lines


def missing_words(run: str, missing: Sequence[Missing], method: str = "") -> str:
    """What it means that a run of this method lacks evidence, and what to do; on one line. missing: at least one."""
    lacks = {"label_head": ("predictions of labels that did not see them", "labels are judged by what else there is"),
             "neighbours": ("neighbours", "near-duplicates are not looked for")}
    names, results = zip(*(lacks[name] for name in missing), strict=True)
    said = f"Run {run} keeps no {' and no '.join(names)}, so {' and '.join(results)}. "
    if method in METHODS and METHODS[method].is_imported:
        return said + ("Its predictions were imported, and take the neighbours of a run on features: make features, "
                       "then import them again under another name.")
    return said + ("It has not ended, or was trained without a map by an older version; then "
            f"`python -m engine embed PROJECT --run {run} --method pca` makes them from its last checkpoint.")


def learning_words(run: str, learning: Learning) -> str:
    """That a run has not learned, what that costs and what to do, on one line; "" where it has."""
    if learning.has_learned:
        return ""
    if learning.divergence is not None:
        lost = learning.divergence
        return (f"Run {run} diverged: its training loss ended at {lost.last:.3g}; it began at {lost.first:.3g}, and "
                f"naming each class by its share gives {lost.by_shares:.3g}. It suspects none and promises nothing. "
                "Train with a smaller learning rate, or on pretrained features.")
    if not learning.num_judged:
        return (f"Run {run} has no predictions that did not see the labels, so it suspects none and promises nothing. "
                "Let it end, or make features.")
    return (f"Run {run} has not learned to tell the classes: predictions that did not see a label name it in "
            f"{learning.recall:.0%} of a class on average, where guessing gives {learning.chance:.0%} (over "
            f"{learning.num_judged:,} labels). It suspects none and promises nothing. Train on pretrained features, "
            "longer, or on more samples.")


def _of_rate(rate: RatePart) -> list[str]:
    """Caveats about the estimate itself."""
    lines = []
    if not rate["is_complete"]:
        lines.append("Some strata have too few reviews for an interval, so it is wide on purpose.")
    if not rate["is_reached"]:
        lines.append(f"Fewer reviews than planned: the interval is {points(round(rate['half_width'], 3))} now, "
                     f"{points(rate['target'])} were asked for. {UNTIL_THEN}")
    lines += [f"The precision asked for was {points(change['half_width'])} up to review {change['num_reviews']:,}, and "
              "was made finer then." for change in rate["changes"]]
    if rate["num_unsure"]:
        low, high = (f"{bound * 100:.1f}%" for bound in rate["bounds"])
        lines.append(f"{rate['num_unsure']:,} random samples are unsure or disputed and count as not answered. Were "
                     f"all of them right, or all wrong, the interval would reach from {low} to {high}.")
    if rate["num_reviewers"] == 1:
        lines.append("One person reviewed the whole random queue: that person's habits are in the rate.")
    if rate["num_seen"]:
        lines.append(f"Of the random samples {rate['num_seen']:,} had been judged before by the same person in the "
                     "ranked queue, where the model's opinion is shown.")
    lines.append("Beside each question stand the least suspect samples of its class, to compare with. They are in the "
                 "population, too, so one may have been shown as typical of its class before it was drawn.")
    return lines


def _of_data(rate: RatePart, provenance: Mapping[str, str]) -> list[str]:
    """Which labels the rate is of."""
    lines = ["The rate is that of the labels as they were given, on the samples there were when the audit was "
             "planned. What was imported later is not in it."]
    if provenance.get("plan's manifest", provenance["manifest"]) != provenance["manifest"]:
        lines.append(f"The data were imported anew since the audit was planned: {rate['num_stale']:,} of its "
                     f"{rate['num_population']:,} samples are gone or have another label by now. What was answered "
                     "before counts, about the label as it was; the others count as not answered. The labels as they "
                     "are now have a rate of their own, which takes an audit of another name.")
    return lines


def _of_reviewers(health: Facts) -> list[str]:
    """Caveats about how sure the verdicts are."""
    people, pairs = health["reviewers"], health["agreement"]["pairs"]
    if not people:
        return []
    lines = [f"{' and '.join(pair['reviewers'])} agree poorly (kappa {pair['kappa']:.2f}): the classes may not be "
             "defined well enough for a rate to mean much." for pair in pairs
             if pair["kappa"] is not None and pair["kappa"] < POOR_KAPPA and pair["num"] >= MIN_SHARED]
    if pairs and max(pair["num"] for pair in pairs) < MIN_SHARED:
        lines.append(f"No two people share {MIN_SHARED} reviewed samples yet: what is said of their agreement rests on "
                     "few.")
    lines += [f"{person['name']} took {person['median_seconds']:.1f} seconds a sample at the median, which is no look "
              "at a picture." for person in people
              if person["median_seconds"] is not None and person["median_seconds"] < MIN_SECONDS]
    if not pairs:
        lines.append("One person reviewed: agreement with anybody else was not measured." if len(people) == 1 else
                     "No sample was reviewed by two people: their agreement was not measured.")
    if not any(person["consistency"] for person in people):
        lines.append("No hidden repeat has been answered yet: the reviewers' consistency is not known.")
    known = [person["gold"] for person in people if person["gold"]]
    num, num_right = (sum(one[name] for one in known) for name in ("num", "num_right"))
    if not num:
        lines.append("No hidden item with a known answer has been answered: the reviewers' accuracy is not known.")
    elif num_right < num:
        lines.append(f"Of {num:,} hidden items with a known answer {num - num_right:,} were answered otherwise. If "
                     f"reviewers err as often on the rest, up to {100 * (1 - num_right / num):.0f} points of the rate "
                     "are their own errors.")
    return lines
