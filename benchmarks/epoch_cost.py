"""What an epoch of each method costs against plain training: time, interleaved in one process, and peak memory.

    python benchmarks/epoch_cost.py PROJECT [--pairs 7] [--plans molere,...] [--set name=value]

Every method takes as many classifier steps an epoch as plain training (ERM) does, on batches as large, so the ratio is
the price of splitter, reweighter, held-out predictions and role assignment. The epochs timed come after warm-up, where
all of that runs. The reference is Meta-Weight-Net as published (Shu et al. 2019): unrolled through the whole network at
each step; it is timed over a few steps. CPU time is the process's own, so a busy machine disturbs it less than the wall
clock. Peak memory is the median of --memory-runs processes a plan (one varies by a fifth on a CPU; 0 leaves it out),
beyond what each holds before its first epoch.
Instead of a project, --synthetic N,SIDE,CLASSES times random pixels. Prints a table and writes JSON to --out.
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

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.contract.manifest import DECISIONS_NAME, read_decisions
from engine.data.batches import ImageStore, augment
from engine.data.dataset import Dataset, load_dataset
from engine.model.networks import make_classifier
from engine.model.prediction import pick_device
from engine.molere.hypergradient import frozen_running_statistics
from engine.runtime.allocator import keep_freed_memory
from engine.training.trainer import Trainer

PLANS = {
    "erm": "method=erm", "molere": "method=molere",
    "molere last_layer": "method=molere reweighter.hypergradient=last_layer",
    "molere jvp": "method=molere reweighter.hypergradient=jvp",
    "molere jvp every 16": "method=molere reweighter.hypergradient=jvp reweighter.every=16",
    "molere finite_difference": "method=molere reweighter.hypergradient=finite_difference",
    "molere unroll": "method=molere reweighter.hypergradient=unroll", "lrw_random": "method=lrw_random",
    "meta_weight_net": "method=meta_weight_net", "fsr": "method=fsr reweighter.hypergradient=last_layer",
}
REFERENCE, REFERENCE_STEPS = "meta-weight-net, unrolled each step", 8


def synthetic(num: int, side: int, num_classes: int) -> Dataset:
    """Random pixels and labels: enough to time, nothing to learn."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, num_classes, num)
    return Dataset(classes=tuple(map(str, range(num_classes))),
                   images=rng.integers(0, 256, (num, 3, side, side), dtype=np.uint8), labels=labels,
                   clean_labels=np.full(num, -1), train_idx=np.arange(num), clean_idx=np.empty(0, np.int64),
                   test_idx=np.empty(0, np.int64), pins=np.zeros(num, np.int8), excluded=np.zeros(num, bool),
                   exclusions=np.full(num, "", dtype=object), unreadable={},
                   sample_ids=np.arange(num).astype(str), groups=None)


class UnrolledMetaWeightNet:
    """Algorithm 1 of Shu et al. 2019, written apart from the engine: look ahead, differentiate through it, step."""

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        self.config, self.data, self.device = config, data, pick_device(config.device)
        self.store = ImageStore(data.images, self.device)
        self.labels = torch.from_numpy(data.labels).to(self.device)
        self.model = make_classifier(config.network, data.num_classes, data.images.shape[-1]).to(
            self.device, memory_format=torch.channels_last).train()
        self.weight_net = nn.Sequential(nn.Linear(1, 100), nn.ReLU(), nn.Linear(100, 1), nn.Sigmoid()).to(self.device)
        self.sgd = torch.optim.SGD(self.model.parameters(), lr=config.lr, momentum=config.momentum,
                                   weight_decay=config.weight_decay)
        self.adam, self.rng = torch.optim.Adam(self.weight_net.parameters(), lr=1e-3), np.random.default_rng(0)

    def _batch(self, num: int) -> tuple[torch.Tensor, torch.Tensor]:
        idx = self.data.train_idx[self.rng.integers(0, len(self.data.train_idx), num)]
        labels = self.labels[torch.from_numpy(idx).to(self.device)]
        return augment(self.store.batch(idx), "shift_flip", self.rng), labels

    def step(self) -> None:
        (images_B, labels_B), (images_V, labels_V) = self._batch(self.config.batch_size), self._batch(
            self.config.batch_size)
        params = dict(self.model.named_parameters())
        with frozen_running_statistics(self.model):
            losses_B = F.cross_entropy(functional_call(self.model, params, (images_B,))[0], labels_B, reduction="none")
            weights_B = self.weight_net(losses_B.detach()[:, None]).squeeze(1)
            grads = torch.autograd.grad((weights_B * losses_B).mean(), list(params.values()), create_graph=True)
            ahead = {k: p - self.config.lr * g for (k, p), g in zip(params.items(), grads, strict=True)}
            val_loss = F.cross_entropy(functional_call(self.model, ahead, (images_V,))[0], labels_V)
            meta = torch.autograd.grad(val_loss, list(self.weight_net.parameters()))
        for parameter, gradient in zip(self.weight_net.parameters(), meta, strict=True):
            parameter.grad = gradient
        self.adam.step()
        losses_B = F.cross_entropy(self.model(images_B)[0], labels_B, reduction="none")
        with torch.no_grad():
            weights_B = self.weight_net(losses_B[:, None]).squeeze(1)
        self.sgd.zero_grad()
        (weights_B * losses_B).mean().backward()
        self.sgd.step()


def prepared(config: RunConfig, data: Dataset) -> tuple[Trainer, int]:
    """A trainer past its warm-up, and its next epoch."""
    trainer = Trainer(config, data)
    for epoch in range(1, config.warmup_epochs + 1):
        trainer.run_epoch(epoch, lambda *_: None)
    return trainer, config.warmup_epochs + 1


def timed(work, device: torch.device) -> tuple[float, float]:
    """Wall and CPU seconds of a call."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - cpu


def peak_bytes(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else \
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def memory_of(plan: str, config: RunConfig, data: Dataset) -> int:
    """Bytes at the peak of a warm-up epoch and two more (or reference steps), beyond those before the first."""
    device, before = pick_device(config.device), peak_bytes(pick_device(config.device))
    if plan == REFERENCE:
        reference = UnrolledMetaWeightNet(config, data)
        for _ in range(2):
            reference.step()
    else:
        trainer, first = prepared(config, data)
        for epoch in (first, first + 1):
            trainer.run_epoch(epoch, lambda *_: None)
    return peak_bytes(device) - before


def hardware(device: torch.device) -> str:
    """One line: on what a figure was taken."""
    shown = torch.cuda.get_device_name() if device.type == "cuda" else f"{os.cpu_count()} cores"
    return f"{platform.machine()}, {shown}, {torch.get_num_threads()} threads, torch {torch.__version__}, {device}"


def interleaved(configs: dict[str, RunConfig], data: Dataset, pairs: int) -> dict[str, list[tuple[float, float]]]:
    """Wall and CPU seconds of an epoch, `pairs` of each plan, all plans in turn."""
    trainers = {name: prepared(config, data) for name, config in configs.items() if name != REFERENCE}
    reference = UnrolledMetaWeightNet(configs[REFERENCE], data) if REFERENCE in configs else None
    erm = trainers["erm"][0]
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in configs}
    for pair in range(pairs):
        for name, (trainer, first) in trainers.items():
            times[name].append(timed(lambda t=trainer, e=first + pair: t.run_epoch(e, lambda *_: None), erm.device))
        if reference:
            wall, cpu = timed(lambda: [reference.step() for _ in range(REFERENCE_STEPS)], erm.device)
            scale = erm.num_steps / REFERENCE_STEPS
            times[REFERENCE].append((wall * scale, cpu * scale))
        print(f"pair {pair + 1} of {pairs}", file=sys.stderr, flush=True)
    return times


def row(plan: str, times: dict[str, list[tuple[float, float]]], memory: dict[str, float]) -> dict[str, object]:
    ratios = [[a[i] / b[i] for a, b in zip(times[plan], times["erm"], strict=True)] for i in (0, 1)]
    figures = {f"{name}_ratio{end}": of(values) for name, values in zip(("wall", "cpu"), ratios, strict=True)
               for end, of in (("", statistics.median), ("_low", min), ("_high", max))}
    return {"plan": plan, "wall_seconds": statistics.median(t[0] for t in times[plan]), **figures,
            "memory_bytes": memory.get(plan), "memory_ratio": memory[plan] / memory["erm"] if memory else None}


def show(rows: list[dict[str, object]]) -> None:
    print(f"{'plan':36s} {'median s':>9s} {'wall ratio':>11s} {'(range)':>14s} {'CPU ratio':>10s} {'(range)':>14s} "
          f"{'memory':>8s} {'ratio':>6s}")
    for r in rows:
        used = "" if r["memory_bytes"] is None else f"{r['memory_bytes'] / 2**20:5.0f}MiB {r['memory_ratio']:6.2f}"
        print(f"{r['plan']:36s} {r['wall_seconds']:9.2f} {r['wall_ratio']:11.3f} "
              f"({r['wall_ratio_low']:.2f} to {r['wall_ratio_high']:.2f}) {r['cpu_ratio']:9.3f} "
              f"({r['cpu_ratio_low']:.2f} to {r['cpu_ratio_high']:.2f}) {used}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path, nargs="?")
    parser.add_argument("--synthetic", help="samples, side, classes; instead of a project")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--plans", default="molere,molere jvp,molere unroll,reference",
                        help="any of " + ", ".join(PLANS) + ", reference")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--memory-runs", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("epoch_cost.json"))
    args = parser.parse_args()
    keep_freed_memory()
    base = {"epochs": args.pairs + 4, "warmup_fraction": 1 / (args.pairs + 4), "finish_fraction": 0.0,
            "embedding": "none"}
    plans = [REFERENCE if name == "reference" else name for name in args.plans.split(",") if name != "erm"]
    configs = {plan: RunConfig.from_settings([*PLANS.get(plan, "method=erm").split(), *args.settings], **base)
               for plan in ("erm", *plans)}
    data = synthetic(*map(int, args.synthetic.split(","))) if args.synthetic else load_dataset(
        args.project, read_decisions(args.project / DECISIONS_NAME), None, lambda *_: None)
    if args.memory_of:
        print(memory_of(args.memory_of, configs[args.memory_of], data))
        return
    memory = {plan: statistics.median(int(subprocess.run(
        [sys.executable, *sys.argv, "--memory-of", plan], check=True, capture_output=True, text=True).stdout)
        for _ in range(args.memory_runs)) for plan in configs if args.memory_runs}
    times = interleaved(configs, data, args.pairs)
    rows = [row(plan, times, memory) for plan in configs]
    about = hardware(pick_device(configs["erm"].device))
    setting = f"{data.num_train} samples of {data.images.shape[-1]} pixels, network {configs['erm'].network}"
    print(f"{about}; {setting}, {args.pairs} interleaved epochs each")
    show(rows)
    args.out.write_text(json.dumps({"hardware": about, "setting": setting, "settings": args.settings,
                                    "pairs": args.pairs, "rows": rows}, indent=2))


if __name__ == "__main__":
    main()
