"""A folder whose files lie elsewhere and are fetched as they are read, by fsspec, into a bounded cache, which it is.

    .mirror.json   where they lie, and how many bytes may stay here

A file that is here is read like any other; one that is not is fetched, given to its reader and kept, and once too much
is kept those read longest ago go. So a reader gets its bytes whatever others throw out. What cannot be reached is tried
again for a while. A project of a stranger must not have this machine ask for addresses on its word: a place is fetched
from once this user has imported from it, or names it in WHETSTONE_REMOTES.
"""

import contextlib
import json
import os
import threading
import time
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from engine.contract.disk.event_log import state_folder
from engine.contract.disk.temporaries import temporary_beside
from engine.contract.errors import UserError

MIRROR_NAME, LOCK_NAME = ".mirror.json", ".mirror.lock"
VARIABLE = "WHETSTONE_REMOTES"
"""Places that this user trusts, parted by spaces: what they begin with."""
SCHEMES = ("s3", "gs", "https", "http", "memory")
PATIENCE_SECONDS = 180.0
"""How long a file is tried for that cannot be reached."""
_patience = threading.local()
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 8.0
SWEEP_SHARE = 0.05
"""Of what may be kept: after fetching so much more, a process looks at what is here."""
KEEP_SHARE = 0.9
MARK_SECONDS = 30.0
"""A file's time of reading is noted at most so often."""


class RemoteError(UserError):
    """A place cannot be reached, or may not be asked. One line, ready to show."""


@dataclass(frozen=True, slots=True)
class Mirror:
    """Where the files of a folder lie."""

    folder: Path
    url: str
    max_bytes: int


def is_address(text: str) -> bool:
    """Whether this names a place that is reached by fsspec, and no folder."""
    scheme, colon, _ = text.partition("://")
    return bool(colon) and scheme in SCHEMES


def make_mirror(folder: Path, url: str, max_bytes: int) -> Mirror:
    """Have files below `url` be read as files of this folder, and trust that place from now on. Raises RemoteError
    where nothing answers there."""
    url = url.rstrip("/")
    folder.mkdir(parents=True, exist_ok=True)
    trusted = state_folder() / "remotes.json"
    trusted.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{trusted}.lock", timeout=30):
        _replace(trusted, json.dumps(sorted({*_trusted_here(), url})).encode())
    mirror = Mirror(folder=folder.resolve(), url=url, max_bytes=max_bytes)
    _replace(folder / MIRROR_NAME, json.dumps({k: v for k, v in asdict(mirror).items() if k != "folder"}).encode())
    _found.cache_clear()
    return mirror


def mirror_of(file: Path) -> Mirror | None:
    """The mirror that a file lies in, there or not; None for a file of a usual folder."""
    return _found(file.parent)


@lru_cache(maxsize=65_536)
def _found(folder: Path) -> Mirror | None:
    for place in (folder, *folder.parents):
        try:
            values = json.loads((place / MIRROR_NAME).read_text())
            return Mirror(folder=place, url=str(values["url"]), max_bytes=int(values["max_bytes"]))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RemoteError(f"{place / MIRROR_NAME} must say where pictures lie; {type(error).__name__}: {error}; "
                              "import the data again") from error
    return None


@contextlib.contextmanager
def patience(seconds: float) -> Any:
    """Within the block this thread tries for so long: a page does not wait for minutes."""
    before = getattr(_patience, "seconds", PATIENCE_SECONDS)
    _patience.seconds = seconds
    try:
        yield
    finally:
        _patience.seconds = before


def fetch(mirror: Mirror, file: Path) -> bytes:
    """The bytes of a file of a mirror, which stays in its cache. Raises FileNotFoundError where that place has none of
    the name, RemoteError where it cannot be reached or may not be asked."""
    refuse_strange(mirror.url)
    address = _address(mirror, file)
    deadline = time.monotonic() + getattr(_patience, "seconds", PATIENCE_SECONDS)
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            system, path = _system_of(address)
            data: bytes = system.cat_file(path)
            break
        except FileNotFoundError:
            raise
        except Exception as error:  # s3fs, gcsfs and aiohttp raise errors of their own, which share nothing
            if time.monotonic() + pause > deadline:
                said = " ".join(str(error).split())[:160] or type(error).__name__
                raise RemoteError(f"a picture must be reached where it lies; {address}: {said}; see whether that place "
                                  "answers, then try again") from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    with contextlib.suppress(OSError):  # a full disk: the reader has its bytes all the same
        _replace(file, data)
        _count(mirror, len(data))
    return data


def exists(mirror: Mirror, file: Path) -> bool:
    """Whether the place has such a file, or the cache does. Raises RemoteError as fetch does."""
    refuse_strange(mirror.url)
    system, path = _system_of(_address(mirror, file))
    try:
        return file.is_file() or bool(system.isfile(path))
    except Exception as error:  # as in fetch
        raise RemoteError(f"a picture must be reached where it lies; {mirror.url}: {error}") from error


def _address(mirror: Mirror, file: Path) -> str:
    below = file.relative_to(mirror.folder)
    if ".." in below.parts:
        raise FileNotFoundError(f"{file} leaves {mirror.folder}")
    return f"{mirror.url}/{below.as_posix()}"


def mark_read(file: Path) -> None:
    """Note that a file of a mirror was read now, so that others go before it."""
    with contextlib.suppress(OSError):
        if time.time() - file.stat().st_mtime > MARK_SECONDS:
            os.utime(file)


def refuse_strange(url: str) -> None:
    """Raise RemoteError for a place that this user neither imported from nor named."""
    trusted = {*_trusted_here(), *os.environ.get(VARIABLE, "").split()}
    if not any(url == known or url.startswith(known.rstrip("/") + "/") for known in trusted):
        raise RemoteError(f"pictures are fetched from places that you have imported from; these lie in {url}; set "
                          f"{VARIABLE} to it if you trust it")


def _trusted_here() -> list[str]:
    try:
        values = json.loads((state_folder() / "remotes.json").read_text())
        return [str(value) for value in values] if isinstance(values, list) else []
    except (OSError, ValueError):
        return []


def _system_of(address: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(address)  # type: ignore[no-any-return]
    except ImportError as error:
        raise RemoteError(f"a place needs its own package; {address.partition(':')[0]}: {error}") from error


def _replace(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(file)
    try:
        temporary.write_bytes(data)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)


# -- what stays

_fetched: dict[Path, float] = {}
_counting = threading.Lock()


def _count(mirror: Mirror, num_bytes: int) -> None:
    with _counting:
        _fetched[mirror.folder] = _fetched.get(mirror.folder, mirror.max_bytes) + num_bytes  # the first time: look
        if _fetched[mirror.folder] < SWEEP_SHARE * mirror.max_bytes:
            return
        _fetched[mirror.folder] = 0.0
    sweep(mirror)


def sweep(mirror: Mirror) -> None:
    """Remove the files read longest ago until KEEP_SHARE of what may stay is left, where it is more than that may be.
    One process at a time does."""
    with contextlib.suppress(Timeout, OSError), FileLock(mirror.folder / LOCK_NAME, timeout=0):
        found = []
        for folder, _, names in os.walk(mirror.folder):
            for name in names:
                if not name.startswith(".mirror"):
                    with contextlib.suppress(OSError):
                        info = os.stat(os.path.join(folder, name))
                        found.append((info.st_mtime, info.st_size, os.path.join(folder, name)))
        left = sum(size for _, size, _ in found)
        if left <= mirror.max_bytes:
            return
        for _, size, path in sorted(found):
            if left <= KEEP_SHARE * mirror.max_bytes:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            left -= size
