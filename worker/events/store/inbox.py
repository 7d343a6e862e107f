"""Stores events of other systems, each once, and applies them to their customers and jobs.

Everything happens under the locks of the events' customers. So of two events of one customer, whichever process gets
them, the second finds what the first has done.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import Entry, note_all
from onboarding_worker.core.database.bulk import rows_of
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.facts import STOPPED, JobsStopped, happened
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import CustomerRow, Inbox, Job
from onboarding_worker.core.foundation.keyring import Keyring, key_id_of
from onboarding_worker.core.model.incoming import EventKind, EventReceipt, Outcome, Received
from onboarding_worker.core.model.states import EVENT, PAUSED, JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows.cancellation import cancel_customers
from onboarding_worker.events.standing import (
    NO_STANDING,
    NOT_ITS_CUSTOMER,
    Arrival,
    Key,
    NewEvent,
    of_kind,
    standing_of,
    why_ignored,
)
from onboarding_worker.events.store.event_customers import HeldCustomers, erase_customer
from onboarding_worker.lists.store.admission import following
from onboarding_worker.lists.store.batches import next_rows
from onboarding_worker.lists.store.new_rows import BY_EVENT, Erasure, bring_back, erased_among, job_values, new_jobs
from onboarding_worker.plans.store.leadership import take_all

CONFLICT = "an event with this source and id was taken already, with different content"


class Inboxes:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def take(self, arrivals: Sequence[Arrival], *, now: datetime, within: sa.Connection | None = None) -> Received:
        """Take events in one transaction, or within the caller's; returns a receipt for each, in their order. Raises
        keyring.CannotDecrypt when a customer must change and no key decrypts its row."""
        take = partial(self._take, arrivals, now=now, within=within)
        return outlive_deadlocks(take) if within is None else take()

    def _take(self, arrivals: Sequence[Arrival], *, now: datetime, within: sa.Connection | None) -> Received:
        receipts: dict[int, EventReceipt] = {}
        with self._database.write(within) as connection:
            taking = _Taking(connection, self._keyring, now)
            for places in _rounds(arrivals):
                receipts |= zip(places, taking.round([arrivals[place] for place in places]), strict=True)
        in_order = [receipts[place] for place in range(len(arrivals))]
        return Received(in_order, frozenset(taking.due), tuple(taking.beyond))


@dataclass
class _Taking:
    """Takes events in, in one transaction. `due`, `beyond`: see `Received`."""

    connection: sa.Connection
    keyring: Keyring
    now: datetime
    due: set[WakeUp] = field(default_factory=set)
    beyond: list[str] = field(default_factory=list)

    def round(self, arrivals: Sequence[Arrival]) -> list[EventReceipt]:
        """Take events that are all different and of different customers."""
        new = _keep(self.connection, arrivals, now=self.now)
        before = _kept_before(self.connection, [arrival for arrival in arrivals if arrival.key not in new])
        if new:
            self._work(list(new.values()))
        return [
            _receipt(new[arrival.key]) if arrival.key in new else _duplicate(arrival, before.get(arrival.key))
            for arrival in arrivals
        ]

    def _work(self, new: list[NewEvent]) -> None:
        connection, keyring, now = self.connection, self.keyring, self.now
        held = HeldCustomers(connection, keyring, new, now=now)
        customers = held.by_id
        for event in new:
            event.standing = standing_of(event.arrival.sender, customers[event.arrival.customer_id].sender)
        self.beyond += [event.arrival.sender.name for event in new if not event.standing.reaches]
        erased = self._refuse_erased(new)
        held.refuse_another(new)
        new = _without_refused(connection, new)
        held.learn(new)
        for event in new:
            tombstone = erased.get(event.arrival.customer_id)
            if tombstone and event.standing.heeds_all:
                event.known = replace(event.known, erased_at=max(tombstone.at, event.known.erased_at or tombstone.at))
            elif tombstone and event.arrival.occurred_at < tombstone.at:
                event.standing = NO_STANDING  # the answer is that about nobody, and nothing is kept
        for event in new:
            event.ignored = why_ignored(event.arrival.kind, event.arrival.occurred_at, event.known)
        # The others are stored, so that a copy is recognised and their status can be asked for, and change nothing.
        reaching = [event for event in new if event.standing.reaches]
        held.keep_details(reaching)
        requests = of_kind(reaching, EventKind.REQUESTED)
        back = {event.arrival.customer_id for event in requests} & erased.keys()
        if back:
            bring_back(connection, keyring, back)
        # A customer whose row is new has no job yet: jobs and sessions always have their customer's row.
        known = [event for event in requests if event.arrival.customer_id not in held.fresh]
        self._add_jobs(requests, known)
        cancelled = of_kind(reaching, EventKind.CANCELLED)
        if cancelled:
            keys = {(event.arrival.customer_id, event.arrival.purpose) for event in cancelled}
            ended = cancel_customers(connection, keys, now=now)
            for event in cancelled:
                event.job_id = ended.get((event.arrival.customer_id, event.arrival.purpose))
        for event in of_kind(reaching, EventKind.ERASED):
            customer_id, at = event.arrival.customer_id, event.arrival.occurred_at
            # Who is not known here is remembered as far as the sender reaches: else, only the event is kept.
            counts = customers[customer_id].sender is not None or event.arrival.sender.every_customer
            erase_customer(connection, keyring, customer_id, at, event.known, final=False, remembered=counts, now=now)
        _note(connection, new)
        note_all(connection, [_entry(event, now) for event in reaching if event.told or not event.ignored])
        held.remove_empty(reaching)

    def _refuse_erased(self, new: Sequence[NewEvent]) -> Mapping[str, Erasure]:
        """Mark events that would make an erased customer known again. Returns which customers were erased."""
        about = [event for event in new if event.arrival.kind in (EventKind.REQUESTED, EventKind.UPDATED)]
        erased = erased_among(self.connection, self.keyring, {event.arrival.customer_id for event in about})
        for event in about:
            tombstone = erased.get(event.arrival.customer_id)
            if tombstone is not None and tombstone.final and event.standing.reaches:
                event.refused = BY_EVENT
        return erased

    def _add_jobs(self, requests: Sequence[NewEvent], known: Sequence[NewEvent]) -> None:
        """Add the jobs of requests. `known` are the requests whose customers may have another job."""
        if not requests:
            return
        connection, now = self.connection, self.now
        keys = {(event.arrival.customer_id, event.arrival.purpose) for event in known}
        followed = following(connection, keys, now=now) if keys else {}
        # As late as possible: until this transaction ends, no other event gets a row number.
        numbers = next_rows(connection, len(requests), now=now)
        priority = EVENT + PAUSED if numbers.paused else EVENT
        asked = [event.arrival for event in requests]
        by_row = dict(enumerate(requests, numbers.first))
        numbered = enumerate(asked, numbers.first)
        lines = [replace(one.line, row=number) for number, one in numbered if one.line is not None]  # each has one
        values = job_values(self.keyring, numbers.batch_id, lines)
        invite_at = [one.occurred_at + one.invite_after if one.invite_after is not None else None for one in asked]
        jobs = new_jobs(values, followed, priority=priority, now=now, invite_at=invite_at)
        rows = rows_of(jobs)
        for job in rows:
            waits = job["state"] is JobState.WAITING and job["leader_id"] is None and not numbers.paused
            if waits and job["due_at"] <= now:
                self.due.add(WakeUp.issue(job["account"]))
        if any(arrival.traceparent is not None for arrival in asked):
            for job, arrival in zip(rows, asked, strict=True):
                job["traceparent"] = arrival.traceparent
        bulk.add(connection, Job, rows)
        for job in rows:
            by_row[job["row"]].job_id = job["id"]
        if not numbers.paused and any(row["leader_id"] is not None for row in rows):
            take_all(connection, numbers.batch_id, after=numbers.first - 1, now=now)
        stopped = [row["id"] for row in rows if row["state"] in STOPPED]
        happened(connection, JobsStopped(stopped), now=now)


def _rounds(arrivals: Sequence[Arrival]) -> Iterator[list[int]]:
    """The indexes of the events in rounds: each round has at most one event of each customer and of each id."""
    left = list(range(len(arrivals)))
    while left:
        customers: set[str] = set()
        keys: set[Key] = set()
        one: list[int] = []
        later: list[int] = []
        for place in left:
            arrival = arrivals[place]
            # An event behind a waiting event of its customer waits too, so that a customer's events keep their order.
            first = arrival.customer_id not in customers and arrival.key not in keys
            (one if first else later).append(place)
            customers.add(arrival.customer_id)
            keys.add(arrival.key)
        yield one
        left = later


# Events come one by one, and building a statement costs more than running it.
@cache
def _add_new(dialect: str) -> sa.Executable:
    return bulk.insert(Inbox, dialect).on_conflict_do_nothing().returning(Inbox.id)


def _keep(connection: sa.Connection, arrivals: Sequence[Arrival], *, now: datetime) -> dict[Key, NewEvent]:
    """Store the events that are new and return them. Another transaction with the same event waits for this one."""
    new = {arrival.key: NewEvent(new_id(now), arrival) for arrival in arrivals}
    same = ("source", "event_id", "kind", "customer_id", "purpose", "occurred_at", "signed_at")
    rows = {
        arrival.key: {name: getattr(arrival, name) for name in same}
        | {
            "id": new[arrival.key].id,
            "sender": arrival.sender.name,
            "every_customer": arrival.sender.every_customer,
            "digest": arrival.digests[0],
            "received_at": now,
            "outcome": Outcome.TAKEN,
            "detail": "",
        }
        for arrival in arrivals
    }
    # Always in the same order, so that two consumers of the same events cannot deadlock.
    ordered = [rows[key] for key in sorted(rows)]
    kept = set(connection.execute(_add_new(connection.dialect.name), ordered).scalars())
    return {key: event for key, event in new.items() if event.id in kept}


_BEFORE = (
    sa.select(Inbox.id, Inbox.sender, Inbox.source, Inbox.event_id, Inbox.digest, Inbox.job_id, Inbox.outcome)
    .add_columns(CustomerRow.sender.label("owner"))
    .join(CustomerRow, CustomerRow.customer_id == Inbox.customer_id, isouter=True)
    .where(
        bulk.among(Inbox.sender, "senders"),
        bulk.among(Inbox.source, "sources"),
        bulk.among(Inbox.event_id, "event_ids"),
    )
)


def _kept_before(connection: sa.Connection, arrivals: Collection[Arrival]) -> dict[Key, sa.Row[Any]]:
    if not arrivals:
        return {}
    given = {
        "senders": bulk.keys({arrival.sender.name for arrival in arrivals}),
        "sources": bulk.keys({arrival.source for arrival in arrivals}),
        "event_ids": bulk.keys({arrival.event_id for arrival in arrivals}),
    }
    return {(row.sender, row.source, row.event_id): row for row in fetch(connection, _BEFORE, given)}


def _duplicate(arrival: Arrival, before: sa.Row[Any] | None) -> EventReceipt:
    if before is None:
        return EventReceipt(Outcome.REFUSED, reason=CONFLICT)
    # Once the key of the stored digest is gone, an event with this source and id is taken for the same.
    comparable = key_id_of(before.digest) in map(key_id_of, arrival.digests)
    if comparable and before.digest not in arrival.digests:
        return EventReceipt(Outcome.REFUSED, reason=CONFLICT)
    if arrival.kind is EventKind.REQUESTED and not standing_of(arrival.sender, before.owner).reaches:
        return EventReceipt(Outcome.REFUSED, reason=NOT_ITS_CUSTOMER)  # taken over since
    return EventReceipt(Outcome.DUPLICATE, before.id, before.job_id, first=before.outcome)


def _entry(event: NewEvent, now: datetime) -> Entry:
    """What the audit log says of an event that changes something."""
    arrival = event.arrival
    reason = f"{event.told} by event {event.id}" if event.told else f"event {event.id}"
    return Entry(now, arrival.actor, arrival.kind.value, f"customer {arrival.customer_id}", reason=reason)


def _without_refused(connection: sa.Connection, new: list[NewEvent]) -> list[NewEvent]:
    """The events without those that are refused. Nothing of these is stored. A request is refused, too, if its sender
    does not reach its customer."""
    for event in new:
        if event.arrival.kind is EventKind.REQUESTED and not event.standing.reaches:
            event.refused = NOT_ITS_CUSTOMER
    refused = [event for event in new if event.refused]
    if not refused:
        return new
    connection.execute(sa.delete(Inbox).where(bulk.among(Inbox.id, "ids")), {"ids": bulk.keys(e.id for e in refused)})
    return [event for event in new if not event.refused]


def _receipt(event: NewEvent) -> EventReceipt:
    if event.refused:
        return EventReceipt(Outcome.REFUSED, reason=event.refused)
    return EventReceipt(Outcome.IGNORED if event.ignored else Outcome.TAKEN, event.id, event.job_id, event.ignored)


_NOTE = bulk.Change(Inbox.id, bulk.new("outcome", "detail", "job_id", "encrypted"), by="id_")


def _note(connection: sa.Connection, new: Sequence[NewEvent]) -> None:
    rows = [
        {
            "id_": event.id,
            "new_outcome": Outcome.IGNORED if event.ignored else Outcome.TAKEN,
            "new_detail": event.ignored,
            "new_job_id": event.job_id,
            "new_encrypted": None if event.ignored else event.encrypted,
        }
        for event in new
        if event.ignored or event.job_id is not None or event.encrypted is not None
    ]
    _NOTE.run(connection, rows)
