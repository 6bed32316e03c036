"""Evidence against naive loops, the calibrated probability against an independent optimiser, and what verdicts do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from sklearn.metrics import roc_auc_score

from curation.audit.reviews.queues import find_order
from curation.audit.suspects import design as design_module
from curation.audit.suspects import evidence as evidence_module
from curation.audit.suspects import scores as scores_module
from curation.audit.suspects.design import Design
from curation.audit.suspects.evidence import gather, log_odds
from curation.audit.suspects.level import Level
from curation.audit.suspects.scores import (
    FEATURE_PRIOR,
    PRIOR,
    SD_CLASS,
    SD_EVIDENCE,
    calibrated,
    dual_figures,
    first_level,
    scores_of,
)
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import sample_table, samples
from engine.contract.manifest import read_info, read_manifest
from engine.contract.run_dir import RunDir
from tests.fakes import make_project, make_run, write_manifest

CLASSES = ("cat", "dog", "bird")
NO_VERDICTS = pd.DataFrame({"sample_id": pd.Series([], dtype=object)})


def with_probabilities(run: RunDir, num: int, seed: int = 0, name: str = "label_head") -> np.ndarray:
    """Random probabilities (num, 3) that favour the truth, kept with the run; as they are read back."""
    rng = np.random.default_rng(seed)
    truth = np.arange(num) % 3
    logits = rng.normal(0, 1.2, (num, 3))
    logits[np.arange(num), truth] += 2.0
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    run.write_probabilities(probs, name)
    return probs.astype(np.float32 if name == "label_head" else np.float16).astype(np.float64)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """600 training samples, a tenth of them wrong, whose truth the manifest does not say, and two runs."""
    return built(tmp_path, num_known=0)


def built(folder: Path, num_known: int) -> Project:
    path = make_project(folder / f"pets-{num_known}", num_train=600)
    for seed, name in enumerate(("first", "second")):
        make_run(path, name, seed=seed)
    with_probabilities(RunDir.of(path, "first"), 600)
    hide_truth(path, num_known)
    return Project.open(path)


def hide_truth(path: Path, num_known: int) -> None:
    """Leave clean_label to the first num_known training samples."""
    rows, info = read_manifest(path), read_info(path)
    is_hidden = (rows["split"] == "train") & (rows.groupby("split").cumcount() >= num_known)
    rows.loc[is_hidden, "clean_label"] = None
    write_manifest(path, rows, info.classes, root=info.root)


def truth_of(project: Project) -> tuple[np.ndarray, np.ndarray]:
    """(given codes, is_wrong) of the fake's training samples, by how it is made."""
    table = sample_table(project, None)
    given = pd.Categorical(table["given_label"], categories=CLASSES).codes.astype(int)
    return given, given != np.arange(len(table)) % 3


def test_evidence_is_what_a_loop_finds(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence_module, "ROWS_AT_ONCE", 70)
    run = project.run("first")
    probs = with_probabilities(run, 600)
    table = sample_table(project, run).iloc[::-1].reset_index(drop=True)
    table.loc[5, "signal_row"] = -1  # a sample that the run did not know
    found = gather(SampleTable.of(table), [run], CLASSES, run.read_neighbours())
    indices, _ = run.read_neighbours()
    given_of_row = dict(zip(table["signal_row"], table["given_label"], strict=True))
    history = [np.load(path)["margin"] for path in sorted((run.path / "history").glob("*.npy"))]
    for i in (0, 17, 333, 599):
        row, label = int(table["signal_row"][i]), CLASSES.index(table["given_label"][i])
        others = {c: probs[row, c] for c in range(3) if c != label}
        rival = max(others, key=lambda c: others[c])
        assert found.rival[i] == rival
        assert found.columns["self_confidence"][i] == pytest.approx(probs[row, label])
        assert found.columns["normalised_margin"][i] == pytest.approx((probs[row, label] - others[rival] + 1) / 2)
        assert found.rival_share[i] == pytest.approx(others[rival] / (1 - probs[row, label]), rel=1e-3)
        near = [given_of_row.get(j) == table["given_label"][i] for j in indices[row] if j in given_of_row]
        assert found.columns["neighbour_agreement"][i] == pytest.approx(np.mean(near))
        course = [(e + 1, h[row]) for e, h in enumerate(history) if np.isfinite(h[row])]
        expected = sum(e * m for e, m in course) / sum(e for e, _ in course)
        assert found.columns["dynamics"][i] == pytest.approx(expected, abs=1e-3)
    assert np.isnan(found.columns["self_confidence"][5]) and found.rival[5] == -1


def test_runs_of_other_seeds_are_averaged_and_held_out_predictions_stand_in(project: Project) -> None:
    first, second = project.run("first"), project.run("second")
    a, b = with_probabilities(first, 600), with_probabilities(second, 600, seed=1, name="probabilities")
    table = samples(project, first)
    given, _ = truth_of(project)
    found = gather(table, [first, second], CLASSES, None)
    np.testing.assert_allclose(found.columns["self_confidence"], ((a + b) / 2)[np.arange(600), given], atol=1e-4)
    aum = [run.read_signals()["mean_margin"].to_numpy() for run in (first, second)]
    np.testing.assert_allclose(found.columns["mean_margin"], np.mean(aum, axis=0), atol=1e-5)
    assert found.runs == ("first", "second") and np.isnan(found.columns["neighbour_agreement"]).all()


def test_the_first_guess_has_the_level_of_held_out_predictions_and_ranks_wrong_labels_high(project: Project) -> None:
    run = project.run("first")
    table = samples(project, run)
    found = scores_of(project, [run], table, run.read_neighbours())
    level = first_level(run, table, found.given)
    assert found.num_calibrated == 0 and found.is_active.all()
    assert found.p_wrong.mean() == pytest.approx(1 / (1 + np.exp(-level.odds)), abs=1e-3)
    _, is_wrong = truth_of(project)
    assert roc_auc_score(is_wrong, found.p_wrong) > 0.95


def test_calibration_is_the_mode_of_the_posterior(project: Project) -> None:
    run = project.run("first")
    table = samples(project, run)
    given, is_wrong = truth_of(project)
    chosen = np.random.default_rng(3).choice(600, 150, replace=False)
    verdicts = pd.DataFrame({"sample_id": table.ids(chosen), "is_wrong": is_wrong[chosen].astype(object)})
    before = scores_of(project, [run], table, run.read_neighbours())
    found = scores_of(project, [run], table, run.read_neighbours(), verdicts)
    assert found.num_calibrated == 150 and found.num_dual == 0

    x = Design.of(gather(table, [run], CLASSES, run.read_neighbours()), found.is_active).rows(slice(None))
    coefficients = np.array(list(PRIOR.values()))
    first = np.log(before.p_wrong / (1 - before.p_wrong)) - x @ coefficients
    assert np.ptp(first) < 1e-3, "before verdicts it is the prior"
    level = first_level(run, table, given)
    doubt = before.p_wrong * (1 - before.p_wrong)  # the level is of where labels may be either
    x = x - (doubt @ x / doubt.sum())
    first = np.log(before.p_wrong / (1 - before.p_wrong)) - x @ coefficients
    centre = np.r_[first.mean(), coefficients, 0, 0, 0]
    sd = np.r_[level.sd, np.full(len(PRIOR), SD_EVIDENCE), np.full(3, SD_CLASS)]

    def odds_of(beta: np.ndarray) -> np.ndarray:
        return beta[0] + x @ beta[1:1 + len(PRIOR)] + beta[1 + len(PRIOR):][given]

    def minus_log_posterior(beta: np.ndarray) -> float:
        odds = odds_of(beta)[chosen]
        likelihood = np.where(is_wrong[chosen], -np.logaddexp(0, -odds), -np.logaddexp(0, odds)).sum()
        return float(-likelihood + (((beta - centre) / sd) ** 2).sum() / 2)

    best = minimize(minus_log_posterior, centre, method="BFGS", options={"gtol": 1e-6}).x
    np.testing.assert_allclose(found.p_wrong, 1 / (1 + np.exp(-odds_of(best))), atol=2e-3)
    rows = np.concatenate([np.ones((600, 1)), x, np.eye(3)[given]], axis=1)
    p = 1 / (1 + np.exp(-odds_of(best)[chosen]))
    hessian = rows[chosen].T @ np.diag(p * (1 - p)) @ rows[chosen] + np.diag(sd ** -2)
    expected = np.sqrt(np.diag(rows @ np.linalg.inv(hessian) @ rows.T))
    np.testing.assert_allclose(found.odds_sd, expected, rtol=0.02)
    assert found.doubt_of(np.arange(600)) < before.doubt_of(np.arange(600)), "verdicts take doubt away"


def test_scores_are_the_same_whatever_the_size_of_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project = built(tmp_path, num_known=100)
    run = project.run("first")
    project.ledger().exclude(["train-00003"], who="ada")
    table = samples(project, run)
    whole = scores_of(project, [run], table, run.read_neighbours())
    monkeypatch.setattr(design_module, "ROWS_AT_ONCE", 70)
    in_blocks = scores_of(project, [run], table, run.read_neighbours())
    for name in ("p_wrong", "odds_sd"):
        assert getattr(whole, name).dtype == np.float32 and np.isfinite(getattr(whole, name)).all()
        np.testing.assert_allclose(getattr(in_blocks, name), getattr(whole, name), rtol=1e-5)
    assert list(find_order(in_blocks, NO_VERDICTS)) == list(find_order(whole, NO_VERDICTS))


def test_what_speaks_against_labels_is_standardised_over_the_active_that_have_it(
        project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(design_module, "ROWS_AT_ONCE", 70)
    run = project.run("first")
    found = gather(samples(project, run), [run], CLASSES, None)
    found.columns["mean_margin"] = np.where(np.arange(600) % 7 == 0, np.nan, found.columns["mean_margin"])
    is_active = np.arange(600) % 5 != 1
    x = Design.of(found, is_active).rows(slice(None))
    margin = -found.columns["mean_margin"]
    usable = margin[is_active & np.isfinite(margin)].astype(np.float64)
    expected = np.where(np.isfinite(margin), (margin - usable.mean()) / usable.std(), 0.0)
    np.testing.assert_allclose(x[:, list(PRIOR).index("mean_margin")], expected, rtol=1e-5, atol=1e-6)
    assert not x[:, list(PRIOR).index("neighbours")].any(), "of what nobody has nothing follows"


def test_a_verdict_moves_the_level_and_unsure_ones_do_not(project: Project) -> None:
    run = project.run("first")
    table = samples(project, run)
    before = scores_of(project, [run], table, None)
    ids = table.ids(range(40))
    unsure = pd.DataFrame({"sample_id": ids, "is_wrong": pd.Series([None] * 40, dtype=object)})
    right, wrong = (pd.DataFrame({"sample_id": ids, "is_wrong": pd.Series([value] * 40, dtype=object)})
                    for value in (False, True))
    assert np.array_equal(scores_of(project, [run], table, None, unsure).p_wrong, before.p_wrong)
    low, high = (scores_of(project, [run], table, None, v).p_wrong.mean() for v in (right, wrong))
    assert low < before.p_wrong.mean() - 0.02 and high > before.p_wrong.mean() + 0.2


def test_dual_labels_calibrate_where_they_are_few_and_verdicts_beat_them(tmp_path: Path) -> None:
    project = built(tmp_path, num_known=100)
    run = project.run("first")
    table = samples(project, run)
    verdicts = pd.DataFrame({"sample_id": [*table.ids([0]), "train-00500", "gone"],
                             "is_wrong": pd.Series([True, False, True], dtype=object)})
    found = scores_of(project, [run], table, None, verdicts)
    assert (found.num_calibrated, found.num_dual) == (101, 99)
    rows, is_wrong, _ = scores_module._known(table, verdicts)
    assert dict(zip(rows, is_wrong, strict=True))[0] == 1.0, "the verdict, not the dual label"
    figures = dual_figures(found, table)
    assert figures is not None and figures.num == 100 and figures.num_wrong == 10 and figures.auroc > 0.8
    many = built(tmp_path, num_known=301)
    assert scores_of(many, [many.run("first")], samples(many, many.run("first")), None).num_calibrated == 0


def test_the_excluded_are_scored_but_not_in_the_population_and_relabels_show_as_current(project: Project) -> None:
    run = project.run("first")
    ledger = project.ledger()
    ledger.exclude(["train-00003"], who="ada")
    ledger.relabel(["train-00004"], "bird", who="ada")
    found = scores_of(project, [run], samples(project, run), run.read_neighbours())
    assert np.isfinite(found.p_wrong[3]) and not found.is_active[3]
    neither = pd.DataFrame({"sample_id": ["train-00003"], "is_wrong": pd.Series([True], dtype=object)})
    assert scores_of(project, [run], samples(project, run), None, neither).num_calibrated == 1
    assert found.current[4] == 2 and found.given[4] == CLASSES.index("dog") and np.isfinite(found.p_wrong[4])


def test_a_run_without_evidence_scores_nobody(project: Project) -> None:
    run = make_run(project.path, "third", method="erm")
    for path in (run.path / "history").glob("*.npy"):
        path.unlink()
    found = scores_of(project, [run], samples(project, run), None)
    assert np.isnan(found.p_wrong).all() and (found.suggested == -1).all()


def test_out_of_fold_predictions_come_before_a_heads_and_without_any_nothing_is_scored(project: Project) -> None:
    run = make_run(project.path, "third", method="kfold")
    folds = with_probabilities(run, 600, 0, "probabilities")
    with_probabilities(run, 600, 1, "label_head")
    table = samples(project, run)
    given, _ = truth_of(project)
    confidence = gather(table, [run], CLASSES, None).columns["self_confidence"]
    np.testing.assert_allclose(confidence, folds[np.arange(600), given], atol=1e-4)
    plain = make_run(project.path, "fourth", method="erm")
    plain.write_probabilities(np.full((600, 3), np.nan))
    assert first_level(plain, samples(project, plain), given).odds == pytest.approx(np.log(1 / 9), abs=1e-3)
    found = scores_of(project, [plain], samples(project, plain), None)
    assert np.isnan(found.p_wrong).all()


def test_log_odds_are_finite_at_the_ends() -> None:
    np.testing.assert_allclose(log_odds(np.array([0.0, 0.5, 1.0, 0.9])), [-85.1956, 0, 20.7233, np.log(9)], rtol=1e-4,
                               atol=1e-6)
    assert (np.diff(log_odds(10.0 ** -np.arange(30.0))) < 0).all(), "no two of them tie"


def test_labels_that_are_surely_wrong_or_right_keep_their_order(project: Project) -> None:
    run = project.run("first")
    table = samples(project, run)
    given, _ = truth_of(project)
    others = np.array([1 - 1e-34, 1 - 1e-32, 1 - 1e-9, 0.6, 0.3, 1e-10, 1e-20, 1e-30])  # their share, falling
    own = np.array([1e-34, 1e-32, 1e-9, 0.4, 0.7, 1.0, 1.0, 1.0])
    probs = with_probabilities(run, 600)
    for row, (label, p, rest) in enumerate(zip(given[:8], own, others, strict=True)):
        probs[row] = rest / 2
        probs[row, label] = p
    run.write_probabilities(probs, "label_head")
    evidence = gather(table, [run], CLASSES, None)
    assert (np.diff(evidence.own_odds[:8]) > 1).all()
    found = scores_of(project, [run], table, None)
    assert len(np.unique(found.p_wrong[:8])) == 8


def test_runs_on_frozen_features_have_weights_of_their_own(project: Project) -> None:
    run = project.run("first")
    table = samples(project, run)
    trained = gather(table, [run], CLASSES, run.read_neighbours())
    document = run.read_config()
    run.write_config({**document, "config": document["config"] | {"features": "lite0"}})
    frozen = gather(table, [run], CLASSES, run.read_neighbours())
    assert (trained.is_on_features, frozen.is_on_features) == (False, True)
    x = Design.of(frozen, np.ones(len(table), dtype=bool)).rows(slice(None))
    for found, prior in ((trained, PRIOR), (frozen, FEATURE_PRIOR)):
        p_wrong = calibrated(found, table, CLASSES, None, level=Level(-1.0, 1.0)).p_wrong
        order = np.argsort(x @ np.array(list(prior.values())))
        assert (np.argsort(p_wrong) == order).mean() > 0.95


def test_a_run_without_epochs_has_no_course_through_training(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    trained, looked = make_run(project, "trained"), make_run(project, "looked", epochs=1)
    document = looked.read_config()
    looked.write_config({**document, "config": document["config"] | {"method": "discriminant", "features": "lite0"}})
    opened = Project.open(project)
    found = {run.name: gather(samples(opened, run), [run], opened.classes, None).columns["dynamics"]
             for run in (trained, looked)}
    assert np.isfinite(found["trained"]).any() and np.isnan(found["looked"]).all()
