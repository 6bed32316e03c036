"""Files of Arrow's two kinds as Hugging Face's `datasets` writes them: Parquet, and the IPC streams of save_to_disk.

Reads them batch by batch: of a column of pictures the names alone, or the pictures of some rows. Which column means
what is for curation.sources.formats.huggingface.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.tables.frames import is_listing, listing_text, plain_type
from curation.tables.report import SourceError
from curation.tables.schema_names import class_labels, features

_BATCH_ROWS = 256
_PLAIN_ROWS = 65_536


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One file of a data set."""

    path: Path
    name: str
    """Below the data set's folder."""
    split: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """What the columns of a shard are."""

    images: tuple[str, ...]
    """Those of pictures: structs of bytes and path, or binary."""
    classes: dict[str, tuple[str, ...]]
    """Column of class numbers -> the classes' names in their order."""
    plain: tuple[str, ...]
    """Those of plain values, the columns of class numbers among them."""
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Column of lists of texts or numbers, such as several people's answers -> the names of the classes that its
    numbers stand for; () where they stand for none."""
    left_out: tuple[str, ...] = field(default=())
    """The rest."""


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns what Arrow raises about a damaged file into one line of SourceError."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        if isinstance(error, SourceError):
            raise
        short = " ".join(str(error).split())[:160]
        raise SourceError(f"{path.name} must be a whole file of Parquet or Arrow; {short}; copy or download it "
                          "again") from error


def schema_of(path: Path) -> pa.Schema:
    """The columns of a file with their metadata. Raises SourceError for a damaged one."""
    with readable(path):
        if path.suffix == ".arrow":
            with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
                return stream.schema
        return pq.read_schema(path)


def columns_of(schema: pa.Schema) -> Columns:
    """Sorts columns into kinds, by the features that the schema's metadata hold where they hold some."""
    found, classes = features(schema), class_labels(schema)
    images, plain, lists, left_out = [], [], {}, []
    for column in schema:
        if (column.name in found and found[column.name]["kind"] == "Image") or is_picture(column.type):
            images.append(column.name)
        elif is_listing(column.type):
            lists[column.name] = found[column.name]["names"] if column.name in found else ()
        elif plain_type(column.type) is None:
            left_out.append(column.name)
        else:
            plain.append(column.name)
    return Columns(images=tuple(images), classes={name: classes[name] for name in plain if name in classes},
                   plain=tuple(plain), lists=lists, left_out=tuple(left_out))


def is_picture(kind: pa.DataType) -> bool:
    """Whether a column holds encoded pictures: a struct of bytes and path, or bytes themselves."""
    if pa.types.is_struct(kind):
        return {field.name for field in kind} >= {"bytes", "path"}
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def plain_batches(path: Path, columns: Columns, image: str) -> Iterator[pa.Table]:
    """The plain columns as few types, the lists as JSON, and `image` as the pictures' names (null where there is none).
    Reads no picture of a Parquet file whose pictures are structs."""
    has_names = pa.types.is_struct(schema_of(path).field(image).type)
    names = [f"{image}.path"] if has_names else []
    with readable(path):
        for batch in _batches(path, [*columns.plain, *columns.lists, *names], _PLAIN_ROWS):
            made = {name: _plain(batch.column(name)) for name in columns.plain}
            made |= {name: listing_text(batch.column(name), known) for name, known in columns.lists.items()}
            made[image] = pa.compute.struct_field(batch.column(image), "path").cast(pa.string()) if has_names \
                else pa.nulls(batch.num_rows, pa.string())
            yield pa.table(made)


def pictures(path: Path, image: str, rows: list[int],
             inside: tuple[Path, ...] = ()) -> Iterator[tuple[int, bytes | None]]:
    """(row, the encoded picture or None) of the wanted rows, counted from 1 and rising. inside: resolved folders in
    which a picture may be a file of its own, named in place of its bytes; any other file is not looked at."""
    is_struct = pa.types.is_struct(schema_of(path).field(image).type)
    start, place = 1, 0
    with readable(path):
        wanted = [f"{image}.bytes", *([f"{image}.path"] if inside else [])] if is_struct else [image]
        for batch in _batches(path, wanted, _BATCH_ROWS):
            column = batch.column(image)
            values = pa.compute.struct_field(column, "bytes") if is_struct else column
            names = pa.compute.struct_field(column, "path") if is_struct and inside else None
            while place < len(rows) and rows[place] < start + batch.num_rows:
                at = rows[place] - start
                data = values[at].as_py()
                yield rows[place], _file(names[at].as_py(), inside) if data is None and names is not None else data
                place += 1
            start += batch.num_rows
            if place == len(rows):
                return


def _file(name: str | None, inside: tuple[Path, ...]) -> bytes | None:
    """The content of a file in one of these folders; None of any other, or where there is none."""
    found = Path(name or "").resolve()
    is_ours = any(found.is_relative_to(folder) for folder in inside)
    return found.read_bytes() if is_ours and found.is_file() else None


def _batches(path: Path, columns: list[str], num_rows: int) -> Iterator[pa.RecordBatch]:
    """Some columns (of Parquet also parts of a struct), so many rows at a time."""
    if path.suffix != ".arrow":
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield from file.iter_batches(num_rows, columns=columns)
        return
    wanted = list(dict.fromkeys(name.partition(".")[0] for name in columns))
    with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as stream:
        for batch in stream:
            for start in range(0, batch.num_rows, num_rows):
                yield batch.select(wanted).slice(start, num_rows)


def _plain(column: pa.Array) -> pa.Array:
    kind = plain_type(column.type)
    return column if kind == column.type else column.cast(kind)
