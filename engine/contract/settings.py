"""What every config class is made of: fields that carry help, unit and range, and their reading and checking.

Imports no torch, as engine.contract.config does not.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache
from typing import Any

from engine.contract.errors import UserError

Settings = Mapping[str, object]
"""Values by the settings' dotted names, such as {"method": "molere", "splitter.lr": 0.01}, not checked yet."""


class ConfigError(UserError):
    """A setting the user gave is unknown, of the wrong type or out of range. One line, ready to show."""


def setting(default: Any, help: str, *, unit: str = "", low: float | None = None, high: float | None = None,
            choices: tuple[str, ...] | None = None, examples: tuple[str, ...] | None = None,
            advanced: bool = False) -> Any:
    """A dataclass field that carries its help, unit, inclusive range or choices. examples: to choose from, where other
    values are good as well."""
    metadata = {"help": help, "unit": unit, "low": low, "high": high, "choices": choices, "examples": examples,
                "advanced": advanced}
    return field(default=default, metadata=metadata)


class SettingInfo(typing.TypedDict):
    """A setting, with all that a form or a list needs to show of it."""

    name: str
    default: Any
    type: Any
    """As it is annotated: a type, or a union with None."""
    help: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...] | None
    examples: tuple[str, ...] | None
    advanced: bool


def settings_of(cls: type) -> list[SettingInfo]:
    """Every setting of a config class, in order."""
    hints = typing.get_type_hints(cls)
    return [typing.cast(SettingInfo, {"name": f.name, "default": f.default, "type": hints[f.name], **f.metadata})
            for f in dataclasses.fields(cls) if f.metadata]


_hints: Callable[[type], dict[str, Any]] = lru_cache(maxsize=16)(typing.get_type_hints)
"""Evaluated once: a project may have thousands of configs."""


def leaves(config: Any, prefix: str = "") -> list[tuple[str, Any, Any, Any]]:
    """(dotted name, value, metadata, type) of every setting, nested ones included."""
    hints = _hints(type(config))
    found = []
    for f in dataclasses.fields(config):
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            found += leaves(value, f"{prefix}{f.name}.")
        else:
            found.append((prefix + f.name, value, f.metadata, hints[f.name]))
    return found


def check(name: str, value: Any, spec: Any, kind: Any) -> None:
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


def build(cls: type, values: Any, prefix: str) -> Any:
    """Instantiate a (possibly nested) config class from plain values, refusing unknown keys."""
    if not isinstance(values, dict):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'} must be an object of settings; got {values!r}")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = [k for k in values if k not in fields]
    if unknown:
        raise ConfigError(f"no setting named {prefix}{unknown[0]}; there are {', '.join(sorted(fields))}")
    hints = _hints(cls)
    built = {}
    for name, value in values.items():
        if dataclasses.is_dataclass(hints[name]) and not dataclasses.is_dataclass(value):
            value = build(typing.cast(type, hints[name]), value, f"{prefix}{name}.")
        elif value == "none" and "none" not in (fields[name].metadata.get("choices") or ()):
            value = None  # "none" on the command line means off, unless it is one of the choices
        built[name] = value
    return cls(**built)


def parse_settings(texts: Sequence[str]) -> dict[str, object]:
    """{name: value} of texts that read name=value; a value as JSON where it parses, else as text. Of a name that stands
    there twice, the last. Raises ConfigError for a text without a name or without '='."""
    found: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"a setting must read name=value; got {text!r}")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = {"True": True, "False": False, "None": None}.get(value, value)
    return found


def nested(settings: Settings) -> dict[str, Any]:
    """The same values as `build` takes them: {"splitter.lr": 0.01} becomes {"splitter": {"lr": 0.01}}. Raises
    ConfigError where a name is given both a value and settings of its own."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        group, dot, leaf = name.partition(".")
        if not dot:
            found[name] = dict(value) if isinstance(value, dict) else value
            continue
        own = found.setdefault(group, {})
        if not isinstance(own, dict):
            raise ConfigError(f"{group} must be an object of settings; got {own!r}")
        own[leaf] = value
    return found
