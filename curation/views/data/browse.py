"""Where the data are: a folder or table in the allowed folders of the server, or a zip that is dropped here."""

import hashlib
import shutil
from pathlib import Path

import streamlit as st

from curation.project import imported_from, projects_home
from curation.sources import roots
from curation.sources.unzip import MAX_BYTES, MAX_FILES, drop_older, unpack
from curation.tables.report import SourceError
from curation.views.widgets import state
from curation.words import counted

KEY = "import."
PATH_KEY = KEY + "root"
UPLOADS = ".uploads"
MAX_SHOWN = 300
MAX_ZIP_MEGABYTES = 500
KEPT_SECONDS = 24 * 3600.0
"""How long an unpacked zip waits to be imported."""
_UNPACKED_KEY = KEY + "unpacked"


def chosen_place() -> Path | None:
    """The browser: a path to type, what lies there to click. The folder or file chosen; None where that is none."""
    try:
        start = roots.start(imported_from(projects_home()))
        st.session_state.setdefault(PATH_KEY, str(start))
        text = st.text_input("Folder or table", key=PATH_KEY, placeholder="/data/...", persist_state="session",
                             help="On the machine that runs this app: nothing is copied. Type a path, or click below.")
        place, problem = _allowed(str(text))
        if problem:
            st.error(problem, icon=":material/error:")
        shown = place or start
        folder = shown if shown.is_dir() else shown.parent
        _entries(folder, roots.listing(folder))
    except SourceError as error:
        st.error(sentence(error), icon=":material/error:")
        return None
    return place


def _allowed(text: str) -> tuple[Path | None, str]:
    """(the place, ""), or (None, why it is none): then one looks on from the start."""
    try:
        return roots.allowed(text), ""
    except SourceError as error:
        return None, sentence(error)


def sentence(error: Exception) -> str:
    """A refusal as a sentence, its text shown as it is."""
    text = str(error)
    return state.plain(f"{text[:1].upper()}{text[1:]}.")


def _entries(folder: Path, here: roots.Listing) -> None:
    """The way up, folders and tables as buttons, the rest as counts."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="import_places"):
        above = folder.parent
        is_top = folder == above or not any(above.is_relative_to(root) for root in roots.allowed_roots())
        st.button("Up", key=KEY + "up", icon=":material/arrow_upward:", disabled=is_top, on_click=_go, args=(above,))
        if len(found := roots.allowed_roots()) > 1:
            for root in found:
                st.button(state.plain(str(root)), key=f"{KEY}to.{root}", icon=":material/hard_drive:", on_click=_go,
                          args=(root,), type="tertiary")
        many = ", the first 100,000 names looked at" if here.is_cut else ""
        counts = [counted(num, word) for num, word in
                  ((len(here.folders), "folder"), (here.num_images, "image"), (len(here.tables), "table"))]
        st.caption(", ".join(counts) + many, width="content")
    names = [(name, "folder") for name in here.folders] + [(name, "table_chart") for name in here.tables]
    if not names:
        return
    with st.container(height=min(210, 60 + 40 * (-(-len(names) // 4))), border=True), st.grid(min_column_width=200,
                                                                                              gap="small"):
        for name, icon in names[:MAX_SHOWN]:
            st.button(state.plain(name), key=f"{KEY}entry.{name}", icon=f":material/{icon}:", type="tertiary",
                      on_click=_go, args=(folder / name,))
    if len(names) > MAX_SHOWN:
        st.caption(f"The first {MAX_SHOWN} of {len(names):,} are shown: type the path of another.")


def _go(place: Path) -> None:
    st.session_state[PATH_KEY] = str(place)


def dropped_place() -> Path | None:
    """The zip, unpacked beside the projects once; the folder it lies in. None before one is dropped, or where it is
    refused, which is said."""
    file = st.file_uploader(
        "Zip of a data set", type="zip", key=KEY + "zip", max_upload_size=MAX_ZIP_MEGABYTES,
        help=f"Up to {MAX_ZIP_MEGABYTES} MB, {MAX_FILES:,} files and {MAX_BYTES >> 30} GB unpacked. Images, tables and "
             "text files are taken. For more, copy the folder to the machine that runs this app.")
    if file is None:
        return None
    token, folder = st.session_state.get(_UNPACKED_KEY, ("", Path()))
    if token == file.file_id and folder.is_dir():
        return Path(folder)
    uploads = projects_home() / UPLOADS
    drop_older(uploads, KEPT_SECONDS)
    target = uploads / hashlib.sha256(file.file_id.encode()).hexdigest()[:16]
    shutil.rmtree(target, ignore_errors=True)
    bar = st.progress(0.0, text="Unpacking")

    def report(done: int, total: int) -> None:
        if done % 50 == 0 or done == total:
            bar.progress(done / total, text=f"Unpacking: {done:,} of {total:,}")

    try:
        found = unpack(file, target, report)
    except SourceError as error:
        st.error(sentence(error), icon=":material/error:")
        return None
    finally:
        bar.empty()
    st.session_state[_UNPACKED_KEY] = (file.file_id, found.folder)
    if found.num_left_out:
        st.caption(f"{found.num_left_out:,} files of it are neither images nor tables nor text and were left out.")
    return found.folder
