"""What the pages call accuracy on a split: `clean` where its labels are known to be right, else what it is."""

import streamlit as st

from curation.project import Project
from curation.samples.split_facts import SplitFacts, split_facts
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.stamps import Stamp, stamp_of

NOTHING_HELD_OUT = ("This project has no test and no clean split, so no run of it has an accuracy. Import the data "
                    "again (Data) and hold some out, best with labels that people have checked. Until then, Live in "
                    "Explore measures what decisions do on held-out training samples, for a run on features.")


def facts_of(project: Project) -> SplitFacts:
    """split_facts, kept until the manifest changes."""
    return _facts(str(project.path), stamp_of(project.path / MANIFEST_NAME), project)


@st.cache_resource(max_entries=8, show_spinner=False)
def _facts(path: str, stamp: Stamp, _project: Project) -> SplitFacts:
    return split_facts(_project)


def accuracy_name(project: Project, split: str) -> str:
    """"test accuracy"; "clean accuracy", or "hold-out accuracy" where nobody vouches for the labels of that split."""
    if split == "clean" and facts_of(project).is_as_given(split):
        return "hold-out accuracy"
    return f"{split} accuracy"


def accuracy_help(project: Project, split: str) -> str:
    """What accuracy on the split rests on."""
    on = {"test": "On the test split, read once, after the last epoch.",
          "clean": "On the split named clean, which no method trains on unless it is told to validate on it."}[split]
    return on + (" Its labels are as given, so a run that learns their errors looks better than it is."
                 if facts_of(project).is_as_given(split) else " Its labels are known to be right.")
