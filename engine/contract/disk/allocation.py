"""Arrays on disk that are written through memory, with their room taken beforehand."""

import errno
import os
from pathlib import Path

import numpy as np


def new_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.memmap:
    """A .npy file of zeros at `path` to be written in place. Raises OSError on a full disk, now: later, writing through
    memory into a file with holes, the process would end by a signal (SIGBUS)."""
    array: np.memmap = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    if hasattr(os, "posix_fallocate") and array.nbytes:
        with open(path, "rb+") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # no such thing on this file system
                    raise OSError(error.errno, error.strerror, str(path)) from error
    return array
