"""Accepted lines as those values of their rows that no transaction decides: encrypted, and of plain types.

So they can be made before the transaction, in another process too. They are columns: a dictionary for each row cost
more to make and to pickle than the rest of the row.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from worker.core.customers.store.new_rows import AcceptedLine, customer_values, job_values
from worker.core.database.columns import Columns, picked
from worker.core.database.customer_keys import Key
from worker.core.foundation.keyring import Keyring


@dataclass
class SealedLines:
    """`customers` and `jobs`: what the lines say of their customers' rows, and of their jobs'."""

    customers: Columns
    jobs: Columns
    quiet_until: list[datetime | None]
    planned_at: list[datetime | None]

    def __len__(self) -> int:
        return len(self.quiet_until)

    @property
    def keys(self) -> list[Key]:
        return list(zip(self.jobs["customer_id"], self.jobs["purpose"], strict=True))

    def at(self, places: Sequence[int]) -> "SealedLines":
        """The lines at these places, in their order."""
        times = [[values[place] for place in places] for values in (self.quiet_until, self.planned_at)]
        return SealedLines(picked(self.customers, places), picked(self.jobs, places), *times)

    def without(self, rows: Collection[int]) -> "SealedLines":
        """The lines but for those of these rows."""
        return self.at([place for place, row in enumerate(self.jobs["row"]) if row not in rows])


Lines = Sequence[AcceptedLine] | SealedLines


def seal(keyring: Keyring, batch_id: int, lines: Sequence[AcceptedLine]) -> SealedLines:
    """Encrypt what is the customers'."""
    return SealedLines(
        customer_values(keyring, [line.customer for line in lines]),
        job_values(keyring, batch_id, lines),
        [line.quiet_until for line in lines],
        [line.planned_at for line in lines],
    )


def numbers_of(lines: Lines) -> Sequence[int]:
    """The lines' rows in their list."""
    return lines.jobs["row"] if isinstance(lines, SealedLines) else [line.row for line in lines]


def customers_of(lines: Lines) -> Sequence[str]:
    if isinstance(lines, SealedLines):
        return lines.jobs["customer_id"]
    return [line.customer.customer_id for line in lines]


def without(lines: Lines, rows: Collection[int]) -> Lines:
    """The lines but for those of these rows."""
    if not rows:
        return lines
    return lines.without(rows) if isinstance(lines, SealedLines) else [line for line in lines if line.row not in rows]
