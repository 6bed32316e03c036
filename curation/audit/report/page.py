"""The audit's report: one HTML file that stands on its own and prints on A4, and the same figures as JSON.

First the answer, then how it was found, then the detail, what is not known, and what it all rests on (page.html.jinja).
Works out nothing (curation.audit.report.health does): what health lacks, a section says in words. No script, no font,
no picture from elsewhere.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from curation.audit.estimate.looks import Progress
from curation.audit.report import figures, rate_words
from curation.audit.report.document import Health
from curation.audit.report.findings import MAX_MATRIX, MAX_ROWS, matrix_table, moved_classes, rate_table
from curation.audit.report.parts import RatePart
from curation.templates import render
from curation.words import counted
from engine.contract.work_dir import without_nan

_TEMPLATE = Path(__file__).with_name("page.html.jinja")
_STYLE = Path(__file__).parents[3] / "assets" / "shared" / "report.css"
_Json = TypeVar("_Json")


def report_json(health: Health) -> str:
    """The health as JSON text, null for what is not a number: for machines, and for those who audit the audit."""
    return json.dumps(without_nan(health), indent=1, ensure_ascii=False, allow_nan=False)


def report_html(health: Health) -> str:
    """The whole page. health: what curation.audit.report.health makes, or the same read back from report_json."""
    shown, facts = _printable(health), health["provenance"]
    digest = "".join(c for c in facts.get("manifest", "") if c in "0123456789abcdef")[:16]
    digests = [f"{name} {facts[name][:16]}" for name in ("manifest", "decisions", "model") if facts.get(name)]
    page = render(
        _TEMPLATE, health=shown, style=_STYLE.read_text(encoding="utf-8"), digest=digest, digests="; ".join(digests),
        day=f"{datetime.fromtimestamp(health['audit']['generated'], UTC):%d %B %Y, %H:%M} UTC",
        rates=rate_table(shown), matrix=matrix_table(shown["matrix"]), moved=moved_classes(shown["corrections"]),
        max_matrix=MAX_MATRIX, max_rows=MAX_ROWS, width=figures.WIDTH, height=figures.HEIGHT, percent=figures.percent,
        between=figures.between, whole=figures.whole, plural=counted, words=rate_words, to_go=_to_go)
    return page.encode("ascii", "xmlcharrefreplace").decode()


def _to_go(rate: RatePart) -> str:
    return rate_words.to_go(rate["target"], Progress(num_answered=rate["num_reviews"], planned=rate["planned"],
                                                     is_reached=rate["is_reached"]))


def _printable(value: _Json) -> _Json:
    """The same JSON value with spaces for control characters: these could turn a text around. Markup in it, the
    templates escape."""
    found: object = value
    if isinstance(value, str):
        found = "".join(c if c.isprintable() else " " for c in value)
    elif isinstance(value, dict):
        found = {_printable(key): _printable(item) for key, item in value.items()}
    elif isinstance(value, list):
        found = [_printable(item) for item in value]
    return found  # type: ignore[return-value]  # of the kind that it was
