"""What a run asks of its processes: which trainings several of them can share, and how many threads each takes."""

import torch

from engine.contract.config import RunConfig
from engine.contract.method_config import CLOSED_FORMS
from engine.contract.methods import REWEIGHTED
from engine.contract.settings import ConfigError
from engine.runtime import distributed

TINY_IMAGE_SIZE = 16


def refuse_ranks(config: RunConfig) -> None:
    """Raise ConfigError for what several processes cannot do together."""
    if distributed.size() == 1:
        return
    if config.has_first_training or config.validation_source == "proxy" or config.weight_source == "online":
        raise ConfigError(f"several processes train methods of one training and no proxy buffer; got {config.method}; "
                          "start it without torchrun")
    if config.is_fine_tuning and not torch.cuda.is_available():
        raise ConfigError(f"several processes fine-tune a backbone on GPUs alone; got network={config.network} without "
                          "one; start it without torchrun")
    if config.mixup:
        raise ConfigError(f"several processes do not mix samples; got mixup={config.mixup:g}; leave it at 0, or start "
                          "without torchrun")
    if config.is_compiled:
        raise ConfigError("several processes do not compile yet; got is_compiled=true; leave it out, or torchrun")
    if config.weight_source in REWEIGHTED and config.reweighter.hypergradient not in CLOSED_FORMS:
        raise ConfigError(f"several processes need a hypergradient of {' or '.join(CLOSED_FORMS)}, since the others go "
                          f"through the whole network; got {config.reweighter.hypergradient}; start it without "
                          "torchrun")


def set_threads(config: RunConfig, image_size: int) -> None:
    """Threads of torch on CPU. Steps on images of 16 pixels and less are too short to share: measured on a busy
    machine of two cores, the digits took 131 s with two threads and 37 s with one."""
    if config.num_threads or image_size <= TINY_IMAGE_SIZE:
        torch.set_num_threads(config.num_threads or 1)
