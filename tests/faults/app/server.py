"""The app's server in a forked process, so that its imports are paid once, and its death at a moment of our choice."""

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from tests import ROOT
from tests.faults.kill_point import KillPoint

STUB = "#!/bin/sh\nexec sleep 20\n"
"""In place of Python, for the processes that the app starts: what they do is the engine's (tests.faults.engine)."""
START_SECONDS = 120.0


def load() -> object:
    """Imports what the server imports, in this process: forked ones have it."""
    import pyarrow.dataset
    import sqlalchemy.dialects.sqlite
    import uvicorn
    from streamlit.web import bootstrap, cli
    from streamlit.web.server.starlette import starlette_app

    import curation.views.audit.page
    import curation.views.decide.page
    import curation.views.explore.page
    import curation.views.export.page
    import curation.views.train.page
    from curation.doctor import checks

    return pyarrow, sqlalchemy, uvicorn, bootstrap, cli, starlette_app, curation, checks


class ArmedPoint(KillPoint):
    """Counts changes of every thread, from the moment it is armed on."""

    def __init__(self, below: tuple[Path, ...]) -> None:
        super().__init__(None, below)
        self.is_armed, self.lock = False, threading.RLock()

    def _count(self, what: str) -> None:
        if not self.is_armed:
            return
        with self.lock:
            self.num += 1
            if self.num == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


class Server:
    """One life of the server on the projects in `folder`/projects."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, _free_port()
        self.stub, self.counted = folder / "python", folder / "changes"
        self.stub.write_text(STUB)
        self.stub.chmod(0o755)
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._serve()
            finally:
                os._exit(1)
        self._wait()

    def arm(self, at: int | None) -> None:
        """From now on changes count; at the at-th of them it dies. None: it only counts."""
        (self.folder / "arm").write_text(str(at or ""))
        self.counted.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)

    def num_changes(self) -> int:
        """Of files and databases, since it was armed."""
        os.kill(self.pid, signal.SIGUSR2)
        until = time.monotonic() + 20
        while not (self.counted.exists() and (said := self.counted.read_text())):
            if time.monotonic() > until:
                raise TimeoutError("the server does not say how many changes it made")
            time.sleep(0.02)
        return int(said)

    def kill(self) -> None:
        """SIGKILL, unless it is dead already."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def _serve(self) -> None:
        log = os.open(self.folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(ROOT)
        os.environ |= {"WHETSTONE_PROJECTS": str(self.folder / "projects"), "WHETSTONE_HOME": str(self.folder / "home")}
        point = ArmedPoint((self.folder / "projects", self.folder / "home"))
        point.install()

        def arm(_number: int, _frame: object) -> None:
            said = (self.folder / "arm").read_text()
            point.num, point.at, point.is_armed = 0, int(said) if said else None, True

        signal.signal(signal.SIGUSR1, arm)
        signal.signal(signal.SIGUSR2, lambda *_: self.counted.write_text(str(point.num)))
        from streamlit.web import cli

        sys.executable = str(self.stub)
        cli.main(["run", "app.py", "--server.port", str(self.port)], standalone_mode=False)

    def _wait(self) -> None:
        until = time.monotonic() + START_SECONDS
        while True:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                raise RuntimeError(f"the server did not start; see {self.folder / 'log.txt'}")
            with socket.socket() as one:
                if one.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if time.monotonic() > until:
                self.kill()
                raise TimeoutError("the server does not answer")
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
