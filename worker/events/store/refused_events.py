"""Keeps refused messages of the bus, encrypted, until their time is over, they are put back, or their customer is
erased."""

import uuid
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.encrypted_values import CUSTOMER, context_of_refused
from onboarding_worker.core.database.tables import RefusedEvent
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.lists.store.new_rows import erased_among
from onboarding_worker.reporting.store.waiting import refused_events


@dataclass(frozen=True, repr=False)
class RefusedMessage:
    """A refused message. `content` is personal, so no repr; the other values but `customer_id` name no value of it.

    `identity` is the same for each copy of the message. `kind` is the event's type and `event` its id, where they are
    known to be no person's data. `customer_id`: as the message has it; "" where it names none. `further_ids`: where it
    names several. `content`: the message as JSON values, to put it back; None: it is too large, and not kept.
    """

    queue: str
    identity: str
    reason: str
    kind: str
    event: str
    size: int
    customer_id: str
    content: Mapping[str, Any] | None
    further_ids: Sequence[str] = ()

    @property
    def named(self) -> list[str]:
        return [self.customer_id, *self.further_ids] if self.customer_id else []


class NotPutBack(Exception):
    """No refused message can be put back now. The text says why, for people."""


@dataclass(frozen=True)
class PutBack:
    """How many messages went back, by dead queue; how many were not kept; and why others stay, by dead queue."""

    went: Mapping[str, int] = field(default_factory=dict)
    not_kept: int = 0
    missed: Mapping[str, str] = field(default_factory=dict)


def dead_queue_of(queue: str) -> str:
    return f"{queue}.dead"


CHUNK = 500
KEPT = timedelta(days=14)  # as the notices in the dead queue: after a holiday somebody can still look at them
# In place of the id, of a message that names several: which, its content says. It is no id that a customer could have.
_SEVERAL = "\0several"


@dataclass(frozen=True, repr=False)
class KeptMessage:
    """A refused message. `content`: see `RefusedMessage`; None: see `why_not`. Personal, so no repr."""

    id: uuid.UUID
    queue: str
    reason: str
    kind: str
    event: str
    size: int
    refusals: int
    refused_at: datetime
    due_at: datetime
    content: Mapping[str, Any] | None
    why_not: str = ""


class RefusedEvents:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def keep(self, messages: Sequence[RefusedMessage], *, now: datetime) -> list[uuid.UUID]:
        """Store refused messages in one transaction. Returns their ids, in their order. What names a customer whom a
        person has erased is counted, and its content is not kept."""
        # One id for all copies of a message.
        identities = (f"{one.queue}\0{one.identity}" for one in messages)
        ids = [uuid.UUID(hex=self._keyring.digests("refused event", one)[0][-32:]) for one in identities]
        new = insert(RefusedEvent, self._database.engine.dialect.name)
        renewed = ("reason", "customer_digest", "refused_at", "due_at", "encrypted")
        anew = {name: new.excluded[name] for name in renewed}
        # Always in the same order, so that two consumers of the same messages cannot deadlock.
        with self._database.write() as connection:
            named = {customer_id for message in messages for customer_id in message.named}
            erased = {one for one, was in erased_among(connection, self._keyring, named).items() if was.final}
            kept = [one if erased.isdisjoint(one.named) else replace(one, content=None) for one in messages]
            rows = {id_: self._row(id_, message, now) for id_, message in zip(ids, kept, strict=True)}
            for id_, number in Counter(ids).items():
                rows[id_]["refusals"] = number
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=["id"], set_=anew | {"refusals": RefusedEvent.refusals + new.excluded.refusals}
                ),
                [rows[id_] for id_ in sorted(rows)],
            )
        return ids

    def _row(self, id_: uuid.UUID, message: RefusedMessage, now: datetime) -> dict[str, Any]:
        encrypted, customer_digest, hashed = None, None, message.customer_id
        if message.further_ids and message.content is not None:
            hashed = _SEVERAL
        if hashed:
            customer_digest = self._keyring.digests(CUSTOMER, hashed)[0]
        if message.content is not None:
            # With the id that was hashed, so that it can be hashed by another key.
            content = {**message.content, "customer_id": hashed}
            content |= {"customer_ids": message.named} if hashed == _SEVERAL else {}
            encrypted = self._keyring.encrypt(content, context=context_of_refused(id_))
        return {
            "id": id_,
            "queue": message.queue,
            "reason": message.reason[:400],
            "kind": message.kind,
            "event": message.event,
            "size": message.size,
            "customer_digest": customer_digest,
            "refused_at": now,
            "due_at": now + KEPT,
            "encrypted": encrypted,
        }

    def totals(self) -> dict[str, int]:
        """How many refused messages each queue has."""
        return {queue: number for queue, (number, _) in refused_events(self._database).items()}

    def oldest(self, queue: str, *, most: int) -> list[KeptMessage]:
        """The queue's refused messages, the oldest first."""
        return self._found(RefusedEvent.queue == queue, most)

    def all_until(self, at: datetime) -> Iterator[KeptMessage]:
        """The messages that were refused until `at`, the oldest first, some at a time."""
        beyond: sa.ColumnElement[bool] = sa.true()
        while some := self._found(sa.and_(RefusedEvent.refused_at <= at, beyond), CHUNK):
            yield from some
            beyond = sa.tuple_(RefusedEvent.refused_at, RefusedEvent.id) > (some[-1].refused_at, some[-1].id)

    def find(self, id_: uuid.UUID) -> KeptMessage | None:
        return next(iter(self._found(RefusedEvent.id == id_, 1)), None)

    def _found(self, where: sa.ColumnElement[bool], most: int) -> list[KeptMessage]:
        query = sa.select(RefusedEvent).where(where).order_by(RefusedEvent.refused_at, RefusedEvent.id).limit(most)
        return [self._read(row) for row in self._database.rows(query)]

    def _read(self, row: Any) -> KeptMessage:
        content, why_not = None, ""
        if row.encrypted is None:
            why_not = "it was not kept: it is too large, or its customer was erased"
        else:
            try:
                content = self._keyring.decrypt(row.encrypted, context=context_of_refused(row.id))
            except CannotDecrypt as error:  # names the row and a key's id
                why_not = str(error)
        return made_of(KeptMessage, row, content=content, why_not=why_not)

    def remove(self, message: KeptMessage) -> None:
        """Remove a message that was put back; not if it was refused again meanwhile."""
        same = sa.and_(RefusedEvent.id == message.id, RefusedEvent.refusals == message.refusals)
        with self._database.write() as connection:
            _remove(connection, [message.id], same)

    def drop(self, one: KeptMessage | None, *, now: datetime, until: datetime | None = None) -> int:
        """Remove a message for good, or all that were refused until then (without it until `now`), as a person decided;
        returns how many."""
        subject = f"dead event {one.id}" if one is not None else "dead events"
        which = RefusedEvent.id == one.id if one is not None else RefusedEvent.refused_at <= (until or now)
        ids = sa.select(RefusedEvent.id).where(which).order_by(RefusedEvent.refused_at, RefusedEvent.id).limit(CHUNK)
        dropped = 0
        while True:
            with self._database.write() as connection:
                number = _remove(connection, list(connection.execute(ids).scalars()), which)
                if number:
                    note(connection, subject, now=now, count=number, reason="dropped")
            dropped += number
            if not number:
                return dropped

    def remove_due(self, *, now: datetime) -> int:
        """Remove the next messages whose time is over; returns how many."""
        ids = sa.select(RefusedEvent.id).where(RefusedEvent.due_at <= now).order_by(RefusedEvent.due_at).limit(CHUNK)
        with self._database.write() as connection:
            found = list(connection.execute(ids).scalars())
            return _remove(connection, found, RefusedEvent.due_at <= now)


def _remove(connection: sa.Connection, ids: Collection[uuid.UUID], where: sa.ColumnElement[bool]) -> int:
    """Remove those of these messages for which `where` is true; returns how many."""
    if not ids:
        return 0
    return connection.execute(sa.delete(RefusedEvent).where(RefusedEvent.id.in_(ids), where)).rowcount


def erase_refused(connection: sa.Connection, keyring: Keyring, customer_ids: Collection[str]) -> int:
    """Remove the refused messages that name these customers; returns how many."""
    digests = [one for each in customer_ids for one in keyring.digests(CUSTOMER, each)]
    return remove_about(connection, keyring, digests)


def remove_about(connection: sa.Connection, keyring: Keyring, digests: Collection[str]) -> int:
    """Remove the refused messages that name the customers of these digests; returns how many."""
    return _remove(connection, about(connection, keyring, digests), sa.true())


def about(connection: sa.Connection, keyring: Keyring, digests: Collection[str]) -> list[uuid.UUID]:
    """The refused messages that name a customer of these digests, also beside others."""
    theirs = sa.select(RefusedEvent.id).where(RefusedEvent.customer_digest.in_(digests))
    of_several = RefusedEvent.customer_digest.in_(keyring.digests(CUSTOMER, _SEVERAL))
    found = list(connection.execute(theirs).scalars())
    for row in fetch(connection, sa.select(RefusedEvent.id, RefusedEvent.encrypted).where(of_several)):
        with suppress(CannotDecrypt):  # nobody can read it
            named = keyring.decrypt(row.encrypted, context=context_of_refused(row.id))["customer_ids"]
            if any(one in digests for each in named for one in keyring.digests(CUSTOMER, each)):
                found.append(row.id)
    return found
