"""The plan of an estimate and what it draws: strata, random order, best allocation, files."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from curation.audit.estimate import sampling_plan
from curation.audit.estimate.allocation import (
    MIN_PER_STRATUM,
    Left,
    draw,
    empty_words,
    known,
    left_of,
    next_strata,
    rows_of,
)
from curation.audit.estimate.sampling_plan import (
    SPREAD,
    Plan,
    PlanDigests,
    PlanError,
    cut,
    list_plans,
    load_plan,
    make_plan,
    save_plan,
)
from curation.samples.frames import SampleTable
from engine.contract.manifest import file_digest
from engine.contract.run_dir import RunDirError


def plan_of(p_wrong: np.ndarray, given: np.ndarray | None = None, seed: int = 0, **changes: object) -> Plan:
    num = len(p_wrong)
    arguments = {"audit": "first", "run": "r", "sample_id": np.array([f"s{i:05d}" for i in range(num)]),
                 "given": np.arange(num) % 3 if given is None else given, "p_wrong": p_wrong,
                 "is_active": np.ones(num, dtype=bool), "classes": ("cat", "dog", "bird"), "seed": seed,
                 "created": 1.5, "digests": PlanDigests(manifest="abc")}
    return make_plan(**{**arguments, **changes})  # type: ignore[arg-type]


def verdicts_of(ids: list[str], is_wrong: list[bool | None]) -> pd.DataFrame:
    return pd.DataFrame({"sample_id": pd.Series(ids, dtype=object), "is_wrong": pd.Series(is_wrong, dtype=object)})


NONE_YET = verdicts_of([], [])


def scores(num: int = 600, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).beta(0.5, 1.5, num).astype(np.float32)


# -- cuts and order

def test_strata_hold_equal_shares_of_the_measure_and_rise_with_p_wrong():
    p = scores(5000).astype(np.float64)
    stratum, edges = cut(p, 10)
    measure = [sum(np.sqrt(x * (1 - x)) + SPREAD for x in p[stratum == h]) for h in range(10)]
    assert np.ptp(measure) <= 2 * (0.5 + SPREAD)
    assert [p[stratum == h].min() for h in range(10)] == list(edges)
    assert all(p[stratum == h].max() < edges[h + 1] for h in range(9))


def test_equal_scores_share_a_stratum_and_none_is_empty():
    p = np.repeat([0.1, 0.5, 0.9], [500, 3, 2])
    stratum, edges = cut(p, 10)
    assert edges == (0.1, 0.5)
    assert stratum.tolist() == [0] * 500 + [1] * 5
    assert set(cut(np.full(9, 0.3), 10)[0]) == {0}


def test_samples_without_a_score_have_the_last_stratum_to_themselves():
    p = scores(50)
    p[[3, 30]] = np.nan
    population = plan_of(p).population
    last = population["stratum"].max()
    assert np.flatnonzero(population["stratum"] == last).tolist() == [3, 30]
    assert set(plan_of(np.full(4, np.nan, dtype=np.float32)).population["stratum"]) == {0}


def test_the_order_within_a_stratum_is_a_fresh_shuffle_for_each_seed():
    first, again, other = (plan_of(scores(), seed=seed).population for seed in (0, 0, 1))
    for _, part in first.groupby("stratum"):
        assert sorted(part["place"]) == list(range(len(part)))
    assert first["place"].equals(again["place"])
    assert (first["place"] != other["place"]).mean() > 0.9
    # the order is random against the row: over many seeds each row comes first as often as another
    firsts = [np.flatnonzero(plan_of(np.full(4, 0.5), seed=seed).population["place"] == 0)[0] for seed in range(400)]
    assert np.bincount(firsts).min() > 70


def test_only_active_samples_with_a_given_label_are_in_the_population():
    active = np.ones(60, dtype=bool)
    active[5] = False
    given = np.zeros(60, dtype=int)
    given[7] = -1
    ids = set(plan_of(scores(60), given=given, is_active=active).population["sample_id"])
    assert len(ids) == 58 and not ids & {"s00005", "s00007"}


def test_a_plan_that_cannot_be_is_refused_in_one_line():
    with pytest.raises(PlanError, match="there is none; import"):
        plan_of(scores(5), is_active=np.zeros(5, dtype=bool))
    with pytest.raises(PlanError, match=r"must lie in \[0, 1\] or be NaN; got 0.1 to 1.5"):
        plan_of(np.array([0.1, 1.5]))
    with pytest.raises(PlanError, match="some sample_id comes twice"):
        plan_of(scores(2), sample_id=np.array(["a", "a"]))
    with pytest.raises(RunDirError, match="a name must be 1 to 64"):
        plan_of(scores(5), audit="../out")


# -- files

def population_file(project: Path) -> Path:
    (file,) = (project / "audits" / "first").glob("population-*.parquet")
    return file


def test_a_plan_comes_back_as_it_was(tmp_path: Path):
    p = scores(40)
    p[0] = np.nan
    plan = plan_of(p)
    assert load_plan(tmp_path, "first") is None and list_plans(tmp_path) == []
    save_plan(tmp_path, plan)
    back = load_plan(tmp_path, "first")
    assert back is not None and list_plans(tmp_path) == ["first"]
    pd.testing.assert_frame_equal(back.population, plan.population, check_dtype=False)
    assert [getattr(back, name) for name in ("audit", "run", "seed", "created", "classes", "edges")] == [
        "first", "r", 0, 1.5, ("cat", "dog", "bird"), plan.edges]
    assert back.digests == PlanDigests(manifest="abc", population=file_digest(population_file(tmp_path)))
    assert draw(back, NONE_YET, num=20) == draw(plan, NONE_YET, num=20)


def test_a_plan_is_never_written_over(tmp_path: Path):
    save_plan(tmp_path, plan_of(scores(40)))
    with pytest.raises(PlanError, match="first has one already; take another name"):
        save_plan(tmp_path, plan_of(scores(40), seed=1))
    assert population_file(tmp_path).exists(), "nothing new lies beside it"


def test_of_two_who_plan_at_once_the_first_wins_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The other comes in between our population and our plan."""
    first, second = plan_of(scores(40), seed=1), plan_of(scores(40), seed=2)
    real, came = sampling_plan.write_atomic, []

    def interrupted(path: Path, write, **options) -> None:
        real(path, write, **options)
        if not came:
            came.append(path)
            save_plan(tmp_path, second)

    monkeypatch.setattr(sampling_plan, "write_atomic", interrupted)
    with pytest.raises(PlanError, match="first has one already; take another name"):
        save_plan(tmp_path, first)
    back = load_plan(tmp_path, "first")
    assert back is not None and back.seed == 2
    pd.testing.assert_frame_equal(back.population, second.population, check_dtype=False)


@pytest.mark.parametrize(("name", "content"), [
    ("plan.json", b"{"), ("plan.json", b"[]"), ("plan.json", b"{}"), ("plan.json", b"null"),
    ("plan.json", b'{"num_population": 40}'),
    ("population.parquet", b"nothing"), ("population.parquet", None)])
def test_a_damaged_plan_is_told_in_one_line(tmp_path: Path, name: str, content: bytes | None):
    save_plan(tmp_path, plan_of(scores(40)))
    path = population_file(tmp_path) if name == "population.parquet" else tmp_path / "audits" / "first" / name
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(PlanError, match="cannot be read .*restore it from a copy, or start") as caught:
        load_plan(tmp_path, "first")
    assert "\n" not in str(caught.value)


def test_a_population_that_is_not_the_plans_is_told(tmp_path: Path):
    save_plan(tmp_path, plan_of(scores(40)))
    path = population_file(tmp_path)
    rows = pd.read_parquet(path)
    rows.assign(p_wrong=1 - rows["p_wrong"]).to_parquet(path, index=False)
    with pytest.raises(PlanError, match="the population is not the plan's"):
        load_plan(tmp_path, "first")


# -- drawing

def test_each_stratum_is_drawn_strictly_in_its_order_and_none_twice():
    plan = plan_of(scores())
    taken: list[str] = []
    while len(taken) < 150:
        taken += draw(plan, verdicts_of(taken, [i % 5 == 0 for i in range(len(taken))]), num=25)
    assert len(set(taken)) == len(taken) == 150
    drawn = plan.population.set_index("sample_id").loc[taken]
    for _, part in drawn.groupby("stratum"):
        assert part["place"].tolist() == list(range(len(part)))


def test_every_stratum_has_its_first_reviews_before_others_have_more():
    plan = plan_of(scores())
    first = plan.population.set_index("sample_id").loc[draw(plan, NONE_YET, num=MIN_PER_STRATUM * plan.num_strata)]
    assert first["stratum"].value_counts().eq(MIN_PER_STRATUM).all()
    assert first["stratum"].diff().lt(0).any()  # mixed: the order tells nothing of the score


def test_what_others_have_in_hand_is_not_drawn_and_counts_as_taken():
    plan = plan_of(scores())
    first = draw(plan, NONE_YET, num=20)
    second = draw(plan, NONE_YET, reserved=first, num=20)
    assert not set(first) & set(second)
    assert sorted(draw(plan, NONE_YET, num=40)) == sorted(first + second)


def test_an_unsure_sample_is_replaced_by_the_next_of_its_stratum():
    plan = plan_of(scores())
    first = draw(plan, NONE_YET, num=MIN_PER_STRATUM * plan.num_strata)
    stratum = plan.population.set_index("sample_id")["stratum"]
    is_lost = [stratum[i] == 4 for i in first]
    more = draw(plan, verdicts_of(first, [None if lost else False for lost in is_lost]), num=MIN_PER_STRATUM)
    assert [stratum[i] for i in more] == [4] * MIN_PER_STRATUM


def test_a_sample_that_cannot_be_asked_about_is_replaced_as_an_unsure_one_is():
    plan = plan_of(scores())
    first = draw(plan, NONE_YET, num=60)
    assert draw(plan, NONE_YET, num=60, stale=first) == draw(plan, verdicts_of(first, [None] * 60), num=60)
    answered = verdicts_of(first, [False] * 60)
    assert sorted(draw(plan, answered, num=60, stale=first)) == sorted(draw(plan, answered, num=60)), "answered: counts"


def test_what_has_left_or_changed_its_label_is_stale():
    plan = plan_of(scores(6))
    rows = pd.DataFrame({"sample_id": ["s00004", "s00001", "s00000", "s00002", "s00003", "new"],
                         "given_label": ["dog", "dog", "bird", None, "cat", "cat"]})
    assert plan.stale(SampleTable.of(rows)) == ["s00000", "s00002", "s00005"]
    labels = plan.labels(["s00004", "elsewhere", "s00000", "s00002"]).set_index("sample_id")["given_label"]
    assert labels.to_dict() == {"s00000": "cat", "s00002": "bird", "s00004": "dog"}


def test_why_nothing_is_left_to_be_drawn_is_told_apart():
    plan = plan_of(scores(30))
    ids = plan.population["sample_id"].tolist()
    told = verdicts_of(ids[:10], [False] * 8 + [None] * 2)
    assert left_of(plan, told, reserved=[*ids[7:14], "nobody"], stale=[*ids[5:10], *ids[13:16]]) == Left(
        num_free=14, num_in_hand=3, num_unsure=2, num_stale=3)
    assert left_of(plan, verdicts_of(ids, [True] * 30), stale=ids) == Left(
        num_free=0, num_in_hand=0, num_unsure=0, num_stale=0)


@pytest.mark.parametrize(("counts", "words"), [
    ((0, 0, 0), "Every sample of the population is reviewed"), ((0, 3, 0), "Without an answer are 3 that nobody"),
    ((2, 0, 1_000), "2 in others' hands or files, to be drawn again a day later if they are not answered; 1,000 that")])
def test_each_reason_for_an_empty_draw_has_its_words(counts: tuple[int, int, int], words: str):
    assert words in empty_words(Left(num_free=0, **dict(zip(("num_in_hand", "num_unsure", "num_stale"), counts,
                                                            strict=True))))


def test_a_draw_ends_with_the_population():
    plan = plan_of(scores(30))
    assert sorted(draw(plan, NONE_YET, num=100)) == sorted(plan.population["sample_id"])
    everything = plan.population["sample_id"].tolist()
    assert draw(plan, verdicts_of(everything, [False] * 30), num=5) == []


def test_the_allocation_is_the_best_in_whole_numbers():
    sizes, spread = np.array([9, 40, 5, 30]), np.array([3.0, 5.0, 2.4, 9.0])
    chosen = np.bincount(next_strata(sizes, np.zeros(4, dtype=int), spread, 16), minlength=4)

    def variance(counts: np.ndarray) -> float:
        return float((spread ** 2 * (1 / counts - 1 / sizes)).sum())

    possible = [np.array(c) for c in itertools.product(range(MIN_PER_STRATUM, 17), repeat=4)
                if sum(c) == 16 and (np.array(c) <= sizes).all()]
    assert variance(chosen) == pytest.approx(min(variance(c) for c in possible))
    assert chosen[2] <= 5


def test_verdicts_move_the_allocation_to_where_labels_turn_out_mixed():
    plan = plan_of(np.random.default_rng(0).uniform(0.02, 0.6, 2000))
    first = draw(plan, NONE_YET, num=200)
    p = plan.population.set_index("sample_id")["p_wrong"]
    # what the model thought 0.3 turns out to be wrong throughout: only the low end is mixed
    told = verdicts_of(first, [bool(p[i] > 0.1) for i in first])
    assert p[draw(plan, told, num=100)].mean() < 0.6 * p[draw(plan, NONE_YET, num=100)].mean()


def test_verdicts_are_matched_by_id_and_one_a_sample():
    plan = plan_of(scores(30))
    rows, wrong, unsure = known(plan, verdicts_of(["s00004", "nobody", "s00002", "s00009"], [True, True, False, None]))
    assert rows.tolist() == [4, 2] and wrong.tolist() == [1.0, 0.0] and unsure.tolist() == [9]
    assert rows_of(plan, ["s00003", "x", "s00000"]).tolist() == [3, -1, 0]
    with pytest.raises(PlanError, match="a sample_id comes twice; resolve"):
        known(plan, verdicts_of(["s00004", "s00004"], [True, False]))
