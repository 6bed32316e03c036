"""What stands in front of every response and of the WebSocket, Streamlit's own routes included: headers, our own origin
alone, nothing of Streamlit's that we do not use.

An ASGI middleware of st.App, outside of all that Streamlit mounts. Knows no page.
"""

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curation.views.routes.headers import security_headers

CLOSED = ("/_stcore/metrics", "/_stcore/agent/", "/_stcore/script-health-check")
"""Routes of Streamlit's that nobody asks here: what the server uses, and a way in for programs."""
_REFUSED = 4403
"""Close code of a WebSocket that is refused; before it is accepted, the server answers 403 instead."""


class Guard:
    """Raises nothing: a request that may not pass gets a plain 403 or 404, a WebSocket is closed."""

    def __init__(self, app: ASGIApp, origin: str | None = None) -> None:
        """origin: scheme, host and port by which browsers know this app where that is not what its Host header says,
        as behind a proxy."""
        self.app, self.origin = app, origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "websocket" and not self._is_own(scope, needs_origin=True):
            await send({"type": "websocket.close", "code": _REFUSED, "reason": "another origin"})
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
            await PlainTextResponse("another origin may not ask this", 403)(scope, receive, guarded)
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
        return origins == [self.origin or f"{scheme}://{headers.get('host', '')}"]
