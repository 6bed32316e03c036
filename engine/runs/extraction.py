"""Features of a project by a backbone, as a job: python -m engine features. Resumes by itself what was cut short.

A folder keeps to one backbone, image size and way of preparing images; engine.data.feature_store computes.
"""

import contextlib
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.contract.config import RunConfig
from engine.contract.disk.processes import alone_in, drop_old_cancel
from engine.contract.feature_dir import DEFAULT_BACKBONE, FeatureDir, FeatureDocument, FeatureError, Fit
from engine.contract.manifest import MANIFEST_NAME, file_digest, image_root, read_info, read_manifest
from engine.contract.pixels import VERSION
from engine.contract.run_dir import RunDir
from engine.contract.run_list import map_run
from engine.data.backbones.backbone import Backbone
from engine.data.backbones.opening import open_backbone
from engine.data.feature_store import Extraction, extract, forget
from engine.data.inference import open_inference
from engine.model.prediction import pick_device
from engine.runs.status import Cancelled, Follower, Status, cancel_on_signals, kept_to_the_end
from engine.runs.train import train
from engine.runtime import distributed

DEFAULT_FIT: Fit = "crop"
"""Of 5,398 photos of clothing, 17 classes, lite0 at 224 pixels, a linear discriminant out of fold by sender is right on
77.1% so, on 74.9 squashed and 75.1 padded (3 partitions, each within .007), and ranks wrong labels alike."""
FIT_WORDS: dict[Fit, str] = {"crop": "the middle of each image", "squash": "images pressed into a square",
                             "pad": "images padded with grey"}
MAX_LOGGED = 100
"""Unreadable images that log.txt names."""
PREPARATION = (("digest", "weights"), ("image_size", "pixels"), ("mean", "mean"), ("std", "deviation"),
               ("is_mirrored", "mirror averaging"), ("fit", "fit"))
"""What all features of one folder have in common, with words for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeatureRequest:
    """What features are asked for; None: what the folder has, else the default."""

    backbone: str | None = None
    weights: str | None = None
    """A .safetensors file for the architecture `backbone`."""
    image_size: int | None = None
    is_mirrored: bool | None = None
    fit: Fit | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    device: str = "auto"


def make_features(project: Path, name: str, request: FeatureRequest,
                  show: Callable[[str], object] = lambda _: None) -> FeatureDir:
    """Make the features `name` of a project, or go on with them: images that have some already are left as they are,
    unless those are of pixels that are decoded otherwise now: then all are made anew.

    show: is told the progress in words. Raises FeatureError where the folder holds features of another kind or another
    process works in it, BackboneError where the backbone cannot be had, ManifestError without a project. Returns the
    folder, whose status says done or cancelled.
    """
    folder = FeatureDir.of(project, name)
    read_info(project)
    with distributed.process_group(request.device), contextlib.ExitStack() as stack:
        def begin() -> None:
            folder.path.mkdir(parents=True, exist_ok=True)
            stack.enter_context(alone_in(folder.path, FeatureError(
                f"one process makes features; {name!r} is being made by another; cancel it first")))
            drop_old_cancel(folder.path)

        distributed.on_rank_zero(begin)
        if distributed.is_rank_zero():
            status = Status(folder, 1)
            with kept_to_the_end(status, "cancelled; the same command goes on from there"):
                _extract(Path(project), folder, request, status, show)
        else:
            with cancel_on_signals(lambda: None, signal.SIGTERM), contextlib.suppress(Cancelled):
                try:
                    _extract(Path(project), folder, request, Follower(), show)
                except distributed.RankZeroFailed as failure:
                    if failure.kind != Cancelled.__name__:
                        raise
    return folder


def _extract(project: Path, folder: FeatureDir, request: FeatureRequest, status: Status | Follower,
             show: Callable[[str], object]) -> None:
    """Open the backbone, refuse what does not go together, compute, and say what was left out."""
    say = folder.log if distributed.is_rank_zero() else lambda _: None
    status.update(stage="loading the backbone")
    given = folder.read_json(folder.path / "features.json")
    asked = _completed(request, FeatureDocument(**given) if given else None)  # type: ignore[typeddict-item]
    backbone = distributed.rank_zero_first(lambda: open_backbone(
        asked.backbone or DEFAULT_BACKBONE, asked.weights, asked.image_size, mean=asked.mean, std=asked.std))
    document, device = _document(backbone, asked), pick_device(request.device)
    status.update(device=str(device), epoch=1, message="")

    def begin() -> None:
        if given:
            _refuse_other(folder.name, FeatureDocument(**given), document)  # type: ignore[typeddict-item]
        if given and folder.outdated:
            say(f"{folder.outdated}; now")
            forget(folder)
        if not given or folder.outdated:
            folder.write_document(document)

    distributed.on_rank_zero(begin)
    manifest = read_manifest(project, columns=["path", "image"])
    say(f"{backbone.name} at {backbone.image_size} pixels ({FIT_WORDS[document['fit']]}), "
        f"{backbone.num_features} features of {len(manifest):,} images, on {device}")
    job = Extraction(
        folder=folder, manifest=manifest, root=image_root(project, read_info(project)),
        manifest_digest=file_digest(project / MANIFEST_NAME), num_features=backbone.num_features,
        image_size=backbone.image_size, fit=document["fit"])
    samples = extract(job, lambda: open_inference(backbone, device, document["is_mirrored"], say),
                      _Progress(status, "listing images", show), _Progress(status, "computing features", show))
    if not distributed.is_rank_zero():
        return
    if samples is None:
        raise Cancelled
    lost = samples[samples["row"] < 0]
    for sample_id, reason in zip(lost["sample_id"][:MAX_LOGGED], lost["reason"], strict=False):
        say(f"left out: {sample_id}: {reason}")
    if len(lost) > MAX_LOGGED:
        say(f"left out: {len(lost) - MAX_LOGGED:,} more")


class _Progress:
    """A stage that counts images: into the status, and once a while to `show`."""

    def __init__(self, status: Status | Follower, stage: str, show: Callable[[str], object]) -> None:
        self.status, self.stage, self.show = status, stage, show
        self.began: float | None = None
        self.shown = 0.0

    def __call__(self, done: int, total: int) -> None:
        done, total, now = done * distributed.size(), total * distributed.size(), time.monotonic()
        if self.began is None:
            self.began, self.done_before = now, done
        rate = (done - self.done_before) / max(now - self.began, 1e-9)
        eta = (total - done) / rate if rate > 0 else None
        message = f"{done:,} of {total:,}"
        self.status.tick(stage=self.stage, message=message, step=done, num_steps=total, eta_seconds=eta,
                         samples_per_second=rate or None)
        if now - self.shown > 1.0 or done == total:
            self.shown = now
            rest = f", {rate:,.0f} a second, {eta:,.0f} s left" if eta else ""
            self.show(f"{self.stage}: {message}{rest}")


def _completed(request: FeatureRequest, document: FeatureDocument | None) -> FeatureRequest:
    """The request with what the folder has in place of what was not asked for."""
    if document is None or document.get("kind") == "imported":
        return request
    is_same = request.backbone in (None, document["backbone"])
    return FeatureRequest(
        backbone=request.backbone or document["backbone"],
        weights=request.weights or (document["weights"] or None if is_same else None),
        image_size=request.image_size or document["image_size"],
        is_mirrored=document["is_mirrored"] if request.is_mirrored is None else request.is_mirrored,
        fit=request.fit or document["fit"], device=request.device,
        mean=request.mean or (tuple(document["mean"]) if is_same else None),
        std=request.std or (tuple(document["std"]) if is_same else None))


def _document(backbone: Backbone, asked: FeatureRequest) -> FeatureDocument:
    return {"kind": "backbone", "backbone": backbone.name, "weights": asked.weights or "",
            "revision": backbone.revision, "digest": backbone.digest, "licence": backbone.licence,
            "num_features": backbone.num_features, "image_size": backbone.image_size, "mean": list(backbone.mean),
            "std": list(backbone.std), "is_mirrored": bool(asked.is_mirrored), "fit": asked.fit or DEFAULT_FIT,
            "pixels": VERSION, "created": time.time()}


def _refuse_other(name: str, there: FeatureDocument, asked: FeatureDocument) -> None:
    """Raise FeatureError where features of both documents cannot lie in one folder."""
    if there.get("kind") == "imported":
        raise FeatureError(f"a folder has features of one origin; {name!r} was imported; choose another --name")
    for key, words in PREPARATION:
        if there.get(key) != asked.get(key):
            what = f"{there.get('backbone')} and {asked.get('backbone')}" if key == "digest" else \
                f"{there.get(key)} and {asked.get(key)}"
            raise FeatureError(f"a folder has features of one backbone, prepared in one way; {name!r} differs in "
                               f"{words}: {what}; choose another --name")


def make_map(project: Path, features: str) -> tuple[RunDir, bool]:
    """engine.contract.run_list.map_run, made where it is not there; and whether it was made now."""
    run, is_there = map_run(project, features)
    if is_there:
        return run, False
    return train(RunConfig(method="discriminant", features=features), project, run.name), True


def name_of(backbone: str) -> str:
    """A name for the features of a backbone."""
    stem = Path(backbone).stem if backbone.endswith(".onnx") else backbone
    return re.sub("[^A-Za-z0-9_-]+", "-", stem).strip("-_")[:64] or "features"


def channels_of(option: str, text: str | None) -> tuple[float, ...] | None:
    """Three numbers, separated by commas. Raises FeatureError for anything else."""
    if text is None:
        return None
    try:
        values = tuple(map(float, text.split(",")))
    except ValueError:
        values = ()
    if len(values) != 3 or not all(0.0 <= value <= 1.0 for value in values) or (option == "--std" and 0.0 in values):
        raise FeatureError(f"{option} must be three numbers from 0 to 1, one a channel; got {text!r}; give such as "
                           "0.5,0.5,0.5")
    return values
