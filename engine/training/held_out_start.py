"""What a training with a splitter begins with where there are features: predictions of linear discriminants on them
that did not see the sample.

A run's own held-out predictions come late, and of samples that it trained on in other epochs: among few samples it
remembers their labels, and a network that is trained from scratch takes what it does not know yet for noise.
Discriminants cost no training (engine.training.label_head). N samples, D features, C classes.
"""

import numpy as np
import torch
from torch import Tensor

from engine.contract.config import RunConfig
from engine.data.dataset import Dataset
from engine.model.record import SignalRecord
from engine.molere.noise_model import NoiseEstimate
from engine.runtime import distributed
from engine.training import label_head

LARGEST_SHARE = 0.5
"""Of wrong labels by what features say: with more it is they that know nothing of the classes, and a network may still
learn them from the images. A head knows no more than its features."""


def discriminant_features(config: RunConfig, data: Dataset) -> np.ndarray | None:
    """(M, D) what the discriminants of a training see; None where it begins with nothing."""
    if config.validation_source != "learned":
        return None
    return data.images if config.head else data.features


def begin_held_out(record: SignalRecord, noise: NoiseEstimate, config: RunConfig, data: Dataset,
                   is_active_N: np.ndarray, class_weights_C: Tensor) -> None:
    """Give the record of a training that has not begun out-of-fold predictions of all active samples, as one held-out
    epoch that counts like the last of the run, and fix its noise model by them. Samples pinned to validation teach
    none of the discriminants.

    In the record they are weighed by the classes' own weights (C,) as the training's steps are (Saerens et al. 2002,
    "Adjusting the outputs of a classifier to new a priori probabilities", eq. 4): else hard samples of small classes
    pass for wrong. Noise is of the data as they are.
    """
    seen_MD = discriminant_features(config, data)
    if seen_MD is None:
        return
    features_ND = torch.from_numpy(np.asarray(seen_MD[data.train_idx], dtype=np.float32))
    has_features_N = features_ND.any(1).numpy()
    is_used_N = is_active_N & (data.pins != -1) & has_features_N
    if not is_used_N.any():
        return
    probs_NC = distributed.broadcast_object(distributed.on_rank_zero(lambda: label_head.predict_out_of_fold(
        features_ND, data, config.seed, is_used_N, are_components=True)))
    assert probs_NC is not None, "the first rank has them"
    is_known_N = is_active_N & has_features_N & np.isfinite(probs_NC[:, 0].numpy())
    largest = 1.0 if config.head else LARGEST_SHARE
    if not noise.fix(probs_NC.numpy(), data.train_labels, is_known_N, largest):
        return
    weighed_NC = probs_NC * class_weights_C.cpu()
    weighed_NC /= weighed_NC.sum(1, keepdim=True)
    record.set_heldout(weighed_NC.numpy(), is_known_N, data.train_labels, weight=float(config.epochs))
