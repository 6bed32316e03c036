"""Locks between processes: one works, another is refused or waits its turn, a killed one lets go."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.contract.config import RunConfig
from engine.contract.disk.processes import LOCK_NAME, alone_in, in_turn
from engine.contract.run_dir import RunDir
from engine.contract.run_list import list_runs
from engine.contract.studies.study_dir import StudyDir, StudyError
from tests import ROOT

HOLD = ("import sys, time\nfrom pathlib import Path\nfrom engine.contract.disk.processes import alone_in\n"
        "with alone_in(Path(sys.argv[1]), RuntimeError('held')):\n    print('held', flush=True)\n    time.sleep(60)\n")


class GivenUp(Exception):
    pass


@pytest.fixture
def holder(tmp_path: Path):
    """Another process that works in tmp_path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


def enter(folder: Path) -> None:
    with alone_in(folder, GivenUp("another works here")):
        pass


def test_one_works_in_a_folder_until_it_ends_or_is_killed(tmp_path: Path, holder: subprocess.Popen) -> None:
    with pytest.raises(GivenUp, match="another works here"):
        enter(tmp_path)
    holder.kill()
    holder.wait(10)
    enter(tmp_path)
    enter(tmp_path)


def test_an_error_in_the_work_lets_go_and_is_not_the_refusal(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError, match="division"), alone_in(tmp_path, GivenUp()):
        print(1 / 0)
    enter(tmp_path)


def test_two_of_one_process_do_not_work_at_once(tmp_path: Path) -> None:
    with alone_in(tmp_path, GivenUp()), pytest.raises(GivenUp, match="another works here"):
        enter(tmp_path)


def test_who_waits_its_turn_is_called_until_it_comes(tmp_path: Path, holder: subprocess.Popen) -> None:
    calls = []

    def waiting() -> None:
        calls.append(len(calls))
        if len(calls) == 3:
            holder.kill()

    with in_turn(tmp_path / LOCK_NAME, waiting, 0.02), pytest.raises(GivenUp, match="another works here"):
        enter(tmp_path)
    assert len(calls) >= 3
    enter(tmp_path)
    with in_turn(tmp_path / "new" / "key.lock", waiting):
        assert (tmp_path / "new" / "key.lock").exists()


def test_who_waits_may_give_up(tmp_path: Path, holder: subprocess.Popen) -> None:
    def waiting() -> None:
        raise GivenUp("cancelled")

    with pytest.raises(GivenUp, match="cancelled"), in_turn(tmp_path / LOCK_NAME, waiting, 0.02):
        raise AssertionError("another holds it")
    assert holder.poll() is None


def test_a_lock_that_stays_is_no_content(tmp_path: Path) -> None:
    run, study = RunDir.of(tmp_path, "first"), StudyDir.of(tmp_path, "second")
    run.write_config({"config": RunConfig().to_dict(), "created": 1.0})
    enter(run.path)
    with study.lock(), pytest.raises(StudyError, match="one process runs a study; 'second' is being run by another"):
        study.lock().__enter__()
    study.write_json(study.path / "study.json", {})
    assert [found.name for found in list_runs(tmp_path)] == ["first"]
    assert [found.name for found in StudyDir.list(tmp_path)] == ["second"]
    assert os.stat(run.path / LOCK_NAME).st_size == 0
