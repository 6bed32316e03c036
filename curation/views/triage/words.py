"""What the Triage page says: names, rules, order and precision of the four lanes. Numbers in, sentences out."""

from dataclasses import dataclass

import numpy as np

from curation.audit.reviews.blinding import blind_words
from curation.samples.triage import Rule, WrongShare

TITLES = ("Probably mislabeled", "Ambiguous", "Out of place", "Hard but right")
MEANINGS = ("Held-out predictions and neighbours both speak against the label.",
            "Held-out predictions are torn between classes, and the neighbours are mixed.",
            "Like little else: no class is predicted surely, and its neighbours are far away or mixed.",
            "Low held-out margin, yet neighbours or training support the label.")
TO_DO = ("Relabel them, or exclude what belongs to no class.",
         "Decide which class it is, or exclude what is several.",
         "Exclude what does not belong in this data; keep rare but true ones.",
         "Good candidates for the hard validation set: pin them.")
FIRST = ("First those for which the other class is furthest ahead, in held-out predictions and neighbours together.",
         "First those whose held-out margin is nearest to 0.",
         "First those least surely predicted and farthest from their neighbours.",
         "First those whose neighbours most agree with the label, among equals those with the lowest margin.")


@dataclass(frozen=True, slots=True)
class Lanes:
    """What the rule made of a run's samples, ready to show."""

    queues: tuple[np.ndarray, ...]
    """Rows of the sample table of each lane, in order."""
    wrong: tuple[WrongShare | None, ...]
    base: WrongShare | None
    """Share of wrong labels in all samples."""
    num_rest: int
    num_decided: int
    num_unjudged: int
    num_blind: int = 0
    """Drawn for an estimate and not judged yet."""


def rule_words(rule: Rule, is_trained: bool = True) -> tuple[str, ...]:
    """What puts a sample into each lane, in a sentence or two. is_trained: whether the run was."""
    mixed = f"no class has {rule.mixed:.0%} of its neighbours"
    steady = (", or it is the most frequent among them, was predicted held out and learned in training, with a weight "
              "not below its class's median") if is_trained else ""
    return (
        f"Held-out predictions confidently name another class (margin {_below(rule.doubt)}), and among the nearest "
        f"neighbours that class is ahead of the sample's label by {rule.lead:.0%} of them or more.",
        f"Its held-out margin is among the {rule.torn:.0%} of its class nearest to 0, so two classes are about level, "
        f"and {mixed}.",
        f"Held-out predictions give no class much: it is among the {rule.odd:.0%} of its class least sure of any. And "
        f"it is among the {rule.far:.0%} of its class farthest from their neighbours, or {mixed}.",
        f"Its held-out margin is among the lowest {rule.hard:.0%} of its class's supported labels. Supported: held-out "
        f"predictions name no other class, and {rule.support:.0%} of the neighbours have the label{steady}.")


def _below(doubt: float) -> str:
    return f"at most \u2212{doubt:.2f}" if doubt else "at most 0"


def precision_words(wrong: WrongShare | None, base: WrongShare | None) -> str:
    """How many labels of a lane are wrong, beside all samples; "" where no true label is known."""
    if base is None:
        return ""
    if wrong is None:
        return f"The true label is known for none of these. In all samples {base.share:.1%} of the labels are wrong " \
               f"(known for {base.known:,})."
    return (f"Wrong labels here: **{wrong.share:.1%}** (95% interval {wrong.low:.1%} to {wrong.high:.1%}; known for "
            f"{wrong.known:,}), in all samples {base.share:.1%} (known for {base.known:,}). The rule never sees this.")


def not_queued_words(lanes: Lanes) -> str:
    said = (f"In no queue: {lanes.num_rest:,} that fit none, right or wrong, {lanes.num_decided:,} already decided on, "
            f"{lanes.num_unjudged:,} without a held-out prediction or neighbours.")
    return f"{said} {blind_words(lanes.num_blind)}".strip()
