"""The Triage page: four queues of hard, wrong or odd samples, worked through by keyboard, most certain first.

The lanes come from curation.samples.triage; decisions go through actions. Knows nothing of maps and filters.
"""

import json

import numpy as np
import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from curation.jobs.request import method_of
from curation.project import Project
from curation.samples import held_order
from curation.samples.frames import SampleTable
from curation.samples.triage import LANES, Evidence, Rule
from curation.views.runs.learned import not_learned
from curation.views.sample import dialog
from curation.views.triage.queued import chances, evidence_cached, lanes_cached
from curation.views.triage.words import (
    FIRST,
    MEANINGS,
    TITLES,
    TO_DO,
    Lanes,
    not_queued_words,
    precision_words,
    rule_words,
)
from curation.views.widgets import actions, address, live, state
from curation.views.widgets.gallery import CHANGE_COLUMN, Act, gallery, text_of
from curation.views.widgets.layout import next_step, style
from curation.views.widgets.shown import shown_samples
from engine.contract.run_dir import RunDir

PAGE_SIZE = 60
GALLERY_KEY = "triage.gallery"
LANE_KEY = "triage.lane"
LANE_NAME, CLASSES_NAME, PAGE_NAME = "lane", "classes", "page"
"""In the address."""
_CLASSES_KEY = "triage.classes"
_PAGE_KEY = "triage.page"
_PAGE_OF_KEY = "triage.page_of"
_ORDER_KEY = "triage.order"
_NUM_DECIDED_KEY = "triage.num_decided"
SLIDERS = {
    "lead": ("Mislabeled: neighbours ahead by", 1.0),
    "doubt": ("Mislabeled: margin below 0 by", 0.5),
    "mixed": ("Mixed: no class has", 1.0),
    "torn": ("Ambiguous: share nearest to 0", 0.5),
    "odd": ("Out of place: share least sure", 0.5),
    "hard": ("Hard: share of lowest margins", 0.5),
}
"""Thresholds that can be moved: what the slider says, and its upper end."""


NO_EVIDENCE = ("{} has no held-out prediction of any sample beside its neighbours, so nothing speaks for or against a "
               "label. Choose another run in the sidebar, or train one that holds samples out; features made on the "
               "Data page judge every label.")
KEYED: tuple[actions.Op, ...] = ("confirm", "validation", "train", "exclude")
"""Decisions that take no label; buttons say their keys."""


def page() -> None:
    st.title("Triage")
    style()
    st.caption("Hard, wrong, or odd: the samples of the run in the sidebar that deserve a look, in four queues. A "
               "sample is in one at most and leaves it once you decide on it.")
    project = state.need_project()
    run = state.need_run(project)
    if not run.neighbours_path.exists():
        state.empty_state("This run has no neighbours yet.", "Triage compares a sample with its nearest neighbours. "
                          "They are made with the map, when the run has ended, unless the setting `embedding` turned "
                          "it off.", link=("train", "Go to Train"))
        return
    if said := not_learned(project, run):
        state.empty_state("There are no queues.", said, link=("train", "Go to Train"))
        return
    now = live.shown(project, run)
    live.strip(project, run)
    st.fragment(_body)(project, now)
    next_step("measure how many labels are wrong, or train under what you decided.",
              ("audit", "Audit the labels", None), ("decide", "Decide and retrain", None))


def _body(project: Project, run: RunDir) -> None:
    state.guarded(lambda: _draw(project, run))


def _draw(project: Project, run: RunDir) -> None:
    """Everything below the title, redrawn at each decision."""
    actions.take_changed()  # all that a decision changes here is in this fragment
    actions.show_notices()
    table = shown_samples(project, run)
    chooser, words = st.container(), st.container()
    rule, rule_text = _rule()
    lanes = lanes_cached(project, run, table, rule)
    with chooser:
        which = _chooser(lanes)
    with words:
        _words(project, run, lanes, which)
    rule_text.markdown(f"**{TITLES[which]}:** {rule_words(rule, method_of(run).is_trained)[which]}")
    above = st.container(horizontal=True, vertical_alignment="bottom")
    with above:
        chosen, is_chosen = _of_classes(project, table)
    queue = lanes.queues[which]
    token = f"{project.name}.{run.name}.{which}.{rule}"
    # What one person and what others decide moves the neighbours of other samples, too: what is seen stays in place.
    held = live.held(project, run, "triage", f"{token}.{chosen}",
                     (table.revision, project.newest.verdicts))
    rows = held_order.ordered(held, queue[is_chosen[queue]], evidence_cached(project, run, table).is_open & is_chosen)
    if held.is_held and not live.is_on(project, run):  # else the strip has the button
        above.button("Renew the order", icon=":material/vertical_align_top:", key="triage.release",
                     on_click=live.release, help="What you have seen keeps its place until you press this.")
    if not evidence_cached(project, run, table).is_judged.any():
        state.empty_state("There is no evidence to sort by.", NO_EVIDENCE.format(state.plain(run.name)),
                          link=("train", "Go to Train"))
        return
    if not len(rows):
        st.info(f"Nothing is left in this queue. {not_queued_words(lanes)}", icon=":material/done_all:")
        dialog.show_if_open(project, run, table)
        return
    _queue(project, run, table, rows, which, token)


def _of_classes(project: Project, table: SampleTable) -> tuple[list[str], np.ndarray]:
    """The classes chosen, and (N,) bool: rows whose current label is one of them; all where none is."""
    wanted = address.take(CLASSES_NAME)
    if wanted is not None:
        st.session_state[_CLASSES_KEY] = _classes_named(project, wanted)
    chosen = st.multiselect("Class", project.classes, key=_CLASSES_KEY, placeholder="any", width=260,
                            persist_state="session", help="Current label: given, or what a person made it.")
    address.put(CLASSES_NAME, json.dumps(chosen, ensure_ascii=False) if chosen else None)
    mask = table["current_label"].is_one_of(chosen) if chosen else np.ones(len(table), dtype=bool)
    return chosen, mask


def _classes_named(project: Project, text: str) -> list[str]:
    """The classes of the project that an address names in a JSON list; none where it is no such list."""
    try:
        named = json.loads(text)
    except (ValueError, RecursionError):
        return []
    return [name for name in project.classes if name in named] if isinstance(named, list) else []


# -- lanes and their rule


def _rule() -> tuple[Rule, DeltaGenerator]:
    """The rule as the sliders have it, and the place above them for saying it."""
    usual = Rule()
    with st.expander("The exact rule, and how to change it", icon=":material/tune:"):
        place, chosen = st.container(), {}
        with st.container(horizontal=True, gap="medium"):
            for name, (text, most) in SLIDERS.items():
                chosen[name] = st.slider(text, 0.0, most, getattr(usual, name), step=0.05, key=f"triage.rule.{name}",
                                         format="percent" if name != "doubt" else "%.2f", width=230,
                                         persist_state="session")
        st.button("Back to the usual rule", on_click=_reset, disabled=Rule(**chosen) == usual, key="triage.reset")
    return Rule(**chosen), place


def _reset() -> None:
    for name in SLIDERS:
        st.session_state[f"triage.rule.{name}"] = getattr(Rule(), name)


def _chooser(lanes: Lanes) -> int:
    wanted = address.take(LANE_NAME)
    if wanted in LANES:
        st.session_state[LANE_KEY] = LANES.index(str(wanted))
    which = st.segmented_control(
        "Queue", range(len(LANES)), default=0, required=True, key=LANE_KEY, label_visibility="collapsed",
        format_func=lambda i: f"{TITLES[i]} {len(lanes.queues[i]):,}", persist_state="session")
    address.put(LANE_NAME, LANES[int(which or 0)])
    return int(which or 0)


def _words(project: Project, run: RunDir, lanes: Lanes, which: int) -> None:
    """What is in this lane and what to do, how far the work is, how right the lane is where that is known."""
    st.markdown(f"{MEANINGS[which]} **{TO_DO[which]}**")
    num_done = decided_here(project, run, which)
    left = len(lanes.queues[which])
    progress = f"**{left:,} left, {num_done:,} decided here.** " if num_done + left else ""
    st.markdown(f"{progress}{precision_words(lanes.wrong[which], lanes.base)}")
    st.caption(f"{FIRST[which]} Under each picture: held-out margin, and the share of its neighbours with its label. "
               f"{not_queued_words(lanes)}")


def decided_here(project: Project, run: RunDir, which: int) -> int:
    """How many samples were decided on in this queue of this run, undone decisions left out."""
    batches = project.ledger().batches()
    is_here = (batches["view"] == view_of(which)) & (batches["run"] == run.name) & ~batches["is_undone"]
    return int(batches.loc[is_here & batches["kind"].isin(["pin", "exclude", "relabel"]), "num_samples"].sum())


def view_of(which: int) -> str:
    """How a decision taken in this queue is marked in the ledger."""
    return f"triage: {LANES[which]}"


# -- the queue


def _queue(project: Project, run: RunDir, table: SampleTable, rows: np.ndarray, which: int, token: str) -> None:
    wanted = address.take(PAGE_NAME) or ""
    if st.session_state.get(_PAGE_OF_KEY) != token:
        st.session_state[_PAGE_OF_KEY], st.session_state[_PAGE_KEY] = token, 1
    if wanted.isdecimal():
        st.session_state[_PAGE_KEY] = int(wanted[:9])
    num_pages = -(-len(rows) // PAGE_SIZE)
    number = min(max(1, int(st.session_state.get(_PAGE_KEY) or 1)), num_pages)
    st.session_state[_PAGE_KEY] = number
    address.put(PAGE_NAME, str(number) if number > 1 else None)
    shown = rows[(number - 1) * PAGE_SIZE:number * PAGE_SIZE]
    live.seen("triage", shown)
    part = table.rows(shown).assign(**{CHANGE_COLUMN: _card_words(evidence_cached(project, run, table), shown)})
    st.session_state[_ORDER_KEY] = list(part["sample_id"])

    def acted(act: Act) -> None:
        if act.op == "open":
            dialog.open_sample(act.ids[0], st.session_state.get(_ORDER_KEY, []))
        elif act.op in ("next", "previous"):
            _turn(1 if act.op == "next" else -1)
        elif actions.carry_out(project, act, view=view_of(which), run=run.name):
            _count()

    bar = st.container(horizontal=True, vertical_alignment="center", gap="small", key="triage_bar")
    # A decision lets go of the marks: the next one must not fall on these samples again.
    marked = gallery(project, part, acted, key=GALLERY_KEY,
                     token=f"{token}.{st.session_state.get(_NUM_DECIDED_KEY, 0)}", size=112,
                     value_column=CHANGE_COLUMN, focus=st.session_state.get(dialog.FOCUS_KEY),
                     has_previous=number > 1, has_next=number < num_pages, takes_keys=True,
                     chances=chances(project, run, shown, f"{token}.{number}"))
    with bar:
        _buttons(project, run, part, marked, which, number, num_pages)
    dialog.show_if_open(project, run, table)


def _card_words(evidence: Evidence, rows: np.ndarray) -> list[str]:
    """Held-out margin and agreement of each row, short enough for a card."""
    return [f"{margin:z.2f}, {share:.0%} alike" for margin, share in
            zip(evidence.margin[rows], evidence.agreement[rows], strict=True)]


def _buttons(project: Project, run: RunDir, part: pd.DataFrame, marked: list[str], which: int, number: int,
             num_pages: int) -> None:
    """The keys' decisions for the mouse, and all marked to their suggestions."""
    pairs = suggestions(part, marked)
    for op in KEYED:
        st.button(actions.VERBS[op].format("marked"), key=f"triage.do.{op}", disabled=not marked, on_click=_decide,
                  args=(project, run, which, op, marked), help=f"Key: {actions.SHORTCUTS[op]}")
    num = sum(map(len, pairs.values()))
    st.button(f"Relabel {num} to suggestion" if num else "Relabel to suggestion", key="triage.do.suggested",
              disabled=not num, on_click=_relabel, args=(project, run, which, pairs), type="primary",
              help="Each marked sample to the class that held-out predictions name; those without one stay. One "
                   "decision a class. For another class press r.")
    st.button("Undo", key="triage.undo", icon=":material/undo:", on_click=actions.undo, args=(project,),
              help=f"{actions.undo_words(project)} Key: u")
    st.button("Redo", key="triage.redo", icon=":material/redo:", on_click=actions.redo, args=(project,),
              help="Brings back what you undid last. Key: Shift+u")
    if num_pages > 1:
        st.button("Previous", key="triage.previous", disabled=number == 1, on_click=_turn, args=(-1,), help="Key: p")
        st.button("Next", key="triage.next", disabled=number == num_pages, on_click=_turn, args=(1,), help="Key: n")
        st.caption(f"page {number:,} of {num_pages:,}", width="content")


def suggestions(part: pd.DataFrame, ids: list[str]) -> dict[str, list[str]]:
    """Suggested class -> which of these ids to give it; those without another class than their own left out."""
    found: dict[str, list[str]] = {}
    wanted = set(ids)
    for row in part[part["sample_id"].isin(wanted)].to_dict("records"):
        suggested = text_of(row.get("suggested_label"))
        if suggested and suggested != text_of(row.get("current_label")):
            found.setdefault(suggested, []).append(str(row["sample_id"]))
    return found


def _turn(step: int) -> None:
    st.session_state[_PAGE_KEY] = int(st.session_state.get(_PAGE_KEY) or 1) + step


def _decide(project: Project, run: RunDir, which: int, op: actions.Op, ids: list[str],
            label: str | None = None) -> None:
    if actions.take(project, op, ids, label=label, view=view_of(which), run=run.name):
        _count()


def _count() -> None:
    st.session_state[_NUM_DECIDED_KEY] = st.session_state.get(_NUM_DECIDED_KEY, 0) + 1


def _relabel(project: Project, run: RunDir, which: int, pairs: dict[str, list[str]]) -> None:
    for label, ids in pairs.items():
        _decide(project, run, which, "relabel", ids, label)
