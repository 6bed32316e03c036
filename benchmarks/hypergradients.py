"""How near each cheap hypergradient is to the exact one along a real run, what a meta step costs, and what comes of it.

    python benchmarks/hypergradients.py PROJECT [--batches 12] [--set name=value]

One MOLERE run with the default hypergradient; where its weights begin to learn, half way and before its finish, on
--batches training batches with a validation batch each, dF/dw (B,) by every mode: cosine with `unroll` on the same
validation batch, mean and standard deviation over batches; and with `unroll` on all validation samples at once, which
tells what the sampling of a validation batch costs beside the approximation. Seconds of a meta step are medians,
interleaved. Draws stratified as training does; all at the weights and the learning rate of that moment. Prints a table
and writes JSON to --out.
"""

import argparse
import dataclasses
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.epoch_cost import hardware
from engine.contract.config import RunConfig
from engine.contract.manifest import DECISIONS_NAME, read_decisions
from engine.contract.method_config import HYPERGRADIENTS
from engine.data.dataset import load_dataset
from engine.model.losses import LOSS_FUNCTIONS, cross_entropy
from engine.molere import routing
from engine.molere.hypergradient import HYPERGRADIENT_FUNCTIONS, MetaProblem
from engine.training.trainer import Trainer

LARGEST_POOL = 512
"""Validation samples of the reference at most; unrolling more does not fit a small machine."""


def problem(trainer: Trainer, rows: np.ndarray, idx_V: np.ndarray, lr: float) -> MetaProblem:
    idx = trainer.data.train_idx[rows]
    weights = trainer.record.weight[torch.from_numpy(rows)].nan_to_num(1.0)
    return MetaProblem(
        model=trainer.model, images_B=trainer.store.batch(idx), labels_B=trainer.labels[torch.from_numpy(idx)],
        weights_B=weights, images_V=trainer.store.batch(idx_V), labels_V=trainer.labels[torch.from_numpy(idx_V)], lr=lr,
        train_loss=cross_entropy, val_loss=LOSS_FUNCTIONS[trainer.config.reweighter.val_loss])


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


def measure(trainer: Trainer, epoch: int, num_batches: int) -> list[dict[str, object]]:
    """One row a mode: cosines and seconds at the state that the trainer is in."""
    rng, config = np.random.default_rng(epoch), trainer.config
    pool, labels = trainer.validation_pool(), trainer.data.labels
    train_rows = np.flatnonzero(trainer.active & ~trainer.heldout)
    lr = trainer.classifier.set_learning_rate((epoch - 1) / config.epochs)
    whole = routing.stratified_draw(pool, labels[pool], LARGEST_POOL, rng)
    trainer.model.train()
    same: dict[str, list[float]] = {m: [] for m in HYPERGRADIENTS}
    true: dict[str, list[float]] = {m: [] for m in HYPERGRADIENTS}
    seconds: dict[str, list[float]] = {m: [] for m in HYPERGRADIENTS}
    for _ in range(num_batches):
        rows = rng.choice(train_rows, config.batch_size, replace=False)
        drawn = routing.stratified_draw(pool, labels[pool], config.reweighter.val_batch_size, rng)
        this, exact = problem(trainer, rows, drawn, lr), {}
        for mode in HYPERGRADIENTS:
            began = time.perf_counter()
            exact[mode] = HYPERGRADIENT_FUNCTIONS[mode](this)
            seconds[mode].append(time.perf_counter() - began)
        truth = HYPERGRADIENT_FUNCTIONS["unroll"](dataclasses.replace(
            this, images_V=trainer.store.batch(whole), labels_V=trainer.labels[torch.from_numpy(whole)]))
        for mode in HYPERGRADIENTS:
            same[mode].append(cosine(exact[mode], exact["unroll"]))
            true[mode].append(cosine(exact[mode], truth))
    return [{"epoch": epoch, "mode": m, "cosine": statistics.mean(same[m]), "cosine_sd": statistics.stdev(same[m]),
             "cosine_to_pool": statistics.mean(true[m]), "cosine_to_pool_sd": statistics.stdev(true[m]),
             "seconds": statistics.median(seconds[m]), "pool": len(pool)} for m in HYPERGRADIENTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("hypergradients.json"))
    args = parser.parse_args()
    config = RunConfig.from_settings(args.settings, embedding="none", device="cpu")
    data = load_dataset(args.project, read_decisions(args.project / DECISIONS_NAME), None, lambda *_: None)
    trainer, rows = Trainer(config, data), []
    first, last = config.warmup_epochs + 1, config.first_finish_epoch - 1
    for epoch in range(1, last + 1):
        trainer.run_epoch(epoch, lambda *_: None)
        if epoch in (first, (first + last) // 2, last):
            rows += measure(trainer, epoch, args.batches)
    about = hardware(trainer.device)
    print(f"{about}; {args.project.name}, network {config.network}, batches of {config.batch_size}, "
          f"{config.reweighter.val_batch_size} validation samples; {args.batches} batches at each epoch")
    print(f"{'epoch':>5s} {'mode':20s} {'cosine with unroll':>22s} {'with unroll of the pool':>25s} {'ms':>8s}")
    for r in rows:
        print(f"{r['epoch']:5d} {r['mode']:20s} {r['cosine']:14.3f} +- {r['cosine_sd']:.3f} "
              f"{r['cosine_to_pool']:17.3f} +- {r['cosine_to_pool_sd']:.3f} {1000 * float(str(r['seconds'])):8.1f}")
    args.out.write_text(json.dumps({"hardware": about, "project": args.project.name, "settings": args.settings,
                                    "batches": args.batches, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
