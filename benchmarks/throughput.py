"""Images a second of training, against the ceiling of forward and backward alone on the same device.

    python benchmarks/throughput.py [--network resnet18] [--synthetic 20000,32,10] [--set name=value] [--pairs 5]
    python benchmarks/throughput.py --network resnet50 --synthetic 4000,224,1000 --set batch_size=64      # on a GPU

The ceiling: the same network, precision and batch size on one batch that lies on the device, no optimizer, nothing
recorded. ERM and MOLERE are whole epochs of the engine, interleaved with it. On CUDA the profiler counts how often the
host waited for the device within ten steps (cudaStreamSynchronize, cudaDeviceSynchronize and copies to the host).
Prints a table and writes JSON to --out.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch

from benchmarks.epoch_cost import hardware, prepared, synthetic, timed
from engine.contract.config import RunConfig
from engine.model.losses import cross_entropy
from engine.runtime.allocator import keep_freed_memory
from engine.training.trainer import Trainer

WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaMemcpy", "aten::item", "aten::_local_scalar_dense")


def ceiling(trainer: Trainer, num_steps: int) -> None:
    """Forward and backward of one batch, num_steps times."""
    classifier, size = trainer.classifier, trainer.config.batch_size
    images = trainer.store.batch(trainer.data.train_idx[:size])
    labels = trainer.labels[:size]
    classifier.model.train()
    for _ in range(num_steps):
        classifier.optimizer.zero_grad()
        logits, _ = classifier.forward(images)
        cross_entropy(logits, labels).mean().backward()
    classifier.optimizer.zero_grad()


def waits_in_steps(trainer: Trainer, epoch: int, num_steps: int = 10) -> dict[str, int]:
    """How often the host waited within num_steps steps, by what it waited in."""
    trainer.start_epoch(epoch)
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        list(trainer.run_steps(epoch, range(num_steps)))
    return {event.key: event.count for event in profile.key_averages() if event.key in WAITS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--synthetic", default="4000,32,10", help="samples, side, classes")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("throughput.json"))
    args = parser.parse_args()
    keep_freed_memory()
    data = synthetic(*map(int, args.synthetic.split(",")))
    base = {"epochs": args.pairs + 4, "warmup_fraction": 1 / (args.pairs + 4), "finish_fraction": 0.0,
            "embedding": "none", "network": args.network}
    trainers = {m: prepared(RunConfig.from_settings([f"method={m}", *args.settings], **base), data)
                for m in ("erm", "molere")}
    trainer = trainers["erm"][0]
    device, num = trainer.device, trainer.num_steps * trainer.config.batch_size
    rates: dict[str, list[float]] = {"ceiling": [], "erm": [], "molere": []}
    for pair in range(args.pairs):
        rates["ceiling"].append(num / timed(lambda: ceiling(trainer, trainer.num_steps), device)[0])
        for name, (t, first) in trainers.items():
            rates[name].append(data.num_train / timed(lambda t=t, e=first + pair: t.run_epoch(e, lambda *_: None),
                                                      device)[0])
    waits = waits_in_steps(trainers["molere"][0], trainers["molere"][1] + args.pairs) if device.type == "cuda" else None
    about = hardware(device)
    print(f"{about}; {args.network}, {args.synthetic}, batches of {trainer.config.batch_size}, {args.pairs} pairs")
    rows = []
    for name, found in rates.items():
        shares = [r / c for r, c in zip(found, rates["ceiling"], strict=True)]
        rows.append({"what": name, "images_per_second": statistics.median(found), "share": statistics.median(shares),
                     "share_low": min(shares), "share_high": max(shares)})
        print(f"{name:8s} {rows[-1]['images_per_second']:10.0f} images/s  {rows[-1]['share']:.3f} of the ceiling "
              f"({min(shares):.2f} to {max(shares):.2f})")
    print("waits in ten steps:", waits if waits is not None else "no GPU to count them on")
    args.out.write_text(json.dumps({"hardware": about, "network": args.network, "data": args.synthetic,
                                    "settings": args.settings, "rows": rows, "waits": waits}, indent=1))


if __name__ == "__main__":
    main()
