"""report.html of a study: one page that needs no network. Every name and value on it is escaped."""

import html
from pathlib import Path
from typing import Any

import pandas as pd

from curation.studies import figures
from engine.contract.study_dir import StudyDir
from engine.contract.study_margins import margin_bins, margin_changes, read_all_margins
from engine.contract.study_summary import FIGURES, MEANS, curve_table, group_table, paired, report_tables, summary
from engine.contract.work_dir import write_atomic

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #14201e; max-width: 1080px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; font-size: 13px }
th, td { border-bottom: 1px solid #d5dfdc; padding: .25rem .7rem; text-align: right; overflow-wrap: anywhere }
th { background: #eef3f2 } td:first-child, th:first-child { text-align: left }
.wide { overflow-x: auto } .note { color: #475652 }
"""
SPLITTER_NOTE = "With the guard off, routed samples should have a higher held-out loss than samples resting by " \
    "chance, under the same classifier. With the guard on and noisy labels they have a lower one: it keeps disputed " \
    "samples out of the routed, while those at rest hold their full share of wrong labels."
MARGIN_NOTE = "Margin: probability of the label minus the highest other one. A sample's bin comes from the " \
    "reference's other seeds where there are any; with one seed, from the same run, and then low bins rise by chance."


def write_report(study: StudyDir) -> Path:
    """report.html, from the rows that are there. Returns its path."""
    page = report_page(study, report_tables(study))
    write_atomic(study.report_path, lambda p: p.write_text(page, encoding="utf-8"))
    return study.report_path


def report_page(study: StudyDir, tables: dict[str, Any]) -> str:
    """The whole page, plotly.js in it once."""
    plan = tables["plan"]
    parts = [f"<h1>Study {_text(plan['name'])}</h1>",
             f"<p>Project {_text(plan['project'])}; {len(plan['arms'])} arms, seeds "
             f"{_text(', '.join(map(str, plan['seeds'])))}; reference {_text(plan['reference'])}.</p>",
             "<h2>Results on the test split</h2>"]
    for figure in FIGURES:
        frame = pd.DataFrame(tables["summary"][figure])
        if len(frame) and frame["n"].sum():
            columns = ["arm", "n", "mean", "sd", "num_pairs", "difference", "low", "high", "verdict"]
            parts += [f"<h3>{_text(figure)}</h3>", html_table(frame[columns])]
    frame = pd.DataFrame(tables["summary"][FIGURES[0]])
    parts += ["<h2>What the arms did (means over seeds)</h2>",
              html_table(frame[["arm", *MEANS, "relative_seconds"]].dropna(axis=1, how="all")) if len(frame) else ""]
    if tables["failed"]:
        parts += ["<h2>Failed runs</h2>", html_table(pd.DataFrame(tables["failed"]))]
    parts += ["<h2>What was not controlled</h2>",
              "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in tables["cautions"]) + "</ul>",
              "<h2>Figures</h2>", *_figure_parts(report_figures(study)),
              "<h2>Plan</h2>", html_table(_arms_frame(plan)), html_table(_provenance(plan))]
    return (f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Study {_text(plan['name'])}</title>"
            f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>")


def report_figures(study: StudyDir) -> dict[str, Any]:
    """Plotly figures by name, those that the rows give: difference_FIGURE, margin_histogram, margin_bins, splitter,
    groups and classes."""
    rows, plan = study.read_rows(), study.read_plan()
    reference, found = plan["reference"], dict[str, Any]()
    colors = figures.arm_colors([arm["name"] for arm in plan["arms"]], reference)
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


def _figure_parts(drawn: dict[str, Any]) -> list[str]:
    """A div a figure with its note; the first brings plotly.js."""
    from plotly.io import to_html

    notes = {"margin_bins": MARGIN_NOTE, "splitter": SPLITTER_NOTE}
    return [str(to_html(figure, full_html=False, include_plotlyjs=i == 0, div_id=name, config={"displaylogo": False}))
            + (f"<p class='note'>{_text(notes[name])}</p>" if name in notes else "")
            for i, (name, figure) in enumerate(drawn.items())]


def html_table(frame: pd.DataFrame) -> str:
    """A table of text and numbers; null is empty, every value escaped."""
    head = "".join(f"<th>{_text(column)}</th>" for column in frame.columns)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>"
                   for row in frame.itertuples(index=False, name=None))
    return f"<div class='wide'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return ""
    return f"{value:.4f}" if isinstance(value, float) else _text(value)


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _arms_frame(plan: dict[str, Any]) -> pd.DataFrame:
    common = " ".join(f"{name}={value}" for name, value in plan["settings"].items())
    lines = [{"arm": a["name"], "settings": " ".join(f"{k}={v}" for k, v in a["settings"].items()),
              "decisions": a["decisions"] or "the project's", "epochs_factor": f"{a['epochs_factor']:g}"}
             for a in plan["arms"]]
    return pd.DataFrame([*lines, {"arm": "(all)", "settings": common, "decisions": "", "epochs_factor": ""}])


def _provenance(plan: dict[str, Any]) -> pd.DataFrame:
    versions = ", ".join(f"{name} {value}" for name, value in plan["versions"].items())
    return pd.DataFrame([("hardware", plan["hardware"]), ("versions", versions), ("code", plan["code_revision"]),
                         ("manifest", plan["manifest_digest"])], columns=["what", "value"])
