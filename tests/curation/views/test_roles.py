"""Buttons above a person's role are disabled and say why, on every page and in one place."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from curation.jobs import live_jobs
from curation.ledger import people
from curation.ledger.people import Person
from curation.project import Project
from curation.views.decide.page import BATCHES_KEY
from curation.views.roles import role_needed
from curation.views.widgets.conflicts import TABLE_KEY
from engine.contract.live.live_dir import LiveDir
from tests import ROOT, views
from tests.curation.views.test_triage import gallery
from tests.fakes import make_project, make_run

ONLY_LOOK = {
    "sample.step*", "sample.more_like", "pin.look", "pin.cancel", "decide.show", "export.corrections", "next.*",
    "audit.cell.explore", "audit.came.*.explore", "audit.came.open",
    "audit.cell.find", "audit.cell.reviewed", "audit.duplicates.explore", "audit.settle_back",
    "audit.next.*.*", "compare.decide", "sign_in.*", "sign_out",
    "import.up", "import.to.*", "import.entry.*", "import.preview_it",
    "features.go.*.*", "explore.clear_region", "explore.remove.*", "explore.clear", "explore.invert",
    "explore.view_do_open", "explore.open_row", "explore.more_like", "explore.keep_marked", "explore.cancel",
    "triage.release", "triage.reset", "triage.previous", "triage.next", "decide.settle.open", "live.release",
    "likeness.stop", "*.show", "*.train", "*"}
"""Keys of the buttons that change nothing but the page, as they stand in the source, * for what a page fills in; *
alone: a key that a caller gives."""


def button_keys() -> dict[str, str]:
    """Key of every button of the pages, as in ONLY_LOOK -> where it stands."""
    found = {}
    for path in sorted((ROOT / "curation" / "views").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and name in ("button", "form_submit_button", "kept_button"):
                keys = [each.value for each in node.keywords if each.arg == "key"]
                found[_text(keys[0], module) if keys else "*"] = f"{module} line {node.lineno}"
    return found


def _text(node: ast.expr, module: str) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, module) for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left, module) + _text(node.right, module)
    if isinstance(node, ast.FormattedValue):
        return _text(node.value, module)
    if not isinstance(node, ast.Name):
        return "*"
    return str(getattr(import_module(f"curation.views.{module.removeprefix('curation.views.')}"), node.id, "*"))


def test_every_button_needs_a_role_or_is_known_to_look_only() -> None:
    keys = button_keys()
    unknown = {key: where for key, where in keys.items()
               if key not in ONLY_LOOK and role_needed(key.replace("sample.*", "sample.train")) is None}
    assert len(keys) > 60 and unknown == {}
    assert [key for key in ONLY_LOOK if role_needed(key)] == []


@pytest.fixture
def project(home: Path) -> Project:
    path = make_project(home / "pets")
    make_run(path, "first")
    opened = Project.open(path)
    opened.ledger().pin(["train-00001"], to="validation", who="eve")
    return opened


@pytest.fixture
def viewer() -> Iterator[None]:
    people.identify_by(lambda: Person("eve", "viewer"))
    yield
    people.identify_by(lambda: None)


@pytest.mark.parametrize(("page", "key", "role"), [
    ("decide", "decide.undo", "reviewer"), ("decide", "decide.by_ids", "reviewer"),
    ("decide", "decide.experiment", "owner"), ("export", "export.write", "reviewer")])
def test_a_viewers_buttons_are_disabled_and_say_why(project: Project, home: Path, viewer: None, page: str, key: str,
                                                    role: str) -> None:
    app = views.start(home, page, project="pets", run="first")
    assert app.button(key=key).disabled
    assert app.button(key=key).help == f"this is for the role {role}; eve is viewer; ask an owner"
    people.identify_by(lambda: None)
    assert not views.rerun(app).button(key=key).disabled


def test_a_galleries_keys_that_decide_are_off_for_a_viewer(project: Project, home: Path, viewer: None) -> None:
    app = views.start(home, "explore", project="pets", run="first")
    assert gallery(app)["refusal"] == "deciding is for the role reviewer; eve is viewer; ask an owner"
    people.identify_by(lambda: None)
    assert gallery(views.rerun(app))["refusal"] == ""


def test_anothers_decision_is_undone_by_an_owner_alone_and_the_button_says_so(project: Project, home: Path) -> None:
    """The decision listed first is bob's, the other one eve's."""
    project.ledger().pin(["train-00001"], to="train", who="bob")
    people.identify_by(lambda: Person("eve", "reviewer"))
    try:
        app = views.start(home, "decide", project="pets", run="first")
        said = "undoing this decision is for the role owner; eve is reviewer; ask an owner"
        for row, reason in ((0, said), (1, "")):
            button = views.select(app, BATCHES_KEY, rows=[row]).button(key="decide.undo_batch")
            assert (button.disabled, button.help) == (bool(reason), reason)
        views.select(app, f"{TABLE_KEY}.0", rows=[0])
        first, second = (app.button(key=f"decide.settle.undo.{side}") for side in ("first", "second"))
        assert not first.disabled and second.disabled and second.help == said
        people.identify_by(lambda: Person("eve", "owner"))
        assert not views.rerun(app).button(key="decide.settle.undo.second").disabled
    finally:
        people.identify_by(lambda: None)


def test_a_viewer_follows_no_run_live_and_stops_nobody_elses(project: Project, viewer: None) -> None:
    said = live_jobs.look(project.path, "first", ["false"])
    assert said.state == "failed" and "following a run live is for the role reviewer; eve is viewer" in said.error
    assert not LiveDir.of(project.path, "first").path.exists()
    live_jobs.stop(project.path, "first")
