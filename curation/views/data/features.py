"""The Data page's part on features: make them, watch that, and see what a project has by them before any training."""

import pandas as pd
import streamlit as st

from curation.jobs import feature_jobs
from curation.jobs.feature_jobs import DEFAULT_NAME, MAX_AT_ONCE, FeatureRequest
from curation.jobs.queue import JobError
from curation.jobs.run_jobs import RunStatus
from curation.project import Project
from curation.views.widgets import state
from curation.views.widgets.run_table import duration_text, state_text
from engine.contract.errors import UserError
from engine.contract.feature_dir import DEFAULT_BACKBONE, FeatureDir, FeatureDocument
from engine.contract.stamps import Stamp, stamp_of

KEY = "features."
BACKBONES = (DEFAULT_BACKBONE, "vit_small_patch16_dinov3.lvd1689m", "convnext_tiny.fb_in22k",
             "vit_base_patch16_siglip_224")
TICK_SECONDS = 1.0
MAX_NAMED = 5
"""Unreadable images that a line names."""
WHAT = ("A pretrained network turns every image into numbers, once. On them Explore has a map, Triage and Audit have "
        "suspects before anything is trained, and a training takes seconds.")


def start_features(project: Project) -> None:
    """Begin to make a new project's features in the background, unless they are under way already."""
    try:
        feature_jobs.submit(project.path, DEFAULT_NAME, FeatureRequest())
    except UserError as error:  # the section says what is there; an import must not fail for it
        st.toast(state.plain(error), icon=":material/info:")


def features_section(project: Project, num_samples: int) -> None:
    """Header, one card for each of the project's features, and the form to make more."""
    st.header("Features")
    st.caption(WHAT)
    found = feature_jobs.features_of(project.path)
    is_active = any(map(feature_jobs.is_under_way, found))
    if found:
        st.fragment(_live, run_every=TICK_SECONDS if is_active else None)(project, num_samples, is_active)
    elif num_samples > MAX_AT_ONCE:
        st.caption(f"They are not made by themselves above {MAX_AT_ONCE:,} images.")
    with st.container() if not found else st.expander("Make other features"):
        _form(project, {features.name for features in found})


def _form(project: Project, taken: set[str]) -> None:
    """Backbone, name and size; starts the job when pressed."""
    name = next(n for n in (DEFAULT_NAME, *(f"features-{i}" for i in range(2, 1000))) if n not in taken)
    request = FeatureRequest()
    with st.expander("Choose another network") if not taken else st.container(), st.grid(min_column_width=200):
        backbone = st.selectbox(
            "Network", BACKBONES, key=KEY + "backbone", accept_new_options=True,
            help=f"{DEFAULT_BACKBONE} comes with the program. Any name that timm or torchvision knows is downloaded "
                 "once, where there is a network.")
        size = st.number_input("Image size (pixels)", 16, 1024, None, step=16, key=KEY + "size", placeholder="its own",
                               help="Side of the square images that the network sees. Empty: what it was trained on.")
        is_mirrored = st.toggle("Average with the mirror image", key=KEY + "mirror",
                                help="A little more accurate, twice the time. Not where left and right differ.")
        name = st.text_input("Name", name, max_chars=60, key=f"{KEY}name.{len(taken)}").strip()
        request = FeatureRequest(backbone=str(backbone), image_size=None if size is None else int(size),
                                 is_mirrored=bool(is_mirrored))
    if st.button("Make features", type="secondary" if taken else "primary", icon=":material/grain:", key=KEY + "start"):
        try:
            feature_jobs.submit(project.path, name, request)
        except UserError as error:
            st.error(state.plain(error), icon=":material/error:")
            return
        st.rerun()


# -- what is there


def _live(project: Project, num_samples: int, was_active: bool) -> None:
    state.guarded(lambda: _cards(project, num_samples, was_active))


def _cards(project: Project, num_samples: int, was_active: bool) -> None:
    found = feature_jobs.features_of(project.path)
    statuses = {features.name: feature_jobs.status_of(features) for features in found}
    is_active = any(map(feature_jobs.is_under_way, found))
    if was_active and not is_active:
        state.choose(run=_newest_run(project))  # what they show is now the thing to see
    if is_active and not was_active:
        st.rerun()
    for features in found:
        with st.container(border=True):
            _card(project, features, statuses[features.name], num_samples)


def _newest_run(project: Project) -> str | None:
    """The newest run that has results: the features' own, which the job made last."""
    return next((run.name for run in project.runs() if run.signals_path.exists()), None)


def _card(project: Project, features: FeatureDir, status: RunStatus, num_samples: int) -> None:
    """State, progress and the button that fits; once they are there what made them, and where they can be seen."""
    is_imported = not (features.path / "request.json").exists() and features.exists()
    words = "imported" if is_imported else state_text(status)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{state.plain(features.name)}** &nbsp; {words}", width="content")
        if status.is_active:
            st.button("Cancel", key=f"{KEY}cancel.{features.name}", icon=":material/stop:",
                      disabled=status.is_cancelling, on_click=_act, args=(project, features.name, True))
        elif status.can_resume and not is_imported:
            st.button("Resume", key=f"{KEY}resume.{features.name}", icon=":material/restart_alt:", on_click=_act,
                      args=(project, features.name, False))
    if status.state == "running":
        done, total = status.details.get("step") or 0, status.details.get("num_steps") or 0
        st.progress(min(1.0, done / total) if total else 0.0, text=_progress_text(status))
    elif status.state == "done" and feature_jobs.is_under_way(features):
        st.progress(1.0, text="All images have features; making the map and judging the labels ...")
    elif status.state == "failed":
        st.error(f"It failed: {state.plain(status.error) or 'no reason given.'}", icon=":material/error:")
    if features.exists():
        _facts(project, features, num_samples, can_add=not is_imported and not feature_jobs.is_under_way(features))


def _progress_text(status: RunStatus) -> str:
    details = status.details
    text = state.plain(str(details.get("stage") or "starting").capitalize())
    if details.get("num_steps"):
        text += f": {details.get('step') or 0:,} of {details['num_steps']:,}"
    if details.get("samples_per_second"):
        text += f", {details['samples_per_second']:,.0f} images a second"
    if details.get("eta_seconds"):
        text += f", about {duration_text(details['eta_seconds'])} left"
    return text


def _facts(project: Project, features: FeatureDir, num_samples: int, can_add: bool) -> None:
    """What made them, how many samples have them, which images cannot be read, and links to the pages."""
    document = features.read_document()
    samples = _samples(str(features.path), stamp_of(features.samples_path), features)
    has = samples["row"] >= 0
    st.caption(_made_by(document))
    num_new = max(0, num_samples - len(samples))
    st.markdown(f"{int(has.sum()):,} of {num_samples:,} samples have them.")
    lost = samples[~has]
    if len(lost):
        named = ", ".join(state.plain(name) for name in lost["sample_id"].head(MAX_NAMED))
        st.warning(f"{len(lost):,} without: {named}{' and others' if len(lost) > MAX_NAMED else ''}. First reason: "
                   f"{state.plain(lost['reason'].iloc[0])}.", icon=":material/image_not_supported:")
    if num_new and can_add:
        st.button(f"Make those of {num_new:,} new samples", key=f"{KEY}add.{features.name}", on_click=_act,
                  args=(project, features.name, False), icon=":material/add:")
    if project.runs():
        with st.container(horizontal=True):
            for page, label in (("explore", "See the map"), ("triage", "Triage"), ("audit", "Audit the labels"),
                                ("train", "Train on them")):
                state.link_to(page, label)


@st.cache_resource(max_entries=4, show_spinner=False)
def _samples(path: str, stamp: Stamp, _features: FeatureDir) -> pd.DataFrame:
    """read_samples of features, cached by the file's time, read-only."""
    return _features.read_samples()


def _made_by(document: FeatureDocument) -> str:
    """The network with all that identifies it, in one line."""
    size = document.get("image_size")
    parts = [state.plain(document.get("backbone") or "unknown network"),
             f"revision {state.plain(document['revision'])}" if document.get("revision") else "",
             f"digest {state.plain(document['digest'][:12])}" if document.get("digest") else "",
             f"{size} pixels" if size else "", f"{document.get('num_features', 0):,} numbers an image",
             "mirrored" if document.get("is_mirrored") else "",
             f"licence {state.plain(document['licence'])}" if document.get("licence") else ""]
    return ", ".join(part for part in parts if part)


def _act(project: Project, name: str, is_cancel: bool) -> None:
    try:
        (feature_jobs.cancel if is_cancel else feature_jobs.resume)(project.path, name)
    except JobError as error:  # it ended between the drawing and the click
        st.toast(state.plain(error), icon=":material/info:")
