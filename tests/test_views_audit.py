"""The Audit page through AppTest on fakes, and what its review component may and may not be told."""

import uuid
from typing import Any

import pytest

from curation.views.review import Act, acts_of

CLASSES = ("cat", "dog", "bird")
KEY = str(uuid.UUID(int=7))


def act(**changed: Any) -> dict[str, Any]:
    return {"number": 1, "batch": "b", "key": KEY, "op": "verdict", "item": "3", "verdict": "given", "label": None,
            "seconds": 2.5} | changed


def test_acts_of_the_browser_are_read_in_order_with_their_numbers() -> None:
    sent = {"acts": [act(), act(number=2, op="retract"), act(number=3, op="next"),
                     act(number=4, verdict="other", label="bird")]}
    assert acts_of(sent, CLASSES) == [
        (1, Act(op="verdict", batch="b", key=KEY, item="3", verdict="given", seconds=2.5)),
        (2, Act(op="retract", batch="b", key=KEY, item="3")), (3, Act(op="next", batch="b", key=KEY)),
        (4, Act(op="verdict", batch="b", key=KEY, item="3", verdict="other", label="bird", seconds=2.5))]


@pytest.mark.parametrize("changed", [
    {"op": "drop"}, {"key": "no uuid"}, {"key": None}, {"batch": 3}, {"item": None}, {"verdict": "wrong"},
    {"verdict": "other", "label": "horse"}, {"verdict": "other"}, {"label": "dog"}, {"number": "1"}, {"number": True}])
def test_what_the_component_never_sends_is_left_out(changed: dict[str, Any]) -> None:
    assert acts_of({"acts": [act(**changed)]}, CLASSES) == []
    assert acts_of({"acts": [act(**changed), act()]}, CLASSES)[0][0] == 1


@pytest.mark.parametrize("value", [None, [], {}, {"acts": None}, {"acts": ["x", 3]}])
def test_a_trigger_that_holds_no_acts_is_none(value: Any) -> None:
    assert acts_of(value, CLASSES) == []


@pytest.mark.parametrize(("sent", "kept"), [(-1, 0.0), (1e9, 300.0), (float("nan"), None), ("2", None), (True, None)])
def test_seconds_lie_between_nothing_and_five_minutes(sent: Any, kept: float | None) -> None:
    ((_, found),) = acts_of({"acts": [act(seconds=sent)]}, CLASSES)
    assert found.seconds == kept
