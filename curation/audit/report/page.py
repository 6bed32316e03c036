"""The audit's report: one HTML file that stands on its own and prints on A4, and the same figures as JSON.

First the answer, then how it was found, then the detail, what is not known, and what it all rests on. Works out nothing
(curation.audit.report.health does): what health lacks, a section says in words. No script, no font, no picture from
elsewhere.
"""

import json
from datetime import UTC, datetime
from pathlib import Path

from curation.audit.report.figures import between, definitions, percent, plural, safe, table, whole
from curation.audit.report.findings import Health, classes, corrections, duplicates, matrix, overlaps, reviewers
from engine.contract.work_dir import without_nan

_STYLE = Path(__file__).parents[3] / "assets" / "shared" / "report.css"
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def report_json(health: Health) -> str:
    """The health as JSON text, null for what is not a number, for machines and for whoever audits the audit."""
    return json.dumps(without_nan(health), indent=1, ensure_ascii=False, allow_nan=False)


def report_html(health: Health) -> str:
    """The whole page. health: what curation.audit.report.health makes, or the same read back from report_json."""
    sections = [("How it was done", _method), ("Noise rate of each class", classes),
                ("Given and true labels", matrix), ("Classes mixed up", overlaps),
                ("Near-duplicates with contradicting labels", duplicates), ("Reviewers and agreement", reviewers),
                ("Corrections", corrections), ("What is not known", _limits), ("Signatures", _signature),
                ("What it rests on", _provenance)]
    parts = [f'<h2><span class="no">{number}</span>{title}</h2>\n{write(health)}'
             for number, (title, write) in enumerate(sections, start=1)]
    title = f"Label audit of {health['project']['name']}"
    return "\n".join([
        "<!DOCTYPE html>", '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">', f"<title>{safe(title)}</title>",
        f"<style>\n{_STYLE.read_text(encoding='utf-8')}{_running(health)}</style></head><body>",
        f'<header><div class="what">{safe(title)}</div><div class="when">{_named(health)}'
        f'{_day(health["audit"]["generated"])}</div></header>', _answer(health), *parts,
        f"<footer>{_origin(health)}</footer>", "</body></html>", ""])


def _answer(health: Health) -> str:
    """The noise rate in one sentence, how sure it is, and whether it is final."""
    rate = health["rate"]
    if rate is None or rate["share"] is None or not rate["num_reviews"]:
        return ("<h1>How many labels are wrong is not known yet</h1>"
                '<p class="status open">No label of the random queue has been reviewed. Nothing but that queue can '
                "tell the noise rate.</p>")
    num, people = rate["num_population"], plural(rate["num_reviewers"], "person", "people")
    remaining = health["corrections"]["remaining"]
    strip = [(f"&plusmn;{rate['half_width'] * 100:.1f} points", "half the 95% interval"),
             (whole(rate["num_reviews"]), f"random reviews by {people}"),
             (whole(rate["num_equivalent"]), "simple random reviews would be as exact"),
             (percent(remaining["share"]) if remaining else "-", "wrong after corrections"
              + (f", {between(remaining['low'], remaining['high'])}" if remaining else ""))]
    return "\n".join([
        f"<h1>{percent(rate['share'])} of {whole(num)} given labels are wrong</h1>",
        f'<p class="lead">95% interval {between(rate["low"], rate["high"])}, that is {whole(rate["low"] * num)} to '
        f'{whole(rate["high"] * num)} labels, from {plural(rate["num_reviews"], "review")} by {people}.</p>',
        _status(rate), '<div class="strip">' + "".join(f"<div><b>{a}</b>{b}</div>" for a, b in strip) + "</div>"])


def _status(rate: Health) -> str:
    """Whether the planned precision is reached, and if not, what is missing."""
    target = f"&plusmn;{rate['target'] * 100:.1f} points"
    if rate["is_reached"]:
        return f'<p class="status"><b>Final.</b> The precision asked for, {target}, is reached.</p>'
    missing = "it is too early to say how many more reviews that takes" if rate["further"] is None else \
        f"about {plural(rate['further'], 'more review')} are expected to reach it"
    return f'<p class="status open"><b>Preliminary.</b> The precision asked for is {target}; {missing}.</p>'


def _method(health: Health) -> str:
    """Paragraphs, then the strata."""
    text = "".join(f"<p>{safe(line)}</p>" for line in health["method"])
    if not health["strata"]:
        return text
    rows = [[whole(number), "not scored" if s["low"] is None else between(s["low"], s["high"]),
             whole(s["num_population"]), whole(s["num_reviews"]), whole(s["num_wrong"])]
            for number, s in enumerate(health["strata"], start=1)]
    return text + "<h3>Strata of the random queue</h3>" + table(
        ["Stratum", "Model's probability of a wrong label", "Samples", "Reviewed", "Found wrong"], rows, kind="whole",
        numbers=(2, 3, 4)) + ('<p class="note">Strata where labels may be either are reviewed more often than their '
                                 "size; the estimate weighs each by its size, so this does not raise the rate.</p>")


def _limits(health: Health) -> str:
    return "<ul>" + "".join(f"<li>{safe(line)}</li>" for line in health["limits"]) + "</ul>"


def _provenance(health: Health) -> str:
    return definitions(list(health["provenance"].items()))


def _signature(health: Health) -> str:
    """Lines for names and dates, kept on one page."""
    return '<div class="sign">' + "".join(
        f'<div><div class="who">{who}</div><span></span>Name<span></span>Signature<span></span>Date</div>'
        for who in ("Audited by", "Checked by", "Accepted by")) + "</div>"


def _origin(health: Health) -> str:
    """One line: what made this and from what."""
    facts = health["provenance"]
    named = [f"{name} {facts[name][:16]}" for name in ("manifest", "decisions", "model") if facts.get(name)]
    return safe(f"Made by Whetstone from {health['project']['name']}, ") + _named(health) + safe(
        f"{_day(health['audit']['generated'])}. SHA-256: " + "; ".join(named or ["none"]) + ".")


def _named(health: Health) -> str:
    """Which of several audits; nothing of the one that bears no name of its own."""
    name = health["audit"]["name"]
    return "" if name == "audit" else safe(f"audit {name}, ")


def _running(health: Health) -> str:
    """Page numbers and the data's digest at the foot of every printed page."""
    digest = "".join(c for c in str(health["provenance"].get("manifest", "")) if c in "0123456789abcdef")[:16]
    style = "font: 8pt sans-serif; color: #52625F;"
    return (f'@page {{ @bottom-left {{ content: "Label audit, data {digest}"; {style} }} '
            f'@bottom-right {{ content: counter(page) " / " counter(pages); {style} }} }}\n')


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%d %B %Y, %H:%M} UTC"
