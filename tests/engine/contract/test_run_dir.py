"""Contract 2: what a run directory holds, that readers never see half of a file, and who is alive."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.contract.config import RunConfig
from engine.contract.disk.processes import is_same_process, process_start
from engine.contract.metrics import EpochMetrics
from engine.contract.older_runs import FORMER_METRICS
from engine.contract.run_dir import HISTORY_DTYPE, RunDir, RunDirError, check_name
from engine.contract.run_list import list_runs
from engine.contract.signal_columns import ROLES, SIGNAL_COLUMNS
from engine.contract.work_dir import write_atomic

LINE = dict.fromkeys(EpochMetrics.__annotations__, 0.5) | {
    "epoch": 1, "num_train": 3, "num_validation": 1, "num_routed": 1, "num_withheld": 0, "effective_sample_frac": 0.4,
    "events": []}
FORMER = {now: then for then, now in FORMER_METRICS.items()}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    run = RunDir.of(tmp_path, "first")
    run.path.mkdir(parents=True)
    return run


def signals(num: int = 3) -> pd.DataFrame:
    return pd.DataFrame({name: ["x"] * num for name in SIGNAL_COLUMNS})


def records(num: int, epoch: int) -> np.ndarray:
    rows = np.zeros(num, dtype=HISTORY_DTYPE)
    rows["margin"], rows["weight"] = np.linspace(-1, 1, num), epoch
    rows["p_train"], rows["role"], rows["routed"] = np.nan, np.arange(num) % 3, np.arange(num) % 2
    return rows


# -- names


@pytest.mark.parametrize("name", ["first", "a", "0", "run-1_b.2", "A" * 64])
def test_good_names(tmp_path: Path, name: str) -> None:
    assert RunDir.of(tmp_path, name).path == tmp_path / "runs" / name


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "a\\b", "a..b", ".hidden", "-x", "a b", "A" * 65,
                                  "a\n", "\u00e9", "a\0"])
def test_names_that_could_leave_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunDirError, match="a name must be 1 to 64 letters, digits"):
        RunDir.of(tmp_path, name)
    with pytest.raises(RunDirError, match="got "):
        check_name(name)


# -- atomic files


def test_a_writer_that_fails_leaves_the_old_file_and_no_litter(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.txt"
    write_atomic(path, lambda p: p.write_text("old"))

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        write_atomic(path, fail)
    assert path.read_text() == "old" and [p.name for p in path.parent.iterdir()] == ["file.txt"]


def test_a_reader_beside_a_writer_never_sees_half(run: RunDir) -> None:
    """The writer replaces status.json as fast as it can; each read must be one whole status."""
    run.write_status(state="running", filler="0" * 50_000)
    is_over = threading.Event()

    def write() -> None:
        for i in range(1, 60):
            run.write_status(state="running", filler=str(i % 10) * 50_000)
        is_over.set()

    thread = threading.Thread(target=write)
    thread.start()
    num_reads = 0
    while not is_over.is_set() or num_reads < 5:
        filler = run.read_status()["filler"]
        assert len(filler) == 50_000 and len(set(filler)) == 1
        num_reads += 1
    thread.join()


# -- config, status, cancel


def test_config_and_status_round_trip(run: RunDir) -> None:
    assert not run.exists()
    run.write_config({"config": {"seed": 3}, "created": 1.5})
    whole = RunConfig.of_run({"seed": 3}).to_dict()
    assert run.exists() and run.read_config() == {"config": whole, "created": 1.5}
    run.read_config()["config"]["seed"] = 9
    assert run.read_config()["config"]["seed"] == 3, "each reader has a document of its own"
    assert run.read_status() == {"state": "queued", "is_alive": False}
    run.write_status(state="done", epoch=4)
    assert run.read_status() == {"state": "done", "epoch": 4, "is_alive": False}


def test_a_run_without_config_or_with_a_damaged_one_is_reported_in_one_line(run: RunDir) -> None:
    with pytest.raises(RunDirError, match="a run must have config.json; .*first has none"):
        run.read_config()
    (run.path / "config.json").write_text('{"config": ')
    with pytest.raises(RunDirError, match=r"config.json must be JSON; .*damaged from outside") as caught:
        run.read_config()
    assert "\n" not in str(caught.value)
    (run.path / "config.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunDirError, match="config.json must be JSON"):
        run.read_config()


def test_alive_means_the_very_process_that_wrote_the_status(run: RunDir) -> None:
    started = process_start(os.getpid())
    assert started is not None and abs(started - time.time()) < 3600
    run.write_status(state="running", pid=os.getpid(), pid_started=started)
    assert run.read_status()["is_alive"]
    run.write_status(state="running", pid=os.getpid(), pid_started=started - 1000)
    assert not run.read_status()["is_alive"], "the pid was reused"
    assert not is_same_process(None, started) and not is_same_process(os.getpid(), None)


def test_a_process_that_ended_is_not_alive_even_as_a_zombie() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    started = process_start(child.pid) or time.time()
    deadline = time.monotonic() + 20
    while process_start(child.pid) is not None and time.monotonic() < deadline:
        time.sleep(0.01)  # until it ends; nobody has waited for it, so it stays as a zombie
    assert not is_same_process(child.pid, started)
    child.wait()
    assert process_start(child.pid) is None


def test_cancel_is_asked_for_once_and_cleared(run: RunDir) -> None:
    run.clear_cancel()
    assert not run.is_cancel_requested()
    run.request_cancel()
    run.request_cancel()
    assert run.is_cancel_requested()
    run.clear_cancel()
    assert not run.is_cancel_requested()


# -- tables


def test_metrics_are_one_json_line_an_epoch(run: RunDir) -> None:
    assert run.read_metrics().empty
    rows = [LINE | {"events": [{"kind": "one_class"}]}, LINE | {"epoch": 2, "validation_loss": None}]
    run.write_metrics(rows)
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines[:-1]] == rows and set(json.loads(lines[-1])) == {"sha256"}
    metrics = run.read_metrics()
    assert metrics["epoch"].tolist() == [1, 2] and metrics["events"].tolist() == [[{"kind": "one_class"}], []]
    assert pd.isna(metrics["validation_loss"].iloc[1])
    run.write_metrics(rows[:1])
    assert len(run.read_metrics()) == 1, "a resumed run repeats no line"


def test_a_share_that_older_code_called_a_size_is_read_as_the_share(run: RunDir) -> None:
    line = {FORMER.get(name, name): value for name, value in LINE.items()}
    (run.path / "metrics.jsonl").write_text(json.dumps(line))
    metrics = run.read_metrics()
    assert metrics["effective_sample_frac"].tolist() == [0.4] and "effective_sample_size" not in metrics


def test_signals_come_back_as_written_and_only_with_the_contracts_columns(run: RunDir) -> None:
    with pytest.raises(RunDirError, match="run first has no signals yet"):
        run.read_signals()
    run.write_signals(signals())
    assert tuple(run.read_signals().columns) == SIGNAL_COLUMNS and len(run.read_signals()) == 3
    with pytest.raises(AssertionError, match="signals have"):
        run.write_signals(signals().drop(columns="role_reason"))


def test_the_history_of_a_few_rows_is_read_without_the_rest(run: RunDir) -> None:
    assert HISTORY_DTYPE.itemsize == 8
    assert run.read_history(0).empty and "margin" in run.read_history(0).columns
    for epoch in (2, 1, 10):
        run.write_history(epoch, records(1000, epoch))
    assert (run.path / "history" / "0010.npy").stat().st_size < 1000 * 8 + 300
    history = run.read_history(np.array([999, 4]))
    assert history["epoch"].tolist() == [1, 1, 2, 2, 10, 10] and history["row_idx"].tolist() == [999, 4] * 3
    assert history["role"].tolist() == [ROLES[999 % 3], ROLES[4 % 3]] * 3 and history["routed"].tolist() == [1, 0] * 3
    assert history["weight"].tolist() == [1, 1, 2, 2, 10, 10] and history["margin"].iloc[0] == 1.0
    assert run.read_history(4)["row_idx"].tolist() == [4, 4, 4]
    with pytest.raises(AssertionError, match="history has dtype float64"):
        run.write_history(1, np.zeros(3))


def test_embedding_and_neighbours_round_trip(run: RunDir) -> None:
    assert run.read_embedding() is None and run.read_neighbours() is None and run.read_predictions() is None
    xy = np.array([[0, 1], [2, 3], [4, 5]], dtype=np.float32)
    run.write_embedding(np.array(["a", "b", "c"]), xy, np.array([[1], [2], [0]]), np.array([[0.5], [0.25], [0.125]]))
    embedding, found = run.read_embedding(), run.read_neighbours()
    assert embedding is not None and found is not None
    assert embedding["sample_id"].tolist() == ["a", "b", "c"] and embedding["y"].tolist() == [1, 3, 5]
    assert found[0].dtype == np.int32 and found[0].tolist() == [[1], [2], [0]]
    assert found[1].tolist() == [[0.5], [0.25], [0.125]]


def test_a_neighbours_file_that_holds_objects_is_not_run(run: RunDir) -> None:
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(run.path / "neighbours.npz", indices=objects, distances=np.zeros(1))
    with pytest.raises(ValueError, match="Object arrays cannot be loaded when allow_pickle=False"):
        run.read_neighbours()
    np.save(run.path / "neighbours.npy", objects)
    with pytest.raises(ValueError, match="can't be memory-mapped: Python objects in dtype"):
        run.read_neighbours()


def test_neighbours_replace_those_of_an_older_version_as_one(run: RunDir) -> None:
    np.savez(run.path / "neighbours.npz", indices=np.array([[1], [0]]), distances=np.ones((2, 1)))
    before = run.read_neighbours()
    assert before is not None and before[0].tolist() == [[1], [0]] and before[1].dtype == np.float16
    xy = np.zeros((3, 2), dtype=np.float32)
    run.write_embedding(np.array(["a", "b", "c"]), xy, np.array([[1], [2], [0]]), np.array([[0.5], [0.25], [0.125]]))
    after = run.read_neighbours()
    assert after is not None and after[0].tolist() == [[1], [2], [0]] and after[1].tolist() == [[0.5], [0.25], [0.125]]
    assert not list(run.path.glob(".*")), "nothing is left half"


def test_predictions_round_trip(run: RunDir) -> None:
    rows = pd.DataFrame({"sample_id": ["t"], "split": ["test"], "label": ["cat"], "prediction": ["dog"],
                         "margin": [-0.5], "group": [None]})
    run.write_predictions(rows)
    back = run.read_predictions()
    assert back is not None and back.drop(columns="group").equals(rows.drop(columns="group").astype(
        dict.fromkeys(("sample_id", "split", "label", "prediction"), "str")))
    assert back["group"].isna().all()


# -- log, list


def test_the_log_tail_reads_the_end_of_a_long_log(run: RunDir) -> None:
    assert run.log_tail() == []
    run.log_path.write_text("".join(f"line {i} {'x' * 100}\n" for i in range(2000)))
    run.log("caf\u00e9")
    tail = run.log_tail(2)
    assert tail[0].startswith("line 1999 ") and tail[1].endswith(" caf\u00e9") and len(run.log_tail()) == 20


def test_runs_are_listed_newest_first_and_half_made_ones_left_out(tmp_path: Path) -> None:
    assert list_runs(tmp_path) == []
    for name, created in (("old", 1.0), ("new", 3.0), ("unknown", None), ("middle", 2.0)):
        RunDir.of(tmp_path, name).write_config({"config": RunConfig().to_dict(), "created": created})
    (tmp_path / "runs" / "no-config").mkdir()
    (tmp_path / "runs" / "file").write_text("")
    assert [run.name for run in list_runs(tmp_path)] == ["new", "middle", "old", "unknown"]


def test_the_heads_predictions_are_found_under_the_name_that_older_code_gave_them(run: RunDir) -> None:
    assert run.open_probabilities("label_head") is None
    old, new = np.full((3, 2), 0.25), np.full((3, 2), 0.75)
    run.write_probabilities(old, "label_head")
    (run.path / "label_head.npy").rename(run.path / "cross_fitted.npy")
    np.testing.assert_array_equal(run.open_probabilities("label_head"), old)
    assert run.open_probabilities() is None
    run.write_probabilities(new, "label_head")
    np.testing.assert_array_equal(run.open_probabilities("label_head"), new)
