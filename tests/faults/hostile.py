"""Pictures and tables that nobody would send in good faith, generated: each is read or refused in one line.

    python -m tests.faults.hostile [--examples 2500] [--seed 0]

Prints how many there were, the longest time that one took and the most memory that the process had; exit status 1 where
one ended in another error, took more than 20 s, or the memory exceeded 1 GB.
"""

import argparse
import io
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from curation.sources.importing import import_project
from curation.views.routes.thumbnails import encoded_thumbnail
from engine.contract.errors import UserError
from engine.contract.pictures.image_files import open_image
from engine.data.decoding import reason_of, to_square

MAX_SECONDS, MAX_KIBIBYTES = 20.0, 2**20
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
MAGICS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*",
          b"RIFF\xff\xff\xff\x7fWEBP", b"P3 9 9 255\n", b"P6\n", b"\x00\x00\x00\x0cjP  \r\n\x87\n",
          b"\x00\x00\x00 ftypavif", b"%!PS-Adobe-3.0 EPSF-3.0\n")


def _whole(form: str, size: tuple[int, int], mode: str, number: int, is_progressive: bool) -> bytes:
    """A small picture of a format, in the mode where that can hold it."""
    pixels = np.random.default_rng(number).integers(0, 256, (*size, 4), dtype=np.uint8)
    image = Image.fromarray(pixels, "RGBA").convert(mode)
    buffer = io.BytesIO()
    options = {"progressive": True} if form == "JPEG" and is_progressive else {}
    try:
        image.save(buffer, form, **options)
    except (OSError, ValueError):
        image.convert("RGB").save(buffer, form, **options)
    return buffer.getvalue()


@st.composite
def _mutated(draw: st.DrawFn, whole: st.SearchStrategy[bytes]) -> bytes:
    """A file with a few bytes changed, a piece doubled or left out, or its end cut off."""
    found = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, 8))):
        # The first bytes say how large it is; they are what is worth a lie.
        at = draw(st.integers(0, min(len(found), 64) - 1 if draw(st.booleans()) else len(found) - 1))
        found[at] = draw(st.sampled_from((0, 1, 127, 128, 254, 255)) | st.integers(0, 255))
    first, last = sorted((draw(st.integers(0, len(found))), draw(st.integers(0, len(found)))))
    match draw(st.sampled_from(("whole", "whole", "cut", "double", "hole"))):
        case "cut":
            return bytes(found[:last])
        case "double":
            return bytes(found[:last] + found[first:last] * draw(st.integers(1, 40)) + found[last:])
        case "hole":
            return bytes(found[:first] + found[last:])
    return bytes(found)


WHOLE_PICTURES = st.builds(
    _whole, st.sampled_from(FORMATS), st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(("RGB", "RGBA", "L", "LA", "P", "CMYK", "1", "I", "F")), st.integers(0, 5), st.booleans())
PICTURES = _mutated(WHOLE_PICTURES) | st.builds(lambda magic, rest: magic + rest, st.sampled_from(MAGICS),
                                                st.binary(max_size=300))
"""Files that say they are pictures."""
_CELL = st.sampled_from(("a.png", "../a.png", "/etc/passwd", "cat", "dog", "train", "test", "", "nan", "0", "-1",
                         "1e999", "=1+1", "\ufeff", "a\nb", 'a"b', "a,b", "\u202e", "x" * 5000)) | st.text(max_size=12)


def _csv(header: list[str], rows: list[list[str]], separator: str, is_quoted: bool, encoding: str) -> bytes:
    def cell(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if is_quoted else text

    lines = [separator.join(map(cell, row)) for row in [header, *rows]]
    return "\n".join(lines).encode(encoding, errors="replace")


def _parquet(header: list[str], rows: list[list[str]]) -> bytes:
    names = [f"{name}{number}" if name in header[:number] else name for number, name in enumerate(header)]
    cells = [(row + [""] * len(names))[:len(names)] for row in rows]
    buffer = io.BytesIO()
    pd.DataFrame(cells, columns=names).map(lambda text: text.encode(errors="replace").decode()).to_parquet(buffer)
    return buffer.getvalue()


_HEADER = st.just(["path", "label"]) | st.just(["path", "label", "split", "sample_id", "clean_label"]) | st.lists(
    st.sampled_from(("path", "label", "split", "sample_id", "group", "", "path")) | st.text(
        st.characters(codec="utf-8"), max_size=6), min_size=1, max_size=5)
_ROWS = st.lists(st.lists(_CELL, max_size=5), max_size=12)
_CSV = st.builds(_csv, _HEADER, _ROWS, st.sampled_from((",", "\t", ";")), st.booleans(),
                 st.sampled_from(("utf-8", "utf-16", "latin-1")))
_JSON = st.recursive(st.none() | st.booleans() | st.floats() | _CELL, lambda inner: st.lists(inner, max_size=3)
                     | st.dictionaries(_CELL, inner, max_size=3))
_LINES = st.lists(_JSON.map(lambda value: repr(value).replace("'", '"')), max_size=6).map(
    lambda lines: "\n".join(lines).encode(errors="replace"))
TABLES = (
    st.tuples(st.sampled_from((".csv", ".tsv", ".jsonl")), _CSV | _mutated(_CSV.filter(bool)) | st.binary(max_size=200))
    | st.tuples(st.just(".parquet"), _mutated(st.builds(_parquet, _HEADER, _ROWS)) | st.binary(max_size=200))
    | st.tuples(st.just(".jsonl"), _LINES))
"""(suffix, bytes) of files that say they are tables."""


def look_at_picture(encoded: bytes) -> None:
    """What the app, the import and the engine do with a picture: a thumbnail or a crossed square, pixels or a line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jpg"
        path.write_bytes(encoded)
        assert encoded_thumbnail(path, 64)[:2] in (b"\xff\xd8", b"\x89P")
        try:
            with open_image(path, 32) as image:
                assert to_square(image, 32, "crop").shape == (32, 32, 3)
        except Exception as error:  # what Pillow's codecs raise, as the engine takes it
            assert "\n" not in reason_of(error)


def look_at_table(table: tuple[str, bytes]) -> None:
    """An import, which loads or is refused in one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"table{table[0]}"
        path.write_bytes(table[1])
        try:
            import_project("table", Path(folder) / "p", root=path, check="none")
        except UserError as error:
            assert "\n" not in str(error)


def checking(examples: st.SearchStrategy, look: Callable, num: int,
             told: list[float] | None = None) -> Callable[[], None]:
    """A test of that many examples, without hypothesis' own deadline. told: gets the seconds of each."""
    @settings(max_examples=num, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(examples)
    def check(example) -> None:
        began = time.monotonic()
        look(example)
        if told is not None:
            told.append(time.monotonic() - began)

    return check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=2500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    is_bad = False
    warnings.simplefilter("ignore")  # Pillow warns of odd metadata, pandas of odd columns
    for name, examples, look, share in (("pictures", PICTURES, look_at_picture, 0.6),
                                        ("tables", TABLES, look_at_table, 0.4)):
        told: list[float] = []
        seed(options.seed)(checking(examples, look, int(share * options.examples), told))()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        print(f"{name}: {len(told):,}, the longest {max(told):.1f} s, at most {peak / 1024:,.0f} MiB", flush=True)
        is_bad |= max(told) > MAX_SECONDS or peak > MAX_KIBIBYTES
    return int(is_bad)


if __name__ == "__main__":
    sys.exit(main())
