"""Thumbnails over HTTP: the route that serves them and the URLs that pages put into their HTML.

Serves pictures that a project's manifest names and nothing else. Knows no widget and no page.
"""

import contextlib
import hashlib
import io
import math
import threading
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import anyio.to_thread
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curation.project import Project, project_named, projects_home
from curation.samples.keys import manifest_keys
from engine.contract.disk.seals import SealError, opened_bytes
from engine.contract.errors import UserError
from engine.contract.inside import is_inside
from engine.contract.manifest import MANIFEST_NAME, image_root, read_info, resolve_image
from engine.contract.pictures.image_files import open_image
from engine.contract.pictures.mirror import mirror_of, patience
from engine.contract.pixels import GROUND, VERSION, to_rgb_for
from engine.contract.stamps import Stamp, stamp_of
from engine.contract.work_dir import write_atomic

SIZES = (64, 128, 256, 512)
"""Sides in pixels of the square a thumbnail fits into. A fixed set, so that nobody can fill the disk with sizes."""
ROUTE_PATH = "/api/thumbnail"
PATIENCE_SECONDS = 4.0
"""How long a picture is tried for that lies elsewhere and cannot be reached, before its card says so."""
_MAX_INDEXES = 4


class MediaError(UserError):
    """No such picture: an unknown project, sample or size. One line, ready to show."""


def thumbnail_url(project: Project, sample_id: str, size: int = 128, has_hard_pixels: bool = False) -> str:
    """URL of a sample's thumbnail, `size` one of SIZES. Safe inside an HTML attribute once escaped as any URL is.

    A picture of fewer pixels is enlarged smoothly, everywhere alike: people name it sooner so. has_hard_pixels: as the
    squares that it consists of.
    """
    if size not in SIZES:
        raise MediaError(f"a thumbnail's size must be one of {', '.join(map(str, SIZES))}; got {size}")
    query = {"project": Path(project.path).name, "id": sample_id, "size": size, "v": _version(Path(project.path)),
             **({"pixels": "hard"} if has_hard_pixels else {})}
    return f"{ROUTE_PATH}?{urlencode(query)}"


def _version(project: Path) -> str:
    """Changes whenever the manifest is written anew, so a URL never shows the picture of an older import."""
    return f"{stamp_of(project / MANIFEST_NAME)[0].mtime_ns // 1_000_000:x}-{VERSION}"


# -- where a sample's picture is


@dataclass(frozen=True, slots=True)
class _Index:
    """Sample ids of one manifest, ready for look-up: 12 bytes a row beside the texts, which others share."""

    root: Path
    manifest: Path
    keys: pl.DataFrame
    """manifest_keys."""
    sorted_hashes: np.ndarray
    """(N,) uint64."""
    order: np.ndarray
    """(N,) uint32: row of each sorted hash."""

    def row_of(self, sample_id: str) -> int:
        key = pl.Series([sample_id]).hash()[0]
        start = int(np.searchsorted(self.sorted_hashes, np.uint64(key), side="left"))
        stop = int(np.searchsorted(self.sorted_hashes, np.uint64(key), side="right"))
        for row in self.order[start:stop].tolist():
            if self.keys["sample_id"][row] == sample_id:
                return int(row)
        raise MediaError("a thumbnail needs a sample of the manifest; this id is none of them")

    def path_of(self, row: int) -> str | None:
        return self.keys["path"][row] if "path" in self.keys.columns else None


_indexes: dict[Stamp, _Index] = {}
_indexes_lock = threading.Lock()


def _index_of(project: Path) -> _Index:
    """The project's index, read once for each version of its manifest."""
    key = stamp_of(project / MANIFEST_NAME)
    with _indexes_lock:
        if key not in _indexes:
            outdated = [k for k in _indexes if k[0].path == key[0].path]
            for old in outdated or list(_indexes)[: max(0, len(_indexes) - _MAX_INDEXES + 1)]:
                del _indexes[old]
            _indexes[key] = _read_index(project)
        return _indexes[key]


def _read_index(project: Path) -> _Index:
    keys = manifest_keys(project)
    hashes = keys["sample_id"].hash()
    order = hashes.arg_sort()
    return _Index(root=image_root(project, read_info(project)), manifest=project / MANIFEST_NAME, keys=keys,
                  sorted_hashes=hashes[order].to_numpy(), order=order.to_numpy())


def _embedded_image(index: _Index, row: int) -> bytes | None:
    """Bytes of column `image` in one row; reads the one row group that holds it."""
    file = pq.ParquetFile(index.manifest)
    if "image" not in file.schema_arrow.names:
        return None
    for group in range(file.num_row_groups):
        num_rows = file.metadata.row_group(group).num_rows
        if row < num_rows:
            value = file.read_row_group(group, columns=["image"])["image"][row].as_py()
            return (value or {}).get("bytes")
        row -= num_rows
    return None


# -- making a thumbnail


def thumbnail(project: Path, sample_id: str, size: int, has_hard_pixels: bool = False) -> tuple[bytes, str]:
    """Encoded thumbnail of a sample and a tag that changes with its content; made once, kept in P/thumbnails
    unless that is a link out of the project.

    Raises MediaError for a sample that the manifest does not have, ManifestError for a path that leaves the root.
    """
    index = _index_of(project)
    row = index.row_of(sample_id)
    path = index.path_of(row)
    file = None if path is None else resolve_image(index.root, path)
    mirror = None if file is None else mirror_of(file)
    version = mirror.url if mirror is not None else _file_version(file or index.manifest)
    kind = "hard" if has_hard_pixels else "smooth"
    tag = hashlib.sha256(f"{sample_id}\0{version}\0{size}\0{kind}\0{VERSION}".encode()).hexdigest()[:32]
    kept = project / "thumbnails" / tag[:2] / f"{tag}.img"
    can_keep = is_inside(kept, project)
    if can_keep and (encoded := _kept(kept)) is not None:
        return encoded, tag
    with patience(PATIENCE_SECONDS):
        encoded = _encode(_embedded_image(index, row) if file is None else file, size, has_hard_pixels)
    if encoded is None:
        return _unreadable(size), ""
    if can_keep:
        with contextlib.suppress(OSError):  # a project that may only be read, a full disk: it is made anew each time
            write_atomic(kept, lambda p: p.write_bytes(encoded))
    return encoded, tag


def _kept(path: Path) -> bytes | None:
    """A thumbnail as it was made; None where there is none, a damaged one or one of older code, which has no seal."""
    try:
        return opened_bytes(path.read_bytes())
    except (OSError, SealError):
        return None


def _file_version(path: Path) -> str:
    """Of what is kept on disk: a copied project, whose files have other inodes, keeps its thumbnails."""
    try:
        found = stamp_of(path)[0]
    except OSError:
        return "missing"
    return f"{found.mtime_ns}-{found.size}" if found.inode else "missing"


def _encode(source: Path | bytes | None, size: int, has_hard_pixels: bool = False) -> bytes | None:
    """JPEG of an image reduced or smoothly enlarged, PNG of its own or hard pixels; None where it cannot be read."""
    if source is None:
        return None
    try:
        with open_image(source, size) as opened:
            image = to_rgb_for(opened, size)
    except Exception:  # Pillow raises whatever its codecs raise, and a damaged file is normal here
        return None
    longest = max(image.size)
    buffer = io.BytesIO()
    if longest <= size:
        factor = size // longest
        enlarged = image.width * factor, image.height * factor
        if has_hard_pixels or factor == 1:
            image.resize(enlarged, Image.Resampling.NEAREST).save(buffer, "PNG", compress_level=3)
        else:
            image.resize(enlarged, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=92, subsampling=0)
    else:
        image.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=2.0)
        image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def encoded_thumbnail(source: Path, size: int) -> bytes:
    """A thumbnail of a file that is in no project yet, or a crossed-out square; kept nowhere."""
    return _encode(source, size) or _unreadable(size)


def _unreadable(size: int) -> bytes:
    """A crossed-out square, so that a damaged file is seen as damaged and not as a gap in the page."""
    image = Image.new("RGB", (size, size), GROUND)
    draw = ImageDraw.Draw(image)
    inner, width = math.ceil(size * 0.3), max(2, size // 32)
    draw.line((inner, inner, size - inner, size - inner), fill=(148, 163, 160), width=width)
    draw.line((inner, size - inner, size - inner, inner), fill=(148, 163, 160), width=width)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


# -- HTTP


def _project_named(name: str) -> Path:
    """The project folder of that name inside the projects' home, as the sidebar lists it: a link to a project elsewhere
    as well, and nothing that lies beside or below a project."""
    path = project_named(projects_home(), name)
    if path is None:
        raise MediaError("a thumbnail needs a project of this app; the name given is none of them")
    return path


def _answer(name: str, sample_id: str, size_text: str, pixels: str, known_tag: str) -> Response:
    """The response to one request; every refusal is a plain 404, so that nothing can be learned from it."""
    try:
        size = int(size_text)
        if size not in SIZES:
            raise MediaError(f"a thumbnail's size must be one of {', '.join(map(str, SIZES))}; got {size}")
        encoded, tag = thumbnail(_project_named(name), sample_id, size, pixels == "hard")
    except (ValueError, OSError):
        return Response("no such picture", status_code=404, media_type="text/plain")
    kind = "image/png" if encoded.startswith(b"\x89PNG") else "image/jpeg"
    if not tag:
        return Response(encoded, media_type=kind, headers={"Cache-Control": "no-store"})
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, max-age=3600"}
    if known_tag == f'"{tag}"':
        return Response(status_code=304, headers=headers)
    return Response(encoded, media_type=kind, headers=headers)


async def serve_thumbnail(request: Request) -> Response:
    """GET /api/thumbnail?project=NAME&id=SAMPLE_ID&size=128, and pixels=hard. The disk work happens in a thread."""
    query = request.query_params
    return await anyio.to_thread.run_sync(
        _answer, query.get("project", ""), query.get("id", ""), query.get("size", ""),
        query.get("pixels", ""), request.headers.get("if-none-match", ""))


ROUTES = [Route(ROUTE_PATH, serve_thumbnail, methods=["GET"])]
