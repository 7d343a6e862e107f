"""A folder of this machine, also one that the system mounts from elsewhere."""

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from worker.core.foundation.private_files import PRIVATE, replacing
from worker.features.list_sources.dropped_files import is_left_over
from worker.features.list_sources.place import CHUNK, Away, Copy, Found, Kind, NotTaken, Write, copying


@dataclass(frozen=True)
class LocalFolder:
    path: Path
    mode: int = PRIVATE  # of the files that are written

    def found(self, *, now: datetime) -> Found:
        try:
            return self._found(now)
        except OSError as error:
            raise Away(error.strerror or type(error).__name__) from None

    def _found(self, now: datetime) -> Found:
        found = Found()
        with os.scandir(self.path) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # gone since the folder was read
                    if found.wants(entry.name):
                        facts = entry.stat(follow_symlinks=False)
                        found.add(entry.name, _kind(facts.st_mode), stamp_of(facts))
                    elif is_left_over(entry.name):
                        facts = entry.stat(follow_symlinks=False)
                        if facts.st_uid == os.geteuid():
                            found.left(entry.name, now.timestamp() - facts.st_mtime)
                if found.is_full:
                    break
        return found

    @contextmanager
    def copied(self, name: str, stamp: str, *, largest: int, step: Callable[[], None]) -> Iterator[Copy]:
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotTaken("it went away before it was imported", for_good=False) from None
        except OSError as error:
            raise NotTaken(f"it cannot be read: {error.strerror}") from None
        with os.fdopen(descriptor, "rb", buffering=0) as file, copying(largest=largest, step=step) as copy:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise NotTaken("it is no file")
            copy.expect(facts.st_size)
            while chunk := _read(file.fileno()):
                copy.add(chunk)
            if stamp_of(os.fstat(descriptor)) != stamp:
                raise NotTaken("it still changes", for_good=False)
            yield copy.copy()

    def write(self, name: str, write: Write) -> None:
        try:
            with replacing(self.path / name, mode=self.mode) as stream:
                if self.mode != PRIVATE:  # whatever the umask says
                    os.fchmod(stream.fileno(), self.mode)
                write(stream)
        except OSError as error:
            raise NotTaken(f"{name} cannot be written: {error.strerror}", for_good=False) from None

    def remove(self, name: str) -> None:
        with suppress(OSError):
            os.unlink(self.path / name)


def stamp_of(facts: os.stat_result) -> str:
    """Tells whether a file has changed: its size, its times and its number on the disk."""
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}-{facts.st_ino}"


def _kind(mode: int) -> Kind:
    if stat.S_ISREG(mode):
        return Kind.FILE
    if stat.S_ISDIR(mode):
        return Kind.DIRECTORY
    return Kind.LINK if stat.S_ISLNK(mode) else Kind.OTHER


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except OSError as error:
        raise NotTaken(f"it cannot be read: {error.strerror}", for_good=False) from None
