"""What is odd about class names: names that differ by their writing alone, lists of several names, numbers.

Changes nothing: whether such classes are one is for people to say.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

from curation.words import counted

MAX_SHOWN = 5
_LIST = re.compile(r"^\[.*\]$|^\{.*\}$|^[^,;|]+([,;|][^,;|]+)+$")
_PARTS = re.compile("[,;|]")
_SPACES = re.compile(r"\s+")
_NUMBER = re.compile(r"0*([0-9]+)(\.0+)?")


def label_notes(classes: Iterable[str], *, is_declared: bool = False) -> list[str]:
    """A sentence for each kind of oddity, none where there is none. is_declared: whether the data list their classes;
    then a number is a name like any other."""
    groups: dict[str, list[str]] = defaultdict(list)
    names = list(classes)
    for name in names:
        groups[_plain(name)].append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    notes = []
    if alike:
        shown = "; ".join(" and ".join(map(_shown, group)) for group in alike[:MAX_SHOWN])
        notes.append("classes that differ by case, spaces, zeros or Unicode form alone "
                     f"({counted(len(alike), 'group')}): {shown}{' ...' if len(alike) > MAX_SHOWN else ''}: give them "
                     "one name if they are one class")
    parts = Counter(part for name in names for part in {_plain(one) for one in _PARTS.split(name)})
    lists = [name for name in names if _LIST.match(name) and _is_list(name, parts)]
    if lists:
        notes.append(f"labels that look like lists of classes ({len(lists):,}), such as {_shown(lists[0])}: each is a "
                     "class of its own here, since a sample has one label")
    numbers = [_NUMBER.fullmatch(name) for name in names]
    if names and not is_declared and all(numbers):
        values = sorted(int(number[1]) for number in numbers if number)
        notes.append(f"classes are numbers, {values[0]} to {values[-1]}"
                     + (", which run from 1: a list of names counts from 0" if values[0] == 1 else "")
                     + "; their names are not known")
    return notes


def _is_list(name: str, parts: Counter[str]) -> bool:
    """Whether it is written as a list is, or each of its parts is a class, or a part of another one, as well."""
    return name[0] in "[{" or all(parts[_plain(part)] > 1 for part in _PARTS.split(name))


def _plain(name: str) -> str:
    """Without what two writings of one name may differ by."""
    plain = _SPACES.sub(" ", unicodedata.normalize("NFKC", name)).strip().casefold()
    number = _NUMBER.fullmatch(plain)
    return number[1] if number else plain


def _shown(name: str) -> str:
    """With letters that cannot be told apart written out: two forms of an accent look the same."""
    return repr(name) if unicodedata.normalize("NFC", name) == name else ascii(name)
