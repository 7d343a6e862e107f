"""The options of commands that read a list, and how a list that cannot be read is refused."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any

import click

from worker.bootstrap import Parts
from worker.cli.exits import CannotStart
from worker.importing import TooManyRefused
from worker.intake import ListOptions, ListRefused
from worker.providers.parameters import parse_cell, unknown_parameter

LIST_HELP = """
LIST is a CSV file with a header row; docs/list-format.md has every column. Rows are numbered as a
spreadsheet shows them: the header is row 1.
"""


def list_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say how a list is to be read; the command gets them as `options(today, parts)`."""

    @click.argument("path", metavar="LIST", type=click.Path(dir_okay=False, path_type=Path))
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
        mapped: tuple[str, ...],
        ignored: tuple[str, ...],
        hash_ids: bool,
        encoding: str | None,
        delimiter: str | None,
        **others: Any,
    ) -> Any:
        def options(parts: Parts) -> ListOptions:
            return ListOptions(
                today=_today(parts),
                mapping={**parts.settings.import_.columns, **dict(map(_pair, mapped))},
                ignore=frozenset(ignored),
                hash_ids=hash_ids,
                encoding=encoding,
                delimiter="\t" if delimiter in ("\\t", "tab") else delimiter,
                check_parameter=parse_cell,
                known_parameter=unknown_parameter,
            )

        return command(options=options, **others)

    return wrapped


def _today(parts: Parts) -> date:
    return parts.clock().date()


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
