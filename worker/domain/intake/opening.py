"""A list's bytes, which are read more than once: those of a file, or of a stream that can be wound back."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import BinaryIO

from worker.domain.intake.lines import ListRefused

Content = str | PathLike[str] | BinaryIO


class ListBytes:
    """Where the bytes come from. A stream must be binary, begins where it stands, and stays open."""

    def __init__(self, content: Content) -> None:
        """Raises ListRefused for what cannot be read twice, OSError for a path that leads to nothing."""
        self._content = content
        if isinstance(content, str | PathLike):
            _refuse_what_is_no_file(content)
        elif not content.seekable():
            raise ListRefused(["the list comes from a pipe, and it is read more than once: save it to a file first"])
        else:
            self._start = content.tell()

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """The bytes from their beginning. Raises OSError."""
        if isinstance(self._content, str | PathLike):
            with open(self._content, "rb") as raw:
                yield raw
        else:
            self._content.seek(self._start)
            yield self._content


def _refuse_what_is_no_file(path: str | PathLike[str]) -> None:
    # Looked at before it is opened: opening a named pipe would wait for its writer.
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode):
        return
    if stat.S_ISDIR(mode):
        raise ListRefused(["the list is a directory: name a file in it"])
    if stat.S_ISFIFO(mode):
        raise ListRefused(
            ["the list is a pipe, and it is read more than once: write - in its place, and send it to standard input"]
        )
    raise ListRefused(["the list is a device or a socket: name a file, or - for standard input"])
