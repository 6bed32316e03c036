"""Whether a value read from JSON is what a TypedDict, a Literal or a plain type says; knows no document of ours."""

import reprlib
import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxstring = 2, 3, 3, 60
MAX_INT = 2**53
"""Whole numbers further from 0 than this are no count or id of ours."""


def shown(value: object) -> str:
    """A value from outside in a few words of one line, however deep or long it is."""
    return _SHORT.repr(value)


def problem_of(value: object, kind: Any, name: str = "it") -> str:
    """What makes a value none of this kind, one line; "" where it is one.

    kind: a TypedDict, whose optional keys may be null and whose other keys are left alone; Literal, list[...],
    dict[str, ...], a union, Any, or a plain type. An int is a float too, a bool no number; NaN is a float.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return ""
    if is_typeddict(kind):
        return _problem_of_keys(value, kind, name)
    if origin in (types.UnionType, Union):
        found = [problem_of(value, each, name) for each in arguments]
        return "" if "" in found else found[0]
    if origin is Literal:
        fits = isinstance(value, str) and value in arguments
    elif origin is list:
        if isinstance(value, list):
            return next((bad for idx, item in enumerate(value, 1)
                         if (bad := problem_of(item, arguments[0], f"{name}[{idx}]"))), "")
        fits = False
    elif origin is dict:
        if isinstance(value, dict):
            return next((bad for key, item in value.items()
                         if (bad := problem_of(item, arguments[1], f"{name}.{shown(key)}"))), "")
        fits = False
    elif kind in (int, float):
        fits = (isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_INT) \
            or (kind is float and isinstance(value, float))
    else:
        fits = isinstance(value, kind)
    return "" if fits else f"{name} is {shown(value)}"


def _problem_of_keys(value: object, kind: Any, name: str) -> str:
    if not isinstance(value, Mapping):
        return f"{name} is {shown(value)}"
    hints, required = _keys(kind)
    inside = "" if name == "it" else f"{name}."
    for key, own in hints.items():
        if key not in value:
            if key in required:
                return f"it has no {inside}{key}"
        elif (value[key] is not None or key in required) and (bad := problem_of(value[key], own, inside + key)):
            return bad
    return ""


@lru_cache(maxsize=64)
def _keys(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    return get_type_hints(kind), kind.__required_keys__
