"""The precision that an audit asks for: kept, never exchanged for another without a word, made finer at any time."""

from pathlib import Path

import pytest

from curation.audit.estimate.goal import (
    GOAL_FILE,
    TARGET,
    Change,
    Goal,
    GoalError,
    change_goal,
    first_look,
    goal_of,
    new_goal,
    save_goal,
)


def test_the_precision_asked_for_is_kept_and_without_a_file_it_is_the_default(tmp_path: Path) -> None:
    assert goal_of(tmp_path, "spring") == new_goal(TARGET, rule="until narrow")
    save_goal(tmp_path, "spring", new_goal(0.03))
    assert goal_of(tmp_path, "spring") == new_goal(0.03) and goal_of(tmp_path, "autumn").half_width == TARGET


def test_one_of_an_older_version_is_read_and_named_as_such(tmp_path: Path) -> None:
    save_goal(tmp_path, "spring", new_goal(0.03))
    (tmp_path / "audits" / "spring" / GOAL_FILE).write_text('{"half_width": 0.02}')
    assert goal_of(tmp_path, "spring") == Goal(half_width=0.02, first_look=first_look(0.02), rule="until narrow")
    assert change_goal(tmp_path, "spring", 0.01, 7).rule == "until narrow"


def test_a_precision_is_changed_before_the_first_answer_and_made_finer_after_it(tmp_path: Path) -> None:
    save_goal(tmp_path, "spring", new_goal(0.02))
    assert change_goal(tmp_path, "spring", 0.05, 0) == goal_of(tmp_path, "spring") == new_goal(0.05)
    finer = change_goal(tmp_path, "spring", 0.03, 120)
    assert finer == goal_of(tmp_path, "spring") == new_goal(0.03, (Change(half_width=0.05, num_reviews=120),))
    assert change_goal(tmp_path, "spring", 0.03, 130) == finer, "nothing changed, nothing noted"
    with pytest.raises(GoalError, match="only be made finer.+got \u00b15 points in the place of \u00b13 after "
                                        "140 reviews; go on, or begin another audit") as caught:
        change_goal(tmp_path, "spring", 0.05, 140)
    assert "\n" not in str(caught.value) and goal_of(tmp_path, "spring") == finer
    assert change_goal(tmp_path, "spring", 0.02, 150).changes[1] == Change(half_width=0.03, num_reviews=150)


@pytest.mark.parametrize("text", ["", "{}", "nothing", "null", "[1]", '{"half_width": 7}', '{"half_width": 0}',
                                  '{"half_width": "x"}', '{"half_width": NaN}', '{"half_width": null}',
                                  '{"half_width": 0.1, "rule": "by eye"}', '{"half_width": 0.1, "first_look": 3}',
                                  '{"half_width": 0.1, "changes": [3]}'])
def test_a_damaged_one_is_told_in_one_line_that_says_what_to_do(tmp_path: Path, text: str) -> None:
    save_goal(tmp_path, "spring", new_goal(0.03))
    (tmp_path / "audits" / "spring" / GOAL_FILE).write_text(text)
    with pytest.raises(GoalError, match=r"goal.json cannot be read \(.+\); write it again, or delete it") as caught:
        goal_of(tmp_path, "spring")
    assert "\n" not in str(caught.value)
    assert change_goal(tmp_path, "spring", 0.02, 9) == new_goal(0.02, rule="until narrow"), "another one mends it"


def test_one_that_cannot_be_opened_is_no_missing_one(tmp_path: Path) -> None:
    (tmp_path / "audits" / "spring" / GOAL_FILE).mkdir(parents=True)
    with pytest.raises(GoalError, match="cannot be read"):
        goal_of(tmp_path, "spring")
