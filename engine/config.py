"""RunConfig: every setting of a run, frozen, validated, with a JSON round trip.

Imports no torch: the app reads these settings to draw its form, and must not pay for torch to do so.
Each field carries its own help, unit and range, so the command line, the form and the validation cannot disagree.
"""

import dataclasses
import json
import math
import types
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from engine.methods import METHODS as METHODS

DEVICES = ("auto", "cpu", "cuda", "mps")
NETWORKS = ("auto", "tiny", "small", "resnet18", "resnet50", "vit_b_16")
AUGMENTATIONS = ("auto", "none", "shift", "shift_flip")
EMBEDDINGS = ("umap", "pca", "none")
HYPERGRADIENTS = ("last_layer", "jvp", "unroll", "finite_difference")
WEIGHT_INPUTS = ("features", "features_label_loss", "record", "all")
LOSSES = ("cross_entropy", "generalized_cross_entropy", "balanced_generalized_cross_entropy")
GUARDS = ("off", "confident", "agree")
VALIDATION_SOURCES = ("none", "random", "easy", "hard", "learned", "clean", "proxy")
HELDOUT_SOURCES = ("random", "easy", "hard", "learned")
"""The sources whose validation samples leave training."""
WEIGHT_SOURCES = ("uniform", "features", "loss", "rho", "online")
PROXY_VALUES = ("confidence", "meta_margin")


class ConfigError(ValueError):
    """A setting the user gave is unknown, of the wrong type or out of range. One line, ready to show."""


def _setting(default: Any, help: str, *, unit: str = "", low: float | None = None, high: float | None = None,
             choices: tuple[str, ...] | None = None, advanced: bool = False) -> Any:
    """A dataclass field that carries its help, unit, inclusive range or choices."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices, "advanced": advanced}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReweighterConfig:
    """How sample weights are learned (method.md: updates, weights; Jain et al. 2024, eq. 3)."""

    hypergradient: str = _setting(
        "last_layer", "How the effect of a weight on the validation loss is computed. last_layer: closed form on the "
        "final layer, nearly free. jvp: exact for one SGD step. finite_difference: close to exact. unroll: the slow "
        "reference.", choices=HYPERGRADIENTS)
    every: int = _setting(4, "Classifier steps between two updates of the weights (Q).", unit="steps", low=1, high=1000)
    val_batch_size: int = _setting(
        128, "Validation samples drawn, class-stratified and fresh, at each update.", unit="samples", low=2, high=8192)
    inputs: str = _setting(
        "all", "What the reweighter sees of a sample. The paper's sees the image alone (features). record: label, loss "
        "and what earlier epochs said of it, held out and in training; all: the record and the features.",
        choices=WEIGHT_INPUTS)
    val_loss: str = _setting(
        "balanced_generalized_cross_entropy", "Loss on validation samples. The generalized one is bounded: wrong "
        "labels in validation pull little, but a class that is predicted badly pulls little as well and may be given "
        "up; balanced, every class pulls alike. cross_entropy: the papers' own.", choices=LOSSES)
    min_weight: float = _setting(
        0.05, "Smallest weight before normalisation where a quarter of the labels or more are disputed; the fewer are, "
        "the nearer to 0.5 the smallest weight is.", low=0.0, high=1.0)
    max_weight: float = _setting(4.0, "Largest weight before normalisation.", low=1.0, high=100.0)
    lr: float = _setting(0.02, "Learning rate of the reweighter (Adam).", low=1e-8, high=10.0)
    hidden: int = _setting(64, "Hidden units of the reweighter head.", unit="units", low=1, high=8192)
    uniform_pull: float = _setting(
        0.02, "Pull of the weights towards 1: strength of mean (w - 1)^2 against the scaled hypergradient.",
        low=0.0, high=100.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitterConfig:
    """How the splitter learns who is hard (Jain et al. 2024; regularisers of Bao & Barzilay 2022, eq. 2-3)."""

    every: int = _setting(1, "Classifier steps between two updates of the splitter.", unit="steps", low=1, high=1000)
    lr: float = _setting(3e-3, "Learning rate of the splitter (Adam).", low=1e-8, high=10.0)
    hidden: int = _setting(64, "Hidden units of the splitter head.", unit="units", low=1, high=8192)
    gap_strength: float = _setting(
        1.0, "Strength of the term that asks for a high validation loss (soft assignment).", low=0.0, high=100.0)
    ratio_strength: float = _setting(
        1.0, "Strength of the KL term that holds the validation share near val_fraction.", low=0.0, high=100.0)
    balance_strength: float = _setting(
        1.0, "Strength of the KL term that keeps the class mix of both sides like the whole.", low=0.0, high=100.0)
    is_soft: bool = _setting(
        True, "Let the validation-loss term see soft assignments. Off: a hard threshold, which blocks its gradient.")
    hysteresis: float = _setting(
        0.05, "How much lower the splitter's probability of a newcomer must be to replace a sample already in "
        "validation. Damps churn.", low=0.0, high=1.0)
    coverage: float = _setting(
        0.5, "Largest share of a sample's same-class neighbours that may be in validation with it, so that training "
        "keeps some of every hard neighbourhood. 1 turns this off.", unit="fraction", low=0.0, high=1.0)
    num_neighbors: int = _setting(10, "Neighbours a sample has for coverage.", unit="samples", low=1, high=1000)


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Every setting of one run. Unknown keys and values out of range are refused with ConfigError."""

    NESTED: ClassVar[tuple[str, ...]] = ("reweighter", "splitter")

    method: str = _setting("molere", "Training method.", choices=tuple(METHODS))
    seed: int = _setting(0, "Seed of everything random in the run.", low=0, high=2**31 - 1)
    epochs: int = _setting(20, "Passes over the data: each epoch takes as many classifier steps as plain training on "
                           "all samples would, whatever the method.", unit="epochs", low=1, high=100_000)
    batch_size: int = _setting(128, "Training samples a step.", unit="samples", low=2, high=65_536)
    val_fraction: float = _setting(
        0.1, "Share of each class in validation (delta).", unit="fraction", low=0.001, high=0.9)
    validation: str | None = _setting(
        None, "Where validation samples come from, instead of the method's own way. clean: the project's clean "
        "samples (then accuracy on them is no longer an untouched figure). proxy: a buffer of samples that train as "
        "well.", choices=VALIDATION_SOURCES, advanced=True)
    select_best: bool = _setting(
        False, "Early stopping: after the last epoch, go back to the classifier of the epoch with the best accuracy on "
        "the validation samples, by their given labels. Wants a source that holds samples out of training.")
    warmup_fraction: float = _setting(
        0.25, "Share of the epochs at the start with random splits and uniform weights.", unit="fraction", low=0.0,
        high=1.0)
    finish_fraction: float = _setting(
        0.2, "Share of the epochs at the end in which the validation samples train as well, under weights that are no "
        "longer updated: nothing is kept from the final classifier. Their held-out record ends there.", unit="fraction",
        low=0.0, high=1.0)
    rotation_groups: int | None = _setting(
        8, "Each epoch one of this many random groups rests out of training, so every sample collects held-out "
        "predictions. Methods with a fixed split or none do not rotate. None: off.", unit="groups", low=2, high=1000)
    guard: str = _setting(
        "agree", "Noise guard of hard validation samples: hard is not wrong. agree: admit a sample only if its "
        "held-out predictions support its label; disputed ones wait for people. confident: withhold only those that "
        "they confidently dispute. A class short of others passes its least disputed. off: admit all.", choices=GUARDS)
    network: str = _setting(
        "auto", "Classifier. auto: small up to 32 pixels, resnet18 above.", choices=NETWORKS)
    weights: str | None = _setting(
        None, "Pretrained start: a torchvision weights name such as DEFAULT (downloads), or a .safetensors file.")
    image_size: int | None = _setting(
        None, "Side of the square images given to the network. None: as in the data, at most 224.", unit="pixels",
        low=8, high=1024)
    augment: str = _setting(
        "auto", "Random changes of training images. shift: small translations; shift_flip: also mirror left-right. "
        "auto: shift up to 8 pixels, shift_flip above.", choices=AUGMENTATIONS)
    lr: float = _setting(0.05, "Peak learning rate of the classifier (SGD, cosine to 0).", low=1e-8, high=100.0)
    momentum: float = _setting(0.9, "Momentum of the classifier's SGD.", low=0.0, high=0.9999)
    weight_decay: float = _setting(5e-4, "Weight decay of the classifier.", low=0.0, high=1.0)
    folds: int | None = _setting(
        None, "Folds of the cross-fitted first training of lrw_easy, lrw_hard and rho. None: 3, for rho 2.", low=2,
        high=20)
    rho_fraction: float = _setting(
        0.1, "RHO-loss: share of a step's candidates that it trains on; the candidates are batch_size / rho_fraction.",
        unit="fraction", low=0.001, high=1.0)
    proxy_fraction: float = _setting(
        0.04, "Size of the proxy buffer of FSR as a share of the training samples, the same number of each class.",
        unit="fraction", low=0.001, high=1.0)
    proxy_value: str = _setting(
        "confidence", "What the proxy buffer of FSR asks of a sample, as a moving average over epochs. confidence: a "
        "high probability of its own label. meta_margin: that its loss falls in a look-ahead step, as in the paper's "
        "code, which trains with mixup and pseudo-labels besides.", choices=PROXY_VALUES)
    device: str = _setting("auto", "Where to train. auto: cuda, then mps, then cpu.", choices=DEVICES)
    num_threads: int | None = _setting(
        None, "CPU threads of torch. None: torch's own choice.", unit="threads", low=1, high=1024, advanced=True)
    checkpoint_seconds: float = _setting(
        300.0, "Longest time between two checkpoints; one is written at each epoch's end in any case.",
        unit="seconds", low=0.0, high=86_400.0, advanced=True)
    embedding: str = _setting("umap", "Map of the classifier's features, made at the end.", choices=EMBEDDINGS)
    reweighter: ReweighterConfig = field(default_factory=ReweighterConfig)
    splitter: SplitterConfig = field(default_factory=SplitterConfig)

    def __post_init__(self) -> None:
        for name, value, spec, kind in _leaves(self):
            _check(name, value, spec, kind)
        if self.select_best and self.validation_source not in HELDOUT_SOURCES:
            raise ConfigError(f"select_best needs validation samples held out of training; got validation source "
                              f"{self.validation_source}; choose validation from {', '.join(HELDOUT_SOURCES)}")

    @property
    def validation_source(self) -> str:
        """Where validation samples come from: the override if given, else the method's own way."""
        return self.validation or METHODS[self.method].validation

    @property
    def weight_source(self) -> str:
        """How weights are made. Without validation samples there is nothing to learn them from: uniform."""
        own = METHODS[self.method].weights
        return "uniform" if self.validation_source == "none" and own != "rho" else own

    @property
    def num_folds(self) -> int:
        """Folds of cross-fitting: two halves for rho, as its authors have it, and three for rankings."""
        return self.folds or (2 if self.weight_source == "rho" else 3)

    @property
    def first_finish_epoch(self) -> int:
        """The first epoch, counted from 1, in which nobody is held out any more; past the end where there is none.

        Only a method that learns weights finishes so: the controls with fixed weights keep what they hold out, and
        user-supplied validation holds nobody of the train split out. Nor does early stopping: it would go back to an
        epoch before, for it judges by samples held out. The first epoch never finishes: it draws the roles.
        """
        is_finishing = self.weight_source in ("features", "loss") and self.validation_source in HELDOUT_SOURCES \
            and not self.select_best
        num = round(self.finish_fraction * self.epochs) if is_finishing else 0
        return max(self.epochs - num, self.warmup_epochs, 1) + 1

    @property
    def num_rotation_groups(self) -> int | None:
        """rotation_groups, but no more than there are epochs to rest in, so that everybody is held out once."""
        return self.rotation_groups and min(self.rotation_groups, max(self.first_finish_epoch - 1, 2))

    @property
    def warmup_epochs(self) -> int:
        """Epochs of warm-up: rounded up, zero only where warmup_fraction is zero."""
        return math.ceil(self.warmup_fraction * self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Plain dict of JSON types; RunConfig.from_dict reads it back to an equal config."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Build from a dict as to_dict gives it. Raises ConfigError for an unknown key or a bad value."""
        return typing.cast(RunConfig, _build(cls, values, ""))

    @classmethod
    def from_settings(cls, settings: list[str], **given: Any) -> "RunConfig":
        """Build from command-line settings 'name=value' (nested ones as 'splitter.lr=0.01') over `given` values.

        Raises ConfigError for a setting without '=', an unknown name or a bad value.
        """
        values: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        for setting in settings:
            name, equals, text = setting.partition("=")
            if not equals:
                raise ConfigError(f"a setting must read name=value; got {setting!r}")
            target, leaf = values, name
            if "." in name:
                group, leaf = name.split(".", 1)
                target = values.setdefault(group, {})
            target[leaf] = _parse(text)
        return cls.from_dict(values)


def settings_of(cls: type) -> list[dict[str, Any]]:
    """Every setting of a config class in order: name, default, type, help, unit, low, high, choices, advanced."""
    hints = typing.get_type_hints(cls)
    return [{"name": f.name, "default": f.default, "type": hints[f.name], **f.metadata}
            for f in dataclasses.fields(cls) if f.metadata]


def _leaves(config: Any, prefix: str = "") -> list[tuple[str, Any, Any, Any]]:
    """(dotted name, value, metadata, type) of every setting, nested ones included."""
    hints = typing.get_type_hints(type(config))
    found = []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            found += _leaves(value, f"{prefix}{f.name}.")
        else:
            found.append((prefix + f.name, value, f.metadata, hints[f.name]))
    return found


def _check(name: str, value: Any, spec: Any, kind: Any) -> None:
    """Raise ConfigError unless value has the field's type and lies in its range or choices."""
    allowed = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
    if value is None and type(None) in allowed:
        return
    base = next(t for t in allowed if t is not type(None))
    fits = isinstance(value, (int, float)) if base is float else isinstance(value, base)
    if not fits or (isinstance(value, bool) and base is not bool):
        raise ConfigError(f"{name} must be of type {base.__name__}; got {value!r}")
    if spec.get("choices") and value not in spec["choices"]:
        raise ConfigError(f"{name} must be one of {', '.join(spec['choices'])}; got {value!r}")
    if base in (int, float):
        low, high = spec["low"], spec["high"]
        if not math.isfinite(value) or (low is not None and value < low) or (high is not None and value > high):
            raise ConfigError(f"{name} must lie in [{low}, {high}]; got {value!r}")


def _build(cls: type, values: Any, prefix: str) -> Any:
    """Instantiate a (possibly nested) config class from plain values, refusing unknown keys."""
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'} must be an object of settings; got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = [k for k in values if k not in fields]
    if unknown:
        raise ConfigError(f"no setting named {prefix}{unknown[0]}; there are {', '.join(sorted(fields))}")
    hints = typing.get_type_hints(cls)
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]) and not dataclasses.is_dataclass(value):
            value = _build(typing.cast(type, hints[name]), value, f"{prefix}{name}.")
        elif value == "none" and "none" not in (fields[name].metadata.get("choices") or ()):
            value = None  # "none" on the command line means off, unless it is one of the choices
        built[name] = value
    return cls(**built)


def _parse(text: str) -> Any:
    """A command-line value: JSON where it parses (numbers, true, null), else the text itself."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return {"True": True, "False": False}.get(text, text)
