"""Who may reach the app: what it refuses to start as, the token, the proxy, roles by name."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from streamlit.web.server.starlette import starlette_websocket
from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

from curation.views.routes import identity
from curation.views.routes.access import Access, AccessError, access_of, is_loopback
from curation.views.routes.guard import Guard
from tests import ROOT

ROLES: dict[str, object] = {"ada@example.org": "owner", "*": "viewer"}
PROXY = {"WHETSTONE_PROXY": "10.0.0.5 X-Forwarded-User"}
SECRET = "a-secret-of-these-tests"
LOCAL_PROXY = {"WHETSTONE_PROXY": "127.0.0.1 X-User", "WHETSTONE_PROXY_SECRET": SECRET}


def access(given: Mapping[str, str] | None = None, arguments: tuple[str, ...] = (), *,
           address: str | None = "127.0.0.1", has_sign_in: bool = False,
           roles: Mapping[str, object] | None = None) -> Access:
    return access_of(given or {}, arguments, address=address, hosts=["127.0.0.1"], has_sign_in=has_sign_in,
                     roles=roles or {})


def ask(access: Access, path: str = "/", query: str = "", *, client: tuple[str, int] = ("127.0.0.1", 40000),
        kind: str = "http", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """(status, headers, body) of what stands behind the guard, which says 200 and "inside"; of a WebSocket 101, 403."""
    sent: list[Any] = []

    async def inside(scope: Any, receive: Any, send: Any) -> None:
        if kind == "websocket":
            await send({"type": "websocket.accept"})
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"inside"})

    async def send(message: Any) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1:8501"} | ({"origin": "http://127.0.0.1:8501"} if kind == "websocket" else {}) | headers
    scope = {"type": kind, "method": "GET", "path": path, "query_string": query.encode(), "client": client,
             "scheme": "http" if kind == "http" else "ws",
             "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in given.items()]}
    asyncio.run(Guard(inside, access)(scope, send, send))  # type: ignore[arg-type]
    if kind == "websocket":
        return 101 if sent[0]["type"] == "websocket.accept" else 403, {}, b""
    return (sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]},
            b"".join(message.get("body", b"") for message in sent[1:]))


# -- starting


@pytest.mark.parametrize("address", [None, "0.0.0.0", "::", "192.168.0.7", "labels.example.org", ""])
def test_beyond_this_machine_it_starts_with_a_sign_in_or_an_explicit_word(address: str | None) -> None:
    with pytest.raises(AccessError, match="beyond this machine the app needs people to sign in; .*--insecure") as found:
        access(address=address)
    assert "\n" not in str(found.value)
    assert access(address=address, has_sign_in=True, roles=ROLES).needs_person
    assert access(PROXY, address=address, roles=ROLES).needs_person
    assert not access(arguments=("--insecure",), address=address).needs_person
    assert not access({"WHETSTONE_INSECURE": "1"}, address=address).needs_person


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.8.9.1"])
def test_on_this_machine_it_starts_as_it_is(address: str) -> None:
    assert is_loopback(address) and not access(address=address).needs_person


@pytest.mark.parametrize(("given", "roles", "words"), [
    (PROXY, {}, "people who sign in need roles"), (PROXY, {"ada": "boss"}, "a role is one of viewer, .*ada = boss"),
    ({"WHETSTONE_PROXY": "proxy.local X-User"}, ROLES, "WHETSTONE_PROXY is an IP address"),
    ({"WHETSTONE_PROXY": "10.0.0.5"}, ROLES, "WHETSTONE_PROXY is an IP address"),
    ({"WHETSTONE_PROXY": "127.0.0.1 X-User"}, ROLES, "a proxy on this machine must prove itself; .*X-Whetstone-Proxy"),
    ({"WHETSTONE_PROXY": "::1 X-User", "WHETSTONE_PROXY_SECRET": "short"}, ROLES, "a secret of 16 letters and more"),
    (PROXY | {"FORWARDED_ALLOW_IPS": "*"}, ROLES, "FORWARDED_ALLOW_IPS is set"),
    ({"WHETSTONE_TOKEN": "short"}, {}, "16 letters and more; got 5"),
    ({"WHETSTONE_ORIGIN": "labels.example.org"}, {}, "a scheme and a host"),
    ({"WHETSTONE_ORIGIN": "https://labels.example.org/"}, {}, "a scheme and a host")])
def test_what_cannot_be_meant_is_refused(given: dict[str, str], roles: dict[str, object], words: str) -> None:
    with pytest.raises(AccessError, match=words):
        access(given, roles=roles)


def test_the_real_app_does_not_start_open_to_all() -> None:
    done = subprocess.run([sys.executable, "-m", "streamlit", "run", "app.py", "--server.address", "0.0.0.0",
                           "--server.port", "0"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(r"^error: beyond this machine the app needs people to sign in", done.stderr, re.MULTILINE)


# -- the token


def test_the_token_in_the_address_becomes_a_cookie_and_opens_the_rest() -> None:
    local = access({"WHETSTONE_TOKEN": "auto"})
    assert local.token and len(local.token) >= 32 and local.token != access({"WHETSTONE_TOKEN": "auto"}).token
    for kind, path in (("http", "/"), ("http", "/api/thumbnail"), ("http", "/_stcore/host-config"), ("websocket", "/")):
        assert ask(local, path, kind=kind)[0] == 403 == ask(local, path, "token=wrong", kind=kind)[0]
        assert ask(local, path, kind=kind, cookie=f"{identity.cookie_name()}={local.token}")[0] == 403
    assert ask(local, "/_stcore/health")[0] == 200
    status, headers, body = ask(local, "/explore", f"project=a%26b&token={local.token}&run=%22%3E")
    assert status == 200 and b"url=/explore?project=a%26b&amp;run=%22%3E" in body and local.token.encode() not in body
    assert headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie and "samesite=strict" in cookie.lower() and local.token not in cookie
    for kind in ("http", "websocket"):
        assert ask(local, kind=kind, cookie=cookie.partition(";")[0])[0] in (200, 101)


def test_the_address_after_the_token_stays_here() -> None:
    local = access({"WHETSTONE_TOKEN": "x" * 16})
    for path in ("//evil.example/", "/\\evil.example/"):  # browsers take either for another host
        assert b'url=/evil.example/"' in ask(local, path, f"token={local.token}")[2]


# -- a proxy


@pytest.mark.parametrize(("client", "headers", "status"), [
    (("10.0.0.5", 40000), {"x_forwarded_user": "ada@example.org"}, 200), (("10.0.0.5", 40000), {}, 403),
    (("::ffff:10.0.0.5", 40000), {"x_forwarded_user": "ada@example.org"}, 200),
    (("10.0.0.9", 40000), {"x_forwarded_user": "ada@example.org"}, 403),
    (("10.0.0.5", 0), {"x_forwarded_user": "ada@example.org"}, 403)])
def test_a_proxys_word_is_taken_from_its_own_address_alone(client: tuple[str, int], headers: dict[str, str],
                                                          status: int) -> None:
    behind = access(PROXY, address="0.0.0.0", roles=ROLES)
    for path in ("/", "/api/thumbnail", "/_stcore/host-config"):
        assert ask(behind, path, client=client, **headers)[0] == status
    assert (ask(behind, kind="websocket", client=client, **headers)[0] == 101) == (status == 200)


def test_a_proxy_on_this_machine_that_reports_the_browsers_address_is_known_by_it() -> None:
    behind = access(LOCAL_PROXY, roles={"ada": "owner"})
    proof = {"x_whetstone_proxy": SECRET}
    assert ask(behind, client=("203.0.113.9", 0), x_user="ada", **proof)[0] == 200, "as uvicorn writes it"
    assert ask(behind, client=("203.0.113.9", 41000), x_user="ada", **proof)[0] == 403
    assert ask(behind, "/api/map", client=("203.0.113.9", 0), x_user="eve", **proof)[0] == 403, "without a role"


def test_another_process_of_this_machine_cannot_speak_for_the_proxy() -> None:
    behind = access(LOCAL_PROXY, roles={"ada": "owner"})
    for kind, proven, refused in (("http", 200, 403), ("websocket", 101, 403)):
        assert ask(behind, kind=kind, x_user="ada", x_whetstone_proxy=SECRET)[0] == proven
        for words in ({}, {"x_whetstone_proxy": ""}, {"x_whetstone_proxy": SECRET[:-1]}):
            assert ask(behind, kind=kind, x_user="ada", **words)[0] == refused


def test_a_named_origin_replaces_the_hosts() -> None:
    named = access({"WHETSTONE_ORIGIN": "https://labels.example.org"})
    assert ask(named, kind="websocket", origin="https://labels.example.org")[0] == 101
    assert ask(named, kind="websocket")[0] == 403


# -- Streamlit's sign-in


@pytest.fixture
def signed(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A cookie as Streamlit signs it."""
    monkeypatch.setattr(starlette_websocket, "get_cookie_secret", lambda: "a secret of these tests")

    def cookie(secret: str = "", **claims: object) -> str:
        value = create_signed_value(secret or "a secret of these tests", "_streamlit_user",
                                    json.dumps({"is_logged_in": True, **claims}))
        return f"_streamlit_user={value.decode()}"

    return cookie


def test_our_routes_are_for_people_with_a_role(signed: Any) -> None:
    access_ = access(has_sign_in=True, roles={"ada@example.org": "owner"})
    assert ask(access_)[0] == 200, "the page itself asks to sign in"
    for path in ("/api/thumbnail", "/api/map"):
        assert ask(access_, path)[0] == 403
        assert ask(access_, path, cookie="_streamlit_user=forged")[0] == 403
        forged = signed(secret="another", email="ada@example.org", email_verified=True)
        assert ask(access_, path, cookie=forged)[0] == 403
        assert ask(access_, path, cookie=signed(email="eve@example.org", email_verified=True))[0] == 403
        for verified in ({"email_verified": False}, {}):  # in some providers anybody may set an address
            assert ask(access_, path, cookie=signed(email="ada@example.org", sub="x", **verified))[0] == 403
        assert ask(access_, path, cookie=signed(email="Ada@Example.org", email_verified=True))[0] == 200


def test_roles_by_name() -> None:
    found = access(has_sign_in=True, roles=ROLES)
    assert [found.role_of(name) for name in ("ada@example.org", "eve@example.org", "")] == ["owner", "viewer", None]
    named = access(has_sign_in=True, roles={"Ada@example.org": "owner", "Bob": "viewer"})
    assert [named.role_of(name) for name in ("ada@Example.org", "bob", "Bob", "eve")] == ["owner", None, "viewer", None]
