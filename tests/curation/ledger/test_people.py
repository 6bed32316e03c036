"""Roles: what each may do where people sign in, held by the modules that write, whatever a page offers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from curation.audit.estimate.goal import new_goal, save_goal
from curation.audit.estimate.sampling_plan import Plan, save_plan
from curation.audit.reviews import batch_files
from curation.audit.reviews.batches import Served
from curation.exports.exporting import export
from curation.jobs import run_jobs
from curation.ledger import people
from curation.ledger.people import Person, Role, RoleError, may
from curation.ledger.verdict_tables import NewDraw
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.samples import saved_views
from curation.sources import roots
from curation.sources.importing import import_project
from engine.contract.config import RunConfig
from tests.fakes import make_project

SignIn = Callable[[str, Role | None], None]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "pets", size=2))


@pytest.fixture
def sign_in() -> Iterator[SignIn]:
    def as_person(name: str, role: Role | None) -> None:
        people.identify_by(lambda: Person(name, role))

    yield as_person
    people.identify_by(lambda: None)


def answer(who: str) -> Verdict:
    return Verdict(audit="audit", queue="find", sample_id="train-00001", verdict="given", given_label="cat", who=who)


def acts_of(project: Project, who: str) -> dict[str, tuple[Role, Callable[[], object]]]:
    """Name -> the role that an act needs, and the act."""
    ledger, log = project.ledger(), project.verdicts()
    return {
        "pin": ("reviewer", lambda: ledger.pin(["train-00001"], "train", who)),
        "exclude": ("reviewer", lambda: ledger.exclude(["train-00001"], who=who)),
        "relabel": ("reviewer", lambda: ledger.relabel(["train-00001"], None, who)),
        "undo": ("reviewer", lambda: ledger.undo(who)),
        "redo": ("reviewer", lambda: ledger.redo(who)),
        "settle": ("reviewer", lambda: ledger.pin(["train-00001"], None, who, origin="settlement")),
        "answer": ("reviewer", lambda: log.add([answer(who)])),
        "retract": ("reviewer", lambda: log.retract(1, who)),
        "draw": ("reviewer", lambda: log.add_draws("audit", [NewDraw("estimate-1", who, ("train-00001",))])),
        "release": ("owner", lambda: log.release_draws([1], who)),
        "save": ("reviewer", lambda: saved_views.save(project, "mine", {}, run="", who=who)),
        "delete": ("reviewer", lambda: saved_views.delete(project, "mine")),
        "batch": ("reviewer", lambda: batch_files.save(project, cast(Served, None))),
        "plan": ("reviewer", lambda: save_plan(project.path, cast(Plan, None))),
        "goal": ("reviewer", lambda: save_goal(project.path, "audit", new_goal(0.015))),
        "export": ("reviewer", lambda: export(project, None, "corrected-labels", "table")),
        "train": ("owner", lambda: run_jobs.submit(project.path, "first", RunConfig(), ["true"])),
        "import": ("owner", lambda: import_project("demo", project.path)),
        "browse": ("owner", roots.allowed_roots),
    }


@pytest.mark.parametrize("role", [None, "viewer", "reviewer"])
def test_an_act_above_ones_role_is_refused_in_one_line_and_leaves_nothing(project: Project, sign_in: SignIn,
                                                                          role: Role | None) -> None:
    acts = acts_of(project, "eve")
    sign_in("eve", role)
    before = sorted(path for path in project.path.rglob("*") if not path.name.startswith("ledger.sqlite"))
    for name, (needed, act) in acts.items():
        if not may(needed):
            words = f"is for the role {needed}; eve is {role or 'without one'}; ask an owner"
            with pytest.raises(RoleError, match=words) as said:
                act()
            assert "\n" not in str(said.value), name
    assert sorted(path for path in project.path.rglob("*") if not path.name.startswith("ledger.sqlite")) == before
    assert [newest.number for newest in project.newest] == [0, 0, 0]


def test_a_reviewer_acts_in_their_own_name_alone(project: Project, sign_in: SignIn) -> None:
    sign_in("ada", "reviewer")
    signed = ("pin", "exclude", "relabel", "undo", "redo", "settle", "answer", "retract")
    for name, (_, act) in acts_of(project, "bob").items():
        if name in signed:
            with pytest.raises(RoleError, match="is by who is signed in; got another name for ada"):
                act()
    assert project.ledger().pin(["train-00001"], "train", " ada ") == 1, "as it is written down"
    assert project.verdicts().add([answer("ada")]) == [1]
    project.ledger().relabel(["train-00002"], None, "bob", origin="audit")  # the audit catches up with bob's answers
    assert project.ledger().undo("ada") == 1


def test_what_another_decided_is_undone_by_an_owner(project: Project, sign_in: SignIn) -> None:
    sign_in("ada", "reviewer")
    project.ledger().pin(["train-00001"], "train", "ada")
    sign_in("bob", "reviewer")
    with pytest.raises(RoleError, match="undoing this batch is for the role owner; bob is reviewer"):
        project.ledger().undo_batch(1, "bob")
    sign_in("eve", "owner")
    assert project.ledger().undo_batch(1, "eve") == 1


def test_where_nobody_signs_in_all_may_do_all(project: Project) -> None:
    assert people.signed_in() is None and may("owner")
    assert project.ledger().pin(["train-00001"], "train", "anybody") == 1
