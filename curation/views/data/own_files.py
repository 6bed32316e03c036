"""The Data page's form for what people made elsewhere: features, or out-of-fold predictions, in a file of numbers.

Reads the file in this very script run with a progress bar, as an import does; then has map and suspects made of
features. Checks nothing itself: curation.evidence says what is wrong with a file.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from curation.evidence.array_file import EvidenceError
from curation.evidence.features import feature_lines, import_features
from curation.evidence.predictions import import_predictions, prediction_lines
from curation.jobs import feature_runs
from curation.project import Project
from curation.sources import roots
from curation.views.data.progress_bar import reporter
from curation.views.presses import kept_button, taken
from curation.views.widgets import state
from engine.contract.errors import UserError

KEY = "own."
FEATURES, PREDICTIONS = "Features", "Out-of-fold predictions"
SUFFIXES = ("npy", "npz", "parquet", "csv")
MAX_MEGABYTES = 500
_DONE_KEY = KEY + "done"
HELP = {
    FEATURES: "Numbers that a network of yours gives each image: .npy, .npz (features and sample_id), Parquet or CSV "
              "(columns of numbers or one of lists, and sample_id).",
    PREDICTIONS: "Probabilities of the classes from models that did not see the sample's label: .npy, .npz "
                 "(probabilities and sample_id), Parquet or CSV (a column a class, in any order, and sample_id). They "
                 "become a run that Explore, Triage and Audit read."}
BY_ORDER = " Without sample_id, rows go by order: one for each sample of the project, or of split train."
Progress = Callable[[int, int, str], None]
Importer = Callable[[Path, Path, Progress], tuple[list[str], str | None]]
"""Imports a file, given a folder of its own for a while; what was found, a line each, and the run to show."""


def own_files_form(project: Project) -> None:
    """What the last import found, kind, file and name, and the button."""
    _say_done(project)
    kind = str(st.segmented_control("What", (FEATURES, PREDICTIONS), default=FEATURES, required=True, key=KEY + "kind"))
    st.caption(HELP[kind] + BY_ORDER)
    with st.grid(2, min_column_width=240):
        given = st.text_input("File on the server", key=KEY + "path", placeholder="/data/...",
                              help="An absolute path on the machine that runs this app.").strip()
        dropped = st.file_uploader("or a file from here", list(SUFFIXES), key=KEY + "upload",
                                   max_upload_size=MAX_MEGABYTES, help=f"Up to {MAX_MEGABYTES} MB: above, give a path.")
        name = st.text_input("Name", key=f"{KEY}name.{kind}", max_chars=60, placeholder="letters, digits, - _ .",
                             help="That the features, or the run, get in this project.").strip()
        act = (_features_options if kind == FEATURES else _predictions_options)(project, name)
    if kept_button(f"Import {kind.lower()}", icon=":material/upload_file:", key=KEY + "start", is_main=False,
                   about=project.path):
        _import(project, given, dropped, act)


def _features_options(project: Project, name: str) -> Importer:
    backbone = st.text_input("What made them", key=KEY + "backbone", help="Kept with them. Empty: the file's name.")
    licence = st.text_input("Licence of its weights", key=KEY + "licence", help="Kept with them.")
    is_replacing = (project.path / "features" / name).is_dir() and bool(name) and st.checkbox(
        "Replace the imported features of this name", key=KEY + "replace")

    def act(path: Path, folder: Path, report: Progress) -> tuple[list[str], str | None]:
        done = import_features(project, path, name, backbone=backbone.strip(), licence=licence.strip(),
                               is_replacing=is_replacing, progress=report)
        feature_runs.begin(project.path, name)
        return [f"Features {name} are here: map and suspected labels are being made.", *feature_lines(done)], None
    return act


def _predictions_options(project: Project, name: str) -> Importer:
    order = st.text_area("Classes in the order of the columns", key=KEY + "classes", placeholder="one a line",
                         help="Where the columns have no names. Empty: the project's order.")

    def act(path: Path, folder: Path, report: Progress) -> tuple[list[str], str | None]:
        names = folder / "classes.txt"
        names.write_text(order, encoding="utf-8")
        done = import_predictions(project, path, name, classes_file=names if order.strip() else None, progress=report)
        return [f"Run {name} holds them: Explore, Triage and Audit show it now.",
                *prediction_lines(done, project.classes)], name
    return act


def _import(project: Project, given: str, dropped: UploadedFile | None, act: Importer) -> None:
    """Import with a progress bar, then rerun the app; a refusal is shown in its place."""
    with tempfile.TemporaryDirectory(prefix="whetstone-") as made:
        folder = Path(made)
        try:
            bar = st.progress(0.0, text="Reading")
            (folder / "dropped").mkdir()
            with taken(KEY + "start", is_long=True):
                lines, run = act(_file(given, dropped, folder / "dropped"), folder, reporter(bar))
        except UserError as error:
            bar.empty()
            st.error(state.plain(str(error).replace(f"{folder}/", "")), icon=":material/error:")
            return
    with taken(KEY + "start"):
        st.session_state[_DONE_KEY] = (str(project.path), lines)
    state.choose(run=run)


def _file(given: str, dropped: UploadedFile | None, folder: Path) -> Path:
    """The file that is meant; a dropped one is written into `folder`. Raises EvidenceError unless there is just one,
    SourceError for a path outside of the allowed roots."""
    if bool(given) == (dropped is not None):
        raise EvidenceError(f"an import needs one file; got {'a path and a dropped one' if given else 'none'}; "
                            f"{'clear one of them' if given else 'give a path, or drop one'}")
    if dropped is None:
        return roots.allowed(given)
    path = folder / (Path(dropped.name.replace("\\", "/")).name or "file")
    path.write_bytes(dropped.getbuffer())
    return path


def _say_done(project: Project) -> None:
    """Of the last import into this project, once."""
    path, lines = st.session_state.get(_DONE_KEY, ("", []))
    if path == str(project.path):
        st.success("  \n".join(map(state.plain, lines)), icon=":material/check:")
        del st.session_state[_DONE_KEY]
