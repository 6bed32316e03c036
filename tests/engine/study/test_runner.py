"""Studies: every run once, again only if what it depends on changed; failures and cancels leave the rest standing."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

from engine.__main__ import app
from engine.contract.config import RunConfig
from engine.contract.manifest import DECISIONS_NAME, ManifestError
from engine.contract.methods import TRAINABLE
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm, StudyError, config_of
from engine.model.prediction import NonFiniteError
from engine.runs import first_training
from engine.runs.train import train
from engine.study import row as study_row
from engine.study import worker
from engine.study.runner import run_study
from engine.training.trainer import Trainer
from tests.fake_features import make_features
from tests.fakes import make_project

FAST = {"epochs": 3, "batch_size": 16, "augment": "shift", "rotation_groups": 3, "num_threads": 1, "folds": 2,
        "device": "cpu", "embedding": "none", "reweighter.every": 1, "reweighter.val_batch_size": 8,
        "splitter.num_neighbors": 3}
ERM, MOLERE = Arm.of_method("erm"), Arm.of_method("molere")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path / "fake", num_train=60, num_test=30, size=8)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(method, seed) of every training that really happens."""
    done: list[tuple[str, int]] = []
    real = worker.train_and_measure

    def counting(config, *rest):
        done.append((config.method, config.seed))
        return real(config, *rest)

    monkeypatch.setattr(worker, "train_and_measure", counting)
    return done


def instant(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """No training at all; figures that tell the runs apart."""
    done: list[tuple[str, int]] = []

    def figures(config, data, ranking, on_tick):
        done.append((config.method, config.seed))
        return {"method": config.method, "test_accuracy": 0.5, "seconds": 1.0, "curve": {}, "class_accuracies": {},
                "group_accuracies": {}}, np.zeros(30)

    monkeypatch.setattr(worker, "train_and_measure", figures)
    return done


def test_a_study_trains_every_arm_of_a_seed_before_the_next_seed_and_nothing_twice(project, trained):
    lines: list[str] = []
    study = run_study(project, "s", [ERM, MOLERE], [0, 1], FAST, say=lines.append)
    assert trained == [("erm", 0), ("molere", 0), ("erm", 1), ("molere", 1)]
    assert [line.split(":")[0] for line in lines] == ["erm seed 0", "molere seed 0", "erm seed 1", "molere seed 1"]
    assert "left)" in lines[0] and lines[-1].endswith("(4 of 4)")
    status = study.read_status()
    assert (status["state"], status["done"], status["failed"], status["total"]) == ("done", 4, 0, 4)
    run_study(project, "s")
    assert len(trained) == 4, "all rows were there"
    (study.path / "rows" / "molere-s1.json").unlink()
    run_study(project, "s")
    assert trained[4:] == [("molere", 1)]


def test_a_row_says_what_a_run_of_the_same_config_says(project):
    study = run_study(project, "s", [MOLERE], [3], FAST)
    row = study.read_rows().iloc[0]
    run = train(config_of(MOLERE, FAST, 3), project, "same")
    last, signals = run.read_metrics().iloc[-1], run.read_signals()
    for name in ("test_accuracy", "clean_accuracy", "train_loss", "effective_sample_frac", "guard_wrong_share",
                 "coverage", "num_routed"):
        assert row[name] == pytest.approx(last[name]), name
    for name in ("validation_loss", "churn"):
        assert row[name] == pytest.approx(run.read_metrics()[name].dropna().iloc[-1]), name
    assert row["weight_wrong"] == pytest.approx(last["weight_mean_wrong"])
    assert row["curve"]["churn"] == run.read_metrics()["churn"].astype(object).where(lambda c: c.notna(), None).tolist()
    predictions = run.read_predictions().query("split == 'test'")
    right = predictions["label"] == predictions["prediction"]
    recalls = right.groupby(predictions["label"]).mean()
    assert row["class_accuracies"] == pytest.approx(recalls.to_dict())
    assert (row["balanced_accuracy"], row["worst_class_accuracy"]) == pytest.approx((recalls.mean(), recalls.min()))
    by_group = right.groupby(predictions["group"]).mean()
    assert row["worst_group_accuracy"] == pytest.approx(by_group.min())
    assert study.read_margins("molere", 3) == pytest.approx(predictions["margin"].to_numpy(), abs=1e-3)
    is_wrong = np.arange(60) % 10 == 7
    known = signals["label_quality"].notna().to_numpy()
    assert row["label_quality_auroc"] == pytest.approx(
        roc_auc_score(is_wrong[known], 1 - signals["label_quality"][known]), abs=1e-6)
    seen = signals["mean_margin"].notna().to_numpy()
    assert row["mean_margin_average_precision"] == pytest.approx(
        average_precision_score(is_wrong[seen], -signals["mean_margin"][seen]), abs=1e-6)
    assert row["num_steps"] == 3 * 4 and row["epochs"] == 3 and row["seconds"] > 0 and row["cpu_seconds"] > 0
    history = run.read_history(np.arange(60)).query("epoch == 2")  # the last epoch rests nobody
    assert row["curve"]["rest_loss"][2] is None and row["rest_loss"] == row["curve"]["rest_loss"][1] > 0
    assert ((history["role"] == "validation") & (history["routed"] == 0)).any()
    assert row["routed_loss_then"] == row["curve"]["validation_loss"][1]


@pytest.mark.parametrize("method", TRAINABLE)
def test_an_arm_of_any_method_trains_as_a_run_of_it_does(project, method):
    """A discriminant is fitted in both, and what trains twice does so in both."""
    make_features(project)
    settings = FAST | {"features": "own", "network": "linear", "weight_decay": 0.01, "epochs": 2, "augment": "auto"}
    study = run_study(project, "s", [Arm.of_method(method)], [1], settings)
    run = train(config_of(Arm.of_method(method), settings, 1), project, "same")
    row, metrics = study.read_row(method, 1), run.read_metrics()
    assert row["state"] == "done"
    assert row["test_accuracy"] == metrics["test_accuracy"].iloc[-1] > 0.5
    assert row["train_loss"] == pytest.approx(metrics["train_loss"].iloc[-1])


def test_the_random_resting_loss_is_of_the_resting_alone():
    def resting(mask):
        return SimpleNamespace(epoch_roles=SimpleNamespace(resting=np.array(mask)), record=SimpleNamespace(
            loss=torch.tensor([1.0, 2.0, 6.0])))

    assert study_row._rest_loss(resting([True, False, True])) == 3.5
    assert study_row._rest_loss(resting([False] * 3)) is None


def test_recalls_and_groups_by_hand():
    right = np.array([1, 1, 0, 1, 1, 0, 0, 1, 0, 0, 0], dtype=bool)
    classes = np.array(["a"] * 4 + ["b"] * 7, dtype=object)
    groups = np.array(["day"] * 5 + ["night"] * 5 + [None], dtype=object)
    found = study_row.group_figures(right, classes, groups)
    assert found["class_accuracies"] == pytest.approx({"a": 3 / 4, "b": 2 / 7})
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 7) / 2)
    assert found["group_accuracies"] == pytest.approx({"day": 4 / 5, "night": 1 / 5})
    assert (found["worst_group"], found["worst_group_accuracy"]) == ("night", pytest.approx(1 / 5))
    few = study_row.group_figures(right, classes, np.array(["x"] * 7 + ["few"] * 4, dtype=object))
    assert list(few["group_accuracies"]) == ["x"], "four samples are too few"
    assert study_row.group_figures(right, classes, None)["worst_group"] is None


def test_a_changed_arm_is_trained_again_and_its_old_row_is_kept_aside(project, monkeypatch):
    trained = instant(monkeypatch)
    study = run_study(project, "s", [ERM, MOLERE], [0], FAST)
    run_study(project, "s", [Arm(name="molere", settings={"method": "molere", "guard": "off"})])
    assert trained == [("erm", 0), ("molere", 0), ("molere", 0)]
    assert study.read_row("molere", 0)["config"]["guard"] == "off"
    replaced = list((study.path / "rows" / "replaced").iterdir())
    assert len(replaced) == 1 and json.loads(replaced[0].read_text())["config"]["guard"] == "probable"
    run_study(project, "s", seeds=[1], settings={"epochs": 2})
    assert len(trained) == 7, "a common setting concerns every arm, and there is a second seed"
    assert set(study.read_rows()["seed"]) == {0, 1}
    run_study(project, "s", reference="molere")
    assert len(trained) == 7 and study.read_document().plan.reference == "molere"


def test_new_decisions_are_a_reason_to_train_again_but_not_for_an_arm_without(project, monkeypatch):
    trained = instant(monkeypatch)
    bare = Arm(name="bare", settings={"method": "erm"}, decisions="none")
    study = run_study(project, "s", [MOLERE, bare], [0], FAST)
    pd.DataFrame({"sample_id": ["train-00000"], "pin": [None], "excluded": [True], "label": [None]}).to_parquet(
        project / DECISIONS_NAME, index=False)
    run_study(project, "s")
    assert trained == [("molere", 0), ("erm", 0), ("molere", 0)]
    assert (study.path / "decisions" / f"{study.read_row('molere', 0)['decisions_digest'][:16]}.parquet").exists()
    with pytest.raises(ManifestError, match="decisions must be a Parquet file, or none; arm lost names"):
        run_study(project, "s", [Arm(name="lost", decisions="nowhere.parquet")])
    assert [arm.name for arm in study.read_document().plan.arms] == ["molere", "bare"], "a refused arm is no part of it"


def test_decisions_of_an_arm_reach_its_training(project):
    wrong = [f"train-{i:05d}" for i in range(7, 60, 10)]
    pd.DataFrame({"sample_id": wrong, "pin": None, "excluded": True, "label": None}).to_parquet(project / "out.parquet")
    study = run_study(project, "s", [Arm(name="oracle", settings={"method": "erm"},
                                         decisions=str(project / "out.parquet"))], [0], FAST)
    row = study.read_rows().iloc[0]
    assert row["state"] == "done" and row["num_steps"] == 3 * 4  # 54 samples left
    assert row["mean_margin_auroc"] is None, "no wrong label is left in training"


def test_a_failed_run_leaves_the_others_and_is_tried_again(project, trained, monkeypatch):
    real = Trainer.run_epoch

    def diverge(self, epoch, *rest):
        if self.config.method == "molere" and epoch == 2:
            raise NonFiniteError("a loss must be finite\nand it was not")
        real(self, epoch, *rest)

    monkeypatch.setattr(Trainer, "run_epoch", diverge)
    study = run_study(project, "s", [MOLERE, ERM], [0], FAST)
    rows = study.read_rows().set_index("arm")
    assert rows["state"].to_dict() == {"molere": "failed", "erm": "done"}
    assert rows.loc["molere", "error"] == "NonFiniteError: a loss must be finite"
    assert study.read_status()["state"] == "done" and study.read_status()["failed"] == 1
    assert CliRunner().invoke(app, ["study", str(project), "--name", "s", "--report"]).exit_code == 0
    assert len(trained) == 2, "a report trains nothing, so it cannot have failed at that"
    result = CliRunner().invoke(app, ["study", str(project), "--name", "s"])
    assert result.exit_code != 0 and "1 of the study's runs failed, first molere seed 0" in str(result.exception)
    monkeypatch.setattr(Trainer, "run_epoch", real)
    run_study(project, "s")
    assert trained == [("molere", 0), ("erm", 0), *[("molere", 0)] * 2], "the failed one alone"
    assert (study.read_rows()["state"] == "done").all()
    assert CliRunner().invoke(app, ["study", str(project), "--name", "s", "--report"]).exit_code == 0


def test_a_worker_that_ended_for_a_cancel_leaves_its_study_unfinished(project, monkeypatch):
    """The worker saw the cancel, its pool not yet: no run is left to wait for, and one has no row."""
    pool = worker.Pool(project, StudyDir.of(project, "s"), 1)
    monkeypatch.setattr(pool, "_give", lambda task: pool.busy.update({"pipe": (None, task)}))
    monkeypatch.setattr(worker, "wait", lambda pipes, timeout: pipes)
    monkeypatch.setattr(pool, "_stop", lambda: None)
    for row in (None, {"state": "done"}):
        monkeypatch.setattr(pool, "_hear", lambda pipe, on_message, row=row: pool.busy.pop(pipe) and row)
        assert pool.run(["task"], print, lambda row: None, lambda: None) == (row is not None)


def test_a_cancel_made_while_a_study_starts_holds_and_one_of_before_does_not(project):
    study = StudyDir.of(project, "s")
    study.path.mkdir(parents=True)
    study.request_cancel()
    run_study(project, "s", [ERM], [0], FAST)
    assert study.read_status()["state"] == "cancelled" and study.read_rows().empty
    assert not study.is_cancel_requested(), "once it has been obeyed it is done with"
    study.request_cancel()
    os.utime(study.path / "cancel", (1e9, 1e9))
    run_study(project, "s")
    assert study.read_status()["state"] == "done" and len(study.read_rows()) == 1


def test_a_cancel_stops_within_a_run_and_keeps_the_rows_before_it(project, monkeypatch):
    monkeypatch.setattr(worker, "TICK_SECONDS", 0.0)
    study, real = StudyDir.of(project, "s"), worker.train_and_measure

    def cancelling(config, *rest):
        if config.method == "molere":
            study.request_cancel()
        return real(config, *rest)

    monkeypatch.setattr(worker, "train_and_measure", cancelling)
    run_study(project, "s", [ERM, MOLERE], [0, 1], FAST)
    assert study.read_status()["state"] == "cancelled" and study.read_rows()[["arm", "seed"]].values.tolist() == [
        ["erm", 0]]
    monkeypatch.setattr(worker, "train_and_measure", real)
    run_study(project, "s")
    assert study.read_status()["state"] == "done" and len(study.read_rows()) == 4


def test_arms_of_one_seed_share_their_ranking(project, monkeypatch):
    ranked = []
    real = first_training.first_probabilities
    monkeypatch.setattr(first_training, "first_probabilities", lambda *a, **k: ranked.append(1) or real(*a, **k))
    arms = [Arm.of_method(name) for name in ("lrw_easy", "lrw_hard", "rho")]  # rho has two folds, as FAST
    study = run_study(project, "s", arms, [0], FAST)
    rows = study.read_rows().set_index("arm")
    assert len(ranked) == 1 and (rows["state"] == "done").all()
    assert rows["ranking_seconds"].nunique() == 1 and rows["ranking_seconds"].iloc[0] > 0
    easy = run_study(project, "t", arms[:1], [0], FAST)
    assert easy.read_margins("lrw_easy", 0).tolist() == study.read_margins("lrw_easy", 0).tolist()
    run = train(config_of(arms[1], FAST, 0), project, "same")
    last, signals = run.read_metrics().iloc[-1], run.read_signals()
    assert rows.loc["lrw_hard", "train_loss"] == pytest.approx(last["train_loss"])
    assert rows.loc["lrw_hard", "num_routed"] == last["num_routed"] > 0
    assert rows.loc["lrw_hard", "label_quality_auroc"] == pytest.approx(
        roc_auc_score(np.arange(60) % 10 != 7, signals["label_quality"]), abs=1e-6)


@pytest.mark.slow
def test_worker_processes_reach_the_same_rows(project):
    one = run_study(project, "one", [ERM, MOLERE], [0], FAST)
    two = run_study(project, "two", [ERM, MOLERE], [0], FAST, num_workers=2)
    assert two.read_status()["state"] == "done" and two.read_status()["running"] == []
    for arm in ("erm", "molere"):
        assert one.read_row(arm, 0)["curve"] == two.read_row(arm, 0)["curve"]
        assert np.array_equal(one.read_margins(arm, 0), two.read_margins(arm, 0))


def test_a_worker_that_dies_is_a_failed_row(project, tmp_path):
    study = StudyDir.of(project, "s")
    run_study(project, "s", [ERM], [0], {**FAST, "epochs": 1})
    pool = worker.Pool(project, study, 1)
    task = worker.Task(arm=ERM, seed=0, config=RunConfig(method="erm"), decisions_path=Path("none"),
                       decisions_digest="", manifest_digest="", code_revision="")
    ours, theirs = pool.context.Pipe()

    class Dead:
        exitcode = -9

        def join(self) -> None: ...

    theirs.close()
    pool.busy[ours] = (Dead(), task)
    row = pool._hear(ours, lambda *_: None)
    assert (row["state"], row["error"]) == ("failed", "its process ended with status -9; out of memory?")
    assert study.read_row("erm", 0)["state"] == "failed" and not pool.busy


def test_two_processes_do_not_run_one_study(project):
    with StudyDir.of(project, "s").lock(), pytest.raises(StudyError, match="one process runs a study; 's'"):
        run_study(project, "s", [ERM], [0], FAST)


def test_a_setting_newer_than_a_row_does_not_make_it_stale(project, monkeypatch):
    trained = instant(monkeypatch)
    study = run_study(project, "s", [ERM], [0], FAST)
    row = study.read_row("erm", 0)
    del row["config"]["folds"]
    study.write_row(row)
    run_study(project, "s", settings={"folds": RunConfig().folds})
    assert len(trained) == 1, "it had the default then"
    run_study(project, "s", settings={"folds": 5})
    assert len(trained) == 2


def test_a_plan_file_and_options_together(project, tmp_path, monkeypatch):
    trained = instant(monkeypatch)
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"arms": {"erm": {"method": "erm", "epochs_factor": 2}}, "seeds": [4],
                                "settings": {"epochs": 2}, "reference": "erm"}))
    command = ["study", str(project), "--name", "s", "--plan", str(path), "--methods", "molere"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0 and trained == [("erm", 4), ("molere", 4)]
    assert "tables: " in done.output and "one seed" in done.output
    study = StudyDir.of(project, "s")
    assert study.read_row("erm", 4)["config"]["epochs"] == 4
    study.tables_path.unlink()
    again = CliRunner().invoke(app, ["study", str(project), "--name", "s", "--report"], catch_exceptions=False)
    assert again.exit_code == 0 and len(trained) == 2 and study.tables_path.exists()


def test_studies_of_a_project_are_listed(project, monkeypatch):
    instant(monkeypatch)
    assert StudyDir.list(project) == []
    run_study(project, "first", [ERM], [0], FAST)
    assert [s.name for s in StudyDir.list(project)] == ["first"]
    document = StudyDir.list(project)[0].read_document()
    assert document.versions["torch"] and document.hardware and document.manifest_digest
    assert document.created == document.updated and document.is_tuned_here is None
