"""The live strip of Explore, Triage and Audit: the switch, how new what one sees is, and what the decisions did so far.

Pages ask `shown` which folder they show: the run's own, or its live one. Looks every second while it is on, and draws
the page anew when there is news; what is on screen keeps its place (curation.samples.held_order).
"""

import html
import time
from collections.abc import Hashable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.parquet as pq
import streamlit as st

from curation.jobs import live_jobs
from curation.jobs.live_jobs import LiveStatus
from curation.project import Project
from curation.samples import held_order
from curation.samples.held_order import Held
from curation.words import counted, signed
from engine.contract.live.live_dir import LiveDir, LiveEffect, LiveState
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

SECONDS = 1.0
SWITCH_KEY = "live.on"
MAX_ON = 200_000
"""Samples up to which it is on unless it is turned off: above, drawing a page anew takes seconds."""
_WANTED_KEY = "live.wanted"
"""Not the switch's own, which goes with it when a page has none."""
_FOLLOWED_KEY = "live.followed"
_DRAWN_KEY = "live.drawn"
_HELD_KEY = "live.held"
_TURNED_KEY = "live.turned"


# -- which folder is shown


def shown(project: Project, run: RunDir) -> RunDir:
    """The folder that a page shows of a run: its live one where that is on and there is one, else its own."""
    if not is_on(project, run):
        return run
    followed = st.session_state.get(_FOLLOWED_KEY)
    if followed is not None and followed != (project.path, run.name):
        live_jobs.stop(*followed)
    st.session_state[_FOLLOWED_KEY] = (project.path, run.name)
    live_jobs.look(project.path, run.name)
    live = LiveDir.of(project.path, run.name)
    state = live.read_state()
    st.session_state[_DRAWN_KEY] = _mark(live, state)
    return run if state is None else live


def is_on(project: Project, run: RunDir) -> bool:
    """Whether this session follows the run, or the run of this live folder."""
    base = run.base if isinstance(run, LiveDir) else run
    return live_jobs.can_follow(base) and _is_wanted(project)


def _is_wanted(project: Project) -> bool:
    return bool(st.session_state.get(_WANTED_KEY, _is_on_at_first(project)))


def _is_on_at_first(project: Project) -> bool:
    return int(pq.read_metadata(project.path / MANIFEST_NAME).num_rows) <= MAX_ON


def _mark(live: LiveDir, state: LiveState | None) -> tuple[str, float, float]:
    """Changes when there is something new to show."""
    return (str(live.path), 0.0, 0.0) if state is None else (str(live.path), state["judged"], state["trained"] or 0.0)


# -- the strip


def strip(project: Project, run: RunDir, has_queue: bool = True) -> None:
    """Draw it for a run, not its live folder; nothing where it cannot be followed. has_queue: whether the page has an
    order of which `held` keeps what was seen."""
    if live_jobs.can_follow(run):
        st.fragment(_strip, run_every=SECONDS if is_on(project, run) else None)(project, run, has_queue)


def _strip(project: Project, run: RunDir, has_queue: bool) -> None:
    if st.session_state.pop(_TURNED_KEY, False):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="live_strip"):
        st.toggle("Live", value=_is_wanted(project), key=SWITCH_KEY, on_change=_turn, args=(project, run),
                  width="content",
                  help="Each decision judges all samples anew, by heads that did not see them, and then trains the "
                       "run's method again, all in the background. What is on screen stays where it is; the queue "
                       "behind it is the new one. What the decisions did: plain heads trained with and without them.")
        if not is_on(project, run):
            st.html(_line("off: what you see is of the decisions that the run was trained under"), width="stretch")
            return
        status = live_jobs.look(project.path, run.name)
        live = LiveDir.of(project.path, run.name)
        state = live.read_state()
        if st.session_state.get(_DRAWN_KEY) != _mark(live, state):
            st.rerun()
        digest = _digest_of(stamp_of(project.decisions_path))
        effect = live.read_effect() if state else None
        if has_queue:
            st.button("Renew the order", icon=":material/vertical_align_top:", key="live.release", on_click=_release,
                      disabled=not any(held.is_held for held in _all_held().values()), width="content",
                      help="What you have seen keeps its place in the queue until you press this.")
        done = [name for name, of in (
            ("judged", state and state["decisions_digest"]), ("measured", effect and effect["decisions_digest"]),
            ("trained", state and (state["trained_digest"] if state["learns_weights"] else state["decisions_digest"])))
            if of == digest]
        st.html(_line(words(status, state, effect, digest, time.time()), state["judged"] if state else 0.0, done),
                width="stretch")


def _turn(project: Project, run: RunDir) -> None:
    wanted = st.session_state[_WANTED_KEY] = bool(st.session_state[SWITCH_KEY])
    st.session_state[_TURNED_KEY] = True
    if not wanted:
        live_jobs.stop(project.path, run.name)


def release() -> None:
    """Let go of what keeps its place in any view; for callbacks."""
    st.session_state.pop(_HELD_KEY, None)


def _release() -> None:
    release()
    st.session_state[_TURNED_KEY] = True


@lru_cache(maxsize=16)
def _digest_of(decisions: Stamp) -> str:
    return file_digest(Path(decisions[0].path))


def words(status: LiveStatus, state: LiveState | None, effect: LiveEffect | None, digest: str, now: float) -> str:
    """The strip's line. digest: of the decisions in force."""
    if status.state == "failed":
        return f"stopped: {status.error or 'its process ended without a word'}"
    if state is None:
        return "starting: reading the features takes some seconds"
    if state["decisions_digest"] != digest:
        return status.error if status.state == "waiting" and status.error else "judging all samples anew ..."
    if not state["num_decided"]:
        own = "; what you see is judged by heads on the features, not by the run itself (turn Live off for that)"
        return "nothing is decided yet" + (own if state["learns_weights"] else "")
    gained, measured = effect_words(effect, digest)
    is_behind = state["learns_weights"] and state["trained_digest"] != digest
    renewed = f"{_ago(now - state['judged'])}, of {counted(state['num_decided'], 'decision')}"
    return "; ".join(filter(None, (gained, renewed, "weights are being learned anew" * is_behind, measured)))


def effect_words(effect: LiveEffect | None, digest: str) -> tuple[str, str]:
    """What the decisions did so far, and how that was measured."""
    if effect is None:
        return "effect so far not measured yet", ""
    on = f"{effect['num_scored']:,} " + ("test pictures" if effect["scored_on"] == "test" else
                                         "training pictures that no decision is about, held out")
    older = "" if effect["decisions_digest"] == digest else ", before the last decisions"
    gain, low, high = effect["gain"], effect["low"], effect["high"]
    if gain is None or low is None or high is None:
        return "effect not measured", f"too few to score: {on}"
    return (f"effect so far {_points(gain)} points ({_points(low)} to {_points(high)})",
            f"accuracy of {effect['num_seeds']} paired seeds on {on}{older}")


def _points(share: float) -> str:
    return signed(100 * share).replace("-", "\u2212")


def _ago(seconds: float) -> str:
    if seconds < 60:
        return f"renewed {max(seconds, 0):.0f} s ago"
    return f"renewed {seconds / 60:.0f} min ago"


def _line(text: str, judged: float = 0.0, done: Sequence[str] = ()) -> str:
    """One line, however long the text: nothing below it moves. For those who wait: when the last judgement was, and
    what is of the decisions in force (judged, measured, trained)."""
    safe, said = html.escape(text, quote=True), " ".join(done)
    return f'<div class="live" data-judged="{judged}" data-done="{said}" title="{safe}">{safe}</div>'


# -- what keeps its place


def held(project: Project, run: RunDir, name: str, token: str, made_of: tuple[Hashable, ...] = ()) -> Held:
    """What keeps its place in the view `name`. token: which queue it is; made_of: revisions that its order comes from
    besides the run's judgement; without any, nothing is held where the run is not followed."""
    if not made_of and not is_on(project, run):
        return Held()
    now = held_order.looked(_all_held().get(name), f"{project.path}/{run.name}/{token}",
                            (*stamp_of(run.signals_path), *made_of))
    _all_held()[name] = now
    return now


def seen(name: str, rows: np.ndarray) -> None:
    """Rows that the view `name` shows now."""
    if name in _all_held():
        _all_held()[name] = held_order.shown(_all_held()[name], rows)


def _all_held() -> dict[str, Held]:
    return cast(dict[str, Held], st.session_state.setdefault(_HELD_KEY, {}))
