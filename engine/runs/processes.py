"""What a run asks of its processes: which trainings several of them can share, and how many threads each takes."""

import torch

from engine.contract.config import RunConfig
from engine.contract.method_config import alone_because
from engine.contract.settings import ConfigError
from engine.runtime import distributed

TINY_IMAGE_SIZE = 16


def refuse_ranks(config: RunConfig) -> None:
    """Raise ConfigError for what several processes cannot do together."""
    if distributed.size() == 1:
        return
    if reason := alone_because(config, has_gpu=torch.cuda.is_available()):
        raise ConfigError(f"several processes {reason}; start it without torchrun")


def set_threads(config: RunConfig, image_size: int) -> None:
    """Threads of torch on CPU. Steps on images of 16 pixels and less are too short to share: measured on a busy
    machine of two cores, the digits took 131 s with two threads and 37 s with one."""
    if config.num_threads or image_size <= TINY_IMAGE_SIZE:
        torch.set_num_threads(config.num_threads or 1)
