"""The form that brings a data set in, on the Data page, and the button that makes the demo project.

Calls curation.sources.importing in this very script run with a progress bar: leaving the page stops the import, which
writes the project's files last, so that nothing half-made remains.
"""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from curation.jobs.feature_jobs import MAX_AT_ONCE
from curation.project import Project, projects_home
from curation.sources.images import CHECKS
from curation.sources.importing import SOURCES, Option, OptionValue, Source, import_project
from curation.views.data.features import WHAT, start_features
from curation.views.widgets import state
from curation.views.widgets.progress_bar import reporter
from engine.contract.manifest import MANIFEST_NAME
from engine.contract.run_dir import RunDirError, check_name

DEMO = "demo"
KEY = "import."
CHECK_HELP = ("What is done to the images. decode: each is read to its end; exists: each file is there; none: nothing; "
              "auto: decode up to 50,000 images, none above (a damaged one is then found when it is first used).")


def demo_button() -> None:
    """One click: make the demo project and go to it."""
    if st.button("Create the demo project", type="primary", icon=":material/rocket_launch:", key=KEY + "demo"):
        run_import(DEMO, DEMO, None, {})


def import_form() -> None:
    """Draw the form; a finished import becomes the current project."""
    with st.container(border=True):
        sources = sorted(SOURCES, key=lambda name: (name == DEMO, name == "clothing1m"))  # the general ones first
        name = st.selectbox("Kind of data", sources, format_func=lambda n: SOURCES[n].title, key=KEY + "source",
                            width=320)
        source = SOURCES[name]
        st.caption(state.plain(source.help))
        root = ""
        with st.grid(2, min_column_width=240):
            if source.needs_root:
                root = st.text_input(_root_label(source), key=KEY + "root", placeholder="/data/...",
                                     help=f"{state.plain(source.root_help)} An absolute path on the machine that runs "
                                     "this app: nothing is uploaded.").strip()
            project = st.text_input("Name of the project", DEMO if name == DEMO else "", key=f"{KEY}name.{name}",
                                    max_chars=64, help="Its folder's name. Letters, digits, '-', '_' and '.'.",
                                    placeholder="letters, digits, - _ .").strip()
        with st.expander("Options"), st.grid(min_column_width=200):
            given = {option.name: _option(name, option) for option in source.options}
            check = st.selectbox("Check of images", CHECKS, CHECKS.index("auto"), key=KEY + "check",
                                          help=CHECK_HELP)
        makes_features = st.checkbox(f"Make features at once (up to {MAX_AT_ONCE:,} images)", True,
                                     key=KEY + "features", help=state.plain(WHAT))
        may_replace = _exists(project) and st.checkbox(
            "Import again: replace the data of this project. Its decisions and runs stay.", key=KEY + "replace")
        is_pressed = st.button("Import", type="primary", icon=":material/download:", key=KEY + "start")
        st.caption("Keep this page open until the import is done; leaving it stops the import and changes nothing.")
    if is_pressed:
        problem = _refusal(source, root, project, may_replace)
        if problem:
            st.error(state.plain(problem), icon=":material/error:")
            return
        run_import(name, project, root or None, given, check, makes_features=makes_features)


def _root_label(source: Source) -> str:
    return "Table file" if source.is_root_file else "Folder"


def _option(source: str, option: Option) -> OptionValue | None:
    """The widget of one option; None leaves it to its default."""
    default = option.default
    key, label = f"{KEY}{source}.{option.name}", option.name.replace("_", " ").capitalize()
    text = state.plain(option.help)
    if option.choices:
        start = option.choices.index(str(default)) if default in option.choices else 0
        return st.selectbox(label, option.choices, start, key=key, help=text)
    if option.kind is int:
        return st.number_input(label, value=default if isinstance(default, int) else None, step=1, key=key, help=text)
    if option.kind is float:
        number = default if isinstance(default, float) else None
        return st.number_input(label, value=number, format="%g", step=0.05, key=key, help=text)
    return st.text_input(label, str(default or ""), key=key, help=text, placeholder="default").strip() or None


def _exists(project: str) -> bool:
    return bool(project) and (projects_home() / Path(project).name / MANIFEST_NAME).exists()


def _refusal(source: Source, root: str, project: str, may_replace: bool) -> str:
    """Why the form cannot be carried out, one line; "" if it can. What the data must be, the import says itself."""
    label = _root_label(source)
    if source.needs_root and not root:
        return f"An import needs a path in the field {label}; it is empty; give an absolute path."
    if source.needs_root and not Path(root).expanduser().exists():
        return (f"The field {label} must name a path on the machine that runs this app; there is none at {root}; "
                "check it.")
    try:
        check_name(project)
    except RunDirError as error:
        return f"Name of the project: {error}"
    if _exists(project) and not may_replace:
        return f"There is a project {project!r} already; choose another name, or tick that its data be replaced."
    return ""


def run_import(source: str, project: str, root: str | None, given: Mapping[str, OptionValue | None],
               check: str = "auto", *, makes_features: bool = True) -> None:
    """Import with a progress bar, begin the features of a small project, make it current and rerun the app; a refusal
    is shown in its place."""
    with st.status("Importing ...", expanded=True) as box:
        bar = st.progress(0.0, text="Starting")
        try:
            result = import_project(source, projects_home() / project, root=root, progress=reporter(bar),
                                    check=check, **given)
        except ValueError as error:
            if not state.is_ours(error):
                raise
            box.update(label="Nothing was imported", state="error")
            st.error(state.plain(error), icon=":material/error:")
            return
        box.update(label=f"Imported {result.num_loaded:,} samples", state="complete")
    findings = "one finding" if result.num_problems == 1 else f"{result.num_problems:,} findings"
    st.toast(f"Imported {result.num_loaded:,} samples, {findings} in the report.", icon=":material/check:")
    if makes_features and result.num_loaded <= MAX_AT_ONCE:
        start_features(Project.open(projects_home() / project))
    state.choose(project=project)
