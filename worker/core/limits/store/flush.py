"""A flush: the one transaction of a dispatcher. It writes results, and then claims the next rows and opens them.

    results → unused slots → budget → permits → lease → gates → slots → attempts

All of it or nothing is in the database, so no call is made while results cannot be written, and a call's attempt is
there before the call. What is different for jobs and for messages are the abstract methods of `Rows`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.database.leases import Leases
from worker.core.database.outages import SACRIFICED
from worker.core.foundation.clock import Clock
from worker.core.limits.rate_adaptation import Stretch
from worker.core.limits.store import budgets
from worker.core.limits.store.claims import ClaimPolicy, Claims, Leased, Reserved, Room
from worker.core.unknown.store.row_by_row import Chunk, row_by_row
from worker.core.work.row_forms import Claimed

PolicyT = TypeVar("PolicyT", bound=ClaimPolicy)
ItemT = TypeVar("ItemT", bound=Claimed)  # a claimed row
OpenedT = TypeVar("OpenedT")  # a row whose attempt is written
ResultT = TypeVar("ResultT")  # the result of its call


@dataclass(frozen=True)
class Flushed(Generic[OpenedT]):
    """What a flush has claimed: rows under this worker's lease, with their attempts written.

    `slots`: a reserved time for each of these calls, whichever row goes first; none if calls may be made at once.
    `spacing`: the least time between two calls, as the account's limit and what was found of it are now.
    `again_at`: when to claim again; None: nothing more is due, or a person must act. `permits`: how many calls may be
    in flight from now on; None: as many as before. `channels`: those on which messages became due.
    """

    opened: Sequence[OpenedT] = ()
    again_at: datetime | None = None
    permits: int | None = None
    slots: Sequence[datetime] = ()
    channels: frozenset[str] = frozenset()
    spacing: timedelta = timedelta(0)


class UnknownFlush(Exception):
    """A flush that opened rows has an unknown outcome: these rows may be under this worker's lease, or not.

    `error`: the database's, which is an outage.
    """

    def __init__(self, opened: Sequence[Any], error: sa.exc.OperationalError) -> None:
        super().__init__("the outcome of a flush is unknown: the database's answer was lost")
        self.opened = opened
        self.error = error


class Rows(ABC, Generic[PolicyT, ItemT, OpenedT, ResultT]):
    """The rows of one kind, jobs or messages, for one process. Each abstract method is a part of a flush's transaction.

    `leases`: those of this kind of row.
    """

    def __init__(self, database: Database, leases: Leases[Any], *, jitter: Callable[[], float]) -> None:
        self._database = database
        self._leases = leases
        self._claims = Claims(leases, jitter=jitter)

    @abstractmethod
    def record(
        self,
        connection: sa.Connection,
        policy: PolicyT,
        results: Sequence[ResultT],
        *,
        now: datetime,
        stretch: Stretch | None,
    ) -> set[str]:
        """Write results. Returns the channels on which messages are due now."""

    @abstractmethod
    def takes_places(self, policy: PolicyT, rows: Sequence[sa.Row[Any]]) -> bool:
        """Whether a gate of these leased rows locks a row that all workers share: a batch's plan, a country's count.

        Then the budget's row is locked before it, as in a claim that has locked it already: else two workers could
        wait for each other.
        """

    @abstractmethod
    def passed(
        self, connection: sa.Connection, policy: PolicyT, rows: Sequence[sa.Row[Any]], leased: Leased, *, now: datetime
    ) -> tuple[list[ItemT], frozenset[str]]:
        """Which of these leased rows pass all gates, and the channels on which messages became due.

        The others are released.
        """

    @abstractmethod
    def open(
        self, connection: sa.Connection, policy: PolicyT, items: Sequence[ItemT], *, now: datetime
    ) -> list[OpenedT]:
        """Write the attempts. Items that are not returned are settled or released."""

    @abstractmethod
    def set_aside(self, connection: sa.Connection, kinds: Mapping[Any, str], *, now: datetime) -> None:
        """Hold waiting rows that cannot be claimed. `kinds`: the kind of exception of each."""

    @abstractmethod
    def uncount(
        self, connection: sa.Connection, policy: PolicyT, items: Sequence[ItemT], calls: int, *, now: datetime
    ) -> None:
        """Take back what the claim of these rows counted: they are released. `calls` were written down for them."""

    def release_leased(
        self, connection: sa.Connection, policy: PolicyT, items: Sequence[ItemT], *, now: datetime
    ) -> None:
        """Release rows that this transaction has leased. They are due as before."""
        self._leases.release_leased(connection, [item.id for item in items], now=now)
        self._released(connection, policy, items, 0, now=now)

    def release(self, policy: PolicyT, items: Collection[ItemT], *, now: datetime) -> None:
        """Release opened rows for which no call was made. They are due as before; nothing is counted."""
        with self._database.write() as connection:
            leases = [(item.id, item.fence, item.lease_until) for item in items]
            ours, calls = self._leases.release_opened(connection, leases, now=now)
            self._released(connection, policy, [item for item in items if item.id in ours], calls, now=now)

    def _released(
        self, connection: sa.Connection, policy: PolicyT, items: Sequence[ItemT], calls: int, *, now: datetime
    ) -> None:
        if any(item.probe for item in items):
            budgets.end_probe(connection, policy.rule)
        self.uncount(connection, policy, items, calls, now=now)

    @property
    def database_time(self) -> Callable[[], datetime] | None:
        """The database's time, a blocking call; None: leases are not checked by it."""
        return self._database.now if self._database.has_own_time else None

    def flush(
        self,
        policy: PolicyT,
        results: Sequence[ResultT],
        room: Room | None,
        *,
        clock: Clock,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[OpenedT]:
        """Write these results, and claim and open the rows for which there is `room`; None: claim nothing.

        `unused`: slots in which no call is made. `stretch`: a busy stretch of calls that has ended, for the measured
        pace. The time is read where the transaction begins: the process may have stood still on its way there.
        Raises UnknownFlush, or sqlalchemy.exc.OperationalError if it opened no rows.
        """
        opened: list[OpenedT] = []

        def work(connection: sa.Connection, chunk: Chunk) -> Flushed[OpenedT]:
            opened.clear()
            now = clock()
            channels = self.record(connection, policy, results, now=now, stretch=stretch) if results else set()
            budgets.release_slots(connection, policy.rule, unused)
            if room is None:
                return Flushed(channels=frozenset(channels))
            leased, reserved, items, due = self._claimed(connection, policy, room, chunk, now=now)
            if items:
                opened.extend(self.open(connection, policy, items, now=now))
                budgets.release_slots(connection, policy.rule, reserved.slots[len(opened) :])
            return Flushed(
                list(opened),
                reserved.again_at,
                leased.permits,
                reserved.slots[: len(opened)],
                due | channels,
                reserved.spacing,
            )

        def set_aside(connection: sa.Connection, kinds: Mapping[Any, str]) -> None:
            self.set_aside(connection, kinds, now=clock())

        try:
            return row_by_row(self._database, f"claim for {policy.claims_for}", work, set_aside)
        except sa.exc.OperationalError as error:
            # If PostgreSQL ended the transaction to resolve a deadlock, the rows are not ours.
            if opened and getattr(error.orig, "sqlstate", None) not in SACRIFICED:
                raise UnknownFlush(opened, error) from error
            raise

    def _claimed(
        self, connection: sa.Connection, policy: PolicyT, room: Room, chunk: Chunk, *, now: datetime
    ) -> tuple[Leased, Reserved, list[ItemT], frozenset[str]]:
        """The claim, its slots, the rows that have one, and the channels on which messages became due."""
        leased = self._claims.lease(connection, policy, room, now=now)
        if not leased.is_locked and self.takes_places(policy, leased.rows):
            budgets.lock(connection, policy.rule)
        items, due = self.passed(connection, policy, chunk.of(leased.rows), leased, now=now)
        reserved = leased.reserve(connection, len(items), sum(item.is_event for item in items), now=now)
        if leased.granted.probe:
            items = [replace(item, probe=True) for item in items]  # type: ignore[type-var]
        if reserved.count < len(items):  # other workers' calls got the slots
            self.release_leased(connection, policy, items[reserved.count :], now=now)
            items = items[: reserved.count]
        return leased, reserved, items, due

    def release_permits(self, policy: PolicyT) -> None:
        """Release the permits of this account or sender: no further call is made."""
        with self._database.write() as connection:
            self._claims.release_permits(connection, policy)
