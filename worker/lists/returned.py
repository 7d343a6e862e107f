"""A report of ours that comes back from a spreadsheet, and what its rows become."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from onboarding_worker.core.database.database import Database
from onboarding_worker.lists.lines import AcceptedLine, RefusedLine, Returned
from onboarding_worker.lists.options import ListOptions
from onboarding_worker.providers.row_rights import REPORTS


@dataclass(frozen=True)
class Change:
    """A row that a person has changed, and what became of it, in words without personal data. `account` is asked for
    another session; `channels`: by which a link leaves; `waits_until`: after the end of the present one, which the old
    address has. `again`: the failed row is tried again. `batch`: the one whose row it is about; None: the row was
    filled in, and is worked like one of any list."""

    row: int
    customer_id: str
    what: str
    batch: int | None = None
    account: str = ""
    channels: Sequence[str] = ()
    waits_until: datetime | None = None
    again: bool = False


@dataclass(kw_only=True)
class ReturnedReport:
    """`database`: whose changes the audit log ascribes to who gave the report. `another_person`: a row may leave
    nothing of the person who is stored. `origin`: of its rows (`row_rights`). `act` False: only what would become of
    the rows is said."""

    name: str
    options: ListOptions
    database: Database
    another_person: bool = False
    origin: str = REPORTS
    act: bool = True
    changes: list[Change] = field(default_factory=list)

    @property
    def batches(self) -> set[int]:
        """Those whose rows the changes are about."""
        return {change.batch for change in self.changes if change.batch is not None}

    def stored(self, known: int) -> int:
        """How many of the rows of known customers say what is stored."""
        return known - sum(change.batch is not None for change in self.changes)

    def settle(self, lines: Sequence[Returned]) -> Iterator[AcceptedLine | RefusedLine]:
        """What each line becomes, in order. A line that was settled before is as stored, and does nothing again."""
        raise NotImplementedError

    def foreseeing(self) -> Self:
        """The same, without doing it."""
        return replace(self, act=False, changes=[]) if self.act else self
