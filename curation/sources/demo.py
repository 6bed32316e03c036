"""The built-in demo: scikit-learn's 1,797 real handwritten digits, 8x8 pixels, with some training labels made wrong.

The digits come with scikit-learn, so no network is needed. They are written as PNG files into the project's own
images folder, which makes the project portable. Splits are stratified by digit: 200 clean, 400 test, the rest train.

How labels are made wrong: a random `noise` share of the training images, drawn with `seed`, gets the label of the
nearest training image (Euclidean distance of pixels) that shows another digit, which is the class that a
nearest-neighbour model takes it for when it errs. So the noise is like people's: 4 becomes 9 sooner than 0. The truth
of every image stays in clean_label, for scoring alone.
"""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from curation.sources.reading.rows import Loaded, plain_rows
from curation.tables.report import Column, Problems, Progress, SourceError
from engine.contract.disk.temporaries import temporary_beside
from engine.contract.manifest import MANIFEST_NAME, ManifestError, read_info

IMAGES = "images"
NUM_CLEAN, NUM_TEST = 200, 400
CLASSES = tuple(str(digit) for digit in range(10))


def load(root: Path, project: Path, problems: Problems, progress: Progress, *, seed: int = 0,
         noise: float = 0.1) -> Loaded:
    """Writes the images into `project` and gives their rows. sample_id (digit-0042) is scikit-learn's own index.

    noise: share of training labels made wrong, in [0, 1). Raises SourceError for a bad option or where the project's
    images folder belongs to another data set.
    """
    if not 0 <= noise < 1:
        raise SourceError(f"noise must lie in [0, 1); got {noise}; 0.1 makes a tenth of the labels wrong")
    if not 0 <= seed < 2**32:
        raise SourceError(f"seed must lie in [0, 2**32); got {seed}; take a small whole number")
    _refuse_foreign_images(project)
    pixels, digits = _digits()
    split = _splits(digits, seed)
    given = digits.copy()
    train_idx = np.flatnonzero(split == "train")
    given[train_idx] = _with_wrong_labels(pixels[train_idx], digits[train_idx], noise, seed)
    names = [f"digit-{idx:04d}" for idx in range(len(digits))]
    _write_images(project / IMAGES, names, pixels, progress)
    columns: dict[str, Column] = {
        "sample_id": pa.array(names), "path": pa.array([f"{name}.png" for name in names]),
        "given_label": pa.array([CLASSES[digit] for digit in given]), "split": pa.array(split.tolist()),
        "clean_label": pa.array([CLASSES[digit] for digit in digits]),
    }
    num_wrong = int((given != digits).sum())
    return Loaded(rows=plain_rows(columns, "scikit-learn digits", None), root=project / IMAGES, classes=CLASSES,
                  notes=[f"{num_wrong} of {len(train_idx):,} training labels were made wrong on purpose (seed {seed})"])


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """(pixels (1797, 8, 8) uint8, digits (1797,) int64); scikit-learn's pixels run from 0 to 16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.rint(bunch.images * (255 / 16)).astype(np.uint8), bunch.target.astype(np.int64)


def _splits(digits: np.ndarray, seed: int) -> np.ndarray:
    """The split of each digit, (N,) of str, stratified by class."""
    from sklearn.model_selection import train_test_split

    rest, test = train_test_split(np.arange(len(digits)), test_size=NUM_TEST, stratify=digits, random_state=seed)
    _, clean = train_test_split(rest, test_size=NUM_CLEAN, stratify=digits[rest], random_state=seed)
    split = np.full(len(digits), "train", dtype="<U5")
    split[test], split[clean] = "test", "clean"
    return split


def _with_wrong_labels(pixels: np.ndarray, digits: np.ndarray, noise: float, seed: int) -> np.ndarray:
    """digits (N,) with round(noise * N) of them replaced by the class of the nearest image of another class."""
    flat = pixels.reshape(len(pixels), -1).astype(np.float64)
    square = (flat ** 2).sum(1)
    distance = square[:, None] + square[None, :] - 2 * flat @ flat.T
    distance[digits[:, None] == digits[None, :]] = np.inf
    wrong = digits.copy()
    flipped = np.random.default_rng(seed).choice(len(digits), size=round(noise * len(digits)), replace=False)
    wrong[flipped] = digits[distance[flipped].argmin(1)]
    return wrong


def _write_images(folder: Path, names: list[str], pixels: np.ndarray, progress: Progress) -> None:
    """One PNG each, by temporary name, so that no reader sees half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(folder / "digit.png")
    for idx, name in enumerate(names):
        Image.fromarray(pixels[idx]).save(temporary, format="PNG")
        os.replace(temporary, folder / f"{name}.png")
        if idx % 200 == 0 or idx == len(names) - 1:
            progress(idx + 1, len(names), "writing digits")


def _refuse_foreign_images(project: Path) -> None:
    """Raise SourceError if `project` has an images folder that the demo did not make."""
    if not (project / IMAGES).exists():
        return
    try:
        is_ours = (project / MANIFEST_NAME).exists() and read_info(project).source == "demo"
    except ManifestError:
        is_ours = False
    if not is_ours and any((project / IMAGES).glob("[!.]*")) and not (project / IMAGES / "digit-0000.png").is_file():
        raise SourceError(f"the demo needs a project folder without images of its own; {project / IMAGES} holds some; "
                          "choose another project")
