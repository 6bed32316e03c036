"""A study's runs on a cluster, with a Slurm that this test plays: what it loses, refuses or does not say."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.contract.cluster import slurm
from engine.contract.cluster.place import Place
from engine.contract.cluster.slurm import Queued, SlurmError
from engine.contract.config import RunConfig
from engine.contract.studies.study_dir import StudyDir
from engine.contract.studies.study_plan import Arm
from engine.study import cluster
from engine.study.cluster import JOBS_NAME, ClusterPool, TaskOnNode, end_old_jobs
from engine.study.worker import Task
from tests.fakes import make_project


class Played:
    """A queue in memory. behave: called at each look, may end jobs."""

    def __init__(self) -> None:
        self.jobs: dict[str, TaskOnNode] = {}
        self.states: dict[str, str] = {}
        self.cancelled: list[str] = []
        self.is_silent = self.refuses = False
        self.most = 0
        self.behave: Callable[[], None] = lambda: None

    def submit(self, tasks, place, name, folder, *, code, is_single=False) -> list[str]:
        if self.refuses:
            raise SlurmError("Slurm must take the job; sbatch said: busy")
        ids = [str(len(self.jobs) + i) for i in range(len(tasks))]
        self.jobs |= dict(zip(ids, tasks, strict=True))
        self.states |= dict.fromkeys(ids, "RUNNING")
        return ids

    def queued(self) -> dict[str, Queued] | None:
        self.behave()
        return None if self.is_silent else {job: Queued(state, "", "") for job, state in self.states.items()}

    def cancel(self, jobs, signal=None) -> None:
        for job in list(jobs):
            self.cancelled.append(job)
            self.states.pop(job, None)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    found = Played()
    for name in ("submit", "queued", "cancel"):
        monkeypatch.setattr(slurm, name, getattr(found, name))
    monkeypatch.setattr(slurm, "end_of", lambda job: "NODE_FAIL")
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(cluster, "LOST_SECONDS", 0.05)
    monkeypatch.setattr(cluster, "STOP_SECONDS", 0.2)
    return found


@pytest.fixture
def study(tmp_path: Path) -> StudyDir:
    found = StudyDir.of(make_project(tmp_path / "pets", size=4), "first")
    (found.path / "rows").mkdir(parents=True)
    return found


def tasks(num: int) -> list[Task]:
    return [Task(arm=Arm.of_method("erm"), seed=seed, config=RunConfig(method="erm", seed=seed),
                 decisions_path=Path("none"), decisions_digest="", manifest_digest="m", code_revision="c")
            for seed in range(num)]


def end(study: StudyDir, task: Task, error: str = "it failed") -> None:
    """A run that has ended, with a row."""
    study.write_row(task.failed_row(error))


def run(study: StudyDir, work: list[Task], place: Place | None = None) -> tuple[bool, list[str]]:
    rows: list[str] = []
    pool = ClusterPool(study.path.parents[1], study, place or Place(where="slurm", runs_at_once=2))
    return pool.run(work, lambda *_: None, lambda row: rows.append(str(row["error"])), lambda: None), rows


def test_each_run_is_counted_once_when_its_row_is_there(played: Played, study: StudyDir) -> None:
    work = tasks(3)

    def behave() -> None:
        for job in [job for job in played.states if job in played.jobs][:1]:
            end(study, played.jobs[job].task)
            del played.states[job]

    played.behave = behave
    assert run(study, work) == (True, ["it failed"] * 3) and len(played.jobs) == 3


def test_what_is_lost_is_handed_out_again_so_often_and_then_its_row_says_so(played: Played, study: StudyDir) -> None:
    played.behave = lambda: played.states.clear()
    is_done, rows = run(study, tasks(1))
    assert is_done and len(played.jobs) == cluster.MAX_LOST + 1
    assert rows == ["job 2 of Slurm ended without a result (NODE_FAIL), as 2 before it; out of memory?"]
    assert study.log_path.read_text().count("handed out again") == cluster.MAX_LOST


def test_a_controller_that_is_silent_or_refuses_for_a_while_loses_nothing(played: Played, study: StudyDir) -> None:
    looks = 0

    def behave() -> None:
        nonlocal looks
        looks += 1
        played.is_silent = looks < 20
        played.refuses = looks < 45
        if looks == 20:
            played.states.clear()  # lost
        if looks > 60:
            for job, node in played.jobs.items():
                if job in played.states:
                    end(study, node.task)

    played.behave = behave
    is_done, rows = run(study, tasks(1))
    assert is_done and rows == ["it failed"] and len(played.jobs) == 2 and looks > 45


def test_a_cancel_ends_them_all_also_where_slurm_is_silent(played: Played, study: StudyDir) -> None:
    def behave() -> None:
        played.is_silent = True
        study.request_cancel()

    played.behave = behave
    assert run(study, tasks(2)) == (False, []) and set(played.cancelled) == {"0", "1"}


def test_jobs_of_a_process_before_are_ended_before_others_are_handed_out(played: Played, study: StudyDir) -> None:
    study.write_json(study.path / JOBS_NAME, {"jobs": ["7_0", "7_1"]})
    end_old_jobs(study)
    assert played.cancelled == ["7_0", "7_1"] and not (study.path / JOBS_NAME).exists()
    end_old_jobs(study)


def test_a_row_of_another_plan_is_not_taken_for_this_ones(played: Played, study: StudyDir) -> None:
    [task] = tasks(1)
    end(study, task, "an old one")
    looks = 0

    def behave() -> None:
        nonlocal looks
        looks += 1
        if looks == 5:
            time.sleep(0.01)
            end(study, task, "of today")

    played.behave = behave
    assert run(study, [task]) == (True, ["of today"])


def test_a_run_at_its_time_limit_says_so_and_one_that_must_make_room_begins_anew(study: StudyDir) -> None:
    node = TaskOnNode(study.path.parents[1], study.path, tasks(1)[0], minutes=10)
    node.began = time.monotonic() - 600
    with pytest.raises(TimeoutError, match="must end within its time limit, .* it has 10 minutes; raise the limit"):
        node.checkpoint()
    node.began = time.monotonic() - 60
    assert node.checkpoint().function.task == node.task  # type: ignore[attr-defined]
