"""A list's bytes, which are read more than once: from a file or a seekable stream; and the digest that knows a list
again. Compressed lists: the files inside a ZIP file, as streams whose size and compression are bounded; and a whole
list, decompressed once into a temporary file without a name."""

import gzip
import hashlib
import io
import os
import shutil
import stat
import struct
import weakref
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from os import PathLike
from tempfile import TemporaryFile
from typing import BinaryIO

from onboarding_worker.core.foundation.notation import printable
from onboarding_worker.lists.lines import ListRefused

Content = str | PathLike[str] | BinaryIO
# Named, since other commands open tables, too, and know no `-`.
_AGAIN = "it must be read more than once: save it to a file first"
_READ_THROUGH = "let check, run or import read - from standard input"


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
            # Checked before it is opened: opening a named pipe would wait for its writer.
            mode = os.stat(content).st_mode
            if stat.S_ISDIR(mode):
                raise ListRefused(["the list is a directory: name a file in it"])
            if stat.S_ISFIFO(mode):
                raise ListRefused([f"the list is a pipe, but {_AGAIN}, or {_READ_THROUGH}"])
            if not stat.S_ISREG(mode):
                raise ListRefused([f"the list is a device or a socket: name a file, or {_READ_THROUGH}"])
        elif not content.seekable():
            raise ListRefused([f"the list comes from a pipe, but {_AGAIN}"])
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


def content_digest(content: Content) -> str:
    """SHA-256 in hex of all bytes of a file or a seekable stream. Raises OSError when they cannot be read."""
    if isinstance(content, str | PathLike):
        with open(content, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    before = content.tell()
    content.seek(0)
    digest = hashlib.sha256()
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    content.seek(before)
    return digest.hexdigest()


CHUNK = 1 << 16
LARGEST = 4 << 30  # bytes, decompressed: a list of ten million customers is smaller
# Lists and workbooks are compressed 5 to 50 times; only repetition made on purpose reaches 200 over many megabytes.
MOST_TIMES = 200
SMALL = 64 << 20  # bytes, decompressed, that may be compressed as much as they like
LARGEST_DIRECTORY = 4 << 20  # bytes: zipfile keeps the list of files in memory
_END = b"PK\x05\x06"
_LONGEST_END = 22 + 0xFFFF
_END_64 = b"PK\x06\x06"
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

_DAMAGED = "it is damaged or cut off: get it again, or save it again"

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
# What systems add to a ZIP file by themselves.
_NOT_MEANT = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
MOST_NAMED = 5


class Parts:
    """An open ZIP file. `what`: how messages name it, such as "the workbook"."""

    def __init__(self, raw: BinaryIO, what: str) -> None:
        """Raises ListRefused for a file that cannot be read."""
        self.what = what
        _refuse_huge_directory(raw, what)
        try:
            self._zip = zipfile.ZipFile(raw)
        except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError, struct.error):
            raise ListRefused([f"{what} cannot be opened: {_DAMAGED}"]) from None
        self.names = frozenset(self._zip.namelist())

    def files(self) -> list[zipfile.ZipInfo]:
        return [info for info in self._zip.infolist() if not info.filename.endswith("/")]

    @contextmanager
    def opened(self, info: zipfile.ZipInfo) -> Iterator[Callable[[int], bytes]]:
        """One of the files: what reads its bytes, of which there are no more than it says. Raises ListRefused, also
        where they are read, if it cannot be decompressed, or is more than a list can have."""
        if info.flag_bits & 0x1:
            raise ListRefused([f"{self.what} is protected by a password: save it without one"])
        if info.compress_type not in _READABLE:
            raise ListRefused([f"{self.what} is compressed in an unusual way: make it with ordinary compression"])
        if info.file_size > bound(info.compress_size):
            raise ListRefused([too_much(self.what)])
        with refusing_damage(self.what):
            file = self._zip.open(info)

        def read(size: int) -> bytes:
            with refusing_damage(self.what):
                return file.read(size)

        with file:
            yield read


def bound(packed: int) -> int:
    """The most bytes that so many compressed ones may become."""
    return min(LARGEST, max(SMALL, MOST_TIMES * packed))


def too_much(what: str) -> str:
    return f"{what} is refused: decompressed it is more than {MOST_TIMES} times as large, or more than 4 GB"


@contextmanager
def refusing_damage(what: str) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, struct.error):
        raise ListRefused([f"{what} cannot be read: {_DAMAGED}"]) from None


def _refuse_huge_directory(raw: BinaryIO, what: str) -> None:
    """Refuse before zipfile reads the whole list of files into memory."""
    size = raw.seek(0, 2)
    raw.seek(max(0, size - _LONGEST_END - 76))
    tail = raw.read()
    raw.seek(0)
    end = tail.rfind(_END)
    if end < 0 or len(tail) < end + 22:
        raise ListRefused([f"{what} cannot be opened: {_DAMAGED}"])
    directory = struct.unpack_from("<I", tail, end + 12)[0]
    if end >= 76 and tail[end - 76 : end - 72] == _END_64:  # where zipfile looks for it
        directory = max(struct.unpack_from("<Q", tail, end - 76 + 40)[0], 0 if directory == 0xFFFFFFFF else directory)
    if directory > LARGEST_DIRECTORY:
        raise ListRefused([f"{what} is refused: it holds too many files"])


def gunzipped(raw: BinaryIO) -> BinaryIO:
    """The content of a gzip file. Raises ListRefused for a damaged one, and for one that becomes far larger."""
    what = "the gzip file"
    packed = raw.seek(0, 2)
    raw.seek(0)
    with gzip.GzipFile(fileobj=raw, mode="rb") as file:
        return _kept(file.read, bound(packed), what)


def unzipped(raw: BinaryIO) -> BinaryIO:
    """The only file in a ZIP file. Raises ListRefused for none, for several, and as `gunzipped` does."""
    what = "the ZIP file"
    parts = Parts(raw, what)
    files = [info for info in parts.files() if not any(part in info.filename for part in _NOT_MEANT)]
    if len(files) != 1:
        named = ", ".join(_shown(info) for info in files[:MOST_NAMED])
        more = f" and {len(files) - MOST_NAMED:,} more" if len(files) > MOST_NAMED else ""
        found = f"{len(files):,} files ({named}{more})" if files else "no file"
        raise ListRefused([f"{what} has {found}: a list is one file; make a ZIP file of the list alone"])
    with parts.opened(files[0]) as read:
        return _kept(read, LARGEST, what)


def _kept(read: Callable[[int], bytes], most: int, what: str) -> BinaryIO:
    kept = TemporaryFile("w+b")  # noqa: SIM115 -- closed by its owner
    try:
        size = 0
        while chunk := read(CHUNK):
            size += len(chunk)
            if size > most:
                raise ListRefused([too_much(what)])
            kept.write(chunk)
        kept.seek(0)
    except (gzip.BadGzipFile, zlib.error, EOFError):
        kept.close()
        raise ListRefused([f"{what} is damaged or cut off: get it again"]) from None
    except OSError as error:
        with suppress(OSError):  # what is left in its buffer does not fit either
            kept.close()
        raise ListRefused([f"{what} cannot be decompressed on this machine: {error.strerror}; set TMPDIR"]) from None
    except BaseException:
        kept.close()
        raise
    return kept


def _shown(info: zipfile.ZipInfo) -> str:
    return f'"{printable(info.filename, 60)}"'
