"""Pictures that a table names by address (https, http, s3, gs), fetched into a project: a step before an import.

    P/images/ab/abcd....jpg   the pictures, named after their address, so that a stopped fetch goes on where it was
    P/fetched.parquet         the table with paths of these files, and source_url; addresses that failed stay
    P/fetch_report.csv        each address that could not be fetched, and why

Then `import table P/fetched.parquet` reads them. s3 and gs need fsspec's s3fs or gcsfs, whose own time limits hold for
them. Certificates are checked as the system has them (SSL_CERT_FILE names others). Decodes nothing.
"""

import hashlib
import http.client
import math
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock, Timer
from typing import IO, Self
from urllib.parse import quote, urlsplit

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from curation.ledger import people
from curation.sources.formats.embedded import IMAGES, suffix_of
from curation.sources.reading.columns import usual_columns
from curation.sources.reading.images import IMAGE_SUFFIXES
from curation.tables.frames import read_frame
from curation.tables.report import Problems, Progress, SourceError
from engine.contract.disk.temporaries import temporary_beside
from engine.contract.work_dir import write_atomic

TABLE, REPORT = "fetched.parquet", "fetch_report.csv"
SCHEMES = ("https", "http", "s3", "gs")
MAX_BYTES = 64 << 20
"""Of one picture."""
_SECONDS = 30
"""That a server may be silent."""
SECONDS_EACH = 120.0
"""That one picture may take in all."""
OUT_OF_TIME = "the time given was over before its turn"
_WORKERS = 8
_BATCH = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """What a fetch did."""

    table: Path
    num_fetched: int
    num_there: int
    """Pictures of an earlier fetch."""
    failed: list[tuple[str, str]]
    """(address, why not), those with OUT_OF_TIME too."""
    num_left: int
    """Of these, those that were not tried as the time was over."""
    num_local: int
    """Rows whose path is no address."""


def fetch(table: Path, project: Path, progress: Progress, *, path_column: str | None = None,
          seconds: float = math.inf) -> Fetched:
    """Fetch every address of a table's column of paths. seconds: that it may take in all; what is left then, the same
    call fetches later. Raises SourceError where the table cannot be read, or seconds is not above 0."""
    people.require("owner", "a fetch")
    if not seconds > 0:
        raise SourceError(f"the time for a fetch must be above 0; got {seconds:g} seconds; give more, or none")
    end = time.monotonic() + seconds
    frame = read_frame(table, Problems(), progress).columns
    have = frame.column_names
    column = path_column or usual_columns(have).get("path")
    if column not in have:
        raise SourceError(f"a table needs a column of addresses; {table.name} has {', '.join(have)}; name it with "
                          "--path-column")
    paths = [None if one is None else str(one).strip() for one in frame[column].to_pylist()]
    addresses = list(dict.fromkeys(one for one in paths if one is not None and "://" in one))
    found, failed, num_there = dict[str, str](), list[tuple[str, str]](), 0
    root = (project / IMAGES)
    root.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_WORKERS) as pool:
        rest = iter(addresses)
        while batch := list(islice(rest, _BATCH)):
            for address, (path, why) in zip(batch, pool.map(lambda one: _one(one, root.resolve(), end), batch),
                                              strict=True):
                if path is None:
                    failed.append((address, why))
                else:
                    found[address] = f"{IMAGES}/{path}"
                    num_there += why == "there"
            progress(len(found) + len(failed), len(addresses), "fetching pictures")
    local = pa.array([found.get(one or "", one) for one in paths], pa.string())
    made = frame.set_column(have.index(column), column, local)
    if "source_url" not in have:
        made = made.append_column("source_url", pa.array([one if one in found else None for one in paths], pa.string()))
    write_atomic(project / TABLE, lambda path: pq.write_table(made, path))
    report = pd.DataFrame(failed, columns=["address", "reason"])
    write_atomic(project / REPORT, lambda path: report.to_csv(path, index=False))
    return Fetched(table=project / TABLE, num_fetched=len(found) - num_there, num_there=num_there, failed=failed,
                   num_left=sum(why == OUT_OF_TIME for _, why in failed),
                   num_local=sum(one is not None and "://" not in one for one in paths))


def _one(address: str, root: Path, end: float) -> tuple[str | None, str]:
    """(path of the picture below `root`, "there" where it was); or (None, why there is none). end: when to stop, by the
    monotonic clock."""
    try:
        parts = urlsplit(address)
    except ValueError as error:
        return None, f"an address must be one; {error}"
    suffix = os.path.splitext(parts.path)[1].lower()
    digest = hashlib.sha256(address.encode()).hexdigest()[:32]
    path = f"{digest[:2]}/{digest}{suffix if suffix in IMAGE_SUFFIXES else ''}"
    target = root / path
    if not target.resolve().is_relative_to(root):
        return None, f"{target.parent} leads out of the project; remove that link"
    if target.is_file() and target.stat().st_size:
        return path, "there"
    if parts.scheme.lower() not in SCHEMES:
        return None, f"an address must begin with one of {', '.join(SCHEMES)}"
    rest = end - time.monotonic()
    if rest <= 0:
        return None, OUT_OF_TIME
    try:
        with _Deadline(min(rest, SECONDS_EACH)) as deadline:
            raw = _read(address, parts.scheme.lower(), deadline)
    except (OSError, ValueError, ImportError, http.client.HTTPException) as error:
        return None, " ".join(str(error).split())[:200] or type(error).__name__
    if not raw or len(raw) > MAX_BYTES:
        return None, "no bytes came" if not raw else f"a picture may have {MAX_BYTES >> 20} MB; this one has more"
    if not suffix_of(raw):
        return None, f"what came ({len(raw):,} bytes) is no picture of a known format"
    target.parent.mkdir(exist_ok=True)
    temporary = temporary_beside(root / "picture")
    temporary.write_bytes(raw)
    os.replace(temporary, target)
    return path, ""


class _Deadline:
    """Ends what is read over http once its time is over, whatever it waits for: a server that sends a byte now and then
    is never silent. As a context."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._timer, self._lock = Timer(seconds, self._end), Lock()
        self._sockets: list[socket.socket] = []
        self._is_over = False

    def __enter__(self) -> Self:
        self._timer.daemon = True
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *told: object) -> None:
        """What was ended fails in many ways, of which this is the cause. Raises TimeoutError."""
        self._timer.cancel()
        if self._is_over and (kind is None or issubclass(kind, (OSError, ValueError, http.client.HTTPException))):
            raise TimeoutError(f"it took longer than the {self.seconds:.0f} seconds that were left for it")

    def hold(self, opened: socket.socket) -> None:
        """A connection that is ended in time. Raises TimeoutError where that has come."""
        with self._lock:
            self._sockets.append(opened)
            if self._is_over:
                raise TimeoutError("the time is over")

    def _end(self) -> None:
        with self._lock:
            self._is_over = True
            for one in self._sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)


def _read(address: str, scheme: str, deadline: _Deadline) -> bytes:
    """At most one byte more than a picture may have. Raises OSError also for an answer that broke off."""
    if scheme in ("http", "https"):
        with _opener(deadline).open(quote(address, safe="%/:=&?~#+!$,;'@()*[]"), timeout=_SECONDS) as answer:
            raw = bytes(answer.read(MAX_BYTES + 1))
            if answer.length and len(raw) <= MAX_BYTES:  # what is left of Content-Length; read() says nothing of it
                raise OSError(f"the answer broke off, {answer.length:,} bytes before its end")
            return raw
    import fsspec

    try:
        with fsspec.open(address, "rb") as file:
            return bytes(file.read(MAX_BYTES + 1))
    except (OSError, ValueError, ImportError):
        raise
    except Exception as error:  # s3fs and gcsfs raise errors of their own, which share nothing
        raise OSError(f"{type(error).__name__}: {error}") from error


def _opener(deadline: _Deadline) -> urllib.request.OpenerDirector:
    """Of http and https alone: no redirection leads to a file of this machine."""
    opener = urllib.request.OpenerDirector()
    for handler in _handlers(deadline):
        opener.add_handler(handler)
    return opener


def _handlers(deadline: _Deadline) -> Iterator[urllib.request.BaseHandler]:
    request = urllib.request
    yield from (request.ProxyHandler(), request.UnknownHandler(), _Http(deadline), _Https(deadline),
                request.HTTPDefaultErrorHandler(), _Redirections(), request.HTTPErrorProcessor())


class _Redirections(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
                         headers: http.client.HTTPMessage, newurl: str) -> urllib.request.Request | None:
        """What was asked for over https does not come over http, which anybody on the way can change."""
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise OSError(f"it leads from https to {newurl.partition(':')[0]}; name the https address that it is at")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_held(http.client.HTTPConnection, self.deadline), req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, deadline: _Deadline) -> None:
        super().__init__()
        self.deadline = deadline

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_held(http.client.HTTPSConnection, self.deadline), req)


def _held(kind: Callable[..., http.client.HTTPConnection],
          deadline: _Deadline) -> Callable[..., http.client.HTTPConnection]:
    """A connection whose socket the deadline holds as soon as there is one."""
    def make(*where: object, **named: object) -> http.client.HTTPConnection:
        connection = kind(*where, **named)
        connect = connection.connect

        def held() -> None:
            connect()
            deadline.hold(connection.sock)

        connection.connect = held  # type: ignore[method-assign]
        return connection

    return make
