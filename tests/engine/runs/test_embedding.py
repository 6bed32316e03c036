"""Neighbours against brute force; maps are deterministic and place like by like."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.runs import embedding as embed


def clusters(num=120, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((3, 8)) * 4
    labels = np.arange(num) % 3
    return (centres[labels] + rng.standard_normal((num, 8))).astype(np.float32), labels


def test_neighbours_are_the_nearest_others_by_cosine():
    features, _ = clusters()
    indices, distances = embed.nearest_neighbours(features, 5)
    unit = features.astype(np.float64) / np.linalg.norm(features, axis=1, keepdims=True)
    for i in range(len(features)):
        cosine = 1 - unit @ unit[i]
        cosine[i] = np.inf
        expected = np.argsort(cosine)[:5]
        np.testing.assert_allclose(np.sort(distances[i]), np.sort(cosine[expected]), atol=1e-5)
        assert set(indices[i]) == set(expected)


def test_pca_keeps_the_two_directions_of_largest_variance():
    from sklearn.decomposition import PCA

    features, _ = clusters()
    found, used = embed.project(features, "pca", 0, print)
    expected = PCA(2).fit_transform(features)
    assert used == "pca"
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)


@pytest.mark.slow
def test_umap_keeps_neighbours_and_repeats_under_a_seed():
    features, labels = clusters()
    first, used = embed.project(features, "umap", 7, print)
    second, _ = embed.project(features, "umap", 7, print)
    assert used == "umap" and (first == second).all()
    from sklearn.manifold import trustworthiness

    assert trustworthiness(features, first, n_neighbors=5, metric="cosine") > 0.8
    assert first.shape == (120, 2) and len(labels) == 120


def test_samples_beyond_the_fitted_ones_lie_beside_their_neighbours(monkeypatch):
    features, labels = clusters(300)
    monkeypatch.setattr(embed, "MAX_FITTED", 150)
    monkeypatch.setattr(embed, "PLACED_AT_ONCE", 60)
    monkeypatch.setattr(embed, "_fitted", lambda rows, *_: rows[:, :2])
    said = []
    xy = embed._umap(features, 0, said.append)
    centres = np.stack([xy[labels == c].mean(0) for c in range(3)])
    nearest = np.argmin(((xy[:, None] - centres) ** 2).sum(2), 1)
    assert (nearest == labels).mean() > 0.7 and np.isfinite(xy).all()
    assert (xy == features[:, :2]).all(1).sum() == 150, "who was fitted lies where UMAP put it"
    assert "UMAP of 150 of 300 samples" in said and any("placing the rest, 120 of 150, about" in s for s in said)
    again = embed._umap(features, 0, said.append)
    assert (xy == again).all()


def test_who_waits_may_give_up_and_hears_of_failures():
    def give_up(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed._waited(lambda: 1, "x", give_up)
    with pytest.raises(ValueError, match="broken"):
        embed._waited(lambda: int("broken"), "x", lambda _: None)
    assert embed._waited(lambda: 3, "x", lambda _: None) == 3


def test_too_few_samples_for_umap_fall_back_to_pca():
    assert embed.project(np.eye(5, dtype=np.float32), "umap", 0, print)[1] == "pca"


def test_a_cancel_while_a_run_reports_leaves_no_rank_alone_in_a_prediction():
    """Every rank predicts its part; one that gives up before leaves the others waiting."""
    seen = []

    class Trainer:
        config, data = SimpleNamespace(embedding="umap", seed=0), SimpleNamespace(train_idx=np.arange(30))

        def predict(self, idx):
            seen.append(len(idx))
            return None, torch.randn(30, 4)

    def give_up(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed.embed_run(Trainer(), None, give_up)
    assert seen == [30]


def test_principal_components_are_those_of_the_covariance():
    features = (np.random.default_rng(0).normal(size=(60, 5)) * [5, 3, 1, 1, 1]).astype(np.float32)
    found = embed.principal_components(features)
    values, vectors = np.linalg.eigh(np.cov(features.astype(np.float64).T))
    expected = (features - features.mean(0)) @ vectors[:, ::-1][:, :2]
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-4)
    np.testing.assert_allclose(found.var(0, ddof=1), values[::-1][:2], rtol=1e-4)
