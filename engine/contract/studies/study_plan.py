"""What a study is to train: its arms x seeds, as the command line, a file or a form gives them, and each run's config.

Imports no torch and trains nothing.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TypeGuard

from engine.contract.config import RunConfig
from engine.contract.disk.seals import opened_json
from engine.contract.errors import UserError
from engine.contract.run_dir import RunDirError, check_name
from engine.contract.settings import ConfigError, Settings, parse_settings

NO_DECISIONS = "none"
ARM_KEYS = ("decisions", "epochs_factor")


class StudyError(UserError):
    """A study's plan or one of its files is wrong. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One way to train, repeated over the seeds of a study. Raises StudyError for values that are none."""

    name: str
    settings: Settings = field(default_factory=dict)
    """They go over the plan's common ones."""
    decisions: str | None = None
    """A file of DECISION_COLUMNS to train under. None: the project's current decisions; NO_DECISIONS: none."""
    epochs_factor: float = 1.0
    """Multiplies epochs, so that a cheaper method may have equal compute; in (0, 1000]."""

    def __post_init__(self) -> None:
        try:
            check_name(self.name)
        except RunDirError as error:
            raise StudyError(f"an arm's name: {error}") from error
        if isinstance(self.epochs_factor, bool) or not isinstance(self.epochs_factor, (int, float)) \
                or not 0 < self.epochs_factor <= 1000:
            raise StudyError(f"epochs_factor must lie in (0, 1000]; arm {self.name} has {self.epochs_factor!r}")
        if not isinstance(self.settings, dict) or not (self.decisions is None or isinstance(self.decisions, str)):
            raise StudyError(f"an arm has settings (an object) and decisions (a path, none or null); arm {self.name} "
                             f"has {self.settings!r} and {self.decisions!r}")

    @classmethod
    def of_method(cls, method: str) -> "Arm":
        """The arm that is a method and nothing else, and bears its name."""
        return cls(name=method, settings={"method": method})

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values, which of_dict reads back."""
        return asdict(self)

    @classmethod
    def of_dict(cls, values: object) -> "Arm":
        names = [f.name for f in fields(cls)]
        if not isinstance(values, dict) or not isinstance(values.get("name"), str) or not set(values) <= set(names):
            raise StudyError(f"an arm must be an object of {', '.join(names)}; got {values!r}")
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyPlan:
    """What a study trains: every arm with every seed. Raises StudyError for a plan that no study could have."""

    arms: tuple[Arm, ...]
    """At least one, each name once. Tables and figures keep this order."""
    seeds: tuple[int, ...]
    """At least one, ascending from 0 up, each once."""
    reference: str
    """The arm that the others are compared with."""
    settings: Settings = field(default_factory=dict)
    """Common to all arms."""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if not names:
            raise StudyError("a study needs at least one arm; got none; give --methods, --arm or --plan")
        check_unique(self.arms)
        if not self.seeds:
            raise StudyError("a study needs at least one seed; got none; give --seeds")
        if list(self.seeds) != sorted(set(self.seeds)) or self.seeds[0] < 0:
            raise StudyError(f"a study's seeds must ascend from 0 up, each once; got {list(self.seeds)}")
        if self.reference not in names:
            raise StudyError(f"the reference must be one of the arms; got {self.reference!r}; there are "
                             f"{', '.join(names)}")

    @property
    def num_runs(self) -> int:
        return len(self.arms) * len(self.seeds)

    def to_dict(self) -> dict[str, object]:
        """Plain JSON values, which of_dict reads back."""
        return {"arms": [arm.to_dict() for arm in self.arms], "seeds": list(self.seeds), "reference": self.reference,
                "settings": dict(self.settings)}

    @classmethod
    def of_dict(cls, values: object) -> "StudyPlan":
        """Raises StudyError for anything that to_dict does not give; other keys are left alone."""
        plan = values if isinstance(values, dict) else {}
        arms, seeds, reference, settings = (plan.get(f.name) for f in fields(cls))
        if not isinstance(arms, list) or not _are_seeds(seeds) or not isinstance(reference, str) \
                or not isinstance(settings, dict):
            raise StudyError("a plan must have arms (a list), seeds (a list of numbers from 0 up), reference (an arm's "
                             f"name) and settings (an object); got {arms!r}, {seeds!r}, {reference!r} and {settings!r}")
        return cls(arms=tuple(map(Arm.of_dict, arms)), seeds=tuple(sorted(seeds)), reference=reference,
                   settings=settings)


def check_unique(arms: Sequence[Arm]) -> None:
    """Raise StudyError if two arms have one name."""
    repeated = [a.name for i, a in enumerate(arms) if a.name in {b.name for b in arms[:i]}]
    if repeated:
        raise StudyError(f"an arm's name must be unique; {repeated[0]!r} repeats; rename one")


def merged(plan: StudyPlan | None, arms: Sequence[Arm], seeds: Sequence[int], settings: Settings,
           reference: str | None) -> StudyPlan:
    """A study's plan with these added to it; new arms go last. Raises StudyError if the whole is none.

    An arm of the same name is replaced in its place, so its rows no longer fit and are trained again. reference: None
    leaves it; a new study's is its first arm.
    """
    check_unique(arms)
    by_name = {arm.name: arm for arm in (*(plan.arms if plan else ()), *arms)}
    return StudyPlan(arms=tuple(by_name.values()), seeds=tuple(sorted({*(plan.seeds if plan else ()), *seeds})),
                     reference=reference or (plan.reference if plan else next(iter(by_name), "")),
                     settings={**(plan.settings if plan else {}), **settings})


def config_of(arm: Arm, common: Settings, seed: int) -> RunConfig:
    """The config of one run: the arm's settings over the common ones. Raises ConfigError naming the arm."""
    try:
        config = RunConfig.from_dotted({**common, **arm.settings, "seed": seed})
        epochs = max(1, round(config.epochs * arm.epochs_factor))
        return RunConfig.from_dict(config.to_dict() | {"epochs": epochs})
    except ConfigError as error:
        raise ConfigError(f"arm {arm.name}: {error}") from error


# -- as people write it


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanFile:
    """What a file for --plan says. It may leave any part to the command line's options or to the study's own plan."""

    arms: tuple[Arm, ...] = ()
    seeds: tuple[int, ...] = ()
    settings: Settings = field(default_factory=dict)
    reference: str | None = None


def read_plan_file(path: Path) -> PlanFile:
    """{"arms": {name: settings} or [methods] or [arms as StudyPlan.to_dict has them], "seeds": [..] or how many,
    "settings": {...}, "reference": name}. Raises StudyError for anything else."""
    try:
        values = json.loads(path.read_text())
        values = opened_json(values) if isinstance(values, dict) else values  # an app's own request is sealed
    except (OSError, ValueError) as error:
        raise StudyError(f"--plan must be a readable JSON file; {path}: {error}") from error
    keys = [f.name for f in fields(PlanFile)]
    unknown = [key for key in values if key not in keys] if isinstance(values, dict) else ["(not an object)"]
    if unknown:
        raise StudyError(f"a plan holds {', '.join(keys)}; {path} has {unknown[0]}")
    arms, seeds, settings = values.get("arms", {}), values.get("seeds", []), values.get("settings", {})
    reference = values.get("reference")
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    if not isinstance(arms, (dict, list)) or not isinstance(settings, dict) or not _are_seeds(seeds) \
            or not (reference is None or isinstance(reference, str)):
        raise StudyError("a plan's arms and settings must be objects, its seeds a list of numbers and its reference a "
                         f"name; see {path}")
    found = [arm_of(name, own) for name, own in arms.items()] if isinstance(arms, dict) else \
        [Arm.of_method(arm) if isinstance(arm, str) else Arm.of_dict(arm) for arm in arms]
    return PlanFile(arms=tuple(found), seeds=tuple(seeds), settings=settings, reference=reference)


def _are_seeds(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(seed) is int and seed >= 0 for seed in values)


def arm_of(name: str, settings: object) -> Arm:
    """An arm from its flat settings, `decisions` and `epochs_factor` among them."""
    if not isinstance(settings, dict):
        raise StudyError(f"an arm must be an object of settings; {name} is {settings!r}")
    own = {key: settings[key] for key in ARM_KEYS if key in settings}
    return Arm(name=name, settings={k: v for k, v in settings.items() if k not in ARM_KEYS}, **own)


def parse_arm(text: str) -> Arm:
    """An arm from "NAME: method=molere guard=off decisions=FILE epochs_factor=1.2"."""
    name, colon, rest = text.partition(":")
    if not colon:
        raise StudyError(f'an arm must read "NAME: setting=value ..."; got {text!r}')
    return arm_of(name.strip(), parse_settings(rest.split()))


def parse_seeds(text: str) -> list[int]:
    """Seeds from a count ("5" means 0 to 4) or from a list ("0,3,7"; "3," is seed 3 alone)."""
    try:
        numbers = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        numbers = []
    seeds = numbers if "," in text else list(range(numbers[0])) if numbers else []
    if not seeds or min(seeds) < 0:
        raise StudyError(f"--seeds must be a count such as 5, or a list such as 0,3,7; got {text!r}")
    return seeds
