"""The worst group by hand, and detection by its definition."""

import subprocess
import sys

import numpy as np
import pytest

from engine.contract.statistics.measures import SMALLEST_GROUP, detection, worst_group
from tests import ROOT


def test_the_worst_group_is_the_lowest_of_those_large_enough() -> None:
    sizes = np.array([SMALLEST_GROUP, SMALLEST_GROUP - 1, 9, 9])
    assert worst_group(np.array([0.5, 0.0, 0.3, 0.4]), sizes) == 2
    assert worst_group(np.array([0.3, 0.0, 0.3, 0.4]), sizes) == 0, "of equals the first"
    assert worst_group(np.array([0.1]), np.array([SMALLEST_GROUP - 1])) is None
    assert worst_group(np.empty(0), np.empty(0)) is None


def test_detection_counts_pairs_as_defined() -> None:
    """AUROC by its definition over all pairs of a wrong and a right label, ties half."""
    rng = np.random.default_rng(0)
    quality, is_wrong = np.round(rng.random(40), 1), rng.random(40) < 0.3
    pairs = [(q_wrong < q_right) + 0.5 * (q_wrong == q_right) for q_wrong in quality[is_wrong]
             for q_right in quality[~is_wrong]]
    auroc, average_precision = detection(quality, is_wrong)
    assert auroc == pytest.approx(np.mean(pairs)) and average_precision is not None and 0 < average_precision <= 1
    # Wrong labels have the lowest and the third lowest quality: 5 of 6 pairs in order; precisions 1 and 2/3.
    assert detection(np.array([0.1, 0.2, 0.3, 0.8, 0.9]), np.array([True, False, True, False, False])) == pytest.approx(
        (5 / 6, (1 + 2 / 3) / 2))


def test_detection_needs_labels_of_both_kinds() -> None:
    for is_wrong in (np.zeros(4, dtype=bool), np.ones(4, dtype=bool), np.empty(0, dtype=bool)):
        assert detection(np.linspace(0, 1, len(is_wrong)), is_wrong) == (None, None)


def test_commands_that_measure_nothing_do_not_wait_for_scikit_learn() -> None:
    program = "import sys, curation.samples.scoring, curation.audit.suspects.scores\nprint('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("False", 0), done.stderr
