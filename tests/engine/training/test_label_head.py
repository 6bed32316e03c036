"""The out-of-fold head against scikit-learn's discriminant, fitted fold by fold."""

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from engine.training import label_head
from engine.training.label_head import SHRINKAGE, out_of_fold_probabilities, temperature_of, tempered


def clusters(num: int = 600, num_classes: int = 4, num_features: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.choice(num_classes, num, p=[0.4, 0.3, 0.2, 0.1])
    centres = rng.normal(0, 1.5, (num_classes, num_features))
    mixing = rng.normal(0, 1, (num_features, num_features))
    return (centres[labels] + rng.normal(0, 1, (num, num_features)) @ mixing + 5).astype(np.float32), labels


def test_it_is_scikit_learns_discriminant_without_the_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_head, "ROWS_AT_ONCE", 37)  # several blocks a fold
    features, labels = clusters()
    folds, is_used = np.arange(len(labels)) % 5, np.random.default_rng(1).random(len(labels)) < 0.9
    found = out_of_fold_probabilities(torch.from_numpy(features), labels, is_used, 4, folds)
    scaled = ((features - features.mean(0)) / features.std(0)).astype(np.float64)
    for fold in range(5):
        fitted = (folds != fold) & is_used
        peer = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE).fit(scaled[fitted], labels[fitted])
        np.testing.assert_allclose(found[folds == fold], peer.predict_proba(scaled[folds == fold]), atol=1e-4)


def test_a_samples_own_label_has_no_say() -> None:
    features, labels = clusters()
    folds, is_used = np.arange(len(labels)) % 5, np.ones(len(labels), dtype=bool)
    other = labels.copy()
    other[folds == 2] = (other[folds == 2] + 1) % 4
    before, after = (out_of_fold_probabilities(torch.from_numpy(features), y, is_used, 4, folds)
                     for y in (labels, other))
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert not np.allclose(before[folds != 2], after[folds != 2])


def test_classes_nobody_else_has_and_constant_features_are_no_error() -> None:
    features = np.ones((6, 3), dtype=np.float32)
    labels, folds = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 0, 0, 1, 1])
    found = out_of_fold_probabilities(torch.from_numpy(features), labels, np.ones(6, dtype=bool), 4, folds)
    assert np.isfinite(found).all() and np.allclose(found.sum(1), 1)
    assert (found[folds == 1, 2] == 0).all() and (found[:, 3] == 0).all()
    nobody = out_of_fold_probabilities(torch.from_numpy(features), labels, np.zeros(6, dtype=bool), 4, folds)
    assert np.isnan(nobody).all()


def test_the_temperature_is_the_one_under_which_labels_are_most_probable():
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(4000, 3)))
    true_NC = torch.softmax(logits, 1).numpy()
    labels = np.array([rng.choice(3, p=p) for p in true_NC])
    sharp_NC = torch.softmax(1.3 * logits, 1).float()
    found = temperature_of(sharp_NC, labels, np.ones(4000, dtype=bool))
    assert found == pytest.approx(1.3, abs=0.1)
    assert tempered(sharp_NC, 1.3).numpy() == pytest.approx(true_NC, abs=1e-5)
    assert temperature_of(torch.softmax(9.0 * logits, 1).float(), labels, np.ones(4000, dtype=bool)) == pytest.approx(
        1.5, abs=0.01), "no higher"
    assert temperature_of(sharp_NC, labels, np.zeros(4000, dtype=bool)) == 1.0
