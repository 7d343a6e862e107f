"""Rotates the keys of all stored values while workers run: in small transactions, at a limited rate."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from worker.core.database.encrypted_columns import EncryptedColumn
from worker.features.keys.store.key_rotation import KeyRotation

PASSES = 5  # rows that other transactions hold are tried again in the next pass


@dataclass
class RotatedColumn:
    """How many rows of a column were changed, and how many could not be. `busy`: locked by other transactions."""

    changed: int = 0
    busy: int = 0
    unreadable: int = 0


def rotate(
    rotation: KeyRotation,
    *,
    per_second: int,
    seconds: Callable[[], float],
    pause: Callable[[float], None],
    clock: Callable[[], datetime],
    show: Callable[[str, int, int], None] = lambda _name, _changed, _total: None,
) -> dict[str, RotatedColumn]:
    """Change all rows that are not by the first keys; returns the counts by column.

    At most `per_second` rows a second, and at least half of the time is left to other processes. `seconds` is a clock
    that only goes forward, `pause` gets seconds, and `clock` is the time of day. `show` gets a column, and how many
    rows of it, and of all columns, were changed so far.
    """
    found = {column.name: RotatedColumn() for column in rotation.columns}

    def work(column: EncryptedColumn) -> None:
        counts, after = found[column.name], None
        counts.busy = counts.unreadable = 0
        while True:
            began = seconds()
            chunk = rotation.chunk(column, after, now=clock())
            spent = seconds() - began
            counts.changed += chunk.changed
            counts.busy += chunk.busy
            counts.unreadable += chunk.unreadable
            show(column.name, counts.changed, sum(one.changed for one in found.values()))
            if chunk.changed:
                pause(max(spent, chunk.changed / per_second - spent))
            after = chunk.after
            if after is None:
                return

    for number in range(PASSES):
        for column in rotation.columns:
            if number == 0 or found[column.name].busy:
                work(column)
    return found
