"""The form that brings a data set in, on the Data page, and the button that makes the demo project.

Calls curation.sources in this very script run with a progress bar: leaving the page stops the import, which writes its
manifest last, so that nothing half-made remains visible.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from curation.project import projects_home
from curation.sources import import_project
from curation.views import state
from engine.manifest import MANIFEST_NAME
from engine.rundir import RunDirError, check_name

DEMO = "demo"
KEY = "import."


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """What the form asks for one source: its title, what it expects, what `root` is, and its own options."""

    title: str
    help: str
    root_label: str = ""
    root_help: str = ""
    options: tuple[tuple[str, str, str], ...] = ()
    """(option of load(), label, help) of text fields; an empty field leaves the option to its default."""


FORMS = {
    "imagefolder": Form(
        title="Image folders",
        help="ROOT/CLASS/image, or ROOT/SPLIT/CLASS/image with splits named train, val (or clean) and test.",
        root_label="Folder", root_help="Absolute path on the machine that runs this app."),
    "table": Form(
        title="Table (CSV, TSV, Parquet, JSON Lines)",
        help="One row an image: a path, a label, and any other columns, which ride along. Usual column names are "
             "recognised; name the others below.",
        root_label="Table file", root_help="Absolute path on the machine that runs this app.",
        options=(("image_root", "Image root", "Folder that the paths are relative to. Empty: the table's folder."),
                 ("path_column", "Path column", "Empty: recognised by its usual names."),
                 ("label_column", "Label column", "Empty: recognised by its usual names."),
                 ("split_column", "Split column", "Holds train, clean (or val) and test. Empty: recognised; without "
                  "one every row is train."),
                 ("clean_label_column", "True label column", "Known truth, used for scoring alone. Empty: recognised."),
                 ("group_column", "Group column", "Domain or subgroup, for worst-group figures. Empty: recognised."),
                 ("id_column", "Id column", "Stable name of a sample. Empty: its path."))),
    "clothing1m": Form(
        title="Clothing1M layout",
        help="Key lists and label files of text (at the root or under annotations/) beside a tree of images. Images "
             "with both a noisy and a clean label are joined.",
        root_label="Folder", root_help="Absolute path on the machine that runs this app."),
    "demo": Form(
        title="Demo: handwritten digits",
        help="scikit-learn's 1,797 real handwritten digits, 8x8 pixels, a tenth of the training labels made wrong "
             "on purpose. Needs no network."),
}
"""The sources that the form offers, in this order; each is a module of curation.sources."""


def demo_button() -> None:
    """One click: make the demo project and go to it."""
    if st.button("Create the demo project", type="primary", icon=":material/rocket_launch:", key=KEY + "demo"):
        run_import(DEMO, DEMO, None, {})


def import_form() -> None:
    """Draw the form; a finished import becomes the current project."""
    with st.container(border=True):
        source = st.selectbox("Kind of data", list(FORMS), format_func=lambda name: FORMS[name].title,
                              key=KEY + "source", width=380)
        form = FORMS[source]
        st.caption(form.help)
        root = ""
        with st.grid(2, min_column_width=260):
            if form.root_label:
                root = st.text_input(form.root_label, key=KEY + "root", help=form.root_help,
                                     placeholder="/data/...").strip()
            name = st.text_input("Name of the project", DEMO if source == DEMO else "", key=f"{KEY}name.{source}",
                                 max_chars=64, help="Its folder's name. Letters, digits, '-', '_' and '.'.",
                                 placeholder="letters, digits, - _ .").strip()
        given = {}
        if form.options:
            with st.expander("Columns and image root"), st.grid(min_column_width=200):
                given = {option: st.text_input(label, key=f"{KEY}{source}.{option}", help=text).strip()
                         for option, label, text in form.options}
        may_replace = bool(name) and (projects_home() / Path(name).name / MANIFEST_NAME).exists() and st.checkbox(
            "Import again: replace the data of this project. Its decisions and runs stay.", key=KEY + "replace")
        is_pressed = st.button("Import", type="primary", icon=":material/download:", key=KEY + "start")
        st.caption("The import opens no page of its own: keep this one open until it is done. Leaving it stops the "
                   "import.")
    if is_pressed:
        problem = _refusal(form, root, name, may_replace)
        if problem:
            st.error(state.plain(problem), icon=":material/error:")
            return
        run_import(source, name, root or None, {k: v for k, v in given.items() if v})


def _refusal(form: Form, root: str, name: str, may_replace: bool) -> str:
    """Why the form cannot be carried out, one line; "" if it can."""
    if form.root_label and not root:
        return f"An import needs a path in the field {form.root_label}; it is empty; give an absolute path."
    if form.root_label and not Path(root).expanduser().exists():
        return (f"The field {form.root_label} must name a path on the machine that runs this app; there is none at "
                f"{root}; check it.")
    try:
        check_name(name)
    except RunDirError as error:
        return str(error)
    if (projects_home() / name / MANIFEST_NAME).exists() and not may_replace:
        return f"There is a project {name!r} already; choose another name, or tick that its data be replaced."
    return ""


def run_import(source: str, name: str, root: str | None, options: dict[str, Any]) -> None:
    """Import with a progress bar and make the project current. Reruns the app at the end; shows a refusal instead."""
    with st.status("Importing ...", expanded=True) as box:
        bar = st.progress(0.0, text="Starting")
        try:
            result = import_project(source, projects_home() / name, root=Path(root).expanduser() if root else None,
                                    progress=_reporter(bar), **options)
        except ValueError as error:
            if not state.is_ours(error):
                raise
            box.update(label="Nothing was imported", state="error")
            st.error(state.plain(error), icon=":material/error:")
            return
        box.update(label=f"Imported {result.num_loaded:,} samples", state="complete")
    st.toast(f"Imported {result.num_loaded:,} samples, {result.num_problems:,} findings.", icon=":material/check:")
    state.choose(project=name)


def _reporter(bar: Any) -> Callable[[int, int, str], None]:
    """A progress callback that redraws the bar at most ten times a second."""
    last_drawn, last_message = 0.0, ""

    def report(done: int, total: int, message: str) -> None:
        nonlocal last_drawn, last_message
        now = time.monotonic()
        if now - last_drawn < 0.1 and done < total and message == last_message:
            return
        last_drawn, last_message = now, message
        share = min(1.0, done / total) if total else 0.0
        bar.progress(share, text=state.plain(f"{message.capitalize()}: {done:,} of {total:,}"))

    return report
