"""Backbones with a text tower, by open_clip (MIT), an optional package: images and texts become features of one space.

    open_clip:ARCHITECTURE/WEIGHTS    such as open_clip:ViT-B-32/laion2b_s34b_b79k, downloaded once
    open_clip:FOLDER                  open_clip_config.json and open_clip_model.safetensors, with no network

D features, which both towers end in.
"""

import difflib
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.data.backbones.backbone import Backbone, BackboneError, first_line, num_features_of, state_digest
from engine.data.backbones.libraries import no_retries_offline, not_to_be_had

PREFIX = "open_clip:"
PACKAGE = "open_clip_torch"
FILES = ("open_clip_config.json", "open_clip_model.safetensors")
"""Of a folder; other formats of weights, which would be unpickled, are not looked at."""


def open_clip_image(name: str, image_size: int | None) -> Backbone:
    """The image tower as a backbone; its features are those that texts are compared with. Raises BackboneError where it
    cannot be had."""
    model, _, revision = _opened(name, image_size)
    own: dict[str, Any] = dict(model.visual.preprocess_cfg)
    size = int(np.ravel(model.visual.image_size)[-1])
    folder = Path(name.removeprefix(PREFIX))
    opened = f"{PREFIX}{folder.resolve()}" if folder.is_dir() else name
    return Backbone(name=opened, module=model.visual.eval(), num_features=num_features_of(model.visual, size),
                    image_size=size, mean=tuple(map(float, own["mean"])), std=tuple(map(float, own["std"])),
                    revision=revision, digest=state_digest(model))


def text_features(name: str, image_size: int, digest: str, text: str) -> np.ndarray:
    """(D,) float32 of a text, by the text tower of the backbone `name`, whose weights must have this digest.

    Raises BackboneError where it cannot be had, has other weights now, or the text says nothing.
    """
    if not text.strip():
        raise BackboneError("a text must have words; got none; give such as \"a photo of a dog\"")
    model, tokenizer, _ = _opened(name, image_size)
    if state_digest(model) != digest:
        raise BackboneError(f"a text must be read by the network that made the features; the weights of {name} are "
                            "others now; make features anew under another name")
    with torch.inference_mode():
        found: torch.Tensor = model.encode_text(tokenizer([text]))
    return found[0].float().numpy()


def _opened(name: str, image_size: int | None) -> tuple[Any, Any, str]:
    """(model with both towers, its tokenizer, revision)."""
    try:
        import open_clip
    except ImportError as error:
        raise BackboneError(f"{name} needs a package; {PACKAGE} is not installed; pip install {PACKAGE}") from error
    target = name.removeprefix(PREFIX)
    if target and Path(target).is_dir():
        lacking = next((file for file in FILES if not (Path(target) / file).is_file()), None)
        if lacking:
            raise BackboneError(f"a folder for {PREFIX} must have {' and '.join(FILES)}; {target} has no {lacking}; "
                                "export it so")
        architecture, tag = f"local-dir:{Path(target).resolve()}", ""
    else:
        architecture, _, tag = target.partition("/")
        _check_names(open_clip, name, architecture, tag)
    try:
        with no_retries_offline(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = open_clip.create_model(architecture, pretrained=tag or None, force_image_size=image_size)
            tokenizer = open_clip.get_tokenizer(architecture)
    except Exception as error:  # the hub's, the network's, a damaged file's: each has its own
        if not tag:
            raise BackboneError(f"a folder for {PREFIX} must have a network that open_clip reads; {target}: "
                                f"{first_line(error)}; export it anew") from error
        raise not_to_be_had(name, error) from error
    return model.eval(), tokenizer, f"open_clip {open_clip.__version__} {tag or Path(target).name}"


def _check_names(open_clip: Any, name: str, architecture: str, tag: str) -> None:
    """Refuse a network or weights that the package does not know."""
    known = [f"{PREFIX}{a}/{t}" for a, t in open_clip.list_pretrained()]
    if f"{PREFIX}{architecture}/{tag}" not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known[:3]
        raise BackboneError(f"a backbone of open_clip is {PREFIX}ARCHITECTURE/WEIGHTS or {PREFIX}FOLDER; got {name!r}; "
                            f"near it are {', '.join(near)}")
