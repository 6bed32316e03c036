"""What a reviewer sees next: the order, the hidden checks among it and disputes."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from curation.audit.report.summaries import agreement_part
from curation.audit.reviews.consensus import consensus
from curation.audit.reviews.queues import (
    FIRST_CHECK,
    MIN_APART,
    Batch,
    ServingError,
    adjudication_rows,
    disputes,
    estimate_batch,
    find_batch,
    find_order,
    mode_named,
)
from curation.audit.suspects.scores import Scores
from curation.ledger.verdicts import WRONG, Verdict, VerdictLog
from curation.samples.frames import SampleTable


def scores(p_wrong, given=None, suggested=None, is_active=None, ids=None) -> Scores:
    num = len(p_wrong)
    zeros = np.zeros(num, dtype=np.int32)
    return Scores(
        samples=SampleTable.of(pd.DataFrame({"sample_id": ids or [f"s{i}" for i in range(num)]})),
        classes=("a", "b", "c"),
        given=zeros if given is None else np.asarray(given), current=zeros,
        suggested=zeros + 1 if suggested is None else np.asarray(suggested), confidence=np.ones(num, dtype=np.float32),
        p_wrong=np.asarray(p_wrong, dtype=np.float32), odds_sd=np.full(num, 0.5, dtype=np.float32),
        is_active=np.ones(num, dtype=bool) if is_active is None else np.asarray(is_active, dtype=bool), columns={},
        num_calibrated=0, num_dual=0, runs=("r",))


def log(*rows: tuple, **columns) -> pd.DataFrame:
    """Verdicts in force of (sample_id, who) or (sample_id, who, verdict); "given" unless said."""
    table = pd.DataFrame([(*row, "given")[:3] for row in rows], columns=["sample_id", "who", "verdict"], dtype=object)
    table["label"] = [{"given": "a", "both": "a", "suggested": "b", "other": "c"}.get(v) for v in table["verdict"]]
    table["label"] = table["label"].astype(object)
    table["is_wrong"] = pd.Series([WRONG[v] for v in table["verdict"]], dtype=object)
    table["verdict_id"] = np.arange(1, len(table) + 1)
    table["at"] = [f"2026-01-01T00:{i // 60:02d}:{i % 60:02d}.000+00:00" for i in range(len(table))]
    for name, value in {"queue": "find", "purpose": "main", "p_wrong": 0.5, "batch": 1, "audit": "a",
                        "suggested_label": None, **columns}.items():
        table[name] = value
    return table.astype({"batch": "Int64"})


NONE = log()
IDS = np.array([f"s{i}" for i in range(1000)], dtype=object)

# -- order


def test_the_most_suspected_come_first_and_the_unscored_last() -> None:
    assert find_order(scores([.1, np.nan, .9, .5, np.nan, .9]), NONE).tolist() == [2, 5, 3, 0, 1, 4]


def test_judged_inactive_and_reserved_samples_are_left_out() -> None:
    table = scores([.1, .2, .3, .4, .5], is_active=[1, 1, 1, 0, 1])
    verdicts = pd.concat([log(("s4", "bob", "unsure")), log(("s0", "eve"), queue="estimate")])
    assert find_order(table, verdicts).tolist() == [2, 1]
    assert find_order(table, verdicts, reserved=["s2"]).tolist() == [1]


def test_balanced_takes_the_most_suspected_of_each_class_in_turn() -> None:
    given = [0, 0, 0, 1, 1, 2, 0, 3]
    order = find_order(scores([.9, .8, .7, .6, .5, .1, np.nan, np.nan], given=given), NONE, "balanced")
    assert order.tolist() == [0, 3, 5, 1, 4, 2, 7, 6]  # the unscored last, one of a class of its own too


def test_uncertain_takes_even_odds_first() -> None:
    table = scores([.1, .45, .97, .6, np.nan, .8, .52])
    assert find_order(table, NONE, "uncertain").tolist() == [6, 1, 3, 5, 0, 2, 4]


def test_a_confusion_is_one_given_class_taken_for_one_other() -> None:
    table = scores([.1, .9, .5, .7], given=[0, 0, 1, 0], suggested=[1, 1, 1, 2])
    assert find_order(table, NONE, "confusion", given=0, suggested=1).tolist() == [1, 0]


@pytest.mark.parametrize(("mode", "message"), [("best", "one of value, balanced, uncertain, confusion; got 'best'"),
                                               ("confusion", "of two classes; got 0 and None")])
def test_a_queue_that_cannot_be_is_refused(mode: str, message: str) -> None:
    with pytest.raises(ServingError, match=message) as caught:
        find_order(scores([.1]), NONE, mode_named(mode), given=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["value", "uncertain", "balanced"])
def test_what_is_judged_leaves_the_order(mode: str) -> None:
    rng = np.random.default_rng(0)
    table = scores(rng.random(20_000), given=rng.integers(0, 14, 20_000))
    verdicts = log(*[(f"s{i}", "ada") for i in range(1_000)])
    order = find_order(table, verdicts, mode)
    assert len(order) == 19_000


# -- batches


def many(num: int, who: str, start: int = 500, **columns) -> pd.DataFrame:
    return log(*[(f"s{start + i}", who) for i in range(num)], **columns)


def batch(verdicts=NONE, *, number=0, reviewer="ada", gold=(), size=50, ids=IDS) -> Batch:
    return find_batch(ids, verdicts, audit="a", reviewer=reviewer, number=number, gold_ids=gold, size=size)


def purposes(found: Batch) -> Counter:
    return Counter(item.purpose for item in found.items)


def test_a_first_batch_without_anything_to_check_is_the_head_of_the_queue() -> None:
    found = batch()
    assert [item.sample_id for item in found.items] == IDS[:50].tolist() == found.main_ids
    assert {(item.queue, item.purpose) for item in found.items} == {("find", "main")}


def test_checks_come_on_top_of_the_batch_in_the_promised_share() -> None:
    verdicts = pd.concat([many(40, "bob"), many(40, "ada", 600)], ignore_index=True)
    gold = IDS[700:800]
    shares = []
    for number in range(200):
        found = batch(verdicts, number=number, gold=gold)
        assert found.main_ids == IDS[:50].tolist()
        assert len({item.sample_id for item in found.items}) == len(found.items)
        shares.append(1 - 50 / len(found.items))
    assert 0.05 < min(shares) and max(shares) < 0.10
    assert np.mean(shares) == pytest.approx(0.07, abs=0.003)


@pytest.mark.parametrize("size", [2, 5, 10, 20])
def test_small_batches_have_a_check_too(size: int) -> None:
    assert all(len(batch(gold=IDS[900:], size=size, number=n).items) > size for n in range(20))


@pytest.mark.parametrize("num", [0, 1])
def test_with_too_few_items_to_hide_a_check_there_is_none(num: int) -> None:
    assert len(batch(gold=IDS[900:], ids=IDS[:num]).items) == num


def test_checks_are_spread_and_never_among_the_first_two() -> None:
    places = [[i for i, item in enumerate(found.items) if item.purpose != "main"]
              for found in (batch(gold=IDS[900:], number=n) for n in range(300))]
    assert min(p for row in places for p in row) == FIRST_CHECK
    assert max(p for row in places for p in row) == 53
    for row in places:
        num = 50 + len(row)
        edges = np.linspace(FIRST_CHECK, num, len(row) + 1)
        assert all(start <= p < end for start, p, end in zip(np.ceil(edges), row, np.ceil(edges[1:]), strict=False))
    counts = np.bincount([p for row in places for p in row], minlength=54)[FIRST_CHECK:]
    assert counts.min() > 0 and counts.max() < 5 * counts.mean()


def test_the_same_batch_comes_again_and_another_number_or_person_has_another() -> None:
    gold = IDS[900:]
    assert batch(gold=gold) == batch(gold=gold)
    found = {tuple(item.sample_id for item in batch(gold=gold, number=n, reviewer=who).items)
             for n in range(5) for who in ("ada", "bob")}
    assert len(found) == 10


def test_overlap_is_what_exactly_one_other_has_judged_in_this_queue() -> None:
    verdicts = pd.concat([log(("s500", "bob"), ("s501", "bob"), ("s501", "eve"), ("s502", "ada"), ("s502", "bob"),
                              ("s503", "bob"), ("s503", "bob")), log(("s504", "bob"), queue="estimate")])
    seen = {item.sample_id for n in range(50) for item in batch(verdicts, number=n).items if item.purpose != "main"}
    assert seen == {"s500", "s503"}
    assert {item.purpose for n in range(50) for item in batch(verdicts, number=n).items} == {"main", "overlap"}


def test_repeats_are_own_verdicts_of_a_while_ago_once() -> None:
    own = many(MIN_APART + 3, "ada")
    verdicts = pd.concat([own, many(30, "ada", 600, queue="estimate").iloc[:0], log(("s500", "ada"))],
                         ignore_index=True)
    seen = {item.sample_id for n in range(80) for item in batch(verdicts, number=n).items if item.purpose == "repeat"}
    assert seen == {"s501", "s502", "s503"}  # s500 was asked twice; 15 verdicts lie after s503
    assert not purposes(batch(own.iloc[:MIN_APART]))["repeat"]
    assert not purposes(batch(own.assign(queue="estimate")))["repeat"]


def test_gold_is_new_to_the_reviewer_and_not_in_the_batch() -> None:
    verdicts = log(("s900", "ada"), ("s901", "bob"))
    gold = ["s0", "s900", "s901", "s902"]
    seen = {(item.purpose, item.sample_id) for n in range(80) for item in batch(verdicts, number=n, gold=gold).items
            if item.purpose != "main"}
    assert seen == {("gold", "s901"), ("gold", "s902"), ("overlap", "s901")}


def test_every_kind_of_check_is_asked_overlap_most() -> None:
    verdicts = pd.concat([many(100, "bob"), many(100, "ada", 600)], ignore_index=True)
    found = sum((purposes(batch(verdicts, number=n, gold=IDS[800:])) for n in range(100)), Counter())
    assert found["overlap"] > 1.5 * max(found["gold"], found["repeat"])
    assert min(found["gold"], found["repeat"]) > 0.15 * (found["overlap"] + found["gold"] + found["repeat"])


def test_estimate_batches_keep_the_draw_whole_and_check_from_their_own_queue() -> None:
    verdicts = pd.concat([many(40, "bob"), many(40, "bob", 600, queue="estimate")], ignore_index=True)
    found = estimate_batch(IDS[:30], verdicts, audit="a", reviewer="ada", number=1)
    checks = [item for item in found.items if item.purpose != "main"]
    assert found.main_ids == IDS[:30].tolist() and {item.queue for item in found.items} == {"estimate"}
    assert checks and all(int(item.sample_id[1:]) >= 600 for item in checks)


def test_three_reviewers_at_work_never_share_a_main_item_and_are_measured_on_the_way(tmp_path) -> None:
    """Through the real log: batches in turn, each answered with one mistake in ten."""
    verdict_log = VerdictLog(tmp_path / "ledger.sqlite", ("a", "b", "c"))
    rng = np.random.default_rng(0)
    table = scores(rng.random(1000), ids=IDS.tolist())
    truth = pd.Series(np.where(rng.random(1000) < table.p_wrong, "b", "a"), index=IDS)
    gold = IDS[::20]
    num_main = num_all = 0
    for number in range(5):
        for who in ("ada", "bob", "eve"):
            before = verdict_log.in_force("x")
            ids = table.samples.ids(find_order(table, before))
            found = find_batch(ids, before, audit="x", reviewer=who, number=number, gold_ids=gold, size=30)
            assert not set(found.main_ids) & set(before["sample_id"])
            num_main, num_all = num_main + len(found.main_ids), num_all + len(found.items)
            said = ["suggested" if (truth[item.sample_id] == "b") ^ (rng.random() < 0.1) else "given"
                    for item in found.items]
            verdict_log.add([Verdict(audit="x", queue=item.queue, purpose=item.purpose, sample_id=item.sample_id,
                                     verdict=answer, given_label="a", suggested_label="b", who=who, batch=number)
                             for item, answer in zip(found.items, said, strict=True)])
    assert 0.05 < 1 - num_main / num_all < 0.10
    part = agreement_part(verdict_log.in_force("x"), truth)
    assert [pair["reviewers"] for pair in part["pairs"]] and part["fleiss"]["num_reviewers"] == 2
    assert set(part["gold"]) == {"ada", "bob", "eve"} and sum(s["num"] for s in part["consistency"].values()) > 3


# -- disputes


def test_a_third_is_asked_about_disputes_oldest_first_and_never_one_of_the_two() -> None:
    verdicts = log(("s1", "ada"), ("s1", "bob", "suggested"), ("s2", "bob"), ("s3", "eve"), ("s2", "kim", "other"),
                   ("s4", "bob"), ("s4", "eve"), ("s5", "bob"), ("s5", "eve", "unsure"))
    assert adjudication_rows(verdicts, "ada") == ["s2"]
    assert adjudication_rows(verdicts, "zoe") == ["s1", "s2"]
    settled = pd.concat([verdicts, log(("s1", "zoe"), queue="adjudicate")])
    assert adjudication_rows(settled, "max") == ["s2"]
    assert adjudication_rows(NONE, "ada") == []


def test_a_dispute_within_the_random_queue_is_open_though_the_ranked_one_outvotes_it() -> None:
    """bob saw the model's opinion, so the estimate does not hear him: for it ann stands against cid."""
    found, drawn = log(("s1", "bob", "suggested")), log(("s1", "ann", "given"), queue="estimate")
    settled = pd.concat([found, drawn, log(("s1", "cid", "suggested"), queue="adjudicate")], ignore_index=True)
    assert consensus(settled)["state"].tolist() == ["agreed"]
    assert adjudication_rows(settled, "eve") == ["s1"] and adjudication_rows(settled, "bob") == []
    again = pd.concat([settled, log(("s1", "eve", "given"), queue="adjudicate")], ignore_index=True)
    assert adjudication_rows(again, "max") == ["s1"], "now all of them together are two against two"
    assert disputes(pd.concat([again, log(("s1", "max", "given"), queue="adjudicate")])) == []


def test_a_dispute_between_two_audits_is_one_and_another_audits_random_queue_is_its_own_affair() -> None:
    first, second = log(("s1", "ann", "suggested")), log(("s1", "ben"), audit="b")
    both = pd.concat([first, second], ignore_index=True)
    assert adjudication_rows(first, "eve") == [] and adjudication_rows(both, "eve", "a") == ["s1"]
    assert adjudication_rows(both, "eve", "b") == ["s1"] and adjudication_rows(both, "ann", "b") == []
    random = pd.concat([log(("s1", "ann", "suggested"), queue="estimate"), log(("s1", "bob"), queue="adjudicate"),
                        log(("s1", "cid"), audit="b")], ignore_index=True)
    assert disputes(random, "a") == disputes(random) == ["s1"] and disputes(random, "b") == []
