"""The Data page: bring data in, and see what is in the project: counts, pictures, what the import found wrong."""

import html

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from curation.jobs import feature_jobs
from curation.ledger import people
from curation.project import Project
from curation.views.damaged import show_damaged
from curation.views.data.features import features_section
from curation.views.data.import_form import import_section
from curation.views.widgets import state
from curation.views.widgets.accuracy import facts_of, labels_words
from curation.views.widgets.layout import next_step, style
from curation.views.widgets.palette import INK, SERIES, SET_BACK
from curation.views.widgets.pictures import show_pictures
from curation.words import counted
from engine.contract.manifest import MANIFEST_NAME, SPLITS
from engine.contract.stamps import Stamp, stamp_of

MAX_BARS = 30
MAX_REPORT_ROWS = 5000
SPLIT_HELP = {"train": "Samples that a run trains on or routes to validation.",
              "clean": "Samples to watch accuracy on while training.",
              "test": "Samples for the final figure, read once at a run's end."}


def page() -> None:
    st.title("Data")
    style()
    project = state.current_project()
    if project is None:
        st.markdown("**Begin here.** Whetstone needs a data set of labelled images: a folder of images for each class, "
                    "a table of paths and labels, what another tool wrote (COCO, Hugging Face, Label Studio ...), or "
                    "a zip of one of these.")
    if people.may("owner"):  # the form looks into the machine's folders
        import_section(is_first=project is None)
    if project is None:
        return
    labels = _labels(project)
    _overview(project, labels)
    features_section(project)
    show_damaged(feature_jobs.damaged_features(project.path), "folder of features", "folders of features")
    _classes(project, labels)
    _pictures(project, labels)
    _import_report(project)
    _next(project)


def _next(project: Project) -> None:
    run = state.current_run(project)
    if run is not None and run.signals_path.exists():
        next_step("see where the hard and the probably mislabeled samples lie.", ("explore", "Explore the map", None),
                  ("triage", "Start triage", None))
    elif state.features_under_way(project):
        next_step("the features are being made; Explore shows the map once they are done.",
                  ("explore", "Explore the map", None))
    else:
        next_step("make features above, which takes minutes and needs no settings; or train.",
                  ("train", "Go to Train", None))


# -- reading


def _labels(project: Project) -> pd.DataFrame:
    """sample_id, split, given_label, clean_label of every sample; cached by the manifest's time, read-only."""
    return _read_labels(stamp_of(project.path / MANIFEST_NAME), project)


@st.cache_resource(max_entries=2, show_spinner="Reading the manifest ...")
def _read_labels(stamp: Stamp, _project: Project) -> pd.DataFrame:
    rows = _project.manifest()
    classes = list(_project.classes)
    known = rows["clean_label"] if "clean_label" in rows else pd.Series(None, index=rows.index, dtype=object)
    return pd.DataFrame({
        "sample_id": rows["sample_id"], "split": pd.Categorical(rows["split"], list(SPLITS)),
        "given_label": pd.Categorical(rows["given_label"], classes), "clean_label": pd.Categorical(known, classes)})


# -- what is in the project


def _overview(project: Project, labels: pd.DataFrame) -> None:
    counts = labels["split"].value_counts()
    train = labels[labels["split"] == "train"]
    known = train["clean_label"].notna()
    st.caption(f"Project {state.plain(project.name)}, imported from {state.plain(project.info.source)}; images in "
               f"{state.plain(project.root)}. Whetstone finds the hard samples and the probably mislabeled ones among "
               "these: make features, Explore what they show, Triage and Audit the suspects, Train, Compare, Export.")
    if project.links_out:
        st.warning(f"{state.plain(', '.join(project.links_out))}: a link that leads out of the project, which is not "
                   "followed: nothing is read or written there. Put the folder itself in its place.",
                   icon=":material/link_off:")
    with st.grid(min_column_width=112, gap="small"):
        st.metric("Samples", f"{len(labels):,}")
        st.metric("Classes", f"{len(project.classes):,}")
        for split in SPLITS:
            st.metric(split.capitalize(), f"{int(counts[split]):,}",
                      help=SPLIT_HELP[split] + labels_words(project, split))
        if known.any():
            wrong = (train["clean_label"].astype(object) != train["given_label"].astype(object))[known]
            st.metric("Wrong labels", f"{wrong.mean():.1%}", help=_wrong_help(project, int(known.sum())))
        st.metric("Import findings", f"{len(project.import_report()):,}",
                  help="Files and lines that the import skipped or found odd; listed below.")
    facts = facts_of(project)
    drawn = [split.capitalize() for split in SPLITS if split in project.held_out and facts.is_as_given(split)]
    if drawn:
        st.caption(f":material/info: **{' and '.join(drawn)}: held out, labels as given.** The import drew them, and "
                   "their labels have not been checked: accuracy on them says how often a run agrees with the labels "
                   "in the data, wrong ones included.")
    for split in SPLITS:
        if not counts[split]:
            st.info(f"There is no {split} split. " + {
                "train": "A run needs one: import the data again with training samples.",
                "clean": "Accuracy while training will be missing. Import the data again and hold one out.",
                "test": "The final accuracy will be missing. Import the data again and hold one out."}[split],
                icon=":material/info:")


def _wrong_help(project: Project, num_known: int) -> str:
    """What the share of wrong labels is of, with its interval where the import worked one out."""
    text = (f"Of the {num_known:,} training samples whose true label is known, the share with another given label. The "
            "truth is used for scoring alone.")
    found = project.details.get("disagreement")
    if found and "low" in found and "high" in found:
        text += f" 95% interval for the whole: {found['low']:.1%} to {found['high']:.1%}."
    return text


def _classes(project: Project, labels: pd.DataFrame) -> None:
    st.header("Classes")
    present = [split for split in SPLITS if (labels["split"] == split).any()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = st.segmented_control("Split", present, default=present[0], required=True, key="data.split",
                                     persist_state="session") or present[0]
        order = st.segmented_control("Order", ["as in the data", "largest first", "most wrong first"],
                                     default="as in the data", required=True, key="data.order",
                                     persist_state="session")
    counts = class_counts(labels[labels["split"] == split])
    if order == "largest first":
        counts = counts.sort_values("given", ascending=False, kind="stable")
    elif order == "most wrong first":
        counts = counts.sort_values("wrong", ascending=False, kind="stable")
    shown = counts.head(MAX_BARS)
    st.plotly_chart(_class_chart(shown), key="data.classes", config={"displayModeBar": False})
    more = f" The first {MAX_BARS} of {len(counts):,} classes are shown." if len(counts) > MAX_BARS else ""
    has_truth = bool(counts["known"].sum())
    st.caption("Number of samples by class. " + (
        "Bars: samples that carry the class as their given label, split by what the truth says where it is known. "
        "Ticks: samples whose true label is the class, among those with a known truth." if has_truth else
        "Bars: samples that carry the class as their given label; their true labels are not known.") + more)
    with st.expander("Counts as a table"):
        st.dataframe(counts.rename_axis("class").reset_index(), hide_index=True, column_config={
            "class": "Class", "given": st.column_config.NumberColumn("Given label", format="localized"),
            "known": st.column_config.NumberColumn("Truth known", format="localized"),
            "wrong": st.column_config.NumberColumn("Of those, wrong", format="localized"),
            "true": st.column_config.NumberColumn("True label", format="localized"),
            "wrong_share": st.column_config.NumberColumn("Wrong share", format="percent")})


def class_counts(labels: pd.DataFrame) -> pd.DataFrame:
    """By class: given (so labelled), known (of them with a known truth), wrong (of those), true, wrong_share."""
    given, truth = labels["given_label"], labels["clean_label"]
    known = truth.notna()
    wrong = known & (given.astype(object) != truth.astype(object))
    counts = pd.DataFrame({
        "given": given.value_counts(sort=False), "known": given[known].value_counts(sort=False),
        "wrong": given[wrong].value_counts(sort=False), "true": truth.value_counts(sort=False)})
    counts["wrong_share"] = counts["wrong"] / counts["known"].where(counts["known"] > 0)
    return counts.set_axis(counts.index.astype(object))


def _class_chart(counts: pd.DataFrame) -> go.Figure:
    """Horizontal bars, so that long class names neither turn nor get cut."""
    # Numbers on the axis, names as its tick texts: two classes may look alike once shortened and must not merge.
    y = np.arange(len(counts))
    names = [html.escape(name if len(name) <= 30 else name[:29] + "...", quote=False) for name in counts.index]
    right, unknown = counts["known"] - counts["wrong"], counts["given"] - counts["known"]
    figure = go.Figure()
    for values, name, color in ((right, "given, right", SERIES[0]), (counts["wrong"], "given, wrong", SERIES[1]),
                                (unknown, "given, truth unknown", SET_BACK)):
        if values.sum():
            figure.add_bar(y=y, x=values, name=name, marker={"color": color}, customdata=names, orientation="h",
                           hovertemplate="%{customdata}: %{x:,}")
    if counts["known"].sum():
        figure.add_scatter(y=y, x=counts["true"], name="true label", mode="markers", customdata=names,
                           marker={"symbol": "line-ns", "size": 15, "line": {"width": 2.5, "color": INK}},
                           hovertemplate="%{customdata}: %{x:,}")
    figure.update_layout(
        barmode="stack", height=max(180, 100 + 23 * len(y)), bargap=0.3, margin={"l": 4, "r": 12, "t": 4, "b": 4},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        yaxis={"tickvals": y, "ticktext": names, "range": [len(y) - 0.4, -0.6], "automargin": True, "showgrid": False},
        xaxis={"title": {"text": "samples", "standoff": 6}, "tickformat": ",", "rangemode": "tozero", "showgrid": True})
    return figure


# -- pictures


def _pictures(project: Project, labels: pd.DataFrame) -> None:
    st.header("Pictures")
    st.fragment(_draw_pictures)(project, labels)


def _draw_pictures(project: Project, labels: pd.DataFrame) -> None:
    present = [split for split in SPLITS if (labels["split"] == split).any()]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox("Class", [None, *project.classes], key="data.class", width=240, persist_state="session",
                            format_func=lambda choice: "(every class)" if choice is None else choice)
        split = st.selectbox("From split", present, key="data.picture_split", width=140, persist_state="session")
        what = st.selectbox("Labels", ["any", "wrong ones"], key="data.picture_labels", width=140,
                            persist_state="session", help="Wrong: the given label differs from a known true one.")
        draw = st.number_input("Draw", 1, 10_000, 1, key="data.draw", width=120, persist_state="session",
                               help="Another number draws other samples; the same number the same ones.")
    chosen = pick_samples(labels, name, split, what == "wrong ones", int(draw))
    if chosen.empty:
        st.caption("No sample fits: choose another class, split or kind of label.")
        return
    show_pictures(project, [
        (str(row.sample_id), str(row.given_label), f"truth: {row.clean_label}" if is_known_wrong(row) else "")
        for row in chosen.itertuples()])
    st.caption("Drawn at random, in the order of the classes. Captions give the label in the data, and the true label "
               "where it is known to differ.")


def is_known_wrong(row: object) -> bool:
    clean_label = getattr(row, "clean_label", None)
    return bool(pd.notna(clean_label)) and clean_label != getattr(row, "given_label", None)


def pick_samples(labels: pd.DataFrame, class_name: str | None, split: str, is_wrong_only: bool,
                 seed: int, num: int = 30) -> pd.DataFrame:
    """Up to `num` random samples: of one class, or as evenly of all classes as the number allows."""
    mask = (labels["split"] == split).to_numpy()
    if class_name is not None:
        mask = mask & (labels["given_label"] == class_name).to_numpy()
    if is_wrong_only:
        is_wrong = labels["clean_label"].notna() & (labels["clean_label"].cat.codes != labels["given_label"].cat.codes)
        mask = mask & is_wrong.to_numpy()
    found = labels[mask]
    order = np.random.default_rng(seed).permutation(len(found))
    shuffled = found.iloc[order]
    turn = shuffled.groupby("given_label", observed=True, sort=False).cumcount()
    chosen = shuffled.iloc[np.argsort(turn.to_numpy(), kind="stable")[:num]]
    return chosen.sort_values("given_label", kind="stable")


# -- the import report


def _import_report(project: Project) -> None:
    st.header("Import report")
    report = project.import_report()
    for note in project.details.get("notes") or []:
        st.markdown(f"- {state.plain(note)}")
    if report.empty:
        st.caption("The import found nothing wrong: every file and line named was usable.")
        return
    kinds = report.groupby(["kind", "action"], observed=True).size().sort_values(ascending=False)
    st.caption(f"{counted(len(report), 'finding')}. What was skipped is not in the project; what was kept deserves a "
               "look.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.selectbox("Kind", [None, *dict.fromkeys(str(kind) for kind, _ in kinds.index)], key="data.kind",
                            width=280, persist_state="session",
                            format_func=lambda choice: "(every kind)" if choice is None else choice)
        st.download_button("Download as CSV", lambda: _csv(report), file_name=f"{project.name}-import-report.csv",
                           mime="text/csv", icon=":material/download:", on_click="ignore")
    with st.expander("Counts by kind"):
        st.dataframe(kinds.rename("findings").reset_index(), hide_index=True, column_config={
            "kind": "Kind", "action": "What was done",
            "findings": st.column_config.NumberColumn("Findings", format="localized")})
    shown = report if kind is None else report[report["kind"] == kind]
    height = min(420, 38 + 35 * len(shown))
    st.dataframe(shown.head(MAX_REPORT_ROWS), hide_index=True, height=height, placeholder="", column_config={
        "file": "File", "row": st.column_config.NumberColumn("Line", format="%d"), "sample_id": "Sample",
        "kind": "Kind", "reason": st.column_config.TextColumn("Reason", width="large"), "action": "What was done"})
    if len(shown) > MAX_REPORT_ROWS:
        st.caption(f"The first {MAX_REPORT_ROWS:,} of {len(shown):,} are shown; the download has all.")


def _csv(report: pd.DataFrame) -> bytes:
    """The report as CSV in which no cell runs as a formula when a spreadsheet opens it."""
    safe = report.copy()
    for name in ("file", "sample_id", "kind", "reason", "action"):
        text = safe[name].astype(object)
        is_risky = text.notna() & text.astype(str).str.match(r"[=+\-@\t\r]")
        safe[name] = text.where(~is_risky, "'" + text.astype(str))
    return str(safe.to_csv(index=False)).encode()
