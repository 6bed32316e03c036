"""One epoch at a time, by one process or by several under torchrun, each from the same state: what test_distributed
compares.

    lockstep.main(PROJECT, FOLDER)                                 writes states and outcomes
    torchrun ... -m tests.engine.runtime.lockstep PROJECT FOLDER   goes from those states

It does so for each of CASES, once on images and once on features, in folders of their names.

Every epoch begins with the same bits, so whatever is decided by a threshold, a sort or a rounding is decided alike, and
what follows within the epoch is continuous. Reweighter and splitter take plain gradient steps: Adam's first step is the
sign of the gradient times the learning rate, also where the gradient is nothing but rounding (that of the reweighter's
last bias is 0 at the start, since weights are normalised), so it turns a difference of 1e-9 into one of 2e-2.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from engine.contract.config import RunConfig
from engine.contract.manifest import read_decisions
from engine.data.dataset import load_for
from engine.runtime import distributed
from engine.training.trainer import Trainer

EPOCHS = 6
SETTINGS = ("batch_size=33", "warmup_fraction=0.3", "reweighter.every=2", "device=cpu", f"epochs={EPOCHS}")
"""Batches of an odd size: the two parts differ."""
CASES = {"images": None, "features": "own"}
"""Name of the case: features of the project, None for its images."""


def new_trainer(project: Path, features: str | None) -> Trainer:
    own = {"network": "mlp", "features": features, "weight_decay": 0.01} if features else {
        "network": "tiny", "augment": "shift"}
    config = RunConfig.from_settings(list(SETTINGS), method="molere", **own)
    data = load_for(config, project, read_decisions(project / "none"), lambda *_: None)
    trainer = Trainer(config, data)
    if trainer.weighting and trainer.splitting:
        trainer.weighting.optimizer = torch.optim.SGD(trainer.weighting.reweighter.parameters(), lr=0.5)
        trainer.splitting.optimizer = torch.optim.SGD(trainer.splitting.splitter.parameters(), lr=0.5)
    return trainer


def outcome(trainer: Trainer) -> dict[str, np.ndarray]:
    """What an epoch left that is continuous in what it began with."""
    record, nets = trainer.record, [trainer.model]
    if trainer.weighting and trainer.splitting:
        nets += [trainer.weighting.reweighter, trainer.splitting.splitter]
    values = {"loss": record.loss, "weight": record.weight, "margin": record.margin, "p_train": record.p_train,
              "heldout_probs": record.heldout_probs,
              "train_loss": torch.div(*(trainer.observations.totals[name] for name in ("loss", "samples")))}
    values |= {f"parameters {i}": torch.cat([p.detach().flatten() for p in net.parameters()])
               for i, net in enumerate(nets)}
    values["statistics"] = torch.cat([b.flatten().float() for b in trainer.model.buffers()])
    values["logits"] = trainer.predict(np.concatenate([trainer.data.clean_idx, trainer.data.test_idx]))[0]
    return {name: value.numpy().copy() for name, value in values.items()} | {"routed": trainer.epoch_roles.routed}


def main(project: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    with distributed.process_group("cpu"):
        for case, features in CASES.items():
            go(new_trainer(project, features), folder / case)


def go(trainer: Trainer, folder: Path) -> None:
    """Alone: from the start, keeping each epoch's state; else from those states."""
    num = distributed.size()
    folder.mkdir(exist_ok=True)
    for epoch in range(1, EPOCHS + 1):
        state = folder / f"{epoch}.pt"
        if num == 1:
            torch.save(trainer.state_dict(), state)
        else:
            trainer.load_state_dict(torch.load(state, weights_only=True))
        trainer.run_epoch(epoch, lambda *_: None)
        found = outcome(trainer)
        if distributed.is_rank_zero():
            np.savez(folder / f"{epoch}-by-{num}.npz", **found)


if __name__ == "__main__":
    distributed.as_rank(lambda: main(*map(Path, sys.argv[1:])))
