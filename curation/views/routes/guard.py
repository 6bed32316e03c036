"""What stands in front of every response and of the WebSocket, Streamlit's own routes included: headers, our own origin
alone, who may come in, nothing of Streamlit's that we do not use.

An ASGI middleware of st.App, outside of all that Streamlit mounts. Knows no page.
"""

import html

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curation.views.routes import identity
from curation.views.routes.access import Access
from curation.views.routes.headers import security_headers
from engine.contract.disk import event_log

CLOSED = ("/_stcore/metrics", "/_stcore/agent/", "/_stcore/script-health-check")
"""Routes of Streamlit's that this app does not use: figures of the server, and a way in for programs."""
HEALTH = "/_stcore/health"
"""Says that the server runs and nothing else, to anybody."""
OURS = "/api/"
_REFUSED = 4403
"""Close code of a WebSocket that is refused; before it is accepted, the server answers 403 instead."""


class Guard:
    """Raises nothing: a request that may not pass gets a plain 403 or 404, a WebSocket is closed."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket" and not (self._is_own(scope, needs_origin=True) and self._may_enter(scope)):
            event_log.event("turned_away", kind="websocket", status=403)
            await send({"type": "websocket.close", "code": _REFUSED, "reason": "not from here"})
        else:
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_begun = False

        async def guarded(message: Message) -> None:
            nonlocal is_begun
            if message["type"] == "http.response.start":
                is_begun = True
                added = security_headers()
                kept = [(name, value) for name, value in message["headers"]
                        if name.lower() not in added and not name.lower().startswith(b"access-control-allow-")]
                message = {**message, "headers": [*kept, *added.items()]}
            await send(message)

        if scope["path"].startswith(CLOSED):
            await PlainTextResponse("no such page", 404)(scope, receive, guarded)
        elif not self._is_own(scope, needs_origin=False):
            event_log.event("turned_away", kind="origin", status=403)
            await PlainTextResponse("another origin may not ask this", 403)(scope, receive, guarded)
        elif scope["path"] != HEALTH and not self._may_enter(scope):
            await self._turn_away(scope)(scope, receive, guarded)
        elif scope["path"].startswith(OURS) and not identity.may_see(scope, self.access):
            event_log.event("turned_away", kind="sign_in", status=403)
            await PlainTextResponse("sign in first", 403)(scope, receive, guarded)
        else:
            try:
                await self.app(scope, receive, guarded)
            except Exception:  # else Starlette answers for it outside of here, without the headers
                if not is_begun:
                    await PlainTextResponse("Something went wrong; the terminal that runs the app has the details",
                                            500)(scope, receive, guarded)
                raise

    def _is_own(self, scope: Scope, *, needs_origin: bool) -> bool:
        """Whether the Origin header is ours, scheme, host and port; without one only where it may be absent."""
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if not origins:
            return not needs_origin
        scheme = "https" if scope["scheme"] in ("https", "wss") else "http"
        return origins == [self.access.origin or f"{scheme}://{headers.get('host', '')}"]

    def _may_enter(self, scope: Scope) -> bool:
        """Whether it comes through the proxy that was named, and from a browser that has shown the token."""
        access = self.access
        return (access.proxy is None or identity.comes_through(scope, access.proxy)) and \
            (access.token is None or identity.has_cookie(scope, access.token))

    def _turn_away(self, scope: Scope) -> Response:
        """To the page itself with a cookie where the address has the token; else a refusal that says what is missing.

        A page of ours that goes on by itself, for a redirect from another site's link would come without the cookie.
        """
        token = self.access.token
        is_through = self.access.proxy is None or identity.comes_through(scope, self.access.proxy)
        if token is None or not is_through:
            return PlainTextResponse("this app is reached through its proxy alone", 403)
        rest = identity.without_token(scope, token)
        if rest is None:
            return PlainTextResponse("This address needs its token: open the one that was printed where the app was "
                                     "started.", 403)
        response = HTMLResponse(f'<meta http-equiv="refresh" content="0;url={html.escape(rest)}">',
                                headers={"Cache-Control": "no-store"})
        response.set_cookie(identity.cookie_name(), identity.cookie_value(token), httponly=True, samesite="strict",
                            secure=scope["scheme"] == "https")
        return response
