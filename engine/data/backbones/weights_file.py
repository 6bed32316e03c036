"""A .safetensors file into a network. No other format of weights is read from people: a pickle would run what it
holds."""

from pathlib import Path

import safetensors.torch
from torch import nn

from engine.data.backbones.backbone import BackboneError, first_line

PICKLED = (".pth", ".pt", ".bin", ".pkl", ".ckpt")


def refuse_pickle(path: str) -> None:
    """Raises BackboneError for a file of weights that would have to be unpickled."""
    if path.lower().endswith(PICKLED):
        raise BackboneError(f"weights must be a .safetensors file, since a pickle may run any code; got {path}; "
                            "convert it with safetensors.torch.save_file")


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy a .safetensors state into a network; entries that it does not have, such as a head's, are left behind.

    The file may be of a whole Classifier of ours (engine.model.networks). Raises BackboneError for a file that cannot
    be read or lacks or reshapes an entry.
    """
    refuse_pickle(str(path))
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise BackboneError(f"weights must be a readable .safetensors file; {path}: {first_line(error)}") from error
    state = {k.removeprefix("backbone."): v for k, v in state.items()}
    expected = module.state_dict()
    bad = [k for k in expected if k not in state or state[k].shape != expected[k].shape]
    if bad:
        raise BackboneError(f"weights must fit the network; {path} lacks or reshapes {bad[0]!r} and {len(bad) - 1} "
                            "more; choose the network they were made for")
    module.load_state_dict({k: state[k] for k in expected})
