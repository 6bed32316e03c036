"""The progress of work that a page does in its own script run, on a bar."""

import time
from collections.abc import Callable

from streamlit.delta_generator import DeltaGenerator

from curation.views.widgets.state import plain


def reporter(bar: DeltaGenerator) -> Callable[[int, int, str], None]:
    """A progress callback that redraws the bar at most ten times a second."""
    last_drawn, last_message = 0.0, ""

    def report(done: int, total: int, message: str) -> None:
        nonlocal last_drawn, last_message
        now = time.monotonic()
        if now - last_drawn < 0.1 and done < total and message == last_message:
            return
        last_drawn, last_message = now, message
        share = min(1.0, done / total) if total else 0.0
        count = f": {done:,} of {total:,}" if total > 1 else ""
        bar.progress(share, text=plain(message.capitalize() + count))

    return report
