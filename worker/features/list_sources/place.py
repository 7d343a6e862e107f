"""What the drop box does with a folder, wherever the folder lies: on this machine, on an SFTP server, in S3. And a
folder of this machine, also one that the system mounts from elsewhere.

No link is followed, and what another user puts there harms nothing else. No reason names a path or an address.
"""

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, TextIO, cast

from onboarding_worker.core.foundation.notation import plain
from onboarding_worker.core.foundation.private_files import PRIVATE, replacing

ERRORS, REPORT = ".errors.csv", ".report.csv"
# Names of files that another program is still writing, or keeps for itself.
_UNFINISHED = re.compile(
    r"^[.~]|~$|\.(part|partial|tmp|temp|crdownload|download|filepart|swp|lock|bak)$", re.IGNORECASE
)
# What we leave behind when we are killed while we write next to a list.
LEFT = re.compile(r"^\.onboard-[0-9a-f]{32}\.part$")
LONGEST_NAME = 244  # bytes, of a list: NAME.report.csv has to be a name, too
TOO_LONG = f"its name has more than {LONGEST_NAME} bytes: no report could be named after it"
UNSEEN = "its name has a character that cannot be seen, such as a space of another width: rename it"
_SHOWN_NAME = 200
MOST_FILES = 10_000  # of a folder: with more lists it is not worked
MOST_ENTRIES = 100_000  # of a folder, of any kind: no more are looked at
LEFT_OVER_SECONDS = 3600.0
CHUNK = 1 << 20
Write = Callable[[TextIO], object]


class Away(Exception):
    """The folder cannot be read. The text says why."""


class NotTaken(Exception):
    """The file cannot be taken, or written. The text says why. `for_good`: until the file changes."""

    def __init__(self, why: str, *, for_good: bool = True) -> None:
        super().__init__(why)
        self.for_good = for_good


_LINK = "it is a link, and links are not followed: put the file itself there"
_OTHER = "it is a pipe, a device or a socket: put a file there"


def shortened(name: str) -> str:
    """The name of a file that is not taken, as it is kept and shown: a folder of S3 may have longer ones than a file
    system, and a name may have control characters. No other file has the same."""
    if len(name) <= _SHOWN_NAME and name.isprintable():
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{plain(name[:_SHOWN_NAME], most=_SHOWN_NAME)}…{digest}"


@dataclass
class Found:
    """What is in a folder: the stamp of each list. `odd` are names that are not taken, with the reason. `left_over` is
    what a killed process of ours has left."""

    stamps: dict[str, str] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    left_over: list[str] = field(default_factory=list)
    entries: int = 0

    def wants(self, name: str) -> bool:
        """Count the name; whether it is a list's: neither hidden, nor unfinished, nor written by us."""
        self.entries += 1
        return not _UNFINISHED.search(name) and not name.endswith((ERRORS, REPORT)) and "/" not in name

    def add(self, name: str, kind: int, stamp: str) -> None:
        """A name that `wants` accepted. `kind`: of `stat.S_IFMT`. `stamp` tells whether the file has changed."""
        if kind == stat.S_IFDIR:
            return
        if kind != stat.S_IFREG:
            self.odd[shortened(name)] = _LINK if kind == stat.S_IFLNK else _OTHER
        elif not name.isprintable():  # a terminal would not show it, and a name that is not UTF-8 cannot be stored
            self.odd[shortened(name)] = UNSEEN
        elif len(os.fsencode(name)) > LONGEST_NAME:
            self.odd[shortened(name)] = TOO_LONG
        else:
            self.stamps[name] = stamp

    def left(self, name: str, age: float) -> None:
        """Keep the name if a killed process of ours has left the file. `age` in seconds."""
        # The folder's own clock may be another machine's: an hour is more than they differ by, and than a report takes.
        if LEFT.match(name) and age > LEFT_OVER_SECONDS:
            self.left_over.append(name)

    @property
    def is_full(self) -> bool:
        return len(self.stamps) + len(self.odd) >= MOST_FILES or self.entries >= MOST_ENTRIES


class Copy:
    """A file's content, as it was at one moment, taken part by part. Bounded. The copy has no name: a kill leaves
    nothing of it."""

    def __init__(self, content: BinaryIO, *, largest: int, step: Callable[[], None]) -> None:
        self.content, self._largest, self._step = content, largest, step
        self._digest = hashlib.sha256()

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def expect(self, size: int) -> None:
        """Refuse a file that says it is too large, before it is read."""
        if size > self._largest:
            raise NotTaken(f"it has more than {self._largest >> 20:,} MiB, the largest that is taken")

    def add(self, part: bytes) -> None:
        if self.content.tell() + len(part) > self._largest:
            raise NotTaken(f"it has grown over {self._largest >> 20:,} MiB, the largest that is taken")
        self._digest.update(part)
        try:
            self.content.write(part)
            self.content.flush()
        except OSError as error:
            raise not_kept(error) from None
        self._step()


def kept() -> TextIO:
    """A temporary file, whose bytes are its `buffer`. Raises NotTaken where none can be made."""
    try:
        return cast(TextIO, TemporaryFile("w+", encoding="utf-8", newline=""))
    except OSError as error:
        raise not_kept(error) from None


def not_kept(error: OSError) -> NotTaken:
    return NotTaken(f"it cannot be kept on this machine: {error.strerror}; set TMPDIR", for_good=False)


@dataclass(frozen=True)
class LocalFolder:
    """A folder, as each kind is used. Its methods block, and are called from a thread without an event loop."""

    path: Path
    mode: int = PRIVATE  # of the files that are written

    def found(self, *, now: datetime) -> Found:
        """What is in the folder; changes nothing. Raises Away."""
        found = Found()
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # gone since the folder was read
                        if found.wants(entry.name):
                            facts = entry.stat(follow_symlinks=False)
                            found.add(entry.name, stat.S_IFMT(facts.st_mode), stamp_of(facts))
                        elif LEFT.match(entry.name):
                            facts = entry.stat(follow_symlinks=False)
                            if facts.st_uid == os.geteuid():
                                found.left(entry.name, now.timestamp() - facts.st_mtime)
                    if found.is_full:
                        break
        except OSError as error:
            raise Away(error.strerror or type(error).__name__) from None
        return found

    @contextmanager
    def copied(self, name: str, stamp: str, *, largest: int, step: Callable[[], None]) -> Iterator[Copy]:
        """The file's content, if it still has this stamp at the end. `step` is called for each part. Raises NotTaken,
        and what `step` raises. A copy, since a list is read more than once, and its owner may write to the file
        meanwhile."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotTaken("it went away before it was imported", for_good=False) from None
        except OSError as error:
            raise NotTaken(f"it cannot be read: {error.strerror}") from None
        with os.fdopen(descriptor, "rb", buffering=0) as file, kept() as kept_file:
            copy, facts = Copy(kept_file.buffer, largest=largest, step=step), os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise NotTaken("it is no file")
            copy.expect(facts.st_size)
            while chunk := _read(file.fileno()):
                copy.add(chunk)
            if stamp_of(os.fstat(descriptor)) != stamp:
                raise NotTaken("it still changes", for_good=False)
            copy.content.seek(0)
            yield copy

    def write(self, name: str, write: Write) -> None:
        """Write the file as a whole or not at all; it replaces an earlier one, and a link. Raises NotTaken."""
        try:
            with replacing(self.path / name, mode=self.mode) as stream:
                if self.mode != PRIVATE:  # whatever the umask says
                    os.fchmod(stream.fileno(), self.mode)
                write(stream)
        except OSError as error:
            raise NotTaken(f"{name} cannot be written: {error.strerror}", for_good=False) from None

    def remove(self, name: str) -> None:
        """Remove what `found` named as left over, if that is possible."""
        with suppress(OSError):
            os.unlink(self.path / name)


def stamp_of(facts: os.stat_result) -> str:
    """Tells whether a file has changed: its size, its times and its number on the disk."""
    return f"{facts.st_size}-{facts.st_mtime_ns}-{facts.st_ctime_ns}-{facts.st_ino}"


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK)
    except OSError as error:
        raise NotTaken(f"it cannot be read: {error.strerror}", for_good=False) from None
