"""The pages' names and the HTML shell served at their addresses.

Streamlit's front end, opened at /train, first asks for its server below /train/, gets a 404 (an error in the browser's
console), waits half a second and then tries the root. The shell served here is Streamlit's own index.html plus a line
that names the root, so a link to a page opens at once. Should a later version ignore that line, links work as before.

A second (assets/shared/history.js) makes one entry a page in the browser's history; a third (inert.js) frees a page
that a closed dialog left inert.
"""

from functools import cache
from pathlib import Path

import streamlit
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

PAGES = {
    "data": ("Data", ":material/database:"),
    "train": ("Train", ":material/model_training:"),
    "explore": ("Explore", ":material/scatter_plot:"),
    "triage": ("Triage", ":material/low_priority:"),
    "audit": ("Audit", ":material/fact_check:"),
    "decide": ("Decide", ":material/rule:"),
    "compare": ("Compare", ":material/compare_arrows:"),
    "study": ("Study", ":material/science:"),
    "export": ("Export", ":material/ios_share:"),
}
"""Module of this package -> title and icon, in the order of the loop a person goes through. Each module has page()."""
DEFAULT_PAGE = "data"
_NAME_THE_ROOT = "<script>window.__streamlit={BACKEND_BASE_URL:window.location.origin}</script>"

_SCRIPTS = [Path(__file__).parents[3] / "assets" / "shared" / name for name in ("history.js", "inert.js")]
"""In the head, before Streamlit's own."""


@cache
def shell() -> str:
    """The HTML of every page."""
    index = Path(streamlit.__file__).parent / "static" / "index.html"
    ours = "".join(f"<script>{path.read_text(encoding='utf-8')}</script>" for path in _SCRIPTS)
    return index.read_text(encoding="utf-8").replace("<head>", f"<head>{_NAME_THE_ROOT}{ours}", 1)


async def serve_shell(request: Request) -> Response:
    """GET / and /PAGE. The default page lives at the root: at its own name Streamlit would say "page not found"."""
    if request.url.path == f"/{DEFAULT_PAGE}":
        return RedirectResponse("/" + (f"?{request.url.query}" if request.url.query else ""))
    return HTMLResponse(shell(), headers={"Cache-Control": "no-cache"})


ROUTES = [Route(f"/{name}", serve_shell, methods=["GET"]) for name in ("", *PAGES)]
