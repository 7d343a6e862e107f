"""Files that a command writes as a whole or not at all."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from worker.cli.exits import CannotStart, Stopped

PRIVATE = 0o600
READABLE = 0o666  # less what the umask says


@contextmanager
def whole_file(path: Path | None, *, option: str = "--out", mode: int = PRIVATE) -> Iterator[TextIO]:
    """The file to write, which replaces an earlier one at the end: nobody finds half of it. None: standard output.

    Only its owner can read it, by default. Raises CannotStart where the file cannot be made, and Stopped where it
    cannot be written to the end: the earlier file stays then. `option` is what the message names.
    """
    if path is None:
        yield sys.stdout
        return
    if path.exists() and not path.is_file():  # a pipe or a device: written to, not replaced
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    part = path.with_name(f".{path.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    except OSError as error:
        raise CannotStart(f"{option}: {error.strerror or 'cannot be written'}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
        part.replace(path)
    except OSError as error:
        raise Stopped(f"{option}: {error.strerror or 'cannot be written'}; {path} was not written") from None
    finally:
        part.unlink(missing_ok=True)
