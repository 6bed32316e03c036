"""Many writers at one ledger, on SQLite or PostgreSQL: each decision is there once, in one line, and how long it took.

    python benchmarks/ledger_writers.py PROJECT [--writers 20] [--seconds 60] [--url postgresql+psycopg://ada@/load]

Works on a copy of the project and a ledger of its own: a new SQLite file there, or the (empty) database of --url. Each
writer is a process that decides as fast as it can, through the ledger's API as the app does, snapshot included. For
PostgreSQL: Debian's package, `pip install "psycopg[binary]"`, and a cluster of one's own made by initdb. Exit status 1
where a decision is missing or doubled.
"""

import argparse
import json
import multiprocessing
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd

from curation.ledger.ledger import Ledger
from curation.project import Project


def write(url: str, decisions: Path, ids: list[str], number: int, lasts: float) -> list[float]:
    """Decide for so many seconds; those that each decision took."""
    rng, until = np.random.default_rng(number), time.time() + lasts
    seconds = []
    while time.time() < until:
        began = time.perf_counter()
        Ledger(url, decisions).exclude(rng.choice(ids, 3, replace=False).tolist(), bool(rng.integers(2)),
                                       who=f"writer {number}", why=f"{number}/{len(seconds)}")
        seconds.append(time.perf_counter() - began)
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--writers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--url")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="whetstone-writers-") as made:
        copied = Path(made) / args.project.name
        shutil.copytree(args.project, copied, symlinks=True, ignore=shutil.ignore_patterns("ledger.sqlite*", "runs",
                                                                                           "decisions.parquet"))
        url = args.url or str(copied / "ledger.sqlite")
        project = Project.open(copied)
        manifest = project.manifest()
        ids = [str(i) for i in manifest["sample_id"][manifest["split"] == "train"]]
        ledger = Ledger(url, project.decisions_path)
        assert ledger.revision == 0, "the database must be empty"
        with multiprocessing.get_context("spawn").Pool(args.writers) as pool:
            done = pool.starmap(write, [(url, project.decisions_path, ids, number, args.seconds)
                                        for number in range(args.writers)])
        found = figures(done, ledger.batches())
    print(json.dumps(found, indent=1))
    return int(bool(found["lost"] or found["doubled"]))


def figures(done: list[list[float]], batches: pd.DataFrame) -> dict[str, object]:
    """done: per writer, the seconds of each decision that the ledger took. batches: as the ledger lists them."""
    wanted = [f"{number}/{n}" for number, seconds in enumerate(done) for n in range(len(seconds))]
    counts = batches["why"].value_counts()
    every = np.concatenate([np.asarray(seconds) for seconds in done])
    return {"writers": len(done), "decided": len(wanted), "lost": sum(why not in counts for why in wanted),
            "doubled": int((counts > 1).sum()),
            "is_one_line": batches["batch_id"].tolist() == list(range(len(batches), 0, -1)),
            "seconds": {f"p{p}": round(float(np.percentile(every, p)), 3) for p in (50, 95, 100)}}


if __name__ == "__main__":
    sys.exit(main())
