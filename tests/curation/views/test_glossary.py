"""Each term has one definition, and a heading that is a term carries it."""

import ast
from pathlib import Path
from typing import Any

import pytest

from curation.project import Project
from curation.terms import TERMS
from curation.views.runs import run_table
from curation.views.study.answer import SUMMARY_COLUMNS
from curation.views.train import progress
from curation.views.widgets import palette
from tests import ROOT, views
from tests.fakes import make_project, make_run

VIEWS = ROOT / "curation" / "views"
HEADINGS = {"Coverage": "coverage", "Effective share": "effective sample size", "Withheld": "guard",
            "In validation": "validation", "P(wrong)": "P(wrong)", "Weight": "weight", "Margin": "margin"}
"""Headings of a column, a metric or a chart, and the term that explains each."""


def is_first(call: ast.Call, text: str) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == text


def test_the_terms_of_the_field_are_all_there_once_and_in_order():
    assert {"weight", "margin", "held out", "guard", "coverage", "hard", "routed", "validation", "P(wrong)",
            "effective sample size"} <= set(TERMS)
    assert list(TERMS) == sorted(TERMS, key=str.lower)
    source = "".join(path.read_text() for path in (ROOT / "curation").rglob("*.py"))
    for meaning in TERMS.values():
        assert meaning.count(". ") < 2, f"a definition is one or two sentences: {meaning}"
        assert source.count(meaning[:30]) == 1, f"said twice: {meaning}"


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_that_is_a_term_carries_its_definition(heading: str, home: Path):
    project = Project.open(make_project(home / "pets"))
    meaning = TERMS[HEADINGS[heading]]
    columns: list[Any] = [*run_table.columns_of(project).values(), *SUMMARY_COLUMNS.values()]
    helps = [column["help"] for column in columns if column["label"] == heading]
    helps += [curve[5] for curve in progress.CURVES if curve[0] == heading]
    helps += [palette.help_of(name) for name, info in palette.COLUMNS.items() if info.title == heading]
    assert all(meaning in str(help) for help in helps)
    calls = [node for path in VIEWS.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Call) and ast.unparse(node.func) != "define" and is_first(node, heading)]
    for call in calls:
        assert any(key.arg == "help" for key in call.keywords), f"{heading} at line {call.lineno} has no help"


def test_figures_of_a_run_and_the_sidebar_explain_their_terms(home: Path):
    make_run(make_project(home / "pets"), "first")
    app = views.start(home, "train")
    for metric in app.metric:
        if metric.label in HEADINGS:
            assert TERMS[HEADINGS[metric.label]] in metric.help
    assert {"Coverage", "Effective share", "In validation", "Withheld"} <= {metric.label for metric in app.metric}
    said = "\n".join(text.value for text in app.sidebar.markdown)
    assert all(meaning in said for meaning in TERMS.values())
