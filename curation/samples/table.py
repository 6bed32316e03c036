"""The samples of a project and run, read into one table: manifest, signals, map, and what people decided.

Polars reads, compares and joins; what Polars cannot read is read by the contracts' own readers, which say what is wrong
with a file.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
import pyarrow.parquet as pq

from curation.project import Project, ProjectError
from curation.samples.codes import choice_of, with_names_there
from curation.samples.frames import SampleTable, tidied
from curation.samples.keys import KEYS, UNREADABLE, columns_of, manifest_keys
from engine.contract.disk.seals import check_seal, has_seal
from engine.contract.manifest import (
    MANIFEST_NAME,
    REQUIRED_COLUMNS,
    SPLITS,
    ManifestError,
    column_names,
    file_digest,
    read_manifest,
)
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.signal_columns import SIGNAL_COLUMNS

DECISION_FIELDS = {"pin": "pin", "excluded": "excluded", "label": "relabel", "who": "decided_by", "at": "decided_at",
                   "why": "decided_why"}
"""Columns of the ledger's state -> their names in the sample table."""
OWN_COLUMNS = (*REQUIRED_COLUMNS, "path", "clean_label", "group")
ADDED_COLUMNS = (*SIGNAL_COLUMNS[1:], "signal_row", "x", "y", *DECISION_FIELDS.values(), "current_label",
                 "in_validation")
_TEXTS = ("role", "role_reason", "suggested_label", "predicted_label")
_NUM_ENDS = 1_000


def sample_table(project: Project, run: RunDir | None) -> pd.DataFrame:
    """samples() as a pandas frame: a copy of it all, for work on it in Python."""
    return samples(project, run).pandas()


def samples(project: Project, run: RunDir | None) -> SampleTable:
    """One row a training sample in manifest order: manifest, signals, map and present decisions, joined on sample_id.

    Always there: the manifest's columns (but `image`), pin, excluded, relabel, decided_by, decided_at, decided_why,
    current_label (relabel, else given_label) and in_validation. With signals: SIGNAL_COLUMNS, signal_row (the sample's
    row in signals.parquet, history and neighbours; -1 where the run did not know it). With a map: x, y.
    `role` is validation only for samples routed or pinned there; those that merely rested from training in the last
    epoch, to collect a held-out prediction, have role train and is_resting. in_validation is what an export takes: role
    validation or pinned to it now, and neither excluded nor pinned to training now. A column of the manifest whose
    name is taken here gets the suffix _data. Samples that only the run or only the manifest knows have nulls, or drop.
    """
    return with_decisions(run_samples(project, run), project.ledger().state())


def run_samples(project: Project, run: RunDir | None) -> SampleTable:
    """samples() without decisions: the slow part, which no decision changes."""
    with ThreadPoolExecutor(1) as pool:  # digests are worked out beside the reading
        if run is None or not run.signals_path.exists():
            table = _training_rows(project)
        else:
            seals = _seals(pool, run.signals_path, _map_of(run))
            digest = pool.submit(file_digest, project.path / MANIFEST_NAME)
            table = _with_signals(_training_rows(project), run, seals, digest)
    # In one piece a column is an array without a copy; the texts are only looked up.
    return SampleTable(table.with_columns(table[name].rechunk() for name in table.columns if name not in KEYS))


def with_decisions(table: SampleTable, state: pd.DataFrame, revision: str = "") -> SampleTable:
    """The table of run_samples (N rows) with the decisions in force (Ledger.state): DECISION_FIELDS' names,
    current_label, in_validation. revision: names these decisions."""
    places = table.positions(state["sample_id"])
    state, rows = state[places >= 0], places[places >= 0]
    added = {name: _scattered(name, len(table), rows, state[column].to_numpy(dtype=object))
             for column, name in DECISION_FIELDS.items() if column != "excluded"}
    excluded = np.zeros(len(table), dtype=bool)
    excluded[rows] = state["excluded"].to_numpy(dtype=bool)
    added["excluded"] = pl.Series("excluded", excluded)
    added["current_label"] = _in_force(table["given_label"].cells, added["relabel"])
    pin = added["pin"]
    is_routed = table["role"].is_one_of(["validation"]) if "role" in table else np.zeros(len(table), dtype=bool)
    is_pinned, is_kept = ((pin == side).fill_null(False).to_numpy() for side in ("validation", "train"))
    added["in_validation"] = pl.Series("in_validation", (is_routed | is_pinned) & ~is_kept & ~excluded)
    return table.with_columns(pl.DataFrame([added[name] for name in (*DECISION_FIELDS.values(), "current_label",
                                                                     "in_validation")]), revision)


def free_names(names: list[str], taken: set[str]) -> dict[str, str]:
    """{name: NAME_data} for those of `names` that are taken, with as many _data as it takes to be free."""
    new_names: dict[str, str] = {}
    for name in names:
        new = name
        while new in taken or (new != name and (new in names or new in new_names.values())):
            new += "_data"
        if new != name:
            new_names[name] = new
    return new_names


def routed_signals(run: RunDir) -> pd.DataFrame:
    """signals.parquet with role validation only for samples routed or pinned there.

    Raises RunDirError before the first epoch ends.
    """
    signals = run.read_signals()
    texts = [name for name in signals if pd.api.types.is_string_dtype(signals[name].dtype)]
    signals = signals.astype(dict.fromkeys(texts, "str"))  # one kind of null, no matter what wrote the file
    signals.loc[signals["is_resting"], "role"] = "train"
    return signals


def map_beside(table: SampleTable, run: RunDir, names: tuple[str, str]) -> np.ndarray | None:
    """(N, 2) float32: these two columns of a run's map beside the table's samples, NaN of those it does not know; None
    where it has no such map. Raises RunDirError if the file is damaged."""
    with ThreadPoolExecutor(1) as pool:
        found = _read(_map_of(run), _seals(pool, _map_of(run)), None, ("sample_id", *names), run.read_embedding)
    if found is None or not set(names) <= set(found.columns):
        return None
    both = tidied(_beside(table.frame.select("sample_id"), found))
    return np.stack([both[name].to_numpy() for name in names], axis=1, dtype=np.float32)


# -- reading


def _training_rows(project: Project) -> pl.DataFrame:
    """The manifest's train rows without image bytes, clashing columns of the data renamed."""
    try:
        names = [n for n in dict.fromkeys([*REQUIRED_COLUMNS, *column_names(project.path)]) if n != "image"]
        rows = _manifest(project.path, names)
    except ManifestError as error:
        raise ProjectError(str(error)) from error
    return rows.rename(free_names([n for n in names if n not in OWN_COLUMNS], {*OWN_COLUMNS, *ADDED_COLUMNS}))


def _manifest(project: Path, names: list[str]) -> pl.DataFrame:
    """The train rows of these columns, tidied."""
    path, is_train = project / MANIFEST_NAME, pl.col("split") == "train"
    try:
        own = columns_of(path, [name for name in names if name not in KEYS]).collect()
        rows = own.hstack(manifest_keys(project)).select(cs.by_name(*names))
        # What import wrote and sealed has no id twice.
        is_sound = rows["split"].is_in(SPLITS).fill_null(False).all() and (
            has_seal(path) or rows["sample_id"].n_unique() == rows.height)
    except UNREADABLE:
        is_sound = False
    if not is_sound:  # says what is wrong, or reads what Polars cannot
        rows = pl.from_pandas(read_manifest(project, columns=names))
    return tidied(rows if rows.select(is_train.all()).item() else rows.filter(is_train))


def _digest_of(run: RunDir) -> str | None:
    """Of the manifest that the run was made of; None where its config.json does not say, or is damaged."""
    try:
        return run.read_config().get("manifest_digest")
    except RunDirError:
        return None


def _map_of(run: RunDir) -> Path:
    return run.path / "embedding.parquet"


def _seals(pool: ThreadPoolExecutor, *paths: Path) -> dict[Path, Future[None]]:
    """check_seal under way of those of the files that are there."""
    return {path: pool.submit(check_seal, path) for path in paths if path.exists()}


def _with_signals(table: pl.DataFrame, run: RunDir, seals: Mapping[Path, Future[None]],
                  digest: Future[str]) -> pl.DataFrame:
    """The table with signals, rows of signals.parquet and map beside it. digest: of the manifest."""
    ids = table["sample_id"] if _digest_of(run) == digest.result() else None
    signals = _read(run.signals_path, seals, ids, SIGNAL_COLUMNS, run.read_signals, _TEXTS)
    places = _read(_map_of(run), seals, ids, ("sample_id", "x", "y"), run.read_embedding)
    assert signals is not None, "a run's signals are there or say what is wrong"
    if signals["is_resting"].any():
        signals = signals.with_columns(role=pl.when(pl.col("is_resting").fill_null(False)).then(
            pl.lit("train")).otherwise(pl.col("role").cast(pl.String)))
    if places is not None:
        signals = _beside(signals, places)
    signals = tidied(signals.with_columns(signal_row=pl.int_range(signals.height, dtype=pl.Int32)))
    return tidied(_beside(table, signals).with_columns(pl.col("signal_row").fill_null(-1),
                                                       pl.col("is_resting").fill_null(False)))


def _read(path: Path, seals: Mapping[Path, Future[None]], ids: pl.Series | None, names: tuple[str, ...],
          otherwise: Callable[[], pd.DataFrame | None], texts: Collection[str] = ()) -> pl.DataFrame | None:
    """These columns of a run's file, or what `otherwise` reads of it; None where there is none. texts: those of few
    values, which are numbered as they are read.

    ids: sample_ids (N,) of the manifest where the run is of this very one: then a file of N rows has them in this order
    by its contract, and they are not read, which is a third of the reading.
    """
    if path not in seals:
        return None
    try:
        seals[path].result()
        if set(names) <= set(pq.read_schema(path).names):
            is_same = ids is not None and _ends(columns_of(path, names[:1])) == _ends(ids.to_frame().lazy())
            found = columns_of(path, names[1:] if is_same else names).with_columns(
                pl.col(name).cast(pl.String).cast(pl.Categorical) for name in texts).collect(engine="streaming")
            return found.insert_column(0, ids) if is_same and ids is not None else found
    except UNREADABLE:
        pass
    as_written = otherwise()  # says what is wrong, or reads what an older version wrote
    return None if as_written is None else pl.from_pandas(as_written)


def _ends(ids: pl.LazyFrame) -> list[object]:
    """How many there are, the first and the last."""
    parts = pl.collect_all([ids.select(pl.len()), ids.head(_NUM_ENDS), ids.tail(_NUM_ENDS)])
    return [part.to_series().to_list() for part in parts]


def _beside(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """The rows of `left` with the columns of `right`, by sample_id; nulls where it does not know a sample."""
    if left.height == right.height and (left["sample_id"] == right["sample_id"]).all():
        return left.hstack(right.drop("sample_id"))
    return left.join(right, on="sample_id", how="left", maintain_order="left")


# -- decisions


def _scattered(name: str, num: int, rows: np.ndarray, cells: np.ndarray) -> pl.Series:
    """(num,) texts, null but in these rows (n,), where the cells are."""
    texts = pl.Series(name, [None if pd.isna(cell) else str(cell) for cell in cells], pl.String)
    kind = choice_of(texts.unique().drop_nulls())
    codes = texts.cast(kind).to_physical()
    return pl.repeat(None, num, dtype=codes.dtype, eager=True).scatter(rows, codes).cat.to(kind).alias(name)


def _in_force(given: pl.Series, relabelled: pl.Series) -> pl.Series:
    """The new label where there is one, else the given one."""
    if relabelled.null_count() == len(relabelled):
        return given.alias("current_label")
    names = pl.concat([given.unique().cast(pl.String), relabelled.unique().cast(pl.String)]).unique().drop_nulls()
    kind = choice_of(names)
    both = pl.select(pl.coalesce(relabelled.cast(kind), given.cast(kind))).to_series()
    return with_names_there(both.alias("current_label"))
