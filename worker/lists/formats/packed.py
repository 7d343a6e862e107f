"""A compressed list, decompressed once into a temporary file without a name: a list is read more than once."""

import gzip
import zipfile
import zlib
from collections.abc import Callable
from tempfile import TemporaryFile
from typing import BinaryIO

from worker.lists.formats.zip_parts import CHUNK, Parts, bound, too_much
from worker.lists.lines import ListRefused

GZIP = b"\x1f\x8b"
ZIP = b"PK\x03\x04"
# What systems add to a ZIP file by themselves.
_NOT_MEANT = ("__MACOSX/", ".DS_Store", "Thumbs.db", "desktop.ini")
MOST_NAMED = 5


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
    with parts.opened(files[0].filename) as part:
        return _kept(part.read, bound(files[0].compress_size), what)


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
    except BaseException:
        kept.close()
        raise
    return kept


def _shown(info: zipfile.ZipInfo) -> str:
    name = "".join(sign if sign.isprintable() else "?" for sign in info.filename[:60])
    return f'"{name}"'
