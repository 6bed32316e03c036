"""A pretrained network that gives features, and where its weights come from. Opens none: that is .opening.

B batch, D features, S the side of an image.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.contract.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class BackboneError(UserError):
    """A backbone cannot be had, or does not fit. One line, ready to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backbone:
    """A network and what it must be fed with."""

    name: str
    """What opens it again: a name, or the path of an .onnx file."""
    module: nn.Module | None
    """Normalised images (B, 3, S, S) float -> features (B, D); None of an .onnx file, which onnxruntime alone runs."""
    num_features: int
    image_size: int
    """S, in pixels."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    """Of the channels, on a scale of 0 to 1."""
    revision: str = ""
    """Version of the package, or the hub's name of the weights; "" unknown."""
    digest: str = ""
    """SHA-256 of the weights' file in hex; of the state where there is no file (state_digest)."""
    licence: str = ""
    """Of the weights; "" unknown."""
    onnx_path: Path | None = field(default=None)
    """The .onnx file that is run as it is; None: the module is."""


def state_digest(module: nn.Module) -> str:
    """SHA-256 of names and bytes of all parameters and buffers, in hex."""
    digest = hashlib.sha256()
    for name, values in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def num_features_of(module: nn.Module, image_size: int) -> int:
    """D, by passing one black image forward. Raises BackboneError where that fails or gives no (B, D)."""
    module.eval()
    try:
        with torch.no_grad():
            features: Tensor = module(torch.zeros(1, 3, image_size, image_size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise BackboneError(f"a backbone must take images of {image_size} pixels; {first_line(error)}; choose another "
                            "--image-size") from error
    if not isinstance(features, Tensor) or features.ndim != 2:
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise BackboneError(f"a backbone must give features (images, numbers); this one gives {got}; choose another")
    return int(features.shape[1])


def first_line(error: BaseException) -> str:
    """The first line of what an error says, at most 200 characters; its kind where it says nothing."""
    return next(iter(f"{error}".strip().splitlines()), "")[:200] or type(error).__name__
