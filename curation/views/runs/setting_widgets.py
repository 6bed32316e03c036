"""One setting of a config class as one widget: its label, its help, its range. Knows no config class."""

import math
import types
import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import streamlit as st

from engine.contract.settings import SettingInfo

OWN = "the method's own"
MANY = 1e9
"""A bound that only the computer knows is no help to people."""


def setting_widget(setting: SettingInfo, key: str, label: str, help: str,
                   option_words: Mapping[str, str] = MappingProxyType({}), **passed: Any) -> object:
    """Draw a setting as the widget that its type asks for; its value as its config class takes it.

    key: of the widget. option_words: how choices are called, where not by their names. passed: on to the widget.
    """
    kinds = typing.get_args(setting["type"]) if isinstance(setting["type"], types.UnionType) else (setting["type"],)
    base = next(kind for kind in kinds if kind is not types.NoneType)
    is_optional, default = types.NoneType in kinds, setting["default"]
    if setting["choices"]:
        options = [OWN, *setting["choices"]] if is_optional else list(setting["choices"])
        chosen = st.selectbox(label, options, options.index(OWN if default is None else default), key=key, help=help,
                              **passed, format_func=lambda option: option_words.get(option, option))
        return None if chosen == OWN else chosen
    if base is bool:
        return st.toggle(label, default, key=key, help=help, **passed)
    if base is str:
        return st.text_input(label, default or "", key=key, help=help, placeholder="none", **passed).strip() or None
    if is_optional and default is not None:
        return _switched_number(setting, key, label, help, passed)
    return _number(setting, base, key, label, help, default, passed)


def _number(setting: SettingInfo, base: type, key: str, label: str, text: str, default: Any,
            passed: dict[str, Any]) -> object:
    low, high = setting["low"], setting["high"]
    bounds = (None if low is None else base(low), None if high is None else base(high))
    if base is int:
        return st.number_input(label, *bounds, default, step=1, key=key, help=text, placeholder="auto", **passed)
    return st.number_input(label, *bounds, default, step=_step(default, low), format="%g", key=key, help=text,
                           placeholder="auto", **passed)


def _switched_number(setting: SettingInfo, key: str, label: str, text: str, passed: dict[str, Any]) -> int | None:
    """An optional number with a default: a text field, since a number field cannot be emptied to mean "off"."""
    given = st.text_input(label, str(setting["default"]), key=key, help=f"{text} Leave empty for off.",
                          placeholder="off", **passed).strip()
    try:
        return int(given) if given else None
    except ValueError:
        return typing.cast(int, given)  # RunConfig refuses it in words that name the setting


def _step(default: float | None, low: float | None) -> float:
    """One unit of the default's first digit: 0.05 -> 0.01."""
    size = abs(default or low or 0.1)
    return float(10.0 ** math.floor(math.log10(size))) if size < 10 else 1.0


def label_of(setting: SettingInfo, labels: Mapping[str, str]) -> str:
    """The setting's name for people, with its unit."""
    label = labels.get(setting["name"]) or setting["name"].replace("_", " ").capitalize()
    unit = setting["unit"]
    return f"{label} ({unit})" if unit and unit != "fraction" and unit not in label.lower() else label


def help_of(setting: SettingInfo, prefix: str | None = None) -> str:
    """The setting's own help, its range, and how the command line calls it, after the prefix; not where it is None."""
    parts = [setting["help"].replace("$", r"\$").replace("*", r"\*").replace("_", r"\_")]
    if setting["high"] is not None and setting["high"] < MANY:
        parts.append(f"From {setting['low']:g} to {setting['high']:,g}.")
    if prefix is not None:
        parts.append(f"Command line: `--set {prefix}{setting['name']}=...`")
    return " ".join(parts)
