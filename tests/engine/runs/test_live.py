"""The live loop: what is made of decisions while they are taken, and what ends it."""

import numpy as np
import pandas as pd
import pytest

from engine.contract.config import RunConfig
from engine.contract.disk.processes import alone_in
from engine.contract.live.live_dir import LiveDir
from engine.contract.manifest import DECISIONS_NAME, file_digest, read_decisions, read_manifest
from engine.contract.run_dir import RunDir, RunDirError
from engine.contract.run_list import list_runs
from engine.contract.settings import ConfigError
from engine.data.dataset import decided, load_for
from engine.runs.live import follow
from engine.runs.live.effect import measure_effect
from engine.runs.live.follow import Follower
from engine.runs.live.judgement import HELD_OUT
from engine.runs.status import Status
from engine.runs.train import train
from tests.fake_features import make_features
from tests.fakes import make_project, make_run

SETTINGS = {"features": "own", "embedding": "none", "device": "cpu", "num_threads": 1, "weight_decay": 0.01}


@pytest.fixture(autouse=True)
def usual_priority(monkeypatch):
    monkeypatch.setattr(follow, "NICENESS", 0)


@pytest.fixture
def project(tmp_path):
    project = make_project(tmp_path / "p", num_train=90, num_test=30, size=8)
    make_features(project)
    return project


def start(project, method: str = "discriminant", **changes) -> Follower:
    """A finished run called first, and its follower."""
    config = RunConfig.from_dict(SETTINGS | {"method": method} | changes)
    if not RunDir.of(project, "first").exists():
        train(config, project, "first")
    folder = LiveDir.of(project, "first")
    folder.touch_reader()
    return Follower(project, folder, config, Status(folder, 1))


def finish(live: Follower) -> None:
    for _ in range(20):
        if not live.step():
            return
    raise AssertionError("it never comes to rest")


def decide(project, num: int = 8, *, excluded: tuple[str, ...] = (), first: int = 0) -> str:
    """Write decisions: wrong labels, of `num` from `first` on, to the true class; some excluded. Their digest."""
    rows = read_manifest(project, ["clean_label"]).query("split == 'train'").iloc[first:first + num]
    pd.DataFrame({"sample_id": [*rows["sample_id"], *excluded], "pin": None,
                  "excluded": [False] * len(rows) + [True] * len(excluded),
                  "label": [*rows["clean_label"], *[None] * len(excluded)]}).to_parquet(project / DECISIONS_NAME)
    return file_digest(project / DECISIONS_NAME)


def test_a_decision_is_judged_as_a_discriminant_trained_under_it_would(project):
    live = start(project)
    finish(live)
    assert live.folder.read_effect() is None, "nothing is decided, so nothing has an effect"
    digest = decide(project, 80, excluded=("train-00085",))
    finish(live)
    anew = train(live.config, project, "anew")
    pd.testing.assert_frame_equal(live.folder.read_signals(), anew.read_signals())
    np.testing.assert_array_equal(live.folder.open_probabilities("label_head"), anew.open_probabilities("label_head"))
    state, effect = live.folder.read_state(), live.folder.read_effect()
    assert (state["decisions_digest"], state["num_decided"]) == (digest, 81)
    assert (effect["decisions_digest"], effect["num_seeds"], effect["scored_on"]) == (digest, 10, "test")
    assert effect["num_scored"] == 30 and effect["low"] <= effect["gain"] <= effect["high"]
    assert live.folder.read_neighbours()[0].shape == (90, 15), "what no label changes is the run's own"
    assert (live.folder.name, [run.name for run in list_runs(project)]) == ("first", ["anew", "first"])


def test_weights_follow_the_judgement_and_are_those_of_the_new_labels(project):
    live = start(project, "molere", network="linear", epochs=3, batch_size=16)
    before = RunDir.of(project, "first").read_signals()
    digest = decide(project, 40, excluded=("train-00085",))
    assert live.step()
    judged, state = live.folder.read_signals(), live.folder.read_state()
    assert state["trained_digest"] is None and state["learns_weights"]
    is_in = (judged["role"] != "excluded").to_numpy()
    assert judged["role_reason"][85] == "excluded_decision" and np.isnan(judged["weight"][85])
    assert judged["heldout_epochs"][is_in].eq(1).all(), "all are judged out of fold"
    pd.testing.assert_series_equal(judged["weight"][is_in], before["weight"][is_in])
    finish(live)
    trained = live.folder.read_signals()
    anew = train(live.config, project, "anew").read_signals()
    others = [name for name in anew if name not in HELD_OUT]
    pd.testing.assert_frame_equal(trained[others], anew[others])
    pd.testing.assert_frame_equal(trained[HELD_OUT], judged[HELD_OUT])
    assert live.folder.read_state()["trained_digest"] == digest
    assert len(live.folder.read_history(0)) == 3
    assert (project / "runs/first/history/0001.npy").stat().st_ino != \
        (live.folder.path / "history/0001.npy").stat().st_ino, "the run's own history is left alone"


@pytest.mark.parametrize("patience", [20.0, -1.0])
def test_a_decision_taken_meanwhile_is_judged_at_once_and_never_lost(project, monkeypatch, patience):
    """patience: whether what takes long begins anew, or has done so for long enough and goes on to its end."""
    monkeypatch.setattr(follow, "PATIENCE_SECONDS", patience)
    live = start(project)
    earlier = decide(project, 20)
    later, measured = [], []
    real = follow.measure_effect

    def meanwhile(given, data, decisions, digest, config, on_step):
        measured.append(digest)

        def step(done, total):
            if done == 2 and not later:
                later.append(decide(project, 40))
            on_step(done, total)
            if done == 2 and len(measured) == 1:
                assert live.folder.read_state()["decisions_digest"] == later[0], "judged within the step"
        return real(given, data, decisions, digest, config, step)

    monkeypatch.setattr(follow, "measure_effect", meanwhile)
    finish(live)
    assert measured == [earlier, later[0]]
    assert live.folder.read_state()["decisions_digest"] == live.folder.read_effect()["decisions_digest"] == later[0]


def test_decisions_that_leave_nothing_are_said_and_what_there_is_stands(project):
    live = start(project)
    finish(live)
    signals = live.folder.read_signals()
    decide(project, 0, excluded=tuple(signals["sample_id"]))
    finish(live)
    assert "training needs at least one usable sample" in live.folder.read_status()["message"]
    pd.testing.assert_frame_equal(live.folder.read_signals(), signals)
    digest = decide(project, 3)
    finish(live)
    assert live.folder.read_state()["decisions_digest"] == digest


def test_damage_from_outside_is_as_if_nothing_were_there_and_is_mended(project):
    live = start(project)
    finish(live)
    whole = live.folder.signals_path.read_bytes()
    live.folder.signals_path.write_bytes(whole[:100])
    assert live.folder.read_state() is None
    live.mend()
    assert live.folder.read_state() is not None and len(live.folder.read_signals()) == 90
    (live.folder.path / "state.json").write_text("{")
    (live.folder.path / "effect.json").write_text("[]")
    assert live.folder.read_state() is None and live.folder.read_effect() is None
    assert RunDir.of(project, "first").read_signals() is not None
    live.mend()
    base = RunDir.of(project, "first")
    base.write_config(base.read_config() | {"created": 1.0})
    assert live.folder.read_state() is None, "another run of that name"


def test_the_weight_decay_is_the_one_that_the_run_chose(project, monkeypatch):
    live = start(project, "erm", network="linear", epochs=2, weight_decay=None)
    base = RunDir.of(project, "first")
    document = base.read_config()
    document["chosen"] = document["chosen"] | {"weight_decay": 0.3}
    base.write_config(document)
    found = []
    monkeypatch.setattr(Follower, "run", lambda follower: found.append(follower.config.weight_decay))
    follow.follow(project, "first")
    assert found == [0.3] and live.config.weight_decay is None


def test_it_ends_without_a_reader_when_asked_and_when_the_run_is_another(project, monkeypatch):
    live = start(project)
    with monkeypatch.context() as patch:
        patch.setattr(follow, "READER_SECONDS", -1.0)
        follow.follow(project, "first")
    status = live.folder.read_status()
    assert (status["state"], status["message"]) == ("done", "nobody has looked for some minutes")

    def request(*_):
        live.folder.request_cancel()
        return False

    monkeypatch.setattr(Follower, "mend", request)
    monkeypatch.setattr(follow, "CHECK_SECONDS", 0.0)
    follow.follow(project, "first")
    assert live.folder.read_status()["state"] == "cancelled" and not live.folder.is_cancel_requested()
    base = RunDir.of(project, "first")
    monkeypatch.setattr(Follower, "mend", lambda _: base.write_config(base.read_config()))
    follow.follow(project, "first")
    assert live.folder.read_status()["message"] == "the data or the run changed"


def test_what_cannot_be_followed_is_refused_in_a_line(project):
    make_run(project, "images")
    with pytest.raises(ConfigError, match="only a run on features is followed live; 'images' is on images"):
        follow.follow(project, "images")
    live = start(project)
    with alone_in(live.folder.path, RuntimeError()), \
            pytest.raises(RunDirError, match="one process follows a run; 'first' is being followed"):
        follow.follow(project, "first")
    base = RunDir.of(project, "first")
    base.write_status(state="running")
    with pytest.raises(RunDirError, match="followed once it is done; 'first' is running"):
        follow.follow(project, "first")
    base.write_config(base.read_config() | {"manifest_digest": "another"})
    with pytest.raises(RunDirError, match="the manifest changed since 'first' began"):
        follow.follow(project, "first")


def test_without_a_test_split_only_samples_that_no_decision_is_about_are_scored(tmp_path):
    project = make_project(tmp_path / "p", num_train=200, num_test=0, size=2)
    make_features(project)
    config = RunConfig.from_dict(SETTINGS | {"method": "discriminant"})
    given = load_for(config, project, read_decisions(project / "none"), lambda *_: None)

    def effect(num: int):
        decide(project, num)
        decisions = read_decisions(project / DECISIONS_NAME)
        return measure_effect(given, decided(given, decisions, project), decisions, "x", config, lambda *_: None)

    some, more = effect(5), effect(90)
    assert some["scored_on"] == "held_out" and 35 <= some["num_scored"] <= 40
    assert 20 <= more["num_scored"] < some["num_scored"]
    assert effect(200)["gain"] is None and effect(200)["num_scored"] == 0, "all are decided on: none is left to score"
    assert effect(0) is None
