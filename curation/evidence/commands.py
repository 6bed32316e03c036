"""The commands features, predictions, similar and leaks: arguments in, one module's work, lines out. Added by
curation.__main__."""

from pathlib import Path
from typing import Annotated

import typer

from curation.audit.suspects.leaks import find_leaks
from curation.evidence.features import feature_lines, import_features
from curation.evidence.predictions import import_predictions, prediction_lines
from curation.exit_status import LOST
from curation.lacking import say_outdated
from curation.output_file import output_file, write_output
from curation.project import Project
from curation.samples.csv_cells import write_csv
from curation.samples.similarity import COLUMNS, SimilarityError, similar_to, similar_to_text
from curation.sources.console import ShownProgress, visible
from engine.contract.feature_dir import FeatureStore
from engine.contract.manifest import read_manifest

_Project = Annotated[Path, typer.Argument(help="Project folder.")]
_WITHOUT_IDS = "Without sample_id rows go by order: one for each sample of the project, or of split train."


def register(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("features")(features)
    app.command("predictions")(predictions)
    app.command("similar")(similar)
    app.command("leaks")(leaks)


def features(
    project: _Project,
    *,
    file: Annotated[Path, typer.Option(help=".npy, .npz (one array, or features and sample_id), Parquet or CSV "
                                            f"(columns of numbers or one of lists, and sample_id). {_WITHOUT_IDS}")],
    name: Annotated[str, typer.Option(help="Name that these features get in the project.")],
    backbone: Annotated[str, typer.Option(help="What made them, to be kept with them. Default: the file's name.")] = "",
    licence: Annotated[str, typer.Option(help="Licence of its weights, to be kept with them.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Replace imported features of this name.")] = False,
) -> None:
    """Bring features of one's own: a file of numbers becomes features that heads, maps and audits use."""
    opened = Project.open(project)
    with ShownProgress() as progress:
        done = import_features(opened, file, name, backbone=backbone, licence=licence, is_replacing=replace,
                               progress=progress)
    num_known = done.num_samples - done.match.num_missing
    print(f"features {name}: {num_known:,} samples of {done.file.num_columns:,} numbers from {visible(file.name)}")
    for line in feature_lines(done):
        print(f"  {visible(line)}")
    print(f"next: `python -m curation audit PROJECT --features {name}`, nothing is trained for it")
    if done.match.num_unknown:
        raise typer.Exit(LOST)


def predictions(
    project: _Project,
    *,
    file: Annotated[Path, typer.Option(help=".npy, .npz (one array, or probabilities and sample_id), Parquet or CSV (a "
                                            f"column a class, in any order, and sample_id). {_WITHOUT_IDS}")],
    name: Annotated[str, typer.Option(help="Name of the run that they become.")],
    classes: Annotated[Path | None, typer.Option(help="Text file of class names in the order of the columns, one a "
                                                      "line, where columns have no names. Default: the project's "
                                                      "order.")] = None,
    map_of: Annotated[str | None, typer.Option(help="Run whose map and neighbours to take. Default: the newest of "
                                                    "method discriminant on this data.")] = None,
) -> None:
    """Bring out-of-fold probabilities of one's own: they become a run that Explore, Triage and the audit read."""
    opened = Project.open(project)
    with ShownProgress() as progress:
        done = import_predictions(opened, file, name, classes_file=classes,
                                  map_of=opened.run(map_of) if map_of else None, progress=progress)
    print(f"run {name}: predictions of {done.num_train:,} training samples and {done.num_evaluated:,} of clean and "
          f"test from {visible(file.name)}")
    for line in prediction_lines(done, opened.classes):
        print(f"  {visible(line)}")
    print(f"next: `python -m curation audit PROJECT --run {name}`")
    if done.match.num_unknown:
        raise typer.Exit(LOST)


def similar(
    project: _Project,
    *,
    to: Annotated[list[str] | None, typer.Option(
        help="A sample id; given often, what they have in common is looked for.")] = None,
    text: Annotated[str | None, typer.Option(
        help="What to look for in words, where the features are of a backbone that reads texts, such as "
             "open_clip:ViT-B-32/laion2b_s34b_b79k.")] = None,
    features: Annotated[str, typer.Option(help="Features that say what is similar.")],
    out: Annotated[Path, typer.Option(callback=output_file, help=f"CSV to write: {', '.join(COLUMNS)}.")],
    top: Annotated[int, typer.Option(min=1, help="How many.")] = 100,
) -> None:
    """The samples most similar to a picture, to what several have in common, or to a text, over all splits."""
    if bool(to) == (text is not None):
        raise SimilarityError(f"similarity is to samples or to a text; got {'both' if to else 'neither'}; give --to or "
                              "--text")
    opened = Project.open(project)
    store, rows = FeatureStore.open(opened.path, features), read_manifest(opened.path, ["path"])
    say_outdated(opened, features)
    with ShownProgress() as progress:
        found = similar_to(store, rows, to or [], top, progress=progress) if text is None else \
            similar_to_text(store, rows, opened.path, text, top, progress=progress)
    write_output(out, lambda path: write_csv(found, path))
    what = f"{len(set(to or [])):,}" if text is None else visible(repr(text))
    print(f"{len(found):,} samples most similar to {what} written to {visible(str(out))}")


def leaks(
    project: _Project,
    *,
    features: Annotated[str, typer.Option(help="Features by which pictures are near.")],
    out: Annotated[Path | None, typer.Option(callback=output_file, help="CSV of the pairs, one a row.")] = None,
) -> None:
    """Find pictures of the splits clean and test that are, or nearly are, in training. Kept beside the features."""
    opened = Project.open(project)
    say_outdated(opened, features)
    with ShownProgress() as progress:
        found = find_leaks(opened, features, progress)
    for split in found.splits:
        print(f"{split.split}: {split.num_near:,} of {split.num_samples:,} are nearly in training, "
              f"{split.num_identical:,} the same file")
    if not found.splits:
        print("no picture of clean or test has features")
    if out is not None:
        write_output(out, lambda path: write_csv(found.pairs, path))
        print(f"{len(found.pairs):,} pairs written to {visible(str(out))}")
