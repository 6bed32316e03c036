"""The log: one line of JSON an event, of the app and of every command, in one file a user.

    $WHETSTONE_HOME/log.jsonl, else ~/.local/state/whetstone/log.jsonl; log.jsonl.1 to .3 are older

It lies with the queue, where the XDG base directory specification has logs, and not in a project, which may be
read-only and is handed on with all that it holds. Processes share the file: each line is written, and the file turned
over, under a lock. A log that cannot be written stops nothing.

In it stand time, process, program, event, and words and numbers of our own code. No label, sample id, path, address,
token or name of a person does: an error is told by its type and the lines of code that it went through, never by its
message, which names what it is about, and a project by a digest of its path. What a person must read goes to the
terminal in words, which may hold paths. The terminal of the app is often a file that others keep and read: no traceback
there has a message either, whatever logs it, Streamlit and the web server too. What is printed without a logger, as
warnings of libraries are, is not looked at.
"""

import contextlib
import hashlib
import json
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, Literal, TextIO, TypedDict, Unpack

from filelock import FileLock

MAX_BYTES, NUM_OLDER = 2_000_000, 3
LOCK_SECONDS = 1.0
"""An event whose turn has not come by then is not written."""
MAX_FRAMES = 20
Program = Literal["app", "curation", "engine"]
EventName = Literal["began", "ended", "failed", "refused", "turned_away", "slow_page", "decided", "judged", "renewed"]
"""failed: an error of ours; refused: one that names what a person can do; turned_away: a request from elsewhere."""
_CODE_ROOT = Path(__file__).parents[3]
_logger = logging.getLogger("whetstone")


class Facts(TypedDict, total=False):
    """What is told of an event. Texts are words of our code: never anything that a person or a file brought."""

    verb: str
    """The command's name, or the page's."""
    kind: str
    status: int
    """Exit status of a process, or of an answer to a request."""
    num: int
    """Samples, or answers."""
    seconds: float


def state_folder() -> Path:
    """Where what belongs to a user and to no project lies: $WHETSTONE_HOME, else ~/.local/state/whetstone."""
    return Path(os.environ.get("WHETSTONE_HOME") or Path.home() / ".local" / "state" / "whetstone")


def event(name: EventName, *, error: BaseException | None = None, project: Path | None = None, words: str = "",
          **facts: Unpack[Facts]) -> None:
    """Write one line, if begin() was called in this process. words: a warning for the terminal, with the error's own
    traceback; they do not go into the log."""
    level = logging.INFO if not words else logging.ERROR if error is not None else logging.WARNING
    if _logger.isEnabledFor(level):
        found = {"event": name, **facts} | ({"project": _digest(project)} if project is not None else {})
        _logger.log(level, words or name, exc_info=error, extra={"told": found})


def begin(program: Program) -> None:
    """Have events of this process written from now on; once more begins anew, where WHETSTONE_HOME says by then."""
    end()
    if program == "app":
        logging.setLogRecordFactory(_record)
        threading.excepthook = _thread_failed
    _logger.setLevel(logging.INFO)
    with contextlib.suppress(OSError, RuntimeError):  # no home folder, or one that may not be written
        state_folder().mkdir(parents=True, exist_ok=True)
        shared = SharedFile(state_folder() / "log.jsonl")
        shared.setFormatter(_Lines(program))
        _logger.addHandler(shared)
    _logger.addHandler(_Terminal(sys.stderr))


def end() -> None:
    """Write no more of this process's events."""
    for handler in [one for one in _logger.handlers if isinstance(one, SharedFile | _Terminal)]:
        _logger.removeHandler(handler)
        handler.close()
    _logger.setLevel(logging.NOTSET)
    logging.setLogRecordFactory(logging.LogRecord)
    threading.excepthook = threading.__excepthook__


@contextlib.contextmanager
def command(program: Program, verb: str) -> Iterator[Facts]:
    """Around a command: that it began, and how and when it ended. What is yielded takes its exit status; an error that
    comes through is told and goes on."""
    begin(program)
    began, ended = time.monotonic(), Facts(verb=verb, status=1)
    event("began", verb=verb)
    try:
        yield ended
    except Exception as error:
        event("failed", error=error, verb=verb)
        raise
    finally:
        ended["seconds"] = round(time.monotonic() - began, 3)
        event("ended", **ended)
        end()


class SharedFile(RotatingFileHandler):
    """A RotatingFileHandler that several processes may have open: it writes under a lock, and opens the file anew once
    another process has turned it over."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=MAX_BYTES, backupCount=NUM_OLDER, encoding="utf-8", delay=True)
        self._turn = FileLock(f"{path}.lock", timeout=LOCK_SECONDS)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError), self._turn:  # Timeout is one
            if self.stream and not self._is_current(self.stream):
                self.stream.close()
                self.stream = None  # type: ignore[assignment]  # emit opens it, as it does with delay=True
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Nothing: a full disk says so where work is lost by it."""

    def _is_current(self, stream: TextIO) -> bool:
        try:
            return os.path.samestat(os.stat(self.baseFilename), os.fstat(stream.fileno()))
        except OSError:
            return False


class _Terminal(logging.StreamHandler):
    """Warnings and errors in words, for the person who runs the process."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setLevel(logging.WARNING)


class _Lines(logging.Formatter):
    """A record as one line of JSON."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def format(self, record: logging.LogRecord) -> str:
        told = getattr(record, "told", {"event": "other"})  # of a record that did not come through event(), nothing
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
                "level": record.levelname.lower(), "program": self.program, "pid": record.process, **told}
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _told(record.exc_info[1])
        return json.dumps(line)


def _told(error: BaseException) -> list[dict[str, str | list[str]]]:
    """Type and places in the code of an error and of those that it came from, the last first."""
    return [{"type": type(seen).__name__, "at": [f"{_code(f.filename)}:{f.lineno} {f.name}" for f in _frames(seen)]}
            for seen in _origins(error)]


def _origins(error: BaseException) -> Iterator[BaseException]:
    """An error and those that it came from."""
    seen: BaseException | None = error
    for _ in range(MAX_FRAMES):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _frames(error: BaseException) -> list[traceback.FrameSummary]:
    return list(traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:])


def _record(*values: Any, **named: Any) -> logging.LogRecord:
    """A record whose traceback has no message, only types, places and lines of code; formatters take exc_text as it is.
    """
    record = logging.LogRecord(*values, **named)
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = "".join(
            f"Traceback (most recent call last):\n{''.join(traceback.format_list(_frames(each)))}"
            f"{type(each).__name__} (what it says is left out: it may name labels or samples)\n"
            for each in reversed(list(_origins(record.exc_info[1])))).rstrip()
    return record


def _thread_failed(failed: threading.ExceptHookArgs) -> None:
    """Of a thread of the app's process that nothing catches: told as any error."""
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        event("failed", error=failed.exc_value, words="a thread failed")


def _code(file: str) -> str:
    """A file of code without the folder that it is installed in."""
    path = Path(file)
    if path.is_relative_to(_CODE_ROOT) and "site-packages" not in path.parts:
        return path.relative_to(_CODE_ROOT).as_posix()
    return file.replace("\\", "/").rpartition("/site-packages/")[2].rpartition("/lib/")[2]


def _digest(project: Path) -> str:
    return hashlib.sha256(str(Path(project).resolve()).encode()).hexdigest()[:8]
