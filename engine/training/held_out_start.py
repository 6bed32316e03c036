"""What a guarded head on features begins with: predictions of linear discriminants that did not see the sample.

A run's own held-out predictions come late, and of samples that it trained on in other epochs; among few samples it
remembers their labels. Discriminants cost no training (engine.training.label_head). N samples, D features, C classes.
"""

import numpy as np
from torch import Tensor

from engine.contract.config import RunConfig
from engine.data.batches import ImageStore
from engine.data.dataset import Dataset
from engine.model.record import SignalRecord
from engine.training import label_head


def begin_held_out(record: SignalRecord, config: RunConfig, data: Dataset, store: ImageStore, is_active_N: np.ndarray,
                   class_weights_C: Tensor) -> None:
    """Give the record of a training that has not begun out-of-fold predictions of all active samples, as one held-out
    epoch that counts like the last of the run. Who is pinned to validation teaches none.

    Weighed by the classes' own weights (C,) as the training's steps are (Saerens et al. 2002, "Adjusting the outputs of
    a classifier to new a priori probabilities", eq. 4): else hard samples of small classes pass for wrong.
    """
    is_used_N = is_active_N & (data.pins != -1)
    if not is_used_N.any():
        return
    features_ND = store.batch(data.train_idx).cpu()
    weighed_NC = class_weights_C.cpu() * label_head.predict_out_of_fold(
        features_ND, data, config.seed, is_used_N, are_components=True)
    probs_NC = (weighed_NC / weighed_NC.sum(1, keepdim=True)).numpy()
    record.set_heldout(probs_NC, is_active_N & np.isfinite(probs_NC[:, 0]), data.train_labels,
                       weight=float(config.epochs))
