"""The answers of several people that came with the data: who agrees with the others how far, on what, and the samples.

Read-only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from curation.audit.report.rate_words import annotator_words
from curation.audit.report.summaries import annotators_part
from curation.audit.reviews.annotators import Annotators, Disagreement, agreement_of, disagreement_of, read_answers
from curation.project import ANSWERS_NAME
from curation.samples.predicates import MAX_IDS
from curation.views.audit.at_hand import Audit
from curation.views.explore.linking import show_in_explore
from curation.views.widgets import state
from curation.views.widgets.layout import side_by_side, table_height
from curation.words import counted
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.stamps import Stamp, stamp_of

_PEOPLE_KEY, _MIXED_KEY = "audit.came.people", "audit.came.mixed"
_ALIKE, _RIGHT = "agreement with others", "right where known"
_SHARES = {name: st.column_config.NumberColumn(format="%.0f%%") for name in (_ALIKE, _RIGHT)}
MAX_ROWS = 500


class _Came(NamedTuple):
    answers: pa.Table
    found: Annotators
    parts: Disagreement


def show(audit: Audit) -> None:
    """Nothing where no answers came, or they cannot be read, which the overview says."""
    try:
        came = _came(stamp_of(audit.project.path / ANSWERS_NAME, audit.project.path / MANIFEST_NAME),
                     audit.project.path, audit)
    except (OSError, ValueError, KeyError):
        return
    if came is None:
        return
    st.header("Answers that came with the data")
    part = annotators_part(came.found)
    assert part is not None, "there are answers"
    st.caption(annotator_words(part))
    left, right = side_by_side("audit_came", [1, 1])
    with left:
        _people(audit, came)
    with right:
        _mixed(audit, came)


@st.cache_resource(max_entries=2, show_spinner="Comparing the answers ...")
def _came(stamp: Stamp, _path: Path, _audit: Audit) -> _Came | None:
    """stamp: of the files that this comes from."""
    answers = read_answers(_path)
    if answers is None or not answers.num_rows:
        return None
    rows = _audit.project.manifest()
    clean = rows["clean_label"] if "clean_label" in rows else pd.Series([None] * len(rows))
    truth = pa.table({"sample_id": pa.array(rows["sample_id"], pa.string()),
                      "clean_label": pa.array(clean, pa.string(), from_pandas=True)})
    return _Came(answers, agreement_of(answers), disagreement_of(answers, truth))


def _people(audit: Audit, came: _Came) -> None:
    people = came.parts.people
    if not people:
        st.caption("The data do not say who answered.")
        return
    has_truth = any(one.num_known for one in people)
    rows = pd.DataFrame([{
        "person": one.name, "answers": one.num_answers, _ALIKE: _points(one.agreement),
        **({_RIGHT: _points(one.right)} if has_truth else {})} for one in people[:MAX_ROWS]])
    chosen = _picked(rows, _PEOPLE_KEY)
    if chosen is None:
        st.caption("Agreement: how many of the other answers on the same samples say the same. Select a person to see "
                   "their samples.")
        return
    name = people[chosen].name
    _to_explore(audit, came, pc.equal(came.answers["annotator"], name), f"answered by {name}", "person")


def _mixed(audit: Audit, came: _Came) -> None:
    """Classes that are said of the same samples, and how far each is agreed on."""
    mixed = came.parts.mixed_up
    if mixed:
        rows = pd.DataFrame([{"one says": one.labels[0], "another says": one.labels[1], "pairs": one.num_pairs,
                              "samples": one.num_samples} for one in mixed[:MAX_ROWS]])
        chosen = _picked(rows, _MIXED_KEY)
        if chosen is None:
            st.caption("Classes that people mix up: pairs of answers on one sample. Select a row to see the samples.")
        else:
            one, other = mixed[chosen].labels
            has_one, has_other = (came.answers.filter(pc.equal(came.answers["label"], name))["sample_id"]
                                  for name in (one, other))
            both = has_one.filter(pc.is_in(has_one, value_set=has_other.combine_chunks()))
            _to_explore(audit, came, pc.is_in(came.answers["sample_id"], value_set=both.combine_chunks()),
                        f"both {one} and {other}", "mixed")
    else:
        st.caption("No two people say different classes of one sample.")
    with st.expander("By class"):
        rows = pd.DataFrame([{"class": one.label, "answers": one.num_answers, _ALIKE: _points(one.agreement)}
                             for one in came.parts.classes])
        st.dataframe(rows, hide_index=True, placeholder="", height=table_height(len(rows)), column_config=_SHARES)


def _picked(rows: pd.DataFrame, key: str) -> int | None:
    """The row selected in a table that is drawn here; None: none."""
    event = st.dataframe(rows, hide_index=True, key=key, on_select="rerun", selection_mode="single-row", placeholder="",
                         height=table_height(len(rows), 320), column_config=_SHARES)
    found: Sequence[int] = event["selection"]["rows"]
    return found[0] if found and found[0] < len(rows) else None


def _to_explore(audit: Audit, came: _Came, is_of: pa.ChunkedArray, what: str, key: str) -> None:
    """The way to the training samples of these answers. what: why these, in words that are escaped here."""
    ids = pc.unique(came.answers["sample_id"].filter(pc.fill_null(is_of, False))).to_pylist()
    ids = [name for name, row in zip(ids, audit.table.positions(ids).tolist(), strict=True) if row >= 0]
    st.caption(f"{counted(len(ids), 'training sample')}: {state.plain(what)}."
               + (f" Explore shows the first {MAX_IDS:,}." if len(ids) > MAX_IDS else ""))
    st.button("Show in Explore", key=f"audit.came.{key}.explore", icon=":material/travel_explore:", disabled=not ids,
              on_click=show_in_explore, args=(audit.project, audit.run, ids))


def _points(share: float | None) -> float | None:
    """In percent, as a number, so that a table sorts by it."""
    return None if share is None else 100 * share
