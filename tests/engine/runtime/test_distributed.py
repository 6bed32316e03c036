"""Several processes train as one does: two over gloo against one, and what a killed one leaves behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch
from PIL import Image

from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError
from engine.contract.work_dir import open_array
from engine.data.batches import augment
from engine.runs.processes import refuse_ranks
from engine.runs.train import _go_on, resume, train
from engine.runtime import distributed
from tests import ROOT
from tests.engine.runtime import lockstep
from tests.fake_features import make_features
from tests.fakes import make_project

SETTINGS = ("epochs=12", "batch_size=33", "warmup_fraction=0.3", "network=tiny", "embedding=none", "num_threads=1",
            "reweighter.every=2", "device=cpu", "augment=shift", "checkpoint_seconds=0")
"""Batches of an odd size: the two parts differ. Every process under torchrun takes five seconds of a processor before
it trains, so what two leave is made once, and what one does is done in this process."""


TORCHRUN = ("-m", "torch.distributed.run", "--standalone")


def command(project: Path, name: str, *extra: str, num_ranks: int = 1, method: str = "molere",
            max_restarts: int = 1) -> list[str]:
    torchrun = [*TORCHRUN, "--nproc-per-node", str(num_ranks), "--max-restarts", str(max_restarts),
                "--monitor-interval", "0.2"] if num_ranks > 1 else []
    settings = [part for s in (*SETTINGS, *extra) for part in ("--set", s)]
    return [sys.executable, *torchrun, "-m", "engine", "train", str(project), "--name", name, "--method", method,
            *settings]


def run(*args: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(command(*args, **kwargs), cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    path, rng = make_project(tmp_path_factory.mktemp("p") / "fake", num_train=200, size=8), np.random.default_rng(0)
    for file in sorted((path / "images").glob("*/*.png")):  # flat colours have no variance to normalise by
        pixels = np.asarray(Image.open(file)) * 0.3 + rng.integers(0, 180, (8, 8, 3))
        Image.fromarray(pixels.astype(np.uint8)).save(file)
    make_features(path, "own")
    done = run(path, "two", num_ranks=2)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": done in") == 1, "one of them talks"
    train(RunConfig.from_settings(list(SETTINGS), method="molere"), path, "one")
    return path


def test_two_processes_leave_the_files_that_one_does(project):
    one, two = (RunDir.of(project, name) for name in ("one", "two"))
    assert len(one.read_metrics()) == len(two.read_metrics()) == 12 and two.read_metrics()["num_routed"].iloc[-1] > 10
    assert two.read_config()["num_processes"] == 2
    for left, right in ((one.read_signals(), two.read_signals()), (one.read_predictions(), two.read_predictions())):
        assert left["sample_id"].tolist() == right["sample_id"].tolist() and (left.dtypes == right.dtypes).all()


@pytest.fixture(scope="module")
def in_lockstep(project: Path, tmp_path_factory) -> Path:
    """What one and two processes made of each epoch (tests.engine.runtime.lockstep says why not of a whole run)."""
    folder = tmp_path_factory.mktemp("lockstep")
    lockstep.main(project, folder)
    done = subprocess.run([sys.executable, *TORCHRUN, "--nproc-per-node", "2", "-m", lockstep.__name__, str(project),
                           str(folder)], cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True,
                          text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("case", lockstep.CASES)
def test_two_processes_train_as_one_does(in_lockstep, case):
    spread = []
    for epoch in range(1, lockstep.EPOCHS + 1):
        one, two = (np.load(in_lockstep / case / f"{epoch}-by-{num}.npz") for num in (1, 2))
        np.testing.assert_array_equal(one["routed"], two["routed"])
        for name in one.files:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-4, atol=2e-5, err_msg=f"epoch {epoch}: {name}")
        spread.append(np.nanstd(one["weight"]))
    assert spread[-1] > 0.005, "weights were learned"


def test_a_killed_process_is_started_anew_and_the_run_ends_as_if_nothing_had_been(project):
    whole, cut = RunDir.of(project, "two"), RunDir.of(project, "cut")
    process = subprocess.Popen(command(project, "cut", num_ranks=2), cwd=ROOT,
                               env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    victim = None
    deadline = time.monotonic() + 60
    while victim is None and time.monotonic() < deadline:
        time.sleep(0.01)
        if (cut.path / "metrics.jsonl").exists() and len(cut.read_metrics()) >= 3:
            victim = next((p for p in psutil.Process(process.pid).children() if p.environ().get("RANK") == "1"), None)
    assert victim is not None, "no second process was seen while it trained"
    victim.send_signal(signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said
    log = (cut.path / "log.txt").read_text()
    assert "resumed" in log and "going on at epoch" in log
    assert cut.read_status()["state"] == "done"
    dull = ["seconds"]
    pd.testing.assert_frame_equal(cut.read_metrics().drop(columns=dull),
                                  whole.read_metrics().drop(columns=dull), check_exact=True)
    pd.testing.assert_frame_equal(cut.read_signals(), whole.read_signals(), check_exact=True)


@pytest.mark.parametrize("how", ["cancel", "signal"])
def test_a_cancel_ends_all_processes_and_one_alone_may_go_on(project, how):
    asked = RunDir.of(project, f"asked-{how}")
    process = subprocess.Popen(command(project, asked.name, "epochs=500", num_ranks=2, method="erm"), cwd=ROOT,
                               env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not ((asked.path / "metrics.jsonl").exists() and len(asked.read_metrics()) >= 2):
        assert time.monotonic() < deadline, "it never trained"
        time.sleep(0.05)
    asked.request_cancel() if how == "cancel" else process.terminate()
    said, _ = process.communicate(timeout=60)
    assert asked.read_status()["state"] == "cancelled", said
    assert how == "signal" or process.returncode == 0, said
    num = len(asked.read_metrics())
    assert 2 <= num < 500
    watcher = threading.Thread(target=cancel_once_it_has, args=(asked, num + 3))
    watcher.start()
    resume(project, asked.name)
    watcher.join()
    assert len(asked.read_metrics()) >= num + 3 and asked.read_status()["state"] == "cancelled"


def cancel_once_it_has(run: RunDir, num_epochs: int) -> None:
    deadline = time.monotonic() + 60
    while len(run.read_metrics()) < num_epochs and time.monotonic() < deadline:
        time.sleep(0.02)
    run.request_cancel()


@pytest.mark.parametrize("method", ["kfold", "lrw_hard"])
def test_two_processes_share_the_folds_and_leave_what_one_does(project, method):
    one, two = RunDir.of(project, f"{method}-one"), RunDir.of(project, f"{method}-two")
    done = run(project, two.name, "epochs=3", num_ranks=2, method=method)
    assert done.returncode == 0, done.stderr
    train(RunConfig.from_settings([*SETTINGS, "epochs=3"], method=method), project, one.name)
    files = sorted(path.name for path in one.checkpoint_dir.glob("fold-*.npy"))
    assert len(files) == (5 if method == "kfold" else 3)
    assert files == sorted(path.name for path in two.checkpoint_dir.glob("fold-*.npy"))
    for name in files:
        left, right = (open_array(each.checkpoint_dir / name) for each in (one, two))
        np.testing.assert_allclose(left, right, atol=1e-3)
    assert two.read_status()["state"] == "done" and len(two.read_metrics()) == len(one.read_metrics())
    assert one.read_signals()["sample_id"].tolist() == two.read_signals()["sample_id"].tolist()


def test_a_cancel_among_the_folds_ends_all_processes(project):
    asked = RunDir.of(project, "asked-folds")
    process = subprocess.Popen(command(project, asked.name, "epochs=2000", num_ranks=2, method="lrw_hard"), cwd=ROOT,
                               env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 60
    while not (asked.exists() and str(asked.read_status().get("message", "")).startswith("fold 1")):
        assert time.monotonic() < deadline, "it never trained"
        time.sleep(0.05)
    asked.request_cancel()
    said, _ = process.communicate(timeout=60)
    assert asked.read_status()["state"] == "cancelled" and process.returncode == 0, said
    assert not list(asked.checkpoint_dir.glob("fold-*.npy"))


@pytest.mark.parametrize(("settings", "words"), [
    (["method=rho"], "several processes train no proxy buffer, no batches chosen by loss"),
    (["method=jtt"], "several processes train no proxy buffer, no batches chosen by loss and no short first"),
    (["method=erm", "mixup=0.2"], "several processes do not mix samples; got mixup=0.2"),
    (["method=fsr"], "several processes train no proxy buffer"),
    (["is_compiled=true"], "several processes do not compile yet"),
    (["network=efficientnet_lite0"], "several processes fine-tune a backbone on GPUs alone"),
    (["reweighter.hypergradient=jvp"], "several processes need a hypergradient of last_layer_centred")])
def test_what_processes_cannot_do_together_is_refused(monkeypatch, settings, words):
    config = RunConfig.from_settings(settings)
    refuse_ranks(config)
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=words):
        refuse_ranks(config)
    refuse_ranks(RunConfig.from_settings(list(SETTINGS), method="molere"))


def test_what_all_refuse_is_said_in_a_line(project):
    done = run(project, "refused", num_ranks=2, method="rho", max_restarts=0)
    assert done.returncode != 0
    assert any(line.startswith("error: several processes train no proxy") for line in done.stderr.splitlines())


def test_what_the_first_refuses_ends_all_with_a_line(project):
    done = run(project, "two", num_ranks=2, max_restarts=0)
    assert done.returncode != 0
    assert any(line.startswith("error: a new run needs a free name") for line in done.stderr.splitlines())


@pytest.mark.parametrize("failure", [ConfigError("a new run needs a free name"), OSError("disk")])
def test_the_others_refuse_in_the_words_of_the_first(monkeypatch, failure):
    """Whichever of them the launcher lets finish, a person reads why."""
    sent = []
    monkeypatch.setattr(distributed, "broadcast_object", lambda value: sent.append(value) or sent[0])

    def fail():
        raise failure

    with pytest.raises(type(failure), match=str(failure)):
        distributed.on_rank_zero(fail)
    monkeypatch.setattr(distributed, "is_rank_zero", lambda: False)
    with pytest.raises(UserError if isinstance(failure, UserError) else distributed.RankZeroFailed) as other:
        distributed.on_rank_zero(fail)
    assert str(other.value).endswith(str(failure)) and isinstance(failure, UserError) == (
        str(other.value) == str(failure))


@pytest.mark.parametrize("is_restart", [False, True])
def test_a_cancel_holds_over_torchruns_restart_and_not_over_a_persons_resume(project, monkeypatch, is_restart):
    asked = RunDir.of(project, "one")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", str(int(is_restart)))
    asked.request_cancel()
    os.utime(asked.path / "cancel", (1, 1))
    _go_on(project, asked)
    assert asked.is_cancel_requested() == is_restart
    asked.clear_cancel()


def test_alone_everything_is_the_identity():
    values = torch.arange(6.0).reshape(3, 2)
    assert distributed.size() == 1 and distributed.is_rank_zero() and distributed.local_slice(7) == slice(0, 7)
    assert torch.equal(distributed.gather_rows(values, 3), values)
    assert distributed.broadcast_object("x") == "x" and distributed.is_asked(True)
    assert distributed.rank_zero_first(lambda: 3) == 3 and float(distributed.mean(values, 6)) == 2.5


def test_parts_cover_a_batch_and_are_augmented_as_the_whole_is(monkeypatch):
    images = torch.rand(7, 3, 8, 8)
    expected = augment(images, "shift_flip", np.random.default_rng(3))
    monkeypatch.setattr(distributed, "size", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr(distributed.dist, "get_rank", lambda rank=rank: rank)
        parts.append(distributed.local_slice(7))
    assert [list(range(7))[p] for p in parts] == [[0, 1], [2, 3], [4, 5, 6]]
    found = [augment(images[p], "shift_flip", np.random.default_rng(3), 7, p) for p in parts]
    assert torch.equal(torch.cat(found), expected)


@pytest.mark.parametrize(("kind", "shape"), [(torch.nn.BatchNorm2d, (5, 4, 3, 3)), (torch.nn.BatchNorm1d, (5, 4))])
def test_global_normalisation_is_torchs_where_one_rank_has_the_whole_batch(monkeypatch, kind, shape):
    monkeypatch.setattr(distributed, "_added", lambda values: values.clone())
    torch.manual_seed(0)
    ours, theirs = kind(4).double(), kind(4).double()
    torch.nn.init.normal_(theirs.weight)
    torch.nn.init.normal_(theirs.bias)
    ours.load_state_dict(theirs.state_dict())
    monkeypatch.setattr(distributed, "size", lambda: 2)
    assert distributed.synchronized(ours, torch.device("cpu")) is ours and type(ours) is not kind
    images = torch.randn(*shape, dtype=torch.float64)
    grads = []
    for norm in (ours, theirs):
        x = images.clone().requires_grad_()
        (norm(x) ** 3).sum().backward()
        grads.append([x.grad, norm.weight.grad, norm.bias.grad])
    torch.testing.assert_close(grads[0], grads[1])
    torch.testing.assert_close(dict(ours.state_dict()), dict(theirs.state_dict()))
    torch.testing.assert_close(ours.eval()(images), theirs.eval()(images))
