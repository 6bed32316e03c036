"""The loop's way back: training under the decisions in force, as an experiment, as one run, or as a quick preview.

Says what will differ and what it costs before it starts. Submits to curation.jobs.run_jobs; trains nothing.
"""

import re
from collections.abc import Callable

import pandas as pd
import streamlit as st

from curation.experiments import planning
from curation.experiments.planning import ExperimentPlan, PlannedRun
from curation.jobs import run_jobs
from curation.jobs.request import warm_start_of, weights_from_of
from curation.ledger.newest import Newest
from curation.project import Project
from curation.views.presses import kept_button, taken
from curation.views.runs import started
from curation.views.runs.run_table import duration_text
from curation.views.widgets import decided, state
from curation.words import counted
from engine.contract.config import RunConfig
from engine.contract.manifest import MANIFEST_NAME, file_digest, read_decisions
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

TRAIN_FOCUS_KEY = "train.focus"
"""The Train page shows the run named here."""
MODE_KEY = "decide.mode"
SIDE_KEYS = ("compare.a", "compare.b")
"""The Compare page's two runs."""
STARTED_KEY = "decide.started"
MODES = ("Measure the effect", "One run", "Quick preview")
KINDS: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "pinned to validation": lambda rows: rows["pin"] == "validation",
    "pinned to training": lambda rows: rows["pin"] == "train",
    "excluded": lambda rows: rows["excluded"].eq(True),
    "relabelled": lambda rows: rows["label"].notna(),
}
"""What a sample can be under the decisions; the same four words everywhere."""


def changes(then: pd.DataFrame, now: pd.DataFrame) -> list[str]:
    """What differs between two states of the decisions (DECISION_COLUMNS), a phrase a kind; none where nothing does."""
    found = []
    for kind, is_of in KINDS.items():
        old, new = (set(rows["sample_id"][is_of(rows).fillna(False).astype(bool)].tolist()) for rows in (then, now))
        found += [f"{len(more):,} {word} {kind}" for more, word in ((new - old, "more"), (old - new, "no longer"))
                  if more]
    both = then.dropna(subset=["label"]).merge(now.dropna(subset=["label"]), on="sample_id", suffixes=("_then", "_now"))
    num_other = int((both["label_then"] != both["label_now"]).sum())
    return [*found, *([f"{num_other:,} relabelled to another class than before"] if num_other else [])]


def free_name(project: Project, name: str) -> str:
    """'first-r2', 'first-r3', ...: the first that no run has; the number counts on from the run's own."""
    stem, _, digits = name.rpartition("-r")
    stem, number = (stem, int(digits)) if stem and re.fullmatch(r"[0-9]{1,4}", digits) else (name, 1)
    stem = stem[:56]
    while (project.path / "runs" / f"{stem}-r{number + 1}").exists():
        number += 1
    return f"{stem}-r{number + 1}"


def retrain_box(project: Project, run: RunDir | None) -> None:
    """Three ways to train under the decisions, what each would do, and the button that starts it."""
    st.header("Retrain under these decisions")
    started.show(STARTED_KEY, project, ("train", "Watch on Train"), ("compare", "See the effect on Compare"))
    if run is None or not run.exists():
        st.markdown("Retraining takes its settings from a run, and there is none yet." if run is None else
                    "The run has not started yet. Retrain once it has.")
        state.link_to("train", "Go to Train")
        return
    if (source := warm_start_of(run)) is not None:
        st.markdown(f"**{state.plain(run.name)}** is a preview of a few epochs. In the sidebar choose "
                    f"**{state.plain(source)}**, the run that it began from, or another full run.")
        return
    if (source := weights_from_of(run)) is not None:
        st.markdown(f"**{state.plain(run.name)}** trained under the weights and decisions of "
                    f"**{state.plain(source)}**. Choose that run in the sidebar, retrain it, then train under the new "
                    "weights (Train).")
        return
    config = RunConfig.of_run(run.read_config()["config"])
    if METHODS[config.method].is_imported:
        st.markdown(f"**{state.plain(run.name)}** holds predictions made elsewhere, so it cannot be trained again "
                    "here. Choose another run in the sidebar, or train one.")
        state.link_to("train", "Go to Train")
        return
    newest = project.newest.decisions
    now = decided.state_cached(project, newest)
    found = _changes(stamp_of(run.decisions_path, project.path / MANIFEST_NAME), newest, run, now)
    method = METHODS[config.method]
    what = f"{counted(config.epochs, 'epoch')}, seed {config.seed}" if method.is_trained else "nothing is trained"
    st.markdown(f"With the settings of **{state.plain(run.name)}** ({method.title}, {what}), under the decisions in "
                f"force now. Since {state.plain(run.name)} was made:")
    is_done = run.read_status()["state"] == "done"
    st.markdown("\n".join(f"- {phrase}" for phrase in found) or
                f"- no decision has changed{', so a run with this seed would come out the same' if is_done else ''}")
    if not method.is_trained:
        _one_run_form(project, run, config, now)
        st.caption("No seed changes this run. To measure what decisions do to a training, train a head on these "
                   "features (Train) and choose that run.")
        return
    mode = str(st.segmented_control("How", MODES, default=MODES[0], required=True, key=MODE_KEY, wrap=True,
                                    label_visibility="collapsed"))
    {MODES[0]: _experiment_form, MODES[1]: _one_run_form, MODES[2]: _preview_form}[mode](project, run, config, now)


@st.cache_resource(max_entries=4, show_spinner=False)
def _changes(files: Stamp, newest: Newest, _run: RunDir, _now: pd.DataFrame) -> list[str]:
    return changes(read_decisions(_run.decisions_path), _now)


# -- the three ways


def _experiment_form(project: Project, run: RunDir, config: RunConfig, now: pd.DataFrame) -> None:
    """k seeds with the decisions and without; what is there already is taken."""
    if now.empty:
        st.caption("Nothing to measure: no decision is in force.")
        return
    num_seeds = st.number_input("Seeds", 1, planning.MAX_SEEDS, 3, key="decide.seeds", width=130,
                                persist_state="session",
                                help="Each seed is trained twice, with the decisions in force and with none at all. "
                                     "Two or more give the difference an interval; one does not.")
    plan = planning.plan_experiment(project.path, run, int(num_seeds), now, _digest(project))
    st.markdown(state.plain(cost_words(plan)))
    if not plan.new:
        _compare_link(project, plan)
        return
    if kept_button(f"Start {counted(len(plan.new), 'run')}", key="decide.experiment", icon=":material/science:",
                   about=project.path):
        with taken("decide.experiment"):
            _remember(project, planning.start(project.path, plan, now))
        st.rerun()
    st.caption("Each pair shares a seed, so that Compare shows the effect of the decisions and not the luck of another "
               "start. The runs keep today's decisions, whatever is decided while they wait.")


def _one_run_form(project: Project, run: RunDir, config: RunConfig, now: pd.DataFrame) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input("Name of the new run", free_name(project, run.name), max_chars=60, width=220,
                             help="Letters, digits, '-', '_' and '.'.")
        if kept_button("Retrain", key="decide.retrain", icon=":material/model_training:", about=run.path):
            with taken("decide.retrain"):
                run_jobs.submit(project.path, name.strip(), config)
                _remember(project, [name.strip()])
            st.rerun()
    st.caption("One run with the same seed: good to look at, but no evidence of an effect.")


def _preview_form(project: Project, run: RunDir, config: RunConfig, now: pd.DataFrame) -> None:
    """A short training that goes on from the run's classifier: a look ahead that counts nowhere."""
    short, seconds = planning.preview_config(config, planning.num_usable(run, now)), planning.run_seconds(run)
    takes = "" if seconds is None else f" About {duration_text(seconds * short.epochs / config.epochs)}."
    st.markdown(f"{counted(short.epochs, 'epoch')} from the classifier of **{state.plain(run.name)}** "
                f"as it was last saved, under the decisions in force, at a fifth of the learning rate, with no "
                f"map.{takes}")
    if not list(run.checkpoint_dir.glob("state-*.pt")):
        st.caption("Not possible: the run has no checkpoint to begin from.")
        return
    if kept_button("Start a preview", key="decide.preview", icon=":material/bolt:", about=run.path):
        with taken("decide.preview"):
            name = preview_name(project, run.name)
            run_jobs.submit(project.path, name, short, warm_start=run.name)
            _remember(project, [name])
        st.rerun()
    st.caption("A preview measures nothing: it still remembers what it learned from the earlier labels. Every list "
               "says that it is one, and it counts in no effect and no interval.")


def preview_name(project: Project, name: str) -> str:
    """'preview-first', 'preview-first-2' and so on: the first that no run has."""
    stem, number = f"preview-{name.removeprefix('preview-')}"[:58], 1
    free = stem
    while (project.path / "runs" / free).exists():
        number += 1
        free = f"{stem}-{number}"
    return free


# -- in words


def cost_words(plan: ExperimentPlan) -> str:
    """'4 new runs, about 9 min each by the run before, 36 min in all; 2 are there already: ...'."""
    num = len(plan.new)
    words = counted(num, "new run") if num else "No new run"
    if num and plan.seconds is not None:
        one, every = duration_text(plan.seconds), duration_text(num * plan.seconds)
        words += f", about {one} each, as the run before took" + (f", {every} in all" if num > 1 else "")
    elif num:
        words += "; how long they take is not known yet"
    old = [run for run in plan.runs if run.state != "new"]
    if old:
        words += f"; {len(old)} of {len(plan.runs)} {'are' if len(old) > 1 else 'is'} there already: {_names(old)}"
    return words + "."


def _names(runs: list[PlannedRun]) -> str:
    """'first (without, seed 0), ...', at most four of them."""
    told = [f"{run.name} ({run.side}, seed {run.seed}{'' if run.state == 'done' else ', ' + run.state})"
            for run in runs[:4]]
    return ", ".join([*told, *([f"{len(runs) - 4} more"] if len(runs) > 4 else [])])


# -- parts


def _compare_link(project: Project, plan: ExperimentPlan) -> None:
    """All runs are there or on their way: where the answer is."""
    num_waiting = plan.num("running", "queued")
    if num_waiting:
        st.caption(f"{num_waiting} of {counted(len(plan.runs), 'run')} are still queued or running. Compare shows each "
                   "pair as it ends.")
    ended = [pair for pair in zip(plan.runs[::2], plan.runs[1::2], strict=True)
             if all(run.state == "done" for run in pair)]
    if ended:
        st.button("Show the effect on Compare", key="decide.show", icon=":material/compare_arrows:",
                  on_click=_show_effect, args=tuple(run.name for run in ended[0]))


def _show_effect(without: str, under: str) -> None:
    for key, name in zip(SIDE_KEYS, (without, under), strict=True):
        st.session_state[key] = name
    state.leave_for("compare")


def _remember(project: Project, names: list[str]) -> None:
    started.remember(STARTED_KEY, project, names)
    st.session_state[TRAIN_FOCUS_KEY] = names[0]


def _digest(project: Project) -> str:
    """The manifest's digest, read again when its file changes."""
    return _digest_of(stamp_of(project.path / MANIFEST_NAME), project)


@st.cache_resource(max_entries=8, show_spinner=False)
def _digest_of(stamp: Stamp, _project: Project) -> str:
    return file_digest(_project.path / MANIFEST_NAME)
