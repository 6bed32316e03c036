"""Several verdicts on one sample -> what holds of it. Pure functions on tables: asks for nothing, changes no label.

What holds is a function of the verdicts in force alone, in whatever steps they came. What it does to the ledger,
curation.audit.reviews.reconcile says.
"""

import numpy as np
import pandas as pd

from curation.samples.frames import SampleTable

_NO_CLASS = ""
"""Stands for "no class fits" among outcomes; no class is called so."""


def on_current_labels(verdicts: pd.DataFrame, rows: pd.DataFrame | SampleTable) -> pd.DataFrame:
    """The verdicts that are about the labels as they are: data imported anew may have corrected them meanwhile.

    verdicts: sample_id and given_label, as it was shown; rows: sample_id, unique, and given_label, as it is (a sample
    table, or the manifest's training rows). What is of another label, or of a sample that is in rows no more, is left
    out. A million rows take a tenth of a second.
    """
    judged = verdicts["sample_id"].unique()
    if isinstance(rows, SampleTable):
        rows = rows.rows(np.flatnonzero(rows.has_ids(judged)), ["sample_id", "given_label"])
    is_judged = rows["sample_id"].isin(judged).to_numpy(dtype=bool)
    found = rows.loc[is_judged, ["sample_id", "given_label"]].astype(object).set_index("sample_id")["given_label"]
    now = verdicts["sample_id"].map(found)
    return verdicts[(now.notna() & now.eq(verdicts["given_label"])).to_numpy(dtype=bool)].reset_index(drop=True)


def consensus(verdicts: pd.DataFrame) -> pd.DataFrame:
    """What several reviewers' verdicts add up to: one row a sample, indexed by sample_id.

    verdicts: rows in force, oldest first (sample_id, who, verdict, label, is_wrong, at); of several by one reviewer the
    last counts. Unsure ones abstain. state: "agreed" where more than half of the others mean the same class (or, for
    neither, no class), "disputed" where no outcome has that, "unsure" where all are unsure. is_wrong (True,
    False, None) by the same majority of its own: it may be known while the class is disputed. label: the class meant
    where state is agreed; None for neither, too. num_reviewers: all, unsure ones too. at: time of the newest verdict
    that says what is agreed; where nothing is, of the newest that is not unsure, if there is any.
    """
    last = verdicts.drop_duplicates(["sample_id", "who"], keep="last")
    codes, ids = pd.factorize(last["sample_id"])
    num = np.bincount(codes, minlength=len(ids))
    is_sure = last["is_wrong"].notna().to_numpy()
    outcome = np.where(last["label"].isna(), _NO_CLASS, last["label"]).astype(object)
    num_sure = np.bincount(codes[is_sure], minlength=len(ids))
    label = _majority(codes[is_sure], outcome[is_sure], num_sure)
    is_wrong = _majority(codes[is_sure], last["is_wrong"].to_numpy(dtype=object)[is_sure], num_sure)
    is_agreed = np.array([name is not None for name in label], dtype=bool)
    state = np.where(num_sure == 0, "unsure", np.where(is_agreed, "agreed", "disputed")).astype(object)
    is_heard = np.where(is_agreed[codes], is_sure & (outcome == label[codes]), is_sure | (num_sure == 0)[codes])
    heard = last[is_heard.astype(bool)].drop_duplicates("sample_id", keep="last").set_index("sample_id")
    at = heard["at"].reindex(ids).to_numpy(dtype=object)
    label[label == _NO_CLASS] = None
    columns = {"is_wrong": is_wrong, "label": label, "num_reviewers": num, "state": state, "at": at}
    return pd.DataFrame({name: pd.Series(cells, index=pd.Index(ids, name="sample_id", dtype=object),
                                         dtype="int64" if name == "num_reviewers" else object)
                         for name, cells in columns.items()})


def _majority(codes: np.ndarray, outcome: np.ndarray, num: np.ndarray) -> np.ndarray:
    """(S,) object: each sample's outcome with more than half of its num (S,) votes, None where none has.

    codes, outcome: (V,) sample and outcome of each vote.
    """
    winner = np.full(len(num), None, dtype=object)
    votes = pd.Series(1, index=pd.MultiIndex.from_arrays([codes, outcome])).groupby(level=[0, 1]).size()
    samples = votes.index.get_level_values(0).to_numpy(dtype=np.int64)
    has_won = 2 * votes.to_numpy() > num[samples]
    winner[samples[has_won]] = votes.index.get_level_values(1).to_numpy(dtype=object)[has_won]
    return winner
