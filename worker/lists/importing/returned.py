"""What becomes of the rows of a report that comes back, and of which rows a person has changed something."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from worker.core.customers.store.new_rows import AcceptedLine, RefusedLine
from worker.core.features import NOT_INSTALLED
from worker.lists.lines import ListRefused, Returned


@dataclass(frozen=True)
class Change:
    """A row that a person has changed, and what became of it, in words without personal data."""

    row: int
    customer_id: str
    what: str
    is_new: bool = False  # a row that was filled in: it is worked like one of any list


class Settles(Protocol):
    """Says what the rows of one report become. `corrected`: how many rows of known customers were changed. `batches`:
    those whose rows the changes are about."""

    @property
    def changes(self) -> Sequence[Change]: ...
    @property
    def corrected(self) -> int: ...
    @property
    def batches(self) -> Collection[int]: ...

    def settle(self, lines: Sequence[Returned]) -> Iterator[AcceptedLine | RefusedLine]:
        """What each line becomes, in order. A line that was settled before is as stored, and does nothing again."""

    def foreseeing(self) -> "Settles":
        """The same, without doing it."""


class Refusing:
    """Where nothing acts on reports."""

    changes, corrected, batches = (), 0, frozenset[int]()

    def settle(self, lines: Sequence[Returned]) -> NoReturn:
        raise ListRefused([f"the file is a report that comes back: {NOT_INSTALLED}"])

    def foreseeing(self) -> "Refusing":
        return self
