"""Predictions without training: which device, logits and features of any samples, and what is not finite.

Changes no weight of the classifier, which it leaves in evaluation mode; draws nothing at random. C classes, D features.
"""

import numpy as np
import torch
from torch import Tensor

from engine.contract.settings import ConfigError
from engine.data.batches import ImageStore
from engine.model.networks import Classifier
from engine.runtime import distributed

EVAL_BATCH = 512
CPU_EVAL_BATCH = 128
"""Activations of more do not stay in a CPU's cache: 512 took twice as long a sample."""
HEAD_EVAL_BATCH = 4096
"""Of features, where a head has hardly any activations."""


class NonFiniteError(RuntimeError):
    """A loss, gradient or prediction became NaN or infinite. Names the samples; nothing was updated or recorded."""


def pick_device(name: str) -> torch.device:
    """The device for a config's name. Raises ConfigError if it is named and this machine lacks it."""
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(d for d in ("cuda", "mps", "cpu") if available[d])
    if not available[name]:
        usable = ", ".join(d for d, is_there in available.items() if is_there)
        raise ConfigError(f"device must be one this machine has; got {name}; choose auto or one of: {usable}")
    return torch.device(name)


@torch.no_grad()
def predict(model: Classifier, store: ImageStore, idx: np.ndarray, sample_ids: np.ndarray) -> tuple[Tensor, Tensor]:
    """Logits (len(idx), C) and features (len(idx), D) in evaluation mode, of rows idx of the store.

    Raises NonFiniteError where a logit is not finite: the last step's update is seen by no loss of training.
    """
    model.eval()
    size = HEAD_EVAL_BATCH if store.images.ndim == 2 else CPU_EVAL_BATCH if store.device.type == "cpu" else EVAL_BATCH
    mine = idx[distributed.local_slice(len(idx))]
    whole: list[Tensor] = []
    for start, images in enumerate(store.batches(mine, size) if len(mine) else [store.batch(mine)]):
        parts = model(images)
        whole = whole or [part.new_empty(len(mine), *part.shape[1:]) for part in parts]
        for values, part in zip(whole, parts, strict=True):  # in place: to join parts takes their memory twice
            values[start * size:start * size + len(part)] = part
    logits, features = (distributed.gather_rows(values, len(idx)) for values in whole)
    is_bad = ~torch.isfinite(logits).all(1).cpu().numpy()
    if is_bad.any():
        raise NonFiniteError(
            f"a prediction must be finite; the classifier gives NaN or infinity on {is_bad.sum()} of {len(idx)} "
            f"samples, first {sample_ids[idx[is_bad]][0]}; lower lr")
    return logits, features


def non_finite_step(objective: Tensor | None, losses_B: Tensor | None, ids_B: np.ndarray, epoch: int,
                    step: int) -> NonFiniteError:
    """The error for a step whose objective, or else its gradient, is not finite; names the samples at fault, or all of
    the step. Without objective and losses: it was seen too late to tell them apart and to keep the update back."""
    what = "loss or gradient" if objective is None else "gradient" if bool(torch.isfinite(objective)) else "loss"
    got = "NaN or infinity" if objective is None else f"{float(objective):g}"
    is_bad = ~torch.isfinite(losses_B).cpu().numpy() if losses_B is not None else np.zeros(len(ids_B), dtype=bool)
    ids = ids_B[is_bad] if is_bad.any() else ids_B
    shown = ", ".join(map(str, ids[:16])) + (f" and {len(ids) - 16} more" if len(ids) > 16 else "")
    kept = "the last checkpoint is from before" if objective is None else "nothing was updated"
    return NonFiniteError(f"a {what} must be finite; epoch {epoch} step {step} gave {got} on samples {shown}; {kept}: "
                          "lower lr, or exclude the samples if they are damaged")
