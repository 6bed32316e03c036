"""What the splitter wanted of pinned samples, in words and as an order, most disputed first.

Figures come from curation.experiments.pin_disagreement.
"""

import pandas as pd
import streamlit as st

from curation.experiments.pin_disagreement import Tension, pin_tension
from curation.project import Project
from curation.views.widgets import state
from curation.views.widgets.gallery import CHANGE_COLUMN
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

PIN_OF = {"pinned to validation": "validation", "pinned to training": "train"}
MAX_TOLD = 1_000
"""So many of the most disputed are told one by one."""
OTHER = {"validation": "training", "train": "validation"}


def tension_cached(project: Project, run: RunDir) -> Tension:
    """pin_tension, read again when the run writes signals. Shared by all sessions: read-only.

    Labels are as they were when it was first asked for: one relabel more moves no class's line that could be seen.
    """
    return _tension(stamp_of(run.signals_path), project, run)


@st.cache_resource(max_entries=4, show_spinner=False)
def _tension(stamp: Stamp, _project: Project, _run: RunDir) -> Tension:
    return pin_tension(_run, state.sample_table_cached(_project, _run))


def with_tension(rows: pd.DataFrame, kind: str, tension: Tension) -> pd.DataFrame:
    """The rows of a sample table that are pinned as `kind` says, most disputed first, with how often the splitter was
    against the pin in words; as they are where the run says nothing of them."""
    known = tension.rows[(tension.rows["pin"] == PIN_OF[kind]) & (tension.rows["num_epochs"] > 0)]
    known = known[known["sample_id"].isin(rows["sample_id"])]
    if known.empty:
        return rows
    first = known.head(MAX_TOLD)
    place = pd.Series(range(len(known)), index=known["sample_id"])
    order = rows["sample_id"].map(place).fillna(len(known)).to_numpy().argsort(kind="stable")
    told = pd.Series([against_words(share, wish, tension.is_last_only) for share, wish in
                      zip(first["share_against"], first["wish"], strict=True)], index=first["sample_id"])
    sorted_rows = rows.iloc[order].head(MAX_TOLD)
    said = sorted_rows["sample_id"].map(told).fillna("not in that run")
    return pd.concat([sorted_rows.assign(**{CHANGE_COLUMN: said}), rows.iloc[order[MAX_TOLD:]]])


def against_words(share: float, wish: float, is_last_only: bool) -> str:
    """'against it 83%', or of the last epoch alone 'against it, 0.91'."""
    if is_last_only:
        return f"{'against' if share else 'for'} it, p {wish:.2f}"
    return f"against it {share:.0%}"


def tension_words(kind: str, sample_ids: pd.Series, tension: Tension, run_name: str) -> str:
    """One sentence on a kind of pin: how many the splitter disagrees with, and how often. Escape it: it has names."""
    pin = PIN_OF[kind]
    rows = tension.rows[(tension.rows["pin"] == pin) & tension.rows["sample_id"].isin(sample_ids)]
    known = rows[rows["num_epochs"] > 0]
    if known.empty:
        return (f"What the splitter would do with these is not known yet: {run_name} did not train under these pins, "
                "or it has no splitter. A run under them tells.")
    num, size = int((known["share_against"] > 0.5).sum()), len(known)
    wanted = f"the splitter alone wanted {num:,} of these {size:,} ({num / size:.0%}) in {OTHER[pin]}"
    if tension.is_last_only:
        return f"After the last epoch of {run_name} {wanted}; that run did not record earlier epochs."
    return (f"In {run_name} {wanted} in most epochs; the average sample in {known['share_against'].mean():.0%} of the "
            "epochs. Most disputed first.")


def pin_words(tension: Tension, sample_id: str) -> list[str]:
    """What the splitter alone wanted of one pinned sample, a sentence or none."""
    rows = tension.rows[(tension.rows["sample_id"] == sample_id) & (tension.rows["num_epochs"] > 0)]
    if rows.empty:
        return []
    row = rows.iloc[0]
    other, p_train = OTHER[row["pin"]], f"p_train {row['wish']:.2f}"
    if tension.is_last_only:
        wanted = f"wanted it in {other}" if row["share_against"] else "agreed with the pin"
        return [f"The splitter alone {wanted} after the last epoch ({p_train}); earlier ones were not recorded."]
    return [f"The splitter alone wanted it in {other} in {row['share_against']:.0%} of {int(row['num_epochs'])} epochs "
            f"(last {p_train})."]
