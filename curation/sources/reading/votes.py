"""Several people's answers in one cell of a table: 21:cat;37:dog, cat;dog, or JSON (["cat", "dog"], {"21": "cat"},
[{"annotator": 21, "label": "cat"}], [[21, "cat"]])."""

import json
from collections.abc import Iterable

from curation.tables.report import Column, as_utf8

Vote = tuple[str | None, str]
"""(annotator, None where the cell names none; label)."""

MAX_LOOKED_AT = 1_000
_WHO = ("annotator", "annotator_id", "worker", "worker_id", "user", "user_id", "rater")
_LABEL = ("label", "answer", "vote", "class")


def votes_text(votes: Iterable[Vote]) -> str:
    """A cell that votes_in reads as these answers."""
    return json.dumps([[who, label] for who, label in votes])


def votes_in(cell: str) -> list[Vote] | None:
    """The answers of a cell in its order; None where it cannot be read."""
    text = cell.strip()
    if text[:1] not in ("[", "{"):
        found = [part.strip() for part in text.split(";") if part.strip()]
        return _all([_split(part) for part in found]) if found else None
    try:
        value = json.loads(text, object_pairs_hook=tuple)  # a tuple of pairs: a key may repeat
    except (ValueError, RecursionError):
        return None
    if isinstance(value, tuple):
        return _all([_vote(who, label) for who, label in value])
    return _all([_item(item) for item in value]) if isinstance(value, list) else None


def are_votes(cells: Column) -> bool:
    """Whether a column of text looks like votes: its first cells can be read, and one has several answers."""
    found = [votes_in(cell) for cell in cells.drop_null().slice(0, MAX_LOOKED_AT).to_pylist()]
    read = [votes for votes in found if votes is not None]
    return 2 * len(read) > len(found) and any(len(votes) > 1 for votes in read)


def _item(item: object) -> Vote | None:
    if isinstance(item, tuple):
        named = {str(name).lower(): value for name, value in item}
        return _vote(next((named[name] for name in _WHO if name in named), None),
                     next((named[name] for name in _LABEL if name in named), None))
    if isinstance(item, list):
        return _vote(item[0], item[1]) if len(item) == 2 else None
    return _vote(None, item)


def _split(part: str) -> Vote | None:
    who, colon, label = part.partition(":")
    return _vote(who or None, label) if colon else _vote(None, part)


def _vote(who: object, label: object) -> Vote | None:
    name = _text(label)
    return None if name is None else (_text(who), name)


def _text(value: object) -> str | None:
    """A text or whole number as text; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return as_utf8(str(value)).strip() or None


def _all(votes: list[Vote | None]) -> list[Vote] | None:
    found = [vote for vote in votes if vote is not None]
    return found if len(found) == len(votes) else None
