"""A list's bytes, which are read more than once: from a file or a seekable stream."""

import os
import stat
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

from worker.domain.intake.lines import ListRefused

Content = str | PathLike[str] | BinaryIO


class ListBytes:
    """The source of the bytes. A stream must be binary, is read from its present position, and stays open."""

    def __init__(self, content: Content) -> None:
        """Raises ListRefused for a source that cannot be read twice, OSError for a path that does not exist."""
        self._content = content
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
        weakref.finalize(made, file.close)
        return made

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes from the start. Raises OSError."""
        if isinstance(self._content, str | PathLike):
            with open(self._content, "rb") as raw:
                yield raw
        else:
            self._content.seek(self._start)
            yield self._content


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
