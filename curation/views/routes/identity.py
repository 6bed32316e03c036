"""Who is on the other side of a request or of a page: the address's token, a proxy's word, or Streamlit's sign-in.

Streamlit's own cookie is read by its own code, which signed it.
"""

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser
from starlette.types import Scope
from streamlit import config
from streamlit.web.server.starlette.starlette_server_config import USER_COOKIE_NAME
from streamlit.web.server.starlette.starlette_websocket import _get_signed_cookie_with_chunks

from curation.ledger.people import Person, identify_by
from curation.views.routes.access import SECRET_HEADER, Access, Proxy, current, is_loopback, start
from engine.contract.disk import event_log


def begin() -> Access:
    """How the app may be reached, from now on with the person signed in as the author of every act. Ends the process
    where it may not start (curation.views.routes.access)."""
    event_log.begin("app")
    event_log.event("began")
    access = start()
    identify_by(person)
    return access


def person() -> Person | None:
    """Who uses the page that is being drawn, or pressed on; None where there is no sign-in. Outside of a script: a
    person without name and role."""
    access = current()
    if access.proxy is not None:
        name = str(st.context.headers.get(access.proxy.header) or "")
    elif access.has_sign_in:
        name = name_of(st.user.to_dict()) if st.user.get("is_logged_in") else ""
    else:
        return None
    name = " ".join(name.split())
    return Person(name, access.role_of(name))


def name_of(claims: Mapping[str, Any]) -> str:
    """By what an identity is known: its e-mail address where the provider says that this is verified (in some anybody
    may set it); else its subject, which is no address of anybody's."""
    email = str(claims.get("email") or "").strip().lower()
    return email if email and claims.get("email_verified") is True else str(claims.get("sub") or "").strip()


def may_see(scope: Scope, access: Access) -> bool:
    """Whether a request comes from somebody who may look: our own routes answer with pictures of the data."""
    if access.proxy is not None:
        return access.role_of(Headers(scope=scope).get(access.proxy.header, "").strip()) is not None
    if not access.has_sign_in:
        return True
    signed = _get_signed_cookie_with_chunks(_cookies(scope), USER_COOKIE_NAME)
    claims = json.loads(signed) if signed else {}
    return bool(claims.get("is_logged_in")) and access.role_of(name_of(claims)) is not None


def comes_through(scope: Scope, proxy: Proxy) -> bool:
    """Whether a request comes from the named proxy and names somebody.

    uvicorn puts the address that a proxy on this machine reports in the place of the proxy's own, and port 0 with it.
    """
    if not scope["client"]:
        return False
    host, port = scope["client"]
    is_reported = port == 0
    peer_is_proxy = is_loopback(proxy.address) if is_reported else host.removeprefix("::ffff:") == proxy.address
    headers = Headers(scope=scope)
    is_proven = not proxy.secret or hmac.compare_digest(headers.get(SECRET_HEADER, "").encode(), proxy.secret.encode())
    return peer_is_proxy and is_proven and len(headers.getlist(proxy.header)) == 1


# -- the token


def cookie_name() -> str:
    """Cookies know no port: two apps on one machine need two names."""
    return f"whetstone_{config.get_option('server.port')}"


def cookie_value(token: str) -> str:
    """What a browser keeps: it does not tell the token."""
    return hashlib.sha256(f"cookie:{token}".encode()).hexdigest()


def has_cookie(scope: Scope, token: str) -> bool:
    return hmac.compare_digest(_cookies(scope).get(cookie_name(), "").encode(), cookie_value(token).encode())


def without_token(scope: Scope, token: str) -> str | None:
    """The address without its token, where that is right; None where there is none, or a wrong one."""
    query = QueryParams(scope["query_string"])
    if not hmac.compare_digest(query.get("token", "").encode(), token.encode()):
        return None
    rest = urlencode([(name, value) for name, value in query.multi_items() if name != "token"])
    path = str(scope["path"]).lstrip("/\\")  # either would name another host
    return f"/{path}" + (f"?{rest}" if rest else "")


def _cookies(scope: Scope) -> dict[str, str]:
    return cookie_parser(Headers(scope=scope).get("cookie", ""))
