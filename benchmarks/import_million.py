"""Import of 1,000,000 Clothing1M keys without opening an image: seconds and peak memory.

    python benchmarks/import_million.py [NUM_KEYS]

Writes key lists of Clothing1M's proportions into a temporary folder (no image exists), imports them in a process of
its own and prints what it took. Peak memory is that process's own maximum resident set.

Last results, 2 shared x86-64 cores (load 4), Python 3.11, pyarrow 26: 1,024,000 rows in 5.6 s with start-up (4.0 s
without), 184,134 rows/s, peak memory 653 MiB; 2,000 keys, so the libraries alone: 1.0 s, 174 MiB. One run each.
"""

import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

REPOSITORY = Path(__file__).resolve().parent.parent
NUM_CLASSES = 14
COMMAND = "import curation.__main__ as c, resource, sys; status = c.main(sys.argv[1:]); " \
          "print('peak_kb', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)"


def write_layout(root: Path, num_keys: int, seed: int = 0) -> None:
    """Key lists and label files as Clothing1M has them: num_keys noisy, 2.5% of them dual, 1.4% val, 1% test."""
    generator = np.random.default_rng(seed)
    num_dual, num_val, num_test = num_keys // 40, 14 * num_keys // 1000, num_keys // 100
    total = num_keys + num_val + num_test
    numbers = generator.integers(10**6, 4 * 10**9, size=(total, 2))
    keys = np.array([f"images/{idx % 10}/{idx % 100:02d}/{a},{b}_{idx}.jpg" for idx, (a, b) in enumerate(numbers)])
    truth = generator.integers(0, NUM_CLASSES, total)
    noisy = np.where(generator.random(total) < 0.38, generator.integers(0, NUM_CLASSES, total), truth)
    train, clean = np.arange(num_keys), np.r_[0:num_dual, num_keys:total]
    lists = {"noisy_train": train, "clean_train": np.arange(num_dual),
             "clean_val": np.arange(num_keys, num_keys + num_val), "clean_test": np.arange(num_keys + num_val, total)}
    for name, idx in lists.items():
        (root / f"{name}_key_list.txt").write_text("\n".join(keys[idx]) + "\n")
    for name, idx, labels in (("noisy", train, noisy), ("clean", clean, truth)):
        lines = (f"{key} {label}\n" for key, label in zip(keys[idx], labels[idx], strict=True))
        with open(root / f"{name}_label_kv.txt", "w") as file:
            file.writelines(lines)
    (root / "category_names_eng.txt").write_text("".join(f"class {idx}\n" for idx in range(NUM_CLASSES)))


def main(num_keys: int = 1_000_000) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, project = Path(folder) / "source", Path(folder) / "project"
        root.mkdir()
        write_layout(root, num_keys)
        size_mb = sum(path.stat().st_size for path in root.iterdir()) / 1e6
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", COMMAND, "import", "clothing1m", str(root), "--project",
                               str(project), "--check", "none"], cwd=REPOSITORY, capture_output=True, text=True)
        seconds = time.monotonic() - began
        if done.returncode:
            sys.exit(done.stderr)
        manifest_mb = (project / "manifest.parquet").stat().st_size / 1e6
    peak_mb = int(done.stdout.rsplit("peak_kb", 1)[1]) / 1024
    num_rows = num_keys + 14 * num_keys // 1000 + num_keys // 100
    print("\n".join(done.stdout.splitlines()[:6]))
    print(f"lists {size_mb:.0f} MB -> manifest {manifest_mb:.0f} MB")
    print(f"{seconds:.1f} s with start-up, {num_rows / seconds:,.0f} rows/s, peak memory {peak_mb:,.0f} MiB")
    print(f"hardware: {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB, "
          f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:2]))
