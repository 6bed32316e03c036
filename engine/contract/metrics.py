"""What a run measures of itself: one line of metrics.jsonl an epoch, and the weight decay it chose. None where a figure
does not apply."""

from typing import TypedDict

from engine.contract.events import RunEvent


class EpochMetrics(TypedDict):
    """Shares, accuracies and coverage lie in [0, 1]. Accuracy on clean and test splits is of nobody's training data."""

    epoch: int
    """From 1."""
    seconds: float | None
    lr: float
    """Of the epoch's last step."""
    train_loss: float
    """Weighted mean over the samples trained on."""
    validation_loss: float | None
    """Mean held-out loss of the routed."""
    clean_accuracy: float | None
    test_accuracy: float | None
    """Read in the last epoch alone."""
    num_train: int
    num_validation: int
    num_routed: int
    validation_share: float
    churn: float | None
    """Share of the routed that are new since the epoch before."""
    effective_sample_frac: float | None
    """Kish's effective sample size of the weights over the samples trained on, in (0, 1]."""
    label_noise: float | None
    """Estimated share of wrong given labels, by the noise model of held-out predictions."""
    weight_freedom: float | None
    """How far learned weights act, in [0, 1] (engine.molere.freedom). Of older runs: how low they might fall."""
    weight_min: float | None
    weight_max: float | None
    weight_mean_wrong: float | None
    """Mean weight of labels known to be wrong; weight_mean_right: known to be right."""
    weight_mean_right: float | None
    num_withheld: int
    guard_wrong_share: float | None
    """Share of wrong labels among the routed, where the truth is known; unguarded_wrong_share: had the lowest scores of
    each class gone in."""
    unguarded_wrong_share: float | None
    coverage: float | None
    """Share of the routed with a same-class neighbour left in training."""
    events: list[RunEvent]


class TriedWeightDecay(TypedDict):
    """A strength and what its plain head came to on given labels held out of training."""

    weight_decay: float
    accuracy: float
    """In [0, 1]."""
    cross_entropy: float | None
    """None: not finite."""


class ChosenWeightDecay(TypedDict):
    """What a run on features chose by itself (config.json, `chosen`)."""

    weight_decay: float
    heldout: list[TriedWeightDecay]
    """Weakest first; empty where too few samples could be held out."""
