"""What a study is to do: arms from the command line or a file, their configs, and what is left uncontrolled.

Imports no torch and trains nothing.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.contract.config import RunConfig
from engine.contract.settings import ConfigError
from engine.contract.study_dir import Arm, StudyError

PLAN_KEYS = ("arms", "seeds", "settings", "reference")
ARM_KEYS = ("decisions", "epochs_factor")


def parse_settings(texts: Sequence[str]) -> dict[str, Any]:
    """{"name": value} from name=value texts; values as JSON where they parse, else as text."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"a setting must read name=value; got {text!r}")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = {"True": True, "False": False}.get(value, value)
    return found


def parse_arm(text: str) -> Arm:
    """An arm from "NAME: method=molere guard=off decisions=FILE epochs_factor=1.2"."""
    name, colon, rest = text.partition(":")
    if not colon:
        raise StudyError(f'an arm must read "NAME: setting=value ..."; got {text!r}')
    return arm_of(name.strip(), parse_settings(rest.split()))


def arm_of(name: str, settings: dict[str, Any]) -> Arm:
    """An arm from its flat settings, `decisions` and `epochs_factor` among them."""
    if not isinstance(settings, dict):
        raise StudyError(f"an arm must be an object of settings; {name} is {settings!r}")
    own = {key: settings[key] for key in ARM_KEYS if key in settings}
    return Arm(name=name, settings={k: v for k, v in settings.items() if k not in ARM_KEYS}, **own)


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


def read_plan_file(path: Path) -> dict[str, Any]:
    """{"arms": {name: settings} or [names of methods], "seeds": [..] or count, "settings": {...}, "reference": name}.

    Returns the same with arms as a list of Arm and seeds as a list. Raises StudyError for anything else.
    """
    try:
        values = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise StudyError(f"--plan must be a readable JSON file; {path}: {error}") from error
    unknown = [key for key in values if key not in PLAN_KEYS] if isinstance(values, dict) else ["(not an object)"]
    if unknown:
        raise StudyError(f"a plan holds {', '.join(PLAN_KEYS)}; {path} has {unknown[0]}")
    arms, seeds = values.get("arms", {}), values.get("seeds", [])
    arms = {name: {"method": name} for name in arms} if isinstance(arms, list) else arms
    seeds = list(range(seeds)) if isinstance(seeds, int) else seeds
    if not isinstance(arms, dict) or not isinstance(values.get("settings", {}), dict) or \
            not isinstance(seeds, list) or not all(isinstance(s, int) and s >= 0 for s in seeds):
        raise StudyError(f"a plan's arms and settings must be objects and its seeds a list of numbers; see {path}")
    return {**values, "arms": [arm_of(name, settings) for name, settings in arms.items()], "seeds": seeds}


def config_of(arm: Arm, common: dict[str, Any], seed: int) -> RunConfig:
    """The config of one run: the arm's settings over the common ones. Raises ConfigError naming the arm."""
    settings = {**common, **arm.settings, "seed": seed}
    try:
        config = RunConfig.from_settings([f"{name}={json.dumps(value)}" for name, value in settings.items()])
        epochs = max(1, round(config.epochs * arm.epochs_factor))
        return RunConfig.from_dict(config.to_dict() | {"epochs": epochs})
    except (ConfigError, TypeError) as error:
        raise ConfigError(f"arm {arm.name}: {error}") from error


def merged(plan: dict[str, Any] | None, arms: Sequence[Arm], seeds: Sequence[int], settings: dict[str, Any],
           reference: str | None) -> dict[str, Any]:
    """arms (list of Arm), seeds, settings and reference of an existing plan with these added; new arms go last.

    An arm of the same name is replaced in its place, so its rows no longer fit and are trained again.
    """
    by_name = {a["name"]: Arm(**a) for a in plan["arms"]} if plan else {}
    repeated = [a.name for i, a in enumerate(arms) if a.name in {b.name for b in arms[:i]}]
    if repeated:
        raise StudyError(f"an arm's name must be unique; {repeated[0]!r} repeats; rename one")
    by_name |= {arm.name: arm for arm in arms}
    if not by_name:
        raise StudyError("a study needs at least one arm; got none; give --methods, --arm or --plan")
    merged_seeds = sorted({*(plan["seeds"] if plan else []), *seeds})
    if not merged_seeds:
        raise StudyError("a study needs at least one seed; got none; give --seeds")
    reference = reference or (plan["reference"] if plan else next(iter(by_name)))
    if reference not in by_name:
        raise StudyError(f"the reference must be one of the arms; got {reference!r}; there are {', '.join(by_name)}")
    return {"arms": list(by_name.values()), "seeds": merged_seeds, "reference": reference,
            "settings": {**(plan["settings"] if plan else {}), **settings}}


def not_controlled(plan: dict[str, Any]) -> list[str]:
    """What the differences of this study may rest on besides the arms, one sentence each."""
    arms, seeds = plan["arms"], plan["seeds"]
    networks = {str(c.network) for c in (config_of(Arm(**a), plan["settings"], 0) for a in arms)}
    tuned = {True: "Settings were chosen on this project, so its test figures flatter the arm they were chosen for.",
             False: "Settings were not chosen on this project.",
             None: "Nobody said whether settings were chosen on this project."}[plan.get("is_tuned_here")]
    lines = [
        "Learning rates and all other settings are the same for every arm or as its own settings say; none was tuned "
        "for each arm in turn.",
        tuned,
        f"{len(seeds)} seed{'s' * (len(seeds) != 1)}: a seed draws the initial network, data order, augmentation and "
        "random splits together; intervals are over seeds, on one training set and one test set.",
        f"Networks: {', '.join(sorted(networks))}. Others may order the arms otherwise.",
        f"{len(arms)} arms are compared on several figures; intervals are not corrected for that number.",
        "Equal numbers of classifier steps are not equal time: see relative seconds, which hold for this machine "
        f"({plan.get('hardware', 'unknown hardware')}) and for the runs that shared it.",
    ]
    factors = [f"{a['name']} {a['epochs_factor']:g}" for a in arms if a["epochs_factor"] != 1.0]
    if factors:
        lines.append(f"Arms with another number of epochs (factor): {', '.join(factors)}.")
    return lines
