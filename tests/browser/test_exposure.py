"""The running app, seen from a page of another origin in a real browser."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import running_app, tabs_on
from tests.browser.driver import Browser
from tests.fakes import make_project

pytestmark = pytest.mark.browser
TRY = """async (app) => {
  const picture = `${app}/api/thumbnail?project=pets&id=train-00000&size=64`;
  const framed = (path) => new Promise((done) => {
    const frame = document.createElement("iframe");
    frame.onload = done;
    frame.src = app + path;
    document.body.append(frame);
  });
  const shown = () => new Promise((done) => {
    const image = new Image();
    image.onload = () => done(true);
    image.onerror = () => done(false);
    image.src = picture;
  });
  const stream = () => new Promise((done) => {
    const socket = new WebSocket(`${app.replace("http", "ws")}/_stcore/stream`, ["streamlit"]);
    socket.onopen = () => done(true);
    socket.onclose = () => done(false);
  });
  const read = (path, mode) => fetch(app + path, { mode }).then((found) => found.type, () => "refused");
  await Promise.all([framed("/"), framed("/train"), framed("/_stcore/health")]);
  return { picture: await shown(), stream: await stream(), read: await read("/_stcore/host-config", "cors"),
           blind: await read("/api/thumbnail?project=pets&id=train-00000&size=64", "no-cors") };
}"""


@pytest.fixture
def other() -> Iterator[str]:
    """Address of a page on another port of this machine, by another name of it."""
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>elsewhere</title>")

        def log_message(self, *words: object) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=web.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{web.server_address[1]}"
    web.shutdown()
    web.server_close()
    thread.join()


def test_a_page_of_another_port_can_neither_frame_nor_read_nor_join(browser: Browser, server: tuple[str, Path],
                                                                    other: str) -> None:
    make_project(server[1] / "pets", num_train=6)
    for name in ("127.0.0.1", "localhost"):  # another site's name for the app, and the same
        browser.page.goto(other)
        browser.errors.clear()
        found = browser.page.evaluate(TRY, server[0].replace("127.0.0.1", name))
        assert found == {"picture": False, "stream": False, "read": "refused", "blind": "refused"}
        refused = [line for line in browser.errors if "frame-ancestors" in line]
        assert len(refused) == 3, "each frame stays empty, and the browser says why"
        frames = [frame.url for frame in browser.page.frames if frame != browser.page.main_frame]
        assert all(url.startswith("chrome-error:") for url in frames) and len(frames) == 3


def test_the_address_with_its_token_opens_the_app_and_the_one_without_does_not(
        chrome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHETSTONE_TOKEN", "a secret of this test")
    with running_app(tmp_path) as (address, home), tabs_on(chrome, address) as opened:
        make_project(home / "pets", num_train=6)
        printed = (tmp_path / "server.log").read_text()
        assert f"{address}/?token=a%20secret%20of%20this%20test" in printed
        refused = opened()
        refused.page.goto(address)
        refused.see("This address needs its token", within="body")
        browser = opened()
        browser.open("explore?project=pets&token=a%20secret%20of%20this%20test")
        browser.see("Explore")
        assert "token" not in browser.page.url
        browser.open("")
        browser.see("Samples")
        assert not browser.errors
