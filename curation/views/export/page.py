"""The Export page: what leaves the project, a preview of it, and the folder it was written to.

Writing is the work of curation.exports.exporting; this page asks, shows and reports.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from curation.audit.reviews.known_labels import decided_labels, with_labels
from curation.exports.curated import DEFINITION, curated_validation
from curation.exports.exporting import EXPORTS, Export, default_target, export
from curation.exports.metadata import Metadata, carried_words
from curation.exports.pictures import Placing
from curation.exports.staging import ExportError, ExportResult
from curation.jobs import run_jobs
from curation.project import Project
from curation.views.explore.linking import doubt_line
from curation.views.export.transfer import transfer_section
from curation.views.presses import drop, kept_button, taken
from curation.views.runs.routing_hint import routing_hint
from curation.views.runs.run_table import duration_text
from curation.views.widgets import state
from curation.views.widgets.layout import side_by_side, style, table_height
from curation.words import counted
from engine.contract.inside import inside
from engine.contract.run_dir import RunDir, check_name
from engine.contract.transfers.transfer_dir import TransferScore

PREVIEW_ROWS = 10
MAX_DOWNLOAD_BYTES = 20_000_000
_LAST_KEY = "export.last"
_FIRST_COLUMNS = ("sample_id", "given_label", "current_label", "corrected_label", "pin", "margin", "p_train",
                  "label_quality", "weight", "role_reason")
_PLACED: dict[tuple[Placing, Metadata], str] = {
    ("copy", "strip"): "Copy, to share", ("copy", "keep"): "Copy, byte for byte", ("hardlink", "keep"): "Hard links",
    ("symlink", "keep"): "Symbolic links"}
_CORRECTED = {"table": " Every label that a person changed, with who, when and why.",
              "clothing1m": " Every label that a person confirmed or changed, and every sample left out."}
"""What the rows of a preview are, by format."""


def page() -> None:
    st.title("Export")
    style()
    st.caption("What leaves the project: a new folder, for other tools and for training elsewhere.")
    project = state.need_project()
    run = state.current_run(project)
    kinds = list(EXPORTS)
    chosen = st.selectbox("What", kinds, format_func=lambda kind: EXPORTS[kind].title, key="export.what",
                          width=480, persist_state="session")
    kind = EXPORTS[chosen]
    st.caption(kind.help)
    if kind.needs_run and (run is None or not run.signals_path.exists()):
        state.empty_state("This export needs a run with results.", "It holds what a run routed to validation, as "
                          "edited by your decisions. Start a run, or watch it, on the Train page.",
                          link=("train", "Go to Train"))
        _offer_corrections(project)
        return
    try:
        scores = _preview(project, run, *chosen)
    except ExportError as error:
        _nothing(project, run if kind.needs_run else None, error)
        _result(project)
        return
    _write(project, run, chosen, kind)
    _result(project)
    if kind.needs_run and run is not None:
        transfer_section(project, run, scores)


# -- before


def _preview(project: Project, run: RunDir | None, what: str, form: str) -> tuple[TransferScore, ...]:
    """Counts and first rows of what would be written; the set's transfer scores. Raises ExportError where it is
    nothing."""
    scores: tuple[TransferScore, ...] = ()
    if what == "corrected-labels":
        rows = _corrections(project, form)
        labels = rows["corrected_label"]
    else:
        assert run is not None, "a curated set needs a run"
        curated = curated_validation(project, run)
        rows, labels, scores = curated.frame, curated.frame["current_label"], curated.transfer
    st.header("Preview")
    counts = labels.value_counts().reindex(list(project.classes), fill_value=0)
    left, right = side_by_side("export", [1, 3])
    with left:
        st.metric("Samples", f"{len(rows):,}")
        st.dataframe(counts.rename_axis("class").rename("samples").reset_index(), hide_index=True,
                     height=table_height(len(counts)))
    if what != "corrected-labels":
        doubt_line(project, run, list(rows["sample_id"]), "export.doubt")
    if what != "corrected-labels" and run is not None and run_jobs.status_of(run).state != "done":
        st.warning(f"The run {state.plain(run.name)} has not ended: this is its state after the last epoch that did, "
                   "and another epoch changes it.", icon=":material/warning:")
    with right:
        first = [name for name in _FIRST_COLUMNS if name in rows]
        st.dataframe(rows[[*first, *(name for name in rows if name not in first)]].head(PREVIEW_ROWS), hide_index=True,
                     placeholder="")
        st.caption(f"The first {min(PREVIEW_ROWS, len(rows))} of {len(rows):,} rows." + (
            f" From run {state.plain(run.name)} under the decisions in force now." if what != "corrected-labels"
            and run is not None else _CORRECTED[form]))
        if what != "corrected-labels":
            with st.expander("What is in this set"):
                st.markdown(DEFINITION.strip())
    return scores


def _nothing(project: Project, run: RunDir | None, error: ExportError) -> None:
    """Why there is nothing to write, and what there is instead. run: of an export that needs one."""
    if run is None:
        st.info(state.plain(error), icon=":material/info:")
        state.link_to("triage", "Go to Triage")
        return
    st.info(f"The hard validation set of {state.plain(run.name)} is empty: it holds what the run routed to validation "
            "and what is pinned there.", icon=":material/info:")
    routing_hint(project, run)
    _offer_corrections(project)


def _offer_corrections(project: Project) -> None:
    """Where people have changed labels: that these can be exported, whatever the run did."""
    try:
        num = len(_corrections(project, "table"))
    except ExportError:
        return
    st.button(f"Export {counted(num, 'corrected label')} instead", key="export.corrections",
              icon=":material/edit_note:", on_click=st.session_state.__setitem__,
              args=("export.what", ("corrected-labels", "table")))


def _corrections(project: Project, form: str) -> pd.DataFrame:
    """The rows about which the export says something of its own. Raises ExportError where there is none."""
    decided = decided_labels(project)
    table = state.samples_cached(project, None)
    is_decided = table.has_ids(decided["sample_id"])
    rows = with_labels(table.rows(np.flatnonzero(is_decided), ["sample_id", "given_label"]), decided)
    if form == "table":
        rows = rows[rows["is_changed"]]
        wanted = "changed to another class: relabel some first"
    else:
        rows = rows[rows["is_known"] | rows["is_excluded"]]
        wanted = "confirmed, changed or left out: review some samples first"
    if rows.empty:
        raise ExportError(f"Nothing to export yet. No label has been {wanted}.")
    return rows.drop(columns="is_known")


def _write(project: Project, run: RunDir | None, chosen: tuple[str, str], kind: Export) -> None:
    """Folder name and button."""
    suggested = default_target(project, run if kind.needs_run else None, *chosen).name
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Folder", suggested, key=f"export.name.{suggested}", max_chars=64, width=360,
                             help="A new folder in the project's exports: letters, digits, '-', '_' and '.'.")
        placed: tuple[Placing, Metadata] = ("copy", "strip")
        if kind.has_pictures:
            ways = [way for way in _PLACED if kind.has_files or way[0] == "copy"]
            placed = st.selectbox("Pictures", ways, format_func=lambda way: _PLACED[way], width=220,
                                  key=f"export.placing.{len(ways)}", persist_state="session",
                                  help="To share: upright, without what the files say of places, owners and cameras. "
                                       "Byte for byte: with all of that. A link is the data's own file: it costs no "
                                       "space, changes with the data and says all that it says.")
        is_pressed = kept_button("Export", icon=":material/ios_share:", key="export.write",
                                 about=(project.path, run and run.name, chosen))
    st.caption(f"Goes to `{project.path / 'exports'}`. Nothing of the project is changed.")
    if not is_pressed:
        return
    bar, began = st.progress(0.0, "Exporting ..."), time.monotonic()
    st.button("Cancel", icon=":material/close:", key="export.cancel", on_click=drop, args=("export.write",))
    with taken("export.write", is_long=True):
        target = inside(project.path, "exports") / check_name((name or "").strip())
        result = export(project, run if kind.needs_run else None, *chosen, target,
                        lambda done, total: _tick(bar, done, total, began), placed[0],
                        placed[1] if kind.has_pictures else None)
    with taken("export.write"):
        st.session_state[_LAST_KEY] = (str(project.path), result)
    st.rerun()


def _tick(bar: st.delta_generator.DeltaGenerator, done: int, total: int, began: float) -> None:
    """Show progress about a hundred times, whatever the total, with the time left. began: by the monotonic clock."""
    if done == total or done % max(1, total // 100) == 0:
        left = (time.monotonic() - began) * (total - done) / max(done, 1)
        words = f", {duration_text(left)} left" if 0 < done < total else ""
        bar.progress(done / max(total, 1), f"Exported {done:,} of {total:,}{words}")


# -- after


def _result(project: Project) -> None:
    """The export written last, in this session."""
    path, result = st.session_state.get(_LAST_KEY, ("", None))
    if path != str(project.path) or not isinstance(result, ExportResult) or not result.path.is_dir():
        return
    st.header("Written")
    st.success(f"{counted(result.num_samples, 'sample')} in {state.plain(result.path.name)}.", icon=":material/check:")
    st.code(str(result.path), language=None)
    files = files_of(result.path)
    in_folders = files["file"].str.count("/").gt(1)  # pictures, by class
    shown = files[~in_folders]
    num_images = len(files) - len(shown)
    st.dataframe(shown, hide_index=True, column_config={"bytes": st.column_config.NumberColumn("size", format="bytes")})
    if num_images:
        st.caption(f"and {counted(num_images, 'picture')} in one folder per class.")
    for line in carried_words(result.carried) if result.carried else ():
        st.caption(state.plain(line))
    if len(result.problems):
        st.warning(f"There was a problem with {counted(len(result.problems), 'sample')}; problems.csv says what.",
                   icon=":material/warning:")
    _downloads(result.path, shown)


def files_of(folder: Path) -> pd.DataFrame:
    """Every file of an export with its size: file (relative, with /), bytes."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return pd.DataFrame({"file": pd.Series([path.relative_to(folder).as_posix() for path in found], dtype="str"),
                         "bytes": [path.stat().st_size for path in found]})


def _downloads(folder: Path, files: pd.DataFrame) -> None:
    """Buttons for the tables that are small enough to pass through the browser."""
    is_offered = files["file"].str.endswith((".csv", ".parquet", "_kv.txt", "_list.txt"))
    tables = files[is_offered & (files["bytes"] <= MAX_DOWNLOAD_BYTES)]
    with st.container(horizontal=True):
        for name in tables["file"]:
            st.download_button(f"Download {name.rpartition('/')[2]}", (folder / name).read_bytes,
                               file_name=name.rpartition("/")[2], key=f"export.download.{name}", on_click="ignore",
                               icon=":material/download:")
