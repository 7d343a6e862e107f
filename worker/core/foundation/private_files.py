"""Files that only their owner can read, in directories where another user may have put a file or a link first."""

import errno
import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PRIVATE = 0o600
SHARED = 0o640  # also for the group
READABLE = 0o666  # less what the umask says: for what holds nothing personal and no secret
# Another user may read it, or put something else in its place.
_OPEN = stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP


def new_file(path: Path | str, *, mode: int = PRIVATE) -> int:
    """The descriptor of a file that was not there. Raises FileExistsError, for a link too, and OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)


@contextmanager
def replacing(path: Path, *, mode: int = PRIVATE) -> Iterator[TextIO]:
    """The file to write, which takes the place of `path` at the end: a reader never finds half of it.

    A link at `path` is replaced, and what it points to stays. After an exception the earlier file stays. Raises
    OSError.
    """
    part = path.with_name(f".onboard-{secrets.token_hex(16)}.part")
    descriptor = new_file(part, mode=mode)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file's content is on the disk; of a directory, the names of its files. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def to_append(path: Path | str) -> int:
    """The descriptor of a file to read, and to write at its end. It is made if it is not there. A link is followed if
    root or this user has made it, such as /dev/stdout. Raises OSError."""
    flags = os.O_APPEND | os.O_CREAT
    try:
        return os.open(path, os.O_RDWR | flags | os.O_NOFOLLOW, PRIVATE)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
    if is_of_another_user(os.lstat(path)):
        raise OSError(errno.ELOOP, "is another user's link", str(path))
    return os.open(path, os.O_WRONLY | flags, PRIVATE)


def private_log(path: Path) -> logging.FileHandler:
    """Writes a log to a file that it makes readable for its owner only. Raises OSError."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setStream(os.fdopen(to_append(path), "a", encoding="utf-8"))
    return handler


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
