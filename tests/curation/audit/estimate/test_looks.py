"""The looks: fixed ahead, the same whatever is answered between them, and kept as facts."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from curation.audit.estimate.allocation import draw
from curation.audit.estimate.goal import MIN_LOOK, MIN_REVIEWS, Goal, first_look, new_goal
from curation.audit.estimate.looks import Progress, progress
from curation.audit.estimate.noise_rate import estimate, has_reached, reviews_to
from curation.audit.estimate.sampling_plan import Plan
from engine.contract.disk.seals import opened_json
from tests.curation.audit.estimate.test_noise_rate import small, verdicts_of


def answered(plan: Plan, wrong: np.ndarray, num: int) -> pd.DataFrame:
    """The first `num` draws, in batches of 20, answered."""
    verdicts = verdicts_of(plan, np.zeros(0, dtype=int), np.zeros(0))
    while len(verdicts) < num:
        rows = np.array([int(i[1:]) for i in draw(plan, verdicts, num=min(20, num - len(verdicts)))])
        verdicts = pd.concat([verdicts, verdicts_of(plan, rows, wrong[rows])], ignore_index=True)
    return verdicts


@pytest.mark.parametrize("half_width", [0.005, 0.01, 0.02])
def test_the_first_look_is_at_twice_the_reviews_that_are_exact_enough_without_an_error(half_width: float) -> None:
    num = first_look(half_width)
    enough, too_few = (np.diff(proportion_confint(0, n, 0.05, "wilson"))[0] / 2 for n in (num / 2, num / 2 - 1))
    assert enough <= half_width < too_few
    assert first_look(0.5) == first_look(1.0) == MIN_LOOK


def test_it_is_judged_at_the_looks_and_nowhere_between() -> None:
    plan, wrong = small(600)
    goal, verdicts = new_goal(0.05), answered(plan, wrong, 400)
    seen = [progress(plan, verdicts[:num], goal) for num in range(0, 401, 5)]
    assert seen[0] == Progress(num_answered=0, planned=first_look(0.05), is_reached=False)
    planned = [one.planned for one in seen]
    assert planned == sorted(planned) and len(set(planned)) <= 4, "a few looks, each later than the one before"
    for one in seen:  # each is the one before and what the answers up to there call for
        if one.planned != first_look(0.05):
            before = max(p for p in planned if p < one.planned)
            assert one.planned == before + (reviews_to(plan, verdicts[:before], 0.05) or 0)
    end = next(one.planned for one in seen if one.is_reached)
    assert all(one.is_reached == (one.num_answered >= end) for one in seen)
    assert has_reached(estimate(plan, verdicts[:end]).overall, 0.05)
    narrow = [has_reached(estimate(plan, verdicts[:num]).overall, 0.05) for num in range(end)]
    assert any(narrow), "it was narrow enough before, by luck, and that did not count"


def test_what_is_answered_after_a_look_moves_it_no_more() -> None:
    plan, wrong = small(600)
    goal, verdicts = new_goal(0.04), answered(plan, wrong, 170)
    now = progress(plan, verdicts, goal)
    assert now.planned is not None and now.planned > 170
    other = verdicts.copy()
    other.loc[first_look(0.04):, "is_wrong"] = pd.Series([True] * 200, dtype=object)
    assert progress(plan, other, goal) == now
    assert progress(plan, verdicts, new_goal(0.035)).planned != now.planned


def test_of_a_small_population_the_last_look_is_at_its_end_and_unsure_ones_are_no_answers() -> None:
    plan, wrong = small()
    assert progress(plan, verdicts_of(plan, np.arange(59), wrong[:59]), new_goal(0.01)).further == 1
    assert progress(plan, verdicts_of(plan, np.arange(60), wrong), new_goal(0.01)).is_reached
    answers = wrong.astype(object)
    answers[10:25] = None
    found = progress(plan, verdicts_of(plan, np.arange(60), answers), new_goal(0.01))
    assert (found.num_answered, found.planned, found.further, found.is_reached) == (45, None, None, False)
    answers[:] = None
    assert progress(plan, verdicts_of(plan, np.arange(60), answers), new_goal(0.5)).planned is None


def test_no_single_figure_is_quoted_of_a_few_answers() -> None:
    plan, wrong = small(600)
    few, more = (estimate(plan, answered(plan, wrong, num)) for num in (9, MIN_REVIEWS))
    assert few.quoted is None and few.num_early == MIN_REVIEWS - 9 and few.overall.low is not None
    assert more.quoted == more.overall.share and more.num_early == 0
    rows = np.flatnonzero(plan.population["stratum"].to_numpy() > 0)[:100]
    assert estimate(plan, verdicts_of(plan, rows, wrong[rows])).num_early == 2, "a stratum lacks its first two"


def test_what_an_audit_is_run_under_is_kept(tmp_path: Path) -> None:
    from curation.audit.estimate.goal import GOAL_FILE, change_goal, goal_of, save_goal
    save_goal(tmp_path, "spring", new_goal(0.03))
    kept = opened_json(json.loads((tmp_path / "audits" / "spring" / GOAL_FILE).read_text()))
    assert kept == {"half_width": 0.03, "first_look": first_look(0.03), "rule": "looks", "changes": []}
    kept["first_look"] = 200
    (tmp_path / "audits" / "spring" / GOAL_FILE).write_text(json.dumps(kept))
    assert goal_of(tmp_path, "spring") == Goal(half_width=0.03, first_look=200), "the number is a fact, not a formula"
    assert change_goal(tmp_path, "spring", 0.02, 70) == goal_of(tmp_path, "spring")
