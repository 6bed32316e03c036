"""A project whose every name and reason is an attack, looked at on every page of the real app in a real browser."""

from pathlib import Path
from urllib.parse import urlsplit

import pandas as pd
import pytest

from curation.project import Project
from curation.views.routes.pages import PAGES
from engine.contract.manifest import read_info, read_manifest
from tests.browser.driver import Browser
from tests.fakes import make_project, make_run, write_manifest

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PAYLOADS = ("<img src=x onerror=window.pwned=1>", "<script>window.pwned=1</script>",
            "![seen](http://198.51.100.7/beacon.png)", "[press](javascript:window.pwned=1)",
            "</style></script><svg onload=window.pwned=1>", r"$\href{javascript:window.pwned=1}{x}$",
            "'};window.pwned=1;//", "{{7*7}}${7*7}")
"""HTML, a script, a picture elsewhere, a link that runs, an end of our own markup, TeX, JavaScript, templates."""
STATE = """() => ({
  pwned: window.pwned === undefined ? null : window.pwned,
  links: [...document.querySelectorAll('a[href], form[action]')]
    .map((node) => node.getAttribute('href') || node.getAttribute('action'))
    .filter((to) => /^\\s*(javascript|data|vbscript):/i.test(to)),
  made: document.querySelectorAll('[onerror], [onload], img[src="x"]').length,
})"""

HARMLESS = {"pwned": None, "links": [], "made": 0}


def hostile_project(folder: Path) -> Project:
    """Classes, groups, columns, cells, file names and people's words are payloads."""
    made = make_project(folder, classes=PAYLOADS)
    rows, info = read_manifest(made), read_info(made)
    for i, (idx, path) in enumerate(rows["path"].head(len(PAYLOADS)).items()):
        new = f"train/{PAYLOADS[i].replace('/', '_')}.png"
        (made / info.root / path).rename(made / info.root / new)
        rows.loc[idx, "path"] = new
    cells = pd.Series([PAYLOADS[i % len(PAYLOADS)] for i in range(len(rows))])
    rows = rows.assign(group=cells, **{name: cells for name in PAYLOADS[:3]})
    write_manifest(made, rows, info.classes, info.root)
    project = Project.open(made)
    make_run(made)
    ids = list(rows["sample_id"])
    for i, words in enumerate(PAYLOADS):
        project.ledger().pin([ids[i]], "validation", who=words, why=words)
        project.ledger().exclude([ids[20 + i]], who=words, why=words)
        project.ledger().relabel([ids[40 + i]], PAYLOADS[(i + 3) % len(PAYLOADS)], who=words, why=words)
    make_run(made, "second", seed=1)
    return project


@pytest.mark.timeout(300)
def test_nothing_of_a_hostile_project_runs_or_calls_home(browser: Browser, server: tuple[str, Path]) -> None:
    project = hostile_project(server[1] / "pets")
    first = read_manifest(project.path)["sample_id"].iloc[0]
    elsewhere: list[str] = []
    browser.page.on("request", lambda request: elsewhere.append(request.url)
                    if urlsplit(request.url).scheme in ("http", "https", "ws", "wss")
                    and urlsplit(request.url).netloc != urlsplit(server[0]).netloc else None)
    browser.page.on("dialog", lambda dialog: elsewhere.append(f"dialog {dialog.message}"))
    browser.open("?project=pets&run=first")
    for page in PAGES:
        browser.go_to(page)
        assert browser.page.evaluate(STATE) == HARMLESS, f"on {page}"
    browser.open(f"explore?project=pets&run=first&sample={first}")
    assert browser.page.evaluate(STATE) == HARMLESS, "on an opened sample"
    browser.see("window.pwned", within='[role="dialog"]')
    assert not elsewhere, "no request leaves the app's own address"
    assert not browser.errors, "the browser's console stays free of errors"
