"""What has been shown keeps its place while the order behind it changes."""

import numpy as np

from curation.samples.held_order import Held, front, looked, ordered, shown
from engine.contract.stamps import FileState

OLD, NEW, NEWEST = ((FileState("signals", time, 1, 1),) for time in (1, 2, 3))
OPEN = np.ones(10, dtype=bool)


def rows(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_the_order_is_the_queues_until_its_files_change() -> None:
    held = shown(looked(None, "lane", OLD), rows(5, 3, 1))
    assert list(ordered(looked(held, "lane", OLD), rows(3, 1, 7), OPEN)) == [3, 1, 7]
    assert list(front(held, OPEN)) == []


def test_what_was_seen_goes_first_once_they_have_changed_and_the_rest_is_renewed() -> None:
    held = shown(looked(None, "lane", OLD), rows(5, 3, 1))
    held = looked(held, "lane", NEW)
    assert list(ordered(held, rows(9, 1, 8, 5), OPEN)) == [5, 3, 1, 9, 8], "3 fits no longer, and stays where it was"
    held = looked(shown(held, rows(5, 3, 1, 9)), "lane", NEWEST)
    assert list(ordered(held, rows(8, 9), OPEN)) == [5, 3, 1, 9, 8]


def test_one_that_is_decided_on_leaves_and_comes_back_to_its_place() -> None:
    held = shown(looked(None, "lane", OLD), rows(5, 3, 1))
    held = shown(held, rows(5, 1, 7))  # 3 was decided on, 7 moved up
    held = looked(held, "lane", NEW)
    is_open = OPEN.copy()
    is_open[3] = False
    assert list(ordered(held, rows(2, 7), is_open)) == [5, 1, 7, 2]
    assert list(ordered(held, rows(2, 7, 3), OPEN)) == [5, 3, 1, 7, 2]


def test_another_queue_begins_anew_and_nothing_seen_holds_nothing() -> None:
    held = looked(shown(looked(None, "lane", OLD), rows(5)), "other", NEW)
    assert held == Held("other", NEW)
    assert list(ordered(looked(looked(None, "lane", OLD), "lane", NEW), rows(2, 1), OPEN)) == [2, 1]
