"""Pictures by address, from a server of this test: fetched once, atomically, each failure a line; then imported."""

import datetime
import io
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pandas as pd
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from curation.__main__ import main
from curation.sources import fetching
from engine.contract.manifest import image_root, read_info, read_manifest, resolve_image


def png(value: int) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(sink, format="PNG")
    return sink.getvalue()


class Answers(BaseHTTPRequestHandler):
    asked: list[str] = []
    end = Event()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/gone"):
            self.send_error(404)
        elif self.path.startswith(("/torn", "/odd")):
            self.wfile.write(b"no status line\r\n\r\n" if self.path.startswith("/odd") else
                             b"HTTP/1.0 200 OK\r\nContent-Length: 9999\r\n\r\n" + png(1))
        elif self.path.startswith(("/file", "/ftp", "/plain", "/round", "/on/")):
            self.send_response(302)
            self.send_header("Location", {"file": "file:///etc/hostname", "ftp": "ftp://127.0.0.1/a.png",
                                          "plain": "http://127.0.0.1:9/a.png",
                                          "on": "/" + self.path[4:]}.get(self.path.split("/")[1].partition(".")[0],
                                                                         self.path))
            self.end_headers()
        elif self.path.startswith("/slow"):  # never silent, never done
            self.wfile.write(b"HTTP/1.0 200 OK\r\n" + b"\r\n" * self.path.startswith("/slowbody"))
            with suppress(OSError):
                while not self.end.wait(0.05):
                    self.wfile.write(b"x")
        else:
            body = b"<html>" if self.path.startswith("/page") else png(int(self.path[2:3]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the screen."""


@contextmanager
def serving(certificate: Path | None = None) -> Iterator[str]:
    Answers.asked.clear()
    Answers.end.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http{'s' * (certificate is not None)}://127.0.0.1:{server.server_port}"
        finally:  # of a test that fails as well, which would else wait for the server
            Answers.end.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def host() -> Iterator[str]:
    with serving() as address:
        yield address


def own_certificate(path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody has signed but itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(
        x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
        now + datetime.timedelta(days=1)).add_extension(x509.SubjectAlternativeName(
            [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False).add_extension(
                x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return path


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


def test_an_answer_that_breaks_off_or_is_none_costs_its_own_picture(
        tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "t.csv"
    table.write_text(f"path,label\n{host}/torn.png,cat\n{host}/odd.png,cat\nhttp://[x/a.png,cat\n{host}/a1.png,dog\n")
    assert main(["fetch", str(table), "--project", str(tmp_path / "p")]) == 3
    assert "1 pictures fetched, 0 were there, 3 failed" in capsys.readouterr().out
    report = pd.read_csv(tmp_path / "p/fetch_report.csv").set_index("address")["reason"]
    assert "broke off" in report[f"{host}/torn.png"] and "no status line" in report[f"{host}/odd.png"]
    assert "must be one" in report["http://[x/a.png"]


def test_a_table_without_a_column_of_addresses_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("where,label\nx,y\n")
    assert main(["fetch", str(tmp_path / "t.csv"), "--project", str(tmp_path / "p")]) == 2
    assert "needs a column of addresses; t.csv has where, label" in capsys.readouterr().err


def fetched(tmp_path: Path, *addresses: str, **named: float) -> tuple[fetching.Fetched, dict[str, str]]:
    """What a fetch of these did, and why each failed."""
    (tmp_path / "t.csv").write_text("path\n" + "".join(f"{one}\n" for one in addresses))
    done = fetching.fetch(tmp_path / "t.csv", tmp_path / "p", lambda *step: None, **named)
    return done, dict(done.failed)


def test_https_is_read_from_whom_the_system_trusts_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = own_certificate(tmp_path / "own.pem")
    with serving(certificate) as host:
        _, why = fetched(tmp_path, f"{host}/a1.png")
        assert "certificate verify failed" in why[f"{host}/a1.png"] and not Answers.asked
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        done, why = fetched(tmp_path, f"{host}/a1.png", f"{host}/on/a2.png", f"{host}/file.png", f"{host}/plain.png")
        assert done.num_fetched == 2 and set(why) == {f"{host}/file.png", f"{host}/plain.png"}
        assert "it leads from https to http" in why[f"{host}/plain.png"]
        other = host.replace("127.0.0.1", "localhost")
        _, why = fetched(tmp_path, f"{other}/a3.png")
        assert "certificate verify failed" in why[f"{other}/a3.png"], "it names another host"


def test_a_redirection_leads_to_http_alone_and_comes_to_an_end(tmp_path: Path, host: str) -> None:
    done, why = fetched(tmp_path, *(f"{host}/{name}.png" for name in ("file", "ftp", "round", "on/a1")))
    assert done.num_fetched == 1 and "file" in why[f"{host}/file.png"] and "unknown url type: ftp" in \
        why[f"{host}/ftp.png"] and "infinite loop" in why[f"{host}/round.png"]


def test_a_picture_of_too_many_bytes_is_left(tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_BYTES", len(png(1)) - 1)
    _, why = fetched(tmp_path, f"{host}/a1.png")
    assert "this one has more" in why[f"{host}/a1.png"] and not list((tmp_path / "p/images").rglob("*.png"))


@pytest.mark.parametrize("path", ["slowhead.png", "slowbody.png"])
def test_a_server_that_sends_a_byte_now_and_then_is_given_up(tmp_path: Path, host: str, path: str,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "SECONDS_EACH", 0.5)
    _, why = fetched(tmp_path, f"{host}/{path}")
    assert "it took longer than" in why[f"{host}/{path}"]


def test_what_is_left_when_the_time_is_over_is_fetched_by_the_next_call(tmp_path: Path, host: str,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = [f"{host}/a{number}.png" for number in range(1, 6)]
    fetched(tmp_path, addresses[0])
    ticks = iter(range(0, 100_000, 1_000))  # so far apart that what is left of the time is never short
    with monkeypatch.context() as patch:
        patch.setattr(fetching, "_WORKERS", 1)
        patch.setattr(fetching, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
        done, why = fetched(tmp_path, *addresses, seconds=2_500)  # two looks at the clock are within it
    assert (done.num_there, done.num_fetched, done.num_left) == (1, 2, 2) and set(why.values()) == {
        fetching.OUT_OF_TIME}
    done, why = fetched(tmp_path, *addresses)
    assert (done.num_there, done.num_fetched, why) == (3, 2, {})
    table = pd.read_parquet(done.table)
    assert table["path"].str.startswith("images/").all() and table["source_url"].tolist() == addresses


def test_no_time_for_a_fetch_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("path\nhttp://127.0.0.1/a.png\n")
    assert main(["fetch", str(tmp_path / "t.csv"), "--project", str(tmp_path / "p"), "--minutes", "0"]) == 2
    assert "must be above 0; got 0 seconds" in capsys.readouterr().err and not (tmp_path / "p").exists()
