"""The customers of events: locks their rows and updates what is known about them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Customer, CustomerKind, Person
from worker.core.customers.store.pending_details import settled
from worker.core.database import bulk
from worker.core.database.database import fetch
from worker.core.database.encrypted_values import Erased, decrypt_update, encrypt_update, read_person
from worker.core.database.tables import CustomerRow, Inbox
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.lifecycle.store import own_links
from worker.core.model.channels import Address
from worker.core.model.incoming import EventKind
from worker.events.standing import Arrival, Columns, EarlierEvents, NewEvent, brings_details, changed, of_kind, overlaid
from worker.lists.same_person import Match, changed_addresses, in_words
from worker.lists.store.corrected_addresses import give_away
from worker.lists.store.new_rows import change_details, customer_row
from worker.lists.store.refreshed import beside, match_of

ANOTHER = (
    "same id, another person? nothing agrees with what is stored: give each person an id of its own;"
    " `onboard import --another-person` lets another one take it over"
)
BEFORE = "the database holds a newer update of this customer whose columns are no longer stored"


@dataclass(frozen=True, repr=False)
class HeldCustomer:
    """What is known about a customer whose row is locked; nothing if `fresh`: this transaction has created the row.

    A fresh row already holds its request's data, so that mostly there is nothing more to write. `owner`: see
    `CustomerRow.sender`; None: no customer is known by this id, and this transaction has created an empty row.
    """

    owner: str | None
    kind: CustomerKind
    country: str
    locale: str
    timezone: str
    encrypted: bytes | None
    details_at: datetime | None
    fresh: bool = False


def hold(
    connection: sa.Connection, keyring: Keyring, new: Sequence[NewEvent], *, now: datetime
) -> dict[str, HeldCustomer]:
    """Lock the customers' rows; creates the rows of unknown customers.

    In one pass and in the order that an import uses, so that two transactions cannot deadlock.
    """
    rows = {event.arrival.customer_id: _first_row(keyring, event.arrival, now=now) for event in new}
    held = connection.execute(_hold(connection.dialect.name), [rows[customer_id] for customer_id in sorted(rows)]).all()
    return {customer_id: _held(values, rows[customer_id]["encrypted"]) for customer_id, *values in held}


def refuse_another(
    connection: sa.Connection,
    keyring: Keyring,
    new: Sequence[NewEvent],
    customers: Mapping[str, HeldCustomer],
    *,
    now: datetime,
) -> None:
    """Mark the events that are of another person than the one who is stored under the id.

    A request says who it is for. An update leaves as it is what it does not name: it is compared with that, too.
    Whom a sender does not reach is not compared, so that it does not learn who that is.
    """
    concerned = [
        event
        for event in new
        if event.standing.reaches
        and (event.arrival.line is not None or event.arrival.columns)
        and customers[event.arrival.customer_id].encrypted is not None
    ]
    said = [(place, _said(event.arrival)) for place, event in enumerate(concerned)]
    for one in beside(connection, keyring, said, now=now):
        event = concerned[one.row]
        given = one.given if event.arrival.line is not None else one.merged
        if one.person is not None and match_of(one.person, one.stored.kind, given) is Match.ANOTHER:
            event.refused = event.refused or ANOTHER


def keep_details(
    connection: sa.Connection,
    keyring: Keyring,
    new: Sequence[NewEvent],
    customers: Mapping[str, HeldCustomer],
    *,
    now: datetime,
) -> None:
    """Write the customers for whom a newer row, or newer columns, arrived; store the columns of updates."""
    bring = [t for t in new if t.arrival.line and brings_details(t.arrival.occurred_at, t.known)]
    updates = of_kind(new, EventKind.UPDATED)
    for event in updates:
        event.encrypted = encrypt_update(keyring, event.id, event.arrival.columns)
    later = _later_updates(connection, keyring, [*bring, *updates])
    rows: list[dict[str, Any]] = []
    corrected: dict[str, tuple[Address, ...]] = {}
    for event in [*bring, *updates]:
        arrival, row = event.arrival, customers[event.arrival.customer_id]
        details_at = arrival.occurred_at
        if arrival.line is not None:
            base = arrival.line.customer
        elif row.encrypted is None or row.details_at is None:
            continue  # not known, or erased: the update is kept for a request that it may have overtaken
        else:
            known = _as_known(keyring, arrival.customer_id, row)
            if known is None:
                continue
            base, details_at = known, row.details_at
        own = [(arrival.occurred_at, arrival.columns)] if arrival.line is None else []
        updated = [*own, *later.get(arrival.customer_id, [])]
        if row.fresh and not updated:
            continue  # the row was created with this data
        customer = overlaid(base, updated)
        if customer is None and row.encrypted is not None:
            event.ignored = event.ignored or (BEFORE if arrival.line is None else "")
            continue
        rows.append(customer_row(keyring, customer or base, details_at=details_at, now=now))
        before = _person_of(keyring, arrival.customer_id, row)
        if before is not None:
            corrected[arrival.customer_id] = changed_addresses(before, (customer or base).person)
            event.told = in_words(before, (customer or base).person)
    requested = {event.arrival.customer_id for event in bring if not customers[event.arrival.customer_id].fresh}
    if requested:
        settled(connection, requested)
    change_details(connection, rows)
    give_away(connection, keyring, {one: kinds for one, kinds in corrected.items() if kinds}, now=now)


def _later_updates(
    connection: sa.Connection, keyring: Keyring, events: Sequence[NewEvent]
) -> dict[str, list[tuple[datetime, Columns | None]]]:
    """The columns of updates later than these events, by customer; None where they are no longer stored."""
    overtaken = {one.arrival.customer_id: one for one in events if one.known.updated_after}
    if not overtaken:
        return {}
    given = {"customers": bulk.keys(overtaken), "ids": bulk.keys(one.id for one in events)}
    found: dict[str, list[tuple[datetime, Columns | None]]] = {}
    columns: Columns | None
    for row in fetch(connection, _UPDATES, given):
        event = overtaken[row.customer_id]
        counts = event.standing.counts(row.sender, every_customer=row.every_customer)
        if counts and row.occurred_at > event.arrival.occurred_at:
            try:
                columns = decrypt_update(keyring, row.id, row.encrypted)
            except Erased:
                columns = None
            found.setdefault(row.customer_id, []).append((row.occurred_at, columns))
    return found


def _said(arrival: Arrival) -> Customer:
    """What a request or an update says of its customer."""
    return (
        arrival.line.customer if arrival.line is not None else changed(Customer(arrival.customer_id), arrival.columns)
    )


def _first_row(keyring: Keyring, arrival: Arrival, *, now: datetime) -> dict[str, Any]:
    if arrival.line is not None:
        row = customer_row(keyring, arrival.line.customer, details_at=arrival.occurred_at, now=now)
        return row | {"sender": arrival.sender.name}
    # An empty row stands for a customer about whom only an event is known.
    return {"customer_id": arrival.customer_id, **_EMPTY, "created_at": now, "changed_at": now}


def _as_known(keyring: Keyring, customer_id: str, row: HeldCustomer) -> Customer | None:
    """The customer as stored; None: the customer was erased, and only the key is gone yet."""
    try:
        person = read_person(keyring, customer_id, row.encrypted)
    except Erased:
        return None
    return Customer(customer_id, row.kind, "", person, row.country, row.locale, row.timezone)


def _person_of(keyring: Keyring, customer_id: str, row: HeldCustomer) -> Person | None:
    """The person as stored; None: none is, or it cannot be read."""
    try:
        return None if row.encrypted is None else read_person(keyring, customer_id, row.encrypted)
    except (CannotDecrypt, Erased):
        return None


_EMPTY: dict[str, Any] = {
    "sender": None,
    "kind": CustomerKind.INDIVIDUAL,
    "country": "",
    "locale": "",
    "timezone": "",
    "encrypted": None,
    "email_digest": None,
    "phone_digest": None,
    "details_at": None,
}
# The key, and the fields of a `HeldCustomer`.
_HELD = (
    CustomerRow.customer_id,
    CustomerRow.sender,
    CustomerRow.kind,
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    CustomerRow.encrypted,
    CustomerRow.details_at,
)


@cache  # events come one by one
def _hold(dialect: str) -> sa.Executable:
    # The update changes nothing, but locks the row; DO NOTHING would leave it unlocked.
    same = {"changed_at": CustomerRow.changed_at}
    insert = bulk.insert(CustomerRow, dialect).on_conflict_do_update(index_elements=["customer_id"], set_=same)
    return insert.returning(*_HELD)


def _held(values: Sequence[Any], encrypted: bytes | None) -> HeldCustomer:
    """`encrypted`: the value with which this transaction would create the row. No two encryptions are equal, so a row
    with this value is fresh."""
    held = HeldCustomer(*values)
    if encrypted is None or held.encrypted != encrypted:
        return held
    return replace(held, encrypted=None, details_at=None, fresh=True)


_PARTS = (Inbox.customer_id, Inbox.purpose, Inbox.kind, Inbox.sender, Inbox.every_customer)
_LATEST = (
    sa.select(*_PARTS, sa.func.max(Inbox.occurred_at).label("at"))
    .where(bulk.among(Inbox.customer_id, "customers"), ~bulk.among(Inbox.id, "ids"))
    .group_by(*_PARTS)
)


def learn(connection: sa.Connection, new: Sequence[NewEvent], customers: Mapping[str, HeldCustomer]) -> None:
    """Set what is known about each event's customer, without these events themselves, as far as its sender reaches."""
    given = {"customers": bulk.keys(customers), "ids": bulk.keys(event.id for event in new)}
    latest: dict[str, list[sa.Row[Any]]] = {}
    for row in fetch(connection, _LATEST, given):
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
            details_at=customers[arrival.customer_id].details_at if event.standing.reaches else None,
            erased_at=_newest(rows, EventKind.ERASED),
            requested_at=_newest(of_purpose, EventKind.REQUESTED),
            cancelled_at=_newest(of_purpose, EventKind.CANCELLED),
            requested_for_any_at=_newest(rows, EventKind.REQUESTED),
            updated_after=updated_at is not None and updated_at > arrival.occurred_at,
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


def remove_empty(connection: sa.Connection, new: Sequence[NewEvent], customers: Mapping[str, HeldCustomer]) -> None:
    """Delete the rows of customers about whom nothing is known after all."""
    # Created with data that must not be stored: the customer was erased after that request.
    outdated = {
        event.arrival.customer_id
        for event in new
        if customers[event.arrival.customer_id].fresh and not brings_details(event.arrival.occurred_at, event.known)
    }
    empty = {customer_id for customer_id, row in customers.items() if row.owner is None}
    # Created for an event that is refused: an erased customer of whom there was no row.
    empty |= {customer_id for customer_id, row in customers.items() if row.fresh} - {
        event.arrival.customer_id for event in new
    }
    if outdated | empty:
        connection.execute(_DELETE, {"customers": bulk.keys(outdated | empty)})
        own_links.forget(connection, outdated | empty)


_DELETE = sa.delete(CustomerRow).where(bulk.among(CustomerRow.customer_id, "customers"))
