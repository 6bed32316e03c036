"""A stamp tells whether files are as they were."""

import os
from pathlib import Path

from engine.contract.stamps import stamp_of
from engine.contract.work_dir import write_atomic


def test_a_stamp_lasts_while_the_files_do(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("a")
    before = stamp_of(one, two)
    assert stamp_of(one, two) == before and hash(before) == hash(stamp_of(one, two))
    assert [state.size for state in before] == [1, 0] and before[1].inode == before[1].mtime_ns == 0
    two.write_text("b")
    assert stamp_of(one, two) != before and stamp_of(one) == before[:1]
    assert stamp_of(one / "below a file")[0].inode == 0


def test_a_file_written_anew_is_told_from_one_of_the_same_time_and_size(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_text("a")
    before = stamp_of(path)
    write_atomic(path, lambda partial: partial.write_text("b"))
    os.utime(path, ns=(before[0].mtime_ns, before[0].mtime_ns))
    after = stamp_of(path)
    assert after != before and after[0].mtime_ns == before[0].mtime_ns and after[0].size == before[0].size
