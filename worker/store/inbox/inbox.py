"""Events of other systems, taken once each: what is known of their customers, and what becomes of them.

All is done under the locks of the events' customers, so that of two events of one customer, wherever they came in,
one finds what the other did.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.events.incoming import EventKind, Outcome, Receipt, Received
from worker.domain.events.ordering import why_ignored
from worker.domain.model.states import JobState
from worker.domain.model.wakeups import WakeUp
from worker.foundation.ids import new_id
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.database import Database, fetch, outlive_deadlocks
from worker.store.base.priorities import EVENT, PAUSED
from worker.store.inbox.event_customers import EventCustomers, learn, let_go
from worker.store.inbox.incoming_events import Arrival, NewEvent, of_kind
from worker.store.inbox.withdrawal import erase_customer, withdraw
from worker.store.onboarding.admission import following
from worker.store.onboarding.daily_batch import next_rows
from worker.store.onboarding.new_rows import job_row
from worker.store.outbox.outbox import PUBLISHED_STATES, add_row_events
from worker.store.tables import Inbox, Job

CONFLICT = "another event with this source and id was taken, which says something else"


class Inboxes:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring
        self._customers = EventCustomers(keyring)

    def take(self, arrivals: Sequence[Arrival], *, now: datetime, within: sa.Connection | None = None) -> Received:
        """Take events in one transaction, or in a part of one; a receipt for each, in their order.

        Raises keyring.CannotOpen where a customer is to be changed whom no key opens.
        """
        if within is not None:
            return self._take(arrivals, now=now, within=within)
        return outlive_deadlocks(partial(self._take, arrivals, now=now, within=None))

    def _take(self, arrivals: Sequence[Arrival], *, now: datetime, within: sa.Connection | None) -> Received:
        receipts: dict[int, Receipt] = {}
        due: set[WakeUp] = set()
        with self._database.write(within) as connection:
            for places in _rounds(arrivals):
                one = [arrivals[place] for place in places]
                for place, receipt in zip(places, self._round(connection, one, due, now=now), strict=True):
                    receipts[place] = receipt
        return Received([receipts[place] for place in range(len(arrivals))], frozenset(due))

    def _round(
        self, connection: sa.Connection, arrivals: Sequence[Arrival], due: set[WakeUp], *, now: datetime
    ) -> list[Receipt]:
        """Take events of which no two are the same, or of one customer."""
        new = _keep(connection, arrivals, now=now)
        before = _kept_before(connection, [arrival for arrival in arrivals if arrival.key not in new])
        if new:
            self._work(connection, list(new.values()), due, now=now)
        return [
            _receipt(new[arrival.key]) if arrival.key in new else _told_again(arrival, before.get(arrival.key))
            for arrival in arrivals
        ]

    def _work(self, connection: sa.Connection, new: list[NewEvent], due: set[WakeUp], *, now: datetime) -> None:
        customers = self._customers.hold(connection, new, now=now)
        learn(connection, new, customers)
        for taken in new:
            taken.ignored = why_ignored(taken.arrival.kind, taken.arrival.occurred_at, taken.known)
        self._customers.keep_details(connection, new, customers, now=now)
        requests = of_kind(new, EventKind.REQUESTED)
        # Nobody serves whom nobody knew: a job, or a session, has its customer's row.
        known = [taken for taken in requests if not customers[taken.arrival.customer_id].fresh]
        self._add_jobs(connection, requests, known, due, now=now)
        withdrawn = of_kind(new, EventKind.CANCELLED)
        if withdrawn:
            keys = {(taken.arrival.customer_id, taken.arrival.purpose) for taken in withdrawn}
            ended = withdraw(connection, keys, now=now)
            for taken in withdrawn:
                taken.job_id = ended.get((taken.arrival.customer_id, taken.arrival.purpose))
        for taken in of_kind(new, EventKind.ERASED):
            erase_customer(connection, taken.arrival.customer_id, taken.arrival.occurred_at, taken.known, now=now)
        _note(connection, new)
        let_go(connection, new, customers)

    def _add_jobs(
        self,
        connection: sa.Connection,
        requests: Sequence[NewEvent],
        known: Sequence[NewEvent],
        due: set[WakeUp],
        *,
        now: datetime,
    ) -> None:
        """Add the jobs of requests; `known` are those of whose customers there may be another."""
        if not requests:
            return
        keys = {(taken.arrival.customer_id, taken.arrival.purpose) for taken in known}
        followed = following(connection, keys, now=now) if keys else {}
        # As late as can be: until this transaction ends, no other event gets a row.
        numbers = next_rows(connection, len(requests), now=now)
        priority = EVENT + PAUSED if numbers.paused else EVENT
        by_row: dict[int, NewEvent] = {}
        rows = []
        for number, taken in enumerate(requests, numbers.first):
            arrival = taken.arrival
            assert arrival.line is not None  # noqa: S101 -- for mypy: a request has its line
            by_row[number] = taken
            line = replace(arrival.line, row=number)
            invite_at = None if arrival.invite_after is None else arrival.occurred_at + arrival.invite_after
            job = job_row(
                self._keyring, numbers.batch_id, line, followed, priority=priority, now=now, invite_at=invite_at
            )
            waits = job["state"] is JobState.WAITING and job["joins"] is None and not numbers.paused
            if waits and job["due_at"] <= now:
                due.add(WakeUp.issue(line.account))
            rows.append(job)
        for row in connection.execute(sa.insert(Job).returning(Job.id, Job.row), rows):
            by_row[row.row].job_id = row.id
        stopped = [row["row"] for row in rows if row["state"] in PUBLISHED_STATES]
        add_row_events(connection, numbers.batch_id, stopped, now=now)


def _rounds(arrivals: Sequence[Arrival]) -> Iterator[list[int]]:
    """The places of events, so that in each round there is one event at most of each customer, and of each id."""
    left = list(range(len(arrivals)))
    while left:
        customers: set[str] = set()
        keys: set[tuple[str, str]] = set()
        one: list[int] = []
        others: list[int] = []
        for place in left:
            arrival = arrivals[place]
            # An event behind one that has to wait waits as well, so that a customer's go in their order.
            first = arrival.customer_id not in customers and arrival.key not in keys
            (one if first else others).append(place)
            customers.add(arrival.customer_id)
            keys.add(arrival.key)
        yield one
        left = others


def _insert(connection: sa.Connection, model: Any) -> Any:
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(model)


def _keep(connection: sa.Connection, arrivals: Sequence[Arrival], *, now: datetime) -> dict[tuple[str, str], NewEvent]:
    """Those that were never seen before, noted; whoever else brings the same waits for this transaction."""
    ids = {arrival.key: new_id(now) for arrival in arrivals}
    rows = {
        arrival.key: {
            "id": ids[arrival.key],
            "source": arrival.source,
            "event_id": arrival.event_id,
            "digest": arrival.digests[0],
            "kind": arrival.kind,
            "customer_id": arrival.customer_id,
            "purpose": arrival.purpose,
            "occurred_at": arrival.occurred_at,
            "received_at": now,
            "outcome": Outcome.TAKEN,
            "detail": "",
            "job_id": None,
            "encrypted": None,
        }
        for arrival in arrivals
    }
    # In one order everywhere, so that two consumers of the same events cannot lock each other out.
    ordered = [rows[key] for key in sorted(rows)]
    statement = _insert(connection, Inbox).on_conflict_do_nothing().returning(Inbox.id)
    kept = set(connection.execute(statement, ordered).scalars())
    return {arrival.key: NewEvent(ids[arrival.key], arrival) for arrival in arrivals if ids[arrival.key] in kept}


_BEFORE = sa.select(Inbox.id, Inbox.source, Inbox.event_id, Inbox.digest, Inbox.job_id).where(
    bulk.among(Inbox.source, "sources"), bulk.among(Inbox.event_id, "event_ids")
)


def _kept_before(connection: sa.Connection, arrivals: Collection[Arrival]) -> dict[tuple[str, str], sa.Row[Any]]:
    if not arrivals:
        return {}
    given = {
        "sources": bulk.keys({arrival.source for arrival in arrivals}),
        "event_ids": bulk.keys({arrival.event_id for arrival in arrivals}),
    }
    return {(row.source, row.event_id): row for row in fetch(connection, _BEFORE, given)}


def _told_again(arrival: Arrival, before: sa.Row[Any] | None) -> Receipt:
    if before is None or before.digest not in arrival.digests:
        return Receipt(Outcome.REFUSED, reason=CONFLICT)
    return Receipt(Outcome.DUPLICATE, before.id, before.job_id)


def _receipt(taken: NewEvent) -> Receipt:
    return Receipt(Outcome.IGNORED if taken.ignored else Outcome.TAKEN, taken.id, taken.job_id, taken.ignored)


_NOTE = bulk.Change(
    Inbox.id,
    {
        "outcome": sa.bindparam("new_outcome"),
        "detail": sa.bindparam("new_detail"),
        "job_id": sa.bindparam("new_job_id"),
        "encrypted": sa.bindparam("new_encrypted"),
    },
    by="id_",
)


def _note(connection: sa.Connection, new: Sequence[NewEvent]) -> None:
    rows = [
        {
            "id_": taken.id,
            "new_outcome": Outcome.IGNORED if taken.ignored else Outcome.TAKEN,
            "new_detail": taken.ignored,
            "new_job_id": taken.job_id,
            "new_encrypted": None if taken.ignored else taken.encrypted,
        }
        for taken in new
        if taken.ignored or taken.job_id is not None or taken.encrypted is not None
    ]
    _NOTE.run(connection, rows)
