"""A list's bytes, which are read more than once: from a file or a seekable stream; and the digest that knows a list
again."""

import hashlib
import io
import os
import shutil
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from tempfile import TemporaryFile
from typing import BinaryIO

from worker.lists.lines import ListRefused

Content = str | PathLike[str] | BinaryIO

_CHUNK = 1 << 20


class OwnPlace(io.RawIOBase):
    """An open file, read at a place of its own: a process that was forked reads the same file at the same time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._at = descriptor, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        before = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: os.fstat(self._descriptor).st_size}
        self._at = before[whence] + offset
        return self._at

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        found = os.pread(self._descriptor, len(into), self._at)
        into[: len(found)] = found
        self._at += len(found)
        return len(found)


class ListBytes:
    """The source of the bytes. A stream must be binary, is read from its present position, and stays open."""

    def __init__(self, content: Content) -> None:
        """Raises ListRefused for a source that cannot be read twice, OSError for a path that does not exist."""
        self._content = content
        self._is_ours = False
        if isinstance(content, str | PathLike):
            _refuse_unless_file(content)
        elif not content.seekable():
            raise ListRefused(
                ["the list comes from a pipe, but it must be read more than once: save it to a file first"]
            )
        else:
            self._start = content.tell()

    @classmethod
    def kept(cls, file: BinaryIO) -> "ListBytes":
        """A temporary file, which is closed when the list is no longer used."""
        made = cls(file)
        made._is_ours = True
        weakref.finalize(made, file.close)
        return made

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes from the start. Raises OSError."""
        if isinstance(self._content, str | PathLike):
            with open(self._content, "rb") as raw:
                yield raw
        elif self._is_ours:
            yield io.BufferedReader(OwnPlace(self._content.fileno()))
        else:
            self._content.seek(self._start)
            yield self._content

    @contextmanager
    def file(self) -> Iterator[BinaryIO]:
        """The bytes as a file that another process can read, wherever its place is. Raises OSError."""
        with self.opened() as raw:
            if isinstance(self._content, str | PathLike):
                yield raw
            elif self._is_ours:
                yield self._content
            else:
                with TemporaryFile("w+b") as copy:
                    shutil.copyfileobj(raw, copy)
                    copy.flush()
                    yield copy


def _refuse_unless_file(path: str | PathLike[str]) -> None:
    # Checked before it is opened: opening a named pipe would wait for its writer.
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ListRefused(["the list is a directory: name a file in it"])
    if stat.S_ISFIFO(mode):
        raise ListRefused(
            [
                "the list is a pipe, but it must be read more than once: "
                "write - as FILE and send the list to standard input"
            ]
        )
    raise ListRefused(["the list is a device or a socket: name a file, or - for standard input"])


def content_digest(content: Content) -> str:
    """SHA-256 in hex of all bytes of a file or a seekable stream. Raises OSError when they cannot be read."""
    if isinstance(content, str | PathLike):
        with open(content, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    before = content.tell()
    content.seek(0, os.SEEK_SET)
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
    content.seek(before)
    return digest.hexdigest()
