"""Method discriminant: a linear discriminant on features instead of a training; every sample is judged out of fold.

Leaves behind what one epoch of any method does, so that all that reads a run reads this one as well. No weights are
learned and no sample is routed: all of them are in training, save those that people pinned to validation.
"""

import torch
from torch import Tensor

from engine.data.batches import to_device
from engine.model.losses import cross_entropy
from engine.training import label_head
from engine.training.trainer import Trainer

SMALLEST_PROBABILITY = 1e-7


def fit_discriminant(trainer: Trainer) -> Tensor:
    """Fit the trainer's linear head to all samples in training, and record what heads fitted without a sample's fold
    say of it, as its one held-out epoch: probabilities (N, C) float32, which are returned, of the excluded too."""
    data = trainer.data
    trainer.start_epoch(1)
    features_ND = trainer.store.batch(data.train_idx).cpu()
    used_N = trainer.active & ~trainer.heldout
    probs_NC = label_head.predict_out_of_fold(features_ND, data, trainer.config.seed, used_N, are_components=True)
    weight_CD, bias_C = label_head.fit(features_ND, data.train_labels, used_N, data.num_classes,
                                          are_components=True)
    with torch.no_grad():
        trainer.model.head.weight.copy_(weight_CD)
        trainer.model.head.bias.copy_(bias_C)
    rows = trainer.active.nonzero()[0]
    rows_R, labels_R = to_device(rows, trainer.device), trainer.labels[to_device(data.train_idx[rows], trainer.device)]
    logits_RC = torch.log(probs_NC[torch.from_numpy(rows)].to(trainer.device).clamp(min=SMALLEST_PROBABILITY))
    trainer.record.observe_heldout(rows_R, logits_RC, features_ND[torch.from_numpy(rows)].to(trainer.device), labels_R,
                                   epoch=1)
    trainer.observations.totals["loss"] += cross_entropy(logits_RC, labels_R).sum()
    trainer.observations.totals["samples"] += len(rows)
    return probs_NC
