"""The curated hard validation set as Parquet files that hold the pictures, typed as Hugging Face's `datasets` reads it.

The schema's metadata names each column's feature: `image` is an Image, `label` a ClassLabel with the project's classes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from curation.exports.card import card
from curation.exports.curated import curated_validation, with_rows
from curation.exports.digests import write_digests
from curation.exports.metadata import Carried, Metadata
from curation.exports.pictures import file_of, picture_of, plain_columns, sources
from curation.exports.staging import ExportError, ExportResult, Progress, staged
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.transfer.beside import write_beside
from engine.contract.manifest import ManifestError
from engine.contract.run_dir import RunDir

SHARD_ROWS = 10_000
GROUP_BYTES = 64 << 20
GROUP_ROWS = 1000
"""A row group ends at so many bytes of pictures or so many rows: readers hold one at a time."""
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FILES = """
data/validation-NUMBER.parquet: image, label (the index of its class), width, height, then every signal, decision and
origin column; `weight` is the sample's weight in training

problems.csv: what could not be exported, one line each (absent where all went well)
"""
OPENING = """
```python
from pathlib import Path
from datasets import load_dataset
data = load_dataset(str(Path().resolve()), split="validation")   # a whole path: it takes no "."
data[0]["image"], data[0]["label"], data.features["label"].names   # index, and classes by index
```
"""


def export_parquet(project: Project, run: RunDir, target: Path, progress: Progress, *,
                   metadata: Metadata = "strip") -> ExportResult:
    """Write the Parquet files into `target`. Raises ExportError, also where not a single picture could be read."""
    curated = curated_validation(project, run)
    rows = plain_columns(curated.frame)
    schema, carried = _schema(rows, curated.classes), Carried(metadata=metadata)
    with staged(target) as folder:
        with _Writer(folder / "data", schema) as writer:
            problems = _write(project, rows, curated.frame["current_label"], curated.classes, writer, carried,
                              progress)
        if not writer.ids:
            raise ExportError(f"an export of pictures needs some; none of {len(rows)} could be read, first "
                              f"{problems['sample_id'].iloc[0]!r}: {problems['reason'].iloc[0]}; mend the import")
        curated = with_rows(curated, curated.frame["sample_id"].isin(writer.ids))
        if len(problems):
            write_csv(problems, folder / "problems.csv")
        files = FILES + write_beside(curated.transfer, folder)
        text = card(project, curated, files=files, opening=OPENING, patterns="data/*.parquet",
                    num_problems=len(problems), carried=carried, columns=schema.names)
        (folder / "README.md").write_text(text, encoding="utf-8")
        write_digests(folder)
    return ExportResult(path=target, num_samples=len(curated.frame), problems=problems,
                        class_counts=curated.class_counts, carried=carried)


def with_features(schema: pa.Schema, classes: tuple[str, ...]) -> pa.Schema:
    """A schema that names its `datasets` features: image an Image, label (an index) a ClassLabel, all else a Value."""
    special: dict[str, dict[str, object]] = {"image": {"_type": "Image"},
                                             "label": {"names": list(classes), "_type": "ClassLabel"}}
    features = {field.name: special.get(field.name) or {"dtype": _VALUES[field.type], "_type": "Value"}
                for field in schema}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


_VALUES = {pa.int64(): "int64", pa.int32(): "int32", pa.float64(): "float64", pa.float32(): "float32",
           pa.bool_(): "bool", pa.string(): "string"}


def value_table(rows: pd.DataFrame) -> pa.Table:
    """The rows with each column of a type that _VALUES names; what is none of them as text."""
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
            column = column.cast(pa.string())
        elif pa.types.is_integer(kind):
            column = column.cast(pa.int64())
        elif kind not in _VALUES:
            column = pa.chunked_array([pa.array([None if cell is None else str(cell) for cell in column.to_pylist()],
                                                pa.string())])
        columns.append(column)
    return pa.table(dict(zip(table.column_names, columns, strict=True)))


def _schema(rows: pd.DataFrame, classes: tuple[str, ...]) -> pa.Schema:
    own = [pa.field("image", _IMAGE), pa.field("label", pa.int64()), pa.field("width", pa.int64()),
           pa.field("height", pa.int64())]
    return with_features(pa.schema([*own, *value_table(rows).schema]), classes)


class _Picture(NamedTuple):
    """A picture as read; row: its place in the table."""

    row: int
    data: bytes
    name: str
    label: int
    width: int
    height: int


class _Writer:
    """Writes shards of SHARD_ROWS rows, in row groups, and names them once it is known how many there are."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema
        self.ids: set[str] = set()
        self._shards: list[pq.ParquetWriter] = []
        folder.mkdir()

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._end_shard()
        for number in range(len(self._shards)):
            name = f"validation-{number:05}-of-{len(self._shards):05}.parquet"
            (self.folder / str(number)).rename(self.folder / name)

    def write(self, pictures: list[_Picture], rows: pa.Table) -> None:
        """One row group of pictures, one or more; rows: their other columns, in the same order."""
        if len(self.ids) >= SHARD_ROWS * len(self._shards):
            self._end_shard()
            self._shards.append(pq.ParquetWriter(self.folder / str(len(self._shards)), self.schema))
        own = [pa.array([{"bytes": one.data, "path": one.name} for one in pictures], _IMAGE),
               *(pa.array([getattr(one, name) for one in pictures], pa.int64())
                 for name in ("label", "width", "height"))]
        self._shards[-1].write_table(pa.table([*own, *rows.columns], schema=self.schema))
        self.ids |= set(rows["sample_id"].to_pylist())

    def _end_shard(self) -> None:
        if self._shards:
            self._shards[-1].close()


def _write(project: Project, rows: pd.DataFrame, labels: pd.Series, classes: tuple[str, ...], writer: _Writer,
           carried: Carried, progress: Progress) -> pd.DataFrame:
    """All pictures that can be read; problems of the others."""
    place = {sample_id: i for i, sample_id in enumerate(rows["sample_id"])}
    codes = labels.map({name: code for code, name in enumerate(classes)})
    table = value_table(rows)
    problems: list[tuple[str, str, str]] = []
    for group in _groups(_read(project, place, codes, labels, problems, carried, progress)):
        writer.write(group, table.take([one.row for one in group]))
    return pd.DataFrame(problems, columns=["sample_id", "file", "reason"])


def _read(project: Project, place: dict[str, int], codes: pd.Series, labels: pd.Series,
          problems: list[tuple[str, str, str]], carried: Carried, progress: Progress) -> Iterator[_Picture]:
    """Each picture that can be read, in manifest order."""
    for done, (sample_id, path, data) in enumerate(sources(project, set(place)), start=1):
        progress(done, len(place))
        row = place[sample_id]
        if pd.isna(codes[row]):
            problems.append((sample_id, path, f"its label {labels[row]!r} is no class of the project"))
            continue
        try:
            data = data if data is not None else file_of(project, path).read_bytes()
            one = picture_of(data, path, carried)
            assert one.data is not None, "of bytes there are bytes"
        except (ManifestError, OSError, ValueError) as error:
            problems.append((sample_id, path, " ".join(str(error).split())))
            continue
        name = f"{path.removesuffix(Path(path).suffix) or sample_id}{one.suffix}"
        yield _Picture(row=row, data=one.data, name=name, label=int(codes[row]), width=one.width, height=one.height)


def _groups(pictures: Iterator[_Picture]) -> Iterator[list[_Picture]]:
    """Pictures in groups of at most GROUP_ROWS or just above GROUP_BYTES."""
    group: list[_Picture] = []
    num_bytes = 0
    for picture in pictures:
        group.append(picture)
        num_bytes += len(picture.data)
        if len(group) == GROUP_ROWS or num_bytes >= GROUP_BYTES:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group
