"""The Data page's part on features: make them, watch that, and see what a project has by them before any training."""

import re
from pathlib import PurePath

import pandas as pd
import streamlit as st

from curation.jobs import feature_jobs, feature_runs, run_jobs
from curation.jobs.feature_jobs import FeatureRequest
from curation.jobs.queue import JobError
from curation.jobs.request import created_of
from curation.jobs.run_jobs import RunStatus
from curation.project import Project
from curation.views.data.own_files import own_files_form
from curation.views.presses import kept_button, taken
from curation.views.runs.place import show_place
from curation.views.runs.run_table import duration_text, state_text
from curation.views.train.progress import say_queue
from curation.views.widgets import state
from curation.words import counted
from engine.contract.errors import UserError
from engine.contract.feature_dir import DEFAULT_BACKBONE, DEFAULT_FEATURES, FeatureDir, FeatureDocument
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.stamps import Stamp, stamp_of

KEY = "features."
BACKBONES = (DEFAULT_BACKBONE, "vit_small_patch16_dinov3.lvd1689m", "vit_base_patch16_siglip_224",
             "convnext_tiny.fb_in22k")
TICK_SECONDS = 1.0
MAX_NAMED = 5
"""Samples without features that a line names."""
WHAT = ("A pretrained network turns each image into numbers, once. With them this project has a map, suspected labels "
        "and “more like this” before anything is trained, and a training takes seconds.")


def start_features(project: Project) -> None:
    """Begin to make a new project's features in the background, or those of what an import added."""
    try:
        feature_jobs.submit(project.path, DEFAULT_FEATURES, FeatureRequest())
    except UserError as error:  # the section says what is there; an import must not fail for it
        st.toast(state.plain(error), icon=":material/info:")


def features_section(project: Project) -> None:
    """Header, one card for each of the project's features, and the form to make more."""
    st.header("Features")
    st.caption(WHAT)
    found = feature_jobs.features_of(project.path)
    is_active = any(map(feature_jobs.is_under_way, found))
    if found:
        st.fragment(_live, run_every=TICK_SECONDS if is_active else None)(project, is_active)
        with st.expander("Make other features", icon=":material/add:"):
            _form(project, len(found))
    else:
        with st.container(border=True):
            _form(project, 0)
    with st.expander("Bring your own features or predictions", icon=":material/upload_file:"):
        own_files_form(project)


# -- making them


def _form(project: Project, num_made: int) -> None:
    """Backbone, size and name; starts the job when pressed."""
    backbone = str(st.selectbox(
        "Pretrained network", BACKBONES, key=KEY + "backbone", accept_new_options=True, width=380,
        help=f"{DEFAULT_BACKBONE} comes with the program. Others are downloaded once, where there is a network: type "
             "any name that timm or torchvision knows, open_clip:ARCHITECTURE/WEIGHTS for one that reads texts as "
             "well, or the path of an .onnx file."))
    with st.expander("More"), st.grid(min_column_width=220):
        size = st.number_input("Image size (pixels)", 16, 1024, None, step=32, key=KEY + "size", placeholder="its own",
                               help="Side of the square images that the network sees. Empty: the size it was made for.")
        is_mirrored = st.toggle("With the mirror image", key=KEY + "mirror",
                                help="Averaged with the features of the mirror image: a little better, twice the time. "
                                     "Not where left and right differ.")
        name = st.text_input("Name", _free_features(project, backbone), max_chars=60,
                             key=f"{KEY}name.{backbone}.{num_made}", help="Letters, digits, '-', '_' and '.'.")
    show_place(project, KEY)
    request = FeatureRequest(backbone=backbone, image_size=None if size is None else int(size),
                             is_mirrored=bool(is_mirrored))
    if kept_button("Make features", icon=":material/grain:", key=KEY + "start", about=project.path,
                   is_main=not num_made):
        try:
            with taken(KEY + "start"):
                feature_jobs.submit(project.path, str(name).strip(), request)
        except UserError as error:
            st.error(state.plain(error), icon=":material/error:")
            return
        st.rerun()


def _free_features(project: Project, backbone: str) -> str:
    """A name for features of this network that none has: the default's own, or what the network's begins with."""
    words = re.sub(r"[^A-Za-z0-9]+", "-", PurePath(backbone).name.partition(".")[0]).strip("-")
    name = DEFAULT_FEATURES if backbone == DEFAULT_BACKBONE else words[:50] or "features"
    return run_jobs.free_name(project.path / "features", name)


# -- what is there


def _live(project: Project, was_active: bool) -> None:
    state.guarded(lambda: _cards(project, was_active))


def _cards(project: Project, was_active: bool) -> None:
    found = feature_jobs.features_of(project.path)
    is_active = any(map(feature_jobs.is_under_way, found))
    if was_active and not is_active:
        runs = [run for features in found if (run := feature_jobs.run_on(project.path, features.name))]
        newest = max(runs, key=created_of, default=None)
        state.choose(run=newest.name if newest else None)  # the thing to see now; the page ticks no longer
    if is_active and not was_active:
        st.rerun()
    for features in found:
        with st.container(border=True):
            _card(project, features, feature_jobs.status_of(features))


def _card(project: Project, features: FeatureDir, status: RunStatus) -> None:
    """State, progress and the button that fits; once they are there what made them, and where they can be seen."""
    is_imported = feature_jobs.is_imported(features)
    words = "imported" if is_imported else state.plain(state_text(status))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**{state.plain(features.name)}** &nbsp; {words}", width="content")
        if status.is_active:
            st.button("Cancel", key=f"{KEY}cancel.{features.name}", icon=":material/stop:",
                      disabled=status.is_cancelling, on_click=_act, args=(project, features.name, True))
        elif status.can_resume and not is_imported:
            st.button("Resume", key=f"{KEY}resume.{features.name}", icon=":material/restart_alt:", on_click=_act,
                      args=(project, features.name, False), help="What is done stays.")
    if status.state == "running":
        done, total = status.details.get("step") or 0, status.details.get("num_steps") or 0
        st.progress(min(1.0, done / total) if total else 0.0, text=progress_text(status))
    elif status.state == "queued":
        say_queue(status)
    elif status.state == "failed":
        st.error(f"It failed: {state.plain(status.error) or 'no reason given.'}", icon=":material/error:")
    elif status.state == "interrupted":
        st.warning("Its process ended without a word. Resume makes what is missing.", icon=":material/warning:")
    if features.exists():
        _facts(project, features, can_add=not is_imported and not status.can_resume
               and not feature_jobs.is_under_way(features))


def progress_text(status: RunStatus) -> str:
    """Stage, images done, pace and time left of features that are being made."""
    details = status.details
    text = state.plain(str(details.get("stage") or "starting").capitalize())
    if details.get("num_steps"):
        text += f": {details.get('step') or 0:,} of {details['num_steps']:,}"
    if details.get("samples_per_second"):
        text += f", {details['samples_per_second']:,.0f} images a second"
    if details.get("eta_seconds"):
        text += f", about {duration_text(details['eta_seconds'])} left"
    return text


def _facts(project: Project, features: FeatureDir, can_add: bool) -> None:
    """What made them, how many samples have them, which cannot be read, and the pages that they open."""
    st.caption(_made_by(features.read_document()))
    if features.outdated:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.warning("Made when pictures were decoded otherwise: those that a camera held sideways, or with deep "
                       "colours, may count as something else here than what is shown. Runs on them rest on that.",
                       icon=":material/history:")
            if can_add:
                st.button("Make them anew", key=f"{KEY}renew.{features.name}", icon=":material/refresh:",
                          on_click=_act, args=(project, features.name, False), help="All of them; runs stay.")
    num_samples, num_have, num_new, lost = _coverage(
        str(project.path), features.name, stamp_of(project.path / MANIFEST_NAME, features.samples_path), project,
        features)
    if num_have == num_samples:
        st.markdown(f"All {num_samples:,} samples have them.")
    else:
        st.markdown(f"{num_have:,} of {num_samples:,} samples have them.")
    if len(lost):
        named = ", ".join(state.plain(name) for name in lost["sample_id"].head(MAX_NAMED))
        many = f" and {len(lost) - MAX_NAMED:,} more" if len(lost) > MAX_NAMED else ""
        reason = str(lost["reason"].iloc[0] or "no reason given")
        st.warning(f"{len(lost):,} could not be used and {'is' if len(lost) == 1 else 'are'} left out: {named}{many}. "
                   f"{state.plain(reason[:1].upper() + reason[1:])}.",
                   icon=":material/image_not_supported:")
    if num_new:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f":orange[{counted(num_new, 'sample')} added since: not on the map and not judged yet.]",
                        width="content")
            if can_add:
                st.button(f"Make them for {counted(num_new, 'new sample')}", key=f"{KEY}add.{features.name}",
                          on_click=_act, args=(project, features.name, False), icon=":material/add:")
    _links(project, features)


def _links(project: Project, features: FeatureDir) -> None:
    """To the pages, on the run that was fitted to these features; or a button that makes one."""
    run = feature_jobs.run_on(project.path, features.name)
    if run is None:
        if feature_jobs.is_under_way(features):
            st.caption("Making the map and judging the labels ...")
        else:
            st.button("Make map and suspected labels", key=f"{KEY}go.{features.name}.run",
                      icon=":material/scatter_plot:", on_click=_start_run, args=(project, features.name),
                      help="A linear discriminant on these features, out of fold. Nothing is trained.")
        return
    with st.container(horizontal=True, gap="small"):
        for page, label in (("explore", "See the map"), ("triage", "Triage"), ("audit", "Audit the labels"),
                            ("train", "Train on them")):
            st.button(label, key=f"{KEY}go.{features.name}.{page}", icon=":material/arrow_forward:",
                      on_click=state.leave_for, args=(page, run.name))


@st.cache_resource(max_entries=8, show_spinner=False)
def _coverage(path: str, name: str, stamp: Stamp, _project: Project, _features: FeatureDir
              ) -> tuple[int, int, int, pd.DataFrame]:
    """(samples of the project, those that have features, those that came since, SAMPLE_COLUMNS of those that were
    asked for and have none); read-only."""
    samples = _features.read_samples()
    here = _project.manifest()["sample_id"]
    samples = samples[samples["sample_id"].isin(here)]
    has = samples["row"] >= 0
    return len(here), int(has.sum()), len(here) - len(samples), samples[~has]


def _made_by(document: FeatureDocument) -> str:
    """The network with all that identifies it, in one line."""
    size = document.get("image_size")
    known = {"revision": document.get("revision"), "digest": (document.get("digest") or "")[:12],
             "licence": document.get("licence")}
    parts = [state.plain(document.get("backbone") or "network unknown"), f"{size} pixels" if size else "",
             "averaged with the mirror image" if document.get("is_mirrored") else "",
             f"{document.get('num_features', 0):,} numbers an image",
             *(f"{word} {state.plain(value)}" for word, value in known.items() if value)]
    return ", ".join(part for part in parts if part)


def _start_run(project: Project, name: str) -> None:
    try:
        feature_runs.begin(project.path, name)
    except UserError as error:
        st.toast(state.plain(error), icon=":material/info:")


def _act(project: Project, name: str, is_cancel: bool) -> None:
    try:
        (feature_jobs.cancel if is_cancel else feature_jobs.resume)(project.path, name)
    except JobError as error:  # it ended between the drawing and the click
        st.toast(state.plain(error), icon=":material/info:")
