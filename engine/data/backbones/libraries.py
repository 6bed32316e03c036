"""Backbones that timm or torchvision builds by name, with their own pretrained weights (downloaded once) or a file."""

import contextlib
import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import timm
import torchvision
from torch import nn

from engine.contract.manifest import file_digest
from engine.data.backbones.backbone import Backbone, BackboneError, first_line, num_features_of, state_digest
from engine.data.backbones.packaged import PACKAGED, available
from engine.data.backbones.weights_file import load_weights

VISION_PREFIX = "torchvision/"
"""Before a name that timm has as well."""
HUB = "huggingface.co"


def is_timm_name(name: str) -> bool:
    return timm.is_model(name.split(".")[0]) and not re.search("[/:]", name)


def is_vision_name(name: str) -> bool:
    return name.removeprefix(VISION_PREFIX) in torchvision.models.list_models(module=torchvision.models)


def open_timm(name: str, weights: Path | None, image_size: int | None) -> Backbone:
    """A network of timm; weights None: its own, downloaded. Raises BackboneError where they cannot be had or do not
    fit."""
    module = _timm_module(name, weights is None, image_size)
    own = dict(module.pretrained_cfg)
    size = image_size or int((own.get("input_size") or (3, 224, 224))[-1])
    if weights is not None:
        load_weights(module, weights)
    return Backbone(
        name=name, module=module.eval(), num_features=num_features_of(module, size), image_size=size,
        mean=tuple(map(float, own.get("mean") or timm.data.IMAGENET_DEFAULT_MEAN)),
        std=tuple(map(float, own.get("std") or timm.data.IMAGENET_DEFAULT_STD)),
        revision=weights.name if weights else f"timm {timm.__version__} {own.get('hf_hub_id') or own.get('tag') or ''}",
        digest=file_digest(weights) if weights else state_digest(module),
        licence="" if weights else str(own.get("license") or ""))


def _timm_module(name: str, is_pretrained: bool, image_size: int | None) -> Any:
    """The network without a head; of transformers, whose position embedding has a size, at image_size."""
    architecture = PACKAGED[name].architecture if name in PACKAGED else name
    options: list[dict[str, Any]] = [{}] if image_size is None else [{"img_size": image_size}, {}]
    failure: BaseException = BackboneError("no way to build it")
    for option in options:
        try:
            with no_retries_offline():
                return timm.create_model(architecture, pretrained=is_pretrained, num_classes=0, **option)
        except TypeError as error:  # this architecture takes any size, and no such option
            failure = error
        except Exception as error:  # the hub's, the network's, the cache's: each library has its own
            failure = error
            break
    raise not_to_be_had(name, failure) from failure


@contextlib.contextmanager
def no_retries_offline() -> Iterator[None]:
    """Without a network the hub's library tries again and again for 45 seconds: then only what it keeps is looked at.
    """
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    try:
        if not urllib.request.getproxies():
            socket.getaddrinfo(HUB, 443)
    except OSError:
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before


def open_vision(name: str, weights: Path | None, image_size: int | None) -> Backbone:
    """A network of torchvision with its best weights (weights None: downloaded), its last linear layer left out."""
    short = name.removeprefix(VISION_PREFIX)
    options = {"image_size": image_size} if image_size and short.startswith("vit") else {}
    best = torchvision.models.get_model_weights(short).DEFAULT
    try:
        module: nn.Module = torchvision.models.get_model(short, weights=None if weights else best, **options)
    except Exception as error:  # a failed download, or a size that the weights do not have
        raise not_to_be_had(name, error) from error
    _drop_head(module, name)
    if weights is not None:
        load_weights(module, weights)
    seen = best.transforms()
    size = image_size or int(seen.crop_size[0])
    return Backbone(name=name, module=module.eval(), num_features=num_features_of(module, size), image_size=size,
                    mean=tuple(map(float, seen.mean)), std=tuple(map(float, seen.std)),
                    revision=weights.name if weights else f"torchvision {torchvision.__version__} {best}",
                    digest=file_digest(weights) if weights else state_digest(module),
                    licence="" if weights else "BSD-3-Clause")


def _drop_head(module: nn.Module, name: str) -> None:
    """Put an identity in place of the last linear layer."""
    last = next((path for path, part in reversed(list(module.named_modules())) if isinstance(part, nn.Linear)), None)
    if last is None:
        raise BackboneError(f"a backbone must end in a linear layer, to be used without it; {name} has none; choose "
                            "another")
    parent, _, child = last.rpartition(".")
    setattr(module.get_submodule(parent), child, nn.Identity())


def not_to_be_had(name: str, error: BaseException) -> BackboneError:
    """What was tried, why it failed and what can be had here."""
    chain, cause = [error], error
    while (cause := cause.__cause__ or cause.__context__) is not None and len(chain) < 20:  # type: ignore[assignment]
        chain.append(cause)
    is_offline = any(isinstance(e, (ConnectionError, socket.gaierror, TimeoutError)) or "onnection" in f"{e}"
                     or "LocalEntryNotFound" in type(e).__name__ or "Offline" in type(e).__name__ for e in chain)
    why = "there is no network" if is_offline else first_line(error)
    return BackboneError(f"weights of {name} must be downloaded, and could not be: {why}; without a network there are "
                         f"{', '.join(available()) or 'none'}, and --weights FILE.safetensors")

