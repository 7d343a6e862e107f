"""What is done with the files of a folder. No link is followed, and what another user puts there harms nothing else."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, TextIO

from worker.domain.intake.dropped_files import is_left_over, is_list
from worker.foundation.private_files import replacing

MOST_FILES = 10_000  # of a folder: with more of them it is not worked
LEFT_OVER_SECONDS = 3600.0
_CHUNK = 1 << 20


class NotTaken(Exception):
    """The file cannot be taken. The text says why, and names no path. `for_good`: until the file changes."""

    def __init__(self, why: str, *, for_good: bool = True) -> None:
        super().__init__(why)
        self.for_good = for_good


@dataclass
class Found:
    """What is in a folder: the stamp of each list. `odd` are names that are no files, with why they are not taken."""

    stamps: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    is_full: bool = False


def look_into(folder: Path, *, now: datetime) -> Found:
    """The folder's lists; removes what a killed process of ours left. Raises OSError."""
    found = Found()
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_left_over(entry.name):
                _remove_left_over(entry, now)
            elif is_list(entry.name) and len(os.fsencode(entry.name)) <= 255 and entry.name.isprintable():
                with suppress(FileNotFoundError):  # gone since the folder was read
                    _add(found, entry)
            if len(found.stamps) + len(found.odd) >= MOST_FILES:
                found.is_full = True
                break
    return found


def _add(found: Found, entry: os.DirEntry[str]) -> None:
    facts = entry.stat(follow_symlinks=False)
    if stat.S_ISLNK(facts.st_mode):
        found.odd[entry.name] = "it is a link, and links are not followed: put the file itself there"
    elif stat.S_ISREG(facts.st_mode):
        found.stamps[entry.name] = stamp_of(facts)
    elif not stat.S_ISDIR(facts.st_mode):
        found.odd[entry.name] = "it is a pipe, a device or a socket: put a file there"


def _remove_left_over(entry: os.DirEntry[str], now: datetime) -> None:
    with suppress(OSError):
        facts = entry.stat(follow_symlinks=False)
        # The folder's own clock may be another machine's: an hour is more than they differ by, and than a report takes.
        if facts.st_uid == os.geteuid() and now.timestamp() - facts.st_mtime > LEFT_OVER_SECONDS:
            os.unlink(entry.path)


def stamp_of(facts: os.stat_result) -> str:
    """Tells whether a file has changed: its size, its times and its number on the disk."""
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}-{facts.st_ino}"


@dataclass(frozen=True)
class Copy:
    """A file's content, as it was at one moment. The copy has no name: a kill leaves nothing of it."""

    content: BinaryIO
    digest: str


@contextmanager
def copied(folder: Path, name: str, stamp: str, *, largest: int, step: Callable[[], None]) -> Iterator[Copy]:
    """The file's content, if it still has this stamp at the end. `step` is called for each MiB. Raises NotTaken.

    A copy, since a list is read more than once, and its owner may write to the file meanwhile.
    """
    try:
        descriptor = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotTaken("it went away before it was imported", for_good=False) from None
    except OSError as error:
        raise NotTaken(f"it cannot be read: {error.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise NotTaken("it is no file")
        if facts.st_size > largest:
            raise NotTaken(f"it has more than {largest >> 20:,} MiB, the `largest` of its folder")
        with _kept() as content:
            digest = hashlib.sha256()
            while chunk := _read(file):
                if content.tell() + len(chunk) > largest:
                    raise NotTaken(f"it has grown over {largest >> 20:,} MiB, the `largest` of its folder")
                digest.update(chunk)
                _append(content, chunk)
                step()
            if stamp_of(os.fstat(descriptor)) != stamp:
                raise NotTaken("it still changes", for_good=False)
            content.seek(0)
            yield Copy(content, digest.hexdigest())


@contextmanager
def _kept() -> Iterator[BinaryIO]:
    try:
        kept = TemporaryFile("w+b")  # noqa: SIM115 -- closed below
    except OSError as error:
        raise NotTaken(f"it cannot be kept for reading: {error.strerror}; set TMPDIR", for_good=False) from None
    with kept:
        yield kept


def _read(file: BinaryIO) -> bytes:
    try:
        return file.read(_CHUNK)
    except OSError as error:
        raise NotTaken(f"it cannot be read: {error.strerror}", for_good=False) from None


def _append(content: BinaryIO, chunk: bytes) -> None:
    try:
        content.write(chunk)
        content.flush()
    except OSError as error:
        raise NotTaken(f"it cannot be kept for reading: {error.strerror}; set TMPDIR", for_good=False) from None


def write_next_to(folder: Path, name: str, ending: str, write: Callable[[TextIO], object]) -> None:
    """Write NAME.ENDING as a whole or not at all; it replaces an earlier one, and a link. Raises NotTaken."""
    try:
        with replacing(folder / f"{name}{ending}") as stream:
            write(stream)
    except OSError as error:
        raise NotTaken(f"{name}{ending} cannot be written: {error.strerror}", for_good=False) from None
