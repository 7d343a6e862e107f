"""The forms that a row has from its claim to its written result, whichever its kind: a claimed row, which is opened
once its attempt is written, and the result of its call.
"""

import uuid
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from worker.core.model.endings import Ending, Kind, Problem
from worker.core.model.states import EVENT
from worker.core.unknown.reconciliation import Found, UnknownCall

NOT_OPENED = uuid.UUID(int=0)
NOT_YET = datetime.min.replace(tzinfo=UTC)


@dataclass(repr=False)  # not frozen: see `customers.customers`
class Claimed:
    """A job or a message under our lease. It is opened once its attempt is written: its call may be made, once."""

    id: Any
    job_id: int
    batch_id: int
    fence: int
    attempts: int
    priority: int
    due_at: datetime  # restored if no call is made, so that the row keeps its place in the order of claims
    lease_until: datetime
    probe: bool  # the single call that goes first after a pause
    session_id: uuid.UUID | None
    unknown_call: UnknownCall | None  # look up this call; make no new one
    _: KW_ONLY
    attempt_id: uuid.UUID = NOT_OPENED  # until it is opened
    repeatable: bool = False  # if the call's outcome is unknown
    reconcile_at: datetime | None = None  # see the attempt's column
    call_before: datetime | None = None  # the end of the day that its credit is of; None: it takes none

    @property
    def is_event(self) -> bool:
        return self.priority == EVENT

    @property
    def looks_up(self) -> bool:
        """True if its call makes nothing at the other side."""
        return self.unknown_call is not None

    @property
    def reconciles(self) -> uuid.UUID | None:
        """The attempt that it looks up."""
        return None if self.unknown_call is None else self.unknown_call.attempt_id


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
    needed_no_request: bool = False  # a look-up that was decided without one

    @property
    def called(self) -> bool:
        """Whether the call was made; False: `call` found that it may not, or need not, be made."""
        return self.ending is not None and not self.needed_no_request

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
