"""An import's files in the project folder: manifest, report, project.json. Each is replaced whole or not at all.

Touches neither ledger nor runs.
"""

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.project import PROJECT_NAME, REPORT_NAME, ImportDetails, ProjectDetails, drawn_splits
from curation.sources.splits import Before
from curation.tables.report import Problems
from engine.contract.disk import layouts
from engine.contract.manifest import (
    DECISIONS_NAME,
    MANIFEST_NAME,
    ManifestError,
    ManifestInfo,
    manifest_schema,
    read_decisions,
    read_info,
)
from engine.contract.work_dir import write_atomic

_ROW_GROUP = 131_072


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """An import against the manifest that it replaces."""

    is_new: bool
    num_added: int
    num_removed: int
    notes: list[str] = field(default_factory=list)


def splits_before(project: Path) -> Before | None:
    """What split each sample of the project has; None of a new project, or where that cannot be read."""
    try:
        rows = pq.read_table(project / MANIFEST_NAME, columns=["sample_id", "split"])
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None
    try:
        details: ProjectDetails = json.loads((project / PROJECT_NAME).read_text())
        asked = details.get("held_out")
        return Before(rows=rows, held_out=drawn_splits(asked), together=asked["together"] if asked else None)
    except (OSError, KeyError, ValueError, TypeError, AttributeError):
        return Before(rows=rows, held_out=())


def compare_with_manifest(project: Path, rows: pa.Table, classes: tuple[str, ...]) -> Change:
    """How many sample ids come and go. An unreadable manifest counts as none, and the notes say so."""
    ids = rows["sample_id"]
    path = project / MANIFEST_NAME
    if not path.exists():
        return Change(is_new=True, num_added=len(ids), num_removed=0)
    try:
        before, info = pq.read_table(path, columns=["sample_id"])["sample_id"], read_info(project)
    except (pa.ArrowException, ManifestError, OSError, KeyError, ValueError) as error:
        note = f"the manifest that was here could not be read and is replaced: {' '.join(str(error).split())[:120]}"
        return Change(is_new=False, num_added=len(ids), num_removed=0, notes=[note])
    is_gone = pc.invert(pc.is_in(before, value_set=ids))
    num_kept = len(before) - pc.sum(is_gone).as_py() if len(before) else 0
    notes = []
    if info.classes != classes:
        notes.append(f"the classes changed ({len(info.classes)} before, {len(classes)} now): runs made before do not "
                     "know the new ones")
    if (project / DECISIONS_NAME).exists():
        decided = pa.array(read_decisions(project / DECISIONS_NAME)["sample_id"], pa.string())
        num_idle = len(decided) - (pc.sum(pc.is_in(decided, value_set=ids)).as_py() or 0)
        if num_idle:
            notes.append(f"{num_idle:,} decisions are about samples that are gone; they stay in the ledger")
    return Change(is_new=False, num_added=len(ids) - num_kept, num_removed=len(before) - num_kept, notes=notes)


def write_project(project: Path, rows: pa.Table, info: ManifestInfo, problems: Problems,
                  details: ImportDetails) -> None:
    """Write report, project.json and, last, the manifest. info.root: absolute; stored relative if inside `project`."""
    root = Path(info.root).resolve()
    home = project.resolve()
    stored = os.path.relpath(root, home).replace(os.sep, "/") if root.is_relative_to(home) else str(root)
    table = rows.drop_columns(["file", "row"]).replace_schema_metadata(None)
    table = table.cast(manifest_schema(table.schema, replace(info, root=stored)))
    report = problems.table().to_pandas().astype({"row": "Int64"})
    now = time.time()
    document: ProjectDetails = {"layout": layouts.PROJECT, "name": project.name, "source": info.source,
                                "created": _created(project, now), "imported": now, "root": stored,
                                "num_samples": rows.num_rows, "num_problems": len(problems)}
    write_atomic(project / REPORT_NAME, lambda path: report.to_parquet(path, index=False))
    write_atomic(project / PROJECT_NAME, lambda path: path.write_text(json.dumps({**document, **details}, indent=2)))
    write_atomic(project / MANIFEST_NAME, lambda path: pq.write_table(table, path, row_group_size=_ROW_GROUP))


def _created(project: Path, now: float) -> float:
    """When the project was first imported; now where that is not known."""
    try:
        return float(json.loads((project / PROJECT_NAME).read_text())["created"])
    except (OSError, ValueError, KeyError, TypeError):
        return now
