"""The running server that the tests of routes share."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests import ROOT
from tests.browser.driver import answers, wait_for
from tests.fakes import make_project


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The real app, started as the README says, on a free port."""
    home = tmp_path_factory.mktemp("projects")
    make_project(home / "pets", num_train=6)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"WHETSTONE_PROJECTS": str(home)},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"), 60, "the app did not come up")
        yield port
    finally:
        process.terminate()
        process.wait(20)
