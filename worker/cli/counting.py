"""A count on standard error, of what a command that takes long has done so far: a line each second."""

import time
from collections.abc import Callable

import click

EVERY_SECONDS = 1.0


def counting(words: Callable[[int], str]) -> Callable[[int], None]:
    """A function that gets each new count and prints it in these words, at most once a second.

    The first line comes after a second: short work needs none.
    """
    shown_at = time.monotonic()

    def show(number: int) -> None:
        nonlocal shown_at
        if time.monotonic() - shown_at >= EVERY_SECONDS:
            shown_at = time.monotonic()
            click.echo(words(number), err=True)

    return show


def counting_rows(doing: str, batch_id: int, *, of: str = "rows and messages") -> Callable[[int], None]:
    """For a decision about the rows of a batch, such as `core.customers.store.decisions` makes."""
    return counting(lambda number: f"{doing} batch {batch_id}: {number:,} {of}")
