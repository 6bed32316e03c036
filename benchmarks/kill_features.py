"""Kill a feature extraction at random, again and again, and compare its bytes with those of one that was left alone.

    python benchmarks/kill_features.py PROJECT [--kills 20] [--image-size 224] [--num 4000] [--seed 0]

Works on a temporary project of the same images. Every fourth kill (SIGKILL) comes some time in the first seconds: while
the program loads, in the listing of images or the loading of the backbone; the others some time after features began
to be computed: between chunks or in the middle of one.
"""

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pyarrow.parquet as pq

from engine.contract.feature_dir import FeatureDir
from engine.contract.manifest import MANIFEST_NAME, ManifestInfo, image_root, manifest_schema, read_info

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--num", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        project = copy_of(options.project, Path(folder), options.num)
        began = time.perf_counter()
        subprocess.run(command(project, "whole", options.image_size), cwd=ROOT, check=True, capture_output=True)
        document = FeatureDir.of(project, "whole").read_document()
        whole = time.perf_counter() - began
        computing = FeatureDir.of(project, "whole").read_status()["heartbeat"] - document["created"]
        print(f"left alone: {whole:.0f} s, {computing:.0f} of them computing", flush=True)
        kills = 0
        while kills < options.kills:
            process = subprocess.Popen(command(project, "killed", options.image_size), cwd=ROOT,
                                       stdout=subprocess.DEVNULL)
            after = rng.random() * 1.5 * (whole - computing if kills % 4 == 0 else computing / options.kills)
            if kills % 4:
                wait_for_computing(project, process)
            try:
                process.wait(timeout=after)
            except subprocess.TimeoutExpired:
                process.kill()
            if process.wait() != -signal.SIGKILL:
                print(f"it ended by itself after {kills} kills: ask for more images")
                break
            kills += 1
            journal = FeatureDir.of(project, "killed").journal_path
            lines = journal.read_text().count("\n") if journal.exists() else 0
            print(f"kill {kills} after {after:.1f} s: {lines} chunks are finished", flush=True)
        subprocess.run(command(project, "killed", options.image_size), cwd=ROOT, check=True, capture_output=True)
        differing = [name for name, raw in bytes_of(project, "whole").items()
                     if bytes_of(project, "killed").get(name) != raw]
        print(f"{kills} kills; " + (f"files that differ: {differing}" if differing else "all files are equal"))
        sys.exit(1 if differing else 0)


def wait_for_computing(project: Path, process: subprocess.Popen) -> None:
    """Return once this process computes features, or has ended."""
    folder = FeatureDir.of(project, "killed")
    while process.poll() is None:
        status = folder.read_status()
        if status.get("pid") == process.pid and status.get("stage") == "computing features":
            return
        time.sleep(0.05)


def copy_of(project: Path, folder: Path, num: int) -> Path:
    """A project of the first num samples, whose images stay where they are."""
    info = read_info(project)
    table = pq.read_table(project / MANIFEST_NAME).slice(0, num)
    there = ManifestInfo(classes=info.classes, root=str(image_root(project, info)), source=info.source)
    pq.write_table(table.cast(manifest_schema(table.schema, there)), folder / MANIFEST_NAME)
    return folder


def command(project: Path, name: str, image_size: int) -> list[str]:
    return [sys.executable, "-m", "engine", "features", str(project), "--name", name, "--image-size", str(image_size),
            "--device", "cpu", "--no-run"]


def bytes_of(project: Path, name: str) -> dict[str, bytes]:
    """What must be equal: shards, samples, rows and the journal with its digests."""
    folder = FeatureDir.of(project, name).path
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.suffix in (".npy", ".parquet") or path.name == "journal.jsonl"}


if __name__ == "__main__":
    main()
