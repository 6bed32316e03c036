"""How many of a class go to validation."""

import pytest

from engine.contract.statistics.quota import class_quota


@pytest.mark.parametrize(("num_members", "fraction", "expected"), [
    (0, 0.1, 0), (1, 0.1, 0), (1, 0.9, 0), (2, 0.1, 1), (2, 0.9, 1), (3, 0.9, 2), (25, 0.1, 2), (35, 0.1, 4),
    (100, 0.1, 10), (1000, 0.123, 123)])
def test_a_class_sends_its_share_but_at_least_one_and_never_all(num_members, fraction, expected) -> None:
    assert class_quota(num_members, fraction) == expected
