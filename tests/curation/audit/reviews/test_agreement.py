"""Agreement of reviewers against figures computed by hand and by others' code."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from curation.audit.report.summaries import agreement_part
from curation.audit.reviews.agreement import (
    MIN_FOR_INTERVAL,
    consistency,
    gold_accuracy,
    group_agreement,
    pair_agreements,
)
from curation.ledger.verdicts import WRONG


def log(*rows: tuple[str, str, str, str | None], **columns) -> pd.DataFrame:
    """Verdicts in force of (sample_id, who, verdict, label)."""
    table = pd.DataFrame(rows, columns=["sample_id", "who", "verdict", "label"], dtype=object)
    table["is_wrong"] = pd.Series([WRONG[v] for v in table["verdict"]], dtype=object)
    for name, value in {"queue": "find", "purpose": "main", "given_label": "cat", "suggested_label": "dog",
                        **columns}.items():
        table[name] = pd.Series([value] * len(table), dtype=object)
    return table


def votes(who: str, answers: list[str | None], start: int = 0) -> list[tuple[str, str, str, str | None]]:
    """One vote a sample: cat is given, None is neither, another class is other."""
    kind = {"cat": "given", None: "neither"}
    return [(f"s{start + i}", who, kind.get(label, "other"), label) for i, label in enumerate(answers)]


# -- pairs


def test_cohens_kappa_of_the_textbook() -> None:
    """Cohen's table 20, 5, 10, 15: 0.7 agree, 0.5 by chance, kappa 0.4."""
    first = ["cat"] * 25 + ["dog"] * 25
    second = ["cat"] * 20 + ["dog"] * 5 + ["cat"] * 10 + ["dog"] * 15
    found, = pair_agreements(log(*votes("bob", second), *votes("ada", first)))
    assert found.reviewers == ("ada", "bob")
    assert (found.on_label.num, found.on_label.agreement) == (50, 0.7)
    assert found.on_label.kappa == pytest.approx(0.4)
    assert found.on_wrong == found.on_label  # two classes: cat is right, dog is wrong


def test_the_interval_of_kappa_is_that_of_simulation() -> None:
    rng = np.random.default_rng(0)
    table = np.array([[20, 5], [10, 15]]) / 50
    cells = rng.multinomial(50, table.ravel(), 20_000).reshape(-1, 2, 2) / 50
    chance = (cells.sum(axis=2) * cells.sum(axis=1)).sum(axis=1)
    spread = ((cells[:, 0, 0] + cells[:, 1, 1] - chance) / (1 - chance)).std()
    first = ["cat"] * 25 + ["dog"] * 25
    second = ["cat"] * 20 + ["dog"] * 5 + ["cat"] * 10 + ["dog"] * 15
    kappa = pair_agreements(log(*votes("bob", second), *votes("ada", first)))[0].on_label
    assert kappa.high - kappa.low == pytest.approx(2 * 1.96 * spread, rel=0.05)
    assert kappa.low < 0.4 < kappa.high


def test_class_and_wrongness_are_told_apart_and_no_class_is_a_class() -> None:
    rng = np.random.default_rng(1)
    classes = np.array(["cat", "dog", "bird", None], dtype=object)
    first = classes[rng.integers(0, 4, 60)]
    second = np.where(rng.random(60) < 0.6, first, classes[rng.integers(0, 4, 60)])
    found, = pair_agreements(log(*votes("ada", first.tolist()), *votes("bob", second.tolist())))
    texts = [["none" if label is None else label for label in answers] for answers in (first, second)]
    wrong = [[label != "cat" for label in answers] for answers in (first, second)]
    assert found.on_label.kappa == pytest.approx(cohen_kappa_score(*texts))
    assert found.on_wrong.kappa == pytest.approx(cohen_kappa_score(*wrong))
    assert found.on_label.agreement == pytest.approx(np.mean([a == b for a, b in zip(*texts, strict=True)]))
    assert found.on_label.kappa != found.on_wrong.kappa


def test_both_and_given_are_one_answer() -> None:
    found, = pair_agreements(log(("s1", "ada", "given", "cat"), ("s1", "bob", "both", "cat"),
                                 ("s2", "ada", "other", "dog"), ("s2", "bob", "suggested", "dog")))
    assert (found.on_label.agreement, found.on_label.kappa) == (1.0, 1.0)


def test_last_answers_count_unsure_ones_abstain_and_settling_ones_stay_out() -> None:
    rows = pd.concat([
        log(("s1", "ada", "other", "dog"), ("s1", "bob", "given", "cat"), ("s2", "ada", "given", "cat"),
            ("s2", "bob", "unsure", None), ("s3", "ada", "other", "dog"), ("s3", "bob", "given", "cat"),
            ("s4", "ada", "other", "dog"), ("s4", "bob", "other", "dog"), ("s1", "ada", "given", "cat")),
        log(("s3", "eve", "given", "cat"), ("s1", "eve", "given", "cat"), queue="adjudicate")], ignore_index=True)
    found, = pair_agreements(rows)
    assert found.reviewers == ("ada", "bob") and found.on_label.num == 3
    assert found.on_label.agreement == pytest.approx(2 / 3)


def test_where_all_say_the_same_there_is_no_kappa_and_with_few_no_interval() -> None:
    found, = pair_agreements(log(*votes("ada", ["cat"] * 30), *votes("bob", ["cat"] * 30)))
    assert (found.on_label.agreement, found.on_label.kappa, found.on_label.low) == (1.0, None, None)
    found, = pair_agreements(log(*votes("ada", ["cat", "dog"] * 15), *votes("bob", ["cat", "dog"] * 15)))
    assert (found.on_label.kappa, found.on_label.low) == (pytest.approx(1.0), None)  # its variance is not known
    few = ["cat", "dog"] * ((MIN_FOR_INTERVAL - 2) // 2)
    found, = pair_agreements(log(*votes("ada", few), *votes("bob", [*few[:-1], "cat"])))
    assert found.on_label.kappa is not None and found.on_label.low is None


def test_who_never_agrees_has_a_kappa_of_none_of_it() -> None:
    found, = pair_agreements(log(*votes("ada", ["cat"] * 30), *votes("bob", ["dog"] * 30)))
    assert (found.on_label.agreement, found.on_label.kappa) == (0.0, pytest.approx(0.0))
    assert (found.on_label.low, found.on_label.high) == (None, None)


def test_pairs_are_those_with_samples_in_common_most_first() -> None:
    rows = log(*votes("ada", ["cat", "dog", "cat"]), *votes("bob", ["cat", "dog", "dog"]), *votes("eve", ["cat"], 2),
               *votes("zoe", ["cat"], 9))
    assert [(p.reviewers, p.on_label.num) for p in pair_agreements(rows)] == [
        (("ada", "bob"), 3), (("ada", "eve"), 1), (("bob", "eve"), 1)]
    assert pair_agreements(log()) == []


# -- groups


def naive_fleiss(samples: list[list[str]]) -> float:
    """Fleiss 1971 sample by sample."""
    n = len(samples[0])
    every = [answer for sample in samples for answer in sample]
    agree = [sum(a == b for i, a in enumerate(s) for j, b in enumerate(s) if i != j) / (n * (n - 1)) for s in samples]
    chance = sum((every.count(kind) / len(every)) ** 2 for kind in set(every))
    observed = sum(agree) / len(agree)
    return (observed - chance) / (1 - chance)


def test_fleiss_kappa_goes_by_the_number_of_reviewers_whoever_they_are() -> None:
    rng = np.random.default_rng(2)
    people, rows, by_num = ["a", "b", "c", "d", "e"], [], {1: [], 2: [], 3: []}
    for i in range(90):
        num = 1 + i % 3
        truth = ["cat", "dog", "bird"][rng.integers(3)]
        answers = [truth if rng.random() < 0.7 else str(rng.choice(["cat", "dog", "bird"])) for _ in range(num)]
        by_num[num].append(answers)
        for who, label in zip(rng.permutation(people)[:num], answers, strict=True):
            rows.append((f"s{i}", str(who), "given" if label == "cat" else "other", label))
    rows += [("s0", "z", "unsure", None), *[(f"t{i}", who, "given", "cat") for i in range(7) for who in people[:2]]]
    by_num[2] += [["cat", "cat"]] * 7
    pairs_alone = [row for row in rows if row[0][0] == "t" or int(row[0][1:]) % 3 == 1]
    threes_most = [row for row in rows if row[0][0] == "s"][:-1] + [(f"u{i}", w, "given", "cat") for i in range(8)
                                                                  for w in people[:3]]
    by_num[3] += [["cat"] * 3] * 8
    for said, num, num_samples in ((rows, 2, 37), (pairs_alone, 2, 37), (threes_most, 3, 38)):
        group = group_agreement(log(*said))
        assert (group.num_reviewers, group.on_label.num) == (num, num_samples)
        samples = by_num[num]
        assert group.on_label.kappa == pytest.approx(naive_fleiss(samples))
        assert group.on_wrong.kappa == pytest.approx(naive_fleiss([[str(a != "cat") for a in s] for s in samples]))
        assert group.on_label.low < group.on_label.kappa < group.on_label.high
        assert group_agreement(log(*said)) == group  # the same interval again


def test_fleiss_kappa_of_one_kind_of_answer_is_not_known() -> None:
    found = group_agreement(log(*votes("ada", ["cat"] * 30), *votes("bob", ["cat"] * 30)))
    assert (found.on_label.agreement, found.on_label.kappa, found.on_label.high) == (1.0, None, None)
    one_dog = ["cat"] * 29 + ["dog"]
    found = group_agreement(log(*votes("ada", one_dog), *votes("bob", ["cat"] * 30)))
    assert found.on_label.kappa == pytest.approx(naive_fleiss([["cat", "cat"]] * 29 + [["dog", "cat"]]))
    assert -1 <= found.on_label.low <= found.on_label.high <= 1


# -- each alone


def wilson(right: int, num: int) -> tuple[float, float]:
    z, p = 1.959963984540054, right / num
    middle, half = p + z * z / (2 * num), z * math.sqrt(p * (1 - p) / num + z * z / (4 * num * num))
    return (middle - half) / (1 + z * z / num), (middle + half) / (1 + z * z / num)


def test_a_repeat_is_held_against_the_reviewers_own_answer_before_in_that_queue() -> None:
    main = log(("s1", "ada", "given", "cat"), ("s2", "ada", "other", "dog"), ("s3", "ada", "neither", None),
               ("s4", "ada", "unsure", None), ("s1", "bob", "other", "dog"), ("s5", "ada", "given", "cat"))
    again = log(("s1", "ada", "both", "cat"), ("s2", "ada", "given", "cat"), ("s3", "ada", "neither", None),
                ("s4", "ada", "given", "cat"), ("s2", "bob", "given", "cat"), purpose="repeat")
    elsewhere = log(("s5", "ada", "other", "dog"), queue="estimate", purpose="repeat")
    found = consistency(pd.concat([main, again, elsewhere], ignore_index=True))
    assert list(found) == ["ada"] and (found["ada"].num, found["ada"].num_right) == (3, 2)
    assert found["ada"].share == pytest.approx(2 / 3)
    assert (found["ada"].low, found["ada"].high) == pytest.approx(wilson(2, 3))


def test_gold_is_right_where_the_class_is_and_both_where_either_is() -> None:
    rows = log(("s1", "ada", "given", "cat"), ("s2", "ada", "suggested", "dog"), ("s3", "ada", "both", "cat"),
               ("s4", "ada", "neither", None), ("s5", "ada", "unsure", None), ("s6", "ada", "other", "bird"),
               ("s1", "bob", "other", "bird"), ("s1", "bob", "given", "cat"), ("s9", "bob", "given", "cat"),
               purpose="gold")
    rows = pd.concat([rows, log(("s7", "ada", "given", "cat"))], ignore_index=True)  # known, but no check
    truth = {"s1": "cat", "s2": "cat", "s3": "dog", "s4": "dog", "s5": "cat", "s6": "bird", "s7": "cat"}
    found = gold_accuracy(rows, truth)
    assert (found["ada"].num, found["ada"].num_right) == (5, 3)  # s1, s3, s6
    assert (found["bob"].num, found["bob"].num_right) == (1, 1)
    assert (found["ada"].low, found["ada"].high) == pytest.approx(wilson(3, 5))
    assert gold_accuracy(rows, pd.Series(truth)) == found


def test_what_is_not_there_is_empty() -> None:
    assert (consistency(log()), gold_accuracy(log(), {}), group_agreement(log())) == ({}, {}, None)
    assert gold_accuracy(log(("s1", "ada", "given", "cat"), purpose="gold"), {"s1": None}) == {}


def test_the_part_of_a_report_is_plain_json() -> None:
    rows = log(*votes("ada", ["cat", "dog"] * 20), *votes("bob", ["cat", "cat"] * 20))
    gold = log(("s1", "ada", "suggested", "dog"), purpose="gold")
    rows = pd.concat([rows, gold], ignore_index=True)
    part = agreement_part(rows, {"s1": "dog"})
    assert json.loads(json.dumps(part, allow_nan=False)) == part
    assert part["pairs"][0]["reviewers"] == ["ada", "bob"] and part["pairs"][0]["kappa"] == pytest.approx(0.0)
    assert set(part["pairs"][0]) == {"reviewers", "num", "agreement", "kappa", "low", "high", "on_wrong"}
    assert part["fleiss"]["num"] == 40 and part["fleiss"]["num_reviewers"] == 2
    assert part["gold"]["ada"]["num_right"] == 1 and set(part) == {"pairs", "fleiss", "consistency", "gold"}
    assert agreement_part(rows)["gold"] == {} and agreement_part(log())["fleiss"] is None
