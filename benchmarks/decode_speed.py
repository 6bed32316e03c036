"""Images a second into the decoded cache, by number of threads: 512 noisy JPEGs of 480 x 640 to 224 pixels.

    python benchmarks/decode_speed.py [--repeats 3]

Interleaved; prints the median and range of each. Nothing is kept.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
from PIL import Image

from engine.data.image_cache import _decode_row

NUM, SIDE = 512, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats, rng = parser.parse_args().repeats, np.random.default_rng(0)
    y, x = np.mgrid[:640, :480] / 640
    with tempfile.TemporaryDirectory() as folder:
        for i in range(NUM):
            smooth = 127 + 90 * np.stack([np.sin(9 * x + i), np.cos(7 * y + i), np.sin(5 * x * y + i)], 2)
            pixels = (smooth + rng.integers(-12, 12, smooth.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(Path(folder) / f"{i}.jpg", quality=90)
        rows = pd.DataFrame({"path": [f"{i}.jpg" for i in range(NUM)]})
        images = np.zeros((NUM, 3, SIDE, SIDE), np.uint8)
        threads = sorted({1, 2, os.cpu_count() or 1})
        speeds: dict[int, list[float]] = {num: [] for num in threads}
        for _ in range(repeats):
            for num in threads:
                with ThreadPoolExecutor(num) as pool:
                    began = time.perf_counter()
                    reasons = set(pool.map(lambda row: _decode_row(images, row, rows, Path(folder)), range(NUM)))
                    speeds[num].append(NUM / (time.perf_counter() - began))
                    assert reasons == {""}, reasons
    for num, found in speeds.items():
        print(f"{num} threads: {statistics.median(found):.0f} images/s ({min(found):.0f} to {max(found):.0f})")


if __name__ == "__main__":
    main()
