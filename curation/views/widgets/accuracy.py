"""What accuracy on a split is worth, said wherever it is shown: whether the labels there are known to be right, and
which of the pictures are in training too.

What is found of those is curation.audit.suspects.leaks'; where it is not known yet, that is begun in the background.
"""

import pandas as pd
import streamlit as st

from curation.audit.suspects import leaks
from curation.audit.suspects.leaks import Leaks
from curation.project import Project
from curation.samples.split_facts import SplitFacts, split_facts
from curation.views.widgets import state
from curation.views.widgets.pictures import show_pictures
from engine.contract.feature_dir import list_features
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.stamps import Stamp, stamp_of

NOTHING_HELD_OUT = ("This project has no test and no clean split, so no run of it has an accuracy. Import the data "
                    "again (Data) and hold some out, best with labels that people have checked. Until then, Live in "
                    "Explore measures what decisions do on held-out training samples, for a run on features.")
MAX_PAIRS = 24
_BEGUN_KEY = "leaks.begun"
_SPLITS = ("test", "clean")


# -- labels


def facts_of(project: Project) -> SplitFacts:
    """split_facts, kept until the manifest changes."""
    return _facts(str(project.path), stamp_of(project.path / MANIFEST_NAME), project)


@st.cache_resource(max_entries=8, show_spinner=False)
def _facts(path: str, stamp: Stamp, _project: Project) -> SplitFacts:
    return split_facts(_project)


def accuracy_name(project: Project, split: str) -> str:
    """"test accuracy"; "clean accuracy", or "hold-out accuracy" where the labels of that split are as given."""
    if split == "clean" and facts_of(project).is_as_given(split):
        return "hold-out accuracy"
    return f"{split} accuracy"


def accuracy_help(project: Project, split: str) -> str:
    """What accuracy on the split rests on."""
    on = {"test": "On the test split, read once, after the last epoch.",
          "clean": "On the split named clean, which no method trains on unless it is told to validate on it."}[split]
    return on + labels_words(project, split)


def labels_words(project: Project, split: str) -> str:
    """Whether the labels of a held-out split are known to be right, as a sentence that goes on; "" of training."""
    if split == "train" or not facts_of(project).sizes.get(split):
        return ""
    return " Its labels are as given, so a run that learns their errors looks better than it is." \
        if facts_of(project).is_as_given(split) else " Its labels are known to be right."


# -- pictures


def leak_line(project: Project) -> None:
    """Say how many pictures that accuracy is measured on are in training too, with a way to see them; nothing where
    none is, or nothing can be known."""
    found = known_leaks(project)
    if found is None:
        _begin(project)
        return
    for split in _SPLITS:
        part = found.of(split)
        if part is None or not part.num_near:
            continue
        same = f" ({part.num_identical:,} the same file)" if part.num_identical else ""
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(f":material/content_copy: **{part.num_near:,} of {part.num_samples:,} {split} pictures are "
                       f"(nearly) in training**{same}: accuracy on {split} is too high by an unknown amount.",
                       width="content")
            with st.popover("See them", type="tertiary"):
                _pairs(project, found, split)


def known_leaks(project: Project) -> Leaks | None:
    """leaks_of, kept until a file that it rests on changes."""
    files = [project.path / MANIFEST_NAME]
    for features in list_features(project.path):
        files += [features.samples_path, features.path / leaks.FILE_NAME]
    return _known(str(project.path), stamp_of(*files), project)


@st.cache_resource(max_entries=8, show_spinner=False)
def _known(path: str, stamp: Stamp, _project: Project) -> Leaks | None:
    return leaks.leaks_of(_project)


def _begin(project: Project) -> None:
    """Have them found where there are features, once a session and state of the features."""
    names = [features.name for features in list_features(project.path)]
    if not names:
        return
    wanted = (str(project.path), stamp_of(project.path / MANIFEST_NAME,
                                          *(features.samples_path for features in list_features(project.path))))
    if st.session_state.get(_BEGUN_KEY) != wanted:
        st.session_state[_BEGUN_KEY] = wanted
        leaks.begin(project, names[0])


def _pairs(project: Project, found: Leaks, split: str) -> None:
    """The nearest pairs side by side, each with both labels."""
    pairs = found.pairs[found.pairs["split"] == split].drop_duplicates("sample_id")
    pairs = pairs.sort_values("distance", kind="stable")
    more = f", the nearest {MAX_PAIRS} of {len(pairs):,}" if len(pairs) > MAX_PAIRS else ""
    st.markdown(f"**First a {split} picture, then the nearest of training{more}**, by features "
                f"{state.plain(found.features)}. To measure cleanly, exclude the training ones or take the others "
                "out of the split.")
    labels = _labels(stamp_of(project.path / MANIFEST_NAME), project)
    with st.grid(min_column_width=280, gap="small") as grid:
        for pair in pairs.head(MAX_PAIRS).to_dict("records"):
            with grid.cell(), st.container(border=True):
                show_pictures(project, [
                    (pair["sample_id"], f"{split}: {labels[pair['sample_id']]}", ""),
                    (pair["train_id"], f"training: {labels[pair['train_id']]}",
                     "" if labels[pair["sample_id"]] == labels[pair["train_id"]] else "another label")])


@st.cache_resource(max_entries=2, show_spinner=False)
def _labels(stamp: Stamp, _project: Project) -> pd.Series:
    """Given labels by sample id; read-only."""
    return _project.manifest().set_index("sample_id")["given_label"]
