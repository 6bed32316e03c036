"""The engine's command line: train, embed, study, settings. Exit status 0 done, 2 the user's input is wrong, 1 ours."""

import contextlib
import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.contract.config import RunConfig
from engine.contract.errors import UserError
from engine.contract.methods import METHODS
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError
from engine.contract.studies.study_dir import StudyDir

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

Project = Annotated[Path, typer.Argument(help="Project folder, made by `python -m curation import`.")]


@app.command()
def train(
    project: Project,
    method: Annotated[str | None, typer.Option(help=f"One of: {', '.join(METHODS)}.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the new run.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", help="A setting as name=value, such as epochs=20 or splitter.coverage=0.3. Repeatable.")] = None,
    config: Annotated[Path | None, typer.Option(
        help="JSON file of settings, or a request.json that has them under config; --set goes over it.")] = None,
    resume: Annotated[str | None, typer.Option(help="Go on with this run instead of starting one.")] = None,
    decisions: Annotated[Path | None, typer.Option(
        help="Train under the decisions of this Parquet file instead of the project's own.")] = None,
    warm_start: Annotated[str | None, typer.Option(
        help="Begin with the classifier of this run's last checkpoint: a quick preview, marked as one.")] = None,
) -> None:
    """Train a run in the foreground; the app starts the same command in the background."""
    from engine.runs.train import resume as resume_run
    from engine.runs.train import train as train_run

    if resume is not None:
        if decisions is not None or warm_start is not None:
            option = "--decisions" if decisions is not None else "--warm-start"
            raise ConfigError(f"a resumed run keeps what it began with; got {option}; leave it out")
        _print_end(resume_run(project, resume))
        return
    if name is None:
        raise ConfigError("a new run needs a name; got none; give --name, or --resume NAME")
    given = _read_json(config) if config else {}
    given |= {k: v for k, v in (("method", method), ("seed", seed)) if v is not None}
    _print_end(train_run(RunConfig.from_settings(settings or [], **given), project, name, decisions, warm_start))


@app.command()
def embed(project: Project, run: Annotated[str, typer.Option(help="A finished run.")],
          method: Annotated[str, typer.Option(help="umap or pca; none: no map.")] = "umap") -> None:
    """Make the map, the neighbours and the out-of-fold predictions of a run anew from its last checkpoint."""
    from engine.runs.train import embed_again

    embed_again(project, run, method, lambda message: print(message, flush=True))


@app.command()
def study(
    project: Project,
    name: Annotated[str, typer.Option(help="Name of the study; one that exists goes on.")],
    methods: Annotated[str | None, typer.Option(help="Arms that are a method each, such as erm,molere.")] = None,
    arm: Annotated[list[str] | None, typer.Option(
        help="An arm as 'NAME: method=molere guard=off'; also decisions=FILE|none and epochs_factor=1.2. Repeatable.",
    )] = None,
    seeds: Annotated[str | None, typer.Option(help="How many (5: seeds 0 to 4), or a list such as 0,3,7.")] = None,
    settings: Annotated[list[str] | None, typer.Option(
        "--set", help="A setting common to all arms, as name=value. Repeatable.")] = None,
    plan: Annotated[Path | None, typer.Option(
        help='JSON file {"arms": {NAME: {setting: value}}, "seeds": [0, 1], "settings": {}}; options go over it.',
    )] = None,
    workers: Annotated[int, typer.Option(help="Runs at once, each a process with one CPU thread.")] = 1,
    reference: Annotated[str | None, typer.Option(help="The arm to compare with; default the first.")] = None,
    tuned_here: Annotated[bool | None, typer.Option(
        "--tuned-here/--not-tuned-here", help="Whether settings were chosen on this project, for the report.")] = None,
    report: Annotated[bool, typer.Option(
        "--report", help="Only compare anew the runs that are there.")] = False,
) -> None:
    """Train methods x seeds x settings side by side, then compare them. Finished runs are never repeated."""
    from engine.contract.settings import parse_settings
    from engine.contract.studies.study_plan import Arm, PlanFile, parse_arm, parse_seeds, read_plan_file

    given = read_plan_file(plan) if plan else PlanFile()
    arms = [*given.arms, *map(Arm.of_method, filter(None, (methods or "").split(","))), *map(parse_arm, arm or [])]
    chosen = parse_seeds(seeds) if seeds else given.seeds
    common = {**given.settings, **parse_settings(settings or [])}
    found = StudyDir.of(project, name)
    is_training = not report or bool(arms or chosen or common)
    if is_training:
        from rich.console import Console
        from rich.markup import escape

        from engine.study.runner import run_study

        console = Console(highlight=False, markup=False, soft_wrap=True)
        with console.status("starting") if console.is_terminal else contextlib.nullcontext() as shown:
            run_study(project, name, arms, chosen, common, workers, reference or given.reference,
                      is_tuned_here=tuned_here, say=console.print,
                      show=lambda text: shown.update(escape(text)) if shown else None)
    _print_study(found)
    failed = found.read_rows().query("state == 'failed'")
    if len(failed) and is_training:
        raise RuntimeError(f"{len(failed)} of the study's runs failed, first {failed['arm'].iloc[0]} seed "
                           f"{failed['seed'].iloc[0]}: {failed['error'].iloc[0]}; the same command tries them again")


@app.command("settings")
def show_settings() -> None:
    """List every setting with its default, range and meaning."""
    from engine.contract.method_config import ReweighterConfig, SplitterConfig
    from engine.contract.settings import settings_of

    for prefix, cls in (("", RunConfig), ("reweighter.", ReweighterConfig), ("splitter.", SplitterConfig)):
        for s in settings_of(cls):
            allowed = "|".join(s["choices"]) if s["choices"] else f"[{s['low']}, {s['high']}]" if s["high"] else ""
            print(f"{prefix}{s['name']} = {s['default']}  {allowed} {s['unit']}\n    {s['help']}")


def _read_json(path: Path) -> dict[str, object]:
    try:
        values = json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise ConfigError(f"--config must be a readable JSON file; {path}: {error}") from error
    values = values.get("config", values) if isinstance(values, dict) else values
    if not isinstance(values, dict):
        raise ConfigError(f"--config must hold an object of settings; {path} holds a {type(values).__name__}")
    return values


def _print_end(run: RunDir) -> None:
    from engine.runtime import distributed

    if not distributed.is_rank_zero():
        return
    status, metrics = run.read_status(), run.read_metrics()
    print(f"{run.name}: {status['state']} in {run.path}")
    if len(metrics):
        last = metrics.iloc[-1].dropna()
        shown = {k: last[k] for k in ("clean_accuracy", "test_accuracy", "effective_sample_size", "num_routed",
                                      "guard_wrong_share", "unguarded_wrong_share", "coverage") if k in last}
        print("  " + ", ".join(f"{k} {v:.4g}" for k, v in shown.items()))


def _print_study(study: StudyDir) -> None:
    """The table of differences and where all of them are."""
    from engine.contract.studies.study_summary import plain_table, write_tables

    path = write_tables(study)
    print(f"{study.name}: {study.read_status()['state']}\n{plain_table(study)}\ntables: {path}\n"
          f"a page of figures: python -m curation study-report {study.path.parents[1]} --name {study.name}")


def main() -> None:
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except (RuntimeError, OSError) as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
