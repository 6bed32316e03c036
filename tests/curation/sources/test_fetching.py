"""Pictures by address, from a server of this test: fetched once, atomically, each failure a line; then imported."""

import io
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
from PIL import Image

from curation.__main__ import main
from engine.contract.manifest import image_root, read_info, read_manifest, resolve_image


def png(value: int) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(sink, format="PNG")
    return sink.getvalue()


class Answers(BaseHTTPRequestHandler):
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/gone"):
            self.send_error(404)
        elif self.path.startswith("/file"):
            self.send_response(302)
            self.send_header("Location", "file:///etc/hostname")
            self.end_headers()
        else:
            body = b"<html>" if self.path.startswith("/page") else png(int(self.path[2:3]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the screen."""


@pytest.fixture
def host() -> Iterator[str]:
    Answers.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_what_is_fetched_is_imported_and_a_second_fetch_asks_for_the_rest_alone(
        tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"url_id,path,label\n007,{host}/a1.png?x=1,cat\n008,{host}/b2 c.png,dog\n009,{host}/gone.png,dog\n"
                     f"010,{host}/page.png,cat\n011,{host}/file.png,cat\n012,ftp://host/x.png,cat\n")
    project = tmp_path / "p"
    assert main(["fetch", str(table), "--project", str(project)]) == 3
    said = capsys.readouterr().out
    assert "2 pictures fetched, 0 were there, 4 failed" in said
    report = pd.read_csv(project / "fetch_report.csv").set_index("address")["reason"]
    assert "404" in report[f"{host}/gone.png"] and "no picture" in report[f"{host}/page.png"]
    assert "file" in report[f"{host}/file.png"] and "must begin with one of https" in report["ftp://host/x.png"]
    assert main(["import", "table", str(project / "fetched.parquet"), "--project", str(project)]) == 3
    rows, root = read_manifest(project), image_root(project, read_info(project))
    assert rows[["given_label", "url_id"]].values.tolist() == [["cat", "007"], ["dog", "008"]]
    with Image.open(resolve_image(root, rows["path"][1])) as image:
        assert image.getpixel((0, 0)) == (2, 0, 0)
    Answers.asked.clear()
    assert main(["fetch", str(table), "--project", str(project)]) == 3
    assert sorted(Answers.asked) == ["/file.png", "/gone.png", "/page.png"]
    assert "0 pictures fetched, 2 were there" in capsys.readouterr().out


def test_a_table_without_a_column_of_addresses_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("where,label\nx,y\n")
    assert main(["fetch", str(tmp_path / "t.csv"), "--project", str(tmp_path / "p")]) == 2
    assert "needs a column of addresses; t.csv has where, label" in capsys.readouterr().err
