"""Answers that come twice, too late, at once or halfway: nothing is lost, nothing is done twice. See also
test_audit_batches."""

from pathlib import Path

import pandas as pd
import pytest

from curation.audit.reviews import answering
from curation.audit.reviews.answering import answer, take_back
from curation.audit.reviews.batches import Question, Served
from curation.audit.reviews.known_labels import decided_labels
from curation.ledger.verdicts import Verdict, VerdictError, VerdictLog
from curation.project import Project
from tests.curation.audit.reviews.test_reconcile import import_anew, state
from tests.fakes import make_project

A, B = "train-00003", "train-00006"  # given cat


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project.open(make_project(tmp_path / "p", num_train=40, size=4))


def served(who: str = "ada", audit: str = "audit") -> Served:
    questions = tuple(Question(sample_id=name, purpose="main", given_label="cat", suggested_label="dog")
                      for name in (A, B))
    return Served(audit=audit, queue="find", reviewer=who, number=1, run="r", model="m", questions=questions)


def said(project: Project) -> list[tuple[str, str]]:
    rows = project.verdicts().in_force()
    return list(zip(rows["who"], rows["verdict"], strict=True))


def test_acts_sent_again_by_a_new_session_leave_things_as_they_were(project: Project) -> None:
    def send() -> None:
        take_back(project, served(), A, key="undo")
        answer(project, served(), A, "neither", key="second")

    answer(project, served(), A, "suggested", key="first")
    send()
    num = len(project.verdicts().rows())
    send()
    answer(project, served(), A, "suggested", key="first")
    assert said(project) == [("ada", "neither")] and len(project.verdicts().rows()) == num
    assert state(project) == {A: (None, True)}


def killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_an_act_killed_halfway_is_done_to_its_end_when_it_comes_again(project: Project, monkeypatch) -> None:
    answer(project, served(), A, "suggested", key="first")
    with monkeypatch.context() as patch:
        patch.setattr(answering, "reconcile", killed)
        with pytest.raises(KeyboardInterrupt):
            answer(project, served(), A, "other", label="bird", key="second")
    assert state(project) == {A: ("dog", False)}
    answer(project, served(), A, "other", label="bird", key="second")
    assert state(project) == {A: ("bird", False)}
    with monkeypatch.context() as patch:
        patch.setattr(answering, "reconcile", killed)
        with pytest.raises(KeyboardInterrupt):
            take_back(project, served(), A, key="undo")
    take_back(project, served(), A, key="undo")
    assert state(project) == {A: ("dog", False)}, "the answer before holds again"


def test_an_answer_about_data_that_was_imported_anew_is_refused_before_it_is_logged(project: Project) -> None:
    answer(project, served(), B, "suggested")
    renewed = import_anew(project, {A: "bird", B: None})
    with pytest.raises(VerdictError, match="'train-00003', shown as given 'cat', is given 'bird' now") as caught:
        answer(renewed, served(), A, "given")
    assert "\n" not in str(caught.value)
    with pytest.raises(VerdictError, match="'train-00006', .* is no training sample any longer"):
        answer(renewed, served(), B, "given")
    assert said(renewed) == [("ada", "suggested")]
    assert take_back(renewed, served(), B) and said(renewed) == [], "what was said of a lost sample can be taken back"


def test_of_two_answers_at_once_both_count_whoever_wrote_the_label_last(project: Project, monkeypatch) -> None:
    real, calls = answering.reconcile, []

    def overtaken(*args) -> None:
        """Bob answers, and is done, between ada's reading of the verdicts and her writing of the label."""
        calls.append(args)
        if len(calls) == 1:
            answer(project, served("bob"), A, "given")
        real(*args)

    monkeypatch.setattr(answering, "reconcile", overtaken)
    answer(project, served("ada"), A, "suggested")
    assert sorted(said(project)) == [("ada", "suggested"), ("bob", "given")]
    assert state(project) == {}, "they disagree: no label is changed"
    assert len(calls) == 3, "ada's, bob's, and ada's again"


def test_an_earlier_answer_that_another_session_takes_back_at_once_is_no_obstacle(project, monkeypatch) -> None:
    first = answer(project, served(), A, "suggested")
    real = VerdictLog.retract

    def overtaken(log: VerdictLog, verdict_id: int, *more, **named) -> int:
        assert verdict_id == first
        real(log, verdict_id, "ada")
        return real(log, verdict_id, *more, **named)

    monkeypatch.setattr(VerdictLog, "retract", overtaken)
    answer(project, served(), A, "neither")
    assert said(project) == [("ada", "neither")] and state(project) == {A: (None, True)}


def test_an_answer_reads_the_verdicts_on_its_own_sample_alone(project: Project, monkeypatch) -> None:
    project.verdicts().add([Verdict(audit="audit", queue="find", sample_id=f"s{i}", verdict="given", given_label="cat",
                                    who="eve") for i in range(50)])
    sizes, real = [], answering.reconcile
    monkeypatch.setattr(answering, "reconcile",
                        lambda project, ledger, ids, verdicts, who: sizes.append(len(verdicts)) or
                        real(project, ledger, ids, verdicts, who))
    answer(project, served(), A, "suggested")
    assert sizes == [1] and state(project) == {A: ("dog", False)}


def test_an_act_opens_ledger_and_log_once(project: Project, monkeypatch) -> None:
    opened, ledger, verdicts = [], Project.ledger, Project.verdicts
    monkeypatch.setattr(Project, "ledger", lambda self: opened.append("ledger") or ledger(self))
    monkeypatch.setattr(Project, "verdicts", lambda self: opened.append("verdicts") or verdicts(self))
    for act in (lambda: answer(project, served(), A, "suggested"), lambda: answer(project, served(), A, "neither"),
                lambda: take_back(project, served(), A), lambda: take_back(project, served(), A)):
        opened.clear()
        act()
        assert sorted(opened) == ["ledger", "verdicts"]


def test_taking_back_what_was_never_said_does_nothing(project: Project) -> None:
    assert not take_back(project, served(), A)
    assert project.verdicts().rows().empty and project.ledger().revision == 0


def test_two_audits_on_one_sample_are_heard_together(project: Project) -> None:
    answer(project, served("ann", "first"), A, "suggested")
    answer(project, served("ben", "second"), A, "given")
    assert state(project) == {}
    answer(project, served("cid", "second"), A, "suggested")
    assert state(project) == {A: ("dog", False)}


def test_what_was_said_of_a_label_that_was_corrected_since_is_not_known_of_the_new_one(project: Project) -> None:
    for name in (A, B):
        answer(project, served(), name, "given")
    found = decided_labels(import_anew(project, {A: "bird"}))
    assert found["sample_id"].tolist() == [B] and found["is_known"].tolist() == [True]
    pd.testing.assert_frame_equal(decided_labels(import_anew(project, {A: "cat"})).set_index("sample_id").loc[[B]],
                                  found.set_index("sample_id"))
