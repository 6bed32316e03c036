"""JSON files read item by item, so that an export of a million samples is never in memory as a whole."""

from collections.abc import Iterator
from pathlib import Path

import ijson

from curation.tables.report import Progress, SourceError

_BOM = b"\xef\xbb\xbf"
_SHOW_EVERY = 5_000


def items(path: Path, prefix: str, progress: Progress) -> Iterator[object]:
    """The values at a place of a file: "item" of a list, "images.item" of the list called images. Raises SourceError
    where the file is no JSON from there on."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            if file.read(3) != _BOM:
                file.seek(0)
            for number, item in enumerate(ijson.items(file, prefix, use_float=True)):
                if number % _SHOW_EVERY == 0:
                    progress(min(file.tell(), size), size, f"reading {path.name}")
                yield item
    except (ijson.JSONError, UnicodeDecodeError, ValueError, OverflowError) as error:
        short = " ".join(str(error).split())[:120]
        raise SourceError(f"{path.name} must be a whole JSON file; {short}; export or copy it again") from error


def pairs(path: Path, prefix: str, progress: Progress) -> Iterator[tuple[str, object]]:
    """(key, value) of the object at a place. Raises SourceError as items does."""
    try:
        with open(path, "rb") as file:
            if file.read(3) != _BOM:
                file.seek(0)
            yield from ijson.kvitems(file, prefix, use_float=True)
    except (ijson.JSONError, UnicodeDecodeError, ValueError, OverflowError) as error:
        short = " ".join(str(error).split())[:120]
        raise SourceError(f"{path.name} must be a whole JSON file; {short}; export or copy it again") from error
