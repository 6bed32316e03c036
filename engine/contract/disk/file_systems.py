"""Whether a folder lies on a file system that several machines share, where some things hold that do not on a disk."""

import os
from functools import lru_cache
from pathlib import Path

import psutil

SHARED = ("9p", "afs", "beegfs", "ceph", "cifs", "fhgfs", "fuse.ceph", "fuse.ceph-fuse", "fuse.glusterfs",
          "fuse.sshfs", "gfs2",
          "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs",
          "wekafs")
"""As the kernel names them."""


@lru_cache(maxsize=256)
def is_shared(folder: Path) -> bool:
    """Whether this machine has it from a server that others may have it from too. False on that server itself, and
    where the system does not say."""
    path = os.path.realpath(folder)
    try:
        mounts = psutil.disk_partitions(all=True)
    except OSError:
        return False
    holding = [mount for mount in mounts if path == mount.mountpoint
               or path.startswith(mount.mountpoint.rstrip("/") + "/")]
    # Of several at one place the last is seen: an automounter stands below what it has mounted.
    return bool(holding) and max(reversed(holding), key=lambda mount: len(mount.mountpoint)).fstype in SHARED
