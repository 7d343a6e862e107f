"""The options of commands that read a list, and how a list that cannot be read is refused."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property, wraps
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, BinaryIO

import click

from worker.cli.exits import CannotStart
from worker.domain.intake import Form, ListOptions, ListRefused
from worker.engine.container import Parts
from worker.inbound.list_import import TooManyRefused, options_of

LIST_HELP = """
LIST is a CSV file with a header row, or has a JSON object a line (.jsonl, .ndjson); - is standard input.
docs/list-format.md has every column. Rows are numbered as a spreadsheet shows them: the header is row 1;
of JSON lines, a row is the line of that number.
"""


class Listed:
    """The LIST that a command was given: its name for people, and what it holds."""

    def __init__(self, path: str, until_the_end: ExitStack) -> None:
        self._path = path
        self._until_the_end = until_the_end
        self.name = "stdin" if path == "-" else Path(path).name

    @cached_property
    def content(self) -> Path | BinaryIO:
        """Read from standard input when it is first asked for: after the configuration was found to be good."""
        if self._path != "-":
            return Path(self._path)
        if sys.stdin is None:
            raise CannotStart("standard input is closed: send the list to it, or name a file")
        try:
            # A list is read more than once. This file has no name for others to open, and no death leaves it behind.
            kept = self._until_the_end.enter_context(TemporaryFile("w+b"))  # noqa: SIM115 -- closed with the command
            shutil.copyfileobj(sys.stdin.buffer, kept)
            kept.seek(0)
        except OSError as error:
            raise CannotStart(f"standard input cannot be kept for reading: {error.strerror}") from None
        return kept


def list_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how a list is to be read; the command gets `listed` and `options(parts)`."""

    @click.argument("path", metavar="LIST", type=click.Path(dir_okay=False, allow_dash=True))
    @click.option("--format", "form", type=click.Choice(["csv", "jsonl"]), help="LIST's format.  [default: found out]")
    @click.option("--map", "mapped", multiple=True, metavar="THEIRS=OURS", help="A column's other name. Repeatable.")
    @click.option(
        "--ignore-column", "ignored", multiple=True, metavar="NAME", help="A column to leave out. Repeatable."
    )
    @click.option("--hash-ids", is_flag=True, help="Replace customer_ids that look like an email or phone by a hash.")
    @click.option("--encoding", help="The list's encoding, where it is not UTF-8.")
    @click.option("--delimiter", help="What stands between cells.  [default: found out]")
    @click.option("--strict", is_flag=True, help="Take nothing of a list with a refused row.")
    @wraps(command)
    def wrapped(
        path: str,
        form: Form | None,
        mapped: tuple[str, ...],
        ignored: tuple[str, ...],
        hash_ids: bool,
        encoding: str | None,
        delimiter: str | None,
        **others: Any,
    ) -> Any:
        def options(parts: Parts) -> ListOptions:
            return options_of(
                parts.intake,
                mapping=dict(map(_pair, mapped)),
                ignore=frozenset(ignored),
                hash_ids=hash_ids,
                form=form,
                encoding=encoding,
                delimiter="\t" if delimiter in ("\\t", "tab") else delimiter,
            )

        with ExitStack() as until_the_end:
            return command(listed=Listed(path, until_the_end), options=options, **others)

    return wrapped


def _pair(text: str) -> tuple[str, str]:
    theirs, equals, ours = text.partition("=")
    if not (theirs and equals and ours):
        raise click.UsageError(f"--map: expected THEIRS=OURS, such as --map Mail=email, not {text!r}")
    return theirs, ours


@contextmanager
def refusing_lists() -> Iterator[None]:
    """Turns a list that cannot be read, or is refused under --strict, into clear lines and exit code 2."""
    try:
        yield
    except ListRefused as error:
        raise CannotStart("\n".join(error.reasons)) from None
    except TooManyRefused as error:
        raise CannotStart(str(error)) from None
