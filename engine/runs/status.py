"""status.json while a run or another job lives: kept by its loop and a heartbeat thread; cancel requests are seen here.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Unpack

from engine.contract.disk.failures import disk_line
from engine.contract.disk.processes import process_start
from engine.contract.work_dir import StatusDocument, WorkDir, host

STATUS_SECONDS = 1.0
CANCEL_SECONDS = 0.1


class Cancelled(Exception):
    """Somebody asked the job to stop; raised between two steps."""


class Status:
    """The job's current values; `update` writes them at once, `tick` leaves that to the heartbeat."""

    def __init__(self, folder: WorkDir, num_epochs: int) -> None:
        now = time.time()
        self.folder, self.last_check, self.is_signalled = folder, 0.0, False
        self.lock = threading.Lock()
        self.values: StatusDocument = {
            "state": "running", "stage": "starting", "message": "", "epoch": 0, "num_epochs": num_epochs, "step": 0,
            "num_steps": None, "samples_per_second": None, "eta_seconds": None, "started": now, "heartbeat": now,
            "pid": os.getpid(), "pid_started": process_start(os.getpid()), "host": host(), "device": None,
            "error": None}
        self.update()

    def update(self, **values: Unpack[StatusDocument]) -> None:
        with self.lock:
            # The start is told anew each time: when the clock is set, the same process has another.
            self.values |= {**values, "heartbeat": time.time(), "pid_started": process_start(os.getpid())}
            self.folder.write_status(**self.values)

    def tick(self, **values: Unpack[StatusDocument]) -> None:
        """Between two steps: keep the values and, ten times a second at most, look for a cancel (raises Cancelled)."""
        self.values |= values
        if self.is_signalled:
            raise Cancelled
        now = time.monotonic()
        if now - self.last_check > CANCEL_SECONDS:
            self.last_check = now
            if self.folder.is_cancel_requested():
                raise Cancelled

    def signal(self) -> None:
        """The next tick raises Cancelled. Unlike a request in the job's folder it ends with this process."""
        self.is_signalled = True

    def progress(self, done: int, total: int, stage: str) -> None:
        """A stage that counts up, such as decoding images."""
        self.tick(stage=stage, message=f"{done:,} of {total:,}")

    @contextlib.contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Rewrite status.json once a second, so that long stages without steps show as alive."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(STATUS_SECONDS):
                with contextlib.suppress(OSError):  # a full disk, say: the next beat tries again, the work says why
                    self.update()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def kept_to_the_end(status: Status, cancelled: str) -> Iterator[None]:
    """status.json with a heartbeat around a job's work, which always ends: done, cancelled (with these words; the
    request is dropped) or failed with one line, whose exception goes on."""
    with cancel_on_signals(status.signal, signal.SIGTERM), status.heartbeat():
        try:
            yield
        except Cancelled:
            status.update(state="cancelled", message=cancelled)
            status.folder.clear_cancel()
        except BaseException as error:
            said = disk_line(error, status.folder.path) or f"{error}" or type(error).__name__
            with contextlib.suppress(OSError):  # where nothing can be written, what goes on says so
                status.update(state="failed", error=said)
                status.folder.log(f"failed: {type(error).__name__}: {said}")
            raise
        else:
            status.update(state="done", message="", eta_seconds=0.0)
    status.folder.log(str(status.values["state"]))


class Follower:
    """The status of a rank that writes nothing."""

    def update(self, **values: Unpack[StatusDocument]) -> None:
        pass

    def tick(self, **values: Unpack[StatusDocument]) -> None:
        pass

    def progress(self, done: int, total: int, stage: str) -> None:
        pass


@contextlib.contextmanager
def cancel_on_signals(request_cancel: Callable[[], None], *numbers: signal.Signals) -> Iterator[None]:
    """These signals ask for a cancel between two steps. Only the main thread can listen; a test's does without."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, lambda *_: request_cancel()) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
