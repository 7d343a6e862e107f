"""The forms that a row has on its way through a dispatcher, whichever its kind: claimed, opened, with a result."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from worker.core.model.endings import Ending, Kind, Problem
from worker.core.unknown.reconciliation import Found, UnknownCall


class Claimed(Protocol):
    """A job or a message under our lease."""

    @property
    def id(self) -> Any: ...
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
    def is_event(self) -> bool: ...
    @property
    def probe(self) -> bool: ...
    @property
    def session_id(self) -> uuid.UUID | None: ...
    @property
    def unknown_call(self) -> UnknownCall | None: ...


RowT = TypeVar("RowT", bound=Claimed)


@dataclass(repr=False)
class Opened(Generic[RowT]):
    """A row whose attempt is written down, so its call may be made once. `reconcile_at`: see the attempt's column."""

    row: RowT
    attempt_id: uuid.UUID
    repeatable: bool
    reconcile_at: datetime | None

    @property
    def job_id(self) -> int:
        """The job that the call is for."""
        raise NotImplementedError


OpenedT = TypeVar("OpenedT", bound=Opened[Any])


@dataclass(repr=False)  # not frozen: see `customers.customers`
class CallResult(Generic[OpenedT]):
    """The result of one opened call. `ending` None: the call was not made. `found`: what a look-up found."""

    opened: OpenedT
    began_at: datetime
    ending: Ending | None
    problem: Problem | None = None
    found: Found | None = None

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
