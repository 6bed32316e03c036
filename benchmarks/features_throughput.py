"""Images a second of feature extraction, over those of onnxruntime alone on pixels that are decoded already.

    python benchmarks/features_throughput.py PROJECT [--backbone efficientnet_lite0] [--image-size 224] [--num 12000]

Block by block the same images go both ways, one after the other, so that a busy machine slows both; share_of_cpu
compares the processor's time of both, which other processes do not change. Extraction reads
and digests the files, decodes, computes, writes shards and journal. onnxruntime alone: the faster, on the first block,
of one batch of 32 on all threads and of one batch of 8 a thread. Features go to a temporary folder.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from engine.contract.feature_dir import FeatureDir
from engine.contract.manifest import image_root, read_info, read_manifest
from engine.contract.pictures.image_files import open_image
from engine.data.backbones.opening import open_backbone
from engine.data.decoding import source_of, to_square
from engine.data.feature_store import Extraction, extract
from engine.data.inference import Inference, PixelBackbone, _exported, open_inference, open_session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", type=Path)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--num", type=int, default=12_000)
    parser.add_argument("--block", type=int, default=2048)
    options = parser.parse_args()
    manifest = read_manifest(options.project, ["path", "image"]).iloc[:options.num].reset_index(drop=True)
    root, size = image_root(options.project, read_info(options.project)), options.image_size
    backbone = open_backbone(options.backbone, image_size=size)
    seconds = {"alone": 0.0, "extraction": 0.0}
    cpu = dict(seconds)
    shares = []
    with open_inference(backbone, torch.device("cpu"), False, print) as inference, \
            tempfile.TemporaryDirectory() as folder:
        model = PixelBackbone(backbone).eval()
        together = open_session(_exported(model, size, Path(folder)), num_threads=os.cpu_count() or 1)
        pixels = decoded(manifest, root, size, options.block)
        ways = {"a batch a thread": inference,
                "all threads a batch": Inference(lambda x: together.run(None, {"pixels": x})[0], 32, 1)}
        found = {name: alone(way, pixels) for name, way in ways.items()}
        best = ways[min(found, key=lambda name: found[name])]
        for name, took in found.items():
            print(f"onnxruntime alone, {name}: {len(pixels) / took:.1f} images/s", flush=True)
        for start in range(0, len(manifest), options.block):
            block = manifest.iloc[start:start + options.block].reset_index(drop=True)
            pixels = decoded(block, root, size, options.block)
            before = time.process_time()
            took = {"alone": alone(best, pixels)}
            middle, began = time.process_time(), time.perf_counter()
            cpu["alone"] += middle - before
            target = FeatureDir(Path(folder) / str(start))
            target.path.mkdir()
            extract(Extraction(folder=target, manifest=block, root=root, manifest_digest="none", image_size=size,
                               num_features=backbone.num_features, fit="crop"),
                    lambda: nullcontext(inference), lambda *_: None, lambda *_: None)
            took["extraction"] = time.perf_counter() - began
            cpu["extraction"] += time.process_time() - middle
            for name, value in took.items():
                seconds[name] += value
            shares.append(took["alone"] / took["extraction"])
            print(f"{start + len(block):,}: alone {len(block) / took['alone']:.1f}, extraction "
                  f"{len(block) / took['extraction']:.1f} images/s", flush=True)
    print(json.dumps({
        "backbone": options.backbone, "image_size": size, "num": len(manifest), "cores": os.cpu_count(),
        "alone_per_second": round(len(manifest) / seconds["alone"], 1),
        "extraction_per_second": round(len(manifest) / seconds["extraction"], 1),
        "share_of_cpu": round(cpu["alone"] / cpu["extraction"], 3),
        "share": round(seconds["alone"] / seconds["extraction"], 3),
        "share_of_blocks": [round(share, 3) for share in shares]}))


def decoded(rows, root: Path, size: int, num: int) -> np.ndarray:
    """(up to num, size, size, 3) uint8."""
    def one(row: int) -> np.ndarray:
        with open_image(source_of(rows, row, root), size) as image:
            return to_square(image, size, "crop")

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(one, range(min(num, len(rows))))))


def alone(way: Inference, pixels: np.ndarray) -> float:
    """Seconds of all pixels through it, in memory."""
    parts = [pixels[at:at + way.batch_size] for at in range(0, len(pixels), way.batch_size)]
    began = time.perf_counter()
    with ThreadPoolExecutor(way.num_workers) as pool:
        list(pool.map(way.embed, parts))
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
