"""Names of what is being written: a dead process's are told from a living one's, and removed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine.contract.disk import temporaries
from engine.contract.disk.temporaries import STALE_SECONDS, is_orphan, orphans, remove, temporary_beside
from engine.contract.work_dir import write_atomic

WRITE_AND_DIE = """
import os, signal, sys
from pathlib import Path
from engine.contract.work_dir import write_atomic
write_atomic(Path(sys.argv[1]), lambda to: (to.write_text("half"), os.kill(os.getpid(), signal.SIGKILL)))
"""


def left_by_a_dead_process(path: Path) -> Path:
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path)], check=False)
    found = list(path.parent.glob(".*.partial"))
    assert len(found) == 1 and not path.exists()
    return found[0]


def test_what_a_killed_process_left_goes_with_the_next_process_that_writes_there(tmp_path: Path) -> None:
    left = left_by_a_dead_process(tmp_path / "signals.parquet")
    assert is_orphan(left) and orphans(tmp_path) == [left]
    own = temporary_beside(tmp_path / "other")
    own.write_text("being written")
    assert not left.exists() and not is_orphan(own) and own.exists()
    write_atomic(tmp_path / "other", lambda to: to.write_text("whole"))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["other", own.name])


def test_of_other_machines_and_older_code_only_what_is_a_day_old_is_removed(tmp_path: Path) -> None:
    names = [".a.parquet.00000000-1-1-0.partial", ".b.json.123-456.tmp", ".out.123.tmp", ".lite0.12-34.new"]
    others = ["a.partial", ".hidden.tmp", ".x.tmp", ".out.new", ".a.parquet.00000000-1-1-0.partial.txt"]
    for name in [*names, *others]:
        (tmp_path / name).write_text("")
    assert orphans(tmp_path) == []
    for name in [*names, *others]:
        os.utime(tmp_path / name, (0, (tmp_path / name).stat().st_mtime - STALE_SECONDS - 1))
    temporary_beside(tmp_path / "report.html")
    assert orphans(tmp_path) == sorted(tmp_path / name for name in names[1:]), "who writes here leaves others' alone"
    assert remove(sorted(tmp_path.iterdir())) == sorted(tmp_path / name for name in names[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


def test_folders_are_removed_whole_and_links_are_not_followed(tmp_path: Path, monkeypatch) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    with monkeypatch.context() as dead:
        dead.setattr(temporaries, "_started", lambda pid: 1)
        staged, link = (temporary_beside(tmp_path / "project" / "exports" / name) for name in ("hard", "link"))
    staged.mkdir(parents=True)
    (staged / "image.png").write_text("")
    link.symlink_to(outside)
    (tmp_path / "project" / "runs").symlink_to(outside)
    assert remove(orphans(tmp_path / "project")) == sorted([staged, link])
    assert (outside / "kept").exists() and not staged.exists()


def test_a_long_name_still_fits(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 240)
    write_atomic(path, lambda to: to.write_text("whole"))
    assert path.read_text() == "whole"


def test_a_folder_that_another_machine_still_writes_to_is_left_alone(tmp_path: Path) -> None:
    staged = tmp_path / ".features.00000000-1-1-0.partial"
    (staged / "shards").mkdir(parents=True)
    shard = staged / "shards" / "00000.npy"
    shard.write_bytes(b"written a moment ago")
    old = time.time() - 2 * STALE_SECONDS
    for folder in (staged / "shards", staged):
        os.utime(folder, (old, old))
    assert not is_orphan(staged) and orphans(tmp_path) == []
    os.utime(shard, (old, old))
    assert orphans(tmp_path) == [staged]


def test_a_machine_of_the_same_name_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = left_by_a_dead_process(tmp_path / "signals.parquet")
    (tmp_path / "boot_id").write_text("another start")
    monkeypatch.setattr(temporaries, "_BOOT_ID", tmp_path / "boot_id")
    temporaries._host.cache_clear()
    try:
        assert not is_orphan(theirs)
    finally:
        temporaries._host.cache_clear()
