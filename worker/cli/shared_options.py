"""What several commands have: options and their types, the facts of `--json`, the question that `--yes` answers, files
that are written as a whole or not at all, and the count of what a command that takes long has done."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from onboarding_worker.cli.exits import CannotStart, Stopped
from onboarding_worker.core.foundation.private_files import PRIVATE, replacing

YES = click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print the facts as one JSON document.")
_AS_JSON = json.JSONEncoder(ensure_ascii=False)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Only count the rows; change nothing.")

# At the end of the help of each command that takes a batch (`invocation.with_global_options`).
NAMES_OF_BATCHES = (
    "BATCH is the number of a batch in `onboard status`, or `latest` for the newest. Requests that came as events, over"
    " HTTP or the bus, are in a batch for each day (UTC), which has a name too: events-2026-11-20."
)

SHOWN = 60  # characters of a value in an error: a list of rows may be long

EVERY_SECONDS = 1.0


def without_address(_context: click.Context, _option: click.Parameter, value: str) -> str:
    """A reason goes into the audit log, which is never changed: refuse what is plainly an address or a number."""
    if "@" in value or re.search(r"\+\d[\d ()/.-]{6,}\d", value):
        raise click.BadParameter("write no address and no telephone number: the audit log keeps it")
    return value


REASON = click.option(
    "--reason", default="", callback=without_address, help="Why, for the audit log: no name and no address."
)


def print_json(facts: Mapping[str, Any], *, out: TextIO | None = None, in_parts: bool = False) -> None:
    """Print the facts of --json, on standard output or `out`: one document in one line, its letters as they are.
    `in_parts`: a list in it makes its items as they are written, since there may be too many for the memory."""
    stream = out or sys.stdout
    stream.writelines(_AS_JSON.iterencode(facts) if in_parts else [_AS_JSON.encode(facts)])
    click.echo(file=stream)


def print_json_or(facts: Mapping[str, Any], *lines: str, as_json: bool, out: TextIO | None = None) -> None:
    """Print the facts of --json, or the lines for people."""
    if as_json:
        print_json(facts, out=out)
        return
    for line in lines:
        click.echo(line, file=out)


def in_columns(lines: Sequence[Sequence[str]], *, right: Callable[[int], bool] = lambda _at: False) -> list[str]:
    """Lines that are never cut or folded: programs and people search them. `right`: which columns are numbers."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = ([f"{cell:{'>' if right(at) else '<'}{widths[at]}}" for at, cell in enumerate(line)] for line in lines)
    return ["  ".join(cells).rstrip() for cells in rows]


def together(*options: Callable[..., Any]) -> Callable[..., Any]:
    """One decorator for several options, in their order."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def confirm(question: str) -> None:
    """Ask the operator. Raises Stopped if the answer is no, CannotStart if there is no terminal to ask on."""
    try:
        agreed = click.confirm(question, err=True)
    except (click.Abort, OSError) as error:  # EIO: the terminal of a process in the background is gone
        if isinstance(error, OSError) or isinstance(error.__context__, EOFError):
            click.echo(err=True)
            raise CannotStart("this needs a confirmation, and there is no terminal to ask on; give --yes") from None
        raise
    if not agreed:
        raise Stopped("nothing was changed")


class Read(click.ParamType[Any]):
    """An option's type, read by a function; the text of its ValueError says what is expected. `name`: as the help shows
    it. `shows`: the value stands before the error; not one that is secret."""

    def __init__(self, name: str, parse: Callable[[str], Any], *, shows: bool = True) -> None:
        self.name, self._parse, self._shows = name, parse, shows

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except ValueError as error:
            shown = repr(value) if len(value) <= SHOWN else f"{value[:SHOWN]!r}…"
            self.fail(f"{shown}: {error}" if self._shows else str(error), param, ctx)


class Named(click.Path):
    """A file to write, beside what the command prints. A dash is refused: it is standard output
    elsewhere, and a file of this name would surprise its owner."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if str(value) == "-":
            self.fail("- is standard output, which has what the command prints: give a name", param, ctx)
        return super().convert(value, param, ctx)


def counting(words: Callable[[int], str]) -> Callable[[int], None]:
    """A function that gets each new count and prints it in these words, at most once a second. The first line comes
    after a second: short work needs none."""
    shown_at = time.monotonic()

    def show(number: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= EVERY_SECONDS:
            shown_at = time.monotonic()
            click.echo(words(number), err=True)

    return show


OUT = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=lambda _context, _option, value: None if value == Path("-") else value,
    help="Write to this file, which only you can read.  [default: -, standard output]",
)


@contextmanager
def whole_file(path: Path | None, *, option: str = "--out", mode: int = PRIVATE) -> Iterator[TextIO]:
    """The file to write. It replaces an earlier one at the end, so that no reader finds half of it. None: standard
    output. Only its owner can read it, by default. Raises CannotStart where the file cannot be made, and Stopped where
    it cannot be written to the end: the earlier file stays then. `option` is what the message names."""
    if path is None:
        yield sys.stdout
        return
    if path.exists() and not path.is_file():  # a pipe or a device: written to, not replaced
        from onboarding_worker.settings.secrets import is_of_another_user  # imported here: pydantic

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
