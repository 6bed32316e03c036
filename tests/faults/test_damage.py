"""A short part of tests.faults.damage: each way of damage, each kind of file, commands of both programs and pages."""

import pytest

from tests.faults.damage import BAD, WAYS, Bench, judge
from tests.faults.damage_acts import ACTS, Seen

ACT = {act.name: act for act in ACTS}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("damage"))


@pytest.mark.parametrize("way", WAYS)
def test_a_damaged_snapshot_of_the_decisions_heals(bench: Bench, way: str) -> None:
    """A folder in its place is moved by people; pages say so, and what is in force comes from the ledger."""
    found = bench.trial("decisions.parquet", way, ACT["command/list"])
    assert found.outcome == ("same" if way == "folder" else "rebuilt"), found


@pytest.mark.parametrize(("file", "act"), [
    ("project.json", "command/pin"), ("manifest.parquet", "command/score"), ("ledger.sqlite", "command/list"),
    ("runs/first/signals.parquet", "command/triage"), ("runs/first/config.json", "command/audit"),
    ("runs/first/history/0001.npy", "command/audit"), ("audits/audit/plan.json", "command/estimate"),
    ("studies/methods/study.json", "command/study-report"), ("features/own/shards/00000.npy", "engine/features"),
    ("runs/second/checkpoint/state-00003-0000000.pt", "engine/resume"), ("runs/first/metrics.jsonl", "page/triage")])
@pytest.mark.parametrize("way", ["deep", "flip_0.5"])
def test_no_damage_is_a_traceback_or_another_result_without_a_word(bench: Bench, file: str, act: str, way: str) -> None:
    assert file in bench.files
    found = bench.trial(file, way, ACT[act])
    assert found.outcome not in BAD, found


def test_outcomes_are_told_apart() -> None:
    before = Seen("a\nb", ())
    assert judge(before, Seen("a\nb", ()), "half")[0] == "same"
    assert judge(before, Seen("a\nb", ("made anew",)), "half")[0] == "rebuilt"
    assert judge(before, Seen("", ("error: x must be y",), 2), "half")[0] == "said"
    assert judge(before, Seen("a", ()), "missing")[0] == "gone"
    assert judge(before, Seen("a", ()), "half") == ("silent", "gone ['b'], new []")
    assert judge(before, Seen("", (), 1, "Traceback"), "half")[0] == "traceback"
    assert judge(before, Seen("", (), 1, "Something went wrong", True), "half")[0] == "generic"
