"""The commands audit, estimate, verdicts and report: arguments in, one module's work, lines out. Added by
curation.__main__."""

import getpass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from curation.audit.estimate.allocation import empty_words, left_of
from curation.audit.estimate.goal import TARGET, Goal, change_goal, goal_of, new_goal, save_goal
from curation.audit.estimate.looks import progress
from curation.audit.estimate.noise_rate import Rate, estimate
from curation.audit.estimate.sampling_plan import Plan, load_plan, save_plan
from curation.audit.issues import scores_by
from curation.audit.opening import plan_of
from curation.audit.report.caveats import learning_words, missing_words
from curation.audit.report.figures import between, percent
from curation.audit.report.rate_words import UNTIL_THEN, basis, headline, to_go
from curation.audit.report.summaries import MIN_CLASS
from curation.audit.reviews import batch_files
from curation.audit.reviews.answers_file import AuditError, draw_frame, score_frame
from curation.audit.reviews.batches import FILE, file_served
from curation.audit.reviews.blinding import release_lost
from curation.audit.reviews.commands import NAME, AuditOption, ProjectArgument, verdicts_
from curation.audit.reviews.consensus import on_current_labels
from curation.audit.reviews.known_labels import decided_labels
from curation.audit.reviews.promise import MIN_CALIBRATED, expected_yield
from curation.audit.reviews.queues import BATCH_SIZE, find_order, mode_named
from curation.audit.reviews.random_queue import random_verdicts
from curation.audit.suspects.evidence import missing_of
from curation.audit.suspects.leaks import found_soon, words_of
from curation.audit.suspects.matrix import SUSPECT, model_matrix, overlaps
from curation.audit.suspects.scores import Scores, dual_figures
from curation.jobs.feature_runs import judged_on
from curation.lacking import say_lacking, say_outdated
from curation.ledger.verdicts import VERDICTS
from curation.output_file import output_file, write_output
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.samples.frames import SampleTable
from curation.samples.table import samples
from curation.samples.taking_part import part_lines
from curation.sources.console import ShownProgress, visible
from curation.words import counted


def register(app: typer.Typer) -> None:
    """Add the four commands."""
    app.command("audit")(audit_)
    app.command("estimate")(estimate_)
    app.command("verdicts")(verdicts_)
    app.command("report")(report_)


def audit_(
    project: ProjectArgument,
    *,
    run: Annotated[str | None, typer.Option(help="The run whose predictions judge the labels.")] = None,
    features: Annotated[str | None, typer.Option(help="Instead of --run: features by which to judge them, out of fold; "
                                                      "nothing is trained.")] = None,
    out: Annotated[Path | None, typer.Option(callback=output_file, help="CSV or Parquet, most suspect first.")] = None,
    top: Annotated[int | None, typer.Option(help="Write only so many.")] = None,
    mode: Annotated[str, typer.Option(help="Order: value (most probably wrong first), uncertain (nearest to "
                                           "even odds first) or balanced (over classes).")
                    ] = "value",
    alone: Annotated[bool, typer.Option("--alone", help="Leave out runs that differ by their seed alone.")] = False,
    audit: AuditOption = NAME,
) -> None:
    """Score every given label: how probably it is wrong, and what it should be. Calibrated on verdicts."""
    if (run is None) == (features is None):
        raise AuditError(f"labels are judged by a run or on features; got {'both' if run else 'neither'}; give one of "
                         "--run and --features")
    opened = Project.open(project)
    judge = run or judged_on(opened.path, str(features), lambda line: print(visible(line), flush=True)).name
    scores, table = _scores(opened, judge, alone)
    log = opened.verdicts()
    judged = log.in_force(audit)
    decided = decided_labels(opened)
    ended = decided.loc[decided["is_known"], "sample_id"]
    order = find_order(scores, on_current_labels(judged, table), mode_named(mode),
                       reserved=[*batch_files.drawn_by_all(opened.path, log.in_force(), log.draws()), *ended])
    has_learned = scores.learning is None or scores.learning.has_learned
    if has_learned:
        _print_scores(scores, table, order)
    if features is not None:
        say_outdated(opened, features)
        _print_leaks(opened, features)
    if out is not None and not has_learned:
        print(f"nothing is written to {visible(str(out))}: there is no order to review labels in")
    elif out is not None:
        frame = score_frame(scores, table, order[:top])
        is_parquet = out.suffix == ".parquet"
        write_output(out, lambda p: frame.to_parquet(p, index=False) if is_parquet else write_csv(frame, p))
        print(f"{len(frame):,} samples, neither judged nor drawn, written to {visible(str(out))}; answer in a column "
              f"verdict with one of {', '.join(VERDICTS)}, then `verdicts --file`")


def estimate_(
    project: ProjectArgument,
    *,
    run: Annotated[str | None, typer.Option(help="(first time) The run that splits the samples into strata.")] = None,
    target: Annotated[float | None, typer.Option(help="Half-width of the interval to reach, in points of a hundred; "
                                                      "kept, and after the first review only made finer. Default: "
                                                      f"what the audit was begun with, or {100 * TARGET:g}.")] = None,
    out: Annotated[Path | None, typer.Option(callback=output_file, help="CSV to write the next samples to review "
                                             "to; an answer goes into its column verdict.")] = None,
    num: Annotated[int, typer.Option("--draw", help="How many of them.")] = BATCH_SIZE,
    seed: Annotated[int, typer.Option(help="(first time) Seed of the random order.")] = 0,
    release: Annotated[bool, typer.Option("--release", help="Let go of samples that were drawn in batches whose files "
                                          "are lost: the model's opinion of them shows again.")] = False,
    audit: AuditOption = NAME,
) -> None:
    """The noise rate with its interval, from a stratified random sample reviewed without the model's opinion."""
    opened = Project.open(project)
    if release:
        num = release_lost(opened, audit, getpass.getuser())
        print(f"{audit}: {counted(num, 'drawn sample')} let go of" if num else f"{audit}: no draw is lost")
        return
    half_width = _half_width(target)
    plan = load_plan(opened.path, audit)
    if plan is None:
        if run is None:
            raise AuditError(f"an estimate begins with a run to split the samples by; audit {audit} has none yet; name "
                             "one with --run")
        plan = plan_of(opened, _scores(opened, run, alone=False)[0], audit, seed)
        save_plan(opened.path, plan)
        save_goal(opened.path, audit, new_goal(half_width or TARGET))
        print(f"{audit}: {plan.num_population:,} samples in {plan.num_strata} strata by run {visible(run)}")
    verdicts = opened.verdicts().in_force(audit)
    table = samples(opened, None)
    stale = plan.stale(table)
    if stale:
        print(f"{len(stale):,} samples have left the data, or have another label, since this was planned; the rate is "
              "of the labels as they were")
    answered = random_verdicts(verdicts, plan)
    goal = change_goal(opened.path, audit, half_width, len(answered)) if half_width else goal_of(opened.path, audit)
    _print_rate(plan, answered, goal)
    if out is not None:
        _write_draw(opened, plan, verdicts, table, stale, num, out)


def report_(
    project: ProjectArgument,
    *,
    run: Annotated[str, typer.Option(help="The run whose predictions judge the labels.")],
    out: Annotated[Path, typer.Option(callback=output_file, help="File to write: .html to print and share, or .json.")],
    audit: AuditOption = NAME,
) -> None:
    """Write the audit report: noise rate, classes, matrix, reviewers, corrections, method, limits, digests."""
    from curation.audit.report.health import health
    from curation.audit.report.page import report_html, report_json
    from curation.audit.report.summaries import agreement_part

    if out.suffix not in (".html", ".json"):
        raise AuditError(f"a report is .html or .json; got {out.name!r}; end its name so")
    opened = Project.open(project)
    scores, table = _scores(opened, run, alone=False)
    judged = opened.verdicts().in_force(audit)
    truth = None
    if "clean_label" in table:
        rows = np.flatnonzero(table.has_ids(judged["sample_id"].unique()))
        truth = table.rows(rows, ["sample_id", "clean_label"]).set_index("sample_id")["clean_label"].dropna()
    found = health(opened, opened.run(run), scores, load_plan(opened.path, audit), judged, audit=audit,
                   goal=goal_of(opened.path, audit), agreement=agreement_part(judged, truth),
                   neighbours=opened.run(run).read_neighbours())
    text = report_html(found) if out.suffix == ".html" else report_json(found)
    write_output(out, lambda p: p.write_text(text, encoding="utf-8"))
    print(f"report written to {visible(str(out))}")
    say_lacking(opened)


# -- inside


def _half_width(target: float | None) -> float | None:
    """The precision asked for, in (0, 1]; target: in points."""
    if target is not None and not 0 < target <= 100:
        raise AuditError(f"a half-width is above 0 and at most 100 points; got {target:g}; say --target 1.5")
    return None if target is None else target / 100


def _write_draw(project: Project, plan: Plan, verdicts: pd.DataFrame, table: SampleTable, stale: list[str], num: int,
                out: Path) -> None:
    """The next draws as a file; kept as a batch, so that no one else is given them and their answers are known."""
    before = batch_files.newest(project.path, plan.audit, "estimate", FILE)
    reserved = batch_files.in_hand(project.path, plan.audit, "estimate", FILE, verdicts)
    number = before.number + 1 if before else 1
    served = file_served(plan, verdicts, number=number, reserved=reserved, stale=stale, size=num)
    if not served.questions:
        print(empty_words(left_of(plan, random_verdicts(verdicts, plan), reserved, stale)))
        return
    frame = draw_frame(served, table)
    def write(partial: Path) -> None:
        write_csv(frame, partial)
        batch_files.save(project, served)  # only once they are written are they in somebody's hand
    write_output(out, write)
    print(f"{len(frame):,} samples to review written to {visible(str(out))}; answer with one of "
          f"{', '.join(v for v in VERDICTS if v != 'suggested')}, then `verdicts --file`")


def _scores(project: Project, name: str, alone: bool) -> tuple[Scores, SampleTable]:
    """scores_by, and what is to be said of the run."""
    run = project.run(name)
    run.read_signals()  # says so where there are none yet
    for line in part_lines(run):
        print(visible(line))
    if missing := missing_of(run):
        print(missing_words(visible(name), missing, run.read_config().get("method", "")))
    scores, table = scores_by(project, name, alone=alone)
    if scores.learning is not None and (said := learning_words(visible(name), scores.learning)):
        print(said)
    return scores, table


def _print_scores(scores: Scores, table: SampleTable, order: np.ndarray) -> None:
    num_scored = int(np.isfinite(scores.p_wrong).sum())
    basis = "a guess: no verdict yet" if not scores.num_calibrated else \
        f"calibrated on {scores.num_calibrated - scores.num_dual:,} verdicts and {scores.num_dual:,} dual labels"
    print(f"{num_scored:,} labels scored by {counted(len(scores.runs), 'run')}; {basis}")
    if scores.num_calibrated >= MIN_CALIBRATED:
        first = expected_yield(scores.p_wrong[order[:BATCH_SIZE]], scores.doubt_of(order[:BATCH_SIZE]))
        print(f"of the next {first.num:,} about {first.expected:.0f} are wrong ({first.low:,} to {first.high:,})")
    else:
        print(f"how many of the next are wrong is promised once {MIN_CALIBRATED} labels are judged: "
              f"{MIN_CALIBRATED - scores.num_calibrated} more")
    print(f"{(scores.p_wrong >= SUSPECT).sum():,} are suspected by the model, no count of wrong labels; `estimate` has "
          "the noise rate")
    matrix = model_matrix(scores.given, scores.p_wrong, scores.suggested, scores.confidence, len(scores.classes),
                          is_active=scores.is_active)
    for pair in overlaps(matrix.expected, scores.classes, 5):
        print(f"  {visible(pair.name)}: about {pair.num_first + pair.num_second:,.0f} ({pair.share:.1%} of both)")
    if (figures := dual_figures(scores, table)) is not None:
        print(f"self-confidence, where the truth is known ({figures.num:,}, {figures.num_wrong:,} wrong): AUROC "
              f"{figures.auroc:.3f}, average precision {figures.average_precision:.3f}")


def _print_leaks(project: Project, features: str) -> None:
    with ShownProgress() as progress:
        found = found_soon(project, features, progress)
    for line in words_of(found.features, found.splits) if found is not None else ():
        print(line)
    if found is None:
        print("whether pictures of clean and test are in training, `python -m curation leaks PROJECT --features "
              f"{features}` says")


def _print_rate(plan: Plan, answered: pd.DataFrame, goal: Goal) -> None:
    found, done = estimate(plan, answered), progress(plan, answered, goal)
    if not (rate := found.overall).num_reviews or rate.low is None or rate.high is None:
        print(f"no review yet of {plan.num_population:,} samples; the interval is judged first at {done.planned:,}")
        return
    print(headline(rate.low, rate.high, rate.num_population))
    print(f"{basis(found.quoted, rate.num_reviews, found.num_early)} {found.num_unsure:,} unsure.")
    print(to_go(goal.half_width, done) if done.is_reached else f"{to_go(goal.half_width, done)} {UNTIL_THEN}")
    for name, one in zip(plan.classes, found.per_class, strict=True):
        words = _class_words(one) if one.num_reviews >= MIN_CLASS else f"too few reviewed ({one.num_reviews:,})"
        print(f"  {visible(name):<24}{words}")


def _class_words(rate: Rate) -> str:
    if rate.share is None:
        return "no sample"
    return (f"{between(rate.low, rate.high)} (best single figure {percent(rate.share)}) of {rate.num_population:,}, "
            f"from {counted(rate.num_reviews, 'review')}")
