"""Batches of decoded images on the training device: gathered, normalised, augmented. Decodes nothing."""

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.contract.config import RunConfig
from engine.data.backbones.backbone import IMAGENET_MEAN, IMAGENET_STD

AHEAD = 2
"""Batches gathered while the device works on one."""


class ImageStore:
    """Batches of a Dataset's images on a device: resident where they fit on it, gathered from the cache otherwise."""

    def __init__(self, images: np.ndarray, device: torch.device, mean: tuple[float, ...] = IMAGENET_MEAN,
                 std: tuple[float, ...] = IMAGENET_STD) -> None:
        """mean, std: what the network was trained with; any constant does for one that starts from nothing."""
        self.images, self.device, self.mean, self.std = images, device, mean, std
        self.resident: Tensor | None = None
        if images.ndim == 2 and device.type == "cpu":  # features: to gather a batch is quicker than to hand it over
            self.resident = torch.from_numpy(np.asarray(images))
        elif device.type == "cuda" and images.nbytes < 0.5 * torch.cuda.mem_get_info(device)[0]:
            self.resident = torch.from_numpy(np.array(images)).to(device)

    def batch(self, idx: np.ndarray) -> Tensor:
        """idx (B,) -> float images (B, 3, S, S), normalised."""
        if self.resident is not None:
            return normalize(self.resident.index_select(0, to_device(idx, self.device)), self.mean, self.std)
        return normalize(to_device(self.images[idx], self.device), self.mean, self.std)

    def ahead(self, batches: Iterable[np.ndarray]) -> Iterator[Tensor]:
        """`batch` of each, in order. Images that are not resident are read, and copied to the device, by a thread that
        is up to AHEAD batches before."""
        if self.resident is not None:
            yield from map(self.batch, batches)
            return
        stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None  # type: ignore[no-untyped-call]

        def gathered(idx: np.ndarray) -> tuple[Tensor, torch.cuda.Event | None]:
            with torch.cuda.stream(stream):  # no effect without a stream
                return to_device(self.images[idx], self.device), stream.record_event() if stream else None

        def taken(future: Future[tuple[Tensor, torch.cuda.Event | None]]) -> Tensor:
            images, is_there = future.result()
            if is_there:
                current = torch.cuda.current_stream(self.device)
                current.wait_event(is_there)
                images.record_stream(current)
            return normalize(images, self.mean, self.std)

        waiting: deque[Future[tuple[Tensor, torch.cuda.Event | None]]] = deque()
        with ThreadPoolExecutor(max_workers=1) as pool:
            for idx in batches:
                waiting.append(pool.submit(gathered, idx))
                if len(waiting) > AHEAD:
                    yield taken(waiting.popleft())
            while waiting:
                yield taken(waiting.popleft())

    def batches(self, idx: np.ndarray, batch_size: int) -> Iterator[Tensor]:
        """Images over all of idx, in order."""
        return self.ahead(idx[start:start + batch_size] for start in range(0, len(idx), batch_size))


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """An array as a tensor on the device, without waiting for a GPU."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@functools.cache
def _channel_statistics(device: torch.device, mean: tuple[float, ...],
                        std: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Both as (1, 3, 1, 1), made once a device: to make them at each batch is to wait for a GPU there."""
    mean_C, std_C = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (mean, std))
    return mean_C, std_C


def normalize(images: Tensor, mean: tuple[float, ...] = IMAGENET_MEAN,
              std: tuple[float, ...] = IMAGENET_STD) -> Tensor:
    """uint8 (B, 3, S, S) -> float32, channels last, with channel mean and deviation (on a scale of 0 to 1) taken out;
    features (B, D) are scaled already -> float32."""
    if images.ndim == 2:
        return images.float()
    mean_C, std_C = _channel_statistics(images.device, mean, std)
    return ((images.float() / 255.0 - mean_C) / std_C).contiguous(memory_format=torch.channels_last)


def augmentation_of(config: RunConfig, image_size: int) -> str:
    """What `augment` does in a training of this config; nothing to features."""
    if config.head:
        return "none"
    return {"auto": "shift" if image_size <= 8 else "shift_flip"}.get(config.augment, config.augment)


def augment(images: Tensor, how: str, rng: np.random.Generator, num: int | None = None,
            part: slice = slice(None)) -> Tensor:
    """Random translation by up to an eighth of the side (edges repeated) and, for shift_flip, mirroring; same shape.

    images: rows `part` of a batch of num (default: all of it), whose draws do not depend on how the batch is parted.
    """
    if how == "none":
        return images
    num, side = num or len(images), images.shape[-1]
    reach = max(1, side // 8)
    padded = F.pad(images, (reach, reach, reach, reach), mode="replicate")
    offsets = rng.integers(0, 2 * reach + 1, size=(2, num))
    rows = to_device((offsets[0][:, None] + np.arange(side))[part], images.device)
    columns = np.arange(side)[None, :].repeat(num, 0)
    if how == "shift_flip":
        columns = np.where(rng.random(num)[:, None] < 0.5, columns[:, ::-1], columns)
    cols = to_device((offsets[1][:, None] + columns)[part], images.device)
    samples = torch.arange(len(images), device=images.device)[:, None, None]
    # Advanced indexing around a slice puts the sliced channel last: (B, S, S, 3) seen as (B, 3, S, S), channels last.
    return padded[samples, :, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def epoch_order(rows: np.ndarray, num_steps: int, draw_size: int, rng: np.random.Generator) -> np.ndarray:
    """rows (M,), M > 0, in the order an epoch's steps take them, draw_size each: whole permutations of all of them,
    until every step is filled."""
    need = num_steps * draw_size
    if len(rows) > need - draw_size:
        # Plain training: the last batch may be short, but one sample alone has no batch statistics.
        need = need if len(rows) % draw_size == 1 else min(need, len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(-(-need // len(rows)))])[:need]
