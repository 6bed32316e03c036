"""The form of a new run on the Train page, drawn from engine.contract.config: the settings cannot differ from the
engine's.

Submits to curation.jobs.run_jobs. Knows no training and shows no results.
"""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

import streamlit as st

from curation.jobs import run_jobs
from curation.jobs.queue import JobError
from curation.jobs.request import config_of
from curation.project import Project
from curation.views.presses import kept_button, taken
from curation.views.runs.form_keys import IMAGES, KEY
from curation.views.runs.place import show_place
from curation.views.runs.setting_widgets import OWN, help_of, label_of, setting_widget
from curation.views.train.form_settings import FITTED_AT_ONCE, LABELS, NEEDS, ON_FEATURES, ON_IMAGES, OPTIONS
from curation.views.widgets import state
from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.feature_dir import DEFAULT_BACKBONE, list_features
from engine.contract.manifest import REQUIRED_COLUMNS
from engine.contract.method_config import ControlConfig, ReweighterConfig, SplitterConfig
from engine.contract.methods import HEADS, METHODS, TRAINABLE
from engine.contract.run_dir import RunDir
from engine.contract.run_document import can_take_weights
from engine.contract.settings import SettingInfo, settings_of

MAIN = ("network", "epochs", "val_fraction", "guard", "device", "seed")
"""Settings shown at once, in this order; every other one is an expander away."""
ON_IMAGES_WORDS = ("On images, tiny, small and resnet18 are trained from scratch, which takes minutes to hours. Any "
                   "other name, as timm or torchvision has it, is a pretrained backbone to be fine-tuned.")
NO_FEATURES_WORDS = " On features, which the Data page makes, a training takes seconds and usually does better."
ALIKE = "all alike"
NO_FEATURES = "none"
NO_COLUMN = "each sample by itself"
NO_SIBLINGS = (*REQUIRED_COLUMNS, "path", "image", "clean_label")
"""Columns whose equal values do not make siblings."""


def new_run_form(project: Project, on_started: Callable[[str], None]) -> None:
    """Draw the form; after a start call on_started(name of the first run queued) and rerun the app."""
    st.fragment(_draw)(project, on_started)


def _draw(project: Project, on_started: Callable[[str], None]) -> None:
    state.guarded(lambda: _form(project, on_started))


def _form(project: Project, on_started: Callable[[str], None]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        features = features_picker(project, KEY)
        method = _method_picker(is_on_images=features is None)
    st.caption(METHODS[method].help)
    if features is None:
        st.caption(f"{ON_IMAGES_WORDS}{'' if list_features(project.path) else NO_FEATURES_WORDS}")
    override = st.session_state.get(KEY + "validation", OWN)
    source = METHODS[method].validation if override == OWN else override
    values: dict[str, object] = {"method": method, "features": features}
    by_name = {setting["name"]: setting for setting in settings_of(RunConfig)}
    sources = {method, source, METHODS[method].weights}
    hidden = {"method", "features", "folds_by", "weights_by", *(ON_FEATURES if features is None else ON_IMAGES)}
    if METHODS[method].is_head_only:
        hidden |= {name for name in by_name if name not in FITTED_AT_ONCE}
    shown = [name for name in by_name if name not in hidden and (name not in NEEDS or sources & set(NEEDS[name]))]
    with st.grid(min_column_width=136):
        for name in (name for name in MAIN if name in shown):
            values[name] = _network(by_name[name], features) if name == "network" else _widget(by_name[name])
        num_repeats = st.number_input(
            "Repeats", 1, 20, 1, key=KEY + "repeats", persist_state="session",
            help="Queues this many runs that differ only in their seed. For an interval Compare needs two or more, "
                 "better three.")
    with st.expander("More settings"), st.grid(min_column_width=170):
        rest = [by_name[name] for name in shown if name not in MAIN]
        for setting in sorted(rest, key=lambda s: bool(s["advanced"])):
            values[setting["name"]] = _widget(setting)
        own = [setting for setting in settings_of(ControlConfig) if sources & set(NEEDS[setting["name"]])]
        values["controls"] = {setting["name"]: _widget(setting, "controls.") for setting in own}
        values["folds_by"] = _column(project, by_name["folds_by"], NO_COLUMN)
        if sources & set(NEEDS["weights_by"]) and METHODS[method].is_trained:
            values["weights_by"] = _column(project, by_name["weights_by"], ALIKE)
    if source != "none" and METHODS[method].weights not in ("uniform", "rho"):
        values["reweighter"] = _group("Reweighter: how sample weights are learned", ReweighterConfig, "reweighter.")
    if source == "learned":
        values["splitter"] = _group("Splitter: how hard samples are found", SplitterConfig, "splitter.", {
            "features": lambda setting: _starts_from(setting, project, features is None)})
    is_plain = METHODS[method].is_trained and can_take_weights(RunConfig.from_dict(
        {"method": method, "features": features, **{name: values.get(name) for name in ("validation", "weights_by")}}))
    _start_row(project, method, values, int(num_repeats), on_started, _weights_from(project) if is_plain else None)


def features_picker(project: Project, key: str) -> str | None:
    """What to train on: a head on features where the project has some, else the images; None for the images."""
    found = list_features(project.path)
    names, outdated = [features.name for features in found], [features.name for features in found if features.outdated]
    if not names:
        return None
    chosen = st.selectbox(
        "Train on", [*names, IMAGES], key=key + "features", width=300, persist_state="session",
        format_func=lambda name: name if name == IMAGES else f"features {name}{', outdated' * (name in outdated)}",
        help="A head on features takes seconds. On images a network is trained from scratch, or a pretrained one is "
             "fine-tuned: minutes to hours, and better with a GPU. Outdated features are of pictures as they were "
             "decoded before; the Data page makes them anew.")
    return None if chosen == IMAGES else str(chosen)


def _network(setting: SettingInfo, features: str | None) -> str:
    """The names that fit what is trained on; on images any pretrained network's besides."""
    own = [name for name in setting["examples"] or () if name == "auto" or (name in HEADS) == (features is not None)]
    options = own if features is not None else [*own, DEFAULT_BACKBONE]
    chosen = st.selectbox(label_of(setting, LABELS), options, help=help_of(setting, ""),
                          key=f"{KEY}network.{'features' if features else 'images'}",
                          accept_new_options=features is None, persist_state="session")
    return str(chosen or "auto")


def _column(project: Project, setting: SettingInfo, none: str) -> str | None:
    """A column of the data that a setting names; None: none of them, in the words `none`."""
    columns = [name for name in project.columns() if name not in NO_SIBLINGS]
    if not columns:
        return None
    chosen = st.selectbox(label_of(setting, LABELS), [none, *columns], key=KEY + setting["name"],
                          help=help_of(setting, ""), persist_state="session")
    return None if chosen == none else str(chosen)


def _weights_from(project: Project) -> str | None:
    """The run whose weights to train under; None: all alike."""
    found = [run.name for run in run_jobs.run_dirs(project.path) if has_weights(run)]
    if not found:
        return None
    chosen = st.selectbox(
        "Sample weights", [ALIKE, *found], key=KEY + "weights_from", width=300, persist_state="session",
        format_func=lambda name: name if name == ALIKE else f"those of {name}",
        help="Plain training under what another run learned: its sample weights, its validation samples at the end, "
             "and its decisions. Learn them in seconds with a head on features, then fine-tune a network under them. "
             "Command line: `--weights-from RUN`")
    return None if chosen == ALIKE else str(chosen)


def has_weights(run: RunDir) -> bool:
    """Whether a run is done and learned weights of samples."""
    try:
        return run.exists() and run.read_status()["state"] == "done" and run.signals_path.exists() \
            and config_of(run).weight_source != "uniform"
    except UserError:  # a damaged run; its own page says so
        return False


def _method_picker(is_on_images: bool) -> str:
    method = st.selectbox(
        "Method", [name for name in TRAINABLE if not (is_on_images and METHODS[name].is_head_only)], width=300,
        format_func=lambda m: METHODS[m].title, key=KEY + "method",
        persist_state="session",
        help="Methods differ in where validation samples come from and in how sample weights are made.")
    return str(method)


def _group(title: str, cls: type, prefix: str,
           own: Mapping[str, Callable[[SettingInfo], object]] = MappingProxyType({})) -> dict[str, object]:
    """The settings of a nested config. own: what draws a setting in place of _widget, by its name."""
    with st.expander(title), st.grid(min_column_width=170):
        return {setting["name"]: own[setting["name"]](setting) if setting["name"] in own else _widget(setting, prefix)
                for setting in settings_of(cls)}


def _starts_from(setting: SettingInfo, project: Project, is_on_images: bool) -> object:
    """Features of the project by which a training on images begins; drawn only where there is a choice."""
    names = [found.name for found in list_features(project.path) if found.name not in (setting["default"], NO_FEATURES)]
    if not is_on_images or not names:
        return setting["default"]
    chosen = st.selectbox(label_of(setting, LABELS), [setting["default"], *names, NO_FEATURES],
                          key=KEY + "splitter.features", help=help_of(setting, "splitter."), persist_state="session")
    return None if chosen == NO_FEATURES else chosen


def _start_row(project: Project, method: str, values: dict[str, object], num_repeats: int,
               on_started: Callable[[str], None], weights_from: str | None) -> None:
    """Name, decisions in force and the start button; submits when it is pressed."""
    show_place(project, KEY)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name", run_jobs.free_name(project.path / "runs", method), max_chars=60, width=240,
                             help="Letters, digits, '-', '_' and '.'. A free name is suggested.")
        is_pressed = kept_button("Start run" if num_repeats == 1 else f"Start {num_repeats} runs", about=project.path,
                                 icon=":material/play_arrow:", key=KEY + "start")
    st.caption(decisions_in_force(project) if weights_from is None else
               f"The run trains under the decisions of {state.plain(weights_from)}, not those in force now.")
    if is_pressed:
        with taken(KEY + "start"):
            on_started(start_runs(project, name.strip(), values, num_repeats, weights_from))
        st.rerun()


def start_runs(project: Project, name: str, values: dict[str, object], num_repeats: int = 1,
               weights_from: str | None = None) -> str:
    """Queue one run, or one a seed under names that end in their seed; the first name. Raises ConfigError, JobError."""
    first = RunConfig.from_dict(values)
    configs = {name if num_repeats == 1 else f"{name}-s{seed}": dataclasses.replace(first, seed=seed)
               for seed in range(first.seed, first.seed + num_repeats)}
    taken = [n for n in configs if RunDir.of(project.path, n).path.exists()]
    if taken:
        raise JobError(f"a run's name must be new in its project; {taken[0]!r} exists; choose another name")
    for run_name, config in configs.items():
        run_jobs.submit(project.path, run_name, config, weights_from=weights_from)
    return next(iter(configs))


def decisions_in_force(project: Project, what: str = "The run trains") -> str:
    """What decisions a training started now would be under. what: the training, as a subject with its verb."""
    decisions = project.ledger().state()
    if decisions.empty:
        return f"{what} on the data as imported: no decisions are in force."
    num_pins, num_excluded = int(decisions["pin"].notna().sum()), int(decisions["excluded"].eq(True).sum())
    num_relabelled = int(decisions["label"].notna().sum())
    return (f"{what} under the decisions in force: {num_pins:,} pinned, {num_excluded:,} excluded, "
            f"{num_relabelled:,} relabelled.")


def _widget(setting: SettingInfo, prefix: str = "") -> object:
    """A setting of the run's config."""
    return setting_widget(setting, KEY + prefix + setting["name"], label_of(setting, LABELS), help_of(setting, prefix),
                          OPTIONS, persist_state="session")
