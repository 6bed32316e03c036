"""Where an audit ends its interval holds the truth as often as it says: counts of simulated audits, seeds fixed."""

from benchmarks.stopping import End, audit, population_of


def test_stopping_at_the_planned_looks_keeps_the_interval_and_stopping_where_it_is_narrow_does_not() -> None:
    population = population_of(0.09, "blind", num=1500)
    truth = population.is_wrong.mean()
    ends = [audit(population, [0.04], 40, ["looks", "narrow"], seed) for seed in range(40)]

    def held(rule: str) -> list[End]:
        return [end[rule, 0.04] for end in ends if end[rule, 0.04].low <= truth <= end[rule, 0.04].high]

    assert len(held("looks")) >= 38
    assert len(held("narrow")) <= 36, "a rule that looks after every batch fails this test"
    assert min(end["narrow", 0.04].num_reviews for end in ends) == 40, "it ended on the first batch at times"
    assert min(end["looks", 0.04].num_reviews for end in ends) == 150
