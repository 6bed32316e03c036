"""Open a backbone by its name: the one door to this room."""

import difflib
from dataclasses import replace
from pathlib import Path

import timm

from engine.data.backbones.backbone import Backbone, BackboneError
from engine.data.backbones.clip import PREFIX, open_clip_image
from engine.data.backbones.libraries import VISION_PREFIX, is_timm_name, is_vision_name, open_timm, open_vision
from engine.data.backbones.onnx_file import open_onnx
from engine.data.backbones.packaged import PACKAGED, available, open_packaged
from engine.data.backbones.weights_file import refuse_pickle


def open_backbone(name: str, weights: str | None = None, image_size: int | None = None, *,
                  mean: tuple[float, ...] | None = None, std: tuple[float, ...] | None = None) -> Backbone:
    """A pretrained backbone.

    name: one of PACKAGED, of timm (an architecture, or with a tag), of torchvision ("torchvision/NAME" where timm has
    the name as well), of open_clip ("open_clip:ARCHITECTURE/WEIGHTS" or "open_clip:FOLDER"), or an .onnx file. weights:
    a .safetensors file of the architecture `name`; None: those that the name stands for. image_size None: the
    backbone's own. mean, std: over its own, on a scale of 0 to 1. Raises BackboneError, one line, where it cannot be
    had.
    """
    if name.lower().endswith(".onnx"):
        if weights is not None:
            raise BackboneError(f"an .onnx file has its weights in it; got --weights {weights}; leave it out")
        return open_onnx(Path(name), image_size, mean, std)
    refuse_pickle(name)
    if name.lower().endswith(".safetensors"):
        raise BackboneError(f"a file of weights needs the name of its network; got {name} alone; give --backbone NAME "
                            f"--weights {name}")
    path = None if weights is None else Path(weights)
    if path is not None:
        refuse_pickle(weights or "")
    found = _named(name, path, image_size)
    return replace(found, mean=mean or found.mean, std=std or found.std)


def _named(name: str, weights: Path | None, image_size: int | None) -> Backbone:
    if name.startswith(PREFIX):
        if weights is not None:
            raise BackboneError(f"a backbone of open_clip is named with its weights; got --weights {weights}; leave it "
                                "out")
        return open_clip_image(name, image_size)
    if name in PACKAGED and weights is None:
        return open_packaged(name, image_size)
    if name in PACKAGED or (is_timm_name(name) and not name.startswith(VISION_PREFIX)):
        return open_timm(name, weights, image_size)
    if is_vision_name(name):
        return open_vision(name, weights, image_size)
    names = [*PACKAGED, *timm.list_models()]
    near = [known for known in names if name in known][:3] or difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    raise BackboneError(f"a backbone must be a name of timm or torchvision, or an .onnx file; got {name!r}; "
                        f"{'near it are ' + ', '.join(near) + '; ' if near else ''}without a network there are "
                        f"{', '.join(available()) or 'none'}")
