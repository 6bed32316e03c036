"""The Compare and Export pages through AppTest on fakes, and the figures behind them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.experiments import compare as comparison
from curation.experiments.effects import Experiment
from curation.project import Project
from curation.views.compare import effect
from curation.views.compare import page as compare
from curation.views.export import page as export
from curation.views.widgets import confusion
from tests import views
from tests.fakes import make_project, make_run

HOSTILE = ("<img src=x onerror=alert(1)>", "=1+1", "*b* _i_ `c`", "$x$ :red[y] :smile:")


@pytest.fixture
def pets(home: Path) -> Project:
    """Two finished runs of one setting; between them two pins and an exclusion."""
    path = make_project(home / "pets")
    make_run(path, "first")
    project = Project.open(path)
    project.ledger().pin(["train-00001", "train-00002"], to="validation", who="ada")
    project.ledger().exclude(["train-00003"], who="ada")
    make_run(path, "second")
    return project


def table_of(app: Any, *columns: str) -> pd.DataFrame:
    """The table on the page that has these columns."""
    for element in app.dataframe:
        if set(columns) <= set(element.value.columns):
            frame: pd.DataFrame = element.value
            return frame
    raise AssertionError(f"no table with {columns}; there are {[list(e.value.columns) for e in app.dataframe]}")


def press(app: Any, key: str) -> Any:
    app.button(key=key).click()
    return views.rerun(app)


# -- compare


def test_the_newest_run_is_compared_with_the_one_it_came_from(home, pets):
    make_run(pets.path, "other", method="erm")
    make_run(pets.path, "third")
    app = views.start(home, "compare")
    assert (app.selectbox(key="compare.a").value, app.selectbox(key="compare.b").value) == ("second", "third")
    make_run(pets.path, "lonely", method="meta_weight_net")
    runs = pets.runs()
    assert compare.parent_of(runs[0], runs[1:]).name == "third", "without a twin: the one before"


def test_a_run_that_has_not_ended_is_no_side_at_first_and_its_export_is_warned_of(home, pets):
    make_run(pets.path, "going", state="failed")
    app = views.start(home, "compare")
    assert (app.selectbox(key="compare.a").value, app.selectbox(key="compare.b").value) == ("first", "second")
    assert "has not ended" in views.texts(views.start(home, "export", run="going"))
    assert "has not ended" not in views.texts(views.start(home, "export", run="second"))


def test_the_headline_has_both_accuracies_their_difference_and_the_number_of_samples(home, pets):
    app = views.start(home, "compare")
    table = comparison.accuracy_table(pets.run("first"), pets.run("second")).set_index("split")
    metric = app.metric[0]
    assert metric.label == "Test accuracy, A to B, on 12 samples"
    row = table.loc["test"]
    assert metric.value == f"{row['accuracy_a']:.1%} \u2192 {row['accuracy_b']:.1%}"
    assert metric.delta == f"{row['difference'] * 100:+.1f} points"


def test_one_run_a_side_is_called_no_evidence(home, pets):
    make_run(pets.path, "third", method="erm")
    assert "One run a side is no evidence" in views.texts(views.start(home, "compare"))


def test_several_seeds_a_side_give_a_paired_interval(home):
    path = make_project(home / "pets", num_test=200)
    for seed in range(3):
        for method in ("erm", "molere"):
            make_run(path, f"{method}-{seed}", seed=seed, method=method)
    project = Project.open(path)
    lines = compare.evidence(project, project.run("erm-0"), project.run("molere-0"))
    assert lines[0].startswith("Over 3 pairs of runs with the same seed, test accuracy differs by")
    assert "95% interval" in lines[0]
    assert not any("no evidence" in line for line in lines)


def test_a_split_used_for_validation_is_set_apart_and_no_figure(home, pets):
    run = pets.run("second")
    document = run.read_config()
    document["config"]["validation"] = "clean"
    run.write_config(document)
    app = views.start(home, "compare", run="first")
    assert [metric.label.split(",")[0] for metric in app.metric] == ["Test accuracy"]
    assert any("Clean accuracy is no figure of quality" in warning.value for warning in app.warning)


def test_settings_decisions_and_roles_that_differ_are_listed(home, pets):
    app = views.start(home, "compare")
    assert "Both runs have the same settings." in views.texts(app)
    decisions = table_of(app, "sample", "A", "B").set_index("sample")
    assert decisions.loc["train-00001"].tolist() == ["none", "pinned to validation"]
    assert decisions.loc["train-00003", "B"] == "excluded"
    flow = table_of(app, "A / B").set_index("A / B")
    changes = comparison.sample_changes(pets.run("first"), pets.run("second"))
    assert flow.to_numpy().sum() == len(changes) == 60
    app.selectbox(key="compare.a").set_value("second")
    app.selectbox(key="compare.b").set_value("second")
    views.rerun(app)
    assert any("the same run" in info.value for info in app.info)


def test_figures_of_the_last_epoch_go_by_what_they_mean(home, pets):
    figures = list(table_of(views.start(home, "compare"), "figure", "A", "B")["figure"])
    assert {"in validation", "withheld by the guard", "train loss"} <= set(figures)
    assert not any("_" in name or "num " in name for name in figures)


def test_samples_that_changed_most_come_first_with_the_change_in_words():
    changes = pd.DataFrame({
        "sample_id": ["a", "b", "c"], "role_a": ["train", "train", "validation"],
        "role_b": ["train", "validation", "train"], "role_changed": [False, True, True],
        "margin_a": [0.1, 0.2, 0.9], "margin_b": [0.1, -0.2, 0.0], "margin_change": [0.0, -0.4, -0.9],
        "weight_a": [1.0, 1.0, np.nan], "weight_b": [1.5, 1.1, 1.0], "weight_change": [0.5, 0.1, np.nan]})
    by_role = compare.ranked_changes(changes, "role changed")
    assert by_role["sample_id"].tolist() == ["c", "b"]
    assert by_role["told"].tolist() == ["validation \u2192 train", "train \u2192 validation"]
    by_weight = compare.ranked_changes(changes, "weight changed most")
    assert by_weight["told"].tolist() == ["weight 1.00 \u2192 1.50", "weight 1.00 \u2192 1.10"]
    assert compare.ranked_changes(changes, "margin changed most")["sample_id"].tolist() == ["c", "b"]


def test_confusions_count_what_both_runs_predicted(home, pets):
    a, b = pets.run("first"), pets.run("second")
    predictions = b.read_predictions()
    b.write_predictions(predictions.drop(index=predictions.index[predictions["split"] == "test"][0]))
    before, after = confusion.confusion_counts(a, b, "test", pets.classes)
    assert before.sum() == after.sum() == 11
    naive = np.zeros((3, 3), dtype=int)
    for row in comparison.scored_predictions(b).query("split == 'test'").itertuples():
        naive[pets.classes.index(row.label), pets.classes.index(row.prediction)] += 1
    assert (after == naive).all()


def test_of_very_many_classes_the_most_changed_and_confused_are_shown():
    rng = np.random.default_rng(0)
    before = np.diag(rng.integers(5, 9, 100))
    after = before.copy()
    after[[7, 60], [60, 7]] += 3
    kept = confusion.shown_classes(before, after)
    assert len(kept) == confusion.MAX_CLASSES and {7, 60} <= set(kept) and (np.diff(kept) > 0).all()
    figure = confusion.heat_map((after - before)[kept][:, kept], tuple(HOSTILE * 8)[:30], True)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-3, 3), "no change is white"
    assert "<img" not in figure.to_json()


def test_fewer_than_two_runs_say_what_to_do(home):
    path = make_project(home / "pets")
    assert "this project has none" in views.texts(views.start(home, "compare"))
    make_run(path, "first")
    assert "this project has 1" in views.texts(views.start(home, "compare"))


def test_runs_that_have_not_ended_are_compared_as_far_as_they_are(home):
    path = make_project(home / "pets")
    make_run(path, "first", state="running")
    make_run(path, "second", state="failed")
    said = views.texts(views.start(home, "compare"))
    assert "second ended without predictions" in said and "They take the predictions of both runs." in said


def test_class_names_stay_text_on_both_pages(home):
    path = make_project(home / "odd", classes=HOSTILE)
    make_run(path, "first")
    Project.open(path).ledger().relabel(["train-00001"], HOSTILE[0], who="ada")
    make_run(path, "second")
    for page in ("compare", "export"):
        app = views.start(home, page)
        said = "\n".join(str(m.value) for m in [*app.markdown, *app.caption, *app.info, *app.warning])
        assert not any(name in said for name in HOSTILE)
        assert not any("<img" in element.proto.body for element in app.get("html"))


# -- export


@pytest.mark.parametrize(("chosen", "files"), [
    (("hard-validation", "imagefolder"), {"README.md", "SHA256SUMS", "classes.csv", "classes.txt", "croissant.json",
                                           "validation/metadata.csv"}),
    (("hard-validation", "table"), {"README.txt", "hard_validation.csv", "hard_validation.parquet"}),
    (("hard-validation", "clothing1m"), {"README.txt", "category_names_eng.txt", "curated_val_key_list.txt",
                                         "curated_val_label_kv.txt"}),
])
def test_the_curated_set_is_exported_and_its_files_are_listed(home, pets, chosen, files):
    app = views.start(home, "export")
    app.selectbox(key="export.what").set_value(chosen)
    views.rerun(app)
    num = int(app.metric[0].value)
    press(app, "export.write")
    folder = pets.path / "exports" / f"second-{'-'.join(chosen)}"
    assert files <= set(export.files_of(folder)["file"])
    assert f"{num} samples in second" in views.texts(app).replace("\\", "")
    assert str(folder) in [code.value for code in app.code]
    listed = table_of(app, "file", "bytes")
    assert set(listed["file"]) == files and (listed["bytes"] > 0).all()
    assert {button.label for button in app.get("download_button")} == {
        f"Download {name.rpartition('/')[2]}" for name in files
        if name.endswith((".csv", ".parquet", "_kv.txt", "_list.txt"))}
    assert not any(path.name.endswith(".tmp") for path in (pets.path / "exports").iterdir())


def test_the_preview_is_what_will_be_written(home, pets):
    app = views.start(home, "export")
    preview = table_of(app, "sample_id", "current_label", "role_reason")
    assert list(preview["sample_id"][:2]) == ["train-00001", "train-00002"], "the pinned ones"
    assert "train-00003" not in set(preview["sample_id"]), "the excluded one"
    counts = table_of(app, "class", "samples")
    assert counts["samples"].sum() == int(app.metric[0].value)


def test_corrected_labels_need_a_relabel_and_no_run(home):
    project = Project.open(make_project(home / "pets"))
    app = views.start(home, "export")
    assert "This export needs a run with results." in views.texts(app)
    app.selectbox(key="export.what").set_value(("corrected-labels", "table"))
    views.rerun(app)
    assert "export.write" not in [button.key for button in app.button] and "Nothing to export yet" in views.texts(app)
    project.ledger().relabel(["train-00000"], "bird", who="ada", why="a beak")
    press(views.rerun(app), "export.write")
    written = pd.read_csv(project.path / "exports" / "corrected-labels-table" / "corrected_labels.csv")
    assert written[["sample_id", "corrected_label", "why"]].iloc[0].tolist() == ["train-00000", "bird", "a beak"]


def test_confirmed_labels_are_exported_as_clothing1m_files_without_any_being_changed(home):
    project = Project.open(make_project(home / "pets"))
    app = views.start(home, "export")
    app.selectbox(key="export.what").set_value(("corrected-labels", "clothing1m"))
    assert "confirmed, changed or left out" in views.texts(views.rerun(app))
    project.ledger().relabel(["train-00000"], "cat", who="ada", why="as given")
    project.ledger().exclude(["train-00001"], who="ada")
    preview = table_of(views.rerun(app), "sample_id", "corrected_label", "is_excluded")
    assert preview["sample_id"].tolist() == ["train-00000", "train-00001"]
    press(app, "export.write")
    folder = project.path / "exports" / "corrected-labels-clothing1m"
    assert (folder / "corrected_label_kv.txt").read_text() == "train/00000.png 0\n"
    assert (folder / "excluded_key_list.txt").read_text() == "train/00001.png\n"


def test_an_export_never_leaves_its_folder(home, pets):
    app = views.start(home, "export")
    for name in ("../out", "a/b", "", ".hidden", "a b"):
        next(field for field in app.text_input if field.label == "Folder").set_value(name)
        press(app, "export.write")
        assert any("a name must be" in error.value for error in app.error), name
    assert not (pets.path / "exports").exists() and not (pets.path.parent / "out").exists()


def test_a_folder_that_is_taken_is_refused_and_a_free_one_is_suggested(home, pets):
    app = press(views.start(home, "export"), "export.write")
    field = next(field for field in app.text_input if field.label == "Folder")
    assert field.value == "second-hard-validation-imagefolder-2"
    field.set_value("second-hard-validation-imagefolder")
    press(app, "export.write")
    assert any("new or empty folder" in error.value for error in app.error)


def test_a_run_that_routes_nothing_has_nothing_to_export(home):
    path = make_project(home / "pets")
    make_run(path, "plain", method="erm")
    assert "is empty" in views.texts(views.start(home, "export")).replace("\\", "")


def test_files_are_listed_relative_to_the_export_without_links(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.txt").write_text("four")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b" / "c.txt")
    assert export.files_of(tmp_path).to_dict("list") == {"file": ["a/b/c.txt"], "bytes": [4]}


# -- an experiment


def right(run: Any, share: float, seed: int) -> None:
    """Make a share of the run's predictions right."""
    rows, rng = run.read_predictions(), np.random.default_rng(seed)
    rows["prediction"] = np.where(rng.random(len(rows)) < share, rows["label"], "none of them")
    run.write_predictions(rows)


def experiment(home: Path, num_seeds: int, after: float = 0.9) -> Project:
    """num_seeds pairs of runs, without decisions and with a pin."""
    path = make_project(home / "pets", num_test=200)
    project = Project.open(path)
    for seed in range(num_seeds):
        right(make_run(path, f"without-{seed}", seed=seed), 0.5, seed)
    project.ledger().pin(["train-00001"], "validation", "ada")
    for seed in range(num_seeds):
        right(make_run(path, f"with-{seed}", seed=seed), after, 10 + seed)
    return project


def test_an_experiment_says_its_effect_in_words_first_and_with_its_interval(home):
    project = experiment(home, 3)
    app = views.start(home, "compare")
    assert (app.selectbox(key="compare.a").value, app.selectbox(key="compare.b").value) == ("without-2", "with-2")
    paired = comparison.paired_difference([project.run(f"without-{s}") for s in range(3)],
                                          [project.run(f"with-{s}") for s in range(3)])
    first = app.markdown[0].value.replace("\\", "")
    assert first.startswith("#### Training under the decisions on 1 sample, rather than under none, changes test "
                            f"accuracy: {paired.mean * 100:+.1f} points")
    assert (f"95% interval {paired.low * 100:+.1f} to {paired.high * 100:+.1f} over 3 seeds: more than chance "
            "explains." in first)
    said = views.texts(app).replace("\\", "")
    assert "The worst group on test" in said and "seeds 0, 1, 2" in said
    assert "One run a side is no evidence" not in said
    table = table_of(app, "kind", "low", "high")
    assert {"accuracy", "worst", "class", "group"} <= set(table["kind"]) and (table["num_pairs"] == 3).all()


def test_an_experiment_of_one_seed_has_no_interval_and_says_so(home):
    experiment(home, 1)
    first = views.start(home, "compare").markdown[0].value.replace("\\", "")
    assert "One seed, so no interval" in first and "95%" not in first


def test_an_effect_that_chance_may_explain_says_so(home):
    experiment(home, 3, after=0.5)
    app = views.start(home, "compare")
    headline, details = app.markdown[0].value.replace("\\", "").split("\n")
    assert headline.endswith("shows no clear effect on test accuracy.") and "points" not in headline
    assert "points" in details and "chance alone may explain it" in details
    assert any("over 3 seeds: A is without-0, without-1, without-2; B is with-0" in caption.value.replace("\\", "")
               for caption in app.caption), "the two selectors name one pair of the three"


def test_a_change_whose_interval_holds_0_is_never_emphasised():
    rows = pd.DataFrame([effect_row("all", "all", 0.1, 0.05), effect_row("worst", "label", 0.008, 0.095)])
    first, worst = effect.answers(Experiment(pairs=[], num_decided=(0, 3)), rows)
    assert first.is_clear and "+10.0 points" in first.what
    assert not worst.is_clear and worst.what == "The worst class on test shows no clear change."
    assert worst.details.startswith("+0.8 points") and "-8.7 to +10.3" in worst.details


def effect_row(kind: str, name: str, difference: float, half: float, num_samples: int = 12) -> dict[str, Any]:
    return {"split": "test", "kind": kind, "name": name, "num_samples": num_samples, "num_pairs": 2, "mean_a": 0.5,
            "mean_b": 0.5 + difference, "difference": difference, "low": difference - half, "high": difference + half}


def test_seeds_that_agree_on_few_samples_prove_nothing():
    assert "more than chance explains" in effect.how_sure(effect_row("worst", "label", 0.25, 0.05))
    assert "agree to within one of 12 samples" in effect.how_sure(effect_row("worst", "label", -1 / 12, 0.0))
    assert "chance alone may explain it" in effect.how_sure(effect_row("worst", "label", 0.0, 0.0))
    rows = pd.DataFrame([effect_row("all", "all", 0.1, 0.2), effect_row("label", "cat", 0.2, 0.05),
                         effect_row("label", "dog", 1 / 12, 0.0), effect_row("label", "bird", 0.2, 0.3)])
    found = Experiment(pairs=[], num_decided=(3, 0))
    first, moved = effect.answers(found, rows)
    assert first.what.startswith("Training under no decisions, rather than under those on 3 samples, shows no clear")
    assert moved.what == "Clear of chance, one by one:"
    assert moved.details.startswith("class cat +20.0 (+15.0 to +25.0). Of many")


def test_chosen_sets_stand_apart_with_a_warning(home, pets):
    app = views.start(home, "compare")
    assert any("People or the splitter chose these sets" in warning.value for warning in app.warning)
    table = table_of(app, "name", "share_a", "share_b").set_index("name")
    assert table.loc["Pinned to validation by people", "num_b"] == 2
    assert not any("pinned" in metric.label.lower() for metric in app.metric)


def test_a_preview_is_no_default_side_and_is_called_one(home, pets):
    run = make_run(pets.path, "preview-second")
    run.write_config(run.read_config() | {"warm_start": {"run": "second", "checkpoint": "x"}})
    app = views.start(home, "compare")
    assert app.selectbox(key="compare.b").value == "second"
    assert "preview-second (preview of second)" in app.selectbox(key="compare.b").options
    app.selectbox(key="compare.b").set_value("preview-second")
    said = views.texts(views.rerun(app)).replace("\\", "")
    assert "preview-second is a preview" in said and "Training under" not in said


def test_relabelled_samples_are_offered_where_the_run_has_no_set(home):
    project = Project.open(make_project(home / "pets"))
    project.ledger().relabel(["train-00000", "train-00001"], "bird", who="ada")
    assert "Export 2 corrected labels instead" in views.texts(views.start(home, "export")), "without any run"
    make_run(project.path, "judged", method="discriminant")
    app = views.start(home, "export")
    said = views.texts(app)
    assert "Nothing to export" not in said and "routes nothing to validation" in said
    press(app, "export.corrections")
    assert app.metric[0].value == "2" and app.button(key="export.write")


def test_a_run_that_routes_nothing_leads_to_one_that_does(home):
    path = make_project(home / "pets")
    make_run(path, "judged", method="erm")
    app = press(views.start(home, "export"), "routing.train")
    assert app.title[0].value == "Train" and app.selectbox(key="new_run.method").value == "molere"
    make_run(path, "routed")
    explore = views.start(home, "explore", run="judged")
    assert "routes nothing to validation" in views.texts(explore) and "judges labels" not in views.texts(explore)
    explore = press(explore, "routing.show")
    assert explore.selectbox(key="run").value == "routed" and "routing.show" not in [b.key for b in explore.button]
    app = press(views.start(home, "export", run="judged"), "routing.show")
    assert app.selectbox(key="run").value == "routed" and "routing.show" not in [b.key for b in app.button]
