"""A gallery's acts become decisions in the ledger, with who, why, view and run, and words that say so."""

from pathlib import Path
from typing import get_args

import pytest
import streamlit as st

from curation.audit.reviews.confirming import confirmed_ids
from curation.audit.reviews.reconcile import reconcile
from curation.ledger.verdicts import Verdict
from curation.project import Project
from curation.views.widgets import actions, gallery
from curation.views.widgets.gallery import Act
from tests.fakes import make_project

IDS = ("train-00001", "train-00002")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(st, "session_state", {"person": "ada"})
    return Project.open(make_project(tmp_path / "pets", size=4))


def said() -> list[tuple[str, bool]]:
    """Notices that the next page would show."""
    return st.session_state.pop("_notices", [])


@pytest.mark.parametrize(("act", "kind", "value", "words"), [
    (Act("validation", IDS), "pin", "validation", "Pinned 2 samples to validation. The next run holds them out"),
    (Act("train", IDS[:1]), "pin", "train", "Pinned 1 sample to training. The next run trains on them"),
    (Act("exclude", IDS), "exclude", "excluded", "Excluded 2 samples. The next run leaves them out"),
    (Act("relabel", IDS, "dog"), "relabel", "dog", "Relabelled 2 samples to dog. The next run uses the new label.")])
def test_an_act_is_one_decision_with_who_why_view_and_run(project, act, kind, value, words) -> None:
    assert actions.carry_out(project, act, view="here", run="first", why=" because ")
    (batch,) = project.ledger().batches().to_dict("records")
    assert {name: batch[name] for name in ("kind", "value", "num_samples", "who", "why", "view", "run")} == {
        "kind": kind, "value": value, "num_samples": len(act.ids), "who": "ada", "why": "because", "view": "here",
        "run": "first"}
    (notice,) = said()
    assert notice[0].startswith(words) and not notice[1] and actions.take_changed()


def test_undo_and_redo_step_and_are_no_decision(project: Project) -> None:
    actions.carry_out(project, Act("exclude", IDS), view="here")
    said()
    for op, num_excluded, words in (("undo", 0, "Undone: exclude 2 samples, by ada."),
                                    ("redo", 2, "Done again: exclude 2 samples, by ada.")):
        assert not actions.carry_out(project, Act(op, ()), view="here")
        assert project.ledger().state()["excluded"].sum() == num_excluded
        assert said() == [(words, False)]
    assert not actions.carry_out(project, Act("redo", ()), view="here")
    assert said() == [("There is nothing of yours to redo. Another person's decision: Decide, All decisions.", False)]


def test_the_key_for_a_right_label_logs_a_verdict_and_its_undo_takes_it_back(project) -> None:
    assert actions.carry_out(project, Act("confirm", IDS), view="here", run="first")
    assert confirmed_ids(project) == list(IDS) and project.ledger().batches().empty
    ((notice, is_error),) = said()
    assert notice.startswith("The label is right: 2 samples. They leave Triage and this audit") and not is_error
    actions.carry_out(project, Act("exclude", IDS[:1]), view="here")
    for num_excluded, num_confirmed in ((0, 2), (0, 0)):  # the newest of one's own acts first, whichever it was
        actions.carry_out(project, Act("undo", ()), view="here")
        assert project.ledger().state()["excluded"].sum() == num_excluded
        assert len(confirmed_ids(project)) == num_confirmed


def test_the_help_of_undo_names_what_undo_then_takes_back(project: Project) -> None:
    none = "There is nothing of yours to undo."
    assert actions.undo_words(project) == none
    actions.carry_out(project, Act("confirm", IDS), view="here")
    actions.carry_out(project, Act("exclude", IDS[:1]), view="here")
    st.session_state["person"] = "bob"
    assert actions.undo_words(project) == none
    actions.carry_out(project, Act("relabel", IDS, "dog"), view="here")
    assert actions.undo_words(project) == "Takes back your own newest decision: relabel 2 samples to dog."
    st.session_state["person"] = "ada"
    for what in ("exclude 1 sample", "that the label of 2 samples is right"):
        assert actions.undo_words(project) == f"Takes back your own newest decision: {what}."
        actions.carry_out(project, Act("undo", ()), view="here")
    assert actions.undo_words(project) == none


def test_undo_takes_back_a_confirm_with_the_exclusion_that_it_lifted(project: Project) -> None:
    """Two people at one sample: what followed from the confirm is no newer act of bob's."""
    project.verdicts().add([Verdict(audit="audit", queue="find", sample_id=IDS[0], verdict="neither", who="ada",
                                    given_label="dog")])
    reconcile(project, project.ledger(), IDS, project.verdicts().in_force(), "ada")
    st.session_state["person"] = "bob"
    actions.carry_out(project, Act("confirm", IDS[:1]), view="here")
    assert not project.ledger().state()["excluded"].any(), "they disagree: the audit excludes it no more"
    said()
    for op, words, num_excluded, num_verdicts in (("undo", "Undone", 1, 1), ("redo", "Done again", 0, 2)):
        actions.carry_out(project, Act(op, ()), view="here")
        assert said() == [(f"{words}: that the label of 1 sample is right.", False)]
        assert project.ledger().state()["excluded"].sum() == num_excluded
        assert len(project.verdicts().in_force()) == num_verdicts
    for words in ("Undone", "There is nothing of yours to undo."):
        actions.carry_out(project, Act("undo", ()), view="here")
        assert said()[0][0].startswith(words)
    assert project.verdicts().in_force()["who"].tolist() == ["ada"], "what she said stands"


def test_acts_about_the_page_do_nothing_to_the_ledger(project: Project) -> None:
    for op in sorted({*gallery.OPS} - {*get_args(actions.Op), "undo", "redo"}):
        assert not actions.carry_out(project, Act(op, IDS[:1]), view="here")
    assert project.ledger().batches().empty and not said() and not actions.take_changed()


def test_a_refusal_is_said_and_no_decision(project: Project) -> None:
    assert not actions.carry_out(project, Act("relabel", IDS, "emu"), view="here")
    ((words, is_error),) = said()
    assert is_error and "emu" in words and project.ledger().batches().empty
