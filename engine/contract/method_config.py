"""Settings of the reweighter, the splitter and single methods, nested in a RunConfig, and what fits a head.

Imports no torch.
"""

from dataclasses import dataclass, replace
from typing import Any

from engine.contract.methods import HEADS, METHODS, REWEIGHTED
from engine.contract.settings import ConfigError, setting

CLOSED_FORMS = ("last_layer_centred", "last_layer")
HYPERGRADIENTS = (*CLOSED_FORMS, "jvp", "unroll", "finite_difference")
WEIGHT_INPUTS = ("features", "features_label_loss", "record", "all")
LOSSES = ("cross_entropy", "generalized_cross_entropy", "balanced_generalized_cross_entropy")


@dataclass(frozen=True, kw_only=True, slots=True)
class ReweighterConfig:
    """How sample weights are learned (Jain et al. 2024, eq. 3)."""

    hypergradient: str = setting(
        "last_layer_centred", "How the effect of a weight on the validation loss is computed. last_layer: closed form "
        "on the final layer, nearly free; centred: without what all features of a batch share. jvp: exact for one SGD "
        "step. finite_difference: close to exact. unroll: the slow reference.", choices=HYPERGRADIENTS)
    every: int = setting(6, "Classifier steps between two updates of the weights (Q).", unit="steps", low=1, high=1000)
    val_batch_size: int = setting(
        64, "Validation samples drawn, class-stratified and fresh, at each update.", unit="samples", low=4, high=8192)
    inputs: str = setting(
        "all", "What the reweighter sees of a sample. The paper's sees the image alone (features). record: label, "
        "loss, what earlier epochs said of it, held out and in training, and how its gradient agrees with that of "
        "validation; all: the record and the features.",
        choices=WEIGHT_INPUTS)
    val_loss: str = setting(
        "balanced_generalized_cross_entropy", "Loss on validation samples. The generalized one is bounded: wrong "
        "labels in validation pull little, but a class that is predicted badly pulls little as well and may be given "
        "up; balanced, every class pulls alike. cross_entropy: the papers' own.", choices=LOSSES)
    min_weight: float = setting(0.05, "Smallest weight before normalisation.", low=0.0, high=1.0)
    max_weight: float = setting(4.0, "Largest weight before normalisation.", low=1.0, high=100.0)
    lr: float = setting(0.02, "Learning rate of the reweighter (Adam).", low=1e-8, high=10.0)
    hidden: int = setting(64, "Hidden units of the reweighter head.", unit="units", low=1, high=8192)
    uniform_pull: float = setting(
        0.02, "Pull of the weights towards 1: strength of mean (w - 1)^2 against the scaled hypergradient.",
        low=0.0, high=100.0)
    heavy_weight: float = setting(
        3.0, "Weight, after normalisation, above which a sample is pulled back strongly, so that weights do not gather "
        "on a few. 100: hardly ever.", low=1.0, high=100.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitterConfig:
    """How the splitter learns who is hard (Jain et al. 2024; regularisers of Bao & Barzilay 2022, eq. 2-3)."""

    every: int = setting(4, "Classifier steps between two updates of the splitter.", unit="steps", low=1, high=1000)
    lr: float = setting(3e-3, "Learning rate of the splitter (Adam).", low=1e-8, high=10.0)
    hidden: int = setting(64, "Hidden units of the splitter head.", unit="units", low=1, high=8192)
    gap_strength: float = setting(
        1.0, "Strength of the term that asks for a high validation loss (soft assignment).", low=0.0, high=100.0)
    ratio_strength: float = setting(
        1.0, "Strength of the KL term that holds the validation share near val_fraction.", low=0.0, high=100.0)
    balance_strength: float = setting(
        1.0, "Strength of the KL term that keeps the class mix of both sides like the whole.", low=0.0, high=100.0)
    is_soft: bool = setting(
        True, "Let the validation-loss term see soft assignments. Off: a hard threshold, which blocks its gradient.")
    hysteresis: float = setting(
        0.05, "How much lower the splitter's probability of a newcomer must be to replace a sample already in "
        "validation, so that fewer change from epoch to epoch.", low=0.0, high=1.0)
    coverage: float = setting(
        0.5, "Largest share of a sample's same-class neighbours that may be in validation with it, so that training "
        "keeps some of every hard neighbourhood. 1 turns this off.", unit="fraction", low=0.0, high=1.0)
    num_neighbors: int = setting(10, "Neighbours a sample has for coverage.", unit="samples", low=1, high=1000)
    features: str | None = setting(
        "auto", "Of a network trained on images: features whose linear discriminants, out of fold, say from the start "
        "which labels are probably wrong and which samples are hard. auto: the project's, the first by name, where it "
        "has any. None: only what the run itself predicts.")


@dataclass(frozen=True, kw_only=True, slots=True)
class ControlConfig:
    """Settings of single methods that MOLERE is held against; each is of one alone."""

    elr_strength: float = setting(
        3.0, "ELR: strength of the pull towards past predictions (lambda). The paper's for CIFAR-10: 3.", low=0.0,
        high=100.0)
    elr_memory: float = setting(
        0.7, "ELR: share of the past in the moving average of a sample's predictions (beta). The paper's for CIFAR-10: "
        "0.7.", unit="fraction", low=0.0, high=0.9999)
    fbr_rate: float = setting(
        0.2, "FBR: step of a sample's weight, which lies between 0 and 1, each time it is trained on, against the "
        "typical similarity of a batch.", low=1e-6, high=100.0)
    fbr_others: float = setting(
        1.0, "FBR: what nearness to the other classes, their mean, counts against nearness to the own. The authors' "
        "code takes their sum: the number of classes less 1.", low=0.0, high=10_000.0)
    first_share: float = setting(
        0.25, "JTT: share of the epochs after which the first training stops.", unit="fraction", low=0.001, high=1.0)
    error_weight: float = setting(
        5.0, "JTT: weight of a sample that the first training got wrong; of the others 1.", low=1.0, high=1000.0)
    worst_share: float = setting(
        0.3, "CVaR-DRO: share of a batch, those with the highest losses, that it trains on (alpha).", unit="fraction",
        low=0.001, high=1.0)
    excluded_share: float = setting(
        0.2, "Exclude by confidence: share of the samples that are left out.", unit="fraction", low=0.0, high=0.99)


def asks_features(config: Any) -> bool:
    """Whether splitter.features of a RunConfig counts: on images, where the splitter decides."""
    return config.features is None and bool(config.validation_source == "learned")


def features_used(config: Any) -> str | None:
    """The features that a settled RunConfig rests on: a head's, or those by whose discriminants it begins; None: on
    images alone."""
    own = config.splitter.features if asks_features(config) else None
    return config.features or (None if own in (None, "auto") else str(own))


def idle_values(config: Any, default: Any) -> dict[str, Any]:
    """Settings of a RunConfig that do nothing there, among those whose defaults have changed, as a default one has
    them."""
    is_guarded = config.validation_source in ("hard", "learned")
    is_finishing = config.weight_source in (*REWEIGHTED, "similarity")
    names = (*(() if is_guarded else ("guard", "guard_largest")), *(() if is_finishing else ("finish_fraction",)))
    splitter = config.splitter if asks_features(config) else replace(config.splitter, features="auto")
    return {"splitter": splitter, **{name: getattr(default, name) for name in names}}


def alone_because(config: Any, has_gpu: bool = True) -> str:
    """Why several processes cannot train a RunConfig together, the rest of a sentence that begins with them; "" where
    they can. has_gpu: where it trains."""
    if config.weight_source in ("rho", "errors", "online") or config.validation_source == "proxy":
        return f"train no proxy buffer, no batches chosen by loss and no short first training; got {config.method}"
    if config.is_fine_tuning and not has_gpu:
        return f"fine-tune a backbone on GPUs alone; got network={config.network} without one"
    if config.mixup:
        return f"do not mix samples; got mixup={config.mixup:g}"
    if config.is_compiled:
        return "do not compile yet; got is_compiled=true"
    if config.weight_source in REWEIGHTED and config.reweighter.hypergradient not in CLOSED_FORMS:
        return (f"need a hypergradient of {' or '.join(CLOSED_FORMS)}, since the others go through the whole network; "
                f"got {config.reweighter.hypergradient}")
    return ""


def check_head(config: Any) -> None:
    """Raise ConfigError for settings of a RunConfig that make no sense on features, or without them."""
    if config.features is None:
        if config.network in HEADS or METHODS[config.method].is_head_only:
            what = f"network={config.network}" if config.network in HEADS else f"method={config.method}"
            raise ConfigError(f"a head is trained on features; got {what} without any; add features=NAME, made by "
                              "`python -m engine features`")
        return
    if config.network not in ("auto", *HEADS):
        raise ConfigError(f"on features the network must be auto, {' or '.join(HEADS)}; got network={config.network} "
                          f"with features={config.features}; leave one of them out")
    if METHODS[config.method].is_head_only and config.network not in ("auto", "linear"):
        raise ConfigError(f"method {config.method} is a linear head; got network={config.network}; leave it out")
    for name, value, allowed, why in (
            ("weights", config.weights, (None,), "a head is trained from scratch"),
            ("image_size", config.image_size, (None,), "features were made at a size of their own"),
            ("augment", config.augment, ("auto", "none"), "features are of the image as it is"),
            ("precision", config.precision, ("auto", "float32"), "a head computes in float32"),
            ("is_compiled", config.is_compiled, (False,), "a head has nothing to gain from it")):
        if value not in allowed:
            raise ConfigError(f"{name} is of training on images, {why}; got {name}={value} with "
                              f"features={config.features}; leave one of them out")
