"""The random queue's answers: what holds of each sample that it drew, and which draws had been seen before.

Draws nothing (curation.audit.estimate.allocation) and estimates nothing.
"""

import pandas as pd

from curation.audit.estimate.sampling_plan import Plan
from curation.audit.reviews.consensus import consensus, on_current_labels


def random_verdicts(verdicts: pd.DataFrame, plan: Plan | None = None) -> pd.DataFrame:
    """What holds of each sample that the random queue drew: curation.audit.reviews.consensus with a sample_id
    column, in the order in which they were answered first.

    verdicts: in force, oldest first. Only answers given in the random queue or to settle a dispute count, and those
    alone that were given without the model's opinion; hidden known items were not drawn, so they are left out. plan:
    what is about other labels than the plan's is left out, and what is about these counts, though data imported anew
    has corrected some since: to drop just the labels that were found wrong would bend the rate.
    """
    drawn = verdicts.loc[is_drawn(verdicts), "sample_id"]
    is_in = verdicts["sample_id"].isin(drawn) & verdicts["queue"].isin(["estimate", "adjudicate"])
    rows = verdicts[is_in & verdicts["suggested_label"].isna()]
    rows = rows if plan is None else on_current_labels(rows, plan.labels(rows["sample_id"].unique()))
    return consensus(rows).loc[rows["sample_id"].unique()].reset_index()


def is_drawn(verdicts: pd.DataFrame) -> pd.Series:
    """Rows that answer a draw."""
    return verdicts["queue"].eq("estimate") & verdicts["purpose"].eq("main")


def num_seen_before(verdicts: pd.DataFrame) -> int:
    """Drawn samples that somebody judged in the random queue after they had judged them beside the model's opinion."""
    rows = verdicts[verdicts["sample_id"].isin(verdicts.loc[is_drawn(verdicts), "sample_id"])]
    first_seen = rows[rows["suggested_label"].notna()].groupby(["sample_id", "who"])["verdict_id"].min()
    random = rows[rows["queue"].eq("estimate")].set_index(["sample_id", "who"])["verdict_id"]
    is_seen = first_seen.reindex(random.index).lt(random)  # NaN, never seen, is False
    return int(is_seen[is_seen].index.get_level_values("sample_id").nunique())
