"""Manifest -> decoded images and labels. Decodes each image once into a uint8 cache.

Does not decide roles and does not change labels beyond applying the decisions file.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from engine.manifest import (
    MANIFEST_NAME,
    ManifestError,
    file_digest,
    image_root,
    read_info,
    read_manifest,
    resolve_image,
)
from engine.rundir import write_atomic

MAX_NATIVE_SIZE = 224
CHUNK = 1024
GROUND = (226, 232, 230)
"""What shows through transparency: the ground on which thumbnails show it to people."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """A project's samples in memory. M rows of the manifest, of which N are the train split, in manifest order."""

    classes: tuple[str, ...]
    images: np.ndarray
    """(M, 3, S, S) uint8, memory-mapped."""
    labels: np.ndarray
    """(M,) int64 labels to train on or score against: given_label under the decisions; -1 where there is none."""
    clean_labels: np.ndarray
    """(M,) int64 known truth, -1 where unknown. For scoring alone."""
    sample_ids: np.ndarray
    """(M,) object."""
    train_idx: np.ndarray
    clean_idx: np.ndarray
    test_idx: np.ndarray
    """Rows of each split, int64; clean and test leave unreadable and unlabelled rows out."""
    pins: np.ndarray
    """(N,) int8 over train rows: 1 pinned to training, -1 pinned to validation, 0 free."""
    excluded: np.ndarray
    """(N,) bool: excluded by a decision, without a label or unreadable."""
    notes: np.ndarray
    """(N,) object: why a row is excluded, "" otherwise."""
    groups: np.ndarray | None
    """(M,) object of group names, where the manifest has them."""

    @property
    def num_train(self) -> int:
        return len(self.train_idx)

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def train_labels(self) -> np.ndarray:
        labels: np.ndarray = self.labels[self.train_idx]
        return labels


def load_dataset(project: Path, decisions: pd.DataFrame, image_size: int | None, progress: Progress) -> Dataset:
    """Read the manifest, decode (or reopen) the images and apply the decisions.

    decisions: DECISION_COLUMNS. image_size None: the data's own size, at most 224. Raises ManifestError where the
    manifest breaks the contract, nothing is left to train on, or a decision names an unknown class.
    """
    project = Path(project)
    info = read_info(project)
    rows = read_manifest(project, columns=["path", "image", "clean_label", "group"])
    if not (rows["split"] == "train").any():
        raise ManifestError(f"a project needs samples of split train; {project} has none of {len(rows)}; import again")
    root = image_root(project, info)
    size = image_size or native_size(rows, root)
    images, bad = decode_images(project, rows, root, size, progress)
    labels = _label_codes(rows["given_label"], info.classes)
    splits = rows["split"].to_numpy(dtype=object)
    train_idx = np.flatnonzero(splits == "train")
    is_usable = labels >= 0
    is_usable[list(bad)] = False
    pins, excluded, notes = _apply_decisions(decisions, rows, train_idx, labels, info.classes)
    for row, note in [(row, "no usable label") for row in np.flatnonzero(labels < 0)] + list(bad.items()):
        position = int(np.searchsorted(train_idx, row))
        if position < len(train_idx) and train_idx[position] == row:
            excluded[position] = True
            notes[position] = notes[position] or note
    if excluded.all():
        raise ManifestError(f"training needs at least one usable sample; all {len(train_idx)} of {project} are "
                            f"excluded, unlabelled or unreadable (first: {notes[0]}); undo exclusions or import again")
    if (excluded | (pins == -1)).all():
        raise ManifestError(f"training needs at least one usable sample outside validation; all {(~excluded).sum()} of "
                            f"{project} are pinned to validation; unpin some")
    return Dataset(
        classes=info.classes, images=images, labels=labels,
        clean_labels=_label_codes(rows["clean_label"], info.classes) if "clean_label" in rows else
        np.full(len(rows), -1, dtype=np.int64),
        sample_ids=rows["sample_id"].to_numpy(dtype=object), train_idx=train_idx,
        clean_idx=np.flatnonzero((splits == "clean") & is_usable),
        test_idx=np.flatnonzero((splits == "test") & is_usable),
        pins=pins, excluded=excluded, notes=notes,
        groups=rows["group"].to_numpy(dtype=object) if "group" in rows else None,
    )


def _label_codes(names: pd.Series, classes: tuple[str, ...]) -> np.ndarray:
    """Positions in `classes`, -1 for null or unknown names."""
    return pd.Index(list(classes), dtype=object).get_indexer(pd.Index(names, dtype=object)).astype(np.int64)


def _apply_decisions(decisions: pd.DataFrame, rows: pd.DataFrame, train_idx: np.ndarray, labels: np.ndarray,
                     classes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pins, exclusions and notes over train rows; relabels are written into `labels`. Ids not in training are left."""
    pins = np.zeros(len(train_idx), dtype=np.int8)
    excluded = np.zeros(len(train_idx), dtype=bool)
    notes = np.full(len(train_idx), "", dtype=object)
    position_of = pd.Series(np.arange(len(train_idx)), index=rows["sample_id"].to_numpy()[train_idx])
    known = decisions[decisions["sample_id"].isin(position_of.index)]
    at = position_of.loc[known["sample_id"]].to_numpy()
    pin = known["pin"].to_numpy(dtype=object)
    pins[at[pin == "train"]] = 1
    pins[at[pin == "validation"]] = -1
    is_out = known["excluded"].fillna(False).to_numpy(dtype=bool)
    excluded[at[is_out]], notes[at[is_out]] = True, "excluded by decision"
    has_label = known["label"].notna().to_numpy()
    codes = _label_codes(known["label"][has_label], classes)
    if (codes < 0).any():
        name = known["label"][has_label].iloc[int(np.flatnonzero(codes < 0)[0])]
        raise ManifestError(f"a relabel must name one of the project's classes; got {name!r}; undo that decision")
    labels[train_idx[at[has_label]]] = codes
    return pins, excluded, notes


def native_size(rows: pd.DataFrame, root: Path) -> int:
    """The median longer side of up to 64 images spread over the data, at most 224 pixels, at least 8."""
    sides = []
    for row in np.linspace(0, len(rows) - 1, min(64, len(rows))).astype(int):
        try:
            with _open(rows, row, root) as image:
                sides.append(max(image.size))
        except Exception:  # decoding says which and why; one picture must not end the run
            continue
    if not sides:
        raise ManifestError(f"images must be readable; none of {min(64, len(rows))} tried under {root} is; check root")
    return int(np.clip(np.median(sides), 8, MAX_NATIVE_SIZE))


def _open(rows: pd.DataFrame, row: int, root: Path) -> Image.Image:
    """Open (not decode) the image of a manifest row, from its bytes or its path."""
    if "image" in rows and rows["image"].iloc[row] is not None:
        value: Any = rows["image"].iloc[row]
        if value.get("bytes"):
            return Image.open(BytesIO(value["bytes"]))
        return Image.open(resolve_image(root, value["path"]))
    path = rows["path"].iloc[row]
    if not isinstance(path, str):
        raise ManifestError("a sample must have a path or an image; got neither")
    return Image.open(resolve_image(root, path))


def decode_images(project: Path, rows: pd.DataFrame, root: Path, size: int,
                  progress: Progress) -> tuple[np.ndarray, dict[int, str]]:
    """All images as (M, 3, size, size) uint8, from the project's cache or decoded into it; {row: reason} of bad ones.

    The cache is keyed by the manifest's digest and the size, and appears under its name only once complete.
    """
    folder = project / "cache" / f"{file_digest(project / MANIFEST_NAME)[:16]}-{size}"
    if not (folder / "bad.json").exists():
        partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        _drop_dead_partials(folder)
        partial.mkdir(parents=True, exist_ok=True)
        try:
            _decode_into(partial, rows, root, size, progress)
            if not (folder / "bad.json").exists():  # another run may have decoded the same meanwhile
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(partial, folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    bad = {int(k): v for k, v in json.loads((folder / "bad.json").read_text()).items()}
    if bad:  # files may have been mended since
        images = np.load(folder / "images.npy", mmap_mode="r+")
        still = {row: reason for row in bad if (reason := _decode_row(images, row, rows, root))}
        if still != bad:
            images.flush()
            text, bad = json.dumps(still), still
            write_atomic(folder / "bad.json", lambda path: path.write_text(text))
    return np.load(folder / "images.npy", mmap_mode="r"), bad


def _drop_dead_partials(folder: Path) -> None:
    """Remove what killed processes left half decoded."""
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        pid = re.fullmatch(r"\..*\.(\d+)\.tmp", left.name)
        if pid and not Path(f"/proc/{pid[1]}").exists() and Path("/proc").exists():
            shutil.rmtree(left, ignore_errors=True)


def _decode_into(folder: Path, rows: pd.DataFrame, root: Path, size: int, progress: Progress) -> None:
    shape = (len(rows), 3, size, size)
    images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
    bad: dict[int, str] = {}

    def decode(row: int) -> None:
        if reason := _decode_row(images, row, rows, root):
            bad[row] = reason

    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for start in range(0, len(rows), CHUNK):
            list(pool.map(decode, range(start, min(start + CHUNK, len(rows)))))
            progress(min(start + CHUNK, len(rows)), len(rows))
    images.flush()
    (folder / "bad.json").write_text(json.dumps(bad))


def _decode_row(images: np.ndarray, row: int, rows: pd.DataFrame, root: Path) -> str:
    """Decode one image into its place; the reason why it cannot be read, "" if it can."""
    size = images.shape[-1]
    try:
        with _open(rows, row, root) as image:
            rgb = _to_rgb(image)
            if rgb.size != (size, size):
                rgb = ImageOps.fit(rgb, (size, size), Image.Resampling.BICUBIC)
            images[row] = np.asarray(rgb).transpose(2, 0, 1)
    except Exception as error:  # Pillow raises whatever its codecs raise; the reason is kept
        return f"unreadable image: {error}".replace("\n", " ")[:200]
    return ""


def _to_rgb(image: Image.Image) -> Image.Image:
    """RGB as thumbnails show it to people: deep greys stretched to 8 bits, where a plain conversion would clip them to
    white, and transparency over GROUND, where it would show whatever colour lies under it."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        values = np.asarray(image, dtype=np.float64)
        low, high = float(values.min()), float(values.max())
        if high > 255 and high > low:
            values = (values - low) * (255.0 / (high - low))
        return Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        pixels = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", pixels.size, (*GROUND, 255)), pixels).convert("RGB")
    return image.convert("RGB")
