"""Label noise as the field generates it: symmetric, pair and instance-dependent. numpy only; touches no file.

N samples, C classes, P pixels. Each returns noisy labels (N,) int64; the truth stays with the caller.
"""

import numpy as np


def symmetric(labels: np.ndarray, num_classes: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Exactly round(rate * N) labels become one of the other classes, uniformly."""
    noisy = labels.copy()
    flipped = rng.choice(len(labels), size=round(rate * len(labels)), replace=False)
    noisy[flipped] = (labels[flipped] + rng.integers(1, num_classes, size=len(flipped))) % num_classes
    return noisy


def pair(labels: np.ndarray, num_classes: int, rate: float, rng: np.random.Generator) -> np.ndarray:
    """Exactly round(rate * N) labels become the next class (Han et al. 2018, pair flipping)."""
    noisy = labels.copy()
    flipped = rng.choice(len(labels), size=round(rate * len(labels)), replace=False)
    noisy[flipped] = (labels[flipped] + 1) % num_classes
    return noisy


def instance_dependent(images: np.ndarray, labels: np.ndarray, num_classes: int, rate: float,
                       rng: np.random.Generator) -> np.ndarray:
    """Part-dependent noise (Xia et al. 2020, algorithm 2): what a label becomes depends on the image's own pixels.

    images: (N, ...) of any numeric type. Each sample has a flip rate q ~ N(rate, 0.1^2) cut to [0, 1]; the other
    classes share q by a softmax of x W_y with W_y ~ N(0, 1), one P x C matrix a class. The paper's code standardises
    the images first; so do we, channel-blind.
    """
    pixels = images.reshape(len(images), -1).astype(np.float64)
    pixels = (pixels - pixels.mean()) / max(float(pixels.std()), 1e-12)
    rates = np.empty(len(labels))
    todo: np.ndarray = np.ones(len(labels), dtype=bool)
    while todo.any():  # truncated by rejection
        rates[todo] = rng.normal(rate, 0.1, size=int(todo.sum()))
        todo = (rates < 0) | (rates > 1)
    noisy = labels.copy()
    for c in range(num_classes):
        projection = rng.normal(size=(pixels.shape[1], num_classes))
        rows = np.flatnonzero(labels == c)
        probs = flip_probabilities(pixels[rows] @ projection, c, rates[rows])
        noisy[rows] = (probs.cumsum(1) > rng.random(len(rows))[:, None]).argmax(1)
    return noisy


def flip_probabilities(scores: np.ndarray, own: int, rates: np.ndarray) -> np.ndarray:
    """(n, C) probabilities of the noisy label: 1 - rate on the class `own`, rate * softmax(scores) on the others."""
    others = scores.copy()
    others[:, own] = -np.inf
    others = np.exp(others - others.max(1, keepdims=True))
    probs: np.ndarray = rates[:, None] * others / others.sum(1, keepdims=True)
    probs[:, own] = 1.0 - rates
    return probs
