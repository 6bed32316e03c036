"""A command that somebody waits for, carried out on a node of the cluster: its output comes here as it is written, and
with its end its exit status."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from engine.contract.cluster import slurm
from engine.contract.cluster.place import Place
from engine.contract.cluster.task import ended, ignore_warning
from engine.contract.work_dir import write_atomic

LATE_SECONDS = 30.0
"""So long after Slurm lists a job no more its status may take to come through a shared file system."""
_LOOK_SECONDS = 0.5


class Errand:
    """What the node is given, as submitit calls it there: a command line in the folder that it was given in."""

    def __init__(self, command: Sequence[str], code: Path, folder: Path) -> None:
        self.command, self.code, self.folder, self.at = list(command), code, folder, Path.cwd()

    def __call__(self) -> None:
        path = os.pathsep.join(filter(None, (str(self.code), os.environ.get("PYTHONPATH"))))
        with open(self.folder / "output.txt", "ab") as sink:
            process = subprocess.Popen(self.command, cwd=self.at, env=os.environ | {"PYTHONPATH": path}, stdout=sink,
                                       stdin=subprocess.DEVNULL, stderr=sink, preexec_fn=ignore_warning)
            status = ended(process)
        write_atomic(self.folder / "status", lambda path: path.write_text(str(status)))


def carry_out(command: Sequence[str], place: Place, name: str, folder: Path, code: Path,
              say: Callable[[str], None]) -> int:
    """Have one node of the cluster carry out a command line, and wait for it; its exit status.

    name: what squeue shows. folder: for this and submitit's files, private to this user, seen by the nodes too. code:
    the folder that has this package, which the node works in. say: told what the command prints, whole lines at a time,
    and first how the job waits. Broken off, it takes the job back. Raises SlurmError, also where Slurm ends the job
    before the command has ended.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = Path(tempfile.mkdtemp(prefix="errand-", dir=folder))
    job = slurm.submit([Errand(command, code, own)], place, name, folder, code=code, is_single=True)[0]
    try:
        say(f"job {job} of Slurm\n")
        return _followed(job, own, say)
    except BaseException:  # Ctrl-C, or nobody reads what is said any longer
        with contextlib.suppress(slurm.SlurmError):
            slurm.cancel([job])
        raise
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _followed(job: str, own: Path, say: Callable[[str], None]) -> int:
    read, waits, gone_at = 0, "", None
    while True:
        is_done = (own / "status").exists()  # before the output: all of it is there then
        read += _say_more(own / "output.txt", read, say, is_all=is_done)
        if is_done:
            status = int((own / "status").read_text())
            if status < 0:
                raise _ended_by_slurm(job, f"it was sent the signal {-status}")
            return status
        found = slurm.queued()
        seen = found.get(job) if found is not None else None
        if seen is not None and not seen.is_running and seen.reason not in (waits, "None"):
            waits = seen.reason
            say(f"waiting: {waits}\n")
        if found is None or seen is not None:
            gone_at = None
        elif gone_at is None:
            gone_at = time.monotonic()
        elif time.monotonic() - gone_at > LATE_SECONDS:
            raise _ended_by_slurm(job, slurm.end_of(job) or "it no longer says why")
        time.sleep(_LOOK_SECONDS)


def _ended_by_slurm(job: str, why: str) -> slurm.SlurmError:
    return slurm.SlurmError(f"a command must end by itself; job {job} was ended: {why}; give it more time or memory, "
                            "or ask who runs the cluster")


def _say_more(path: Path, start: int, say: Callable[[str], None], *, is_all: bool) -> int:
    """Say the whole lines that a file has after this byte, or all of it; how many bytes that takes."""
    try:
        with open(path, "rb") as file:
            file.seek(start)
            new = file.read()
    except FileNotFoundError:
        return 0
    whole = new if is_all else new[:new.rfind(b"\n") + 1]
    if whole:
        say(whole.decode(errors="replace"))
    return len(whole)
