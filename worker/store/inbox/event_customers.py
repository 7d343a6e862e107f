"""The customers of events: their rows, locked, and what becomes of what is known of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.events.incoming import EventKind
from worker.domain.events.ordering import Columns, Known, brings_details, overlaid
from worker.domain.model.customers import Customer, CustomerKind
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.base.encrypted_values import ERASED, decrypt_person, decrypt_update, encrypt_update
from worker.store.inbox.incoming_events import Arrival, NewEvent, of_kind
from worker.store.onboarding.new_rows import customer_row
from worker.store.tables import CustomerRow, Finished, Inbox, Job, SessionRow

BEFORE = "the database holds a newer update of this customer whose columns are no more kept"


@dataclass(frozen=True, repr=False)
class HeldCustomer:
    """What is known of a customer whose row is locked; nothing yet where it is `fresh`, made by this transaction.

    A fresh row holds already what its request says, so that mostly there is no more to write.
    """

    kind: CustomerKind
    country: str
    locale: str
    timezone: str
    encrypted: bytes | None
    details_at: datetime | None
    fresh: bool = False


class EventCustomers:
    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def hold(self, connection: sa.Connection, new: Sequence[NewEvent], *, now: datetime) -> dict[str, HeldCustomer]:
        """Lock the customers, those who are not known too.

        In one order and one pass everywhere, as an import does: so that two cannot lock each other out.
        """
        rows = {taken.arrival.customer_id: self._first_row(taken.arrival, now=now) for taken in new}
        statement = (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(CustomerRow)
        # Changes nothing, but locks the row; DO NOTHING would leave it unlocked.
        same = {"changed_at": CustomerRow.changed_at}
        held = connection.execute(
            statement.on_conflict_do_update(index_elements=["customer_id"], set_=same).returning(*_HELD),
            [rows[customer_id] for customer_id in sorted(rows)],
        )
        return {customer_id: _held(values, rows[customer_id]["encrypted"]) for customer_id, *values in held}

    def _first_row(self, arrival: Arrival, *, now: datetime) -> dict[str, Any]:
        if arrival.line is not None:
            return customer_row(self._keyring, arrival.line.customer, details_at=arrival.occurred_at, now=now)
        # A row that holds nothing yet stands for somebody of whom nothing is known but an event.
        return {"customer_id": arrival.customer_id, **_NOBODY, "created_at": now, "changed_at": now}

    def keep_details(
        self,
        connection: sa.Connection,
        new: Sequence[NewEvent],
        customers: Mapping[str, HeldCustomer],
        *,
        now: datetime,
    ) -> None:
        """Write the customers whose newest whole row came in, or columns of it; keep what updates say."""
        bring = [t for t in new if t.arrival.line and brings_details(t.arrival.occurred_at, t.known)]
        updates = of_kind(new, EventKind.UPDATED)
        for taken in updates:
            taken.encrypted = encrypt_update(self._keyring, taken.id, taken.arrival.columns)
        later = self._later_updates(connection, [*bring, *updates])
        rows = []
        for taken in [*bring, *updates]:
            arrival, row = taken.arrival, customers[taken.arrival.customer_id]
            details_at = arrival.occurred_at
            if arrival.line is not None:
                base = arrival.line.customer
            elif row.encrypted is None or row.details_at is None:
                continue  # not known yet, or no more: kept for a request that this update has overtaken
            else:
                base, details_at = self._as_known(arrival.customer_id, row), row.details_at
            own = [(arrival.occurred_at, arrival.columns)] if arrival.line is None else []
            updated = [*own, *later.get(arrival.customer_id, [])]
            if row.fresh and not updated:
                continue  # written as it was made
            customer = overlaid(base, updated)
            if customer is None and row.encrypted is not None:
                taken.ignored = taken.ignored or (BEFORE if arrival.line is None else "")
                continue
            changed = customer_row(self._keyring, customer or base, details_at=details_at, now=now)
            rows.append({f"new_{name}": changed[name] for name in _DETAILS} | {"id_": arrival.customer_id})
        _CHANGE.run(connection, rows)

    def _later_updates(
        self, connection: sa.Connection, taken: Sequence[NewEvent]
    ) -> dict[str, list[tuple[datetime, Columns | None]]]:
        """What updates later than these say, by customer; None where that is no more kept."""
        since = {one.arrival.customer_id: one.arrival.occurred_at for one in taken if one.known.updated_after}
        if not since:
            return {}
        given = {"customers": bulk.keys(since), "ids": bulk.keys(one.id for one in taken)}
        found: dict[str, list[tuple[datetime, Columns | None]]] = {}
        for row in fetch(connection, _UPDATES, given):
            if row.occurred_at > since[row.customer_id]:
                columns = None if row.encrypted == ERASED else decrypt_update(self._keyring, row.id, row.encrypted)
                found.setdefault(row.customer_id, []).append((row.occurred_at, columns))
        return found

    def _as_known(self, customer_id: str, row: HeldCustomer) -> Customer:
        person = decrypt_person(self._keyring, customer_id, row.encrypted)
        return Customer(customer_id, row.kind, "", person, row.country, row.locale, row.timezone)


_NOBODY: dict[str, Any] = {
    "kind": CustomerKind.INDIVIDUAL,
    "country": "",
    "locale": "",
    "timezone": "",
    "encrypted": None,
    "details_at": None,
}
# The key, and what a `HeldCustomer` is made of.
_HELD = (
    CustomerRow.customer_id,
    CustomerRow.kind,
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    CustomerRow.encrypted,
    CustomerRow.details_at,
)


def _held(values: Sequence[Any], encrypted: bytes | None) -> HeldCustomer:
    """`encrypted`: what the row was to be made with. No two seals are the same, so who finds this one has made the
    row."""
    held = HeldCustomer(*values)
    if encrypted is None or held.encrypted != encrypted:
        return held
    return replace(held, encrypted=None, details_at=None, fresh=True)


_LATEST = (
    sa.select(Inbox.customer_id, Inbox.purpose, Inbox.kind, sa.func.max(Inbox.occurred_at).label("at"))
    .where(bulk.among(Inbox.customer_id, "customers"), ~bulk.among(Inbox.id, "ids"))
    .group_by(Inbox.customer_id, Inbox.purpose, Inbox.kind)
)


def learn(connection: sa.Connection, new: Sequence[NewEvent], customers: Mapping[str, HeldCustomer]) -> None:
    """What is known of each event's customer, but for these events themselves."""
    given = {"customers": bulk.keys(customers), "ids": bulk.keys(taken.id for taken in new)}
    latest: dict[str, list[sa.Row[Any]]] = {}
    for row in fetch(connection, _LATEST, given):
        latest.setdefault(row.customer_id, []).append(row)
    for taken in new:
        arrival = taken.arrival
        rows = latest.get(arrival.customer_id, [])
        updated = [row.at for row in rows if row.kind is EventKind.UPDATED]
        taken.known = Known(
            details_at=customers[arrival.customer_id].details_at,
            erased_at=_newest(row.at for row in rows if row.kind is EventKind.ERASED),
            requested_at=_newest(
                row.at for row in rows if row.kind is EventKind.REQUESTED and row.purpose == arrival.purpose
            ),
            cancelled_at=_newest(
                row.at for row in rows if row.kind is EventKind.CANCELLED and row.purpose == arrival.purpose
            ),
            requested_for_any_at=_newest(row.at for row in rows if row.kind is EventKind.REQUESTED),
            updated_after=any(at > arrival.occurred_at for at in updated),
        )


def _newest(times: Iterable[datetime]) -> datetime | None:
    return max(times, default=None)


_UPDATES = sa.select(Inbox.id, Inbox.customer_id, Inbox.occurred_at, Inbox.encrypted).where(
    bulk.among(Inbox.customer_id, "customers"),
    Inbox.kind == EventKind.UPDATED,
    Inbox.encrypted.is_not(None),
    ~bulk.among(Inbox.id, "ids"),
)
_DETAILS = ("kind", "country", "locale", "timezone", "encrypted", "details_at", "changed_at")
_CHANGE = bulk.Change(CustomerRow.customer_id, {name: sa.bindparam(f"new_{name}") for name in _DETAILS}, by="id_")


def let_go(connection: sa.Connection, new: Sequence[NewEvent], customers: Mapping[str, HeldCustomer]) -> None:
    """Of customers of whom nothing is known after all, keep no row."""
    # Made with what must not be known: the customer was erased later than that request.
    in_vain = {
        taken.arrival.customer_id
        for taken in new
        if customers[taken.arrival.customer_id].fresh and not brings_details(taken.arrival.occurred_at, taken.known)
    }
    # Who was known, or is by a request, is somebody: there may be a row of nobody for the others alone.
    nobody = {customer_id for customer_id, row in customers.items() if not (row.details_at or row.encrypted)} - in_vain
    nobody -= {taken.arrival.customer_id for taken in of_kind(new, EventKind.REQUESTED)}
    if in_vain:
        connection.execute(_FORGET, {"customers": bulk.keys(in_vain)})
    if nobody:
        connection.execute(_FORGET_NOBODY, {"customers": bulk.keys(nobody)})


_FORGET = sa.delete(CustomerRow).where(bulk.among(CustomerRow.customer_id, "customers"))
_FORGET_NOBODY = _FORGET.where(
    CustomerRow.encrypted.is_(None),
    CustomerRow.details_at.is_(None),
    *(~sa.exists().where(table.customer_id == CustomerRow.customer_id) for table in (Job, SessionRow, Finished)),
)
