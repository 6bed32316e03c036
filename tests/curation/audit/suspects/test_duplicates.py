"""Near-duplicates with conflicting labels: the same pairs and groups as a naive search, at a million samples too."""

import hashlib

import numpy as np
import pytest

from curation.audit.suspects.duplicates import conflicts, content_ids, in_signal_order
from curation.samples.neighbours import NEAR_ZERO


def graph(num=60, k=5, seed=0):
    """Random neighbours, a fifth of them near, among three labels with a few samples left out."""
    rng = np.random.default_rng(seed)
    indices = rng.integers(-1, num, (num, k)).astype(np.int32)
    distances = np.where(rng.random((num, k)) < 0.12, rng.random((num, k)) * NEAR_ZERO, 0.3).astype(np.float16)
    return indices, distances, rng.integers(-1, 3, num).astype(np.int16)


def naive(indices, distances, labels):
    """(conflicting pairs, all near pairs, groups) by loops and by joining sets."""
    near = {}
    for i in range(len(labels)):
        for j, distance in zip(indices[i].tolist(), distances[i].tolist(), strict=True):
            if 0 <= j != i and distance <= np.float16(NEAR_ZERO) and labels[i] >= 0 and labels[j] >= 0:
                pair = (min(i, j), max(i, j))
                near[pair] = min(distance, near.get(pair, 1.0))
    groups = [{i} for i in range(len(labels))]
    for i, j in near:
        a, b = next(g for g in groups if i in g), next(g for g in groups if j in g)
        if a is not b:
            groups.remove(b)
            a |= b
    pairs = {pair: d for pair, d in near.items() if labels[pair[0]] != labels[pair[1]]}
    groups = [sorted(g) for g in groups if len({int(labels[i]) for i in g}) > 1]
    return pairs, near, sorted(groups, key=lambda g: (-len(g), g))


@pytest.mark.parametrize("seed", range(5))
def test_pairs_and_groups_are_those_of_a_naive_search(seed):
    indices, distances, labels = graph(seed=seed)
    found = conflicts(indices, distances, labels)
    pairs, near, groups = naive(indices, distances, labels)
    assert len(pairs) > 3 and len(groups) > 1
    told = {tuple(pair): d for pair, d in zip(found.pairs.tolist(), found.distances.tolist(), strict=True)}
    assert len(told) == len(found.pairs) and told == pytest.approx(pairs)
    assert found.num_near == len(near)
    assert found.num_groups == len(groups)
    assert [found.group(n).tolist() for n in range(found.num_groups)] == groups
    for pair, number in zip(found.pairs.tolist(), found.group_of_pair.tolist(), strict=True):
        assert set(pair) <= set(groups[number])
    assert (np.diff(found.group_of_pair) >= 0).all()
    for number in range(found.num_groups):
        assert (np.diff(found.distances[found.group_of_pair == number]) >= 0).all()


def test_a_pair_counts_from_either_side_once_and_at_the_limit():
    indices = np.array([[1], [2], [0], [0]])
    limit = np.float16(NEAR_ZERO)
    distances = np.array([[0.0], [limit], [0.5], [np.nextafter(limit, np.float16(1))]], dtype=np.float16)
    found = conflicts(indices, distances, np.array([0, 0, 1, 2]))
    assert found.pairs.tolist() == [[1, 2]] and found.num_near == 2
    assert found.group(0).tolist() == [0, 1, 2], "the one that agrees belongs to its group"


def test_excluded_samples_and_samples_without_a_label_join_nothing():
    indices = np.array([[1], [2], [1]])
    found = conflicts(indices, np.zeros((3, 1), np.float16), np.array([0, -1, 1]))
    assert found.num_groups == 0 and found.pairs.shape == (0, 2) and found.num_near == 0
    assert conflicts(indices, np.zeros((3, 1), np.float16), np.array([1, 1, 1])).num_groups == 0


def test_of_random_labels_thirteen_in_fourteen_near_pairs_conflict():
    rng = np.random.default_rng(0)
    num = 20_000
    indices = rng.integers(0, num, (num, 15), dtype=np.int32)
    distances = rng.uniform(0, 0.3, (num, 15)).astype(np.float16)
    labels = rng.integers(0, 14, num).astype(np.int16)
    found = conflicts(indices, distances, labels)
    assert 0.9 < len(found.pairs) / found.num_near / (13 / 14) < 1.1


def test_values_of_the_table_go_to_the_rows_of_the_run():
    ordered = in_signal_order(np.array([5, 6, 7], np.int16), np.array([2, -1, 0]), 4)
    assert ordered.tolist() == [7, -1, 5, -1] and ordered.dtype == np.int16


def test_equal_contents_are_told_and_only_files_inside_the_root_are_read(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    for name, data in {"a": b"same", "b": b"same", "c": b"else", "d": b"longer"}.items():
        (root / name).write_bytes(data)
    (tmp_path / "secret").write_bytes(b"same")
    ids = content_ids(root.resolve(), ["a", "b", "c", "d", "none", None, "../secret"])
    assert ids[0] == ids[1] == hashlib.sha256(b"same").hexdigest() and ids[2] == hashlib.sha256(b"else").hexdigest()
    assert ids[3:] == ["", "", "", ""], "the only one of its size is not read"
    assert content_ids(root.resolve(), ["d", "d"])[0] == hashlib.sha256(b"longer").hexdigest(), "one file, two samples"
