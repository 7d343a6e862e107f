"""Changes of state that features may want to know: observers get each in the transaction that makes it.

A fact has ids or objects that are there, so it costs nothing where no feature listens: what else an observer needs, it
reads. Kept counts and audit entries are no facts: they are part of the write.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from onboarding_worker.core.model.states import JobState

# An execution option of all connections: the observers (`Database.observers`).
OBSERVERS = "onboarding_observers"
# The states of jobs that a person must decide about, or may retry.
STOPPED = frozenset({JobState.FAILED, JobState.HELD})


class Fact:
    """What has just happened to some rows."""


class FactObserver(Protocol):
    """`observe` is called with the facts of these kinds, in the transaction that makes them."""

    @property
    def hears(self) -> type[Fact]: ...

    def observe(self, connection: sa.Connection, fact: Any, now: datetime) -> object: ...


@dataclass(frozen=True)
class JobsStopped(Fact):
    """Those of these jobs that are in one of the STOPPED states have just come there."""

    ids: Collection[int]


@dataclass(frozen=True)
class _OfRows(Fact):
    ids: Collection[UUID]


class MessagesSent(_OfRows):
    """These messages were sent."""


class SessionsExpired(_OfRows):
    """The links of these sessions stopped working before their customers had finished."""


@dataclass(frozen=True)
class SessionsCompleted(_OfRows):
    """The provider has decided about the customers of these sessions. `result`: its decision; "": it says none."""

    result: str


def happened(connection: sa.Connection, fact: Fact, *, now: datetime) -> None:
    """Tell the observers of this connection."""
    for one in connection.get_execution_options().get(OBSERVERS, ()):
        if isinstance(fact, one.hears):
            one.observe(connection, fact, now)
