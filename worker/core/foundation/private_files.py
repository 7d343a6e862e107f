"""Files that only their owner can read, in directories where another user may have put a file or a link first."""

import errno
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

PRIVATE = 0o600
SHARED = 0o640  # also for the group
READABLE = 0o666  # less what the umask says: for what holds nothing personal and no secret


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
    if os.lstat(path).st_uid not in (0, os.geteuid()):
        raise OSError(errno.ELOOP, "is another user's link", str(path))
    return os.open(path, os.O_WRONLY | flags, PRIVATE)


def private_log(path: Path) -> logging.FileHandler:
    """Writes a log to a file that it makes readable for its owner only. Raises OSError."""
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setStream(os.fdopen(to_append(path), "a", encoding="utf-8"))
    return handler
