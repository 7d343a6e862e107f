"""The forms that a row has from its claim to its written result, whichever its kind: a claimed row, which is opened
once its attempt is written, and the result of its call.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

from worker.core.model.endings import Ending, Kind, Problem
from worker.core.unknown.reconciliation import Found, UnknownCall

NOT_OPENED = uuid.UUID(int=0)
NOT_YET = datetime.min.replace(tzinfo=UTC)


class Claimed(Protocol):
    """A job or a message under our lease. It is opened once its attempt is written: its call may be made, once."""

    attempt_id: uuid.UUID  # `NOT_OPENED` until then
    repeatable: bool  # if the call's outcome is unknown
    reconcile_at: datetime | None  # see the attempt's column

    @property
    def id(self) -> Any: ...
    @property
    def job_id(self) -> int: ...
    @property
    def batch_id(self) -> int: ...
    @property
    def fence(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def due_at(self) -> datetime: ...
    @property
    def lease_until(self) -> datetime: ...
    @property
    def call_before(self) -> datetime | None: ...  # the end of the day that its credit is of; None: it takes none
    @property
    def is_event(self) -> bool: ...
    @property
    def looks_up(self) -> bool: ...  # its call makes nothing at the other side
    @property
    def reconciles(self) -> uuid.UUID | None: ...  # the attempt that it looks up
    @property
    def probe(self) -> bool: ...
    @property
    def session_id(self) -> uuid.UUID | None: ...
    @property
    def unknown_call(self) -> UnknownCall | None: ...


RowT = TypeVar("RowT", bound=Claimed)
OpenedT = TypeVar("OpenedT", bound=Claimed)  # for who works opened rows only


@dataclass(repr=False)  # not frozen: see `customers.customers`
class CallResult(Generic[RowT]):
    """The result of one opened call. `ending` None: the call was not made. `found`: what a look-up found."""

    row: RowT
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    found: Found | None = None

    @property
    def called(self) -> bool:
        """Whether the call was made; False: `call` found that it may not, or need not, be made."""
        return self.ending is not None

    @property
    def halts(self) -> bool:
        """Whether it pauses the whole account until it is written."""
        return self.problem is not None and self.problem.concerns_account

    @property
    def succeeded(self) -> bool:
        """Whether the call did what it was made for."""
        raise NotImplementedError

    @property
    def is_conclusive(self) -> bool:
        """Whether it settles an unknown outcome. A call that was not made settles it too."""
        return (
            self.ending is None
            or self.succeeded
            or (self.problem is not None and self.problem.kind is not Kind.UNKNOWN)
        )


ResultT = TypeVar("ResultT", bound=CallResult[Any])
