"""Holding out by class and group: quotas of each class, groups whole, the same each time, nothing where not asked."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from curation.sources.splits import Before, HoldOut, hold_out, keeps_together
from curation.tables.report import SourceError


def rows_of(labels: list[str], groups: list[str | None] | None = None, splits: list[str] | None = None) -> pa.Table:
    ids = [f"s{idx:05d}" for idx in range(len(labels))]
    return pa.table({"sample_id": ids, "given_label": labels, "split": splits or ["train"] * len(labels),
                     "group": pa.array(groups or [None] * len(labels), pa.string())})


def counts(rows: pa.Table) -> pd.DataFrame:
    frame = rows.to_pandas()
    return pd.crosstab(frame["given_label"], frame["split"])


def drawn(rows: pa.Table, asked: HoldOut | None, before: Before | None = None) -> tuple[pa.Table, list[str]]:
    found = hold_out(rows, asked, before)
    return found.rows, found.notes


def split_of(rows: pa.Table) -> dict[str, str]:
    return dict(zip(rows["sample_id"].to_pylist(), rows["split"].to_pylist(), strict=True))


def before_of(rows: pa.Table, *held_out: str, together: str | None = None) -> Before:
    return Before(rows=rows.select(["sample_id", "split"]), held_out=held_out, together=together)


def test_each_class_gives_its_share_to_the_nearest_sample() -> None:
    held, notes = drawn(rows_of(["cat"] * 100 + ["dog"] * 33 + ["owl"] * 2 + ["elk"]), HoldOut())
    found = counts(held)
    assert found.loc["cat"].to_dict() == {"clean": 10, "test": 20, "train": 70}
    assert found.loc["dog"].to_dict() == {"clean": 3, "test": 7, "train": 23}
    assert found.loc["owl", "train"] == 2 and found.loc["elk", "train"] == 1, "a class keeps some to train on"
    assert notes[0].startswith("split test: 27 of 136 samples (19.9%) held out by this import, at random by class")


def test_the_same_seed_draws_the_same_samples_in_any_order_and_another_seed_others() -> None:
    rows = rows_of(["cat"] * 200 + ["dog"] * 100)
    turned = rows.take(pa.array(np.random.default_rng(1).permutation(300)))

    def of(table: pa.Table, seed: int) -> dict[str, str]:
        return split_of(drawn(table, HoldOut(seed=seed))[0])

    assert of(rows, 0) == of(turned, 0) != of(rows, 1)


@pytest.mark.parametrize("asked", [HoldOut(), HoldOut(seed=5), HoldOut(test_frac=0.1), None])
def test_samples_of_the_project_keep_their_split_and_new_ones_alone_are_drawn(asked: HoldOut | None) -> None:
    first, _ = drawn(rows_of(["cat"] * 100 + ["dog"] * 50), HoldOut())
    grown = rows_of(["cat"] * 200 + ["dog"] * 100)
    order = [*range(100), *range(200, 250), *range(100, 200), *range(250, 300)]
    grown = grown.take(pa.array(order)).set_column(0, "sample_id", pa.array([f"s{idx:05d}" for idx in range(300)]))
    held, notes = drawn(grown, asked, before_of(first, "test", "clean"))
    was, now = split_of(first), split_of(held)
    assert {name: now[name] for name in was} == was
    num_new = sum(now[name] == "test" for name in now.keys() - was.keys())
    assert num_new == (0 if asked is None or asked.test_frac == 0.1 else 30), "shares are of all samples"
    said = f"30 kept as they were, {num_new} drawn among 150 new samples" if asked else \
        "30 kept as they were, none taken among 150 new samples"
    assert said in notes[0] and not [note for note in notes if "moved" in note]


def test_new_samples_go_where_their_group_is() -> None:
    groups = [f"sender {idx // 4}" for idx in range(200)]
    rows = rows_of(["cat", "dog"] * 100, groups)
    first, _ = drawn(rows.filter(pa.array(idx % 4 < 2 for idx in range(200))), HoldOut(together="group"))
    for asked in (HoldOut(together="group", seed=3), None):
        held, notes = drawn(rows, asked, before_of(first, "test", "clean", together="group"))
        assert held.to_pandas().groupby("group")["split"].nunique().max() == 1
        assert {name: split_of(held)[name] for name in split_of(first)} == split_of(first)
        assert notes[-1] == "no group is in two splits"


def test_a_first_draw_from_samples_that_were_trained_on_says_so() -> None:
    rows = rows_of(["cat"] * 50 + ["dog"] * 50)
    held, notes = drawn(rows, HoldOut(clean_frac=0), before_of(rows))
    assert counts(held)["test"].tolist() == [10, 10]
    assert notes[-1] == "20 samples moved from train to test: runs made before this import trained on them"


def test_splits_that_the_data_now_have_themselves_win_over_the_projects() -> None:
    rows = rows_of(["cat"] * 10 + ["dog"] * 10, splits=["train", "clean"] * 10)
    now = rows_of(["cat"] * 10 + ["dog"] * 10, splits=["test", "train"] * 10)
    held, notes = drawn(now, None, before_of(rows))
    assert split_of(held) == split_of(now) and notes == [
        "10 samples moved from clean to train", "10 samples moved from train to test: runs made before this import "
        "trained on them"]


def test_a_group_is_never_in_two_splits_and_the_shares_are_nearly_met() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 12, 300)
    groups = np.repeat([f"sender {idx}" for idx in range(300)], sizes).tolist()
    labels = rng.choice(["cat", "dog", "owl"], len(groups)).tolist()
    held, notes = drawn(rows_of(labels, groups), HoldOut(together="group"))
    frame = held.to_pandas()
    assert frame.groupby("group")["split"].nunique().max() == 1
    found = counts(held)
    share = found.div(found.sum(axis=1), axis=0)
    assert (share["test"] - 0.2).abs().max() < 0.02 and (share["clean"] - 0.1).abs().max() < 0.02
    assert notes[-1] == "no group is in two splits"


def test_groups_that_the_data_have_in_two_splits_are_counted() -> None:
    rows = rows_of(["cat", "dog"] * 20, [f"sender {idx // 4}" for idx in range(40)], ["train", "train", "test", "train"]
                   * 3 + ["train"] * 28)
    _, notes = drawn(rows, HoldOut(together="group"))
    assert notes[-1] == "values of group in two splits: 3 are in both train and test"


def test_a_few_large_groups_make_no_split_larger_than_asked_for() -> None:
    sizes = [600, 500, 350, 300, 200, *[10] * 250]
    groups = np.repeat([f"sender {idx}" for idx in range(len(sizes))], sizes).tolist()
    labels = np.random.default_rng(0).choice([f"class {idx}" for idx in range(20)], len(groups)).tolist()
    held, _ = drawn(rows_of(labels, groups), HoldOut(together="group"))
    share = held.to_pandas()["split"].value_counts(normalize=True)
    assert share["test"] == pytest.approx(0.2, abs=0.01) and share["clean"] == pytest.approx(0.1, abs=0.01)


def test_a_group_too_large_for_any_share_stays_in_training() -> None:
    held, _ = drawn(rows_of(["cat"] * 10 + ["dog"] * 10, ["a"] * 20), HoldOut(together="group"))
    assert set(held["split"].to_pylist()) == {"train"}


def test_samples_of_unknown_group_are_by_themselves() -> None:
    held, _ = drawn(rows_of(["cat"] * 50 + ["dog"] * 50, [None] * 100), HoldOut(together="group"))
    assert counts(held).loc["cat"].to_dict() == {"clean": 5, "test": 10, "train": 35}


def test_a_split_that_the_data_have_is_left_alone() -> None:
    rows = rows_of(["cat"] * 50 + ["dog"] * 50, splits=(["train"] * 40 + ["test"] * 10) * 2)
    held, notes = drawn(rows, HoldOut())
    assert counts(held).loc["cat"].to_dict() == {"clean": 4, "test": 10, "train": 36}
    assert notes[0] == "split test is the data's own"


@pytest.mark.parametrize(("asked", "match"), [
    ({"test_frac": 0.7, "clean_frac": 0.3}, "leave some to train on"), ({"test_frac": -0.1}, r"must lie in \[0, 1\)")])
def test_shares_that_leave_nothing_are_refused(asked: dict[str, float], match: str) -> None:
    with pytest.raises(SourceError, match=match):
        HoldOut(**asked)  # type: ignore[arg-type]


def test_a_column_that_is_not_there_is_refused() -> None:
    with pytest.raises(SourceError, match="there is no 'sender'; choose another one"):
        hold_out(rows_of(["cat", "dog"]), HoldOut(together="sender"))


def test_a_column_of_an_earlier_import_that_is_gone_is_said_and_refuses_nothing() -> None:
    rows = rows_of(["cat"] * 20, [f"g{idx // 2}" for idx in range(20)])
    first, _ = drawn(rows, HoldOut(together="group"))
    again, notes = drawn(rows.drop_columns("group"), None, before_of(first, "test", "clean", together="group"))
    assert split_of(again) == split_of(first)
    assert "samples of equal group were kept together, which the data no longer have" in notes


def test_a_domain_is_no_group_to_keep_whole() -> None:
    assert keeps_together(pd.Series(np.repeat(np.arange(100), 3)))
    assert not keeps_together(pd.Series(["day", "night"] * 50)) and not keeps_together(pd.Series(range(100)))
