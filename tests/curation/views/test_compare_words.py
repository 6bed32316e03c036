"""What the Compare page says of comparisons that cannot be what the usual words take for granted."""

import numpy as np
import pytest

from curation.experiments import more_seeds
from curation.project import Project
from curation.samples.split_facts import split_facts
from curation.views.compare import evidence
from curation.views.widgets import accuracy
from engine.contract.run_dir import RunDir
from tests import views
from tests.fakes import make_project, make_run, write_manifest


def said_of(home, page: str = "compare") -> str:
    return views.texts(views.start(home, page)).replace("\\", "")


def forget_truth(project: Project) -> None:
    """The clean split's labels as given: what an import holds out by chance."""
    rows = project.manifest()
    rows.loc[rows["split"] == "clean", "clean_label"] = None
    write_manifest(project.path, rows, project.classes, root="images")


def test_runs_that_no_seed_changes_are_not_told_to_try_another(home):
    path = make_project(home / "pets", num_test=200)
    make_run(path, "first", method="discriminant")
    Project.open(path).ledger().relabel(["train-00000"], "bird", who="ada")
    make_run(path, "second", method="discriminant")
    said = said_of(home)
    assert "every seed gives the same" in said and "another seed" not in said
    assert "more run" not in said, "none would tell more"
    assert "Fitting under the decisions on 1 sample" in said and "Training under" not in said
    assert "train one first" in said
    make_run(path, "trained")
    app = views.start(home, "compare")
    app.selectbox(key="compare.a").set_value("first")
    app.selectbox(key="compare.b").set_value("second")
    views.rerun(app).button(key="compare.decide").click()
    app = views.rerun(app)
    assert app.title[0].value == "Decide" and app.selectbox(key="run").value == "trained"
    assert "Start 6 runs" in [button.label for button in app.button] or "new runs" in views.texts(app)


def test_two_untrained_runs_of_other_settings_speak_of_no_seed_either(home):
    project = Project.open(make_project(home / "pets"))
    runs = [make_run(project.path, name, method="discriminant") for name in ("first", "second")]
    assert "no seed changes" in evidence.evidence(project, *runs)[0]
    trained = make_run(project.path, "third", method="erm")
    assert "another seed alone can move third by" in evidence.evidence(project, runs[0], trained)[0]


def test_without_a_held_out_split_the_page_says_so_and_what_to_do(home):
    path = make_project(home / "pets", num_clean=0, num_test=0)
    make_run(path, "first")
    make_run(path, "second", method="erm")
    said = said_of(home)
    assert "no test and no clean split" in said and "hold some out" in said
    assert "when both runs have ended" not in said and "must end first" not in said


def test_a_clean_split_that_nobody_vouches_for_is_not_called_clean(home):
    project = Project.open(make_project(home / "pets"))
    assert accuracy.accuracy_name(project, "clean") == "clean accuracy"
    forget_truth(project)
    assert split_facts(project).is_as_given("clean") and not split_facts(project).is_as_given("test")
    for name in ("first", "second"):
        make_run(project.path, name)
    app = views.start(home, "compare")
    assert [metric.label.split(",")[0] for metric in app.metric] == ["Test accuracy", "Hold-out accuracy"]
    assert "labels are as given" in app.metric[1].help and "known to be right" in app.metric[0].help


def test_no_evidence_comes_with_the_runs_that_give_some_and_their_price(home, monkeypatch: pytest.MonkeyPatch):
    project = Project.open(make_project(home / "pets"))
    make_run(project.path, "erm-a", method="erm")
    make_run(project.path, "erm-b", method="erm", seed=1)
    make_run(project.path, "molere", seed=1)
    asked: list[tuple[str, int]] = []
    monkeypatch.setattr(more_seeds.run_jobs, "submit", lambda path, name, config, decisions: asked.append(
        (name, config.seed)))
    app = views.start(home, "compare")
    assert "for 3 pairs of the same seed: about 30 s in all" in views.texts(app).replace("\\", "")
    app.button(key="compare.more_seeds").click()
    views.rerun(app)
    assert asked == [("molere-s0", 0), ("erm-b-s2", 2), ("molere-s2", 2)]


def test_seeds_are_planned_up_to_ten_pairs_and_never_for_what_they_cannot_repeat(home):
    project = Project.open(make_project(home / "pets"))
    a, b = (make_run(project.path, name, method=method) for name, method in (("erm-s0", "erm"), ("molere", "molere")))
    plan = more_seeds.plan_more_seeds(project, a, b)
    assert plan is not None and plan.num_pairs == 3 and [seed for _, seed in plan.new] == [1, 1, 2, 2]
    for seed in (1, 2):
        for method in ("erm", "molere"):
            make_run(project.path, f"{method}-s{seed}", method=method, seed=seed)
    plan = more_seeds.plan_more_seeds(project, a, b)
    assert plan is not None and plan.num_pairs == 5 and np.unique([seed for _, seed in plan.new]).tolist() == [3, 4]
    other_seed = RunDir.of(project.path, "erm-s1")
    assert more_seeds.plan_more_seeds(project, a, other_seed) is None, "one experiment is compared with nothing"
    make_run(project.path, "going", method="erm", seed=3, state="running")
    assert more_seeds.plan_more_seeds(project, a, b) is None, "not twice"
    make_run(project.path, "going", method="erm", seed=3)
    document = b.read_config()
    document["manifest_digest"] = "of other data"
    b.write_config(document)
    assert more_seeds.plan_more_seeds(project, a, b) is None
