"""Presses go first: pages that are drawn wait for them, and never for long."""

import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from streamlit.proto.WidgetStates_pb2 import WidgetStates
from streamlit.runtime.scriptrunner import RerunData

from curation.views import presses, turns
from curation.views.turns import Turns


def request(*, pressed: bool = True, act: str = "") -> RerunData:
    states = WidgetStates()
    if act:
        states.widgets.add(id="gallery", json_trigger_value=act)
    else:
        states.widgets.add(id="undo", trigger_value=pressed)
    return RerunData(widget_states=states)


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """The process's turns, empty; a draw whose callbacks are done."""
    made = Turns()
    monkeypatch.setattr(presses, "TURNS", made)
    monkeypatch.setattr(presses, "get_script_run_ctx", lambda **_: SimpleNamespace(has_script_started=True))
    return made


def drawing() -> presses._Requests:
    """A session whose page is being drawn, with nothing asked of it."""
    one = presses._Requests()
    one.request_rerun(RerunData())
    one.on_scriptrunner_ready()
    return one


def in_thread(act: Callable[[], object]) -> tuple[threading.Thread, threading.Event]:
    done = threading.Event()
    thread = threading.Thread(target=lambda: (act(), done.set()), daemon=True)
    thread.start()
    return thread, done


def test_a_page_waits_until_the_press_of_another_is_carried_out(ours, monkeypatch):
    monkeypatch.setattr(turns, "SECONDS", 60.0)
    mine, other = drawing(), drawing()
    assert other.request_rerun(request())
    thread, went_on = in_thread(mine.on_scriptrunner_yield)
    assert not went_on.wait(0.05)
    assert other.on_scriptrunner_yield() is not None, "its own page is left for it, and does not wait"
    assert ours.is_waiting(other), "now its callbacks are called"
    assert other.on_scriptrunner_yield() is None, "at the first st.* call after them"
    thread.join(30)
    assert went_on.is_set() and not ours.is_waiting(other)


def test_a_page_that_waits_is_left_for_a_press_of_its_own(ours, monkeypatch):
    """Two people press while the pages of both wait for a third: all go on."""
    monkeypatch.setattr(turns, "SECONDS", 60.0)
    mine, other = drawing(), drawing()
    other.request_rerun(request())
    found = list[object]()
    thread, went_on = in_thread(lambda: found.append(mine.on_scriptrunner_yield()))
    assert not went_on.wait(0.05)
    mine.request_rerun(request())
    thread.join(30)
    assert found and found[0] is not None


def test_acts_of_components_count_and_timers_do_not(ours):
    one = drawing()
    one.request_rerun(request(pressed=False))
    one.request_rerun(RerunData())
    assert not ours.is_waiting(one)
    one.request_rerun(request(act='{"op": "exclude"}'))
    assert ours.is_waiting(one)


def test_a_press_of_a_session_that_ends_holds_up_no_page(ours):
    left, ended = drawing(), drawing()
    left.request_rerun(request())
    left.request_stop()
    assert ended.on_scriptrunner_ready() is not None and not ended.request_rerun(request()), "it takes no more"
    assert not ours.is_waiting(left) and not ours.is_waiting(ended)


def test_an_act_that_takes_long_holds_up_no_page(ours, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(turns.time, "monotonic", lambda: now[0])
    ours.press("export")
    now[0] += turns.SECONDS
    waited = list[float]()
    monkeypatch.setattr(ours._changed, "wait", lambda seconds: (waited.append(seconds), now.__setitem__(0, now[0] + 1)))
    ours.let_go_first("page")
    assert not waited
    ours.press("undo")
    ours.let_go_first("page")
    assert waited == [turns.SECONDS], "and then the page goes on"


def test_one_draw_waits_three_seconds_in_all_however_many_press(ours: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    ours.press("somebody")
    assert ours.let_go_first("a page", 0.0) == 0.0, "its patience is at an end"
    asked: list[float] = []

    def wait(of: object, most: float) -> float:
        asked.append(most)
        return min(1.0, most)

    monkeypatch.setattr(ours, "let_go_first", wait)
    page = drawing()
    for _ in range(4):
        page.on_scriptrunner_yield()
    assert asked == [3.0, 2.0, 1.0, 0.0]
    page.request_rerun(RerunData())
    page.on_scriptrunner_ready()
    page.on_scriptrunner_yield()
    assert asked[-1] == 3.0, "the next draw has its own"
