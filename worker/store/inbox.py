"""Events of other systems, taken once each: what is known of their customers, and what becomes of them.

All is done under the locks of the events' customers, so that of two events of one customer, wherever they came in,
one finds what the other did.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.customers import Customer, CustomerKind
from worker.events import EventKind, Outcome, Receipt, Received
from worker.ids import new_id
from worker.keyring import Keyring
from worker.models import CustomerRow, Finished, Inbox, Job, SessionRow
from worker.precedence import Columns, Known, brings_details, overlaid, why_ignored
from worker.states import JobState
from worker.store import lots
from worker.store.database import Database, fetch, outlive_deadlocks
from worker.store.jobs import EVENT, PAUSED
from worker.store.leading import following
from worker.store.lines import AcceptedLine, customer_row, job_row
from worker.store.outbox import TELLING, tell_of_rows
from worker.store.sealing import ERASED, open_person, open_update, seal_update
from worker.store.standing import next_rows
from worker.store.withdrawing import erase_customer, withdraw

CONFLICT = "another event with this source and id was taken, which says something else"
BEFORE = "the database holds a newer update of this customer whose columns are no more kept"


@dataclass(frozen=True, repr=False)
class Arrival:
    """An event whose data is good. `digests`: see `Keyring.digests`. Personal, so no repr.

    `occurred_at` is not after it was received. A request has its `line`, whose row is given out when it is taken; an
    update the `columns` that are new.
    """

    source: str
    event_id: str
    kind: EventKind
    customer_id: str
    purpose: str
    occurred_at: datetime
    digests: tuple[str, ...]
    line: AcceptedLine | None = None
    invite_after: timedelta | None = None
    columns: Columns = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.event_id


@dataclass
class _Taken:
    """A new event on its way through one round."""

    id: uuid.UUID
    arrival: Arrival
    known: Known = field(default_factory=Known)
    ignored: str = ""
    job_id: int | None = None
    sealed: bytes | None = None


class Inboxes:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def take(self, arrivals: Sequence[Arrival], *, now: datetime, within: sa.Connection | None = None) -> Received:
        """Take events in one transaction, or in a part of one; a receipt for each, in their order.

        Raises keyring.CannotOpen where a customer is to be changed whom no key opens.
        """
        if within is not None:
            return self._take(arrivals, now=now, within=within)
        return outlive_deadlocks(partial(self._take, arrivals, now=now, within=None))

    def _take(self, arrivals: Sequence[Arrival], *, now: datetime, within: sa.Connection | None) -> Received:
        receipts: dict[int, Receipt] = {}
        due: set[tuple[str, str]] = set()
        with self._database.write(within) as connection:
            for places in _rounds(arrivals):
                one = [arrivals[place] for place in places]
                for place, receipt in zip(places, self._round(connection, one, due, now=now), strict=True):
                    receipts[place] = receipt
        return Received([receipts[place] for place in range(len(arrivals))], frozenset(due))

    def _round(
        self, connection: sa.Connection, arrivals: Sequence[Arrival], due: set[tuple[str, str]], *, now: datetime
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

    def _work(self, connection: sa.Connection, new: list[_Taken], due: set[tuple[str, str]], *, now: datetime) -> None:
        customers = _hold(connection, {taken.arrival.customer_id for taken in new}, now=now)
        _learn(connection, new, customers)
        for taken in new:
            taken.ignored = why_ignored(taken.arrival.kind, taken.arrival.occurred_at, taken.known)
        self._keep_details(connection, new, customers, now=now)
        self._add_jobs(connection, _of(new, EventKind.REQUESTED), due, now=now)
        withdrawn = _of(new, EventKind.CANCELLED)
        if withdrawn:
            keys = {(taken.arrival.customer_id, taken.arrival.purpose) for taken in withdrawn}
            ended = withdraw(connection, keys, now=now)
            for taken in withdrawn:
                taken.job_id = ended.get((taken.arrival.customer_id, taken.arrival.purpose))
        for taken in _of(new, EventKind.ERASED):
            erase_customer(connection, taken.arrival.customer_id, taken.arrival.occurred_at, taken.known, now=now)
        _note(connection, new)
        # Who was known, or is by a request, is somebody: there may be a row of nobody for the others alone.
        known = {customer_id for customer_id, row in customers.items() if row.details_at or row.sealed}
        known |= {taken.arrival.customer_id for taken in _of(new, EventKind.REQUESTED)}
        _let_go(connection, customers.keys() - known)

    def _keep_details(
        self, connection: sa.Connection, new: Sequence[_Taken], customers: Mapping[str, sa.Row[Any]], *, now: datetime
    ) -> None:
        """Write the customers whose newest whole row came in, or columns of it; keep what updates say."""
        bring = [t for t in new if t.arrival.line and brings_details(t.arrival.occurred_at, t.known)]
        updates = _of(new, EventKind.UPDATED)
        for taken in updates:
            taken.sealed = seal_update(self._keyring, taken.id, taken.arrival.columns)
        later = self._later_updates(connection, [*bring, *updates])
        rows = []
        for taken in [*bring, *updates]:
            arrival, row = taken.arrival, customers[taken.arrival.customer_id]
            if arrival.line is not None:
                base, details_at = arrival.line.customer, arrival.occurred_at
            elif row.sealed is None:
                continue  # not known yet, or no more: kept for a request that this update has overtaken
            else:
                base, details_at = self._as_known(row), row.details_at
            own = [(arrival.occurred_at, arrival.columns)] if arrival.line is None else []
            customer = overlaid(base, [*own, *later.get(arrival.customer_id, [])])
            if customer is None and row.sealed is not None:
                taken.ignored = taken.ignored or (BEFORE if arrival.line is None else "")
                continue
            changed = customer_row(self._keyring, customer or base, details_at=details_at, now=now)
            rows.append({f"new_{name}": changed[name] for name in _DETAILS} | {"id_": arrival.customer_id})
        _CHANGE.run(connection, rows)

    def _later_updates(
        self, connection: sa.Connection, taken: Sequence[_Taken]
    ) -> dict[str, list[tuple[datetime, Columns | None]]]:
        """What updates later than these say, by customer; None where that is no more kept."""
        since = {one.arrival.customer_id: one.arrival.occurred_at for one in taken if one.known.updated_after}
        if not since:
            return {}
        given = {"customers": lots.keys(since), "ids": lots.keys(one.id for one in taken)}
        found: dict[str, list[tuple[datetime, Columns | None]]] = {}
        for row in fetch(connection, _UPDATES, given):
            if row.occurred_at > since[row.customer_id]:
                columns = None if row.sealed == ERASED else open_update(self._keyring, row.id, row.sealed)
                found.setdefault(row.customer_id, []).append((row.occurred_at, columns))
        return found

    def _as_known(self, row: sa.Row[Any]) -> Customer:
        person = open_person(self._keyring, row.customer_id, row.sealed)
        return Customer(row.customer_id, row.kind, "", person, row.country, row.locale, row.timezone)

    def _add_jobs(
        self, connection: sa.Connection, requests: Sequence[_Taken], due: set[tuple[str, str]], *, now: datetime
    ) -> None:
        if not requests:
            return
        keys = {(taken.arrival.customer_id, taken.arrival.purpose) for taken in requests}
        followed = following(connection, keys, now=now)
        # As late as can be: until this transaction ends, no other event gets a row.
        numbers = next_rows(connection, len(requests), now=now)
        priority = EVENT + PAUSED if numbers.paused else EVENT
        by_row: dict[int, _Taken] = {}
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
                due.add(("issue", line.account))
            rows.append(job)
        for row in connection.execute(sa.insert(Job).returning(Job.id, Job.row), rows):
            by_row[row.row].job_id = row.id
        stopped = [row["row"] for row in rows if row["state"] in TELLING]
        tell_of_rows(connection, numbers.batch_id, stopped, now=now)


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


def _of(new: Iterable[_Taken], kind: EventKind) -> list[_Taken]:
    """Those of this kind that are not ignored."""
    return [taken for taken in new if taken.arrival.kind is kind and not taken.ignored]


def _insert(connection: sa.Connection, model: Any) -> Any:
    return (sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert)(model)


def _keep(connection: sa.Connection, arrivals: Sequence[Arrival], *, now: datetime) -> dict[tuple[str, str], _Taken]:
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
            "sealed": None,
        }
        for arrival in arrivals
    }
    # In one order everywhere, so that two consumers of the same events cannot lock each other out.
    ordered = [rows[key] for key in sorted(rows)]
    statement = _insert(connection, Inbox).on_conflict_do_nothing().returning(Inbox.id)
    kept = set(connection.execute(statement, ordered).scalars())
    return {arrival.key: _Taken(ids[arrival.key], arrival) for arrival in arrivals if ids[arrival.key] in kept}


_BEFORE = sa.select(Inbox.id, Inbox.source, Inbox.event_id, Inbox.digest, Inbox.job_id).where(
    lots.among(Inbox.source, "sources"), lots.among(Inbox.event_id, "event_ids")
)


def _kept_before(connection: sa.Connection, arrivals: Collection[Arrival]) -> dict[tuple[str, str], sa.Row[Any]]:
    if not arrivals:
        return {}
    given = {
        "sources": lots.keys({arrival.source for arrival in arrivals}),
        "event_ids": lots.keys({arrival.event_id for arrival in arrivals}),
    }
    return {(row.source, row.event_id): row for row in fetch(connection, _BEFORE, given)}


def _told_again(arrival: Arrival, before: sa.Row[Any] | None) -> Receipt:
    if before is None or before.digest not in arrival.digests:
        return Receipt(Outcome.REFUSED, reason=CONFLICT)
    return Receipt(Outcome.DUPLICATE, before.id, before.job_id)


def _receipt(taken: _Taken) -> Receipt:
    return Receipt(Outcome.IGNORED if taken.ignored else Outcome.TAKEN, taken.id, taken.job_id, taken.ignored)


_HELD = sa.select(
    CustomerRow.customer_id,
    CustomerRow.kind,
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    CustomerRow.sealed,
    CustomerRow.details_at,
).where(lots.among(CustomerRow.customer_id, "customers"))


def _hold(connection: sa.Connection, customer_ids: Collection[str], *, now: datetime) -> dict[str, sa.Row[Any]]:
    """Lock the customers, those who are not known too: a row that holds nothing yet stands for these meanwhile.

    In one order and one pass everywhere, as an import does: so that two cannot lock each other out.
    """
    nobody = {
        "kind": CustomerKind.INDIVIDUAL,
        "country": "",
        "locale": "",
        "timezone": "",
        "sealed": None,
        "created_at": now,
        "changed_at": now,
    }
    statement = _insert(connection, CustomerRow)
    # Changes nothing, but locks the row; DO NOTHING would leave it unlocked.
    same = {"changed_at": CustomerRow.changed_at}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["customer_id"], set_=same),
        [{"customer_id": customer_id, **nobody} for customer_id in sorted(customer_ids)],
    )
    given = {"customers": lots.keys(customer_ids)}
    return {row.customer_id: row for row in fetch(connection, _HELD, given)}


_LATEST = (
    sa.select(Inbox.customer_id, Inbox.purpose, Inbox.kind, sa.func.max(Inbox.occurred_at).label("at"))
    .where(lots.among(Inbox.customer_id, "customers"), ~lots.among(Inbox.id, "ids"))
    .group_by(Inbox.customer_id, Inbox.purpose, Inbox.kind)
)


def _learn(connection: sa.Connection, new: Sequence[_Taken], customers: Mapping[str, sa.Row[Any]]) -> None:
    """What is known of each event's customer, but for these events themselves."""
    given = {"customers": lots.keys(customers), "ids": lots.keys(taken.id for taken in new)}
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


_UPDATES = sa.select(Inbox.id, Inbox.customer_id, Inbox.occurred_at, Inbox.sealed).where(
    lots.among(Inbox.customer_id, "customers"),
    Inbox.kind == EventKind.UPDATED,
    Inbox.sealed.is_not(None),
    ~lots.among(Inbox.id, "ids"),
)
_DETAILS = ("kind", "country", "locale", "timezone", "sealed", "details_at", "changed_at")
_CHANGE = lots.Change(CustomerRow.customer_id, {name: sa.bindparam(f"new_{name}") for name in _DETAILS}, by="id_")
_NOTE = lots.Change(
    Inbox.id,
    {
        "outcome": sa.bindparam("new_outcome"),
        "detail": sa.bindparam("new_detail"),
        "job_id": sa.bindparam("new_job_id"),
        "sealed": sa.bindparam("new_sealed"),
    },
    by="id_",
)


def _note(connection: sa.Connection, new: Sequence[_Taken]) -> None:
    rows = [
        {
            "id_": taken.id,
            "new_outcome": Outcome.IGNORED if taken.ignored else Outcome.TAKEN,
            "new_detail": taken.ignored,
            "new_job_id": taken.job_id,
            "new_sealed": None if taken.ignored else taken.sealed,
        }
        for taken in new
        if taken.ignored or taken.job_id is not None or taken.sealed is not None
    ]
    _NOTE.run(connection, rows)


def _let_go(connection: sa.Connection, customer_ids: Collection[str]) -> None:
    """Of customers of whom nothing is known after all, keep no row."""
    if not customer_ids:
        return
    nothing = (
        lots.among(CustomerRow.customer_id, "customers"),
        CustomerRow.sealed.is_(None),
        CustomerRow.details_at.is_(None),
    )
    used = (sa.exists().where(table.customer_id == CustomerRow.customer_id) for table in (Job, SessionRow, Finished))
    connection.execute(
        sa.delete(CustomerRow).where(*nothing, *(~one for one in used)), {"customers": lots.keys(customer_ids)}
    )
