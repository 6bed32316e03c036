"""Where the jobs of a project run, beside what starts one: this machine, or the queue of a cluster with what is asked
of it. The project keeps it; starts nothing."""

from dataclasses import asdict
from pathlib import Path
from typing import cast

import streamlit as st

from curation.jobs import run_jobs
from curation.jobs.queue import JobError
from curation.project import Project
from curation.views.runs.setting_widgets import help_of, label_of, setting_widget
from curation.views.widgets import state
from curation.words import counted
from engine.contract.cluster import slurm
from engine.contract.cluster.place import HERE, SLURM, Place, place_of
from engine.contract.settings import ConfigError, SettingInfo, settings_of

WORDS = {HERE: "this machine", SLURM: "the cluster (Slurm)"}
LABELS = {"where": "Runs on", "gpus": "GPUs", "runs_at_once": "Runs at once", "minutes": "Time limit",
          "cpus": "CPU cores"}


def show_place(project: Project, form: str) -> None:
    """Draw the choice, where there is one: on a machine that submits to Slurm, and in a project that was left so.

    form: the key of the form that it stands in; all forms of a project share the choice.
    """
    try:
        place = place_of(project.path)
    except ConfigError as error:
        st.error(state.plain(error), icon=":material/error:")
        return
    if place.where == HERE and not slurm.is_here():
        return
    where, *others = settings_of(Place)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _widget(project, form, place, where, width=300)
        if place.where == SLURM:
            with st.popover("Settings of the cluster", icon=":material/tune:"), st.grid(min_column_width=170):
                for setting in others:
                    _widget(project, form, place, setting)
    if place.where == SLURM:
        st.caption(place_words(place))


def place_words(place: Place) -> str:
    """What a job of this place asks of the cluster, in one line of Markdown."""
    many = f"{place.nodes} nodes of " if place.nodes > 1 else ""
    where = f"partition {state.plain(place.partition)}" if place.partition else "the default partition"
    alone = _machine(min(1, place.gpus), place.cpus)
    return (f"A job asks {where} for {many}{_machine(place.gpus, place.cpus)}, for {place.minutes:,} minutes. A study "
            f"trains {counted(place.runs_at_once, 'run')} at once, each with {alone}.")


def _machine(num_gpus: int, num_cores: int) -> str:
    """What a node is asked for; num_cores: for each GPU, or in all where there is none."""
    cores = counted(num_cores * max(1, num_gpus), "CPU core")
    return f"{counted(num_gpus, 'GPU')} and {cores}" if num_gpus else cores


def _widget(project: Project, form: str, place: Place, setting: SettingInfo, **passed: int) -> None:
    own = cast(SettingInfo, {**setting, "default": getattr(place, setting["name"])})
    setting_widget(own, _key(form, place, setting["name"]), label_of(setting, LABELS), help_of(setting), WORDS,
                   on_change=_choose, args=(project.path, own, _key(form, place, setting["name"])), **passed)


def _key(form: str, place: Place, name: str) -> str:
    """Of a widget: another one where the value is another, since somebody else may have chosen it."""
    return f"{form}place.{name}.{getattr(place, name)}"


def _choose(project: Path, setting: SettingInfo, key: str) -> None:
    """Keep the setting that has just been chosen beside what the project has by now; a refusal is said, and what was
    refused is dropped."""
    value = st.session_state.get(key)
    if isinstance(value, str):
        value = value.strip() or None
    try:
        if isinstance(value, str) and setting["type"] not in (str, str | None):
            value = int(value)
        run_jobs.choose_place(project, {**asdict(place_of(project)), setting["name"]: value})
    except (ConfigError, JobError, ValueError) as error:
        st.toast(state.plain(error), icon=":material/error:")
        del st.session_state[key]
