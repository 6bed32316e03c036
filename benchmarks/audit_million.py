"""How long an audit of a million samples takes from an empty process, and the most memory it holds.

    python benchmarks/audit_million.py PROJECT [--run first] [--repeats 3]

PROJECT as benchmarks/million_project.py makes it. In order: the sample table read, scores (p_wrong of every sample,
calibrated on the dual labels), the model's noise matrix, the first page of the find queue (50 samples and hidden
checks), the plan of an estimate and its first 50, a noise rate of 500 answers, near-duplicates that contradict. Each
repeat is a process of its own; medians are printed. Writes nothing into the project.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

MAX_GOLD = 20_000


def measure(path: Path, run_name: str) -> dict[str, float]:
    """Seconds by step, seconds to the first page, and peak memory in MB."""
    began = last = time.perf_counter()
    import numpy as np
    import pandas as pd

    from curation.audit.estimate.allocation import draw
    from curation.audit.estimate.noise_rate import estimate
    from curation.audit.opening import plan_of
    from curation.audit.reviews.queues import BATCH_SIZE, find_batch, find_order
    from curation.audit.suspects.duplicates import conflicts
    from curation.audit.suspects.matrix import model_matrix, overlaps
    from curation.audit.suspects.scores import scores_of
    from curation.project import Project
    from curation.samples.table import samples

    seconds: dict[str, float] = {}

    def lap(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[name], last = now - last, now

    lap("imports")
    project = Project.open(path)
    run = project.run(run_name)
    table = samples(project, run)
    lap("sample table")
    verdicts = project.verdicts().in_force("benchmark")
    neighbours = run.read_neighbours()
    scores = scores_of(project, [run], table, neighbours)
    lap("scores")
    matrix = model_matrix(scores.given, scores.p_wrong, scores.suggested, scores.confidence, len(scores.classes),
                          is_active=scores.is_active)
    overlaps(matrix.expected, scores.classes)
    lap("noise matrix")
    gold = table.ids(np.flatnonzero(~table["clean_label"].is_null)[:MAX_GOLD])
    first = scores.samples.ids(find_order(scores, verdicts)[:BATCH_SIZE])
    batch = find_batch(first, verdicts, audit="benchmark", reviewer="ada", number=1, gold_ids=gold)
    assert len(batch.main_ids) == 50, "a page has 50 samples"
    lap("first page of the find queue")
    seconds["to the first page, in all"] = time.perf_counter() - began
    seconds["peak MB to the first page"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    plan = plan_of(project, scores, "benchmark", seed=0)
    draw(plan, verdicts, num=50)
    lap("plan and first draw of an estimate")
    ids = draw(plan, verdicts, num=500)
    is_wrong = scores.p_wrong[scores.samples.positions(ids)] >= 0.5
    answers = pd.DataFrame({"sample_id": ids, "is_wrong": pd.Series(is_wrong.tolist(), dtype=object)})
    last = time.perf_counter()
    estimate(plan, answers)
    lap("noise rate of 500 answers")
    assert neighbours is not None
    labels = table["current_label"].codes.into(project.classes)
    last = time.perf_counter()
    conflicts(*neighbours, labels)
    lap("near-duplicates that contradict")
    seconds["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--run", default="first")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(measure(args.project, args.run)))
        return
    found = [json.loads(subprocess.run([sys.executable, __file__, str(args.project), "--run", args.run, "--once"],
                                       check=True, capture_output=True, text=True).stdout)
             for _ in range(args.repeats)]
    print(f"{args.project.name}, {platform.machine()}, {os.cpu_count()} cores; medians of {args.repeats} processes")
    for name in found[0]:
        values = [one[name] for one in found]
        print(f"  {name:36s} {statistics.median(values):8.2f}   ({min(values):.2f} to {max(values):.2f})")


if __name__ == "__main__":
    main()
