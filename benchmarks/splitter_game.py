"""Does the splitter learn and settle, and what does its run say of the labels: three kinds of synthetic noise.

    python benchmarks/problems.py PROBLEMS --data DATA
    python benchmarks/splitter_game.py PROBLEMS [--seeds 3] [--first-seed 90]

MOLERE with the guard, without it, and a random split of the same size under weights of 1, 20 epochs of digits without
augmentation (network tiny, batches of 32). Share of the routed that is new in each epoch after warm-up; mean held-out
loss of the routed over those epochs; AUROC and average precision of label quality. Means over seeds; writes --out.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.epoch_cost import hardware
from engine.contract.config import RunConfig
from engine.contract.manifest import DECISIONS_NAME, read_decisions
from engine.data.dataset import load_dataset
from engine.runs.epoch_report import measure
from engine.training.trainer import Trainer

NOISES = ("instance", "symmetric", "pair")
COMMON = ("network=tiny", "batch_size=32", "augment=none", "epochs=20", "embedding=none")
ARMS = {"guarded": ("method=molere",), "guard off": ("method=molere", "guard=off"),
        "random": ("method=lrw_random", "reweighter.min_weight=1", "reweighter.max_weight=1")}


def play(project: Path, settings: tuple[str, ...], seed: int) -> dict[str, object]:
    """One training: its churn and held-out loss by epoch, and how well label quality finds its wrong labels."""
    data = load_dataset(project, read_decisions(project / DECISIONS_NAME), None, lambda *_: None)
    config = RunConfig.from_settings([*COMMON, *settings, f"seed={seed}"])
    trainer, lines = Trainer(config, data), []
    for epoch in range(1, config.epochs + 1):
        trainer.run_epoch(epoch, lambda *_: None)
        if config.warmup_epochs < epoch < config.first_finish_epoch:
            lines.append(measure(trainer, epoch))
    probs_NC, is_known = trainer.record.heldout_predictions()
    quality_N = probs_NC[np.arange(data.num_train), data.train_labels][is_known]
    is_wrong = (data.clean_labels[data.train_idx] != data.train_labels)[is_known]
    return {"churn": [line["churn"] for line in lines], "loss": [line["validation_loss"] for line in lines],
            "auroc": float(roc_auc_score(is_wrong, -quality_N)),
            "average_precision": float(average_precision_score(is_wrong, -quality_N))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=90, help="settings were chosen on seeds below 70")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("splitter_game.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for noise in NOISES:
        for arm, settings in ARMS.items():
            runs = [play(args.problems / f"digits_{noise}_noise", settings, args.first_seed + i)
                    for i in range(args.seeds)]
            losses = [float(np.mean(r["loss"])) for r in runs]
            found = {"noise": noise, "arm": arm, "loss": float(np.mean(losses)), "loss_by_seed": losses}
            print(f"{noise:9s} {arm:9s} held-out loss {found['loss']:.2f} ({min(losses):.2f} to {max(losses):.2f})")
            if arm != "random":
                found["churn"] = np.mean([r["churn"] for r in runs], axis=0).round(4).tolist()
                found |= {k: [float(r[k]) for r in runs] for k in ("auroc", "average_precision")}
                print(f"   new among the routed: {' '.join(f'{100 * c:.0f}' for c in found['churn'])} %; label quality "
                      f"AUROC {np.mean(found['auroc']):.3f}, average precision "
                      f"{np.mean(found['average_precision']):.3f}")
            rows.append(found)
    args.out.write_text(json.dumps({"hardware": hardware(torch.device("cpu")), "seeds": args.seeds,
                                    "first_seed": args.first_seed, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
