"""An export's folder: made whole under a temporary name, then renamed, so nobody ever sees half of one."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from curation.exports.metadata import Carried
from engine.contract.disk.failures import disk_line
from engine.contract.disk.temporaries import temporary_beside
from engine.contract.errors import UserError

Progress = Callable[[int, int], None]
"""Called with (done, total) samples."""


class ExportError(UserError):
    """There is nothing to export, or nowhere to put it. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportResult:
    """What an export wrote."""

    path: Path
    num_samples: int
    class_counts: dict[str, int]
    problems: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["sample_id", "file", "reason"]))
    """One row a sample that could not be exported as it should: sample_id, file, reason."""
    carried: Carried | None = None
    """What the files of its pictures say; None without pictures."""


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that becomes it at the end, or vanishes with any exception.

    Raises ExportError unless target is free: absent, or an empty folder.
    """
    check_free(target)
    staging = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        yield staging
        if target.exists():
            target.rmdir()
        os.rename(staging, target)
    except OSError as error:
        said = disk_line(error, target) or f"an export must be able to write {target}; {error}; choose another folder"
        raise ExportError(said) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_free(target: Path) -> None:
    """Raise ExportError unless `target` is absent or an empty folder."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ExportError(f"an export goes to a folder; {target} is none; choose another name")
    if target.is_dir() and any(target.iterdir()):
        raise ExportError(f"an export goes to a new or empty folder; {target} has files in it; choose another name")
