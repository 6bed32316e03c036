"""Tables as CSV that a spreadsheet cannot run, and file names that every file system takes."""

import csv
import unicodedata
from pathlib import Path
from typing import TextIO

import pandas as pd

FORMULA_LEADS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that make a spreadsheet read a text as a formula (the last four are full-width = + - @)."""
_WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}
_MAX_CHARS = 60


def neutral(cell: object) -> object:
    """The cell itself; a text that a spreadsheet would run gets a leading apostrophe, which shows it as it is.

    >>> neutral("=1+1"), neutral("cat"), neutral(-1.5)
    ("'=1+1", 'cat', -1.5)
    """
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_LEADS) else cell


def write_csv(frame: pd.DataFrame, target: Path | TextIO) -> None:
    """The frame as UTF-8 CSV, texts and headings neutralised and quoted (a `;` would part cells in some countries)."""
    safe = frame.rename(columns=lambda name: str(neutral(str(name))))
    for name in safe:
        if not (pd.api.types.is_numeric_dtype(safe[name].dtype) or pd.api.types.is_bool_dtype(safe[name].dtype)):
            safe[name] = safe[name].astype(object).map(lambda cell: neutral(cell if pd.api.types.is_scalar(cell) else
                                                                            str(cell)))
    safe.to_csv(target, index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


class SafeNames:
    """Gives each text a file name of its own: letters, digits, '.', '_' and '-', none twice even where case is lost."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, text: str, fallback: str, suffix: str = "") -> str:
        """A new name for `text`; `fallback` where nothing of it can stay.

        >>> names = SafeNames()
        >>> names.of("a/b", "class"), names.of("A/b", "class"), names.of("../", "class"), names.of("con", "class")
        ('a_b', 'A_b-2', 'class', '_con')
        """
        kept = "".join(c if c.isalnum() or c in "._-" else "_" for c in unicodedata.normalize("NFC", text))
        stem = kept.strip("._-")[:_MAX_CHARS].rstrip("._-") or fallback
        if stem.partition(".")[0].casefold() in _WINDOWS_DEVICES:
            stem = f"_{stem}"
        name, number = f"{stem}{suffix}", 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._taken.add(name.casefold())
        return name
