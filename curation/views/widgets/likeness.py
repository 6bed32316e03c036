"""More like these: samples that somebody chose as the pattern, and how like them every other one is, in the session.

Cosines come from curation.samples.similarity. Explore orders its pictures by them; draws the line that says so.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import streamlit as st

from curation.jobs.request import config_of
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.similarity import SimilarityError, cosines, direction_of
from curation.views.widgets import state
from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureStore, list_features
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDir
from engine.contract.stamps import stamp_of

LIKENESS = "likeness"
"""Column of the sample table: cosine of a sample's features with the mean direction of the pattern's."""
MAX_PATTERN = 10_000
MAX_NAMED = 3
_PATTERN_KEY = "likeness.pattern"
_VALUES_KEY = "likeness.values"
_NEW_KEY = "likeness.is_new"
_FEATURES_KEY = "likeness.features"


@dataclass(frozen=True, slots=True)
class Pattern:
    """What others are to be like."""

    ids: tuple[str, ...]
    features: str

    @property
    def words(self) -> str:
        """'a, b and 4 more', as in the data."""
        named = ", ".join(self.ids[:MAX_NAMED])
        return named + (f" and {len(self.ids) - MAX_NAMED:,} more" if len(self.ids) > MAX_NAMED else "")


def can_ask(project: Project) -> bool:
    """Whether there are features to compare by."""
    return bool(list_features(project.path))


def ask(project: Project, run: RunDir | None, ids: list[str]) -> None:
    """From now on Explore orders all samples by their likeness to these, in the features of the run where it has some.
    """
    names = [features.name for features in list_features(project.path)]
    try:
        own = config_of(run).features if run is not None else None
    except UserError:  # its own page says so
        own = None
    if ids and names:
        features = own if own is not None and own in names else names[0]
        _patterns()[str(project.path)] = Pattern(tuple(ids[:MAX_PATTERN]), features)
        st.session_state[_NEW_KEY] = True


def stop(project: Project) -> None:
    """Let go of the pattern: the order is the one before."""
    _patterns().pop(str(project.path), None)


def take_new() -> bool:
    """True once after a pattern was chosen, for the page that then shows all samples."""
    return bool(st.session_state.pop(_NEW_KEY, False))


def is_new() -> bool:
    return _NEW_KEY in st.session_state


def pattern_of(project: Project) -> Pattern | None:
    """The pattern in force, whose features are still there."""
    pattern = _patterns().get(str(project.path))
    if pattern is None or pattern.features not in [features.name for features in list_features(project.path)]:
        return None
    return pattern


def with_likeness(project: Project, table: SampleTable) -> SampleTable:
    """The table with the column LIKENESS where a pattern is in force; NaN for samples without features. A pattern that
    cannot be compared with is let go of, with a notice."""
    pattern = pattern_of(project)
    if pattern is None or LIKENESS in table.columns:
        return table
    try:
        values = _values(project, pattern, table)
    except UserError as error:
        stop(project)
        st.warning(state.plain(error), icon=":material/image_search:")
        return table
    return table.with_columns(pl.DataFrame({LIKENESS: values}))


def pattern_line(project: Project, pattern: Pattern) -> None:
    """What the pictures are ordered by, the choice of features where there are several, and the way back."""
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="explore_likeness"):
        st.markdown(f"Most like **{state.plain(pattern.words)}** first.", width="content")
        found = list_features(project.path)
        names = [features.name for features in found]
        if len(names) > 1:
            st.selectbox("By features", names, names.index(pattern.features), key=_FEATURES_KEY, width=160,
                         label_visibility="collapsed", help="The features by which pictures are alike.",
                         on_change=lambda: _change_features(project))
        else:
            st.caption(f"By features {state.plain(pattern.features)}.", width="content")
        if found[names.index(pattern.features)].outdated:
            st.caption(":orange[Outdated: of pictures as they were decoded before. The Data page makes them anew.]",
                       width="content")
        st.button("Back to the usual order", key="likeness.stop", icon=":material/close:", on_click=stop,
                  args=(project,))


def _change_features(project: Project) -> None:
    patterns = _patterns()
    patterns[str(project.path)] = replace(patterns[str(project.path)], features=str(st.session_state[_FEATURES_KEY]))


def _patterns() -> dict[str, Pattern]:
    """By the project's path."""
    found: dict[str, Pattern] = st.session_state.setdefault(_PATTERN_KEY, {})
    return found


def _values(project: Project, pattern: Pattern, table: SampleTable) -> np.ndarray:
    """(N,) float32 in the order of the table. The last one is kept: at a million samples it takes seconds, with a bar.
    """
    store = FeatureStore.open(project.path, pattern.features)
    wanted = (pattern, stamp_of(project.path / MANIFEST_NAME, store.folder.samples_path), len(table))
    kept = st.session_state.get(_VALUES_KEY)
    if kept is not None and kept[0] == wanted:
        return np.asarray(kept[1])
    rows = store.rows_of(np.array(pattern.ids, dtype=object))
    if not (rows >= 0).any():
        raise SimilarityError(f"likeness needs features; {pattern.ids[0]!r} has none in {pattern.features!r}; choose "
                              "another sample or other features")
    bar = st.empty()

    def show(done: int, total: int, _: str) -> None:
        bar.progress(done / total, text="Comparing pictures")

    found_R = cosines(store, direction_of(store, rows[rows >= 0]), show)
    bar.empty()
    known = pl.from_pandas(store.samples[["sample_id", "row"]])
    ids = table.frame.select("sample_id")
    at = ids.join(known, on="sample_id", how="left", maintain_order="left")["row"].fill_null(-1).to_numpy()
    values = np.where(at >= 0, found_R[np.maximum(at, 0)], np.nan).astype(np.float32)
    values.flags.writeable = False
    st.session_state[_VALUES_KEY] = (wanted, values)
    return values
