"""The addresses of the pages, and the running server: it opens links at once and answers to its own names alone."""

import http.client
import socket

import pytest

from curation.views.routes import pages
from tests import ROOT
from tests.curation.views.routes.test_thumbnails import get


@pytest.mark.parametrize("name", ["", *(name for name in pages.PAGES if name != pages.DEFAULT_PAGE)])
def test_a_pages_address_serves_the_front_end_with_its_root_named(name):
    status, headers, body = get(f"/{name}?project=pets", pages.ROUTES)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert body.count(pages._NAME_THE_ROOT.encode()) == 1 and body.count(b"history.pushState = ") == 1
    assert b'<div id="root">' in body


def test_the_default_page_is_sent_to_the_root_with_its_query():
    status, headers, _ = get("/data?project=pets&run=first", pages.ROUTES)
    assert (status, headers["location"]) == (307, "/?project=pets&run=first")


def test_every_page_has_a_module_with_a_page():
    for name in pages.PAGES:
        assert (ROOT / "curation" / "views" / name / "page.py").is_file()


def ask(port: int, path: str, host: str | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Host": host or f"127.0.0.1:{port}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_the_server_serves_pages_and_thumbnails_and_no_folder(server):
    assert all(pages._NAME_THE_ROOT.encode() in ask(server, path)[1] for path in ("/", "/train"))
    assert ask(server, "/api/thumbnail?project=pets&id=train-00000&size=64")[1].startswith(b"\xff\xd8")
    assert ask(server, "/api/thumbnail?project=pets&id=../project.json&size=64")[0] == 404
    assert b"sample_id" not in ask(server, "/app/static/pets/manifest.parquet")[1]


@pytest.mark.parametrize("path", ["/", "/train", "/api/thumbnail?project=pets&id=train-00000&size=64"])
def test_a_foreign_host_name_is_refused(server, path):
    assert ask(server, path, host="evil.example")[0] == 400


def test_the_server_listens_on_this_machine_alone(server):
    with socket.socket() as other, pytest.raises(OSError, match="refused|timed out"):
        other.settimeout(2)
        other.connect((_own_address(), server))


def _own_address() -> str:
    """An address of this machine other than loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; picks the interface
            address = str(probe.getsockname()[0])
        except OSError:
            pytest.skip("this machine has no address but loopback")
    if address.startswith("127."):
        pytest.skip("this machine has no address but loopback")
    return address
