"""The loop's way back: a new run with the present run's settings under the decisions in force now.

Says what will differ before it starts. Submits to curation.jobs; trains nothing.
"""

import re
from collections.abc import Callable

import pandas as pd
import streamlit as st

from curation import jobs
from curation.project import Project
from curation.views import state
from engine.config import METHODS, RunConfig
from engine.manifest import read_decisions
from engine.rundir import RunDir

TRAIN_FOCUS_KEY = "train.focus"
"""The Train page shows the run named here."""
_STARTED_KEY = "decide.started"
KINDS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "pinned to validation": lambda rows: rows["pin"] == "validation",
    "pinned to training": lambda rows: rows["pin"] == "train",
    "excluded": lambda rows: rows["excluded"].eq(True),
    "relabelled": lambda rows: rows["label"].notna(),
}
"""What a sample can be under the decisions; the same four words everywhere."""


def changes(then: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """What differs between two states of the decisions (DECISION_COLUMNS), a phrase a kind; none where nothing does."""
    found = []
    for kind, is_of in KINDS.items():
        old, new = (set(rows["sample_id"][is_of(rows).fillna(False).astype(bool)]) for rows in (then, now))
        found += [f"{len(more):,} {word} {kind}" for more, word in ((new - old, "more"), (old - new, "no longer"))
                  if more]
    both = then.dropna(subset=["label"]).merge(now.dropna(subset=["label"]), on="sample_id", suffixes=("_then", "_now"))
    num_other = int((both["label_then"] != both["label_now"]).sum())
    return [*found, *([f"{num_other:,} relabelled to another class than before"] if num_other else [])]


def free_name(project: Project, name: str) -> str:
    """'first-r2', 'first-r3', ...: the first that no run has; the number counts on from the run's own."""
    stem, _, digits = name.rpartition("-r")
    stem, number = (stem, int(digits)) if stem and re.fullmatch(r"[0-9]{1,4}", digits) else (name, 1)
    stem = stem[:56]
    while (project.path / "runs" / f"{stem}-r{number + 1}").exists():
        number += 1
    return f"{stem}-r{number + 1}"


def retrain_box(project: Project, run: RunDir | None) -> None:
    """What a retrain would change, and the button that starts it."""
    st.subheader("Retrain under these decisions")
    _say_started(project)
    if run is None or not run.exists():
        st.markdown("Retraining takes over the settings of a run, and there is none yet." if run is None else
                    "The run has not started yet; retrain once it has.")
        state.link_to("train", "Go to Train")
        return
    config = RunConfig.of_run(run.read_config()["config"])
    found = changes(read_decisions(run.decisions_path), project.ledger().state())
    st.markdown(f"A new run with the settings of **{state.plain(run.name)}** ({METHODS[config.method].title}, "
                f"{config.epochs} epochs, seed {config.seed}), on the decisions in force now. Compared with what "
                f"{state.plain(run.name)} trained under:")
    if found:
        st.markdown("\n".join(f"- {phrase}" for phrase in found))
    else:
        st.markdown("- no decision has changed, so it would repeat the same training")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name of the new run", free_name(project, run.name), max_chars=60, width=220,
                             help="Letters, digits, '-', '_' and '.'.")
        is_pressed = st.button("Retrain", type="primary" if found else "secondary", key="decide.retrain",
                               icon=":material/model_training:")
    st.caption("The seed stays the same, so that Compare sees the decisions and not the luck of another start. One "
               "seed is still no evidence: for that, start several on the Train page.")
    if is_pressed:
        jobs.submit(project.path, name.strip(), config)
        st.session_state[_STARTED_KEY] = (str(project.path), name.strip())
        st.session_state[TRAIN_FOCUS_KEY] = name.strip()
        st.rerun()


def _say_started(project: Project) -> None:
    """The run started here last, and where to watch it."""
    path, name = st.session_state.get(_STARTED_KEY, ("", ""))
    if path != str(project.path) or not RunDir.of(project.path, name).path.is_dir():
        return
    status = jobs.status_of(RunDir.of(project.path, name))
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(f"Started **{state.plain(name)}**: {status.state}.", width="content")
        state.link_to("train", "Watch it on Train")
