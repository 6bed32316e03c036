"""What speaks against pins, in words: what the splitter wanted, most disputed first, and which labels look wrong.

Figures come from curation.experiments.pin_disagreement and curation.audit.suspects.
"""

from collections import Counter
from collections.abc import Collection, Mapping

import pandas as pd
import streamlit as st

from curation.audit.reviews.confirming import confirmed_ids
from curation.audit.suspects.evidence import missing_of
from curation.audit.suspects.matrix import SUSPECT
from curation.experiments.pin_disagreement import Tension, pin_tension
from curation.project import Project
from curation.views import scored
from curation.views.widgets import state
from curation.views.widgets.gallery import CHANGE_COLUMN
from curation.words import counted
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

PIN_OF = {"pinned to validation": "validation", "pinned to training": "train"}
MAX_TOLD = 1_000
"""So many of the most disputed are told one by one."""
OTHER = {"validation": "training", "train": "validation"}
MAX_PAIRS = 3
"""So many pairs of classes are named."""
LOOK = "Relabel them, or say in Triage or Explore that the label is right (key l)."
"""What helps against set_words."""
Look = tuple[str, str]
"""The current label of a sample that looks mislabeled, and the class that it looks like; "" unknown."""


def suspects_among(project: Project, run: RunDir | None, sample_ids: Collection[str]) -> dict[str, Look]:
    """Those of these samples whose label in force is the given one and more probably wrong than right, in their order.

    None without a run that has held-out predictions, none that people found right (verdicts calibrate), and none that
    is drawn for an estimate and not judged yet.
    """
    if run is None or not run.signals_path.exists() or missing_of(run):
        return {}
    table = state.samples_cached(project, run)
    found = scored.scores_cached(project, run, table, project.newest.verdicts, None)
    ids = list(sample_ids)
    rows = table.positions(ids).tolist()
    now = project.ledger().state()
    relabelled = set(now.loc[now["label"].notna(), "sample_id"])
    out, classes = {*confirmed_ids(project), *relabelled, *scored.blind(project).ids}, found.classes
    looks: dict[str, Look] = {}
    for sample_id, row in zip(ids, rows, strict=True):
        if row < 0 or sample_id in out or not found.p_wrong[row] >= SUSPECT:
            continue
        given, other = int(found.given[row]), int(found.suggested[row])
        looks[sample_id] = (classes[given] if given >= 0 else "", classes[other] if other >= 0 else "")
    return looks


def look_words(looks: Mapping[str, Look], num: int) -> str:
    """'5 of these 5 look like 4, not 6', or of several classes '6 of these 9 look mislabeled: 4 like 4, not 6; ...'.
    Holds labels: escape it."""
    pairs = Counter(looks.values()).most_common()
    verb = "look" if len(looks) > 1 else "looks"
    if len(pairs) == 1 and pairs[0][0][1]:
        given, other = pairs[0][0]
        return f"{len(looks):,} of these {num:,} {verb} like {other}, not {given}"
    named = [f"{count:,} like {other}, not {given}" for (given, other), count in pairs if other]
    num_more = len(named) - MAX_PAIRS
    more = f"; and {counted(num_more, 'more pair')} of classes" if num_more > 0 else ""
    told = f": {'; '.join(named[:MAX_PAIRS])}{more}" if named else ""
    return f"{len(looks):,} of these {num:,} {verb} mislabeled{told}"


def set_words(num: int, num_all: int) -> str:
    """
    >>> set_words(5, 113)
    '5 of 113 in this set look mislabeled.'
    """
    return f"{num:,} of {num_all:,} in this set {'looks' if num == 1 else 'look'} mislabeled."


def tension_cached(project: Project, run: RunDir) -> Tension:
    """pin_tension, read again when the run writes signals. Shared by all sessions: read-only.

    Labels are as they were when it was first asked for: one relabel more moves no class's line that could be seen.
    """
    return _tension(stamp_of(run.signals_path), project, run)


@st.cache_resource(max_entries=4, show_spinner=False)
def _tension(stamp: Stamp, _project: Project, _run: RunDir) -> Tension:
    return pin_tension(_run, state.samples_cached(_project, _run))


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
