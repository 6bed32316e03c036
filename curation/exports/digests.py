"""SHA-256 of every file of an export, in the form that `sha256sum -c SHA256SUMS` reads, and what has changed since.

Tells damage and edits; who can change a file can write its digest anew.
"""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from engine.contract.errors import UserError
from engine.contract.manifest import file_digest

SUMS = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})[ ][ *](.+)")


class VerifyError(UserError):
    """A folder has no digests to compare with. One line."""


def write_digests(folder: Path, known: Mapping[str, str] | None = None) -> None:
    """Write SUMS: a line a file below `folder`, by name. known: digests of some, by name (relative, with /)."""
    known = known or {}
    lines = [f"{known.get(name) or file_digest(folder / name)}  {name}\n" for name in files_below(folder)]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8", newline="\n")


def files_below(folder: Path) -> list[str]:
    """Every file below a folder but SUMS, relative with /, by name. Links to folders are not followed."""
    found = [Path(place, name).relative_to(folder).as_posix() for place, _, names in os.walk(folder) for name in names]
    return sorted(name for name in found if name != SUMS)


def verify(folder: Path, progress: Callable[[int, int], None] | None = None) -> pd.DataFrame:
    """One row a difference from SUMS: kind (missing, changed, unreadable, extra, malformed line), file.

    Raises VerifyError where there is no SUMS or it cannot be read.
    """
    listed, findings = _read(folder)
    for done, (name, digest) in enumerate(listed.items(), start=1):
        path = folder / name
        try:
            kind = "missing" if not path.is_file() else "changed" if file_digest(path) != digest else ""
        except OSError:
            kind = "unreadable"
        if kind:
            findings.append((kind, name))
        if progress is not None:
            progress(done, len(listed))
    findings += [("extra", name) for name in files_below(folder) if name not in listed]
    return pd.DataFrame(findings, columns=["kind", "file"])


def num_listed(folder: Path) -> int:
    """How many files SUMS names. Raises VerifyError."""
    return len(_read(folder)[0])


def _read(folder: Path) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """({name: digest}, lines that name no file in the folder)."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise VerifyError(f"a folder is compared with its {SUMS}; {folder} has none that can be read; name the folder "
                          "of an export with pictures") from error
    listed: dict[str, str] = {}
    malformed = []
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if found and not os.path.isabs(found[2]) and ".." not in found[2].split("/") and "\0" not in found[2]:
            listed[found[2]] = found[1]
        elif line:
            malformed.append(("malformed line", f"{SUMS}:{number}"))
    return listed, malformed
