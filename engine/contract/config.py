"""RunConfig: every setting of a run, frozen, validated, with a JSON round trip.

Imports no torch: the app reads these settings to draw its form, and must not pay for torch to do so.
Each field carries its own help, unit and range, so the command line, the form and the validation cannot disagree.
"""

import dataclasses
import math
import typing
from dataclasses import dataclass, field
from typing import Any, ClassVar

from engine.contract import methods
from engine.contract.method_config import ControlConfig, ReweighterConfig, SplitterConfig, check_head, idle_values
from engine.contract.methods import HEADS, METHODS
from engine.contract.settings import ConfigError, Settings, build, check, leaves, nested, parse_settings, setting

DEVICES = ("auto", "cpu", "cuda", "mps")
NETWORKS = ("auto", *HEADS, "tiny", "small", "resnet18", "resnet50", "vit_b_16")
"""Those with a name of ours; any other name is a pretrained backbone's (engine.data.backbones)."""
PRECISIONS = ("auto", "float32", "bfloat16")
AUGMENTATIONS = ("auto", "none", "shift", "shift_flip")
EMBEDDINGS = ("umap", "pca", "none")
TRACKERS = ("mlflow", "wandb")
GUARDS = ("off", "confident", "agree", "probable")
DEFAULT_HEAD = "mlp"
DEFAULT_LR = 0.05
DEFAULT_WEIGHT_DECAY = 5e-4
"""Of a classifier of images."""
DEFAULT_CLASS_BALANCE = 0.5
"""Of networks of images whose weights are learned on class-stratified validation (benchmarks/LOG.md)."""
PROXY_VALUES = ("confidence", "meta_margin")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """Every setting of one run. Unknown keys and values out of range are refused with ConfigError."""

    NESTED: ClassVar[tuple[str, ...]] = ("reweighter", "splitter", "controls")

    method: str = setting("molere", "Training method.", choices=tuple(METHODS))
    seed: int = setting(0, "Seed of everything random in the run.", low=0, high=2**31 - 1)
    epochs: int = setting(20, "Passes over the data: each epoch takes as many classifier steps as plain training on "
                          "all samples would, whatever the method.", unit="epochs", low=1, high=100_000)
    batch_size: int | None = setting(
        None, "Training samples a step. None: 128 images; of features as many as make about 50 steps an epoch, from "
        "16 to 2048.", unit="samples", low=2, high=65_536)
    val_fraction: float = setting(
        0.1, "Share of each class in validation (delta).", unit="fraction", low=0.001, high=0.9)
    validation: str | None = setting(
        None, "Where validation samples come from, instead of the method's own way. clean: the project's clean "
        "samples, after which accuracy on them is no fair figure. proxy: a buffer of samples that train as well.",
        choices=methods.VALIDATION_SOURCES, advanced=True)
    select_best: bool = setting(
        False, "Early stopping: after the last epoch, go back to the classifier of the epoch with the best accuracy on "
        "the validation samples, by their given labels. Needs a source that holds samples out of training.")
    warmup_fraction: float = setting(
        0.15, "Share of the epochs at the start with random splits and uniform weights.", unit="fraction", low=0.0,
        high=1.0)
    finish_fraction: float = setting(
        0.3, "Share of the epochs at the end in which the validation samples train as well, under weights that are no "
        "longer updated: nothing is kept from the final classifier. Their held-out record ends there.", unit="fraction",
        low=0.0, high=1.0)
    rotation_groups: int | None = setting(
        8, "Each epoch one of this many random groups rests out of training, so every sample collects held-out "
        "predictions. Methods with a fixed split or none do not rotate. None: off.", unit="groups", low=2, high=1000)
    class_balance: float | None = setting(
        None, "Exponent b of a class's own weight, size ** -b scaled to mean 1 over the samples, in force from the "
        "first step and multiplied by learned weights. 0: off. None: for methods that learn weights on validation, "
        "where every class counts alike, 1 on features and 0.5 on images; 0 for the others.", low=0.0, high=1.0)
    guard: str = setting(
        "probable", "Noise guard of hard validation samples: hard is not wrong. probable: admit a sample only if its "
        "label is wrong with a probability of at most guard_largest, by held-out predictions. agree: only if they "
        "support it. confident: unless they confidently dispute it. A class short of others passes its least doubtful. "
        "off: admit all.", choices=GUARDS)
    guard_largest: float = setting(0.02, "Guard probable: largest probability of a wrong label in validation. Higher: "
                                   "harder validation samples, more of them wrong.", low=0.0, high=1.0)
    network: str = setting(
        "auto", "Classifier. On features: linear, or mlp (one hidden layer); auto: mlp. On images: a network to "
        "train from scratch, or the name of a pretrained backbone to fine-tune, such as efficientnet_lite0; auto: "
        "small up to 32 pixels, resnet18 above.", examples=NETWORKS)
    features: str | None = setting(
        None, "Features of the images to train a head on, by the name of their folder in the project. None: the images "
        "themselves.")
    num_components: int | None = setting(
        256, "Principal components of the features that a head sees, or a training on images starts from, brought to "
        "one common scale and fitted on the train split. None: the features themselves, each scaled to variance 1.",
        unit="components", low=2, high=8192)
    hidden: int = setting(256, "Hidden units of network mlp.", unit="units", low=4, high=8192)
    folds_by: str | None = setting(
        None, "Column of the data whose equal values stay in one fold and in one rotation group, such as who took the "
        "photo, so that no picture is judged by its siblings. None: each sample by itself.",
        advanced=True)
    weights: str | None = setting(
        None, "Pretrained start: a torchvision weights name such as DEFAULT (downloads), or a .safetensors file; of a "
        "pretrained backbone a file alone, None: its own.")
    head_epochs: int = setting(
        1, "Of a pretrained backbone: epochs at the start that train the head alone, over features that stay as they "
        "are. After them everything trains. As many as epochs: the backbone never does.", unit="epochs", low=0,
        high=100_000)
    image_size: int | None = setting(
        None, "Side of the square images given to the network. None: as in the data, at most 224.", unit="pixels",
        low=8, high=1024)
    augment: str = setting(
        "auto", "Random changes of training images. shift: small translations; shift_flip: also mirror left-right. "
        "auto: shift up to 8 pixels, shift_flip above.", choices=AUGMENTATIONS)
    lr: float | None = setting(
        None, "Peak learning rate of the classifier (SGD, cosine to 0). None: 0.05; twice that of a head in batches of "
        "more than 128.", low=1e-8, high=100.0)
    momentum: float = setting(0.9, "Momentum of the classifier's SGD.", low=0.0, high=0.9999)
    weight_decay: float | None = setting(
        None, "Weight decay of the classifier. None: 5e-4 on images; on features the run chooses it, by the given "
        "labels of a part held out of training, in the same way for every method.", low=0.0, high=1.0)
    label_smoothing: float = setting(
        0.0, "Share of each label that is spread over all classes alike. 0: off.", unit="fraction", low=0.0, high=0.9)
    mixup: float = setting(
        0.0, "Mixup: each step trains on random pairs, features or pixels and labels mixed by a share from "
        "Beta(mixup, mixup). Not where weights are made in the step. 0: off.", low=0.0, high=10.0)
    weights_by: str | None = setting(
        None, "Column of the data with a weight of 0 or more for each training sample, to train plainly under. None: "
        "all alike.", advanced=True)
    folds: int | None = setting(
        None, "Folds of the cross-fitted first training of lrw_easy, lrw_hard, oof_exclude, rho and kfold. None: 3, "
        "for rho 2, for kfold 5.", low=2, high=20)
    rho_fraction: float = setting(
        0.1, "RHO-loss: share of a step's candidates that it trains on; the candidates are batch_size / rho_fraction.",
        unit="fraction", low=0.001, high=1.0)
    proxy_fraction: float = setting(
        0.04, "Size of the proxy buffer of FSR as a share of the training samples, the same number of each class.",
        unit="fraction", low=0.001, high=1.0)
    proxy_value: str = setting(
        "confidence", "What the proxy buffer of FSR asks of a sample, as a moving average over epochs. confidence: a "
        "high probability of its own label. meta_margin: that its loss falls in a look-ahead step, as in the paper's "
        "code, which trains with mixup and pseudo-labels besides.", choices=PROXY_VALUES)
    device: str = setting("auto", "Where to train. auto: cuda, then mps, then cpu.", choices=DEVICES)
    precision: str = setting(
        "auto", "Arithmetic of the classifier's backbone. bfloat16: mixed (autocast), master weights, head, losses and "
        "hypergradients in float32. auto: bfloat16 on GPUs that have it, float32 elsewhere.", choices=PRECISIONS,
        advanced=True)
    is_compiled: bool = setting(
        False, "Compile the classifier's training forward and backward with torch.compile, as one graph. Takes a while "
        "first, needs a C++ compiler or Triton, and goes without torchrun.", advanced=True)
    num_threads: int | None = setting(
        None, "CPU threads of torch. None: torch's own choice.", unit="threads", low=1, high=1024, advanced=True)
    checkpoint_seconds: float = setting(
        300.0, "Longest time between two checkpoints; one is written at each epoch's end in any case.",
        unit="seconds", low=0.0, high=86_400.0, advanced=True)
    tracker: str | None = setting(
        None, "Also tell MLflow or Weights & Biases (wandb), where installed, how a run goes. TensorBoard's files are "
        "always written.", choices=TRACKERS, advanced=True)
    embedding: str = setting("umap", "Map of the classifier's features, made at the end.", choices=EMBEDDINGS)
    reweighter: ReweighterConfig = field(default_factory=ReweighterConfig)
    splitter: SplitterConfig = field(default_factory=SplitterConfig)
    controls: ControlConfig = field(default_factory=ControlConfig)

    def __post_init__(self) -> None:
        for name, value, spec, kind in leaves(self):
            check(name, value, spec, kind)
        check_head(self)
        if METHODS[self.method].is_head_only or METHODS[self.method].is_imported:
            object.__setattr__(self, "epochs", 1)  # it is fitted at once
        if self.select_best and self.validation_source not in methods.HELDOUT_SOURCES:
            raise ConfigError(f"select_best needs validation samples held out of training; got validation source "
                              f"{self.validation_source}; choose validation from {', '.join(methods.HELDOUT_SOURCES)}")
        if self.class_balance and self.weight_source in ("rho", "online"):
            raise ConfigError(f"class_balance needs a method whose weights it can multiply; got {self.method} with "
                              f"class_balance {self.class_balance}; leave it at none")
        if self.mixup and (self.weight_source not in methods.FIXED_WEIGHTS or self.loss != "cross_entropy"):
            raise ConfigError(f"mixup needs weights that are known before a step, and plain cross-entropy; got "
                              f"{self.method} with mixup {self.mixup:g}; leave it at 0")
        if self.weights_by is not None and (self.weight_source != "uniform" or not METHODS[self.method].is_trained):
            raise ConfigError(f"weights_by is for plain training; got it with method {self.method}; leave it out")

    @property
    def head(self) -> str | None:
        """Which of HEADS is trained on features; None on images."""
        own = "linear" if METHODS[self.method].is_head_only else DEFAULT_HEAD
        return None if self.features is None else own if self.network == "auto" else self.network

    @property
    def is_fine_tuning(self) -> bool:
        """Whether the network is a pretrained backbone, by its name."""
        return self.network not in NETWORKS

    @property
    def num_head_epochs(self) -> int:
        """Epochs at the start in which a backbone stays as it is; 0 of networks that are none."""
        return self.head_epochs if self.is_fine_tuning else 0

    def step_size(self, num_samples: int) -> int:
        """batch_size, or what a training on so many samples takes where that is None."""
        own = 128 if self.features is None else min(2048, max(16, 2 ** round(math.log2(max(num_samples, 1) / 50))))
        return own if self.batch_size is None else self.batch_size

    def peak_lr(self, num_samples: int = 0) -> float:
        """lr, or what a training on so many samples takes where that is None."""
        is_large = self.features is not None and self.step_size(num_samples) > 128
        return (2 * DEFAULT_LR if is_large else DEFAULT_LR) if self.lr is None else self.lr

    @property
    def validation_source(self) -> str:
        """Where validation samples come from: the override if given, else the method's own way."""
        return self.validation or METHODS[self.method].validation

    @property
    def weight_source(self) -> str:
        """How weights are made. Without validation samples there is nothing to learn them from: uniform."""
        own = METHODS[self.method].weights
        return "uniform" if self.validation_source == "none" and own in methods.FROM_VALIDATION else own

    @property
    def loss(self) -> str:
        """What the classifier's steps descend: one of LOSSES_OF_METHODS."""
        return METHODS[self.method].loss

    @property
    def class_exponent(self) -> float:
        """class_balance, or what the method takes where that is None."""
        own = 0.0 if self.weight_source not in methods.REWEIGHTED else 1.0 if self.head else DEFAULT_CLASS_BALANCE
        return own if self.class_balance is None else self.class_balance

    @property
    def num_folds(self) -> int:
        """Folds of cross-fitting: two halves for rho, as its authors have it, three for rankings, five for audits."""
        return self.folds or METHODS[self.method].folds or 3

    @property
    def is_cross_fitted(self) -> bool:
        """Whether a first, cross-fitted plain training comes before."""
        own = METHODS[self.method]
        return self.validation_source in ("easy", "hard") or (own.validation == "none" and own.folds is not None)

    @property
    def has_first_training(self) -> bool:
        """Whether another training comes before: a cross-fitted one, or a short one."""
        return self.is_cross_fitted or self.weight_source in methods.FIRST_TRAINED

    @property
    def first_finish_epoch(self) -> int:
        """The first epoch, counted from 1, in which no sample is held out any more; past the end where there is none.

        Only a method that learns weights on samples it holds out finishes so, and without early stopping, which would
        go back to an epoch before: it judges by samples held out. The first epoch never finishes: it draws the roles.
        """
        is_finishing = self.weight_source in (*methods.REWEIGHTED, "similarity") and not self.select_best \
            and self.validation_source in methods.HELDOUT_SOURCES
        num = round(self.finish_fraction * self.epochs) if is_finishing else 0
        return max(self.epochs - num, self.warmup_epochs, 1) + 1

    @property
    def num_rotation_groups(self) -> int | None:
        """rotation_groups, but no more than there are epochs to rest in, so that everybody is held out once."""
        return self.rotation_groups and min(self.rotation_groups, max(min(self.first_finish_epoch, self.epochs) - 1, 2))

    @property
    def warmup_epochs(self) -> int:
        """Epochs of warm-up: rounded up, zero only where warmup_fraction is zero."""
        return math.ceil(self.warmup_fraction * self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """JSON types; RunConfig.from_dict reads it back to an equal config."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "RunConfig":
        """Build from a dict as to_dict gives it. Raises ConfigError for an unknown key or a bad value."""
        return typing.cast(RunConfig, build(cls, values, ""))

    @classmethod
    def of_run(cls, values: dict[str, Any]) -> "RunConfig":
        """The config that `written` gave of a run or a row of a study, perhaps by older code: what it lacks or leaves
        open is what that code did, not today's defaults. Raises ConfigError as from_dict does."""
        config = cls.from_dict(methods.before(values) if isinstance(values, dict) else values)
        own, was = dataclasses.replace(config, class_balance=None).class_exponent, config.class_balance
        then = DEFAULT_CLASS_BALANCE if was is None else None if was == own else was  # settings of its own pass on
        return dataclasses.replace(config, class_balance=then) if config.head and own else config

    def written(self) -> dict[str, Any]:
        """to_dict for a file that of_run reads: on features with the class balance that it comes to."""
        return self.to_dict() | ({"class_balance": self.class_exponent} if self.head and self.class_exponent else {})

    def spelled_out(self) -> "RunConfig":
        """The config with what its open settings come to on images, and idle ones as they are by default, so that
        configs that train alike are equal, whichever version wrote them. On features the run itself settles them."""
        plain = dataclasses.replace(self, class_balance=self.class_exponent, **idle_values(self, RunConfig()))
        return plain if self.features is not None else dataclasses.replace(
            plain, batch_size=self.step_size(0), lr=self.peak_lr(), head_epochs=self.num_head_epochs,
            weight_decay=DEFAULT_WEIGHT_DECAY if self.weight_decay is None else self.weight_decay)

    @classmethod
    def from_settings(cls, settings: list[str], **given: Any) -> "RunConfig":
        """Build from command-line settings 'name=value' (nested ones as 'splitter.lr=0.01') over `given` values. Raises
        ConfigError for a setting without '=', an unknown name or a bad value."""
        return cls.from_dotted({**{k: v for k, v in given.items() if v is not None}, **parse_settings(settings)})

    @classmethod
    def from_dotted(cls, settings: Settings) -> "RunConfig":
        """Build from values by dotted name. Raises ConfigError as from_dict does."""
        return cls.from_dict(nested(settings))
