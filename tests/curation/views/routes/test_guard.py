"""What stands in front of every route and the WebSocket, on the running server: headers on each response, our own
origin alone."""

import http.client
import socket
import tomllib
from pathlib import Path

import pytest

from curation.views.routes.access import access_of
from curation.views.routes.guard import Guard
from curation.views.routes.headers import inline_hashes, security_headers
from tests import ROOT

LOCAL = access_of({}, [], address="127.0.0.1", hosts=["127.0.0.1"], has_sign_in=False, roles={})
HEADERS = ("content-security-policy", "x-frame-options", "x-content-type-options", "referrer-policy",
           "cross-origin-opener-policy", "cross-origin-resource-policy")


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    finally:
        connection.close()


def upgrade(port: int, origin: str | None, host: str = "") -> int:
    """Status of a WebSocket's handshake with Streamlit's stream: 101 where it was accepted."""
    lines = ["GET /_stcore/stream HTTP/1.1", f"Host: {host or f'127.0.0.1:{port}'}", "Connection: Upgrade",
             "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
             *([] if origin is None else [f"Origin: {origin}"]), "", ""]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall("\r\n".join(lines).encode())
        return int(connection.recv(64).split()[1])


@pytest.mark.parametrize("path", [
    "/", "/train", "/data", "/nowhere", "/static/js/none.js", "/favicon.png", "/_stcore/health", "/_stcore/host-config",
    "/_stcore/metrics", "/_stcore/agent/openapi.json", "/media/none.png", "/api/thumbnail", "/api/map", "//etc/passwd",
    "/auth/login", "/oauth2callback"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_every_response_says_what_may_run_and_that_nobody_may_frame_it(server: int, path: str, method: str) -> None:
    status, headers, _ = ask(server, path, method)
    assert {name.decode(): value.decode() for name, value in security_headers().items()}.items() <= headers.items()
    assert set(HEADERS) <= set(headers) and headers["x-frame-options"] == "DENY" and status < 500
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert not any(name.startswith("access-control-allow-") for name in headers)


def test_a_foreign_host_gets_the_headers_too(server: int) -> None:
    status, headers, _ = ask(server, "/", Host="evil.example")
    assert status == 400 and set(HEADERS) <= set(headers)


def test_no_inline_script_runs_save_ours() -> None:
    policy = security_headers()[b"content-security-policy"].decode()
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe" not in scripts and len(set(inline_hashes())) == 5, "root, history, inert, Streamlit's own, scheme"


@pytest.mark.parametrize("path", ["/_stcore/metrics", "/_stcore/metrics/", "/_stcore/agent/openapi.json",
                                  "/_stcore/agent/mcp", "/_stcore/script-health-check"])
def test_what_nobody_uses_is_closed(server: int, path: str) -> None:
    assert ask(server, path)[0] == 404 and ask(server, path, "POST")[0] == 404


@pytest.mark.parametrize(("origin", "host", "is_let_in"), [
    ("http://127.0.0.1:{port}", "127.0.0.1:{port}", True), ("http://localhost:{port}", "localhost:{port}", True),
    (None, "", False), ("null", "", False), ("", "", False), ("http://127.0.0.1", "", False),
    ("http://localhost:{port}", "127.0.0.1:{port}", False), ("https://127.0.0.1:{port}", "", False),
    ("http://127.0.0.1:3000", "", False), ("http://localhost:8501", "", False), ("http://evil.example", "", False),
    ("http://127.0.0.1:{port}.evil.example", "", False), ("http://evil.example:{port}", "evil.example:{port}", False)])
def test_the_websocket_is_for_our_own_origin(server: int, origin: str | None, host: str,
                                             is_let_in: bool) -> None:
    given = None if origin is None else origin.format(port=server)
    status = upgrade(server, given, host.format(port=server))
    assert status == 101 if is_let_in else status in (400, 403)


def test_another_origin_may_not_ask_a_route(server: int) -> None:
    thumbnail = "/api/thumbnail?project=pets&id=train-00000&size=64"
    assert ask(server, thumbnail, Origin=f"http://127.0.0.1:{server}")[0] == 200
    for origin in ("http://127.0.0.1:3000", "null", "http://evil.example"):
        assert ask(server, thumbnail, Origin=origin)[0] == 403
        assert ask(server, "/_stcore/upload_file/a/b", "PUT", Origin=origin)[0] == 403


def test_a_failure_carries_the_headers_and_is_still_raised() -> None:
    import asyncio
    from typing import Any

    sent: list[Any] = []

    async def failing(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("a defect")

    async def keep(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": []}
    with pytest.raises(RuntimeError, match="a defect"):
        asyncio.run(Guard(failing, LOCAL)(scope, keep, keep))  # type: ignore[arg-type]
    assert sent[0]["status"] == 500 and security_headers().items() <= dict(sent[0]["headers"]).items()
    assert b"defect" not in sent[1]["body"]


def test_tables_offer_no_download_of_live_formulas() -> None:
    with open(Path(ROOT) / ".streamlit" / "config.toml", "rb") as file:
        assert tomllib.load(file)["client"]["disableDataExport"] is True
