"""Pictures that a table names by address (https, http, s3, gs), fetched into a project: a step before an import.

    P/images/ab/abcd....jpg   the pictures, named after their address, so that a stopped fetch goes on where it was
    P/fetched.parquet         the table with paths of these files, and source_url; addresses that failed stay
    P/fetch_report.csv        each address that could not be fetched, and why

Then `import table P/fetched.parquet` reads them. s3 and gs need fsspec's s3fs or gcsfs. Decodes nothing.
"""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
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
    """(address, why not)."""
    num_local: int
    """Rows whose path is no address."""


def fetch(table: Path, project: Path, progress: Progress, *, path_column: str | None = None) -> Fetched:
    """Fetch every address of a table's column of paths. Raises SourceError where the table cannot be read."""
    people.require("owner", "a fetch")
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
            for address, (path, why) in zip(batch, pool.map(lambda one: _one(one, root.resolve()), batch), strict=True):
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
                   num_local=sum(one is not None and "://" not in one for one in paths))


def _one(address: str, root: Path) -> tuple[str | None, str]:
    """(path of the picture below `root`, "there" where it was); or (None, why there is none)."""
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
    try:
        raw = _read(address, parts.scheme.lower())
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


def _read(address: str, scheme: str) -> bytes:
    """At most one byte more than a picture may have. Raises OSError also for an answer that broke off."""
    if scheme in ("http", "https"):
        with _opener().open(quote(address, safe="%/:=&?~#+!$,;'@()*[]"), timeout=_SECONDS) as answer:
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


def _opener() -> urllib.request.OpenerDirector:
    """Of http and https alone: no redirection leads to a file of this machine."""
    opener = urllib.request.OpenerDirector()
    for handler in _handlers():
        opener.add_handler(handler)
    return opener


def _handlers() -> Iterator[urllib.request.BaseHandler]:
    request = urllib.request
    yield from (request.ProxyHandler(), request.UnknownHandler(), request.HTTPHandler(), request.HTTPSHandler(),
                request.HTTPDefaultErrorHandler(), request.HTTPRedirectHandler(), request.HTTPErrorProcessor())
