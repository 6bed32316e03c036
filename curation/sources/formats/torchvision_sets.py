"""A data set by the name that torchvision has for it (CIFAR10, Food101, ...), read by torchvision in a process of the
engine (engine.data.torchvision_sets), as nothing here knows torch.

Pictures that are files stay where they are; those that lie inside torchvision's files become files of the project.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.sources.formats.gathered import distinct
from curation.sources.formats.shards import pictures
from curation.tables.report import Progress, SourceError

_CODE_ROOT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Named:
    """What torchvision read; its files are removed with it."""

    folder: Path
    rows: pa.Table
    """split, row, label, path: strings but for row."""
    classes: tuple[str, ...] | None

    @property
    def is_files(self) -> bool:
        """Whether its pictures are files below the root."""
        return bool(self.rows["path"].null_count == 0)

    def pictures(self, split: str, wanted: list[int]) -> Iterator[tuple[int, bytes | None]]:
        """(row, the picture as PNG) of the wanted rows of a split, counted from 1 and rising."""
        return pictures(self.folder / f"{split}.parquet", "image", wanted)


def named(name: str, root: Path, is_downloading: bool, progress: Progress) -> Named:
    """Have torchvision read a data set. Raises SourceError with its own line where it cannot."""
    folder = Path(tempfile.mkdtemp(prefix="torchvision-"))
    try:
        _read([name, str(root.absolute()), str(folder), *(["--download"] if is_downloading else [])], progress)
        rows, classes = pq.read_table(folder / "rows.parquet"), json.loads((folder / "classes.json").read_text())
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    found = Named(folder, rows, None if classes is None else distinct(classes))
    weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    return found


def _read(arguments: list[str], progress: Progress) -> None:
    """Run the engine's part to its end; a stop here stops it too."""
    progress(0, 1, "reading by torchvision")
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said, subprocess.Popen(
            [sys.executable, "-m", "engine.data.torchvision_sets", *arguments], cwd=_CODE_ROOT, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said) as process:
        try:
            assert process.stdout is not None, "it is a pipe"
            for line in process.stdout:
                words = line.split()
                if len(words) == 2 and all(word.isdigit() for word in words):  # others are of its downloads
                    progress(int(words[0]), int(words[1]), "reading by torchvision")
        except BaseException:
            process.kill()
            raise
        if process.wait():
            said.seek(0)
            lines = said.read().strip().splitlines() or [f"torchvision ended with {process.returncode}"]
            raise SourceError(" ".join(lines[-1].split()))
