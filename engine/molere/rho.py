"""RHO-loss: train on the samples of a large batch whose loss training can still bring down.

Mindermann et al. 2022, "Prioritized training on points that are learnable, worth learning, and not yet learnt", ICML,
algorithm 1: of a candidate batch take those with the highest loss - irreducible loss. Where the authors' code leaves
the paper open we follow it: candidates are augmented once, for choosing and training alike, and losses come from the
network in training mode. Ours: choosing leaves the running statistics alone, so that they are those of the samples
trained on; an epoch has as many steps as plain training and so passes over the data 1 / fraction times; the models of
the irreducible losses are those of the last epoch of plain training, not of their best. B candidates, N samples.
"""

import numpy as np
import torch
from torch import Tensor

from engine.model.losses import cross_entropy
from engine.model.networks import Classifier
from engine.model.record import SignalRecord
from engine.molere.hypergradient import frozen_running_statistics


def num_candidates(batch_size: int, fraction: float, num_samples: int) -> int:
    """Candidates of a step: batch_size / fraction, but no more than there are samples, and at least a batch."""
    return max(batch_size, min(round(batch_size / fraction), num_samples))


@torch.no_grad()
def choose(model: Classifier, images_B: Tensor, labels_B: Tensor, rows: np.ndarray, irreducible_N: Tensor,
           batch_size: int, record: SignalRecord) -> np.ndarray:
    """Positions in the candidate batch, ascending, of the batch_size highest losses minus irreducible losses.

    rows: (B,) of the train split. No sample is taken twice where there are enough of them (the order may start over
    within the batch). What the classifier thinks of every candidate goes to `record`; nothing else changes.
    """
    with frozen_running_statistics(model):
        logits_B, features_B = model(images_B)
    losses_B = cross_entropy(logits_B, labels_B)
    reducible_B = losses_B - irreducible_N[torch.from_numpy(rows).to(irreducible_N.device)]
    first = np.sort(np.unique(rows, return_index=True)[1])
    first_t = torch.from_numpy(first).to(labels_B.device)
    record.observe_candidates(torch.from_numpy(rows[first]).to(labels_B.device), logits_B[first_t],
                              features_B[first_t], labels_B[first_t], losses_B[first_t])
    usable = first_t if len(first) >= batch_size else torch.arange(len(rows), device=labels_B.device)
    top = torch.argsort(reducible_B[usable], descending=True, stable=True)[:batch_size]
    chosen: np.ndarray = usable[top].sort().values.cpu().numpy()
    return chosen
