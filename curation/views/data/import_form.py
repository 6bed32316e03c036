"""The part of the Data page that brings a data set in: where it is, how it is read, a preview, and the import itself.

Calls curation.sources.importing in this very script run with a progress bar: leaving the page stops the import, which
writes the project's files last, so that nothing half-made remains.
"""

import contextlib
import os
import re
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from curation.jobs.feature_jobs import MAX_AT_ONCE
from curation.jobs.run_jobs import free_name
from curation.project import Project, projects_home
from curation.sources.importing import ImportResult, import_project
from curation.sources.preview import Preview
from curation.sources.reading.images import CHECKS
from curation.sources.recognise import Recognised, recognise
from curation.sources.unzip import adopt
from curation.tables.report import SourceError
from curation.views.data.browse import UPLOADS, chosen_place, dropped_place, sentence
from curation.views.data.features import WHAT, start_features
from curation.views.data.preview import (
    Asked,
    column_options,
    hold_out_form,
    other_options,
    previewed,
    show_preview,
    title_of,
)
from curation.views.data.progress_bar import reporter
from curation.views.presses import drop, kept_button, taken
from curation.views.widgets import state
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDirError, check_name
from engine.contract.stamps import stamp_of

DEMO = "demo"
KEY = "import."
PLACES = ("A folder or table on this machine", "A zip to drop here")
CHECK_HELP = ("What is done to the images. decode: each is read to its end; exists: each file is there; none: nothing; "
              "auto: decode up to 50,000 images, none above (a damaged one is then found when it is first used).")
DEMO_WORDS = "1,797 handwritten digits, a tenth of their training labels made wrong on purpose; needs no network."
_SHOWN_KEY, _DONE_KEY, _OPEN_KEY = KEY + "shown", KEY + "done", KEY + "open"


def import_section(is_first: bool) -> None:
    """Everything, at the top of the page: open while there is no project, a click away afterwards."""
    if st.session_state.pop(_DONE_KEY, False):
        st.session_state[_OPEN_KEY] = False  # out of the way: what was imported is now the thing to see
    box = st.expander("Add a data set", expanded=is_first, icon=":material/add_photo_alternate:", key=_OPEN_KEY,
                      on_change="rerun")
    if not box.open:
        return
    with box:
        if is_first:
            _demo(is_main=True)
        where = str(st.segmented_control("Where is it?", PLACES, default=PLACES[0], required=True, key=KEY + "where",
                                         persist_state="session"))
        place = chosen_place() if where == PLACES[0] else dropped_place()
        if place is not None:
            _import_from(place)
        if not is_first:
            _demo(is_main=False)


def _demo(is_main: bool) -> None:
    """One click: make the demo project and go to it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        is_pressed = kept_button("Create the demo project", icon=":material/rocket_launch:", key=KEY + "demo",
                                 is_main=is_main)
        st.caption(DEMO_WORDS, width="content")
    if is_pressed:
        name = free_name(projects_home(), DEMO)
        run_import(Asked(DEMO, Path(), {}, None), name, key=KEY + "demo")


def _import_from(place: Path) -> None:
    """What was recognised there; on demand the preview, and below it the import."""
    try:
        ways = recognise(place)
    except SourceError as error:
        st.info(f"No data set here yet. {sentence(error)}", icon=":material/info:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        way = ways[int(st.selectbox("Recognised as", range(len(ways)), format_func=lambda i: title_of(ways[i]),
                                    key=f"{KEY}way.{place}", width=300) or 0)]
        st.button("Preview", type="primary", icon=":material/visibility:", key=KEY + "preview_it",
                  help="Reads names and labels. Nothing is written.", on_click=st.session_state.__setitem__,
                  args=(_SHOWN_KEY, str(place)))
    if st.session_state.get(_SHOWN_KEY) != str(place):
        return
    try:
        _choices(place, way)
    except SourceError as error:
        drop(KEY + "start")
        st.error(sentence(error), icon=":material/error:")


def _choices(place: Path, way: Recognised) -> None:
    """Columns, splits, preview, name and the button. Raises SourceError where the data cannot be read so."""
    options = column_options(way)
    with st.expander("More"), st.grid(min_column_width=200):
        options |= other_options(way, is_zip=UPLOADS in way.root.parts)
        check = str(st.selectbox("Check of images", CHECKS, CHECKS.index("auto"), key=KEY + "check", help=CHECK_HELP))
    bar = st.empty()
    asked = Asked(way.source, way.root, options, None)
    found = _previewed(asked, bar, "Reading")
    asked = asked._replace(held_out=hold_out_form(found, _is_again(place)))
    shown = st.container()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name of the project", _suggested(place), key=f"{KEY}name.{place}", max_chars=64,
                             width=300, help="Its folder's name. Letters, digits, '-', '_' and '.'.").strip()
        is_pressed = kept_button("Import", icon=":material/download:", key=KEY + "start", about=place)
    makes_features = st.checkbox(f"Make features at once (up to {MAX_AT_ONCE:,} images)", True, key=KEY + "features",
                                 help=state.plain(WHAT))
    may_replace = _exists(name) and st.checkbox(
        "Import again: replace the data of this project. Its decisions and runs stay, and what it holds out.",
        key=KEY + "replace")
    found = _previewed(asked, bar, "Splitting", projects_home() / name if may_replace else None)
    with shown:
        show_preview(found)
    st.caption("Keep this page open until the import is done; leaving it stops the import and changes nothing.")
    if is_pressed:
        if problem := _refusal(name, may_replace):
            drop(KEY + "start")
            st.error(state.plain(problem), icon=":material/error:")
            return
        run_import(asked, name, check, key=KEY + "start", makes_features=makes_features)


def _previewed(asked: Asked, bar: DeltaGenerator, doing: str, project: Path | None = None) -> Preview:
    """The preview, its progress in the place `bar`, which is empty afterwards. Raises SourceError."""
    try:
        return previewed(asked, reporter(bar.progress(0.0, text=doing)), project)
    finally:
        bar.empty()


def _suggested(place: Path) -> str:
    """A free name, after the folder."""
    folder = place if place.is_dir() else place.parent
    stem = "photos" if folder.parent.name == UPLOADS else re.sub(r"[^A-Za-z0-9_-]+", "-", folder.name).strip("-_")
    return free_name(projects_home(), stem[:50] or "photos")


def _is_again(place: Path) -> bool:
    """Whether the form below asks to replace a project that is there, before it is drawn."""
    name = str(st.session_state.get(f"{KEY}name.{place}", ""))
    return bool(st.session_state.get(KEY + "replace")) and _exists(name.strip())


def _exists(project: str) -> bool:
    return bool(project) and (projects_home() / Path(project).name / MANIFEST_NAME).exists()


def _refusal(project: str, may_replace: bool) -> str:
    """Why the name cannot be taken, one line; "" if it can."""
    try:
        check_name(project)
    except RunDirError as error:
        return f"Name of the project: {error}"
    if _exists(project) and not may_replace:
        return f"There is a project {project!r} already; choose another name, or tick that its data be replaced."
    return ""


def run_import(asked: Asked, project: str, check: str = "auto", *, key: str, makes_features: bool = True) -> None:
    """Import with a progress bar, begin the features of a small project, make it current and rerun the app; a refusal
    is shown in its place. key: of the button that was pressed."""
    folder, problem = projects_home() / project, ""
    bar = st.progress(0.0, text="Starting")
    try:
        with taken(key, is_long=True):
            result = _imported(asked, folder, check, bar)
    except SourceError as error:
        problem = sentence(error)
    bar.empty()
    if problem:
        st.error(f"**Nothing was imported.** {problem}", icon=":material/error:")
        return
    findings = "one finding" if result.num_problems == 1 else f"{result.num_problems:,} findings"
    st.toast(f"Imported {result.num_loaded:,} samples, {findings} in the report.", icon=":material/check:")
    if makes_features and result.num_loaded <= MAX_AT_ONCE:
        start_features(Project.open(folder))
    for key in (_SHOWN_KEY, KEY + "preview"):
        st.session_state.pop(key, None)
    st.session_state[_DONE_KEY] = True
    state.choose(project=project)


def _imported(asked: Asked, folder: Path, check: str, bar: DeltaGenerator) -> ImportResult:
    """The import; what was unpacked from a zip moves into the project first, and back where it did not come to its end:
    nothing can be loaded, or the page was left, which ends the script wherever it is. Raises SourceError."""
    uploads, root, staged, moved = (projects_home() / UPLOADS).resolve(), asked.root, Path(), Path()
    is_zip = asked.source != DEMO and root.resolve().is_relative_to(uploads)
    if is_zip:
        staged = uploads / root.resolve().relative_to(uploads).parts[0]
        moved = adopt(staged, folder)
        root = moved / root.resolve().relative_to(staged)
    before = stamp_of(folder / MANIFEST_NAME)
    try:
        return import_project(asked.source, folder, root=None if asked.source == DEMO else root,
                              progress=reporter(bar), check=check, held_out=asked.held_out, **asked.options)
    except BaseException:
        if is_zip and stamp_of(folder / MANIFEST_NAME) == before:
            os.replace(moved, staged)
            with contextlib.suppress(OSError):  # a project that is there stays
                folder.rmdir()
        raise
