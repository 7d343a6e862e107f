"""Which files other users of the machine can read or change: the configuration and its secrets must not be such."""

import os
import stat
from pathlib import Path

# Another user may read it, or put something else in its place.
_OPEN = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP


def is_writable_by_others(found: os.stat_result) -> bool:
    """True for a file that other users of the machine, besides its group, can change."""
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & stat.S_IWOTH)


def is_of_another_user(found: os.stat_result) -> bool:
    """True for a file or a link that another user of the machine, besides root, owns: its owner can change it."""
    return found.st_uid != 0 and found.st_uid != os.geteuid()


def is_open_to_others(found: os.stat_result) -> bool:
    """True for a file that other users of the machine can read or change. Its group may read it."""
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & _OPEN)


def directory_doubt(path: Path, *, has_siblings: bool = False) -> str:
    """Why other users of the machine could put another file in the place of `path`; "" if they cannot.

    Who owns both the file and its directory is trusted already. `has_siblings`: other files are made beside it, so that
    the sticky bit of its directory does not help. Raises OSError.
    """
    found, owner = path.parent.stat(), path.stat().st_uid if path.exists() else os.geteuid()
    is_sticky = bool(found.st_mode & stat.S_ISVTX) and not has_siblings
    is_read_only = bool(os.statvfs(path.parent).f_flag & os.ST_RDONLY)  # so Kubernetes mounts a ConfigMap, with 0777
    if found.st_mode & stat.S_IWOTH and not is_sticky and not is_read_only:
        return "its directory can be changed by other users of this machine: use one that only its user can change"
    if is_of_another_user(found) and found.st_uid != owner:
        return "its directory is another user's, who can replace it: use one of its own user"
    return ""
