"""The customers of events: locks their rows, updates what is known about them, and erases them, for an event or for a
command.

A job in a call that is to be erased is marked, and ends with its call (`core.rows.cancellation`): a session
that was being opened is stored as the customer's, because it is open at the provider, but its link is not sent.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import ERASED, Erased, decrypt_update, encrypt_update, read_person
from onboarding_worker.core.database.tables import CustomerRow, Inbox, Job
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.channels import Address
from onboarding_worker.core.model.customers import Customer, CustomerKind
from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import OPEN_JOBS
from onboarding_worker.core.rows import own_links
from onboarding_worker.core.rows.cancellation import cancel_open
from onboarding_worker.core.rows.erased_jobs import PERSON_GONE, erase_jobs
from onboarding_worker.core.rows.pending_details import IS_UNRELEASED, settled
from onboarding_worker.events.standing import (
    Arrival,
    Columns,
    EarlierEvents,
    NewEvent,
    brings_details,
    changed,
    of_kind,
    overlaid,
    spares_newer,
)
from onboarding_worker.events.store.refused_events import erase_refused
from onboarding_worker.events.store.unmatched_webhooks import erase_unmatched
from onboarding_worker.lists.same_person import Match, changed_addresses, in_words
from onboarding_worker.lists.store.corrected_addresses import give_away
from onboarding_worker.lists.store.new_rows import bury, change_details, customer_row
from onboarding_worker.lists.store.refreshed import beside, match_of, person_of

ANOTHER = (
    "same id, another person? nothing agrees with what is stored: give each person an id of its own;"
    " `onboard import --another-person` lets another one take it over"
)
BEFORE = "the database holds a newer update of this customer whose columns are no longer stored"


class HeldCustomers:
    """Locks the rows of new events' customers; creates those of unknown customers. In one pass and in the order that an
    import uses, so that two transactions cannot deadlock.

    `by_id` has the rows. Of a customer who is not known here, the `sender` is None: this transaction has created an
    empty row. `fresh` are those whose rows this transaction has created with their requests' data, so that mostly there
    is nothing more to write: nothing is known about them.
    """

    def __init__(self, connection: sa.Connection, keyring: Keyring, new: Sequence[NewEvent], *, now: datetime) -> None:
        self._connection, self._keyring, self._now = connection, keyring, now
        rows = {event.arrival.customer_id: _first_row(keyring, event.arrival, now=now) for event in new}
        found = connection.execute(_hold(connection.dialect.name), [rows[customer_id] for customer_id in sorted(rows)])
        self.by_id: dict[str, Any] = {row.customer_id: row for row in bulk.fetched(found)}
        # No two encryptions are equal: a row with the value of this transaction was created by it.
        given = {customer_id: row["encrypted"] for customer_id, row in rows.items() if row["encrypted"] is not None}
        self.fresh = {one for one, row in self.by_id.items() if one in given and row.encrypted == given[one]}
        for one in self.fresh:
            self.by_id[one] = self.by_id[one]._replace(encrypted=None, details_at=None)

    def refuse_another(self, new: Sequence[NewEvent]) -> None:
        """Mark the events that are of another person than the one who is stored under the id.

        A request says who it is for. An update leaves as it is what it does not name: it is compared with that, too.
        Whom a sender does not reach is not compared, so that it does not learn who that is.
        """
        concerned = [
            event
            for event in new
            if event.standing.reaches
            and (event.arrival.line is not None or event.arrival.columns)
            and self.by_id[event.arrival.customer_id].encrypted is not None
        ]
        said = [
            (place, one.line.customer if one.line is not None else changed(Customer(one.customer_id), one.columns))
            for place, one in enumerate(event.arrival for event in concerned)
        ]
        for one in beside(self._connection, self._keyring, said, now=self._now):
            event = concerned[one.row]
            given = one.given if event.arrival.line is not None else one.merged
            if one.person is not None and match_of(one.person, one.stored.kind, given) is Match.ANOTHER:
                event.refused = event.refused or ANOTHER

    def keep_details(self, new: Sequence[NewEvent]) -> None:
        """Write the customers for whom a newer row, or newer columns, arrived; store the columns of updates."""
        bring = [t for t in new if t.arrival.line and brings_details(t.arrival.occurred_at, t.known)]
        updates = of_kind(new, EventKind.UPDATED)
        for event in updates:
            event.encrypted = encrypt_update(self._keyring, event.id, event.arrival.columns)
        later = self._later_updates([*bring, *updates])
        rows: list[dict[str, Any]] = []
        corrected: dict[str, tuple[Address, ...]] = {}
        for event in [*bring, *updates]:
            arrival, row = event.arrival, self.by_id[event.arrival.customer_id]
            details_at = arrival.occurred_at
            if arrival.line is not None:
                base, before = arrival.line.customer, person_of(self._keyring, row)
            elif row.encrypted is None or row.details_at is None:
                continue  # not known, or erased: the update is kept for a request that it may have overtaken
            else:
                try:
                    before = read_person(self._keyring, arrival.customer_id, row.encrypted)
                except Erased:
                    continue  # only the key is gone yet
                base = Customer(arrival.customer_id, row.kind, "", before, row.country, row.locale, row.timezone)
                details_at = row.details_at
            own = [(arrival.occurred_at, arrival.columns)] if arrival.line is None else []
            updated = [*own, *later.get(arrival.customer_id, [])]
            if arrival.customer_id in self.fresh and not updated:
                continue  # the row was created with this data
            customer = overlaid(base, updated)
            if customer is None and row.encrypted is not None:
                event.ignored = event.ignored or (BEFORE if arrival.line is None else "")
                continue
            rows.append(customer_row(self._keyring, customer or base, details_at=details_at, now=self._now))
            if before is not None:
                corrected[arrival.customer_id] = changed_addresses(before, (customer or base).person)
                event.told = in_words(before, (customer or base).person)
        requested = {event.arrival.customer_id for event in bring} - self.fresh
        if requested:
            settled(self._connection, requested)
        change_details(self._connection, rows)
        give_away(
            self._connection, self._keyring, {one: kinds for one, kinds in corrected.items() if kinds}, now=self._now
        )

    def _later_updates(self, events: Sequence[NewEvent]) -> dict[str, list[tuple[datetime, Columns | None]]]:
        """The columns of updates later than these events, by customer; None where they are no longer stored."""
        overtaken = {one.arrival.customer_id: one for one in events if one.known.updated_after}
        if not overtaken:
            return {}
        given = {"customers": bulk.keys(overtaken), "ids": bulk.keys(one.id for one in events)}
        found: dict[str, list[tuple[datetime, Columns | None]]] = {}
        columns: Columns | None
        for row in fetch(self._connection, _UPDATES, given):
            event = overtaken[row.customer_id]
            counts = event.standing.counts(row.sender, every_customer=row.every_customer)
            if counts and row.occurred_at > event.arrival.occurred_at:
                try:
                    columns = decrypt_update(self._keyring, row.id, row.encrypted)
                except Erased:
                    columns = None
                found.setdefault(row.customer_id, []).append((row.occurred_at, columns))
        return found

    def learn(self, new: Sequence[NewEvent]) -> None:
        """Set what is known of each event's customer, without these events themselves, as far as its sender reaches."""
        given = {"customers": bulk.keys(self.by_id), "ids": bulk.keys(event.id for event in new)}
        latest: dict[str, list[sa.Row[Any]]] = {}
        for row in fetch(self._connection, _LATEST, given):
            latest.setdefault(row.customer_id, []).append(row)
        for event in new:
            arrival = event.arrival
            rows = [
                row
                for row in latest.get(arrival.customer_id, [])
                if event.standing.counts(row.sender, every_customer=row.every_customer)
            ]
            of_purpose = [row for row in rows if row.purpose == arrival.purpose]
            updated_at = _newest(rows, EventKind.UPDATED)
            event.known = EarlierEvents(
                details_at=self.by_id[arrival.customer_id].details_at if event.standing.reaches else None,
                erased_at=_newest(rows, EventKind.ERASED),
                requested_at=_newest(of_purpose, EventKind.REQUESTED),
                cancelled_at=_newest(of_purpose, EventKind.CANCELLED),
                requested_for_any_at=_newest(rows, EventKind.REQUESTED),
                updated_after=updated_at is not None and updated_at > arrival.occurred_at,
            )
        late = {
            event.arrival.customer_id: event
            for event in of_kind(new, EventKind.REQUESTED)
            if not brings_details(event.arrival.occurred_at, event.known)
        }
        # No request is older than what only a row says that is not released: that is no one's.
        unreleased = fetch(self._connection, _UNRELEASED, {"customers": bulk.keys(late)}) if late else []
        for row in unreleased:
            late[row.customer_id].known = replace(late[row.customer_id].known, details_at=None)

    def remove_empty(self, new: Sequence[NewEvent]) -> None:
        """Delete the rows of customers about whom nothing is known after all."""
        # Created with data that must not be stored: the customer was erased after that request.
        outdated = {
            event.arrival.customer_id
            for event in new
            if event.arrival.customer_id in self.fresh and not brings_details(event.arrival.occurred_at, event.known)
        }
        empty = {customer_id for customer_id, row in self.by_id.items() if row.sender is None}
        # Created for an event that is refused: an erased customer of whom there was no row.
        empty |= self.fresh - {event.arrival.customer_id for event in new}
        if outdated | empty:
            self._connection.execute(_DELETE, {"customers": bulk.keys(outdated | empty)})
            own_links.forget(self._connection, outdated | empty)


def _first_row(keyring: Keyring, arrival: Arrival, *, now: datetime) -> dict[str, Any]:
    if arrival.line is not None:
        row = customer_row(keyring, arrival.line.customer, details_at=arrival.occurred_at, now=now)
        return row | {"sender": arrival.sender.name}
    # An empty row stands for a customer about whom only an event is known.
    return {"customer_id": arrival.customer_id, **_EMPTY, "created_at": now, "changed_at": now}


_EMPTY = PERSON_GONE | {"sender": None, "kind": CustomerKind.INDIVIDUAL, "details_at": None}


@cache  # events come one by one
def _hold(dialect: str) -> sa.Executable:
    # The update changes nothing, but locks the row; DO NOTHING would leave it unlocked.
    same = {"changed_at": CustomerRow.changed_at}
    insert = bulk.insert(CustomerRow, dialect).on_conflict_do_update(index_elements=["customer_id"], set_=same)
    table = CustomerRow.__table__.c
    names = ("customer_id", "sender", "kind", "country", "locale", "timezone", "encrypted", "details_at")
    return insert.returning(*(table[name] for name in names))


_UNRELEASED = sa.select(CustomerRow.customer_id).where(bulk.among(CustomerRow.customer_id, "customers"), IS_UNRELEASED)
_PARTS = (Inbox.customer_id, Inbox.purpose, Inbox.kind, Inbox.sender, Inbox.every_customer)
_LATEST = (
    sa.select(*_PARTS, sa.func.max(Inbox.occurred_at).label("at"))
    .where(bulk.among(Inbox.customer_id, "customers"), ~bulk.among(Inbox.id, "ids"))
    .group_by(*_PARTS)
)


def _newest(rows: Iterable[sa.Row[Any]], kind: EventKind) -> datetime | None:
    return max((row.at for row in rows if row.kind is kind), default=None)


_UPDATES = sa.select(
    Inbox.id, Inbox.customer_id, Inbox.sender, Inbox.every_customer, Inbox.occurred_at, Inbox.encrypted
).where(
    bulk.among(Inbox.customer_id, "customers"),
    Inbox.kind == EventKind.UPDATED,
    Inbox.encrypted.is_not(None),
    ~bulk.among(Inbox.id, "ids"),
)


_DELETE = sa.delete(CustomerRow).where(bulk.among(CustomerRow.customer_id, "customers"))


def erase_customer(
    connection: sa.Connection,
    keyring: Keyring,
    customer_id: str,
    at: datetime,
    known: EarlierEvents,
    *,
    final: bool,
    remembered: bool = True,
    now: datetime,
) -> Counter[str]:
    """Erase a customer as of `at`, except what a later request has made known again. The row must be locked.

    A command erases in the same way as an event: with nothing that is later. `final`: see `Tombstone`, which is made if
    `remembered`. Returns how many rows of each kind were erased.
    """
    jobs = sa.select(Job.id, Job.state).where(Job.customer_id == customer_id)
    spares = spares_newer(at, known)
    if spares:
        requested_at = (
            sa.select(Inbox.occurred_at)
            .where(Inbox.job_id == Job.id, Inbox.kind == EventKind.REQUESTED)
            .limit(1)
            .scalar_subquery()
        )
        jobs = jobs.where(sa.func.coalesce(requested_at, Job.created_at) <= at)
    unmatched = erase_unmatched(connection, keyring, customer_id, until=at)
    rows = fetch(connection, jobs)
    ended = [row.id for row in rows if row.state in OPEN_JOBS]
    cancel_open(connection, ended, reason=Reason.ERASED, now=now)
    counts = Counter({"jobs ended": len(ended), "webhooks that match no session": unmatched})
    counts["updates"] += erase_updates(connection, [customer_id], until=at)
    counts["refused events"] += erase_refused(connection, keyring, [customer_id])
    if spares:
        counts.update(erase_jobs(connection, [row.id for row in rows]))
    else:
        counts.update(erase(connection, [customer_id], now=now))
        if remembered:
            bury(connection, keyring, customer_id, at, final=final)
    if known.details_at is None or known.details_at <= at:
        gone = PERSON_GONE | {"details_at": at, "changed_at": now}
        has_details = sa.or_(CustomerRow.encrypted.is_not(None), CustomerRow.details_at.is_not(None))
        person = sa.update(CustomerRow).where(CustomerRow.customer_id == customer_id, has_details)
        connection.execute(person.values(gone))
    return counts


def erase(connection: sa.Connection, customer_ids: Collection[str], *, now: datetime) -> Counter[str]:
    """Erase these customers' personal data, whatever their jobs' states; their rows must be locked. Returns how many
    rows of each kind were erased."""
    if not customer_ids:
        return Counter()
    people = sa.update(CustomerRow).where(CustomerRow.customer_id.in_(customer_ids), CustomerRow.encrypted.is_not(None))
    persons = connection.execute(people.values(**PERSON_GONE, changed_at=now)).rowcount
    jobs = sa.select(Job.id).where(Job.customer_id.in_(customer_ids))
    counts = erase_jobs(connection, list(connection.execute(jobs).scalars()))
    counts["links and tokens"] += own_links.forget(connection, customer_ids)
    counts["persons"] += persons
    return counts


def erase_updates(connection: sa.Connection, customer_ids: Collection[str], *, until: datetime) -> int:
    """Erase the stored columns of these customers' updates that happened until `until`; returns how many."""
    kept = sa.update(Inbox).where(
        Inbox.customer_id.in_(customer_ids),
        Inbox.occurred_at <= until,
        Inbox.encrypted.is_not(None),
        Inbox.encrypted != ERASED,
    )
    return connection.execute(kept.values(encrypted=ERASED)).rowcount
