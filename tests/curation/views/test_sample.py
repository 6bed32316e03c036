"""The sample dialog's words: neighbours, near-duplicates, steadiness over epochs and seeds, pins and conflicts."""

from pathlib import Path

import numpy as np
import pandas as pd

from curation.experiments.pin_disagreement import Tension
from curation.experiments.stability import Stability, over_seeds, stability
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.views.sample import dialog, facts, neighbours, reasons
from curation.views.sample.dialog import course_figure, sides
from curation.views.widgets import pins
from curation.views.widgets.palette import ROLE_COLOURS
from engine.contract.run_dir import RunDir
from engine.contract.signal_columns import ROLES
from tests import views
from tests.fakes import make_project, make_run


def near(*rows: tuple[str, str | None, str, float]) -> pd.DataFrame:
    """Neighbours as (sample_id, label, role, distance)."""
    return pd.DataFrame(rows, columns=["sample_id", "current_label", "role", "distance"])


def test_neighbours_are_counted_on_either_side_with_the_labels_that_differ():
    rows = near(("a", "cat", "train", 0.1), ("b", "dog", "train", 0.2), ("c", "dog", "train", 0.3),
                ("d", "cat", "validation", 0.4), ("e", "cat", "train", 0.5))
    assert neighbours.neighbour_words(rows, "cat") == (
        "Of 4 neighbours in training 2 carry the label cat, 2 another: dog (2). Of 1 neighbour in validation 1 carries "
        "the label cat.")
    many = near(*[(str(i), name, "train", 0.1) for i, name in enumerate("abcdefghijkl"[:neighbours.MAX_OTHERS + 1])])
    assert neighbours.neighbour_words(many, "cat").endswith(" and 1 more class. None is in validation.")
    assert neighbours.neighbour_words(rows.head(3), "bird") == (
        "Of 3 neighbours in training none carries the label bird, 3 another: dog (2), cat (1). None is in validation.")


def test_near_duplicates_are_named_where_their_labels_conflict():
    rows = near(("a", "cat", "train", 0.0), ("b", "dog", "train", 0.0009), ("c", "dog", "train", 0.002))
    assert neighbours.duplicate_words(rows, "cat") == (
        "2 near-duplicates: at almost no distance in the run's features. Another label: b (dog). One of them is "
        "probably wrong.")
    assert neighbours.duplicate_words(rows.head(1), "cat").endswith("It carries the same label.")
    assert neighbours.duplicate_words(rows.tail(1), "cat") == ""


def route(run: RunDir, row: int, routed: list[int]) -> None:
    for epoch, value in enumerate(routed, start=1):
        records = np.load(run.path / "history" / f"{epoch:04d}.npy")
        records["routed"][row] = value
        run.write_history(epoch, records)


def test_steadiness_counts_the_epochs_that_route_alone(tmp_path: Path):
    project = Project.open(make_project(tmp_path / "p", size=2))
    runs = [make_run(project, f"s{seed}", seed=seed, epochs=10) for seed in range(2)]
    # Ten epochs: the first two are warm-up, the last three finish.
    route(runs[0], 5, [1, 1, 0, 1, 1, 0, 1, 1, 1, 0])
    route(runs[1], 5, [1, 1, 0, 0, 0, 0, 0, 1, 1, 1])
    assert stability(runs[0], 5) == Stability(seed=0, epochs=(3, 7), has_warmup=True, num_epochs=5, num_routed=3,
                                              num_switches=3, is_routed=True)
    assert [one.num_routed for one in over_seeds(runs, 5)] == [3, 0]
    words = reasons.stability_words(stability(runs[0], 5), over_seeds(runs[1:], 5))
    assert words == ["After warm-up, in epochs 3 to 7, it was in validation in 3 of 5, changing sides 3 times.",
                     "In the other seeds of these settings (1) it ended in validation in 0 of 1, and was there in 0% "
                     "of the epochs."]
    assert stability(make_run(project, "short", state="failed", epochs=4), 5) is not None
    assert stability(make_run(project, "queued", state="queued"), 5) is None


def test_the_chart_shows_in_validation_those_epochs_alone_that_the_words_count(tmp_path: Path):
    project = Project.open(make_project(tmp_path / "p", size=2))
    run = make_run(project, "first", epochs=10)
    routed = [0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    route(run, 5, routed)
    for epoch in range(1, 11):  # at rest in all others
        records = np.load(run.path / "history" / f"{epoch:04d}.npy")
        records["role"][5] = ROLES.index("validation")
        run.write_history(epoch, records)
    history = run.read_history(5)
    assert sides(history).count("validation") == 1 == stability(run, 5).num_routed
    bands = [shape.fillcolor for shape in course_figure(history).layout.shapes]
    assert bands.count(ROLE_COLOURS["validation"]) == 1 and len(bands) == 10
    assert int((history["role"] == "validation").sum()) == 10, "held out, which rings say"


def test_a_pins_own_zero_is_not_told_as_the_splitters(tmp_path: Path):
    table = pd.DataFrame({"sample_id": ["a", "b"], "current_label": ["x", "x"], "p_train": [0.0, 0.4],
                          "role": ["validation", "train"], "why": ["pinned to validation", ""],
                          "pin": ["validation", None], "excluded": [False, False]})
    said = " ".join(reasons.reasons(SampleTable.of(table), 0, 0.1, "validation", False))
    assert "The splitter gives it" not in said
    assert "The splitter gives it" in " ".join(reasons.reasons(SampleTable.of(table), 1, 0.1, "", False))


def test_one_pinned_sample_says_what_the_splitter_wanted():
    rows = pd.DataFrame({"sample_id": ["a"], "pin": ["validation"], "num_epochs": [6], "share_against": [5 / 6],
                         "wish": [0.91]})
    assert pins.pin_words(Tension(rows=rows, is_last_only=False), "a") == [
        "The splitter alone wanted it in training in 83% of 6 epochs (last p_train 0.91)."]
    assert pins.pin_words(Tension(rows=rows, is_last_only=True), "a") == [
        "The splitter alone wanted it in training after the last epoch (p_train 0.91); earlier ones were not recorded."]
    assert pins.pin_words(Tension(rows=rows, is_last_only=False), "b") == []


def test_a_conflict_is_marked_in_the_samples_history(home):
    path = make_project(home / "pets")
    make_run(path, "first")
    ledger = Project.open(path).ledger()
    ledger.relabel(["train-00007"], "bird", "ada")
    ledger.relabel(["train-00007"], "cat", "*bob*")
    ledger.exclude(["train-00007"], is_excluded=False, who="eve")
    app = views.start(home, "explore")
    app.session_state[dialog.OPEN_KEY] = "train-00007"
    views.rerun(app)
    warning = next(w.value for w in app.warning if "Conflict" in w.value)
    assert "*bob*" not in warning and "in force: relabel to cat" in warning.replace("\\", "")
    table = next(t.value for t in app.dataframe if "conflict" in t.value)
    assert table[["who", "conflict"]].to_numpy().tolist() == [["eve", False], ["*bob*", True], ["ada", True]]


def test_held_out_probabilities_are_bars_with_the_likeliest_first(home):
    path = make_project(home / "odd", classes=("<b>x</b>", "y", "z"))
    run = make_run(path, "first")
    probs = np.full((60, 3), np.nan)
    probs[5] = [0.07, 0.7, 0.23]
    run.write_probabilities(probs)
    app = views.start(home, "explore", project="odd", run="first")
    app.session_state[dialog.OPEN_KEY] = "train-00005"
    html = "".join(str(element.proto.body) for element in views.rerun(app).get("html"))
    shown = html[html.index("Held-out probabilities"):]
    assert shown.index("70.0%") < shown.index("23.0%") < shown.index("7.0%") and "&lt;b&gt;x&lt;/b&gt;" in shown
    app.session_state[dialog.OPEN_KEY] = "train-00006"
    assert "Held-out probabilities" not in "".join(str(e.proto.body) for e in views.rerun(app).get("html"))


def test_the_answers_that_came_with_a_sample_are_told(tmp_path: Path):
    rows = pd.DataFrame([("a", "ann", "dog"), ("a", "bob", "cat"), ("a", "eve", "cat"), ("b", None, "cat"),
                         ("b", None, "cat"), ("c", "ann", "dog")], columns=["sample_id", "annotator", "label"])
    rows.to_parquet(tmp_path / "answers.parquet")
    assert facts.answers_on(tmp_path, "a") == "cat (bob, eve), dog (ann)"
    assert facts.answers_on(tmp_path, "b") == "cat (2 people)" and facts.answers_on(tmp_path, "gone") == ""
    (tmp_path / "answers.parquet").write_bytes(b"torn")
    assert facts.answers_on(tmp_path, "a") == "" == facts.answers_on(tmp_path / "none", "a")
