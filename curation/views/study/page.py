"""The Study page: which way to train is better here, over several seeds, and how sure that is.

Figures come from engine.contract.studies.study_summary, background work from curation.jobs.study_jobs; this page asks,
watches and shows.
"""

import json
import shlex
from collections.abc import Callable
from functools import partial

import streamlit as st

from curation.jobs import study_jobs
from curation.project import Project
from curation.studies.page import MARGIN_NOTE, SPLITTER_NOTE, report_page, settings_text
from curation.terms import define
from curation.views.damaged import show_damaged
from curation.views.study import answer as study_answer
from curation.views.study import charts as study_charts
from curation.views.study.answer import (
    ARMS_COLUMNS,
    FAILED_COLUMNS,
    FIGURE_HELP,
    FIGURE_WORDS,
    MARGIN_COLUMNS,
    ROW_COLUMNS,
    SUMMARY_COLUMNS,
    WORTH_COLUMNS,
)
from curation.views.study.charts import MAX_ARMS, MAX_BARS, MAX_LINES, Shown
from curation.views.study.form import new_study_form
from curation.views.study.progress import watch
from curation.views.widgets import state
from curation.views.widgets.accuracy import accuracy_help, leak_line
from curation.views.widgets.layout import side_by_side, style, table_height
from curation.words import counted
from engine.contract.feature_dir import list_features
from engine.contract.studies.splitter_worth import split_arms, splitter_worth
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_summary import report_tables

STUDY_KEY = "study"
FORM_KEY = "study.form"
STARTED_KEY = "study.started"
COMMAND = "python -m engine study {project} --name first --methods erm,molere --seeds 5 --set epochs=20{features}"
CHART = {"displayModeBar": False}


def page() -> None:
    st.title("Study")
    style()
    st.caption("Ways to train, side by side over several seeds: which is better on this data, by how much, and how "
               "sure is that? Each way, a method with its settings, is an arm.")
    project = state.need_project()
    found = study_jobs.studies(project.path)
    _take_started()
    form = st.expander("New study", expanded=not found, icon=":material/add:", key=FORM_KEY, on_change="rerun")
    if form.open:
        with form:
            new_study_form(project, partial(st.session_state.__setitem__, STARTED_KEY))
    if found:
        _study(project, found)
    else:
        _no_study(project)
    show_damaged(study_jobs.damaged_studies(project.path), "study", "studies")


def _study(project: Project, found: list[StudyDir]) -> None:
    """The study chosen: what it does, and what was found."""
    study = _choose(found)
    stamp = study_charts.stamp_of_study(study)
    watch(project, study, stamp)
    if not study.exists():
        return
    if study_charts.rows_of(study, stamp).empty:
        st.caption("Figures appear when the first run ends.")
        return
    arms, reference = _choose_arms(study)
    _arms(study)
    shown = study_charts.shown(study, stamp, arms, reference)
    parts: list[tuple[str, Callable[[StudyDir, Shown], None]]] = [
        ("Answer", partial(_answer, project)), ("Margins of the test samples", _margins), ("The splitter", _splitter),
        ("Groups and classes", _groups), ("What was not controlled", _cautions), ("Runs", _runs)]
    for title, part in parts:
        st.header(title)
        state.guarded(partial(part, study, shown))


def _choose_arms(study: StudyDir) -> tuple[tuple[str, ...], str]:
    """The arms to show and the one that they are compared with, by their names."""
    plan = study.read_document().plan
    titles = study_answer.arm_titles(plan)
    names = list(titles)
    with st.container(horizontal=True):
        reference = str(st.selectbox(
            "Compared with", names, index=names.index(plan.reference), format_func=titles.__getitem__, width=220,
            key=f"study.{study.name}.reference", persist_state="session",
            help="The reference. Differences, intervals and margins are relative to this arm, paired by seed."))
        if len(names) <= min(MAX_ARMS, MAX_LINES + 1):
            return tuple(names), reference
        chosen = st.multiselect(
            f"Arms shown, of {len(names)}", names, default=names[:MAX_ARMS], format_func=titles.__getitem__,
            key=f"study.{study.name}.arms", persist_state="session", placeholder="The reference alone",
            help=f"The first {min(MAX_ARMS, len(names))} of the plan unless you choose others. The report has all.")
    return tuple(chosen), reference


def _arms(study: StudyDir) -> None:
    """What the arms' names stand for, folded."""
    plan = study.read_document().plan
    with st.expander("What the arms are"):
        frame = study_answer.arms_frame(plan)
        st.dataframe(frame, hide_index=True, column_config=ARMS_COLUMNS, placeholder="",
                     height=table_height(len(frame)))
        if plan.settings:
            st.caption(state.plain(f"For all arms: {settings_text(plan.settings)}"))


def _take_started() -> None:
    """After a start: fold the form away and show what was started. Before any widget is drawn."""
    name = st.session_state.pop(STARTED_KEY, None)
    if name is not None:
        st.session_state[FORM_KEY] = False
        st.session_state[STUDY_KEY] = name


def _no_study(project: Project) -> None:
    state.empty_state("No study yet.", "A single run says little: another seed alone can move accuracy by a point. A "
                      "study trains each method with the same seeds and gives the difference an interval. Start one "
                      "above or from the command line:")
    first = next((f" --set features={found.name}" for found in list_features(project.path)), "")
    st.code(COMMAND.format(project=shlex.quote(str(project.path)), features=first), language=None)


def _choose(found: list[StudyDir]) -> StudyDir:
    by_name = {study.name: study for study in found}
    if st.session_state.get(STUDY_KEY) not in by_name:
        st.session_state.pop(STUDY_KEY, None)
    chosen = st.selectbox("Study", list(by_name), key=STUDY_KEY, bind="query-params", width=300,
                          help="The latest comes first.")
    return by_name[str(chosen)]


# -- what was found


def _answer(project: Project, study: StudyDir, shown: Shown) -> None:
    """The highest, one sentence an arm, then the differences as dots, then the table."""
    if not shown.figures:
        states = shown.rows.loc[shown.rows["arm"].isin([*shown.arms, shown.reference_name]), "state"]
        st.info("No figures: " + ("the project has no test split. Import the data again and hold one out (Data)." if
                                  (states == "done").any() else "no run of the arms chosen above has finished."),
                icon=":material/info:")
        return
    figure = str(st.segmented_control("Figure", shown.figures, default=shown.figures[0], required=True,
                                      format_func=_capital_words, key="study.figure", persist_state="session",
                                      label_visibility="collapsed"))
    figure = figure if figure in shown.figures else shown.figures[0]
    table, against_next, chart = study_charts.answer(study, study_charts.stamp_of_study(study), shown.arms,
                                                     shown.reference_name, figure)
    st.caption(f"{FIGURE_HELP[figure]} {accuracy_help(project, 'test')}")
    leak_line(project)
    best = study_answer.leader(table, against_next, shown.reference, figure)
    if best is not None:
        st.markdown(f"**{state.plain(best[0])}** {state.plain(best[1])}")
    said = study_answer.answers(table, shown.reference)
    st.markdown("\n".join(f"- **{state.plain(what)}** {state.plain(how_sure)}" for what, how_sure in said)
                or ("Nothing to compare: the study has one arm." if len(shown.document.plan.arms) == 1 else
                    "Nothing to compare yet: none of the other arms chosen above has finished a run."))
    if warnings := study_answer.warnings(table, shown.document.is_tuned_here):
        st.caption(warnings)
    if chart is not None:
        st.plotly_chart(chart, key=f"study.{study.name}.difference.{figure}", config=CHART)
        st.caption("Diamonds: the mean difference with its 95% interval over seeds. Small dots: single seeds. An arm "
                   "whose whole interval is to the right of the dotted line is better than the reference.")
    frame = study_answer.summary_frame(table)
    st.dataframe(frame, hide_index=True, column_config=SUMMARY_COLUMNS, placeholder="", height="content")


def _capital_words(figure: str) -> str:
    return FIGURE_WORDS[figure].capitalize()


def _margins(study: StudyDir, shown: Shown) -> None:
    """Which test samples an arm helps: the hard or the easy ones."""
    if "margin_bins" not in shown.charts:
        st.caption("They appear when the reference and another arm that is shown have finished the same seed.")
        return
    if shown.num_hidden:
        st.caption(f"From here on the charts show the reference and the {MAX_LINES} other arms with the highest test "
                   "accuracy. Choose fewer arms above to see others.")
    left, right = side_by_side("study_margins", [1, 1])
    with left:
        st.markdown("**What it helps**: change of margin by how hard samples are for the reference",
                    help=define("margin", "hard"))
        _chart(study, shown, "margin_bins")
    with right:
        st.markdown("**How much it changes**: test samples by their change of margin")
        _chart(study, shown, "margin_histogram")
    st.caption("The samples on the left are hard for the reference. Above the line an arm does better on them. "
               f"{MARGIN_NOTE}")
    st.markdown("**In two figures**: the mean change of margin of hard samples, which the reference predicts wrong "
                "(margin below 0), and of easy ones, which have less room to rise, with 95% intervals over seeds")
    st.dataframe(study_answer.margin_frame(shown.margins), hide_index=True, column_config=MARGIN_COLUMNS,
                 placeholder="", height="content", width="content")


def _splitter(study: StudyDir, shown: Shown) -> None:
    _splitter_worth(shown)
    if "splitter" not in shown.charts:
        st.caption("No finished arm has a splitter that moved samples.")
        return
    st.markdown("**Does it learn, does it settle?** Above: held-out loss of the samples routed to validation (line), "
                "and of samples that chance keeps out of training for an epoch (dashed). Below: the share of the "
                "routed that are new since the epoch before.", help=define("splitter", "routed"))
    _chart(study, shown, "splitter")
    st.caption(f"{SPLITTER_NOTE} The share of new ones should fall.")


def _splitter_worth(shown: Shown) -> None:
    """Routing by the splitter beside a fixed random split: in a sentence, and by group and class."""
    arms = split_arms(shown.document.plan)
    if arms is None:
        st.caption("To see what the splitter is worth, add an arm that differs in its split alone, such as LRW-Random "
                   "beside MOLERE.")
        return
    table = splitter_worth(shown.rows, arms)
    said = study_answer.worth_words(table, shown.titles[arms.learned], shown.titles[arms.random])
    st.markdown(f"**{state.plain(said[0])}** {state.plain(said[1])}", help=study_answer.WORTH_HELP)
    if len(table) > 1:
        frame = study_answer.worth_frame(table)
        st.dataframe(frame, hide_index=True, column_config=WORTH_COLUMNS, placeholder="", width="content",
                     height=table_height(len(frame)))


def _groups(study: StudyDir, shown: Shown) -> None:
    if not shown.num_names:
        st.caption("They appear when a run has finished on a project with a test split.")
        return
    for kind, num_names in shown.num_names.items():
        many = f", lowest {MAX_BARS} of {num_names:,}" if num_names > MAX_BARS else ""
        st.markdown(f"**Test accuracy by {kind}, mean over seeds{many}**")
        _chart(study, shown, kind)
    if "group" not in shown.num_names:
        st.caption("This project's test samples have no groups (the column `group` of the manifest), or none with five "
                   "samples.")


def _chart(study: StudyDir, shown: Shown, name: str) -> None:
    st.plotly_chart(shown.charts[name], key=f"study.{study.name}.{name}", config=CHART)


def _cautions(study: StudyDir, shown: Shown) -> None:
    st.markdown("\n".join(f"- {state.plain(line)}" for line in shown.cautions))


# -- the runs themselves


def _runs(study: StudyDir, shown: Shown) -> None:
    """Failures in sight, every row with its settings folded away, and the downloads."""
    failed = shown.rows[shown.rows["state"] == "failed"]
    if len(failed):
        st.warning(f"{counted(len(failed), 'run')} failed and {'count' + 's' * (len(failed) == 1)} in no figure.",
                   icon=":material/warning:")
        st.dataframe(failed[["arm", "seed", "error"]], hide_index=True, height=table_height(len(failed)),
                     column_config=FAILED_COLUMNS)
    with st.expander(f"{counted(len(shown.rows), 'run')} with all settings"):
        frame = study_answer.rows_frame(shown.rows, shown.document.plan.settings)
        st.dataframe(frame, hide_index=True, column_config=ROW_COLUMNS, placeholder="", height=table_height(len(frame)))
    with st.container(horizontal=True):
        for ending, mime, make in (("html", "text/html", partial(_report_html, study)),
                                   ("json", "application/json", partial(_report_json, study))):
            st.download_button(f"Download report.{ending}", make, file_name=f"{study.name}-report.{ending}", mime=mime,
                               key=f"study.download.{ending}", on_click="ignore", icon=":material/download:")
        st.download_button("Download rows.csv", partial(study_answer.rows_csv, shown.rows), mime="text/csv",
                           file_name=f"{study.name}-rows.csv", key="study.download.csv", on_click="ignore",
                           icon=":material/download:")
    st.caption("report.html opens without a network. In rows.csv, text that a spreadsheet would run as a formula "
               "begins with an apostrophe.")


def _report_html(study: StudyDir) -> bytes:
    return report_page(study).encode("utf-8")


def _report_json(study: StudyDir) -> bytes:
    return json.dumps(report_tables(study), indent=2, allow_nan=False).encode("utf-8")
