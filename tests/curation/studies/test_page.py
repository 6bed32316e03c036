"""The page of a study: all that it found, in markup that no name of the data can break."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.studies import figures
from curation.studies.cautions import cautions
from curation.studies.page import report_figures, report_page, table_of, write_report
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm, StudyPlan
from engine.contract.studies.study_summary import not_controlled, summary
from tests.fake_studies import EVIL, document_of, row, rows_by_hand, study_by_hand

ESCAPED = "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;"


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    return study_by_hand(tmp_path)


def test_the_page_holds_everything_and_no_markup_of_the_data(study):
    page = write_report(study).read_text()
    assert EVIL not in page and ESCAPED in page and page == report_page(study)
    text, drawn = page.split("<h2>Figures</h2>")
    assert "<img" not in text and text.count(ESCAPED) == 3, "project, hardware and error"
    assert page.count("plotly.js v") == 1 and "cdn.plot.ly" not in page.replace("https://cdn.plot.ly/un", "")
    assert set(report_figures(study)) == {"difference_test_accuracy", "margin_histogram", "margin_bins", "splitter",
                                          "classes"}
    assert all(f'id="{name}"' in drawn for name in report_figures(study))
    for words in ("<h1>Study made</h1>", "3 arms, seeds 0, 1, 2, 3; reference erm.", "<td>better</td><td>3</td>",
                  "<h2>Failed runs</h2>", "Settings were chosen on this project", "<td>method=erm</td>"):
        assert words in page, words


def test_names_of_arms_and_settings_are_escaped(study):
    arms = (Arm(name="erm", settings={"method": "<i>"}, decisions="<b>.parquet"),)
    study.write_document(document_of(StudyPlan(arms=arms, seeds=(0,), reference="erm", settings={"<u>": 1}), "<s>"))
    text = report_page(study)
    for markup in ("<i>", "<b>.parquet", "<u>", "Study <s>"):
        assert markup not in text and markup.replace("<", "&lt;").replace(">", "&gt;") in text


def test_a_study_without_rows_has_a_page(study):
    for path in (study.path / "rows").glob("*.json"):
        path.unlink()
    page = report_page(study)
    assert "12 of 12 planned runs failed or have not ended" in page and "<h3>" not in page


def test_the_figure_of_differences_draws_the_table(study):
    figure = report_figures(study)["difference_test_accuracy"]
    mean, dots = figure.data[0], figure.data[1]
    assert mean.y[0] == "better" and mean.x[0] == pytest.approx(0.10)
    assert mean.x[0] + mean.error_x.array[0] == pytest.approx(summary(study.read_rows(), "erm").loc[1, "high"])
    assert list(dots.x) == pytest.approx([0.10, 0.11, 0.09])


def test_what_was_not_controlled_is_told(study):
    document, rows = study.read_document(), rows_by_hand()
    lines = cautions(not_controlled(document, rows))
    assert lines[1] == "Settings were chosen on this project, so its test figures flatter the arm they were chosen for."
    assert lines[2].startswith("4 seeds: a seed draws") and lines[3].startswith("Networks: auto.")
    assert lines[-1].startswith("4 of 12 planned runs failed or have not ended") and len(lines) == 7
    mixed = pd.concat([rows, pd.DataFrame([row("lone", 1, 0.4, code_revision="def-dirty", device="cuda",
                                               config={"validation": "clean"})])])
    longer = StudyPlan(arms=(Arm(name="erm"), Arm(name="better", epochs_factor=1.5)), seeds=(0,), reference="erm")
    text = "\n".join(cautions(not_controlled(document_of(longer, "s", False), mixed)))
    assert "Settings were not chosen on this project." in text and "1 seed: a seed draws" in text
    assert "Arms with another number of epochs (factor): better 1.5." in text
    assert "several code revisions: abc, def-dirty" in text and "several devices: cpu, cuda" in text
    assert "with uncommitted changes" in text and "An arm learned from the clean split" in text


def test_cells_have_four_places_and_nothing_for_null():
    found = table_of(pd.DataFrame({"name": ["<i>", None], "n": [0.5, np.nan], "num": [3, 4]}))
    assert (found.head, found.lines) == (["name", "n", "num"], [["<i>", "0.5000", "3"], ["", "", "4"]])


def test_the_histogram_puts_every_change_where_it_is():
    values = np.asarray([-1.99, -0.01, 0.01, 1.51, 1.99])
    (line,) = figures.change_histogram({"a": values}, "erm", {"a": "#000000"}).data
    found = {round(x, 3): y for x, y in zip(line.x, line.y, strict=True) if y}
    assert found == {-1.975: 0.2, -0.025: 0.2, 0.025: 0.2, 1.525: 0.2, 1.975: 0.2}, "a margin may change by up to 2"
