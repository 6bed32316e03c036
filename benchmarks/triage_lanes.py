"""What the triage lanes hold: the share of wrong labels in each, by the truth, which the rule never sees.

    python benchmarks/triage_lanes.py PROJECT [--answers audit_answers.csv] [--seed 0] [--set epochs=8]...

Trains one MOLERE run in a copy of the project beside it (PROJECT-lanes, kept; a finished run is taken) and applies the
usual rule. Prints, for all samples and each lane: how many, the share wrong with its 95% interval, and of the first 60.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.closed_loop import copy_of, trained, truth_of
from curation.samples.frames import SampleTable
from curation.samples.table import sample_table
from curation.samples.triage import LANES, Rule, assign_lanes, queue, wrong_share

FIRST = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--answers", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    args = parser.parse_args()
    project = copy_of(args.project.resolve(), None, "lanes")
    run = trained(project, f"seed{args.seed}", ["epochs=8", *args.settings, "method=molere", f"seed={args.seed}"])
    frame = sample_table(project, run)
    table = SampleTable.of(frame.assign(clean_label=truth_of(project, frame, args.answers)))
    lane, priority = assign_lanes(table, run.read_neighbours(), Rule())
    print(f"{args.project.name}, seed {args.seed}: share of wrong labels")
    parts = {"all": np.arange(len(table)), **{name: queue(lane, priority, i) for i, name in enumerate(LANES)}}
    for name, rows in parts.items():
        found, first = wrong_share(table, rows), wrong_share(table, rows[:FIRST])
        if found is not None and first is not None:
            print(f"  {name:16s} {len(rows):6,}  {found.share:6.1%} ({found.low:.1%} to {found.high:.1%})"
                  + (f"   first {FIRST}: {first.share:.1%}" if name != "all" else ""))


if __name__ == "__main__":
    main()
