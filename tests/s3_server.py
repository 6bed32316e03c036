"""An S3 server of a test's own (moto), with one bucket of pictures; it can be stopped and started again."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BUCKET = "photos"


class S3:
    """A running server. It keeps what it has in memory, so that to be away it is halted (SIGSTOP), not ended."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=2).close()
                return
            except OSError:
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.2)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def put(self, folder: Path, prefix: str = "") -> int:
        """Every file of a folder into the bucket; their number."""
        import boto3

        client = boto3.client("s3", endpoint_url=self.url)
        client.create_bucket(Bucket=BUCKET)
        files = [file for file in sorted(folder.rglob("*")) if file.is_file()]
        for file in files:
            client.put_object(Bucket=BUCKET, Key=f"{prefix}{file.relative_to(folder).as_posix()}",
                              Body=file.read_bytes())
        return len(files)


@contextmanager
def s3_server() -> Iterator[S3]:
    """A server until the end of the block, to which this process and those it starts go for s3://."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    pytest.importorskip("moto.server", reason="moto is not installed")
    ours = {"AWS_ACCESS_KEY_ID": "ada", "AWS_SECRET_ACCESS_KEY": "ada", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in (*ours, "AWS_ENDPOINT_URL")}
    os.environ.update(ours)
    running = S3()
    os.environ["AWS_ENDPOINT_URL"] = running.url
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
