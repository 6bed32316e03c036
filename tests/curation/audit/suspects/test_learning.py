"""Whether a run has learned anything: by simulation, chance against little knowledge, and what hangs on it."""

from pathlib import Path

import numpy as np
import pytest

from curation.audit.report.caveats import learning_words
from curation.audit.suspects.learning import Learning, learning_of
from curation.audit.suspects.scores import learning_of_run, scores_of
from curation.project import Project
from curation.samples.table import sample_table, samples
from tests.curation.audit.suspects.test_scores import with_probabilities
from tests.fakes import make_project, make_run


def drawn(rng: np.random.Generator, shares: list[float], num: int, skill: float) -> Learning:
    given = rng.choice(len(shares), num, p=shares)
    guess = rng.choice(len(shares), num, p=shares)
    is_named = np.where(rng.random(num) < skill, given, guess) == given
    return learning_of(given, is_named, np.ones(num, dtype=bool))


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.9, 0.1], [0.1] * 10])
def test_guessing_seldom_passes_and_a_little_knowledge_does(shares):
    rng = np.random.default_rng(0)
    lucky = sum(drawn(rng, shares, 200, 0.0).has_learned for _ in range(400))
    assert lucky <= 24, "one in forty by chance, some more of small classes"
    assert sum(drawn(rng, shares, 600, 0.5).has_learned for _ in range(50)) >= 48


def test_naming_the_most_frequent_class_is_no_knowledge():
    given = np.array([0] * 95 + [1] * 5)
    found = learning_of(given, given == 0, np.ones(100, dtype=bool))
    assert found.recall == 0.5 == found.chance and not found.has_learned
    assert learning_of(given, np.ones(100, bool), given > 5).num_judged == 0


def test_a_run_that_has_not_learned_suspects_nobody_and_says_so(tmp_path: Path):
    project, rng = Project.open(make_project(tmp_path / "p", num_train=600)), np.random.default_rng(1)
    names = sample_table(project, None)["given_label"]
    given = np.array([project.classes.index(name) for name in names])
    for name, skill in (("blind", 0.0), ("able", 2.0)):
        run = make_run(project.path, name)
        logits = rng.normal(0, 1, (600, 3))
        logits[np.arange(600), given] += skill
        run.write_probabilities(np.exp(logits) / np.exp(logits).sum(1, keepdims=True), "label_head")
        table = samples(project, run)
        found = scores_of(project, [run], table, None)
        assert found.learning is not None and found.learning.has_learned == (skill > 0)
        assert found.learning == learning_of_run(run, table, project.classes)
        assert bool(np.isfinite(found.p_wrong).any()) == (skill > 0)
        said = learning_words(name, found.learning)
        assert ("has not learned to tell the classes" in said) == (skill == 0) and "\n" not in said


def test_without_predictions_nothing_is_suspected(tmp_path: Path):
    project = Project.open(make_project(tmp_path / "p", num_train=600))
    run = make_run(project.path, "first")
    run.write_probabilities(np.full((600, 3), np.nan))
    found = scores_of(project, [run], samples(project, run), None)
    assert found.learning is not None and found.learning.num_judged == 0 and np.isnan(found.p_wrong).all()
    assert "no predictions that did not see the labels" in learning_words("first", found.learning)


@pytest.mark.parametrize(("losses", "is_lost"), [
    ((3.0, 9.0, 26.0), True), ((1.2, 0.8, float("nan")), True), ((1.2, float("inf")), True),
    ((3.0, 2.9, 2.8), False),  # worse than shares, and still falling
    ((0.5, 0.55, 0.6), False),  # rising, and better than shares
    ((26.0,), False), ((), False)])
def test_a_training_has_diverged_that_ends_worse_than_it_began_and_than_class_shares(losses, is_lost):
    given = np.array([0, 1] * 30 + [-1])
    found = learning_of(given, np.ones(61, bool), given >= 0, losses)
    assert (found.fault == "diverged") == is_lost and found.has_learned != is_lost
    if is_lost:
        assert found.divergence is not None and found.divergence.by_shares == pytest.approx(np.log(2))
        assert learning_words("first", found).startswith("Run first diverged: ")


def test_a_diverged_run_suspects_nobody_whatever_its_features_are_worth(tmp_path: Path):
    project = Project.open(make_project(tmp_path / "p", num_train=60))
    run = make_run(project.path, "first")
    with_probabilities(run, 60)
    table = samples(project, run)
    assert np.isfinite(scores_of(project, [run], table, None).p_wrong).all()
    metrics = run.read_metrics()
    run.write_metrics([row | {"train_loss": loss} for row, loss in
                       zip(metrics.to_dict("records"), (1.1, 4.0, 15.0, 26.0), strict=True)])
    found = scores_of(project, [run], table, None)
    assert np.isnan(found.p_wrong).all() and found.learning is not None and found.learning.fault == "diverged"
    assert learning_of_run(run, table, project.classes) == found.learning
