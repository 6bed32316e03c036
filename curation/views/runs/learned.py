"""Whether a run has learned to tell the classes, in words for the pages that would else name suspects."""

import streamlit as st

from curation.audit.report.caveats import learning_words
from curation.audit.suspects.learning import Learning
from curation.audit.suspects.scores import learning_of_run
from curation.project import Project
from curation.views.widgets import state
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import PROBABILITIES, RunDir
from engine.contract.stamps import Stamp, stamp_of


def not_learned(project: Project, run: RunDir) -> str:
    """One line, Markdown; "" where it has learned, or has no predictions to tell by: then a page says what it lacks."""
    found = _found(project, run)
    return state.plain(learning_words(run.name, found)) if found.fault != "no_evidence" else ""


def suspects_none(project: Project, run: RunDir) -> bool:
    """Whether there can be no queue of likely wrong labels, for whatever fault."""
    return not _found(project, run).has_learned


def _found(project: Project, run: RunDir) -> Learning:
    files = stamp_of(project.path / MANIFEST_NAME, run.signals_path, run.path / "metrics.jsonl",
                     *map(run.probabilities_path, PROBABILITIES))
    return _learning((str(project.path), run.name, files), project, run)


@st.cache_data(max_entries=16, show_spinner=False)
def _learning(key: tuple[str, str, Stamp], _project: Project, _run: RunDir) -> Learning:
    return learning_of_run(_run, state.samples_cached(_project, _run), _project.classes)
