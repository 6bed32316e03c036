"""Triage lanes: each one's membership on hand-made tables, neighbours against a naive loop, scoring, the command."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from curation.__main__ import main
from curation.project import Project
from curation.samples.frames import SampleTable
from curation.samples.table import sample_table, samples
from curation.samples.triage import (
    DECIDED,
    LANES,
    REST,
    UNJUDGED,
    Rule,
    TriageError,
    assign_lanes,
    class_quantiles,
    gather,
    lanes_of,
    neighbour_shares,
    queue,
    wrong_share,
)
from tests.fakes import make_project, make_run

MISLABELED, AMBIGUOUS, OUT_OF_PLACE, HARD = range(4)


def table_of(cases: list[dict[str, Any]], num_easy: int = 20) -> tuple[pd.DataFrame, tuple[np.ndarray, np.ndarray]]:
    """Easy samples of classes a and b, margin 0.9 among their like but for the first one, and these cases.

    A case's "near" says how many of its ten neighbours are a, then b, then c (two rows of c there are).
    """
    easy: list[dict[str, Any]] = [{"current_label": name} for name in "a" * num_easy + "b" * num_easy + "cc"]
    easy[0] |= {"label_quality": 0.3, "heldout_margin": 0.3}
    usual = {"current_label": "a", "given_label": None, "suggested_label": None, "label_quality": 0.95,
             "heldout_margin": 0.9, "weight": 1.0, "mean_margin": 0.8, "decided_by": None, "excluded": False,
             "far": 0.01}
    rows = [{**usual, **row} for row in [*easy, *cases]]
    first = {"a": 0, "b": num_easy, "c": 2 * num_easy}
    near = [row.get("near") or {"a": (10, 0, 0), "b": (0, 10, 0), "c": (0, 8, 2)}[row["current_label"]] for row in rows]
    indices = np.array([[first[name] + i for name, count in zip("abc", counts, strict=True) for i in range(count)]
                        for counts in near], dtype=np.int32)
    distances = np.repeat([[row["far"]] for row in rows], 10, axis=1).astype(np.float16)
    frame = pd.DataFrame(rows).drop(columns=["far", "near"], errors="ignore")
    frame["given_label"] = frame["given_label"].fillna(frame["current_label"])
    frame = frame.astype(dict.fromkeys(("current_label", "given_label", "suggested_label", "decided_by"), "str"))
    frame["sample_id"] = [f"s{i}" for i in range(len(frame))]
    frame["signal_row"] = np.arange(len(frame))
    return frame, (indices, distances)


STRICT = Rule(odd=0.04, torn=0.04, hard=0.06)
"""Of the 21 of class a the first share holds one, the last two."""


def lane_of(case: dict[str, Any], rule: Rule | None = None) -> int:
    frame, neighbours = table_of([case])
    return int(assign_lanes(SampleTable.of(frame), neighbours, rule or STRICT)[0][-1])


WRONG = {"suggested_label": "b", "heldout_margin": -0.8, "label_quality": 0.1, "near": (1, 9, 0)}
TORN = {"heldout_margin": 0.02, "label_quality": 0.45, "near": (5, 5, 0)}
ODD = {"heldout_margin": 0.1, "label_quality": 0.2, "near": (7, 3, 0), "far": 0.5}
HARD_ONE = {"heldout_margin": 0.05, "label_quality": 0.5, "near": (9, 1, 0)}


@pytest.mark.parametrize("case, lane", [
    (WRONG, MISLABELED),
    ({**WRONG, "near": (10, 0, 0)}, REST),  # neighbours take the label's side
    ({**WRONG, "near": (4, 6, 0)}, REST),  # not far enough ahead
    ({**WRONG, "suggested_label": None, "near": (1, 9, 0)}, REST),  # held-out predictions name nobody
    ({**WRONG, "suggested_label": "a"}, REST),  # the label has been changed to the suggestion since
    ({**WRONG, "heldout_margin": -0.05, "near": (1, 9, 0)}, REST),
    (TORN, AMBIGUOUS),
    ({**TORN, "heldout_margin": -0.02}, AMBIGUOUS),
    ({**TORN, "near": (2, 8, 0)}, REST),  # one class has nearly all neighbours
    (ODD, OUT_OF_PLACE),
    ({**ODD, "far": 0.01, "near": (4, 5, 1)}, OUT_OF_PLACE),  # near, but among mixed ones
    ({**ODD, "far": 0.01}, HARD),  # near to its like
    (HARD_ONE, HARD),
    ({**HARD_ONE, "near": (3, 7, 0)}, REST),
    ({**HARD_ONE, "suggested_label": "b"}, REST),
    ({**HARD_ONE, "near": (5, 4, 1), "label_quality": 0.93, "heldout_margin": 0.4}, HARD),  # steady over the epochs
    ({**HARD_ONE, "near": (5, 4, 1), "label_quality": 0.93, "heldout_margin": 0.4, "mean_margin": -1.0}, REST),
    ({**HARD_ONE, "near": (5, 4, 1), "label_quality": 0.93, "heldout_margin": 0.4, "weight": 0.5}, REST),
    ({}, REST),
    ({**WRONG, "decided_by": "ada"}, DECIDED),
    ({**WRONG, "excluded": True}, UNJUDGED),
    ({**WRONG, "heldout_margin": None}, UNJUDGED),
])
def test_a_sample_is_in_the_lane_that_its_evidence_says(case: dict[str, Any], lane: int) -> None:
    assert lane_of(case) == lane


def test_every_threshold_moves_its_lane() -> None:
    def moved(case: dict[str, Any], **values: float) -> int:
        return lane_of(case, replace(STRICT, **values))

    assert [moved(WRONG, lead=x) for x in (0.8, 0.81)] == [MISLABELED, REST]
    assert [moved(WRONG, doubt=x) for x in (0.8, 0.81)] == [MISLABELED, REST]
    assert [moved({**TORN, "mean_margin": -1.0}, mixed=x) for x in (0.51, 0.5)] == [AMBIGUOUS, REST]
    assert [moved({**TORN, "mean_margin": -1.0}, torn=x) for x in (0.04, 0.0)] == [AMBIGUOUS, REST]
    assert [moved(ODD, odd=x) for x in (0.04, 0.0)] == [OUT_OF_PLACE, HARD]
    assert [moved(ODD, far=x) for x in (0.1, 0.0)] == [OUT_OF_PLACE, HARD]
    assert [moved({**HARD_ONE, "mean_margin": -1.0}, support=x) for x in (0.9, 0.95)] == [HARD, REST]
    assert [moved(HARD_ONE, hard=x) for x in (0.06, 0.0)] == [HARD, REST]
    with pytest.raises(TriageError, match=r"lead of a triage rule must be a share from 0 to 1; got 1\.5"):
        Rule(lead=1.5)


def test_a_lane_starts_with_the_most_certain_and_rows_outside_have_no_priority() -> None:
    cases = [{**WRONG, "heldout_margin": -0.3}, WRONG, {**WRONG, "near": (0, 10, 0)},
             {**TORN, "heldout_margin": 0.06}, {**TORN, "heldout_margin": -0.01}]
    frame, neighbours = table_of(cases)
    lane, priority = assign_lanes(SampleTable.of(frame), neighbours, Rule(odd=0.0))
    assert list(queue(lane, priority, MISLABELED)) == [44, 43, 42]
    assert list(queue(lane, priority, AMBIGUOUS)) == [46, 45]
    assert np.isneginf(priority[lane < 0]).all() and np.isfinite(priority[lane >= 0]).all()


def test_deciding_on_a_queue_empties_it_and_moves_nobody_else() -> None:
    rng = np.random.default_rng(1)
    frame, neighbours = table_of([{"heldout_margin": x, "label_quality": (1 + x) / 2} for x in rng.uniform(0, 1, 200)])
    before, _ = assign_lanes(SampleTable.of(frame), neighbours, Rule())
    assert (before == HARD).sum() > 20
    decided = frame.assign(decided_by=frame["decided_by"].mask(before == HARD, "ada"))
    after, _ = assign_lanes(SampleTable.of(decided), neighbours, Rule())
    assert np.array_equal(after, np.where(before == HARD, DECIDED, before))


def test_the_truth_changes_no_lane() -> None:
    frame, neighbours = table_of([WRONG, TORN, ODD, HARD_ONE])
    with_truth = frame.assign(clean_label=frame["given_label"].iloc[::-1].to_numpy())
    lanes = (assign_lanes(SampleTable.of(one), neighbours, Rule()) for one in (frame, with_truth))
    for one, other in zip(*lanes, strict=True):
        assert np.array_equal(one, other)


def test_without_neighbours_or_signals_nothing_is_judged() -> None:
    frame, _ = table_of([WRONG])
    assert set(assign_lanes(SampleTable.of(frame), None, Rule())[0]) == {UNJUDGED}
    bare = frame[["sample_id", "given_label", "current_label", "excluded", "decided_by"]]
    assert set(assign_lanes(SampleTable.of(bare), None, Rule())[0]) == {UNJUDGED}
    assert len(assign_lanes(SampleTable.of(frame.iloc[:0]), None, Rule())[0]) == 0


def test_neighbour_shares_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(3)
    num_run, num, k = 200, 150, 7
    code_of = rng.integers(-1, 4, num_run).astype(np.int32)
    code_of[:30] = -1
    indices, distances = rng.integers(0, num_run, (num_run, k)), rng.random((num_run, k)).astype(np.float16)
    indices[5] = np.arange(k)  # all of its neighbours unknown
    signal_row = rng.permutation(num_run)[:num]
    signal_row[:10], signal_row[10] = -1, 5
    label, suggestion = rng.integers(0, 4, num).astype(np.int32), rng.integers(-1, 4, num).astype(np.int32)
    shares = neighbour_shares(code_of, (indices, distances), signal_row, label, suggestion)
    for i in range(num):
        near = [int(code_of[j]) for j in indices[signal_row[i]] if code_of[j] >= 0] if signal_row[i] >= 0 else []
        if not near:
            assert np.isnan(shares[:, i]).all()
            continue
        expected = [near.count(label[i]) / len(near), near.count(suggestion[i]) / len(near),
                    max(Counter(near).values()) / len(near), distances[signal_row[i]].astype(float).mean()]
        np.testing.assert_allclose(shares[:, i], expected, rtol=1e-5)


def test_quantiles_within_classes_are_numpys() -> None:
    rng = np.random.default_rng(0)
    values, label = rng.random(300), rng.integers(-1, 5, 300).astype(np.int32)
    values[::7], label[label == 3] = np.nan, 4
    found = class_quantiles(values, label, 0.2)
    for code in (0, 1, 2, 4):
        assert found[code] == pytest.approx(np.nanquantile(values[label == code], 0.2))
    assert np.isnan(found[[3, -1]]).all()


def test_neighbours_count_by_their_present_label_and_excluded_ones_not_at_all(tmp_path: Path) -> None:
    path = make_project(tmp_path / "p", size=2)
    run, project = make_run(path), Project.open(path)
    neighbours = run.read_neighbours()
    assert neighbours is not None
    first, second, *others = neighbours[0][0]
    ids = run.read_signals()["sample_id"].to_numpy()
    before = sample_table(project, run)
    own = before["current_label"].iloc[0]
    other = next(name for name in project.classes if name != own)
    where = {"who": "ada", "why": "", "view": "", "run": ""}
    project.ledger().relabel([ids[first]], other, **where)
    project.ledger().exclude([ids[second]], True, **where)
    same = [before["current_label"].iloc[i] == own for i in others]
    assert gather(samples(project, run), neighbours).agreement[0] == pytest.approx(sum(same) / (len(same) + 1))


def test_wrong_labels_are_counted_where_the_truth_is_known() -> None:
    frame = pd.DataFrame({"given_label": ["a", "a", "b", "b"], "clean_label": ["a", "b", None, "b"]}).astype("str")
    table = SampleTable.of(frame)
    found = wrong_share(table, np.arange(4))
    assert found is not None and (found.wrong, found.known) == (1, 3)
    z, p, n = 1.959963984540054, 1 / 3, 3  # Wilson 1927
    middle, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    assert found.low == pytest.approx((middle - half) / (1 + z * z / n))
    assert found.high == pytest.approx((middle + half) / (1 + z * z / n))
    assert wrong_share(table, np.array([2])) is None
    assert wrong_share(SampleTable.of(frame[["given_label"]]), np.arange(4)) is None


def test_the_command_counts_lanes_and_writes_the_queue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = make_project(tmp_path / "p", num_train=200, size=2)
    run, project = make_run(path), Project.open(path)
    table = samples(project, run)
    lane, priority = lanes_of(gather(table, run.read_neighbours()), Rule())
    rows = queue(lane, priority, MISLABELED)
    assert len(rows), "the fake has wrong labels that neighbours tell"
    out = tmp_path / "queue.csv"
    assert main(["triage", str(path), "--run", "first", "--lane", LANES[MISLABELED], "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"mislabeled      {len(rows):>10,}" in said and "ambiguous" not in said and "known for 200" in said
    written = pd.read_csv(out)
    assert list(written["sample_id"]) == table.ids(rows)
    assert set(written["lane"]) == {"mislabeled"} and written["priority"].is_monotonic_decreasing
    assert main(["triage", str(path), "--run", "first", "--lane", "odd"]) == 2
    assert "a lane must be one of mislabeled, ambiguous" in capsys.readouterr().err
    run.neighbours_path.unlink()
    assert main(["triage", str(path), "--run", "first"]) == 2
    assert "triage needs a run's neighbours; first has none" in capsys.readouterr().err
