"""Files that a command writes as a whole or not at all."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from worker.cli.exits import CannotStart, Stopped
from worker.core.foundation.private_files import PRIVATE, is_of_another_user, replacing


def _none_for_a_dash(_context: click.Context, _option: click.Parameter, value: Path | None) -> Path | None:
    return None if value == Path("-") else value


OUT = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_none_for_a_dash,
    help="Write to this file, which only you can read.  [default: -, standard output]",
)


@contextmanager
def whole_file(path: Path | None, *, option: str = "--out", mode: int = PRIVATE) -> Iterator[TextIO]:
    """The file to write. It replaces an earlier one at the end, so that no reader finds half of it. None: standard
    output.

    Only its owner can read it, by default. Raises CannotStart where the file cannot be made, and Stopped where it
    cannot be written to the end: the earlier file stays then. `option` is what the message names.
    """
    if path is None:
        yield sys.stdout
        return
    if path.exists() and not path.is_file():  # a pipe or a device: written to, not replaced
        # A link is looked at itself: /dev/stdout is root's, and may lead to the terminal of who called sudo.
        if is_of_another_user(path.lstat()):
            raise CannotStart(f"{option}: {path} is another user's, who would read what is written: give another name")
        with path.open("w", encoding="utf-8", newline="") as stream:
            yield stream
        return
    made = False
    try:
        with replacing(path, mode=mode) as stream:
            made = True
            yield stream
    except OSError as error:
        why = error.strerror or "cannot be written"
        if made:
            raise Stopped(f"{option}: {why}; {path} was not written") from None
        named = f"{option}: {path}" if option != str(path) else option
        raise CannotStart(f"{named}: {why}") from None
