"""An import before anything of it is written: what was read, how it would be split, some pictures, what is wrong.

Opens no image and writes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from curation.project import projects_home
from curation.sources.importing import read_source, refuse_nothing
from curation.sources.label_notes import label_notes
from curation.sources.reading.rows import MANIFEST_COLUMNS, class_table, labels_seen
from curation.sources.reading.source import OptionValue
from curation.sources.splits import HoldOut, hold_out, is_owner, keeps_together
from curation.sources.storage import splits_before
from curation.tables.report import Problems, Progress, SourceError
from engine.contract.manifest import SPLITS, ManifestError, resolve_image

NUM_PICTURES = 12
MAX_GROUP_COLUMNS = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """One sample as the preview shows it."""

    path: Path
    label: str
    split: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """What an import would bring."""

    num_samples: int
    own_splits: tuple[str, ...]
    """Splits that the data have themselves."""
    classes: pd.DataFrame
    """class, train, clean, test, dual, wrong; with what is held out."""
    splits: dict[str, int]
    """Samples of each split, with what is held out."""
    held_out: tuple[str, ...]
    """Splits that an import draws: their labels are as given."""
    notes: tuple[str, ...]
    groups: tuple[str, ...]
    """Columns by whose values samples can be kept together, the most fitting first."""
    is_first_whole: bool
    """Whether the first of them names groups that a split should keep whole."""
    num_problems: int
    problems: pd.DataFrame
    """The first hundred: file, row, sample_id, kind, reason, action."""
    pictures: tuple[Picture, ...]
    """None where they lie inside of tables: the import writes them as files."""


def preview(source: str, root: Path, progress: Progress, options: Mapping[str, OptionValue | None],
            held_out: HoldOut | None, project: Path | None = None) -> Preview:
    """Read a source as an import would, into `project` where that is one already. Raises SourceError where the import
    would, apart from what its look at the images finds."""
    problems = Problems()
    try:
        loaded, rows = read_source(source, root, projects_home(), problems, progress, options)
    except OSError as error:
        raise SourceError(f"files must be readable; {error.filename or root}: {error.strerror or error}; check their "
                          "rights") from error
    own = tuple(name for name in SPLITS if name in rows["split"].unique().to_pylist())
    groups, is_first_whole = _groups(rows)
    split = hold_out(rows, held_out, None if project is None else splits_before(project), progress)
    rows = split.rows
    classes = loaded.classes if loaded.classes is not None else labels_seen(rows)
    counted = class_table(rows, classes)
    refuse_nothing(loaded, counted, problems)
    return Preview(
        num_samples=rows.num_rows, own_splits=own, classes=counted, groups=groups,
        held_out=split.held_out,
        notes=(*loaded.notes, *split.notes, *label_notes(classes, is_declared=loaded.classes is not None)),
        is_first_whole=is_first_whole,
        splits={name: int(counted[name].sum()) for name in SPLITS}, num_problems=len(problems),
        problems=problems.table().slice(0, 100).to_pandas(),
        pictures=() if loaded.unpack is not None else _pictures(rows, loaded.root))


def _groups(rows: pa.Table) -> tuple[tuple[str, ...], bool]:
    """(columns that name groups of samples: those whose groups are small first, of these the ones called so and the
    data's own `group` before others; whether the first is of the small ones)."""
    names = [name for name in rows.column_names if name not in {*MANIFEST_COLUMNS, "file", "row"} - {"group"}
             and _is_name(rows.schema.field(name).type)]
    names.sort(key=lambda name: (not is_owner(name), name != "group"))
    found: list[tuple[bool, bool, bool, str]] = []
    for name in names[:MAX_GROUP_COLUMNS]:
        values = rows[name].to_pandas()
        if values.dtype.kind == "f" and (values.dropna() % 1 != 0).any():
            continue  # a measure
        if 1 < values.nunique() < len(values):
            found.append((not keeps_together(values, name), not is_owner(name), name != "group", name))
    found.sort()
    return tuple(name for *_, name in found), bool(found) and not found[0][0]


def _is_name(kind: pa.DataType) -> bool:
    """Whether values may be names; whole numbers with gaps are read as floats."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind)
                or pa.types.is_floating(kind))


def _pictures(rows: pa.Table, root: Path) -> tuple[Picture, ...]:
    """Some of the samples: of every class in turn, at random but the same each time."""
    labels = rows["given_label"].to_pandas()
    order = np.random.default_rng(0).permutation(len(labels))
    turn = labels.iloc[order].groupby(labels.iloc[order], sort=False).cumcount().to_numpy()
    chosen = order[np.argsort(turn, kind="stable")[:NUM_PICTURES]]
    found = []
    for row in rows.take(pa.array(np.sort(chosen))).select(["path", "given_label", "split"]).to_pylist():
        try:
            found.append(Picture(path=resolve_image(root, row["path"]), label=row["given_label"], split=row["split"]))
        except (ManifestError, OSError):
            continue
    return tuple(found)
