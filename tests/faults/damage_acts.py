"""What is done on a project with a damaged file (tests.faults.damage): commands of both programs, and all pages."""

import contextlib
import hashlib
import io
import logging
import os
import re
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import pyarrow.parquet as pq
import streamlit as st

from curation.__main__ import main as curate
from curation.jobs import feature_jobs
from curation.project import REPORT_NAME, Project
from curation.samples import saved_views
from curation.tables.report import Problems
from curation.views.routes import thumbnails
from engine.__main__ import main as engine
from engine.contract.config import RunConfig
from engine.contract.disk.failures import disk_line
from engine.contract.errors import UserError
from engine.contract.feature_dir import FeatureDir
from engine.contract.live.live_dir import LiveDir
from engine.contract.manifest import MANIFEST_NAME, file_digest
from engine.contract.run_dir import RunDir
from engine.contract.run_list import damage_of
from engine.contract.work_dir import write_atomic
from engine.runs.extraction import FeatureRequest
from engine.runs.extraction import make_features as make_backbone_features
from engine.runs.live import follow
from engine.runs.train import train
from tests import views
from tests.fake_features import make_features
from tests.fake_studies import make_study
from tests.fakes import make_project
from tests.tiny_backbone import ARCHITECTURE, write_weights

PAGES = ("explore", "triage", "audit", "train", "decide", "compare", "study", "data", "export")
_TIMES = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?|\d+(\.\d+)? (seconds?|s|minutes?|min|h)\b( ago)?|"
                    r"just now|0x[0-9a-f]+|/tmp/[^ ]*/out|\b1[789]\d{8}(\.\d+)?\b")


@dataclass(frozen=True, slots=True)
class Seen:
    """What an act showed."""

    shown: str
    """All of its result, without times."""
    said: tuple[str, ...]
    """Lines of notices: standard error, the log, a page's warnings and errors."""
    status: int = 0
    failure: str = ""
    """A traceback; "" where there is none."""
    is_generic: bool = False
    """Whether people were told no more than that something went wrong."""


@dataclass(frozen=True, slots=True)
class Act:
    name: str
    carry_out: Callable[[Path], Seen]


def build(project: Path) -> None:
    """Each kind of file there is: three runs, one of them cut short and one on features with its live folder; features
    of a network and imported ones; a study, two audits' queues with answers, decisions, a saved view, thumbnails, a
    report of the import."""
    make_project(project, 24, 6, 6, size=8)
    write_atomic(project / MANIFEST_NAME, partial(shutil.copyfile, project / MANIFEST_NAME))  # with its seal
    report = Problems()
    report.add("duplicate id", "it is in the list twice", file="labels.csv", row=3, sample_id="train-00002")
    write_atomic(project / REPORT_NAME, lambda path: pq.write_table(report.table(), path))
    opened = Project.open(project)
    opened.ledger().pin(["train-00001"], "validation", "ada")
    opened.ledger().relabel(["train-00007"], "dog", "ada")
    config = {"epochs": 2, "batch_size": 8, "embedding": "pca", "num_threads": 1}
    train(RunConfig.from_dict({**config, "method": "molere"}), project, "first")
    with contextlib.suppress(ZeroDivisionError), mock.patch("engine.runs.train.write_predictions", lambda *_: 1 / 0):
        train(RunConfig.from_dict({**config, "method": "erm"}), project, "second")
    make_features(project)
    write_weights(project.parent / "w.safetensors")
    backbone(project)
    train(RunConfig.from_dict(ON_FEATURES), project, "own")
    follow_once(project)
    make_study(project, "methods", ("erm", "molere"), 2)
    sample = project.parent / "sample.csv"
    with contextlib.redirect_stdout(io.StringIO()):
        for command in (["estimate", str(project), "--run", "first", "--out", str(sample), "--draw", "5"],
                        ["leaks", str(project), "--features", "own", "--out", str(project.parent / "pairs.csv")],
                        ["study-report", str(project), "--name", "methods"]):
            assert not curate(command), command
    saved_views.save(opened, "odd", {"search": "train-00001"}, run="first", who="ada")
    for number in range(2):
        thumbnails.thumbnail(project, f"train-{number:05d}", 64)


ON_FEATURES = {"features": "own", "embedding": "pca", "num_threads": 1, "weight_decay": 0.01, "method": "discriminant"}


def backbone(project: Path) -> None:
    """Features of a network of few weights, or what of them is missing."""
    made = make_backbone_features(project, "net", FeatureRequest(
        backbone=ARCHITECTURE, weights=str(project.parents[1] / "sound" / "w.safetensors"), image_size=32,
        device="cpu"))
    assert made.read_status()["state"] == "done"


def follow_once(project: Path) -> None:
    """The live folder of a run, brought up to date."""
    with mock.patch.object(follow.Follower, "_wait", _end), mock.patch.object(follow, "NICENESS", 0):
        follow.follow(project, "own")
    if (said := LiveDir.of(project, "own").read_status()["message"]) != UP_TO_DATE:
        print(f"waits: {said}", file=sys.stderr)


UP_TO_DATE = "up to date"


def _end(follower: follow.Follower) -> None:
    raise follow._Ended(str(follower.status.values.get("message") or UP_TO_DATE))


# -- commands


def _plain(text: str) -> str:
    return _TIMES.sub("", text)


def command(name: str, main: Callable[[list[str]], object], *arguments: str, out: str = "", folder: str = "",
            results: tuple[str, ...] = (), is_talk: bool = False) -> Act:
    """P stands for the project, OUT for a new file, whose content counts as shown. folder: of the project, a job's,
    whose log is heard, and of which `results` count as shown, instead of what an engine prints: its progress depends on
    the clock. is_talk: what it prints is about damage and nothing else."""
    def carry_out(project: Path) -> Seen:
        with tempfile.TemporaryDirectory() as made_in, _heard() as said:
            target = Path(made_in) / "out" / f"o{out}"
            target.parent.mkdir()
            given = [{"P": str(project), "OUT": str(target)}.get(word, word) for word in arguments]
            output, status, failure = io.StringIO(), 0, ""
            try:
                with contextlib.redirect_stdout(output), contextlib.redirect_stderr(said):
                    status = int(main(given) or 0)  # type: ignore[call-overload]
            except SystemExit as error:
                status = error.code if isinstance(error.code, int) else 1
            except BaseException:
                failure = traceback.format_exc()
            found, log = _results(project / folder, results) if folder else ("", [])
            said_lines = said.getvalue().splitlines()
            talk = output.getvalue().splitlines() if is_talk else []
            lines = tuple(line for line in (*said_lines, *log, *talk) if line.strip())
            if status == 1:
                failure = failure or (said_lines or ["status 1"])[-1]
            made = [path for path in sorted(target.parent.rglob("*")) if path.is_file()]
            content = "\n".join(f"{path.name}\n{path.read_bytes()!r}" for path in made
                                if path.suffix in ("", ".csv", ".json", ".txt"))
            shown = "" if folder else output.getvalue()
            return Seen(_plain(f"{shown}\n{content}\n{found}"), lines, status, failure, status == 1)
    return Act(name, carry_out)


def _results(run: Path, names: tuple[str, ...]) -> tuple[str, list[str]]:
    """Digests of what a run found, the lines of its log without times, and what pages say of damage that stays."""
    found = [f"{name} {file_digest(run / name) if (run / name).is_file() else ''}"
             for name in names]
    log = (run / "log.txt").read_text().splitlines() if (run / "log.txt").is_file() else []
    damage = feature_jobs.damage_of(FeatureDir(run)) if run.parent.name == "features" else damage_of(RunDir(run))
    return "\n".join(found), [_plain(line) for line in (*log, *filter(None, [damage]))]


def _engine(arguments: list[str]) -> None:
    with mock.patch.object(sys, "argv", ["python -m engine", *arguments]):
        engine()


def _directly(work: Callable[[Path], None]) -> Callable[[list[str]], int]:
    """Work of the engine that its command line would go on with, or would take from the network; its errors as there.
    """
    def main(arguments: list[str]) -> int:
        try:
            work(Path(arguments[0]))
        except (UserError, OSError) as error:
            line = str(error) if isinstance(error, UserError) else disk_line(error)
            if line is None:
                raise
            print(f"error: {line}", file=sys.stderr)
            return 2
        return 0
    return main


def _picture(arguments: list[str]) -> int:
    """A thumbnail as a browser gets it."""
    response = thumbnails._answer(Path(arguments[0]).name, "train-00001", "64", "", "")
    print(f"{response.status_code} {hashlib.sha256(bytes(response.body)).hexdigest()}")
    if response.status_code != 200:
        print("error: no such picture", file=sys.stderr)
    return 0 if response.status_code == 200 else 2


@contextlib.contextmanager
def _heard() -> Iterator[io.StringIO]:
    """Standard error, and what our modules log."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    for name in ("curation", "engine"):
        logging.getLogger(name).addHandler(handler)
    try:
        yield said
    finally:
        for name in ("curation", "engine"):
            logging.getLogger(name).removeHandler(handler)


# -- pages


def page(name: str, run: str = "first") -> Act:
    """Drawn anew: nothing is kept from the draws before. What a page starts in the background does not start."""
    def carry_out(project: Path) -> Seen:
        home, failure, is_generic = project.parent, "", False
        st.cache_data.clear()
        st.cache_resource.clear()
        with _heard() as said, contextlib.redirect_stderr(io.StringIO()), \
                mock.patch("curation.jobs.live_jobs.start_detached", lambda *_: os.getpid()), \
                mock.patch("curation.audit.suspects.leaks.begin", lambda *_: None):
            try:
                app = views.start(home, name, project=project.name, run=run, timeout=120)
            except views.PageFailed as error:
                return Seen("", (), 1, "".join(traceback.format_exception(error.__cause__)), True)
            except BaseException:
                failure = traceback.format_exc()
                return Seen("", (), 1, failure, is_generic)
        notices = [str(element.value) for kind in ("warning", "error", "info", "caption", "markdown")
                   for element in (*getattr(app.main, kind), *getattr(app.sidebar, kind))]
        frames = "\n".join(frame.value.to_csv() for frame in app.dataframe)
        if "Something went wrong" in views.texts(app):
            is_generic, failure = True, "Something went wrong"
        return Seen(_plain(f"{views.texts(app)}\n{frames}"), (*map(_plain, notices), *said.getvalue().splitlines()), 0,
                    failure, is_generic)
    return Act(f"page/{name}" if run == "first" else f"page/{name} of {run}", carry_out)


RESULTS = ("signals.parquet", "predictions.parquet", "probabilities.npy", "embedding.parquet")
COMMANDS = (
    command("command/list", curate, "decide", "P", "list"),
    command("command/pin", curate, "decide", "P", "pin", "--id", "train-00003", "--to", "train", "--by", "bo"),
    command("command/score", curate, "score", "P", "--run", "first"),
    command("command/triage", curate, "triage", "P", "--run", "first"),
    command("command/audit", curate, "audit", "P", "--run", "first", "--out", "OUT", out=".csv"),
    command("command/report", curate, "report", "P", "--run", "first", "--out", "OUT", out=".json"),
    command("command/estimate", curate, "estimate", "P", "--run", "first", "--out", "OUT", "--draw", "5", out=".csv"),
    command("command/export", curate, "export", "P", "--run", "first", "--what", "hard-validation", "--format",
            "table", "--out", "OUT"),
    command("command/study-report", curate, "study-report", "P", "--name", "methods"),
    command("command/corrected", curate, "export", "P", "--what", "corrected-labels", "--format", "table", "--out",
            "OUT"),
    command("command/similar", curate, "similar", "P", "--to", "train-00001", "--features", "own", "--out", "OUT",
            out=".csv"),
    command("command/leaks", curate, "leaks", "P", "--features", "net", "--out", "OUT", out=".csv"),
    command("command/doctor", curate, "doctor", "P", is_talk=True),
    command("command/repair", curate, "doctor", "P", "--repair", is_talk=True),
    command("command/picture", _picture, "P"),
    command("engine/resume", _engine, "train", "P", "--resume", "second", folder="runs/second", results=RESULTS),
    command("engine/embed", _engine, "embed", "P", "--run", "first", "--method", "pca", folder="runs/first",
            results=("embedding.parquet", "neighbours.npy")),
    command("engine/discriminant", _engine, "train", "P", "--method", "discriminant", "--set", "features=net", "--set",
            "embedding=none", "--name", "third", folder="runs/third", results=RESULTS),
    command("engine/features", _directly(backbone), "P", folder="features/net",
            results=("samples.parquet", "rows.parquet", "shards/00000.npy")),
    command("engine/live", _directly(follow_once), "P", folder="live/own",
            results=("signals.parquet", "label_head.npy")),
)
ACTS: tuple[Act, ...] = (*COMMANDS, *map(page, PAGES), page("triage", "own"))
