"""Contract 1, the manifest: one row a sample in manifest.parquet, class names and image root in the file's metadata.

Reads and writes the contract and resolves image paths. Does not open images and does not know any source format.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from engine.contract.disk import layouts
from engine.contract.disk.seals import check_seal
from engine.contract.errors import UserError

MANIFEST_NAME = "manifest.parquet"
DECISIONS_NAME = "decisions.parquet"
SPLITS = ("train", "clean", "test")
REQUIRED_COLUMNS = ("sample_id", "given_label", "split")
"""Besides these a row has `path` or `image` (struct of bytes and path); `clean_label` and `group` are nullable."""
DECISION_COLUMNS = ("sample_id", "pin", "excluded", "label")
"""decisions.parquet: the current decisions, one row a decided sample. pin: "train", "validation" or null; excluded:
bool; label: the class that replaces given_label, or null. Curation writes it after each decision; a run copies it."""

LEDGER_KEY = b"whetstone_ledger"
"""In the metadata of decisions.parquet: the ledger, revision and classes that it is of (curation.ledger.snapshot)."""
_METADATA_KEY = b"whetstone"


class ManifestError(UserError):
    """manifest.parquet breaks the contract. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestInfo:
    """What holds for the whole manifest: class names in index order, image root, and where it came from."""

    classes: tuple[str, ...]
    root: str
    """Folder that every `path` lies in: absolute, or relative to the project folder."""
    source: str = "unknown"


def manifest_schema(schema: pa.Schema, info: ManifestInfo) -> pa.Schema:
    """The same columns with the manifest's metadata attached."""
    text = json.dumps({"version": layouts.MANIFEST, **asdict(info)})
    return schema.with_metadata({**(schema.metadata or {}), _METADATA_KEY: text.encode()})


def read_info(project: Path) -> ManifestInfo:
    """The manifest's metadata alone; reads no rows. Raises ManifestError if the file is absent or not ours."""
    path = Path(project) / MANIFEST_NAME
    if not path.exists():
        raise ManifestError(f"a project needs {MANIFEST_NAME}; {project} has none; run `python -m curation import`")
    try:
        check_seal(path)
        raw = (pq.read_schema(path).metadata or {}).get(_METADATA_KEY)
    except (ValueError, OSError) as error:  # pyarrow's errors are among them
        raise ManifestError(f"{path} must be a Parquet file; {' '.join(str(error).split())[:120]}; import the data "
                            "again, or restore the file from a copy") from error
    if raw is None:
        raise ManifestError(f"{path} must carry class names in its metadata; it has none; import the data again")
    values = json.loads(raw)
    if reason := layouts.newer(values.get("version"), layouts.MANIFEST):
        raise ManifestError(f"a project is read by the version that wrote it or a later one; {path}: {reason}")
    return ManifestInfo(classes=tuple(values["classes"]), root=values["root"], source=values["source"])


def read_manifest(project: Path, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """The manifest's rows in file order. `columns` that the file lacks are left out, save the required ones.

    Raises ManifestError if a required column is missing, a sample_id repeats or a split is unknown.
    """
    path = Path(project) / MANIFEST_NAME
    have = column_names(project)
    wanted = None if columns is None else [c for c in dict.fromkeys([*REQUIRED_COLUMNS, *columns]) if c in have]
    try:
        rows: pd.DataFrame = pq.read_table(path, columns=wanted).to_pandas()
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ManifestError(f"{path} must be a Parquet file; {' '.join(str(error).split())[:120]}; import the data "
                            "again, or restore the file from a copy") from error
    repeated = rows["sample_id"].duplicated()
    if repeated.any():
        raise ManifestError(f"sample_id must be unique in {path}; {rows['sample_id'][repeated].iloc[0]!r} repeats; "
                            "import the data again")
    unknown = set(rows["split"].unique()) - set(SPLITS)
    if unknown:
        raise ManifestError(f"split must be one of {', '.join(SPLITS)} in {path}; got {sorted(map(str, unknown))[0]!r}")
    return rows


def column_names(project: Path) -> list[str]:
    """The manifest's columns; reads no rows. Raises ManifestError if it lacks a required one, or as read_info does."""
    path = Path(project) / MANIFEST_NAME
    read_info(project)
    have: list[str] = pq.read_schema(path).names
    missing = [c for c in REQUIRED_COLUMNS if c not in have]
    if missing or not {"path", "image"} & set(have):
        raise ManifestError(f"{path} must have the columns {', '.join(REQUIRED_COLUMNS)} and path or image; "
                            f"it has {', '.join(have)}; import the data again")
    return have


def image_root(project: Path, info: ManifestInfo) -> Path:
    """The absolute folder that the manifest's paths lie in."""
    return (Path(project) / info.root).resolve()


def resolve_image(root: Path, path: str) -> Path:
    """The absolute file of a manifest path. Raises ManifestError if it leaves the root, through links as well.

    `root` must be resolved already (image_root gives it so).
    """
    full = os.path.realpath(os.path.join(root, path))
    if os.path.commonpath([full, str(root)]) != str(root):
        raise ManifestError(f"an image must lie inside {root}; got {path!r}")
    return Path(full)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes in hex; "" where there is no file."""
    if not path.exists():
        return ""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_decisions(path: Path) -> None:
    """Raise ManifestError unless `path` is a file of decisions: its columns, their values, one row a sample.

    Sample ids and class names are not looked up here: what names no sample of the project decides nothing.
    """
    rule = f"decisions must be a Parquet file with the columns {', '.join(DECISION_COLUMNS)}"
    try:
        check_seal(path)
        rows = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ManifestError(f"{rule}; {path}: {str(error).splitlines()[0]}") from error
    missing = [c for c in DECISION_COLUMNS if c not in rows]
    if missing:
        raise ManifestError(f"{rule}; {path} lacks {missing[0]}; it has {', '.join(map(str, rows.columns))}")
    for column, is_bad, wanted in (
            ("sample_id", rows["sample_id"].isna() | rows["sample_id"].duplicated(), "be there and unique"),
            ("pin", rows["pin"].notna() & ~rows["pin"].isin(["train", "validation"]), "be train, validation or null"),
            ("excluded", ~rows["excluded"].isin([True, False]), "be true or false")):
        if is_bad.any():
            raise ManifestError(f"{column} must {wanted} in every row of {path}; row {int(is_bad.argmax()) + 1} has "
                                f"{rows[column][is_bad].iloc[0]!r}; mend the file")


def read_decisions(path: Path) -> pd.DataFrame:
    """decisions.parquet with DECISION_COLUMNS; no rows where there is no file. Raises ManifestError if damaged."""
    if not Path(path).exists():
        return pd.DataFrame({"sample_id": pd.Series(dtype=str), "pin": pd.Series(dtype=object),
                             "excluded": pd.Series(dtype=bool), "label": pd.Series(dtype=object)})
    try:
        check_seal(path)
        return pd.read_parquet(path, columns=list(DECISION_COLUMNS))
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ManifestError(f"{path} must be a table of decisions; {str(error).splitlines()[0][:120]}; restore it "
                            "from a copy") from error
