"""A Slurm of a test's own: one node, this machine, on ports of its own. Tests that ask for it skip without Debian's
packages (apt-get install slurmctld slurmd munge), or where they do not run as root, as slurmd must.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue")
CONFIG = """
ClusterName=whetstone
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={daemon}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobRequeue=1
KillWait=5
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Boards=1 SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1
PartitionName=short Nodes=ALL Default=YES MaxTime=60 State=UP
"""


class Slurm:
    """A running cluster; its commands find it by SLURM_CONF."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self.folder = folder
        for name in ("state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        ports = [_free_port() for _ in range(2)]
        self.config = folder / "slurm.conf"
        self.config.write_text(CONFIG.format(host=socket.gethostname().split(".")[0], controller=ports[0],
                                             daemon=ports[1], folder=folder, cpus=cpus))
        self.daemons = [
            self._start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
                        f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                        f"--seed-file={folder}/seed"),
            self._start("slurmctld", "-D", "-c"), self._start("slurmd", "-D", "-c")]

    def _start(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        path = shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
        assert path is not None
        with open(self.folder / f"{program}.out", "wb") as sink:
            return subprocess.Popen([path, *arguments], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
                                    env=os.environ | {"SLURM_CONF": str(self.config)}, start_new_session=True)

    def works(self, seconds: float = 60.0) -> bool:
        """Whether the node takes a job and carries it out, within so long."""
        deadline = time.monotonic() + seconds
        while "idle" not in self.say("sinfo", "--noheader", "--format=%T"):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.2)
        return self.say("srun", "--time=1", "echo", "here").strip() == "here"

    def say(self, *command: str) -> str:
        """What a command of Slurm prints."""
        try:
            return subprocess.run(command, env=os.environ | {"SLURM_CONF": str(self.config)}, text=True, check=False,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=30).stdout
        except subprocess.TimeoutExpired:
            return ""

    def evidence(self) -> str:
        """The ends of the daemons' logs, for a test that failed."""
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-800:]}"
                         for path in sorted([*self.folder.glob("*.out"), *self.folder.glob("*.log")]))

    def stop(self) -> None:
        self.say("scancel", "--user", "root", "--signal=KILL", "--full")
        self.say("scancel", "--user", "root")
        deadline = time.monotonic() + 10
        while self.say("squeue", "--noheader").strip() and time.monotonic() < deadline:
            time.sleep(0.2)
        for daemon in reversed(self.daemons):
            daemon.send_signal(signal.SIGTERM)
        for daemon in reversed(self.daemons):
            try:
                daemon.wait(3)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for process in psutil.process_iter(["name"]):  # those that had a step's output to wait for
            with suppress(psutil.Error):
                if process.info["name"] == "slurmstepd" and process.environ().get("SLURM_CONF") == str(self.config):
                    process.kill()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def cluster(cpus: int = 2) -> Iterator[Slurm]:
    """A cluster of one node until the end of the block; skips the test where there is none to start."""
    pytest.importorskip("submitit", reason="submitit is not installed")
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing or os.getuid() != 0:
        pytest.skip(f"no Slurm can be started: {missing[0] + ' is not installed' if missing else 'this is not root'}")
    folder = Path(tempfile.mkdtemp(prefix="whetstone-slurm-"))
    folder.chmod(0o755)
    running = Slurm(folder, cpus)
    try:
        if not running.works():
            pytest.skip(f"Slurm does not start on this machine: {running.evidence()[-300:]}")
        yield running
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)
