"""The Compare page: two runs side by side, what changed and what that rests on. Figures: curation.experiments."""

from collections.abc import Hashable
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from curation.audit.reviews.blinding import is_blind
from curation.experiments import compare
from curation.jobs.request import method_of, warm_start_of
from curation.project import Project
from curation.views import scored
from curation.views.compare.effect import show_curated, show_effect, title_of
from curation.views.compare.evidence import evidence, why_no_figure
from curation.views.compare.more_seeds import STARTED_KEY, offer_seeds
from curation.views.damaged import show_parts
from curation.views.explore.linking import doubt_line
from curation.views.runs import started
from curation.views.sample import dialog
from curation.views.widgets import actions, state
from curation.views.widgets.accuracy import accuracy_help, accuracy_name, facts_of, leak_line
from curation.views.widgets.confusion import confusion_counts, heat_map, shown_classes
from curation.views.widgets.gallery import Act, gallery
from curation.views.widgets.layout import side_by_side, style, table_height
from curation.views.widgets.shown import shown_samples
from curation.words import counted, signed
from engine.contract.manifest import read_decisions
from engine.contract.run_dir import RunDir
from engine.contract.stamps import Stamp, stamp_of

CHANGES = {"role changed": "role_changed", "weight changed most": "weight_change",
           "margin changed most": "margin_change"}
MAX_PICTURES = 60
MAX_ROWS = 1_000
FIGURE_WORDS = {"num_routed": "in validation", "num_withheld": "withheld by the guard",
                "guard_wrong_share": "wrong labels in validation", "unguarded_wrong_share": "that without the guard"}


def page() -> None:
    st.title("Compare")
    style()
    st.caption("Two runs side by side: did B do better than A, what differs between them, and which samples changed?")
    project = state.need_project()
    runs = [run for run in project.runs() if run.signals_path.exists()]
    if len(runs) < 2:
        state.empty_state(f"Comparing takes two runs with results; this project has {len(runs) or 'none'}.",
                          "Start another on the Train page, or retrain under your decisions on the Decide page.",
                          link=("decide", "Go to Decide") if runs else ("train", "Go to Train"))
        return
    a, b = _choose(runs)
    if a.name == b.name:
        st.info("These are the same run. Choose another for one side.", icon=":material/info:")
        return
    actions.take_changed()
    started.show(STARTED_KEY, project, ("train", "Watch on Train"))
    is_experiment = show_effect(project, a, b)
    _headline(project, a, b, is_experiment)
    for title, part in (("Classes", _classes), ("What differs", _differences), ("Samples that changed", _samples),
                        ("Sets that were chosen, no measure of quality", _curated)):
        st.header(title)
        state.guarded(partial(part, project, a, b))


def _choose(runs: list[RunDir]) -> tuple[RunDir, RunDir]:
    """Widgets for both sides; at first the newest run that has ended and the one it most likely came from."""
    names = {run.name: run for run in runs}
    whole = [run for run in runs if warm_start_of(run) is None]  # a preview is compared when asked for
    ended = [run for run in whole if run.read_status()["state"] == "done"]
    newest, *earlier = ended if len(ended) > 1 else runs
    for key in ("compare.a", "compare.b"):
        if st.session_state.get(key) not in names:
            st.session_state.pop(key, None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        before = st.selectbox("A, before", list(names), index=list(names).index(parent_of(newest, earlier).name),
                              key="compare.a", width=300, help="Differences below are B minus A.",
                              format_func=lambda name: title_of(names[name]))
        after = st.selectbox("B, after", list(names), index=list(names).index(newest.name), key="compare.b", width=300,
                             format_func=lambda name: title_of(names[name]))
    return names[str(before)], names[str(after)]


def parent_of(run: RunDir, earlier: list[RunDir]) -> RunDir:
    """The newest of the earlier runs with the same settings (a retrain keeps them), else the one just before."""
    return next((other for other in earlier if compare.setting_differences(run, other).empty), earlier[0])


# -- figures


def _headline(project: Project, a: RunDir, b: RunDir, is_experiment: bool) -> None:
    """Accuracy of both on what nobody curated, with its size and its limits. An experiment has said its interval."""
    table = compare.accuracy_table(a, b)
    if table.empty and not is_experiment:
        st.info(state.plain(why_no_figure(project, a, b)), icon=":material/info:")
    seen = table[table["is_seen"].astype(bool)]
    if is_experiment:
        st.caption(state.plain(f"{a.name} and {b.name} by themselves, one pair of several or the only one:"))
    with st.container(horizontal=True, gap="medium"):
        for row in table[~table["is_seen"].astype(bool)].sort_values("split", ascending=False).to_dict("records"):
            st.metric(f"{_title(project, row['split'])}, A to B, on {counted(row['num_samples'], 'sample')}",
                      f"{row['accuracy_a']:.1%} \u2192 {row['accuracy_b']:.1%}",
                      f"{signed(row['difference'] * 100)} points", width="content", delta_arrow="off",
                      delta_color="off",  # two runs by themselves prove neither gain nor loss
                      help="Share of samples predicted right, of those that neither run trained on and no decision is "
                           f"about. {accuracy_help(project, row['split'])}")
    for row in seen.to_dict("records"):
        st.warning(f"{_title(project, row['split'])} is no figure of quality here, since a run used that split for "
                   f"validation: A {row['accuracy_a']:.1%}, B {row['accuracy_b']:.1%} on "
                   f"{counted(row['num_samples'], 'sample')}.", icon=":material/warning:")
    show_parts(a, b)
    if not table.empty:
        leak_line(project)
    lines = compare.cautions(a, b) if is_experiment else evidence(project, a, b)
    if not table.empty and lines:
        st.markdown("\n".join(f"- {state.plain(line)}" for line in lines))
    if not table.empty and not is_experiment:
        offer_seeds(project, a, b)
    worst = compare.worst_groups(a, b)
    if len(worst):
        st.markdown("\n".join(f"- {state.plain(_worst_words(row))}" for row in worst.to_dict("records")))


def _title(project: Project, split: str) -> str:
    name = accuracy_name(project, split)
    return name[0].upper() + name[1:]


def _worst_words(row: dict[Hashable, Any]) -> str:
    kind = "class" if row["kind"] == "label" else "group"
    return (f"Worst {kind} on {row['split']}: A {row['group_a']} {row['accuracy_a']:.1%}, B {row['group_b']} "
            f"{row['accuracy_b']:.1%}.")


def _classes(project: Project, a: RunDir, b: RunDir) -> None:
    """Accuracy by class and the confusion matrix."""
    table = compare.accuracy_table(a, b, by="label")
    splits = [split for split in ("test", "clean") if (table["split"] == split).any()]
    if not splits:
        st.caption("They take the predictions of both runs." if facts_of(project).can_measure else
                   "There is no test or clean split to count them on.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = str(st.segmented_control("Split", splits, default=splits[0], required=True, key="compare.split"))
        which = str(st.segmented_control("Confusion of", ("difference", "A", "B"), default="difference", required=True,
                                         key="compare.which"))
    left, right = side_by_side("compare_classes", [2, 3])
    with left:
        part = table[table["split"] == split].sort_values("difference", kind="stable")
        percent = {name: st.column_config.NumberColumn(title, format="percent") for name, title in
                   (("accuracy_a", "A"), ("accuracy_b", "B"))}
        shown = part.assign(difference=(part["difference"] * 100).round(1))
        st.dataframe(shown[["label", "num_samples", "accuracy_a", "accuracy_b", "difference"]], hide_index=True,
                     height=table_height(len(shown)), column_config={
                         **percent, "label": "class", "num_samples": "samples",
                         "difference": st.column_config.NumberColumn("points", format="%+.1f")})
        st.caption("The classes that lost most come first. Where a class has few samples, chance alone makes large "
                   "differences.")
    with right:
        before, after = confusion_counts(a, b, split, project.classes)
        kept = shown_classes(before, after)
        if which == "difference" and (before == after).all():
            st.caption("Both runs make the same predictions in every class.")
        counts = {"A": before, "B": after, "difference": after - before}[which][kept][:, kept]
        st.plotly_chart(heat_map(counts, tuple(project.classes[i] for i in kept), which == "difference"),
                        key="compare.confusion", config={"displayModeBar": False})
        if len(kept) < len(project.classes):
            st.caption(f"The {len(kept)} of {len(project.classes):,} classes with the most change and error.")


# -- samples


def _samples(project: Project, a: RunDir, b: RunDir) -> None:
    """Who changed role, weight or margin most, as a gallery in which decisions can be taken."""
    changes = _changes(stamp_of(a.signals_path, b.signals_path), a, b)
    left, right = side_by_side("compare_samples", [2, 5])
    with left:
        st.markdown("Samples by role, A in rows, B in columns")
        st.dataframe(compare.role_flow(changes).reset_index().rename(columns={"a": "A / B"}), hide_index=True)
    with right:
        # Without a training there are neither roles nor weights to change.
        options = list(CHANGES) if method_of(a).is_trained and method_of(b).is_trained else ["margin changed most"]
        which = str(st.segmented_control("Show", options, default=options[0], required=True, wrap=True,
                                         key=f"compare.changes.{len(options)}"))
        ranked = ranked_changes(changes[~is_blind(changes, scored.blind(project).ids)], which)
        st.caption("Nothing changed." if ranked.empty else counted(len(ranked), "sample") + (
            f", the first {MAX_PICTURES} shown." if len(ranked) > MAX_PICTURES else "."))
        table = shown_samples(project, b)
        at = table.positions(ranked["sample_id"].head(MAX_PICTURES))
        rows = table.rows(at[at >= 0])
        told = ranked.set_index("sample_id")["told"]
        rows = rows.assign(change=told.reindex(rows["sample_id"]).to_numpy())

        def acted(act: Act) -> None:
            if act.op == "open":
                dialog.open_sample(act.ids[0], list(rows["sample_id"]))
            else:
                actions.carry_out(project, act, view=f"compare: {which}, {a.name} to {b.name}", run=b.name)

        if len(rows):
            gallery(project, rows.reset_index(drop=True), acted, key="compare.gallery", size=124, value_column="change",
                    token=f"{a.name}/{b.name}/{which}", focus=st.session_state.get(dialog.FOCUS_KEY))
    dialog.show_if_open(project, b, table)


@st.cache_resource(max_entries=2, show_spinner="Comparing the samples ...")
def _changes(stamp: Stamp, _a: RunDir, _b: RunDir) -> pd.DataFrame:
    """sample_changes, kept for as long as neither run writes new signals. Read-only."""
    return compare.sample_changes(_a, _b)


def ranked_changes(changes: pd.DataFrame, which: str) -> pd.DataFrame:
    """sample_changes, most changed first, with `told`: the change of each in a few words."""
    column = CHANGES[which]
    if column == "role_changed":
        rows = changes[changes["role_changed"]]
        rows = rows.iloc[(-rows["margin_change"].abs().fillna(0)).argsort(kind="stable")]
        return rows.assign(told=[f"{x} \u2192 {y}" for x, y in zip(rows["role_a"], rows["role_b"], strict=True)])
    rows = changes[changes[column].notna() & (changes[column] != 0)]
    rows = rows.iloc[(-rows[column].abs()).argsort(kind="stable")]
    name = column.removesuffix("_change")
    return rows.assign(told=[f"{name} {x:.2f} \u2192 {y:.2f}" for x, y in
                             zip(rows[f"{name}_a"], rows[f"{name}_b"], strict=True)])


# -- what else differs


def _differences(project: Project, a: RunDir, b: RunDir) -> None:
    are_trained = method_of(a).is_trained and method_of(b).is_trained
    settings, decisions = compare.setting_differences(a, b), compare.decision_differences(a, b)
    figures = compare.epoch_figures(a, b).dropna(subset=["a", "b"], how="all")
    left, middle, right = side_by_side("compare_rest", [2, 4, 3])
    with left:
        st.subheader("Settings")
        _table(settings.rename(columns={"a": "A", "b": "B"}), "Both runs have the same settings.")
    with middle:
        st.subheader("Decisions trained under" if are_trained else "Decisions in force then")
        words = pd.DataFrame({"A": _decision_words(decisions, "a"), "B": _decision_words(decisions, "b"),
                              "sample": decisions["sample_id"]})  # ids may be long: last
        _table(words.head(MAX_ROWS), "Both runs trained under the same decisions." if are_trained else
               "The same decisions were in force.")
        if len(words) > MAX_ROWS:
            st.caption(f"The first {MAX_ROWS:,} of {len(words):,}.")
    with right:
        st.subheader("Last epoch")
        if not are_trained:
            st.caption("Nothing to compare: only runs that were trained have epochs.")
            return
        names = [FIGURE_WORDS.get(name, name.replace("_", " ")) for name in figures["figure"]]
        figures = figures.assign(figure=names).round(4)
        _table(figures.rename(columns={"a": "A", "b": "B"}), "No epoch has ended yet.")


def _curated(project: Project, a: RunDir, b: RunDir) -> None:
    show_curated(a, b)
    for side, run in (("A", a), ("B", b)):
        decisions = read_decisions(run.decisions_path)
        pinned = list(decisions.loc[decisions["pin"].eq("validation") & ~decisions["excluded"], "sample_id"])
        doubt_line(project, run, pinned, f"compare.doubt.{side}", f"Pinned to validation in {side}: ")


def _decision_words(decisions: pd.DataFrame, side: str) -> list[str]:
    """What a run's decisions say of each sample: 'pinned to validation, relabelled cat', or 'none'."""
    found = []
    for pin, is_excluded, label in zip(decisions[f"pin_{side}"], decisions[f"excluded_{side}"],
                                       decisions[f"label_{side}"], strict=True):
        is_pinned = isinstance(pin, str) and not is_excluded  # files of older code may have both: the exclusion held
        parts = [f"pinned to {'training' if pin == 'train' else pin}"] if is_pinned else []
        parts += ["excluded"] if is_excluded else []
        parts += [f"relabelled {label}"] if isinstance(label, str) else []
        found.append(", ".join(parts) or "none")
    return found


def _table(frame: pd.DataFrame, if_empty: str) -> None:
    if frame.empty:
        st.caption(if_empty)
    else:
        st.dataframe(frame, hide_index=True, height=table_height(len(frame)))
