"""What MOLERE costs over plain training as samples, batches and classes grow; and the size of what is kept a sample.

    python benchmarks/scaling.py [--pairs 3] [--set name=value]

Random pixels of 16 pixels' side and the network tiny, so that what is not the classifier weighs most: the ratios are
worse than those of epoch_cost.py by design. One table: samples (at batches of 128, 10 classes), batch sizes, classes.
Then what is kept of a million samples, in memory and on disk after 50 epochs, by making it. Prints tables and writes
JSON to --out.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.epoch_cost import hardware, prepared, synthetic, timed
from engine.contract.config import RunConfig
from engine.contract.run_dir import HISTORY_DTYPE
from engine.model.networks import make_classifier
from engine.model.prediction import pick_device
from engine.model.record import SignalRecord
from engine.runtime.allocator import keep_freed_memory

CASES = ([(num, 128, 10) for num in (1_000, 4_000, 16_000, 64_000)]
         + [(8_000, size, 10) for size in (32, 512)] + [(8_000, 128, classes) for classes in (2, 100, 1_000)])
MILLION = 1_000_000


def ratio(num: int, batch_size: int, num_classes: int, pairs: int, settings: list[str]) -> dict[str, float]:
    data = synthetic(num, 16, num_classes)
    base = {"epochs": pairs + 4, "warmup_fraction": 1 / (pairs + 4), "finish_fraction": 0.0, "embedding": "none",
            "network": "tiny", "batch_size": batch_size}
    (erm, first), (molere, _) = (prepared(RunConfig.from_settings([f"method={m}", *settings], **base), data)
                                 for m in ("erm", "molere"))
    found = [[timed(lambda t=t, e=first + pair: t.run_epoch(e, lambda *_: None), erm.device)[0] for t in (erm, molere)]
             for pair in range(pairs)]
    ratios = [b / a for a, b in found]
    return {"samples": num, "batch_size": batch_size, "classes": num_classes, "ratio": statistics.median(ratios),
            "low": min(ratios), "high": max(ratios), "erm_seconds": statistics.median(a for a, _ in found)}


def kept(network: str, side: int, num_classes: int) -> dict[str, float]:
    """MB that a record of a million samples takes in memory, 50 epochs of history, and all of a run's folder that
    grows with samples: that history, both checkpoints' records and held-out predictions, signals.parquet,
    probabilities.npy."""
    config = RunConfig()
    num_features = make_classifier(network, num_classes, side).head.in_features
    record = SignalRecord(MILLION, num_classes, num_features, torch.device("cpu"))
    for name, values in record.state_dict().items():  # files of zeros would be smaller than those of a run
        values.copy_(torch.rand(values.shape) * (1 if values.is_floating_point() or name == "prediction" else 100))
    rows = torch.arange(int(MILLION * (config.val_fraction + 1 / config.num_rotation_groups)))
    held = {"features": record.features[rows], "scale": record.feature_scale[rows],
            "logits": torch.zeros(len(rows), num_classes), "labels": torch.zeros_like(rows),
            "rows": torch.arange(MILLION, dtype=torch.int32)}
    ids = np.asarray([f"images/{i % 10}/{i % 100:02d}/{i},{i * 7}.jpg" for i in range(MILLION)], dtype=object)
    codes = np.arange(MILLION) % num_classes
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"record": record.state_dict(), "held": held}, Path(folder) / "state.pt")
        record.frame(sample_ids=ids, labels_N=codes, roles_N=codes % 2, suggestions_N=codes,
                     reasons_N=np.full(MILLION, "trains", dtype=object), is_resting_N=codes == 0,
                     is_pinned_N=codes == 1, classes=tuple(map(str, range(num_classes)))).to_parquet(
                         Path(folder) / "signals.parquet", index=False)
        state, signals = (sum(p.stat().st_size for p in Path(folder).glob(name)) for name in ("*.pt", "*.parquet"))
    history, probabilities = 50 * MILLION * HISTORY_DTYPE.itemsize, MILLION * num_classes * 2
    return {"network": network, "features": num_features, "history_mb": history / 1e6,
            "record_mb": sum(t.numel() * t.element_size() for t in record.state_dict().values()) / 1e6,
            "disk_mb": (2 * state + signals + history + probabilities) / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="0: what is kept alone")
    parser.add_argument("--set", action="append", default=[], dest="settings")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("scaling.json"))
    args = parser.parse_args()
    keep_freed_memory()
    about = hardware(pick_device("auto"))
    print(f"{about}; random 16-pixel images, network tiny, {args.pairs} interleaved epochs")
    rows, sizes = [], []
    for case in CASES if args.pairs else ():
        rows.append(ratio(*case, args.pairs, args.settings))
        r = rows[-1]
        print(f"{r['samples']:7,} samples, batches of {r['batch_size']:4.0f}, {r['classes']:5,} classes: ratio "
              f"{r['ratio']:.2f} ({r['low']:.2f} to {r['high']:.2f}), plain epoch {r['erm_seconds']:.2f} s", flush=True)
    for network, side in (("small", 32), ("resnet18", 224), ("resnet50", 224)):
        sizes.append(kept(network, side, 14))
        s = sizes[-1]
        print(f"a million samples, {network} ({s['features']:.0f} features), 14 classes: {s['record_mb']:.0f} MB in "
              f"memory; on disk {s['disk_mb']:.0f} MB, of which history of 50 epochs {s['history_mb']:.0f}")
    args.out.write_text(json.dumps({"hardware": about, "rows": rows, "kept": sizes}, indent=1))


if __name__ == "__main__":
    main()
