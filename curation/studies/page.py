"""report.html of a study: one page that needs no network. The template escapes every name and value on it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from curation.studies import figures
from curation.studies.cautions import cautions
from curation.templates import render
from curation.terms import TERMS
from engine.contract.settings import Settings
from engine.contract.studies.study_dir import StudyDir, StudyDocument
from engine.contract.studies.study_margins import margin_bins, margin_changes, read_all_margins
from engine.contract.studies.study_plan import StudyPlan
from engine.contract.studies.study_summary import (
    FIGURES,
    MEANS,
    curve_table,
    group_table,
    not_controlled,
    paired,
    summary,
)
from engine.contract.work_dir import write_atomic

if TYPE_CHECKING:
    import plotly.graph_objects as go

TEMPLATE = Path(__file__).with_name("report.html.jinja")
SUMMARY_COLUMNS = ["arm", "n", "mean", "sd", "num_pairs", "difference", "low", "high", "verdict"]
SPLITTER_NOTE = "With the guard off, routed samples should have a higher held-out loss than samples kept out by " \
    "chance, under the same classifier. With the guard on and noisy labels they have a lower one: the guard keeps " \
    "disputed samples out, while those kept out by chance have their full share of wrong labels."
MARGIN_NOTE = "A sample's bin comes from the other seeds of the reference where there are any. With one seed it " \
    "comes from the same run, and low bins then rise by chance alone."
NOTES = {"margin_bins": f"Margin: {TERMS['margin']} {MARGIN_NOTE}", "splitter": SPLITTER_NOTE}


@dataclass(frozen=True, slots=True)
class Table:
    """Cells of plain text."""

    head: list[str]
    lines: list[list[str]]


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure as Plotly's markup, and a note in plain text; "" without one."""

    markup: str
    note: str


def write_report(study: StudyDir) -> Path:
    """report.html, from the rows that are there. Returns its path."""
    page = report_page(study)
    write_atomic(study.report_path, lambda p: p.write_text(page, encoding="utf-8"))
    return study.report_path


def report_page(study: StudyDir) -> str:
    """The whole page, plotly.js in it once. Raises StudyError if the study has no plan or a damaged file."""
    document, rows = study.read_document(), study.read_rows()
    tables = {figure: summary(rows, document.plan.reference, figure) for figure in FIGURES}
    first, failed = tables[FIGURES[0]], rows[rows["state"] == "failed"]
    means = first[["arm", *MEANS, "relative_seconds"]].dropna(axis=1, how="all")
    return render(
        TEMPLATE, study=document, cautions=cautions(not_controlled(document, rows)),
        summaries={figure: table_of(table[SUMMARY_COLUMNS]) for figure, table in tables.items() if table["n"].sum()},
        means=table_of(means) if len(first) else None,
        failed=table_of(failed[["arm", "seed", "error"]]) if len(failed) else None,
        drawings=_drawings(report_figures(study)), arms=table_of(_arms_frame(document.plan)),
        provenance=table_of(_provenance(document)))


def report_figures(study: StudyDir) -> "dict[str, go.Figure]":
    """Plotly figures by name, those that the rows give: difference_FIGURE, margin_histogram, margin_bins, splitter,
    groups and classes."""
    rows, plan = study.read_rows(), study.read_document().plan
    reference = plan.reference
    found: dict[str, go.Figure] = {}
    colors = figures.arm_colors([arm.name for arm in plan.arms], reference)
    for figure in FIGURES:
        table = summary(rows, reference, figure)
        if table.loc[table["arm"] != reference, "difference"].notna().any():
            pairs = {arm: paired(rows, reference, arm, figure) for arm in table["arm"]}
            found[f"difference_{figure}"] = figures.differences_figure(table, pairs, reference, figure, colors)
    margins = read_all_margins(study, rows)
    changes = margin_changes(margins, reference)
    if changes:
        found["margin_histogram"] = figures.change_histogram(changes, reference, colors)
        found["margin_bins"] = figures.margin_bins_figure(margin_bins(margins, reference), reference, colors)
    curves = curve_table(rows)
    if (curves["figure"] == "churn").any():
        found["splitter"] = figures.splitter_figure(curves, colors)
    groups = group_table(rows)
    for kind, name in (("group", "groups"), ("class", "classes")):
        if (groups["kind"] == kind).any():
            found[name] = figures.groups_figure(groups, kind, colors)
    return found


def _drawings(drawn: "dict[str, go.Figure]") -> list[Drawing]:
    """The first brings plotly.js."""
    from plotly.io import to_html

    return [Drawing(str(to_html(figure, full_html=False, include_plotlyjs=i == 0, div_id=name,
                                config={"displaylogo": False})), NOTES.get(name, ""))
            for i, (name, figure) in enumerate(drawn.items())]


def table_of(frame: pd.DataFrame) -> Table:
    """Numbers with a fraction to four places, null as nothing, all else as text."""
    return Table([str(column) for column in frame.columns],
                 [[_cell(value) for value in row] for row in frame.itertuples(index=False, name=None)])


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _arms_frame(plan: StudyPlan) -> pd.DataFrame:
    lines = [{"arm": arm.name, "settings": settings_text(arm.settings), "decisions": arm.decisions or "the project's",
              "epochs_factor": f"{arm.epochs_factor:g}"} for arm in plan.arms]
    return pd.DataFrame([*lines, {"arm": "(all)", "settings": settings_text(plan.settings), "decisions": "",
                                  "epochs_factor": ""}])


def settings_text(settings: Settings) -> str:
    """Settings as the command line takes them: name=value, in one line."""
    return " ".join(f"{name}={value}" for name, value in settings.items())


def _provenance(document: StudyDocument) -> pd.DataFrame:
    versions = ", ".join(f"{name} {value}" for name, value in document.versions.items())
    return pd.DataFrame([("hardware", document.hardware), ("versions", versions), ("code", document.code_revision),
                         ("manifest", document.manifest_digest)], columns=["what", "value"])
