"""The engine's command line: features, train, embed, study, live, transfer, settings.

Exit status 0 done, 2 the user's input is wrong, 1 ours.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.contract.config import RunConfig
from engine.contract.disk import event_log
from engine.contract.disk.failures import disk_line
from engine.contract.errors import UserError
from engine.contract.feature_dir import DEFAULT_BACKBONE, DEFAULT_FEATURES, FeatureDir, Fit
from engine.contract.methods import TRAINABLE
from engine.contract.run_dir import RunDir
from engine.contract.settings import ConfigError
from engine.contract.studies.study_dir import StudyDir

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help=__doc__)

Project = Annotated[Path, typer.Argument(help="Project folder, made by `python -m curation import`.")]


@app.command()
def features(
    project: Project,
    backbone: Annotated[str | None, typer.Option(
        help=f"A name of timm or torchvision, open_clip:ARCHITECTURE/WEIGHTS, or an .onnx file; default "
             f"{DEFAULT_BACKBONE}, which needs no download.",
    )] = None,
    name: Annotated[str | None, typer.Option(
        help=f"Name of the features; those that exist go on. Default: {DEFAULT_FEATURES}, or that of the backbone.",
    )] = None,
    image_size: Annotated[int | None, typer.Option(
        help="Side of the square images in pixels; default the backbone's own.", min=8, max=4096)] = None,
    mirror: Annotated[bool | None, typer.Option(
        "--mirror/--no-mirror", help="Average with the features of the mirror image; takes twice the time.")] = None,
    fit: Annotated[Fit | None, typer.Option(
        help="How an image becomes a square: crop (default) cuts its middle out, squash presses all of it together, "
             "pad adds grey.",
    )] = None,
    weights: Annotated[Path | None, typer.Option(help="A .safetensors file for the architecture --backbone.")] = None,
    mean: Annotated[str | None, typer.Option(
        help="Mean of the channels, such as 0.5,0.5,0.5 on a scale of 0 to 1; default the backbone's own.")] = None,
    std: Annotated[str | None, typer.Option(help="Deviation of the channels, likewise.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    run: Annotated[bool, typer.Option(
        "--run/--no-run", help="Whether to end with a map and suspected labels: a run of method discriminant.")] = True,
) -> None:
    """Compute features of all images by a pretrained backbone; what has some already is left as it is."""
    from engine.runs.extraction import FeatureRequest, channels_of, make_features, make_map, name_of
    from engine.runtime import distributed

    name = name or (DEFAULT_FEATURES if backbone in (None, DEFAULT_BACKBONE) else name_of(str(backbone)))
    request = FeatureRequest(
        backbone=backbone, weights=str(weights) if weights else None, image_size=image_size, is_mirrored=mirror,
        fit=fit, mean=channels_of("--mean", mean), std=channels_of("--std", std), device=device)
    if not distributed.is_rank_zero():
        make_features(project, name, request)
        return
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, markup=False, soft_wrap=True)
    with console.status("starting") if console.is_terminal else contextlib.nullcontext() as shown:
        made = make_features(project, name, request,
                             lambda text: shown.update(escape(text)) if shown else print(text, flush=True))
    _print_features(made)
    if not run or made.read_status()["state"] != "done":
        return
    if distributed.num_processes() > 1:
        print(f"a map: python -m engine train {project} --method discriminant --set features={name} --name {name}")
        return
    found, is_new = make_map(project, name)
    print(f"{found.name}: {found.read_status()['state']} in {found.path}" if is_new else
          f"{found.name}: up to date in {found.path}")


@app.command()
def train(
    project: Project,
    method: Annotated[str | None, typer.Option(help=f"One of: {', '.join(TRAINABLE)}.")] = None,
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
    weights_from: Annotated[str | None, typer.Option(
        help="Train plainly under the sample weights, split and decisions that this run learned, such as one on "
             "features; method erm.")] = None,
) -> None:
    """Train a run in the foreground; the app starts the same command in the background."""
    if resume is not None:
        for option, value in (("--decisions", decisions), ("--warm-start", warm_start),
                              ("--weights-from", weights_from)):
            if value is not None:
                raise ConfigError(f"a resumed run keeps what it began with; got {option}; leave it out")
        from engine.runs.train import resume as resume_run

        _print_end(resume_run(project, resume))
        return
    if name is None:
        raise ConfigError("a new run needs a name; got none; give --name, or --resume NAME")
    if weights_from is not None and decisions is not None:
        raise ConfigError(f"--weights-from {weights_from} brings that run's decisions; got --decisions as well; leave "
                          "one out")
    given = _read_json(config) if config else {}
    if weights_from is not None and not config and method is None:
        method = "erm"
    given |= {k: v for k, v in (("method", method), ("seed", seed)) if v is not None}
    chosen = RunConfig.from_settings(settings or [], **given)
    from engine.runs.train import train as train_run  # once the settings hold: torch takes seconds to import

    _print_end(train_run(chosen, project, name, decisions, warm_start, weights_from))


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
    place: Annotated[Path | None, typer.Option(
        help="A project's place.json, or one like it: where it names Slurm, its queue takes the runs.")] = None,
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

        from engine.contract.cluster.place import read_place
        from engine.study.runner import run_study

        console = Console(highlight=False, markup=False, soft_wrap=True)
        with console.status("starting") if console.is_terminal else contextlib.nullcontext() as shown:
            run_study(project, name, arms, chosen, common, workers, reference or given.reference,
                      is_tuned_here=tuned_here, place=read_place(place) if place else None, say=console.print,
                      show=lambda text: shown.update(escape(text)) if shown else None)
    _print_study(found)
    failed = found.read_rows().query("state == 'failed'")
    if len(failed) and is_training:
        raise RuntimeError(f"{len(failed)} of the study's runs failed, first {failed['arm'].iloc[0]} seed "
                           f"{failed['seed'].iloc[0]}: {failed['error'].iloc[0]}; the same command tries them again")


@app.command()
def live(project: Project, run: Annotated[str, typer.Option(help="A finished run on features.")]) -> None:
    """Follow the decisions of now in PROJECT/live/RUN until nobody looks any more; the app starts this by itself."""
    from engine.runs.live.follow import follow

    follow(project, run)


@app.command()
def transfer(project: Project,
             name: Annotated[str, typer.Option(help="As `python -m curation transfer` asked for it.")]) -> None:
    """Carry out a transfer score that was asked for: is a set that one backbone found hard hard for another?"""
    from engine.runs.transfer import score_transfer

    made = score_transfer(project, name)
    print(f"{made.name}: {made.read_status()['state']} in {made.path}")


@app.command("settings")
def show_settings() -> None:
    """List every setting with its default, range and meaning."""
    from engine.contract.settings import settings_of

    groups: dict[str, type] = {f"{name}.": type(getattr(RunConfig(), name)) for name in RunConfig.NESTED}
    for prefix, cls in [("", RunConfig), *groups.items()]:
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


def _print_features(made: FeatureDir) -> None:
    """The state, the counts and the first images that were left out."""
    state = made.read_status()["state"]
    print(f"features {made.name}: {state} in {made.path}")
    if state == "done":
        samples = made.read_samples()
        lost = samples[samples["row"] < 0]
        print(f"  {len(samples) - len(lost):,} samples with features, {len(lost):,} left out")
        for sample_id, reason in zip(lost["sample_id"][:5], lost["reason"], strict=False):
            print(f"  left out: {sample_id}: {reason}")


def _print_end(run: RunDir) -> None:
    from engine.runtime import distributed

    if not distributed.is_rank_zero():
        return
    status, metrics = run.read_status(), run.read_metrics()
    print(f"{run.name}: {status['state']} in {run.path}")
    if len(metrics):
        last = metrics.iloc[-1].dropna()
        shown = {k: last[k] for k in ("clean_accuracy", "test_accuracy", "effective_sample_frac", "num_routed",
                                      "guard_wrong_share", "unguarded_wrong_share", "coverage") if k in last}
        print("  " + ", ".join(f"{k} {v:.4g}" for k, v in shown.items()))


def _print_study(study: StudyDir) -> None:
    """The table of differences and where all of them are."""
    from engine.contract.studies.study_summary import plain_table, write_tables

    path = write_tables(study)
    print(f"{study.name}: {study.read_status()['state']}\n{plain_table(study)}\ntables: {path}\n"
          f"a page of figures: python -m curation study-report {study.path.parents[1]} --name {study.name}")


def main() -> None:
    """Run one command and end the process; the log has that it ran."""
    names = {found.name or getattr(found.callback, "__name__", "").replace("_", "-")
             for found in app.registered_commands}
    with event_log.command("engine", verb=next((word for word in sys.argv[1:2] if word in names), "")) as ended:
        try:
            _run()
        except SystemExit as end:
            ended["status"] = end.code if isinstance(end.code, int) else int(end.code is not None)
            raise


def _run() -> None:
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        event_log.event("refused", error=error)
        sys.exit(2)
    except (RuntimeError, OSError) as error:
        line = disk_line(error)
        print(f"error: {line or f'{type(error).__name__}: {error}'}", file=sys.stderr)
        event_log.event("failed" if line is None else "refused", error=error)
        sys.exit(1 if line is None else 2)


if __name__ == "__main__":
    if "TORCHELASTIC_RUN_ID" in os.environ:
        from engine.runtime.distributed import as_rank
        as_rank(main)
    main()
