"""Makes before_rooms.zip: a project, its queue of jobs, a study and an audit, as the version before the rooms left
them.

Ran once, at revision 7f322c8, whose module names it has; it stays to say what is in the archive:

    PYTHONPATH=. python tests/before_rooms/make.py OUT.zip

`pets`: 90 small pictures in three classes, one training label in ten wrong. Runs: first (molere), untouched (erm), and
under the decisions decided (molere) and plain (erm, with its last checkpoint); asked is a preview that was asked for
and never begun. Decisions of three people: a conflict settled, one open, one batch undone; a saved view. Audit
`spring`: an estimate planned, a file drawn and answered, batches of both queues answered in part, a disagreement and
the corrections that followed. Study `methods`: erm and molere, two seeds each.
"""

import os
import subprocess
import sys
import tempfile
import uuid
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

CLASSES = ("bird", "cat", "dog")
FAST = ("epochs=4", "network=tiny", "batch_size=16", "num_threads=1", "device=cpu", "warmup_fraction=0.25")


def pictures(folder: Path) -> Path:
    """A table of 90 pictures of 8 pixels: 66 to train, 12 clean, 12 test."""
    rng, rows = np.random.default_rng(0), []
    for i in range(90):
        true = i % 3
        split = "train" if i < 66 else "val" if i < 78 else "test"
        given = (true + 1) % 3 if split == "train" and i % 10 == 7 else true
        colour = np.array([40 + 100 * true, 120, 220 - 60 * true])
        pixels = np.clip(colour + rng.normal(0, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.png")
        rows.append({"sample_id": f"p{i:03d}", "path": f"{i:03d}.png", "label": CLASSES[given], "split": split,
                     "clean_label": CLASSES[true] if split != "train" or i % 4 == 0 else None,
                     "group": "night" if i % 5 == 0 else "day"})
    pd.DataFrame(rows).to_csv(folder / "pets.csv", index=False)
    return folder / "pets.csv"


def command(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)


def train(project: Path, name: str, method: str, *more: str) -> None:
    command("engine", "train", str(project), "--name", name, "--method", method, *more,
            *(word for setting in FAST for word in ("--set", setting)))


def decide(project: Path) -> None:
    from curation.conflicts import SETTLING_VIEW

    from curation.project import Project

    ledger = Project.open(project).ledger()
    ledger.pin(["p000", "p001", "p002"], "validation", "ada", "hard but right", "explore: gallery", "first")
    ledger.pin(["p001"], "train", "bob", "not at all", "explore: gallery", "first")
    ledger.relabel(["p007", "p017"], "cat", "ada", "", "triage", "first")
    ledger.relabel(["p017"], "dog", "bob", "", "triage", "first")
    ledger.relabel(["p017"], "dog", "eve", "bob is right", SETTLING_VIEW, "")
    ledger.exclude(["p030"], True, "ada", "blurred", "explore: table", "first")
    ledger.exclude(["p031", "p032"], True, "bob", "by mistake", "explore: table", "first")
    ledger.undo("bob")


def judge(project: Path) -> None:
    from curation.audit.answering import answer, take_back
    from curation.audit.scores import scores_of
    from curation.audit.strata import load_plan
    from curation.selection import sample_table
    from engine.manifest import file_digest

    from curation.audit import batches
    from curation.project import Project

    opened, file = Project.open(project), project.parent / "drawn.csv"
    command("curation", "estimate", str(project), "--audit", "spring", "--run", "first", "--target", "5", "--out",
            str(file), "--draw", "6")
    drawn = pd.read_csv(file, dtype=str)
    drawn["verdict"] = ["given", "neither", "given", "unsure", None, None]
    drawn.to_csv(file, index=False)
    command("curation", "verdicts", str(project), "--audit", "spring", "--file", str(file), "--by", "ada")
    run, none = opened.run("first"), np.array([], dtype=object)
    table, plan, model = sample_table(opened, run), load_plan(project, "spring"), file_digest(run.path / "config.json")
    scores = scores_of(opened, [run], table, run.read_neighbours())
    for who in ("ada", "bob"):
        found = batches.find_served(scores, opened.verdicts().in_force("spring"), none, audit="spring", reviewer=who,
                                    number=1, run="first", model=model, size=8)
        batches.save(project, found)
        for number, question in enumerate(found.questions[:5]):
            verdict = "suggested" if question.suggested_label and (number == 1) == (who == "bob") else "given"
            answer(opened, found, question.sample_id, verdict, seconds=2.0,
                   key=str(uuid.UUID(int=number + 100 * ord(who[0]))))
    served = batches.estimate_served(plan, scores, opened.verdicts().in_force("spring"), none, reviewer="bob", number=1,
                                     run="first", model=model, size=6, reserved=sorted(drawn["sample_id"]))
    batches.save(project, served)
    for question in served.questions[:4]:
        answer(opened, served, question.sample_id, "given", seconds=1.5)
    take_back(opened, served, served.questions[0].sample_id)


def main(out: Path) -> None:
    from curation.launch import train_command, write_request
    from engine.config import RunConfig
    from engine.manifest import manifest_schema, read_info
    from engine.rundir import RunDir

    from curation import jobqueue, saved_views
    from curation.project import Project

    home = Path(tempfile.mkdtemp())
    os.environ["WHETSTONE_HOME"] = str(home / "home")
    project = home / "projects" / "pets"
    source = project / "images"
    source.mkdir(parents=True)
    command("curation", "import", "table", str(pictures(source)), "--project", str(project))
    table = pq.read_table(project / "manifest.parquet")  # so that the project may be unpacked anywhere
    info = replace(read_info(project), root="images")
    pq.write_table(table.cast(manifest_schema(table.schema, info)), project / "manifest.parquet")
    train(project, "first", "molere")
    train(project, "untouched", "erm", "--set", "embedding=none")
    decide(project)
    train(project, "decided", "molere", "--set", "embedding=none")
    train(project, "plain", "erm", "--set", "embedding=pca")
    judge(project)
    command("engine", "study", str(project), "--name", "methods", "--methods", "erm,molere", "--seeds", "2",
            *(word for setting in FAST for word in ("--set", setting)))
    opened = Project.open(project)
    asked = RunDir.of(project, "asked")
    asked.path.mkdir(parents=True)
    write_request(asked, RunConfig(epochs=3), opened.ledger().state(), warm_start="first")
    for name in ("plain", "studies/methods"):
        jobqueue.end(jobqueue.add(project, name, "cpu", train_command(project, "plain")))
    saved_views.save(opened, "hard-ones", {"roles": ["validation"], "flags": ["in the hard validation set"]},
                     run="first", who="ada")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(home.rglob("*")):
            is_left = file.name in ("drawn.csv", "report.html") or {"thumbnails", "cache"} & set(file.parts)
            is_large = file.suffix == ".pt" and file.parent.parent.name != "plain"  # one set of checkpoints is enough
            if file.is_file() and not is_left and not is_large and "00004" not in file.name:
                archive.write(file, file.relative_to(home))


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
