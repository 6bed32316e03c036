"""JSON files read item by item, so that an export of a million samples is never in memory as a whole."""

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import ijson

from curation.tables.report import Progress, SourceError

_BOM = b"\xef\xbb\xbf"
_SHOW_EVERY = 5_000
_TOO_LARGE = "integer overflow"
"""What the fast reader says of a whole number that it cannot hold."""
_Found = TypeVar("_Found")


def number_of(value: object) -> float | None:
    """A number as float; None for anything else, and for one that is too large."""
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    except OverflowError:
        return None


def listed(value: object) -> list[object]:
    """A list itself; nothing of what is none."""
    return value if isinstance(value, list) else []


def items(path: Path, prefix: str, progress: Progress) -> Iterator[object]:
    """The values at a place of a file: "item" of a list, "images.item" of the list called images. Raises SourceError
    where the file is no JSON from there on."""
    return _read(path, lambda file, use_float: ijson.items(file, prefix, use_float=use_float), progress)


def pairs(path: Path, prefix: str, progress: Progress) -> Iterator[tuple[str, object]]:
    """(key, value) of the object at a place. Raises SourceError as items does."""
    return _read(path, lambda file, use_float: ijson.kvitems(file, prefix, use_float=use_float), progress)


def _read(path: Path, opened: Callable[[BinaryIO, bool], Iterator[_Found]], progress: Progress) -> Iterator[_Found]:
    """What a reader finds. The fast one stops at a whole number above 64 bits: from there on another one reads."""
    num_read = 0
    for is_exact in (False, True):
        try:
            with open(path, "rb") as file:
                size = file.seek(0, 2)
                file.seek(0)
                if file.read(3) != _BOM:
                    file.seek(0)
                for number, found in enumerate(opened(file, not is_exact)):
                    if number < num_read:
                        continue
                    if number % _SHOW_EVERY == 0:
                        progress(min(file.tell(), size), size, f"reading {path.name}")
                    num_read += 1
                    yield _as_floats(found) if is_exact else found
            return
        except (ijson.JSONError, UnicodeDecodeError, ValueError, OverflowError) as error:
            if not is_exact and _TOO_LARGE in str(error):
                continue
            short = " ".join(str(error).split())[:120]
            raise SourceError(f"{path.name} must be a whole JSON file; {short}; export or copy it again") from error


def _as_floats(value: Any) -> Any:
    """A value whose decimals are floats."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, tuple):
        return tuple(map(_as_floats, value))
    if isinstance(value, list):
        return [_as_floats(one) for one in value]
    return {name: _as_floats(one) for name, one in value.items()} if isinstance(value, dict) else value
