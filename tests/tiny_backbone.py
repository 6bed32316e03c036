"""A backbone of 0.4 million weights that start at random, as a .safetensors file: what tests of features stand on."""

from pathlib import Path

import safetensors.torch
import timm
import torch

ARCHITECTURE, NUM_FEATURES = "test_resnet", 96


def write_weights(path: Path, seed: int = 0) -> str:
    """A .safetensors file for ARCHITECTURE at `path`; returns it as text."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0)
    safetensors.torch.save_file(module.state_dict(), path)
    return str(path)
