"""A PostgreSQL server of a test's own, in a folder of its own, which can be cut off and started again.

Tests that ask for one skip themselves without Debian's package (apt-get install postgresql) or the driver (psycopg).
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

import pytest

from curation.ledger import engines

_WRITING = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND backend_xid IS NOT NULL"
"""Processes of connections whose transaction has written."""


def _programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian does not put on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(path) for path in [shutil.which("initdb")] if path]
    return found[-1].parent if found else None


class Cluster:
    """A running server. Its superuser has no password: it listens on 127.0.0.1 alone."""

    def __init__(self, folder: Path, programs: Path, options: str = "") -> None:
        self.folder, self.programs, self.options = folder, programs, options
        self.urls: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-D", str(folder), "-U", "ada", "-A", "trust", "--no-sync")
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://ada@127.0.0.1:{self.port}/{database}"

    def make(self, database: str) -> str:
        """A new, empty database; its URL."""
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "ada", database)
        self.urls.append(self.url(database))
        return self.urls[-1]

    def create(self, database: str) -> str:
        """As make, without a process for it."""
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=self.port, user="ada", dbname="postgres",
                             autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}".encode())
        self.urls.append(self.url(database))
        return self.urls[-1]

    def start(self) -> None:
        settings = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=60 "
        settings += self.options
        self._run("pg_ctl", "-D", str(self.folder), "-l", str(self.folder / "log"), "-w", "-o", settings, "start")

    def cut_off(self) -> None:
        """End the server at once, as when its machine loses power, save that its files keep what was written: every
        connection breaks, and the next start recovers from the log."""
        self._run("pg_ctl", "-D", str(self.folder), "-m", "immediate", "-w", "stop")

    def strike(self, database: str, end: str, seconds: float = 20.0) -> bool:
        """End one connection in the middle of a write: `end` is "terminate", as an administrator does, or "kill", which
        is SIGKILL of its process. Whether one was met within `seconds`."""
        import psycopg

        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with suppress(psycopg.OperationalError), psycopg.connect(  # that of recovering from the last one
                    host="127.0.0.1", port=self.port, user="ada", dbname="postgres", autocommit=True) as connection:
                while time.monotonic() < until:
                    found = connection.execute(_WRITING, (database,)).fetchone()
                    if found is None:
                        continue
                    if end == "kill":
                        os.kill(found[0], signal.SIGKILL)
                        return True
                    if connection.execute("SELECT pg_terminate_backend(%s)", found).fetchone() == (True,):
                        return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []  # it refuses to run as root
        done = subprocess.run([*as_user, str(self.programs / program), *arguments], cwd="/", text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        assert done.returncode == 0, f"{program}: {done.stderr}"


@contextmanager
def cluster(options: str = "") -> Iterator[Cluster]:
    """A server until the end of the block; skips the test where there is none to start. options: of the server."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    programs = _programs()
    if programs is None or (os.getuid() == 0 and shutil.which("runuser") is None):
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp(prefix="whetstone-cluster-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    running = Cluster(folder, programs, options)
    try:
        yield running
    finally:
        for url in running.urls:
            engines.engine_of(url).dispose()
        running.cut_off()
        shutil.rmtree(folder)
