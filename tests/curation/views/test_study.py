"""The Study page through AppTest on fakes: what it says, what it draws and what its buttons ask for."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from curation.jobs import study_jobs
from curation.project import Project
from curation.views.study import answer
from curation.views.study import charts as study_charts
from curation.views.study import progress as study_progress
from curation.views.study.page import _report_json
from engine.contract.methods import METHODS
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm, StudyPlan
from engine.contract.studies.study_summary import summary
from tests import views
from tests.curation.views.test_compare_export import HOSTILE, press, table_of
from tests.fake_studies import make_study
from tests.fakes import make_project


@pytest.fixture
def pets(home: Path) -> Project:
    return Project.open(make_project(home / "pets", num_train=12))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyDir]:
    """A projects folder with one finished study, for tests that only look: the page reads it once for them all."""
    home = tmp_path_factory.mktemp("made")
    return home, make_study(make_project(home / "pets", num_train=12))


@pytest.fixture(scope="module")
def page(made: tuple[Path, StudyDir], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """That study's page, not to be acted on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WHETSTONE_HOME", str(tmp_path_factory.mktemp("queue")))
        patch.setenv("WHETSTONE_PROJECTS", str(made[0]))
        yield views.start(made[0], "study")


def charts_of(app: Any) -> dict[str, dict[str, Any]]:
    """Plotly specs on the page by the last part of their key."""
    found = {}
    for element in app.get("plotly_chart"):
        name = re.search(r"study\.[^.]+\.(?:difference\.)?(\w+)$", element.proto.id)
        found[name.group(1) if name else element.proto.id] = json.loads(element.proto.spec)
    return found


# -- nothing there


def test_without_a_project_the_page_says_how_to_begin(home):
    assert "There is no project yet." in views.texts(views.start(home, "study"))


def test_without_a_study_it_says_what_one_is_for_and_the_command(home, pets):
    said = views.texts(views.start(home, "study"))
    assert "No study yet." in said and "gives the difference an interval" in said
    assert f"python -m engine study {pets.path} --name first --methods erm,molere" in said
    assert "10 runs: 2 arms, 5 seeds. How long they take is not known" in said


# -- what was found


def test_the_answer_comes_first_with_interval_and_seeds(made, page):
    app = page
    line = summary(made[1].read_rows(), "erm").set_index("arm").loc["molere"]
    points, low, high = (f"{100 * line[name]:.1f}" for name in ("difference", "low", "high"))
    sentence = f"MOLERE is ahead of ERM by {points} points** (95% interval {low} to {high}, 3 seeds)."
    assert sentence in unescaped(app)
    frame = table_of(app, "arm", "interval", "verdict").set_index("arm")
    assert frame.loc["MOLERE", "difference"] == pytest.approx(100 * line["difference"])
    assert frame.loc["MOLERE", "interval"] == f"+{low} to +{high}" and frame.loc["ERM", "verdict"] == "reference"
    assert frame.loc["ERM", "mean"] == pytest.approx(81.0, abs=0.2) and frame.loc["MOLERE", "time"] == 1.5
    assert frame.loc["MOLERE", "wrong"] == pytest.approx(10.0)


def unescaped(app: Any) -> str:
    return re.sub(r"\\(.)", r"\1", views.texts(app))


@pytest.mark.parametrize(("gain", "begin"), [(-0.05, "MOLERE is behind ERM by"),
                                             (0.0, "MOLERE and ERM cannot be told apart:")])
def test_behind_and_tie_are_said_as_such(home, pets, gain, begin):
    make_study(pets, gain=gain)
    said = unescaped(views.start(home, "study"))
    assert begin in said and "is ahead of" not in said


def test_sentences_turn_with_the_sign():
    line = {"arm": "b", "num_pairs": 4, "difference": -0.031, "low": -0.043, "high": -0.019, "verdict": "behind"}
    table = pd.DataFrame([line, {"arm": "a", "verdict": "reference", "num_pairs": 4}])
    assert answer.answers(table, "a") == [
        ("b is behind a by 3.1 points", "(95% interval 1.9 to 4.3, 4 seeds).")]
    ahead = pd.DataFrame([line | {"difference": 0.031, "low": 0.019, "high": 0.043, "verdict": "ahead"}])
    assert answer.answers(ahead, "a")[0][0] == "b is ahead of a by 3.1 points"


def test_the_highest_is_named_and_stands_against_the_next_not_the_reference_alone(made, page):
    rows = made[1].read_rows()
    means = summary(rows, "erm").set_index("arm")["mean"].sort_values(ascending=False)
    first, second = means.index[:2]
    line = summary(rows, second).set_index("arm").loc[first]
    titles = {"molere": "MOLERE", "lrw_random": "LRW-Random"}
    said = unescaped(page)
    assert f"**No arm is clearly the best.** {titles[first]} has the highest test accuracy, " \
        f"{100 * means.iloc[0]:.1f}%, of the 3 arms shown that have 3 runs. Against the next: " in said
    assert f"{100 * line['difference']:+.1f} points" in said and f"{titles[first]} and {titles[second]} cannot" in said
    assert "These are 2 comparisons and their intervals are not corrected" in said


def test_of_arms_with_fewer_runs_none_is_called_the_highest():
    rows = pd.DataFrame([{"arm": arm, "seed": seed, "state": "done", "test_accuracy": value}
                         for arm, values in {"a": (0.5, 0.6), "b": (0.6, 0.8), "c": (0.7, 0.8), "lucky": (0.9,)}.items()
                         for seed, value in enumerate(values)])
    against = study_charts.against_next(rows, summary(rows, "a"), "test_accuracy")
    assert against["arm"].tolist() == ["c", "b"]
    assert against.iloc[0]["difference"] == pytest.approx(0.05) and pd.isna(against.iloc[1]["difference"])
    assert answer.leader(summary(rows, "a"), against, "a", "test_accuracy")[0] == "No arm is clearly the best."
    clear = against.assign(verdict=["ahead", "reference"])
    assert answer.leader(summary(rows, "a"), clear, "b", "test_accuracy") == (
        "c has the highest test accuracy, 75.0%, of the 3 arms shown that have 2 runs.", "b is next, see below.")
    two = rows[rows["arm"].isin(("a", "b"))]
    assert study_charts.against_next(two, summary(two, "a"), "test_accuracy").empty, "the differences say it all"


def test_settings_chosen_here_are_held_against_the_figures():
    table = pd.DataFrame({"arm": ["a", "b"], "difference": [None, 0.1]})
    assert answer.warnings(table, None) == ""
    assert "chosen on this project" in answer.warnings(table, True)


def test_arms_are_explained_by_method_and_settings():
    arms = (Arm.of_method("erm"), Arm(name="odd", settings={"method": "molere", "guard": "off"},
                                      decisions="/x/oracle.parquet", epochs_factor=1.2))
    plan = StudyPlan(arms=arms, seeds=(0,), reference="erm")
    assert answer.arms_frame(plan).fillna("").to_numpy().tolist() == [
        ["ERM", METHODS["erm"].title, "", ""],
        ["odd", METHODS["molere"].title, "guard=off epochs_factor=1.2", "oracle.parquet"]]


def test_figures_can_be_chosen_and_the_chart_is_in_points(home, made):
    projects, study = made
    app = views.start(projects, "study")
    control = app.segmented_control(key="study.figure")
    assert [str(option) for option in control.options] == ["Test accuracy", "Balanced accuracy", "Worst class",
                                                           "Worst group"]
    drawn = charts_of(app)["test_accuracy"]
    diamonds = [trace for trace in drawn["data"] if trace["marker"].get("symbol") == "diamond"]
    expected = summary(study.read_rows(), "erm").set_index("arm").loc["molere", "difference"]
    assert {d["y"][0]: d["x"][0] for d in diamonds}["MOLERE"] == pytest.approx(100 * expected)
    assert [d["x"][0] for d in diamonds] == sorted((d["x"][0] for d in diamonds), reverse=True), "the best first"
    control.set_value("worst_group_accuracy")
    views.rerun(app)
    assert table_of(app, "arm", "verdict")["mean"].iloc[0] == pytest.approx(71.0, abs=0.2)


def test_every_section_has_its_charts_and_the_cautions(page):
    app = page
    assert {"margin_bins", "margin_histogram", "splitter", "group", "class"} <= set(charts_of(app))
    arms = {trace["name"] for trace in charts_of(app)["splitter"]["data"]}
    assert arms == {"MOLERE"}, "an arm whose split never moves neither learns nor settles"
    assert "It is not known whether settings were chosen on this project." in unescaped(app)


def test_what_the_splitter_is_worth_is_said_with_its_interval_and_by_class(page):
    said = next(m.value for m in page.markdown if "Training with the splitter" in m.value)
    assert re.search(r"changes test accuracy by \\[+−-]\d", said) and "3 seeds" in said and "LRW" in said
    frame = next(f.value for f in page.dataframe if list(f.value.columns) == ["of", "random", "difference", "interval"])
    assert "class cat" in set(frame["of"]) and frame["interval"].notna().all()


@pytest.mark.parametrize(("low", "high", "clear"), [(0.01, 0.03, True), (-0.03, -0.01, True), (-0.01, 0.05, False)])
def test_a_worth_that_may_be_chance_is_said_to_be_that(low, high, clear):
    table = pd.DataFrame([{"kind": "all", "name": "all", "num_pairs": 3, "random": 0.5, "difference": (low + high) / 2,
                           "low": low, "high": high}])
    assert ("Chance alone" in answer.worth_words(table, "A", "B")[1]) is not clear
    assert "no seed" in answer.worth_words(table.iloc[:0], "A", "B")[1]
    assert "no evidence" in answer.worth_words(table.assign(low=None, high=None), "A", "B")[1]


def test_a_study_without_a_random_split_says_what_would_tell(home, pets):
    make_study(pets, arms=("erm", "molere"))
    assert any("LRW-Random" in caption.value for caption in views.start(home, "study").caption)


def test_hard_and_easy_samples_are_told_apart_by_what_the_reference_gets_right(page):
    frame = table_of(page, "arm", "hard", "easy")
    assert frame["arm"].tolist() == ["MOLERE", "LRW-Random"], "the reference changes by nothing"
    assert frame["hard"].str.fullmatch(r"\+0\.0\d \([+-]0\.\d\d to \+0\.\d\d\)").all()


def test_one_seed_has_no_interval_and_is_no_evidence(home, pets):
    make_study(pets, num_seeds=1)
    app = views.start(home, "study")
    assert "points above ERM on one seed,** which is no evidence" in unescaped(app)
    frame = table_of(app, "arm", "verdict")
    assert "interval" not in frame and frame["verdict"].tolist() == ["reference", "one seed", "one seed"]


def test_a_study_without_groups_offers_none(home, pets):
    make_study(pets, groups=())
    app = views.start(home, "study")
    assert "Worst group" not in app.segmented_control(key="study.figure").options
    assert "group" not in charts_of(app) and "have no groups" in views.texts(app)


def test_a_study_of_one_arm_has_nothing_to_compare_with(home, pets):
    make_study(pets, arms=("erm",))
    assert "Nothing to compare: the study has one arm" in views.texts(views.start(home, "study"))


def test_runs_that_failed_are_listed_with_their_one_line(home, pets):
    make_study(pets, failed=("molere",))
    app = views.start(home, "study")
    assert any("1 run failed" in warning.value for warning in app.warning)
    failed = table_of(app, "arm", "seed", "error")
    assert failed.to_numpy().tolist() == [["molere", 2, "FloatingPointError: a loss is not finite"]]
    assert [b.label for b in app.button if b.key == "study.resume"] == ["Try again"]
    assert table_of(app, "arm", "verdict").set_index("arm").loc["MOLERE", "runs"] == 2


def test_a_study_whose_runs_all_failed_has_no_figures_and_says_so(home, pets):
    make_study(pets, arms=("erm",), num_seeds=1, failed=("erm",))
    app = views.start(home, "study")
    assert any("no run of the arms chosen above has finished" in info.value for info in app.info) and not charts_of(app)


def test_all_runs_stand_with_their_settings(page):
    frame = table_of(page, "arm", "seed", "settings")
    assert len(frame) == 9 and frame["settings"].iloc[0] == "epochs=4 method=erm"
    assert frame["test_accuracy"].iloc[0] == pytest.approx(80, abs=0.5)


def test_classes_beyond_the_limit_show_the_lowest(home, pets, monkeypatch):
    monkeypatch.setattr(study_charts, "MAX_BARS", 2)
    study = make_study(pets, "many")
    drawn = shown_of(study).charts["class"]
    assert list(drawn.data[0].x) == ["dog", "bird"], "make_study's classes get worse from first to last"


def test_a_new_row_is_read_and_an_unchanged_study_is_not_read_again(home, pets):
    study = make_study(pets)
    first = shown_of(study)
    assert shown_of(study) is first
    row = study.read_row("molere", 0)
    assert row is not None
    study.write_row({**row, "test_accuracy": 0.1})
    assert shown_of(study) is not first


def shown_of(study: StudyDir) -> study_charts.Shown:
    arms = tuple(arm.name for arm in study.read_document().plan.arms)
    return study_charts.shown(study, study_charts.stamp_of_study(study), arms, arms[0])


def test_the_arms_are_compared_with_any_of_them(home, pets):
    make_study(pets)
    app = views.start(home, "study")
    before = table_of(app, "arm", "verdict").set_index("arm")
    assert before.loc["ERM", "verdict"] == "reference"
    app.selectbox(key="study.methods.reference").set_value("molere").run()
    after = table_of(app, "arm", "verdict").set_index("arm")
    assert after.loc["MOLERE", "verdict"] == "reference" and "MOLERE" in views.texts(app)
    assert after.loc["ERM", "difference"] == pytest.approx(-before.loc["MOLERE", "difference"])


def test_who_has_more_arms_than_lines_can_choose_which_are_drawn(home, pets, monkeypatch):
    monkeypatch.setattr("curation.views.study.page.MAX_LINES", 1)
    make_study(pets)
    app = views.start(home, "study")
    assert app.multiselect(key="study.methods.arms").value == ["erm", "molere", "lrw_random"], "all at first"
    control = app.segmented_control(key="study.figure")
    control.set_value("worst_class_accuracy")
    assert "has the highest worst class accuracy" in unescaped(views.rerun(app))


def test_charts_with_a_line_an_arm_have_few_of_them_the_highest(home, pets, monkeypatch):
    monkeypatch.setattr(study_charts, "MAX_LINES", 1)
    study = make_study(pets)
    highest = summary(study.read_rows(), "erm").set_index("arm")["mean"].idxmax()
    assert [t.name for t in shown_of(study).charts["margin_bins"].data] == [
        {"molere": "MOLERE", "lrw_random": "LRW-Random"}[str(highest)]]
    assert len(shown_of(study).charts["class"].data) == 2 and shown_of(study).num_hidden == 1
    assert len(table_of(views.start(home, "study"), "arm", "verdict")) == 3, "the table has all"


def test_of_many_arms_the_first_are_shown_and_others_on_demand(home, pets, monkeypatch):
    monkeypatch.setattr("curation.views.study.page.MAX_ARMS", 2)
    monkeypatch.setattr("curation.views.study.progress.MAX_NAMED", 2)
    study = make_study(pets)
    app = views.start(home, "study")
    names = [arm.name for arm in study.read_document().plan.arms]
    assert len(table_of(app, "arm", "verdict")) == 2 < len(names) == 3
    assert "and 1 more" in views.texts(app)
    assert len(table_of(app, "arm", "seed", "settings")) == 9, "every run is listed"
    app.multiselect(key="study.methods.arms").set_value(names[2:]).run()
    assert len(table_of(app, "arm", "verdict")) == 2, "the reference stays"
    assert not app.exception


# -- what is going on


def test_a_running_study_shows_progress_and_what_is_trained_and_can_be_cancelled(home, pets, monkeypatch):
    make_study(pets, state="running")
    asked = []
    monkeypatch.setattr(study_jobs, "cancel", lambda project, name: asked.append((project, name)))
    app = views.start(home, "study")
    said = unescaped(app)
    assert "running, 6 of 9 runs" in said and "ERM, seed 2: epoch 2 of 4, step 1 of 5" in said
    progress = app.get("progress")[0].proto
    assert (progress.value, progress.text) == (66, "6 of 9 runs ended, about 1 min 15 s left")
    assert "3 of 9 planned runs failed or have not ended" in said
    press(app, "study.cancel")
    assert asked == [(pets.path, "methods")]


@pytest.mark.parametrize(("state", "word"), [("interrupted", "Its process ended"), ("failed", "OSError: disk full"),
                                             ("cancelled", "cancelled, 6 of 9 runs")])
def test_a_study_that_stopped_can_be_resumed(home, pets, monkeypatch, state, word):
    make_study(pets, state=state, arms=("erm", "rho", "fsr"))
    asked = []
    monkeypatch.setattr(study_jobs, "resume", lambda project, name: asked.append(name))
    app = views.start(home, "study")
    assert word in unescaped(app)
    press(app, "study.resume")
    assert asked == ["methods"]


@pytest.mark.parametrize(("is_active", "was_active"), [(True, False), (False, True)])
def test_the_page_is_drawn_anew_once_a_study_is_resumed_or_ends(pets, monkeypatch, is_active, was_active):
    study = make_study(pets, state="running" if is_active else "done")
    monkeypatch.setattr("streamlit.rerun", lambda: pytest.fail("drawn anew"))
    with pytest.raises(pytest.fail.Exception, match="drawn anew"):
        study_progress._draw_live(pets, study, was_active, study_charts.stamp_of_study(study))


def test_a_refused_cancel_is_a_short_notice(home, pets):
    make_study(pets, state="running", num_seeds=1)
    app = views.start(home, "study")
    study = StudyDir.of(pets.path, "methods")
    study.write_status(state="done", done=9, failed=0, total=9, running=[])
    press(app, "study.cancel")
    assert "is done" in app.toast[0].value


def test_a_study_that_waits_has_no_results_yet(home, pets):
    study = StudyDir.of(pets.path, "asked")
    study.path.mkdir(parents=True)
    new = study_jobs.plan_study("asked", ["erm", "molere"], 2, 3)
    (study.path / "request.json").write_text(json.dumps(new.plan.to_dict()))
    app = views.start(home, "study")
    assert "0 of 4 runs: ERM, MOLERE; seeds 0, 1." in unescaped(app) and not charts_of(app)


def test_the_link_names_the_study(home, pets):
    make_study(pets, "older", arms=("erm",), num_seeds=1)
    make_study(pets, "newer", arms=("erm",), num_seeds=1)
    app = views.start(home, "study", query={"study": "older"})
    assert app.selectbox(key="study").value == "older" and "**older**" in views.texts(app)
    assert views.start(home, "study", query={"study": "gone"}).selectbox(key="study").value == "newer"


# -- starting


def test_a_study_is_planned_and_started_from_the_form(home, pets, monkeypatch):
    make_study(pets, num_seeds=2)
    plans = []
    monkeypatch.setattr(study_jobs, "submit", lambda project, plan: plans.append(plan) or make_study(
        project, plan.name, arms=("erm",), num_seeds=1))
    app = views.start(home, "study")
    app.session_state["study.form"] = True
    views.rerun(app)
    app.multiselect(key="new_study.methods").set_value(["erm", "rho"])
    app.number_input(key="new_study.seeds").set_value(2)
    app.number_input(key="new_study.epochs").set_value(12)
    app.text_area(key="new_study.settings").set_value("lr=0.02")
    views.rerun(app)
    # Epochs took 2 s in erm's runs of the fake study; rho takes the mean of all six, 14 / 6 s.
    assert "4 runs: 2 arms, 2 seeds. About 1 min 44 s of training, by what an epoch took in this project's 6 " \
        "finished runs" in unescaped(app)
    press(app, "new_study.start")
    assert [(new.name, new.plan.num_runs, new.plan.settings, new.plan.reference) for new in plans] == [
        ("study", 4, {"epochs": 12, "lr": 0.02}, "erm")]
    assert app.selectbox(key="study").value == "study"


def test_a_setting_that_is_none_is_refused_in_the_form(home, pets):
    app = views.start(home, "study")
    app.text_area(key="new_study.settings").set_value("<b>x</b>=1")
    views.rerun(app)
    assert any("x" in error.value for error in app.error)
    assert "No study yet." in views.texts(app), "the rest of the page stands"


# -- names are data


def test_hostile_names_and_errors_stay_text(home):
    project = Project.open(make_project(home / "pets", num_train=12, classes=HOSTILE[:3]))
    study = make_study(project, groups=HOSTILE, failed=("molere",), error=HOSTILE[0])
    app = views.start(home, "study")
    assert not any("<img" in markdown.value and "\\<img" not in markdown.value for markdown in app.markdown)
    assert table_of(app, "arm", "seed", "error")["error"].tolist() == [HOSTILE[0]]
    ticks = charts_of(app)["group"]["data"][0]["x"]
    assert "&lt;img src=x onerror=alert(1)&gt;" in ticks and not any("<" in tick for tick in ticks)
    assert json.loads(_report_json(study))["reference"] == "erm"


def test_the_rows_file_cannot_run_in_a_spreadsheet(pets):
    study = make_study(pets, failed=("molere",), error="=cmd|' /C calc'!A0")
    frame = pd.read_csv(io.BytesIO(answer.rows_csv(study.read_rows())))
    assert frame["error"].dropna().tolist() == ["'=cmd|' /C calc'!A0"]
    assert json.loads(frame["class_accuracies"].iloc[0]).keys() == {"cat", "dog", "bird"} and len(frame) == 9


def test_an_arm_that_is_more_than_its_method_keeps_its_name():
    def arm(name: str, **settings: Any) -> Arm:
        return Arm(name=name, settings=settings)

    arms = (arm("erm", method="erm"), arm("molere", method="molere", guard="off"), arm("rho", method="erm"),
            arm("lrw_easy", method="lrw_easy"), arm("LRW-Easy", method="erm"))
    assert answer.arm_titles(StudyPlan(arms=arms, seeds=(0,), reference="erm")) == {
        "erm": "ERM", "molere": "molere", "rho": "rho", "lrw_easy": "lrw_easy", "LRW-Easy": "LRW-Easy"}
