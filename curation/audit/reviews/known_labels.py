"""What people know about the labels now: confirmed, changed or left out. Writes no file.

A label is known where a relabel is in force (to the given label as well: that confirms it) or where the reviewers'
verdicts agree that the given label is right. A verdict on a label that the data has corrected since says nothing of the
new one. An excluded sample's label is not known, whatever was said before.
"""

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from curation.audit.reviews.consensus import consensus, on_current_labels
from curation.audit.reviews.given_labels import given_rows
from curation.project import Project
from engine.contract.manifest import read_manifest

DECIDED_COLUMNS = ("sample_id", "label", "is_known", "is_excluded", "verdict", "num_reviewers", "who", "at", "why")
_KINDS = {"label": pa.large_string(), "is_known": pa.bool_(), "is_excluded": pa.bool_(), "verdict": pa.large_string(),
          "num_reviewers": pa.int64(), "who": pa.large_string(), "at": pa.large_string(), "why": pa.large_string()}


def decided_labels(project: Project) -> pd.DataFrame:
    """One row a sample that somebody decided about, with DECIDED_COLUMNS.

    label: the relabel in force, else null; verdict and num_reviewers: the last verdict in force and how many people
    gave one (null and 0 without); who, at, why: of the relabel, else of the exclusion, else of the last verdict.
    """
    ledger = project.ledger()
    relabels = ledger.corrections().set_index("sample_id")
    state = ledger.state().set_index("sample_id")
    excluded = state.loc[state["excluded"].to_numpy(dtype=bool), ["who", "at", "why"]]
    verdicts = _verdicts(project)
    ids = relabels.index.union(excluded.index).union(verdicts.index)
    rows = pd.DataFrame({"label": relabels["label"].astype(object).reindex(ids)}, index=ids)
    rows["is_excluded"] = ids.isin(excluded.index)
    rows["is_known"] = ids.isin([*relabels.index, *verdicts.index[verdicts["is_confirmed"]]]) & ~rows["is_excluded"]
    rows["verdict"] = verdicts["verdict"].reindex(ids)
    rows["num_reviewers"] = verdicts["num_reviewers"].reindex(ids).fillna(0).astype(int)
    for name in ("who", "at", "why"):
        sources = [frame[name].astype(object).reindex(ids) for frame in (relabels, excluded, verdicts)]
        rows[name] = sources[0].where(sources[0].notna(), sources[1]).where(
            sources[0].notna() | sources[1].notna(), sources[2])
    return rows.rename_axis("sample_id").reset_index()[list(DECIDED_COLUMNS)]


def training_rows(project: Project) -> pd.DataFrame:
    """sample_id, path (null where the manifest has none) and given_label of every training sample, in its order."""
    rows = read_manifest(project.path, columns=("path",))
    rows = rows[rows["split"] == "train"].reset_index(drop=True)
    return rows.reindex(columns=["sample_id", "path", "given_label"])


def with_labels(rows: pd.DataFrame, decided: pd.DataFrame) -> pd.DataFrame:
    """The rows with what was decided: corrected_label (in force: the relabel, else the given one) and is_changed
    beside DECIDED_COLUMNS; given_label stays as it is. rows: at least sample_id and given_label."""
    place = pc.index_in(pa.array(rows["sample_id"], pa.large_string()),
                        value_set=pa.array(decided["sample_id"], pa.large_string()))  # null: nothing was decided
    found = {name: pa.array(decided[name], kind, from_pandas=True).take(place) for name, kind in _KINDS.items()}
    table = rows.reset_index(drop=True)
    for name in ("is_known", "is_excluded", "num_reviewers"):
        table[name] = found[name].fill_null(0 if name == "num_reviewers" else False).to_numpy(zero_copy_only=False)
    for name in ("verdict", "who", "at", "why"):
        table[name] = pd.array(found[name], dtype="str")
    label = pd.Series(pd.array(found["label"], dtype="str"))
    table["corrected_label"] = label.where(label.notna(), table["given_label"])
    table["is_changed"] = table["corrected_label"].ne(table["given_label"]).to_numpy(dtype=bool)
    return table


def _verdicts(project: Project) -> pd.DataFrame:
    """verdict, num_reviewers, is_confirmed, who, at, why (null) by sample_id: verdicts in force on current labels."""
    verdicts = project.verdicts().in_force()
    verdicts = on_current_labels(verdicts, given_rows(project, verdicts["sample_id"].unique()))
    last = verdicts.drop_duplicates("sample_id", keep="last").set_index("sample_id")
    said = consensus(verdicts).reindex(last.index)
    rows = last[["verdict", "who", "at"]].assign(num_reviewers=said["num_reviewers"], why=None)
    rows["is_confirmed"] = said["is_wrong"].eq(False).to_numpy(dtype=bool)  # by majority; a disputed one is None
    return rows
