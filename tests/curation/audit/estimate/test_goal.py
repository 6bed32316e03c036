"""The precision that an audit asks for: kept, and never exchanged for another without a word."""

from pathlib import Path

import pytest

from curation.audit.estimate.goal import GOAL_FILE, TARGET, GoalError, goal_of, save_goal


def test_the_precision_asked_for_is_kept_and_without_a_file_it_is_the_default(tmp_path: Path) -> None:
    assert goal_of(tmp_path, "spring") == TARGET
    save_goal(tmp_path, "spring", 0.03)
    assert goal_of(tmp_path, "spring") == 0.03 and goal_of(tmp_path, "autumn") == TARGET


@pytest.mark.parametrize("text", ["", "{}", "nothing", "null", "[1]", '{"half_width": 7}', '{"half_width": 0}',
                                  '{"half_width": "x"}', '{"half_width": NaN}', '{"half_width": null}'])
def test_a_damaged_one_is_told_in_one_line_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    save_goal(tmp_path, "spring", 0.03)
    (tmp_path / "audits" / "spring" / GOAL_FILE).write_text(text)
    with pytest.raises(GoalError, match=r"goal.json cannot be read \(.+\); write it again, or delete it") as caught:
        goal_of(tmp_path, "spring")
    assert "\n" not in str(caught.value)


def test_one_that_cannot_be_opened_is_no_missing_one(tmp_path: Path) -> None:
    (tmp_path / "audits" / "spring" / GOAL_FILE).mkdir(parents=True)
    with pytest.raises(GoalError, match="cannot be read"):
        goal_of(tmp_path, "spring")
