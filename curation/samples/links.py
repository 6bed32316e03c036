"""A predicate as the text of a link: packed into the link itself, or, where that would be long, kept in the project.

A kept one lies in the project's cache/selections/ under its digest and outlives the server; a link to it opens where
the project's cache does. Does not know what a predicate selects: what is unpacked still has to be fitted to a table.
"""

import base64
import binascii
import hashlib
import json
import re
import zlib
from pathlib import Path
from typing import Any

from curation.project import Project
from curation.samples.predicates import Predicate
from engine.contract.errors import UserError
from engine.contract.inside import inside
from engine.contract.work_dir import write_atomic

MAX_CHARS = 3_000
"""A longer one is kept: addresses of some thousand letters are cut by chats and mail."""
MAX_BYTES = 1_000_000
"""What a link may unpack to."""
MAX_KEPT = 200
"""So many of a project's are kept, the newest."""
_KEPT = "kept-"


class LinkError(UserError):
    """A link's selection cannot be read, or is no longer kept. One line, ready to show."""


def pack(project: Project, predicate: Predicate) -> str | None:
    """Its text in a link, of letters that an address leaves as they are; None where it would be long and cannot be
    kept, as in a project that one may only read. The same predicate is the same text."""
    document = json.dumps(predicate, separators=(",", ":"), sort_keys=True).encode()
    text = base64.urlsafe_b64encode(zlib.compress(document, 9)).decode().rstrip("=")
    if len(text) <= MAX_CHARS:
        return text
    digest = hashlib.sha256(document).hexdigest()[:20]
    path = _path(project, digest)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, lambda partial: partial.write_bytes(document))
            for older in sorted(path.parent.glob("*.json"), key=lambda found: -found.stat().st_mtime)[MAX_KEPT:]:
                older.unlink(missing_ok=True)
    except OSError:
        return None
    return _KEPT + digest


def unpack(project: Project, text: str) -> dict[str, object]:
    """The predicate of such a text, of whatever form: fit it before use. Raises LinkError."""
    if text.startswith(_KEPT):
        document = _kept(project, text.removeprefix(_KEPT))
    else:
        try:
            packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            document = zlib.decompressobj().decompress(packed, MAX_BYTES)
        except (binascii.Error, ValueError, zlib.error) as error:
            raise _unreadable(text) from error
    try:
        found: Any = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise _unreadable(text) from error
    if not isinstance(found, dict):
        raise _unreadable(text)
    return found


def _kept(project: Project, digest: str) -> bytes:
    try:
        if re.fullmatch("[0-9a-f]{20}", digest):  # no path leaves the folder
            return _path(project, digest).read_bytes()
    except OSError:
        pass
    raise LinkError("the selection of this link is no longer kept in the project; all samples are shown instead")


def _path(project: Project, digest: str) -> Path:
    return inside(project.path, "cache", "selections", f"{digest}.json")


def _unreadable(text: str) -> LinkError:
    short = text if len(text) <= 20 else f"{text[:20]}..."
    return LinkError(f"the selection of this link cannot be read: {short}; copy the whole address again")
