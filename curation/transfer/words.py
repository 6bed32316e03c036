"""A transfer score as people read it: in the command's lines, on the Export page and in a data card."""

from collections.abc import Sequence

from curation.words import counted, signed
from engine.contract.transfers.transfer_dir import BackboneScore, Figure, TransferScore

SCORE_OF_THE_SET = ("A score of the set, not of a model: the set was chosen to be hard and edited by people, so these "
                    "are no accuracies on the data. The heads that judge were trained on none of these sets.")
EASY_FOR_ITS_OWN = ("That its own backbone is more often right on the set than on others is what a noise guard does: "
                    "it admits the labels which that backbone's own predictions support.")


def lines(score: TransferScore) -> list[str]:
    """Plain sentences: what was compared, the result by each backbone, with labels known to be right alone, and how
    many labels are in doubt. Names of features and runs stand in them as they are."""
    request = score["request"]
    left = f"; {counted(score['num_left_out'], 'sample')} could not be scored" if score["num_left_out"] else ""
    of = f" of run {request['run']}" if request["run"] else ""
    found = [f"{request['set']}{of}: {counted(score['num_samples'], 'sample')}, against "
             f"{counted(request['num_repeats'], 'random set')} of the other training samples with as many of each "
             f"class{left}.", headline(score)]
    for name, backbone in backbones(score):
        figure = backbone["all"]["accuracy"]
        found.append(f"By {name}: {difference(figure)}; cross-entropy {backbone['all']['loss']['of_set']:.2f} against "
                     f"{backbone['all']['loss']['of_random']:.2f}, margin {backbone['all']['margin']['of_set']:.2f} "
                     f"against {backbone['all']['margin']['of_random']:.2f}.")
    own = judged(score["own"])["low"] if score["own"] else None
    if own is not None and own > 0:
        found.append(EASY_FOR_ITS_OWN)
    return [*found, *label_lines(score)]


def transfer_lines(scores: Sequence[TransferScore]) -> list[str]:
    """`lines` of every score, then what they are of; none without scores."""
    return [line for score in scores for line in lines(score)] + ([SCORE_OF_THE_SET] if scores else [])


def headline(score: TransferScore) -> str:
    """'Still hard for the other backbone. Accuracy for its own backbone (lite0): 41.0% against 72.0%; for dino: 55.0%
    against 74.0%.', of labels known to be right alone where there are enough."""
    own, other = score["own"], score["other"]
    parts = [f"for its own backbone ({own['features']}): {shares(judged(own))}"] if own else []
    parts.append(f"for {other['features']}: {shares(judged(other))}")
    of = "Accuracy" if other["right"] is None else "Accuracy on labels known to be right"
    return f"{verdict(score)}. {of} {'; '.join(parts)}."


def judged(backbone: BackboneScore) -> Figure:
    """The accuracy by which a set is called hard: wrong labels look hard to everybody, so that of labels known to be
    right, where there are enough."""
    return (backbone["right"] or backbone["all"])["accuracy"]


def verdict(score: TransferScore) -> str:
    """What the interval of the difference in accuracy says; where labels cannot be told right and more of the set's are
    suspected than of others, that this may be why it looks hard."""
    accuracy, suspected = judged(score["other"]), suspected_frac(score)
    if accuracy["low"] is None or accuracy["high"] is None:
        return "Too few samples or random sets to tell whether it is hard for the other backbone"
    if accuracy["low"] > 0:
        return "Easier than random sets for the other backbone"
    if accuracy["high"] >= 0:
        return "Not shown to be hard for the other backbone"
    if score["other"]["right"] is None and suspected > (score["request"]["other_suspected_frac"] or 0.0):
        return f"It looks hard to the other backbone, but {suspected:.1%} of its labels are suspected"
    return "Still hard for the other backbone"


def suspected_frac(score: TransferScore) -> float:
    """The share of the set whose labels are suspected; 0 where that is not known."""
    return (score["request"]["num_suspected"] or 0) / max(score["num_samples"] + score["num_left_out"], 1)


def backbones(score: TransferScore) -> list[tuple[str, BackboneScore]]:
    """(words, score) of each backbone, the set's own first."""
    own = [(f"its own backbone, {score['own']['features']}", score["own"])] if score["own"] else []
    return [*own, (score["other"]["features"], score["other"])]


def shares(figure: Figure) -> str:
    """'41.0% against 72.0%'"""
    return f"{figure['of_set']:.1%} against {figure['of_random']:.1%}"


def difference(accuracy: Figure) -> str:
    """'41.0% against 72.0%, difference -31.0 points (95% interval -34.2 to -27.8)'"""
    ends = "no interval" if accuracy["low"] is None or accuracy["high"] is None else \
        f"95% interval {signed(100 * accuracy['low'])} to {signed(100 * accuracy['high'])}"
    return f"{shares(accuracy)}, difference {signed(100 * accuracy['difference'])} points ({ends})"


def label_lines(score: TransferScore) -> list[str]:
    """What of that is hardness and what may be wrong labels."""
    found = []
    for name, backbone in backbones(score):
        right = backbone["right"]
        if right is not None:
            found.append(f"Labels known to be right alone ({counted(right['num_set'], 'sample')} of the set, "
                         f"{right['num_random']:,.0f} of a random set), by {name}: {difference(right['accuracy'])}.")
    if not found:
        found.append("Too few labels are known to be right to tell hardness from wrong labels: confirm some in Audit.")
    num, share = score["request"]["num_suspected"], score["request"]["other_suspected_frac"]
    if num is not None and share is not None:
        found.append(f"Suspected labels, more probably wrong than right by the audit: {num:,} of the set "
                     f"({suspected_frac(score):.1%}), {share:.1%} of the other training samples.")
    return found
