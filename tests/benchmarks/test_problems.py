"""Label noise against exact counts and a naive softmax; problems as projects with their oracles' decisions."""

import math
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import noise, problems
from engine.contract.manifest import read_decisions, read_info, read_manifest
from engine.data.dataset import Dataset, load_dataset


def labels_of(num=600, num_classes=6) -> np.ndarray:
    return np.random.default_rng(0).integers(0, num_classes, num)


# -- noise


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.4, 1.0])
def test_symmetric_noise_changes_exactly_its_share_to_every_other_class(rate):
    labels = labels_of(6000)
    noisy = noise.symmetric(labels, 6, rate, np.random.default_rng(1))
    is_flipped = noisy != labels
    assert is_flipped.sum() == round(rate * 6000), "never a class onto itself"
    shares = np.bincount((noisy - labels)[is_flipped] % 6, minlength=6) / max(is_flipped.sum(), 1)
    assert rate == 0 or (np.abs(shares[1:] - 0.2) < 0.04).all()
    assert noisy.min() >= 0 and noisy.max() < 6 and (labels == labels_of(6000)).all(), "the truth stays as it was"


@pytest.mark.parametrize("rate", [0.0, 0.4])
def test_pair_noise_changes_exactly_its_share_to_the_next_class(rate):
    labels = labels_of()
    noisy = noise.pair(labels, 6, rate, np.random.default_rng(1))
    is_flipped = noisy != labels
    assert is_flipped.sum() == round(rate * 600)
    assert (noisy[is_flipped] == (labels[is_flipped] + 1) % 6).all() and (rate == 0 or (noisy[labels == 5] == 0).any())


def test_flip_probabilities_are_a_naive_softmax_of_the_others():
    rng = np.random.default_rng(0)
    scores, rates = rng.normal(0, 30, size=(7, 4)), rng.random(7)
    scores[0] = [900.0, 1.0, 2.0, 3.0]  # the own class is left out before the softmax
    before = scores.copy()
    probs = noise.flip_probabilities(scores, 0, rates)
    for i in range(7):
        parts = [math.exp(scores[i, j] - max(scores[i, 1:])) for j in (1, 2, 3)]
        np.testing.assert_allclose(probs[i], [1 - rates[i], *(rates[i] * p / sum(parts) for p in parts)], rtol=1e-9,
                                   atol=1e-15)
    np.testing.assert_allclose(probs.sum(1), 1)
    np.testing.assert_allclose(probs[:, 0], 1 - rates)
    assert (scores == before).all()


def test_instance_dependent_noise_has_its_mean_rate_and_depends_on_the_image(monkeypatch):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, size=(2000, 4, 4, 3)).astype(np.uint8), labels_of(2000)
    images[1::2], labels[1::2] = images[::2], labels[::2]  # in pairs: the same image under the same class
    seen, before = {}, noise.flip_probabilities

    def watching(scores, own, rates):
        probs = before(scores, own, rates)
        seen[own] = (probs, rates)
        return probs

    monkeypatch.setattr(noise, "flip_probabilities", watching)
    noisy = noise.instance_dependent(images, labels, 6, 0.4, np.random.default_rng(1))
    assert abs((noisy != labels).mean() - 0.4) < 0.03 and sorted(seen) == list(range(6))
    assert set(noisy) == set(range(6))
    for own, (probs, rates) in seen.items():
        assert rates.min() >= 0 and rates.max() <= 1 and abs(rates.std() - 0.1) < 0.02
        shares = np.delete(probs, own, axis=1) / rates[:, None]
        np.testing.assert_allclose(shares[::2], shares[1::2], rtol=1e-9)
        assert np.abs(shares[::2][1:] - shares[::2][:-1]).max() > 0.5, "another image goes elsewhere"
    drawn = np.concatenate([seen[c][0][np.arange((labels == c).sum()), noisy[labels == c]] for c in range(6)])
    mean_of_squares = np.concatenate([(seen[c][0] ** 2).sum(1) for c in range(6)]).mean()
    assert abs(drawn.mean() - mean_of_squares) < 0.02, "labels are drawn from these probabilities"


def test_a_higher_rate_flips_more_and_none_is_negative():
    images, labels = np.random.default_rng(0).random((1000, 8)), labels_of(1000)
    shares = [(noise.instance_dependent(images, labels, 6, rate, np.random.default_rng(2)) != labels).mean()
              for rate in (0.1, 0.4, 0.8)]
    assert 0.1 < shares[0] < 0.16 and abs(shares[1] - 0.4) < 0.05 and abs(shares[2] - 0.8) < 0.05


# -- problems of the digits


@pytest.fixture(scope="module")
def pool() -> problems.Digits:
    return problems.Digits()


def build(pool, name, num_train=800) -> problems.Problem:
    return problems.PROBLEMS[name][1](pool, num_train)


def wrong_share(rows: pd.DataFrame) -> float:
    return float((rows["given"] != rows["truth"]).mean())


def test_the_digits_are_cut_into_disjoint_splits(pool):
    keys = [set(part["key"]) for part in (pool.train, pool.clean, pool.test)]
    assert [len(part) for part in keys] == [800, 100, 897] and len(set.union(*keys)) == 1797
    assert pool.pixels(pool.train["key"][:2]).shape == (2, 8, 8, 3) and pool.images.max() == 255


@pytest.mark.parametrize(("name", "share", "tolerance"), [
    ("digits_clean_labels", 0.0, 0), ("digits_symmetric_noise", 0.4, 0), ("digits_pair_noise", 0.4, 0),
    ("digits_instance_noise", 0.4, 0.05)])
def test_noise_is_in_training_alone_and_of_its_share(pool, name, share, tolerance):
    problem = build(pool, name)
    assert abs(wrong_share(problem.splits["train"]) - share) <= tolerance + 1e-12
    assert wrong_share(problem.splits["clean"]) == wrong_share(problem.splits["test"]) == 0
    assert [len(problem.splits[split]) for split in ("train", "clean", "test")] == [800, 100, 897]
    again = build(pool, name)
    assert (again.splits["train"]["given"] == problem.splits["train"]["given"]).all(), "the same each time"
    assert len(build(pool, name, 100).splits["train"]) == 100


@pytest.mark.parametrize("factor", [1, 10, 50, 200])
def test_imbalance_falls_evenly_from_the_first_class_to_the_last(pool, factor):
    train = build(pool, f"digits_imbalance_{factor}").splits["train"]
    sizes, smallest = np.bincount(train["truth"], minlength=10), pool.train["truth"].value_counts().min()
    first = min(800 / sum(factor ** (-c / 9) for c in range(10)), smallest)
    assert sizes.tolist() == [max(round(first * factor ** (-c / 9)), 2) for c in range(10)]
    assert wrong_share(train) == 0 and train["key"].is_unique and len(train) <= 800 + 10
    assert sizes[0] / sizes[9] == pytest.approx(min(factor, sizes[0] / 2), rel=0.12)


def test_a_rare_subgroup_is_a_twentieth_of_another_in_training_alone(pool):
    problem = build(pool, "digits_rare_subgroup")
    train, test = problem.splits["train"], problem.splits["test"]
    sizes = train["group"].value_counts()
    common = min(100, pool.train["truth"].value_counts().min())
    assert problem.classes == ("even", "odd") and sizes["8"] == sizes["9"] == round(0.05 * common)
    assert (sizes.drop(["8", "9"]) == np.minimum(
        pool.train["truth"].value_counts().rename(index=str).reindex(sizes.drop(["8", "9"]).index), common)).all()
    assert test["group"].value_counts()[["8", "9"]].min() > 70
    for rows in problem.splits.values():
        assert (rows["group"].astype(int) % 2 == rows["truth"]).all() and (rows["truth"] == rows["given"]).all()


def test_colour_agrees_with_the_label_in_training_and_tells_nothing_in_test(pool):
    problem = build(pool, "digits_spurious_colour")
    for split, share, tolerance in (("train", 0.95, 0.02), ("clean", 0.5, 0.15), ("test", 0.5, 0.05)):
        rows = problem.splits[split]
        pixels = np.stack([np.asarray(Image.open(BytesIO(b)))
                           for b in problem.encoded(rows["key"])])
        is_green = pixels[..., 1].sum((1, 2)) > 0
        assert not (is_green & (pixels[..., 0].sum((1, 2)) > 0)).any() and not pixels[..., 2].any()
        assert abs((is_green == rows["truth"]).mean() - share) < tolerance
        names = [f"{('low', 'high')[y]} {('red', 'green')[int(g)]}" for y, g in zip(rows["truth"], is_green,
                                                                                   strict=True)]
        assert rows["group"].tolist() == names
        truth = {"train": pool.train, "clean": pool.clean, "test": pool.test}[split]["truth"]
        assert (rows["truth"].to_numpy() == (truth.to_numpy() >= 5)).all()


# -- as projects


def load(project, decisions="none") -> Dataset:
    return load_dataset(project, read_decisions(project / decisions), None, lambda *_: None)


@pytest.mark.parametrize("name", ["digits_symmetric_noise", "digits_spurious_colour", "digits_imbalance_50"])
def test_a_problem_is_a_project_whose_oracles_set_right_every_wrong_label_and_nobody_else(pool, tmp_path, name):
    problem = build(pool, name, 120)
    project = problems.write_project(problem, name, tmp_path)
    data, rows = load(project), read_manifest(project, columns=["clean_label", "group"])
    assert data.images.shape[1:] == (3, 8, 8) and read_info(project).classes == data.classes == problem.classes
    for idx, split in ((data.train_idx, "train"), (data.clean_idx, "clean"), (data.test_idx, "test")):
        expected = problem.splits[split]
        assert data.sample_ids[idx].tolist() == expected["key"].tolist()
        assert (data.labels[idx] == expected["given"]).all() and (data.clean_labels[idx] == expected["truth"]).all()
    picture = np.asarray(Image.open(BytesIO(problem.encoded(problem.splits["train"]["key"])[0])))
    assert (data.images[data.train_idx[0]] == picture.transpose(2, 0, 1)).all()
    assert (data.groups is not None) == ("group" in problem.splits["train"]) == ("group" in rows)
    is_wrong = data.train_labels != data.clean_labels[data.train_idx]
    assert is_wrong.sum() == (48 if "noise" in name else 0)
    relabelled, excluded = load(project, "oracle_relabelled.parquet"), load(project, "oracle_excluded.parquet")
    assert (relabelled.train_labels == data.clean_labels[data.train_idx]).all() and not relabelled.excluded.any()
    assert (excluded.excluded == is_wrong).all() and (excluded.train_labels == data.train_labels).all()
    assert not relabelled.pins.any() and not excluded.pins.any()
    for oracle in ("relabelled", "excluded"):
        named = read_decisions(project / f"oracle_{oracle}.parquet")["sample_id"]
        assert sorted(named) == sorted(data.sample_ids[data.train_idx[is_wrong]])


def test_the_command_writes_the_problems_it_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["problems.py", str(tmp_path / "out"), "--only", "digits_pair_noise"])
    problems.main()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["digits_pair_noise"]
    assert "800 train (40.0% wrong), 100 clean, 897 test, 10 classes" in capsys.readouterr().out


def test_photos_keep_what_people_said_beside_the_truth(real_data, tmp_path):
    if not (real_data / "audit_answers.csv").exists():
        pytest.skip("WHETSTONE_DATA has no audit_answers.csv")
    photos = problems.Photos(real_data)
    noisy = problems.human_noise(photos, 200).splits["train"]
    assert 0.25 < wrong_share(noisy) < 0.55 and len(noisy) == 200
    rare = problems.rare_subgroup(photos, 500)
    sizes = rare.splits["train"]["group"].value_counts()
    assert sorted(sizes.index[sizes < sizes.max() / 2]) == ["bird", "cat", "deer", "ship", "truck"]
    assert wrong_share(problems.clean_labels(photos, 200).splits["train"]) == 0
    project = problems.write_project(problems.human_noise(photos, 50), "human", tmp_path)
    data = load(project, "oracle_relabelled.parquet")
    assert (data.train_labels == data.clean_labels[data.train_idx]).all() and data.num_train == 50
