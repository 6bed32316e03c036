"""A zip of a data set that somebody dropped, unpacked so that it can harm nothing outside of its folder.

Images, tables and text files alone come out, as plain files under plain names; the rest is counted. Sizes are counted
as the bytes come, not believed. Knows no layout: curation.sources.recognise does.
"""

import lzma
import os
import re
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.tables.frames import SUFFIXES
from curation.tables.report import SourceError

MAX_FILES = 200_000
MAX_BYTES = 4 << 30
"""Of all files together, unpacked."""
KEPT_SUFFIXES = IMAGE_SUFFIXES | frozenset(SUFFIXES) | {".txt", ".json", ".xml", ".arrow"}
_CHUNK = 1 << 20
_MOST_BYTES_A_NAME = 400
_ZIP64_END = 56 + 20
"""Bytes of ZIP64's record of the list and of what says where that record is."""
_DAMAGES = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError,
            UnicodeDecodeError)
"""What reading one that is no zip, is damaged or of an unknown kind raises; the last of a name that is not UTF-8."""
_LEAVES = re.compile(r"^[/\\]|(^|[/\\])\.\.([/\\]|$)|^[A-Za-z]:|\x00|\\")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpacked:
    """What came out of a zip."""

    folder: Path
    num_files: int
    num_left_out: int
    """Neither image, table nor text, or hidden."""


def unpack(file: BinaryIO, folder: Path, progress: Callable[[int, int], None] | None = None, *,
           max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> Unpacked:
    """Unpack into `folder`, which must be new; it is removed again where the zip is refused.

    Raises SourceError for what is no zip, is damaged or encrypted, holds a link or a name that leaves the folder, or is
    larger than allowed: a zip that tries any of it is refused whole.
    """
    _refuse_long_list(file, max_files)
    try:
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
            kept = [entry for entry in entries if _is_kept(entry)]
            _refuse(entries, kept, max_files, max_bytes)
            folder.mkdir(parents=True)
            try:
                _write(archive, kept, folder, progress, max_bytes)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    except _DAMAGES as error:
        raise SourceError(f"a zip must be whole and readable; {error}; pack it anew") from error
    except OSError as error:
        raise SourceError(f"a zip is unpacked beside the projects; {error.strerror or error}; check rights, free space "
                          "and that no name is of a file and a folder at once") from error
    num_files = sum(not entry.is_dir() for entry in entries)
    return Unpacked(folder=folder, num_files=len(kept), num_left_out=num_files - len(kept))


def _is_kept(entry: zipfile.ZipInfo) -> bool:
    parts = entry.filename.split("/")
    is_hidden = any(part.startswith(".") or part == "__MACOSX" for part in parts)
    return not entry.is_dir() and not is_hidden and os.path.splitext(parts[-1])[1].lower() in KEPT_SUFFIXES


def _refuse(entries: list[zipfile.ZipInfo], kept: list[zipfile.ZipInfo], max_files: int, max_bytes: int) -> None:
    """What can be told from the list of names alone."""
    for entry in entries:
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise SourceError(f"a zip may hold files and folders alone; {entry.filename!r} is a link or a device; pack "
                              "it without")
        if _LEAVES.search(entry.filename):
            raise SourceError(f"names in a zip must stay inside it; got {entry.filename!r}; pack the folder itself")
        if entry.flag_bits & 1:
            raise SourceError(f"a zip must not be encrypted; {entry.filename!r} is; pack it without a password")
    if len(entries) > max_files:
        raise _too_many(max_files)
    if sum(entry.file_size for entry in kept) > max_bytes:
        raise _too_large(max_bytes)
    if not kept:
        raise SourceError(f"a zip must hold images or a table; among its {len(entries):,} entries is neither; pack the "
                          "folder of the data set")


def _refuse_long_list(file: BinaryIO, max_files: int) -> None:
    """Before the list of names is read at all: it says at its end how long it is; of ZIP64 before that end."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 65_557 - _ZIP64_END))
    tail = file.read()
    end = tail.rfind(b"PK\x05\x06")
    num_bytes = int.from_bytes(tail[end + 12:end + 16], "little") if 0 <= end <= len(tail) - 22 else 0
    record = tail[max(0, end - _ZIP64_END):max(0, end)]
    if record[:4] == b"PK\x06\x06" and record[-20:-16] == b"PK\x06\x07":
        num_bytes = int.from_bytes(record[40:48], "little")
    if num_bytes > max_files * _MOST_BYTES_A_NAME:
        raise _too_many(max_files)


def _too_many(max_files: int) -> SourceError:
    return SourceError(f"a zip may hold {max_files:,} files; this one has more; copy the folder to the machine that "
                       "runs this app and choose it there")


def _too_large(max_bytes: int) -> SourceError:
    return SourceError(f"a zip may unpack to {max_bytes / 2**30:.2g} GB; this one is larger; copy the folder to the "
                       "machine that runs this app and choose it there")


def _write(archive: zipfile.ZipFile, kept: list[zipfile.ZipInfo], folder: Path,
           progress: Callable[[int, int], None] | None, max_bytes: int) -> None:
    """Every kept entry as a file, a megabyte at a time."""
    root, left = folder.resolve(), max_bytes
    for number, entry in enumerate(kept, 1):
        target = folder / entry.filename
        if not target.resolve().is_relative_to(root):
            raise SourceError(f"names in a zip must stay inside it; got {entry.filename!r}; pack the folder itself")
        target.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(entry) as packed, open(target, "xb") as sink:
            while chunk := packed.read(_CHUNK):
                left -= len(chunk)
                if left < 0:
                    raise _too_large(max_bytes)
                sink.write(chunk)
        if progress is not None:
            progress(number, len(kept))


def adopt(staged: Path, project: Path) -> Path:
    """Move unpacked data into a project's folder, under a name that nothing there has, so that the project stays whole
    when it is copied; the folder that they lie in from now on."""
    number, target = 1, project / "data"
    while target.exists():
        number += 1
        target = project / f"data-{number}"
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(staged, target)
    return target


def drop_older(folder: Path, seconds: float) -> None:
    """Remove what was unpacked into `folder` so long ago and never imported."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and path.stat().st_mtime < time.time() - seconds:
            shutil.rmtree(path, ignore_errors=True)
