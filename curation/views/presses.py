"""Presses: each act of a person is carried out once, whatever else has the page drawn anew at that moment.

Streamlit 1.67 loses one in four ways (read in its script_requests, script_runner, session_state and app_session):
what an `if st.button(...)` leads to is not reached where the draw that carries the press is cut; a callback is cut too,
at any st.* call or look at session_state, and then counts as done; the draw is cut before its callbacks where another
request is there already; and two presses of one button that wait together are merged to one. So a draw is cut only once
its callbacks are done, a second press waits for the first, and a button whose act needs what the page has read keeps
its press until that act is done. With runner.fastReruns (off in our config.toml) a draw is thrown away unbegun.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import RerunData, get_script_run_ctx, script_runner
from streamlit.runtime.scriptrunner_utils.script_requests import (
    ScriptRequest,
    ScriptRequests,
    ScriptRequestType,
    _has_active_trigger_value,
)
from streamlit.runtime.state.session_state import SessionState

from curation.views.turns import SECONDS_A_DRAW, TURNS
from curation.views.widgets import actions, state

_KEPT_KEY = "_kept_presses"


# -- kept until carried out


def kept_button(label: str, *, key: str, about: object = "", icon: str | None = None, disabled: bool = False,
                is_main: bool = True) -> bool:
    """A button whose press is kept through draws that are cut, until taken(key) ends: True as long as it is.

    about: what the act is about, such as the project's path; a press about something else is dropped, and said.
    """
    st.button(label, key=key, icon=icon, disabled=disabled, type="primary" if is_main else "secondary",
              on_click=_keep, args=(key, label, str(about)))
    kept = st.session_state.get(_KEPT_KEY, {})
    if key in kept and kept[key][1] != str(about):
        _say_dropped(kept.pop(key)[0])
    return key in kept


@contextmanager
def taken(key: str, is_long: bool = False) -> Iterator[None]:
    """Around the act of a kept button: at its end, or where it raises an error, the press is done with.

    Nothing cuts it, so have the page drawn anew only afterwards. is_long: it can be cut, by what the same person does
    next, and the next draw of the page begins it again.
    """
    context = get_script_run_ctx()
    requests = context.script_requests if context is not None else None
    held = requests if isinstance(requests, _Requests) else _Requests()
    held.is_held = not is_long
    try:
        yield
    except Exception:
        held.is_held = True
        drop(key)
        raise
    else:
        held.is_held = True
        drop(key)
    finally:
        held.is_held = False


def drop(key: str) -> None:
    """The press of a kept button, if there is one, is done with."""
    st.session_state.get(_KEPT_KEY, {}).pop(key, None)


def _keep(key: str, label: str, about: str) -> None:
    st.session_state.setdefault(_KEPT_KEY, {})[key] = (label, about)


def drop_unmet() -> None:
    """At the end of a whole draw: the presses of buttons that are not on the page any more are dropped, and said."""
    for label, _ in st.session_state.pop(_KEPT_KEY, {}).values():
        _say_dropped(label)
    actions.show_notices()


def _say_dropped(label: str) -> None:
    actions.say(f"The page changed before {label!r} was carried out, so nothing was done. Press it again.",
                is_error=True)


# -- in Streamlit


class _Requests(ScriptRequests):
    """What a session asks its script to do: a draw is cut only after its callbacks, and no press swallows another."""

    def __init__(self) -> None:
        super().__init__()
        self._later: list[RerunData] = []
        self._patience = SECONDS_A_DRAW
        self.is_held = False

    def _request_rerun_locked(self, new_data: RerunData) -> bool:
        if self._state is not ScriptRequestType.STOP and has_press(new_data):
            TURNS.press(self)
        is_waiting = self._state is ScriptRequestType.RERUN
        if is_waiting and (self._later or _pressed(self._rerun_data) & _pressed(new_data)):
            self._later.append(new_data)
            return True
        return super()._request_rerun_locked(new_data)

    def on_scriptrunner_yield(self) -> ScriptRequest | None:
        context = get_script_run_ctx(suppress_warning=True)
        if self.is_held or (context is not None and not context.has_script_started):
            return None
        self._tell_done()
        self._patience -= TURNS.let_go_first(self, self._patience)
        return self._with_next(super().on_scriptrunner_yield())

    def on_scriptrunner_ready(self) -> ScriptRequest:
        self._patience = SECONDS_A_DRAW
        self._tell_done()
        request = self._with_next(super().on_scriptrunner_ready())
        assert request is not None
        return request

    def request_stop(self) -> None:
        super().request_stop()
        TURNS.done(self)

    def _tell_done(self) -> None:
        """The callbacks of the draw in progress are done: where no other press waits, others' pages go on."""
        if TURNS.is_waiting(self):
            with self._lock:
                if self._state is not ScriptRequestType.RERUN or not has_press(self._rerun_data):
                    TURNS.done(self)

    def _with_next(self, request: ScriptRequest | None) -> ScriptRequest | None:
        """Once the request that waited is taken, the next one waits."""
        with self._lock:
            if request is not None and request.type is ScriptRequestType.RERUN and self._later:
                later, self._later = self._later, []
                for data in later:
                    self._request_rerun_locked(data)
        return request


def has_press(data: RerunData) -> bool:
    """Whether a request carries an act: of a button, or of one of our components."""
    return any(map(_has_active_trigger_value, data.widget_states.widgets if data.widget_states else ()))


def _pressed(data: RerunData) -> set[str]:
    """Ids of the buttons pressed in a request."""
    return {one.id for one in (data.widget_states.widgets if data.widget_states else ()) if one.trigger_value}


def install() -> None:
    """Have every session of this process keep its presses; once is enough, more do no harm."""
    vars(script_runner)["ScriptRequests"] = _Requests
    if SessionState._run_callback_and_record_rerun is not _noticed:
        SessionState._run_callback_and_record_rerun = _noticed  # type: ignore[method-assign]


_run_callback = SessionState._run_callback_and_record_rerun


def _noticed(self: SessionState, votes: Any, run: Callable[[], None]) -> None:
    """An error in a callback becomes a notice on the page, which is drawn whole, and no other callback is lost."""
    def calmly() -> None:
        try:
            run()
        except Exception as error:
            actions.say(state.failure_words(error), is_error=True)
            st.rerun()  # of the whole page, after the callbacks: one of a fragment may show no notice

    _run_callback(self, votes, calmly)


install()
