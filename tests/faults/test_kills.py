"""The harness itself, and a few of its kills in every run of the tests; the long part: python -m tests.faults, and its
rooms app and writes."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
LOSER = """
import sys
from pathlib import Path
from tests.faults.scene import Scene
from tests.faults.trials import Stage

def act(place, first, done):
    for number in range(first, 2):
        (place / "told").write_text("x")
        done(number)
        (place / str(number)).write_text("whole")

def look(place, num):
    assert all((place / str(number)).exists() for number in range(num)), "an acknowledged file is gone"

def result(place):
    return {"files": sorted(path.name for path in place.iterdir())}

scene = Scene(name="loser", is_engine=False, prepare=lambda place: place.mkdir(), act=act, look=look, result=result)
stage = Stage(scene, Path(sys.argv[1]))
print(stage.num_points, *(stage.trial(at).outcome for at in range(1, stage.num_points + 2)))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280)


def test_what_is_acknowledged_too_early_is_found_lost_at_that_kill_point_alone(tmp_path):
    done = run("-c", LOSER, str(tmp_path / "stage"))
    assert done.stdout.split() == ["4", "recovered", "lost", "recovered", "lost", "unkilled"], done.stderr


def test_work_killed_at_some_of_its_changes_comes_to_the_same_end(tmp_path):
    done = run("-m", "tests.faults", "--scenes", "import,decide,export", "--kills", "6", "--first", "9", "--every",
               "13", "--folder", str(tmp_path))
    last = [line.split() for line in done.stdout.splitlines() if line.startswith("all ")]
    assert done.returncode == 0 and last == [["all", "6", "6", "6", "0", "0", "0", "0"]], done.stdout + done.stderr


def test_a_write_killed_at_a_random_moment_leaves_a_whole_file(tmp_path):
    done = run("-m", "tests.faults.writes", "--kills", "6", "--megabytes", "4", "--out", str(tmp_path / "kills"))
    assert done.returncode == 0 and len((tmp_path / "kills").read_text().splitlines()) == 6, done.stdout + done.stderr


def test_the_app_killed_while_it_decides_has_lost_nothing_that_it_said(tmp_path):
    done = run("-m", "tests.faults.app", "--acts", "decide", "--kills", "2", "--folder", str(tmp_path))
    last = [line.split() for line in done.stdout.splitlines() if line.startswith("all ")]
    assert done.returncode == 0 and last[0][:3] == ["all", "2", "1"], done.stdout + done.stderr
