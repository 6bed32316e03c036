"""Pixels through a backbone, as fast as the machine has it: onnxruntime on CPU, bfloat16 on a GPU.

Every batch is computed by one thread, so that its bits depend neither on how many threads there are nor on what else
is computed. B batch, S the side of an image, D features.
"""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from engine.data.backbones.backbone import Backbone, first_line
from engine.data.backbones.onnx_file import open_session, output_of
from engine.runtime import distributed

CPU_BATCH, GPU_BATCH = 8, 128
"""On CPU a thread takes a batch: 8 images of 224 pixels stay in its cache (lite0, 2 threads: 109 a second; of 32: 104;
two threads in one batch of 32: 87)."""
Embed = Callable[[np.ndarray], np.ndarray]
"""Pixels (B, S, S, 3) uint8 -> features (B, D) float32; threads may call it at once."""


@dataclass(frozen=True, slots=True)
class Inference:
    """A backbone that is ready to run."""

    embed: Embed
    batch_size: int
    num_workers: int
    """Threads that decode and call it."""


class PixelBackbone(nn.Module):
    """A backbone behind its own normalisation."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        assert backbone.module is not None, "an .onnx file has no module"
        self.module = backbone.module
        scale = 255.0 * torch.tensor([backbone.mean, backbone.std], dtype=torch.float64)
        self.scale = nn.Buffer(scale.float().view(2, 1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, D)."""
        images: Tensor = (pixels.permute(0, 3, 1, 2).float() - self.scale[0]) / self.scale[1]
        features: Tensor = self.module(images)
        return features


@contextlib.contextmanager
def open_inference(backbone: Backbone, device: torch.device, is_mirrored: bool,
                   say: Callable[[str], object]) -> Iterator[Inference]:
    """The backbone on a device. is_mirrored: features are the mean of those of the image and its mirror image. say: is
    told where onnxruntime cannot be used."""
    # Decoding, not the forward, wants the cores of a machine with a GPU.
    workers = max(1, (os.cpu_count() or 1) // distributed.size())
    threads_before = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        try:
            if device.type != "cpu" and backbone.module is not None:
                embed, batch = _on_gpu(PixelBackbone(backbone), device), GPU_BATCH
            else:
                embed, batch = _on_cpu(backbone, Path(folder), say), CPU_BATCH
            yield Inference(_with_mirror(embed) if is_mirrored else embed, batch, workers)
        finally:
            torch.set_num_threads(threads_before)


def _with_mirror(embed: Embed) -> Embed:
    return lambda pixels: (embed(pixels) + embed(np.ascontiguousarray(pixels[:, :, ::-1]))) / np.float32(2)


def _on_gpu(model: PixelBackbone, device: torch.device) -> Embed:
    model = model.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def embed(pixels: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(pixels)
        images = images.pin_memory() if device.type == "cuda" else images
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
            features: Tensor = model(images.to(device, non_blocking=True))  # permuted pixels are channels-last already
        return features.float().cpu().numpy()

    return embed


def _on_cpu(backbone: Backbone, folder: Path, say: Callable[[str], object]) -> Embed:
    if backbone.onnx_path is not None:
        return _onnx_as_it_is(backbone)
    model = PixelBackbone(backbone).eval()
    try:
        session = open_session(_exported(model, backbone.image_size, folder), num_threads=1)
    except Exception as error:  # the exporter and onnxruntime raise whatever an operator they lack makes them raise
        say(f"{backbone.name} runs on torch, which is slower: onnxruntime cannot: {first_line(error)}")
        return _on_torch(model)

    def embed(pixels: np.ndarray) -> np.ndarray:
        features: np.ndarray = session.run(None, {"pixels": pixels})[0]
        return features

    return embed


def _exported(model: PixelBackbone, size: int, folder: Path) -> Path:
    """The model as an .onnx file in folder, for any number of images."""
    path = folder / "backbone.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about sizes that are fixed here
        torch.onnx.export(model, (torch.zeros(2, size, size, 3, dtype=torch.uint8),), str(path), dynamo=False,
                          input_names=["pixels"], output_names=["features"],
                          dynamic_axes={"pixels": {0: "batch"}, "features": {0: "batch"}})
    return path


def _on_torch(model: PixelBackbone) -> Embed:
    torch.set_num_threads(1)  # threads take a batch each

    def embed(pixels: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            features: Tensor = model(torch.from_numpy(pixels))
        return features.numpy()

    return embed


def _onnx_as_it_is(backbone: Backbone) -> Embed:
    """An .onnx file of one's own, fed with normalised images."""
    assert backbone.onnx_path is not None
    session = open_session(backbone.onnx_path, num_threads=1)
    name, output = session.get_inputs()[0].name, output_of(session).name
    mean, std = (np.asarray(255.0 * np.asarray(v, np.float64), np.float32) for v in (backbone.mean, backbone.std))

    def embed(pixels: np.ndarray) -> np.ndarray:
        images = np.ascontiguousarray(((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2))
        features: np.ndarray = session.run([output], {name: images})[0]
        return features.mean((2, 3)) if features.ndim == 4 else features

    return embed
