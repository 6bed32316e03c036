"""The headers that every response carries, Streamlit's own included: who may frame a page, and what may run on it."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from curation.views.routes.pages import shell

_APP_SCRIPT = Path(__file__).parents[3] / "assets" / "shared" / "app.html"
_INLINE_SCRIPT = re.compile(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL)


@cache
def security_headers() -> dict[bytes, bytes]:
    """Name, in lower case, to value."""
    return {name.encode(): value.encode() for name, value in {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in _policy().items()),
        "x-frame-options": "DENY",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",  # addresses hold names of projects, and selections
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    }.items()}


def _policy() -> dict[str, str]:
    """What a page of Streamlit 1.67 needs, and nothing from elsewhere: its styles stand in the page (emotion), its
    components' code comes as a blob, and pictures are drawn on canvases or come as data."""
    return {
        "default-src": "'self'",
        "script-src": " ".join(["'self'", "blob:", *inline_hashes()]),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "media-src": "'self' data: blob:",
        "connect-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "frame-src": "'self'",  # the audit's report, shown as srcdoc; it has no script
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }


def inline_hashes() -> list[str]:
    """Of the scripts that stand in our pages, as a policy names them; no other inline script runs."""
    texts = _INLINE_SCRIPT.findall(shell() + _APP_SCRIPT.read_text(encoding="utf-8"))
    return [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]
