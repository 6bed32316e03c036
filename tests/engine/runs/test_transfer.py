"""Transfer scores end to end, on features in which it is known what is hard for whom."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from engine.__main__ import app
from engine.contract.feature_dir import FeatureDir, write_features
from engine.contract.manifest import read_manifest
from engine.contract.run_dir import RunDir
from engine.contract.transfers.transfer_dir import (
    TransferDir,
    TransferError,
    TransferRequest,
    TransferScore,
    digest_of,
    transfers_of,
)
from engine.runs import transfer
from engine.runs.transfer import draw_sets, score_transfer
from tests.fakes import make_project

NUM_TRAIN = 600


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 training samples of 3 classes, 10% of the labels wrong. By features own the first tenth is hard, by alike as
    well, by other it is as easy as the rest."""
    project = make_project(tmp_path_factory.mktemp("transfer") / "p", num_train=NUM_TRAIN, size=8)
    rows = read_manifest(project, ["clean_label"])
    codes, names = rows["clean_label"].factorize()
    is_hard = rows["sample_id"].isin(hard_ids(project)).to_numpy()
    for seed, (name, spread) in enumerate((("own", 1.5), ("alike", 1.5), ("other", 0.3))):
        noise = np.random.default_rng(seed).normal(size=(len(rows), 8))
        values = np.eye(8)[codes] + np.where(is_hard, spread, 0.3)[:, None] * noise
        write_features(FeatureDir.of(project, name), {"kind": "imported", "backbone": name, "num_features": 8},
                       rows["sample_id"].tolist(), values, np.ones(len(rows), dtype=bool))
    return project


def training(project: Path) -> pd.DataFrame:
    rows = read_manifest(project, ["clean_label"])
    return rows[rows["split"] == "train"].reset_index(drop=True)


def hard_ids(project: Path) -> set[str]:
    return set(training(project)["sample_id"][:NUM_TRAIN // 10])


def score(project: Path, name: str, features: str, ids: set[str] | None = None, own: str = "own",
          num_repeats: int = 5) -> TransferScore:
    folder, rows = TransferDir.of(project, name), training(project)
    ids = hard_ids(project) if ids is None else ids
    request = TransferRequest(set="hard-validation", set_digest=digest_of(ids), run="first", features=features,
                              own_features=own, num_repeats=num_repeats, seed=0, num_suspected=3,
                              other_suspected_frac=0.1)
    folder.write_request(request, pd.DataFrame({
        "sample_id": rows["sample_id"], "is_in_set": rows["sample_id"].isin(ids),
        "is_right": rows["clean_label"].eq(rows["given_label"])}))
    score_transfer(project, name)
    assert folder.read_status()["state"] == "done"
    return folder.read_score()


def test_a_set_is_hard_for_whom_it_is_hard(project):
    found = score(project, "other", "other")
    assert (found["own"]["features"], found["other"]["backbone"]) == ("own", "other")
    own, other = found["own"]["all"]["accuracy"], found["other"]["all"]["accuracy"]
    assert own["high"] < -0.05 and other["low"] < 0.0 < other["high"], "hard for its own, not for the other"
    assert found["num_samples"] == found["other"]["all"]["num_set"] == 60 and found["num_left_out"] == 0
    assert found["own"]["all"]["loss"]["low"] > 0.0 > found["own"]["all"]["margin"]["high"]
    right = found["own"]["right"]
    assert 40 < right["num_set"] < 60 and right["accuracy"]["of_random"] > 0.95 > own["of_random"]
    alike = score(project, "alike", "alike", own="")
    assert alike["own"] is None and alike["other"]["all"]["accuracy"]["high"] < -0.02
    assert [folder.name for folder in transfers_of(project)] == ["alike", "other"]


def test_wrong_labels_look_hard_but_not_among_labels_known_to_be_right(project):
    rows = training(project)
    wrong = set(rows["sample_id"][rows["clean_label"].ne(rows["given_label"])][:30])
    right = set(rows["sample_id"][rows["clean_label"].eq(rows["given_label"])][-40:])
    found = score(project, "wrong", "other", wrong | right)["other"]
    assert found["all"]["accuracy"]["high"] < -0.2
    assert found["right"]["num_set"] == 40 and abs(found["right"]["accuracy"]["difference"]) < 0.05
    few = score(project, "few", "other", wrong)["other"]
    assert few["right"] is None, "of wrong labels alone none is right"


def test_heads_see_neither_set_nor_random_set_nor_the_other_splits(project, monkeypatch):
    trained: list[np.ndarray] = []
    real = transfer.train_heads

    def spied(config, x_ND, labels, num_classes, *, weights, **options):
        trained.append(weights)
        assert len(x_ND) == NUM_TRAIN, "the train split alone"
        return real(config, x_ND, labels, num_classes, weights=weights, **options)

    drawn = []
    draw = transfer.draw_sets
    monkeypatch.setattr(transfer, "train_heads", spied)
    monkeypatch.setattr(transfer, "draw_sets", lambda *args: drawn.append(draw(*args)) or drawn[-1])
    score(project, "spied", "other")
    assert len(trained) == 2, "two backbones, the same random sets"
    assert (trained[0] == trained[1]).all() and trained[0].shape == (5, NUM_TRAIN)
    for repeat, weights_N in enumerate(trained[0]):
        assert set(np.flatnonzero(weights_N == 0)) == {*drawn[0].set_S, *drawn[0].random_RM[repeat]}


def test_a_head_is_that_of_a_training_without_these_samples(project):
    """The values of one repetition by its definition: a plain head trained on the others alone."""
    from engine.data.dataset import load_for
    from engine.runs.transfer import config_of
    from engine.training.head_batch import train_heads
    from tests.engine.runs.test_heads import no_decisions

    found = score(project, "again", "other", own="", num_repeats=2)["other"]
    data = load_for(config_of("other", 0), project, no_decisions(), lambda *_: None)
    is_in = pd.Series(data.sample_ids[data.train_idx]).isin(hard_ids(project)).to_numpy()
    drawn = draw_sets(data.train_labels, is_in, ~data.excluded, 2, 0)
    x, accuracies = torch.from_numpy(data.images[data.train_idx]), []
    for repeat in range(2):
        kept = np.flatnonzero(drawn.is_trained_on(repeat))
        assert len(kept) == NUM_TRAIN - 120
        heads = train_heads(config_of("other", 0), x[torch.from_numpy(kept)], data.train_labels[kept], 3,
                            seeds=[repeat], weight_decays=[found["weight_decay"]])
        for rows in (drawn.set_S, drawn.random_RM[repeat]):
            predicted = heads.logits(x[torch.from_numpy(rows)])[0].argmax(1).numpy()
            accuracies.append((predicted == data.train_labels[rows]).mean())
    figure = found["all"]["accuracy"]
    assert figure["of_set"] == pytest.approx(np.mean(accuracies[::2]), abs=0.02)
    assert figure["of_random"] == pytest.approx(np.mean(accuracies[1::2]), abs=0.02)


def test_random_sets_have_the_classes_of_the_set_and_leave_some_to_learn_from():
    labels = np.repeat([0, 1, 2, 3], [40, 10, 6, 4])
    is_in, usable = np.zeros(60, dtype=bool), np.ones(60, dtype=bool)
    is_in[[0, 1, 2, 40, 41, 50, 51, 52, 53, 56, 57, 58, 59]] = True
    usable[2] = False
    drawn = draw_sets(labels, is_in, usable, 300, 0)
    assert set(drawn.set_S) == {0, 1, 40, 41, 50, 51, 52, 53}, "of class 3 no other is left; one cannot be used"
    assert labels[drawn.random_RM].tolist() == [[0, 0, 1, 1, 2]] * 300, "of class 2 half of the two others"
    assert not is_in[drawn.random_RM].any() and len(set(map(tuple, drawn.random_RM))) > 40
    assert set(drawn.random_RM[:, :2].ravel()) == set(range(3, 40)), "every other sample may be drawn"
    with pytest.raises(TransferError, match="of its 60 samples 60 can be used, and no class has two others"):
        draw_sets(labels, np.ones(60, dtype=bool), np.ones(60, dtype=bool), 2, 0)


def test_it_is_cancelled_between_two_steps_and_bad_requests_are_one_line(project, monkeypatch, capsys):
    folder = TransferDir.of(project, "cancelled")
    real = transfer.choose_weight_decay

    def cancelled(*args):
        folder.request_cancel()
        return real(*args)

    with monkeypatch.context() as patch, pytest.raises(AssertionError, match="cancelled"):
        patch.setattr(transfer, "choose_weight_decay", cancelled)
        patch.setattr("engine.runs.status.CANCEL_SECONDS", 0.0)
        score(project, "cancelled", "other")
    assert not folder.has_score() and not folder.is_cancel_requested()
    app(["transfer", str(project), "--name", "cancelled"], standalone_mode=False)
    assert "cancelled: done in" in capsys.readouterr().out and folder.has_score()
    with pytest.raises(TransferError, match="must be as it was written; .* has no request.json; ask for it anew"):
        score_transfer(project, "nobody")
    damaged = json.loads((folder.path / "score.json").read_text())
    damaged.pop("sha256", None)
    (folder.path / "score.json").write_text(json.dumps(damaged | {"num_samples": "many"}))
    with pytest.raises(TransferError, match="num_samples is 'many'; ask for it anew"):
        folder.read_score()
    assert RunDir(folder.path).read_status()["state"] == "done"
