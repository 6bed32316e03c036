"""What an epoch of each method costs against plain training, in one process, epochs interleaved.

    python benchmarks/epoch_cost.py PROJECT [--pairs 7] [--methods molere,lrw_random,meta_weight_net] [--modes ...]

Every method takes as many classifier steps an epoch as plain training (ERM) does, so the ratio is the price of
splitter, reweighter, held-out predictions and role assignment. The epochs timed come after warm-up, where all of that
runs. Prints a table and writes JSON to --out. CPU time is the process's own, so a busy machine disturbs it less than
the wall clock.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from engine.config import RunConfig
from engine.data import Dataset, load_dataset
from engine.manifest import DECISIONS_NAME, read_decisions
from engine.trainer import Trainer


def prepared(config: RunConfig, data: Dataset) -> tuple[Trainer, int]:
    """A trainer past its warm-up, and its next epoch."""
    trainer = Trainer(config, data)
    for epoch in range(1, config.warmup_epochs + 1):
        trainer.run_epoch(epoch, lambda *_: None)
    return trainer, config.warmup_epochs + 1


def timed_epoch(trainer: Trainer, epoch: int) -> tuple[float, float]:
    """Wall and CPU seconds of one epoch."""
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    trainer.run_epoch(epoch, lambda *_: None)
    if trainer.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--methods", default="molere,lrw_random,meta_weight_net")
    parser.add_argument("--modes", default="last_layer_centred", help="hypergradients to time, for molere")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("epoch_cost.json"))
    args = parser.parse_args()

    base = {"epochs": args.pairs + 3, "warmup_fraction": 1 / (args.pairs + 3), "embedding": "none"}
    data = load_dataset(args.project, read_decisions(args.project / DECISIONS_NAME), None, lambda *_: None)
    plans = {"erm": ["method=erm"]}
    for method in args.methods.split(","):
        for mode in args.modes.split(",") if method == "molere" else ["last_layer_centred"]:
            plans[f"{method} {mode}"] = [f"method={method}", f"reweighter.hypergradient={mode}"]
    trainers = {}
    for name, settings in plans.items():
        config = RunConfig.from_settings([*settings, *args.settings], **base)
        trainers[name] = prepared(config, data)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in plans}
    for pair in range(args.pairs):
        for name, (trainer, first) in trainers.items():
            times[name].append(timed_epoch(trainer, first + pair))
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch " \
               f"{torch.__version__}, {trainers['erm'][0].device}"
    rows = []
    for name in plans:
        walls = [a[0] / b[0] for a, b in zip(times[name], times["erm"], strict=True)]
        cpus = [a[1] / b[1] for a, b in zip(times[name], times["erm"], strict=True)]
        rows.append({"method": name, "wall_seconds": statistics.median(t[0] for t in times[name]),
                     "wall_ratio": statistics.median(walls), "wall_ratio_low": min(walls),
                     "wall_ratio_high": max(walls), "cpu_ratio": statistics.median(cpus),
                     "cpu_ratio_low": min(cpus), "cpu_ratio_high": max(cpus)})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{hardware}; {data.num_train} samples of {data.images.shape[-1]} pixels, {args.pairs} interleaved epochs, "
          f"peak memory of all together {peak:.1f} GiB")
    print(f"{'method':28s} {'median s':>9s} {'wall ratio':>11s} {'(range)':>14s} {'CPU ratio':>10s} {'(range)':>14s}")
    for r in rows:
        print(f"{r['method']:28s} {r['wall_seconds']:9.2f} {r['wall_ratio']:11.3f} "
              f"({r['wall_ratio_low']:.2f} to {r['wall_ratio_high']:.2f}) {r['cpu_ratio']:9.3f} "
              f"({r['cpu_ratio_low']:.2f} to {r['cpu_ratio_high']:.2f})")
    args.out.write_text(json.dumps({"hardware": hardware, "pairs": args.pairs, "num_samples": data.num_train,
                                    "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
