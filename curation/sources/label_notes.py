"""What is odd about class names: names that differ by their writing alone, names that look like lists of several.

Changes nothing: whether such classes are one is for people to say.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable

from curation.words import counted

MAX_SHOWN = 5
_LIST = re.compile(r"^\[.*\]$|^\{.*\}$|^[^,;|]+([,;|][^,;|]+)+$")
_SPACES = re.compile(r"\s+")


def label_notes(classes: Iterable[str]) -> list[str]:
    """A sentence for each kind of oddity, none where there is none."""
    groups: dict[str, list[str]] = defaultdict(list)
    names = list(classes)
    for name in names:
        groups[_plain(name)].append(name)
    alike = [group for group in groups.values() if len(group) > 1]
    notes = []
    if alike:
        shown = "; ".join(" and ".join(map(_shown, group)) for group in alike[:MAX_SHOWN])
        notes.append(f"classes that differ by case, spaces or Unicode form alone ({counted(len(alike), 'group')}): "
                     f"{shown}{' ...' if len(alike) > MAX_SHOWN else ''}: give them one name if they are one class")
    single = {_plain(name) for name in names if not _LIST.match(name)}
    lists = [name for name in names if _LIST.match(name) and _is_list(name, single)]
    if lists:
        notes.append(f"labels that look like lists of classes ({len(lists):,}), such as {_shown(lists[0])}: each is a "
                     "class of its own here, since a sample has one label")
    return notes


def _is_list(name: str, single: set[str]) -> bool:
    """Whether it is written as a list is, or its parts are classes themselves."""
    return name[0] in "[{" or all(_plain(part) in single for part in re.split("[,;|]", name))


def _plain(name: str) -> str:
    return _SPACES.sub(" ", unicodedata.normalize("NFKC", name)).strip().casefold()


def _shown(name: str) -> str:
    """With letters that cannot be told apart written out: two forms of an accent look the same."""
    return repr(name) if unicodedata.normalize("NFC", name) == name else ascii(name)
