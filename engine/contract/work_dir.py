"""The folder of a job, such as a run, a study or features: atomic writes, JSON, status.json, log.txt, a request to
cancel. Knows no other file."""

import contextlib
import errno
import json
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypedDict, cast

import numpy as np
import pyarrow.parquet as pq

from engine.contract.disk.failures import is_full
from engine.contract.disk.processes import is_same_process
from engine.contract.disk.seals import SEALED, SealError, check_seal, opened_json, seal, sealed_json
from engine.contract.disk.temporaries import temporary_beside
from engine.contract.errors import UserError
from engine.contract.json_kinds import problem_of, shown

STATES = ("queued", "running", "done", "failed", "cancelled")
FILE_ADVICE = "it was damaged from outside: restore it from a copy, or move the folder away"
STATUS_ADVICE = "delete it, and resume what stopped"
"""What to do about a damaged status.json: all that it says is found out or made again."""


def write_atomic(path: Path, write: Callable[[Path], object], *, is_new: bool = False, is_sealed: bool = True) -> None:
    """Call write(temporary path beside `path`), flush it to disk, then rename it over `path`. Raises OSError, of a full
    disk always with its number (ENOSPC), which numpy and torch do not give. is_new: of several who write it at once the
    first does; FileExistsError for the others. is_sealed: tables, arrays and checkpoints get a seal
    (engine.contract.disk.seals); not what is changed in place later, is a link or leaves the project."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        write(temporary)
        if is_sealed and path.suffix in SEALED:
            seal(temporary, path.suffix)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        if is_new:
            _claim(path, temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        number = getattr(error, "errno", None) or (errno.ENOSPC if is_full(path.parent) else None)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _claim(path: Path, temporary: Path) -> None:
    """Be the one who writes a new file. Raises FileExistsError where somebody is."""
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        open(path, "xb").close()  # a disk without hard links: the file is empty for a moment


def write_array(path: Path, array: np.ndarray) -> None:
    """The array as a .npy file at `path`, by write_atomic."""
    def save(temporary: Path) -> None:
        with open(temporary, "wb") as file:  # given a name, numpy would add its own ending
            np.save(file, array, allow_pickle=False)

    write_atomic(path, save)


class FileError(UserError):
    """A file of numbers is damaged. One line, ready to show."""


def open_array(path: Path) -> np.ndarray:
    """The array of a .npy file, read from disk as far as it is used. Raises FileError if it is damaged."""
    try:
        check_seal(path)
        array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return array
    except (ValueError, EOFError, OSError) as error:
        raise FileError(f"{path} must be an array; {_reason(error)}; {FILE_ADVICE}") from error


def check_table(path: Path) -> None:
    """Raises FileError unless a Parquet file can be opened and is as it was written."""
    try:
        check_seal(path)
        pq.read_metadata(path)
    except (ValueError, OSError) as error:  # pyarrow's errors are among them
        raise FileError(f"{path} must be Parquet; {_reason(error)}; {FILE_ADVICE}") from error


def without_nan(value: Any) -> Any:
    """The same JSON value with null for every number that is not finite."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class StatusDocument(TypedDict, total=False):
    """status.json of a run, and of features as they are made. Times are in seconds; started, heartbeat and pid_started
    since the epoch."""

    state: Literal["queued", "running", "done", "failed", "cancelled"]
    stage: str
    message: str
    """What it does, for people."""
    epoch: int
    num_epochs: int
    step: int
    """In the epoch, of num_steps; None before the first."""
    num_steps: int | None
    samples_per_second: float | None
    eta_seconds: float | None
    started: float
    heartbeat: float
    pid: int | None
    pid_started: float | None
    host: str | None
    """The machine that its process runs on; not of older code, which knew one machine."""
    device: str | None
    error: str | None
    """Why it failed, one line."""
    is_alive: bool
    """Added on reading: its process lives now."""


def _reason(error: Exception) -> str:
    """Why something cannot be read, one line of bounded length."""
    text = error.strerror if isinstance(error, OSError) else str(error)
    return " ".join((text or type(error).__name__).split())[:120]


def _advice(path: Path) -> str:
    return STATUS_ADVICE if path.name == "status.json" else "restore it from a copy, or move its folder away"


_TEXTS = ("stage", "message", "device", "error", "host")
_NUMBERS = ("epoch", "num_epochs", "step", "num_steps", "samples_per_second", "eta_seconds", "started", "heartbeat",
            "pid", "pid_started", "done", "failed", "total")
"""Of a StatusDocument or a study's status: what is a text and what a number, where it is there at all."""
MAX_SECONDS = 1e11
"""Since 1970: the year 5138; and more than any count of ours."""


def _status_problem(status: Mapping[str, object]) -> str:
    """What makes this no status, "" where it is one."""
    if status.get("state") not in STATES:
        return f"its state is {shown(status.get('state'))}, none of {', '.join(STATES)}"
    for name in _TEXTS + _NUMBERS:
        value = status.get(name)
        kind = str if name in _TEXTS else int if name == "pid" else float
        if value is not None and (bad := problem_of(value, kind, f"its {name}")):
            return bad
        if isinstance(value, (int, float)) and not 0 <= value <= MAX_SECONDS:
            return f"its {name} is {value}"
    running = status.get("running", [])
    return "" if isinstance(running, list) and all(isinstance(task, dict) for task in running) else \
        f"its running is {shown(running)}"


SILENT_SECONDS = 90.0
"""A process on another machine counts as alive until its status is so old. It is written anew each second; file systems
of several machines may keep a reader waiting for a minute, and their clocks differ."""


def host() -> str:
    """The name of this machine, as its status documents have it."""
    return socket.gethostname()


def _is_alive(status: StatusDocument) -> bool:
    if status.get("pid") is not None and status.get("host") not in (None, host()):
        return status["state"] == "running" and abs(time.time() - (status.get("heartbeat") or 0.0)) < SILENT_SECONDS
    return is_same_process(status.get("pid"), status.get("pid_started"))


class WorkDir:
    """The folder of a job: status.json, log.txt, a request to cancel, JSON files. Holds a path and nothing else, so it
    may be made anew at any time."""

    error: ClassVar[type[UserError]]
    """What reading a damaged file raises."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        return self.path.name

    def write_status(self, **values: object) -> None:
        """Replace status.json: a StatusDocument's values, or those that a study has."""
        self.write_json(self.path / "status.json", values)

    def read_status(self) -> StatusDocument:
        """The last status, with is_alive; its state is queued before the first. Raises self.error if it is damaged."""
        path = self.path / "status.json"
        values = self.read_json(path)
        if values is not None and (problem := _status_problem(values)):
            raise self.error(f"{path} must be a status; {problem}; it was damaged from outside: {STATUS_ADVICE}")
        status = cast(StatusDocument, {"state": "queued"} if values is None else values)
        status["is_alive"] = _is_alive(status)
        return status

    def request_cancel(self) -> None:
        (self.path / "cancel").touch()

    def clear_cancel(self) -> None:
        (self.path / "cancel").unlink(missing_ok=True)

    def is_cancel_requested(self) -> bool:
        return (self.path / "cancel").exists()

    @property
    def log_path(self) -> Path:
        return self.path / "log.txt"

    def log(self, line: str) -> None:
        with open(self.log_path, "a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")

    def log_tail(self, num_lines: int = 20) -> list[str]:
        """The last lines of log.txt, oldest first; reads at most its last 64 kB."""
        if not self.log_path.exists():
            return []
        with open(self.log_path, "rb") as file:
            file.seek(max(0, self.log_path.stat().st_size - 65_536))
            return file.read().decode(errors="replace").splitlines()[-num_lines:]

    def write_json(self, path: Path, values: Mapping[str, object]) -> None:
        text = sealed_json(without_nan(values))
        write_atomic(path, lambda p: p.write_text(text))

    def read_json(self, path: Path) -> dict[str, Any] | None:
        """A JSON file's object, None where there is no such file. Raises self.error if it is damaged."""
        try:
            values: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError, OSError) as error:
            raise self.error(f"{path} must be JSON; {_reason(error)}; it was damaged from outside: "
                             f"{_advice(path)}") from error
        if not isinstance(values, dict):
            raise self.error(f"{path} must hold a JSON object; it holds {type(values).__name__}; it was damaged from "
                             f"outside: {_advice(path)}")
        try:
            return opened_json(values)
        except (SealError, RecursionError) as error:
            raise self.error(f"{path} must be as it was written; {_reason(error)}; {_advice(path)}") from error
