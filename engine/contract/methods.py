"""The methods: where validation samples come from x how weights are made; imports no torch."""

from dataclasses import dataclass
from typing import Any

HEADS = ("linear", "mlp")
"""Networks that take features; all others take images."""
VALIDATION_SOURCES = ("none", "random", "easy", "hard", "learned", "clean", "proxy")
HELDOUT_SOURCES = ("random", "easy", "hard", "learned")
"""The sources whose validation samples leave training."""
REWEIGHTED = ("features", "loss")
"""Weights by a reweighter that learns from validation samples."""
FROM_VALIDATION = (*REWEIGHTED, "online", "similarity")
"""Weights that come from validation samples: uniform where there are none."""
FIRST_TRAINED = ("errors", "confident")
"""Weights that a first training fixes."""
WEIGHT_SOURCES = ("uniform", "rho", "worst", *FROM_VALIDATION, *FIRST_TRAINED)
FIXED_WEIGHTS = ("uniform", *FIRST_TRAINED)
"""Weights that are known before a step."""
LOSSES_OF_METHODS = ("cross_entropy", "early_learning")
BEFORE_THERE_WERE: dict[str, Any] = {"class_balance": 0.0, "precision": "float32", "head_epochs": 0}
"""What runs did by settings of a RunConfig that came later."""
SPLITTER_BEFORE: dict[str, Any] = {"features": None}
"""The same of a splitter's, of trainings on images where it decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """Where validation samples come from x how weights are made x what is descended: all that tells methods apart."""

    validation: str
    weights: str
    title: str
    help: str
    loss: str = "cross_entropy"
    """Of LOSSES_OF_METHODS: what the classifier's steps descend."""
    folds: int | None = None
    """Folds of a first, cross-fitted plain training; None: there is none."""
    is_head_only: bool = False
    """Whether it can be trained on features alone."""
    is_imported: bool = False
    """Whether its results come from elsewhere, so that nothing here can train it."""

    @property
    def is_trained(self) -> bool:
        """Whether it has epochs, in which it learns weights or routes samples: else a run of it is one look."""
        return not (self.is_head_only or self.is_imported)


METHODS: dict[str, Method] = {
    "molere": Method(
        validation="learned", weights="features", title="MOLERE",
        help="A splitter routes the hardest samples of each class to validation; a reweighter learns a weight for "
             "each training sample so that the classifier does better on them.",
    ),
    "erm": Method(
        validation="none", weights="uniform", title="ERM (plain training)",
        help="All samples in training, every weight 1. The baseline to beat.",
    ),
    "lrw_random": Method(
        validation="random", weights="features", title="LRW-Random",
        help="Learns weights against a fixed random validation split: the control for where validation comes from.",
    ),
    "lrw_easy": Method(
        validation="easy", weights="features", title="LRW-Easy (train twice)",
        help="First a cross-fitted plain training, to rank the samples by margin. Then it learns weights against the "
             "easiest of each class.",
        folds=3,
    ),
    "lrw_hard": Method(
        validation="hard", weights="features", title="LRW-Hard (train twice)",
        help="First a cross-fitted plain training, to rank the samples by margin. Then it learns weights against the "
             "hardest of each class. Under label noise the hardest are mostly mislabeled: keep the guard on.",
        folds=3,
    ),
    "meta_weight_net": Method(
        validation="random", weights="loss", title="Meta-Weight-Net",
        help="A weight from the loss value alone (1-100-1 network, no lower bound, Shu et al. 2019) against a random "
             "split, by the reweighter settings below. The paper's: every=1, lr=0.001, uniform_pull=0, "
             "heavy_weight=100, val_loss=cross_entropy, hypergradient=jvp, and neither warm-up nor finish.",
    ),
    "rho": Method(
        validation="none", weights="rho", title="RHO-loss",
        help="First plain training on each half gives every sample the loss of a model that has not seen it; then each "
             "step trains on those of a large batch whose loss exceeds it most (Mindermann et al. 2022).",
        folds=2,
    ),
    "kfold": Method(
        validation="none", weights="uniform", title="K-fold (plain training)",
        help="First a plain training for each fold, on all the others: out-of-fold predictions of every sample, whose "
             "label quality other methods can be compared with. Then plain training on all. Costs that many trainings.",
        folds=5,
    ),
    "fsr": Method(
        validation="proxy", weights="online", title="Fast Sample Reweighting",
        help="No sample leaves training: a class-balanced buffer of training samples that did well so far stands in "
             "for validation, and each step's weights come from its gradient alone (FSR, Zhang & Pfister 2021). The "
             "paper's: hypergradient=last_layer, val_loss=cross_entropy.",
    ),
    "fbr": Method(
        validation="random", weights="similarity", title="Feature-Based Reweighting",
        help="No gradient of validation: a sample's weight rises where its features lie nearer to the validation "
             "samples of its own class than to those of others, and falls where not (FBR, Zhang et al. 2025). Theirs "
             "is a small clean set: validation=clean.",
    ),
    "elr": Method(
        validation="none", weights="uniform", loss="early_learning", title="Early-Learning Regularization",
        help="Plain training with a pull of each prediction towards its own past ones, so that wrong labels are not "
             "memorised late (ELR, Liu et al. 2020). Not ELR+, which has two networks and mixup.",
    ),
    "jtt": Method(
        validation="none", weights="errors", title="Just Train Twice",
        help="First a short plain training; then a second one from the start, in which the samples that the first got "
             "wrong weigh more (JTT, Liu et al. 2021). For rare groups: wrong labels weigh more as well.",
    ),
    "cvar_dro": Method(
        validation="none", weights="worst", title="CVaR-DRO",
        help="Each step trains on the share of its batch with the highest losses alone (Levy et al. 2020): the worst "
             "group counts, whichever it is. For rare groups: wrong labels are among the worst.",
    ),
    "oof_exclude": Method(
        validation="none", weights="confident", title="Exclude by confidence",
        help="First a plain training for each fold, on all the others; then plain training without the share of the "
             "samples whose label was given the lowest probability out of fold.",
        folds=3,
    ),
    "discriminant": Method(
        validation="none", weights="uniform", title="Linear discriminant",
        help="No training: in the features, a Gaussian for each class, all with one covariance, which takes seconds. "
             "Every sample is judged by a head that did not see it. Routes nothing and learns no weights.",
        is_head_only=True,
    ),
    "imported": Method(
        validation="none", weights="uniform", title="Imported predictions",
        help="Out-of-fold probabilities of a model trained elsewhere, by `python -m curation predictions`.",
        is_imported=True,
    ),
}
TRAINABLE = tuple(name for name, method in METHODS.items() if not method.is_imported)
"""The methods that a run can be started with."""


def before(values: dict[str, Any]) -> dict[str, Any]:
    """A RunConfig as a run or a row has it, perhaps by older code, with what that did by settings that it lacks."""
    splitter, method = values.get("splitter", {}), METHODS.get(str(values.get("method", "molere")))
    source = values.get("validation") or (method and method.validation)
    if values.get("features") is None and source == "learned" and isinstance(splitter, dict):
        values = values | {"splitter": SPLITTER_BEFORE | splitter}
    return BEFORE_THERE_WERE | values
