"""Lines of customers who are known: beside what is stored, and given to them. An empty cell says nothing: what is
stored stays. Nothing is refused here: whether a line is of another person, `KnownLine` says.

Who is not known may have come under another id: whose address is that of a customer with a live link gets a warning.
A system writes one id in several forms (`lists.same_person.is_same_id`), and two people may share an address.

The details of rows that wait for their release are given once they are released, a step of the sweep (`apply`). Until
then no call is made for such a row (`work.store.gates`), so it does not matter how soon this is.
"""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import count, groupby, repeat
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import Act, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import EMAIL, Erased, contact_digests, read_person
from onboarding_worker.core.database.job_ids import IS_LIVE, batch_of, row_of
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import CustomerRow, PendingDetails, SessionRow
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.channels import ADDRESSES, CHANNELS, Address
from onboarding_worker.core.model.customers import (
    MESSAGE,
    OWN_PREFIX,
    Customer,
    CustomerKind,
    FieldProblem,
    Person,
    with_own,
)
from onboarding_worker.core.rows.pending_details import IS_UNRELEASED, settled
from onboarding_worker.lists.known_customers import KnownRule, refuses_lists
from onboarding_worker.lists.lines import AcceptedLine, OldLink, PlainRows, RefusedLine
from onboarding_worker.lists.same_person import Match, changed_addresses, compare, in_words, is_same_id
from onboarding_worker.lists.store.admission import following, left_out
from onboarding_worker.lists.store.batches import Batches
from onboarding_worker.lists.store.corrected_addresses import find, give_away
from onboarding_worker.lists.store.new_rows import change_details, customer_row, erased_among, opened

_STORED = sa.select(
    CustomerRow.customer_id,
    CustomerRow.sender,
    CustomerRow.kind,
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    CustomerRow.encrypted,
    # What only a row says that is not released is no one's: a released row is not compared with it, and nothing stays.
    IS_UNRELEASED.label("unreleased"),
).where(bulk.among(CustomerRow.customer_id, "customers"))
_KNOWN = sa.select(CustomerRow.customer_id).where(bulk.among(CustomerRow.customer_id, "customers"))
log = logging.getLogger(__name__)
CHUNK = 1000
ACT = Act("schedule", "released")
AGAIN = timedelta(hours=1)  # for details that no key decrypts


@dataclass(frozen=True, repr=False)
class KnownLine:
    """A line of a customer who is known. `stored`: the customer's row. `person`: as stored; None if nothing is that can
    be read. `links`: those that went to an address that it changes, and still open."""

    row: int
    given: Customer
    stored: Any
    person: Person | None
    unreleased: Person | None = None  # in place of `person`, if all that is stored is of a row that is not released
    links: tuple[OldLink, ...] = ()
    given_at: datetime | None = None  # when the line was imported; None: now

    def refused(self, problem: FieldProblem) -> RefusedLine:
        return RefusedLine(self.row, self.given.customer_id, (problem,))

    @property
    def owner(self) -> str:
        """The sender of events whose customer it is; empty: none."""
        return self.stored.sender or ""

    @property
    def is_another(self) -> bool:
        """Whether the line is of another person, as far as both say anything."""
        return self.is_another_than(self.person)

    def is_another_than(self, person: Person | None) -> bool:
        return person is not None and match_of(person, self.stored.kind, self.given) is Match.ANOTHER

    @property
    def changed(self) -> tuple[Address, ...]:
        """The addresses that are other ones than those that are stored."""
        return changed_addresses(self.person, self.given.person) if self.person is not None else ()

    @property
    def merged(self) -> Customer:
        """The line's customer, with what is stored where the line says nothing."""
        return self.given if self.person is None else filled(self.given, self.person, self.stored)


def filled(given: Customer, person: Person, before: Any) -> Customer:
    """The customer of a line, with what was said `before`, and of the person then, where the line says nothing."""
    said = {name: value for name, value in vars(given.person).items() if value}
    own = {name: getattr(given, name) or getattr(before, name) for name in ("country", "locale", "timezone")}
    said.pop(MESSAGE, None)
    return replace(given, person=with_own(replace(person, **said), given.person.message), **own)


def still_lacking(
    lacks: Sequence[FieldProblem], known: KnownLine | None, wide: Collection[str]
) -> tuple[FieldProblem, ...]:
    """Those of the columns for messages that a line lacks which are not stored for its customer either. What another
    person has, or a sender of events has said whose customer it is, is not the customer's. `wide`: see
    `refuses_lists`."""
    if known is None or known.person is None or known.is_another or refuses_lists(known.owner, wide):
        return tuple(lacks)
    return tuple(one for one in lacks if one.column.removeprefix(OWN_PREFIX) not in (known.person.message or {}))


def match_of(person: Person, kind: CustomerKind, given: Customer) -> Match:
    """Whether what is given is of this person, who is stored as of this kind."""
    return compare(person, given.person, CustomerKind.COMPANY if kind is CustomerKind.COMPANY else given.kind)


def beside(
    connection: sa.Connection, keyring: Keyring, mine: Sequence[tuple[int, Customer]], *, now: datetime
) -> list[KnownLine]:
    """These rows of customers beside what is stored of those who are known."""
    if not mine:
        return []
    customers = {"customers": bulk.keys({customer.customer_id for _, customer in mine})}
    rows = fetch(connection, _STORED, customers)
    stored = {row.customer_id: (row, person_of(keyring, row)) for row in rows}
    found = [
        KnownLine(number, customer, row, None if row.unreleased else person, person if row.unreleased else None)
        for number, customer in mine
        if customer.customer_id in stored
        for row, person in [stored[customer.customer_id]]
    ]
    if not any(one.changed for one in found):
        return found
    corrected = {one.given.customer_id: kinds for one in found if (kinds := _kinds(one))}
    links: dict[str, list[OldLink]] = {}
    given = find(connection, corrected, lock=False, now=now)
    for row in given.sessions.values():
        channels = given.channels.get(row.id, ())
        own = tuple(channel for channel in channels if CHANNELS[channel].address in corrected[row.customer_id])
        links.setdefault(row.customer_id, []).append(OldLink(row.account, row.expires_at, channels, own))
    for session_id, kinds in given.led.items():
        own = tuple(one for one in given.channels[session_id] if CHANNELS[one].address in kinds)
        links.setdefault(given.customers[session_id], []).append(OldLink("", None, corrected=own))
    return [replace(one, links=tuple(links.get(one.given.customer_id, ()))) if one.changed else one for one in found]


Digests = tuple[int, str, str | None, str | None]  # a row, its customer, and the digests of the two addresses
_ONE_ID = "the same id in another form? the customer would have two sessions: write the id as it was"
_TWO = "one person under two ids has two sessions: write the id as it was; two people who share the address may go on"
_OPENS = (IS_LIVE, SessionRow.past.is_(False), SessionRow.expires_at > sa.bindparam("now"))
_ANY = sa.select(sa.exists(sa.select(SessionRow.id).where(*_OPENS)))
_THEIRS = [
    (name, sa.select(CustomerRow.customer_id, digest.label("digest")).where(bulk.among(digest, "digests")))
    for name, digest in zip(ADDRESSES, (CustomerRow.email_digest, CustomerRow.phone_digest), strict=True)
]
_OF_CUSTOMER = sa.exists().where(SessionRow.customer_id == CustomerRow.customer_id, *_OPENS)


def has_links(connection: sa.Connection, *, now: datetime) -> bool:
    """Whether any customer has a live link. On a new database none has: then no address is looked up."""
    return bool(connection.execute(_ANY, {"now": now}).scalar_one())


def with_their_address(
    connection: sa.Connection, rows: Iterable[Digests], *, now: datetime
) -> list[tuple[int, FieldProblem]]:
    """A warning for each of these rows of new customers whose address a customer with a live link has."""
    rows, found = list(rows), dict[int, FieldProblem]()
    for place, (name, query) in enumerate(_THEIRS, 2):
        digests = {row[place] for row in rows} - {None}
        if not digests:
            continue
        others: dict[str, list[str]] = {}
        asked = {"digests": bulk.keys(digests), "now": now}
        for one in fetch(connection, query.where(_OF_CUSTOMER).order_by(CustomerRow.customer_id), asked):
            others.setdefault(one.digest, []).append(one.customer_id)
        for number, customer_id, *of_row in rows:
            theirs = [one for one in others.get(of_row[place - 2] or "", ()) if one != customer_id]
            if theirs and number not in found:
                found[number] = _warning(name, customer_id, theirs)
    return sorted(found.items())


def _warning(address: str, customer_id: str, others: Sequence[str]) -> FieldProblem:
    same = next((other for other in others if is_same_id(customer_id, other)), "")
    told = f"{customer_id} has the {address} of customer {same or others[0]}, who has a live link"
    return FieldProblem("customer_id", told, _ONE_ID if same else _TWO)


def known_among(batches: Batches, plain: Sequence[PlainRows], *, now: datetime) -> set[str]:
    """The customers of these rows of whom `foreseen` says anything: who are known, were erased, or have the address of
    a customer with a live link."""
    ids = [one for some in plain for one in some.values["customer_id"]]
    with batches.database.read() as connection:
        found = {row.customer_id for row in fetch(connection, _KNOWN, {"customers": bulk.keys(ids)})}
        found.update(erased_among(connection, batches.keyring, ids))
        if has_links(connection, now=now):
            emails = (one for some in plain for one in some.values["email"])  # folded, as all plain ones are
            digests = (batches.keyring.digests(EMAIL, email)[0] for email in emails)
            each = zip(count(), ids, digests, repeat(None))
            found.update(ids[place] for place, _ in with_their_address(connection, each, now=now))
    return found


def foreseen(
    batches: Batches, lines: Sequence[AcceptedLine], *, rule: KnownRule, now: datetime
) -> tuple[Collection[str], list[KnownLine], dict[int, FieldProblem]]:
    """Who was erased on request; the lines of known customers, beside what is stored; and by row the warnings of new
    customers who may be known under another id. Locks nothing."""
    keyring = batches.keyring
    with batches.database.read() as connection:
        erased = erased_among(connection, keyring, {line.customer.customer_id for line in lines})
        found = beside(connection, keyring, [(line.row, line.customer) for line in lines], now=now)
        known = {one.row for one in found}
        new = [line for line in lines if line.row not in known]
        others: dict[int, FieldProblem] = {}
        if new and has_links(connection, now=now):
            each = ((line.row, line.customer, contact_digests(keyring, line.customer.person)) for line in new)
            digests = ((row, one.customer_id, of["email_digest"], of["phone_digest"]) for row, one, of in each)
            others = dict(with_their_address(connection, digests, now=now))
        if rule is not KnownRule.SKIP or not any(one.links for one in found):
            return erased.keys(), found, others
        # Of those who are skipped, the addresses stay.
        keys = {(one.given.customer_id, one.given.purpose) for one in found}
        skipped = set(following(connection, keys, now=now, lock=False, rule=rule))
        skipped |= left_out(connection, keys - skipped, rule=rule).keys()
    leads = {customer_id for customer_id, _ in keys - skipped}
    found = [replace(one, links=one.links if one.given.customer_id in leads else ()) for one in found]
    return erased.keys(), found, others


def refresh(
    connection: sa.Connection,
    keyring: Keyring,
    lines: Sequence[KnownLine],
    *,
    batch_id: int,
    act: Act | None = None,
    now: datetime,
) -> None:
    """Give the customers, who must be locked, the details of these lines of a batch; of several for one each adds its
    own. `KnownLine.changed` says of each line which addresses this changes; the audit log has it too. Links that the
    old ones have lead no new one on. `act`: see `note`."""
    last = {one.given.customer_id: one for one in lines}
    if not last:
        return
    settled(connection, last)
    becomes: dict[str, Customer] = {}
    corrected: dict[str, set[Address]] = {one: set() for one in sorted(last)}
    for one in lines:
        before = becomes.get(one.given.customer_id)
        if before is not None:
            becomes[one.given.customer_id] = filled(one.given, before.person, before)
        else:  # another person gets nothing of the one who had the id
            becomes[one.given.customer_id] = one.given if one.is_another else one.merged
        corrected[one.given.customer_id].update(_kinds(one))
    rows = [customer_row(keyring, becomes[one], details_at=last[one].given_at or now, now=now) for one in sorted(last)]
    change_details(connection, rows)
    give_away(connection, keyring, {one: kinds for one, kinds in corrected.items() if kinds}, now=now)
    words = {one: in_words(line.person, becomes[one].person) for one, line in last.items() if line.person is not None}
    for customer_id in sorted(one for one, changes in words.items() if changes):
        by = f"{words[customer_id]} by batch {batch_id} row {last[customer_id].row}"
        note(connection, f"customer {customer_id}", now=now, reason=by, act=act)


def _kinds(line: KnownLine) -> Collection[Address]:
    """The kinds of addresses that are corrected. Another person is written to nowhere with a link of the first."""
    return ADDRESSES if line.is_another else line.changed


def person_of(keyring: Keyring, row: Any) -> Person | None:
    """The person as stored; None: none is, or it cannot be read."""
    try:
        return read_person(keyring, row.customer_id, row.encrypted)
    except (Erased, CannotDecrypt):
        return None


def apply(database: Database, keyring: Keyring, *, now: datetime) -> None:
    while outlive_deadlocks(partial(_apply_chunk, database, keyring, now=now)) == CHUNK:
        pass


def _apply_chunk(database: Database, keyring: Keyring, *, now: datetime) -> int:
    with database.write() as connection:
        due = fetch(connection, _DUE, {"now": now})
        # Who deletes a row decides about it: a cancellation meanwhile has deleted it, or finds it applied.
        taken = connection.execute(_TAKE, {"ids": bulk.keys(row.job_id for row in due)}).all() if due else []
        waiting = sorted((row for row in taken if row.encrypted is not None), key=lambda row: row.job_id)
        if waiting:
            _apply(connection, keyring, waiting, now=now)
        return len(due)


def _apply(connection: sa.Connection, keyring: Keyring, waiting: Sequence[Any], *, now: datetime) -> None:
    ids = {row.customer_id for row in waiting}
    stored = {row.customer_id: row.details_at for row in fetch(connection, _DETAILS_AT, {"ids": bulk.keys(ids)})}
    closed = []
    # Batch by batch, as they came: of two lists of a customer the later one finds what the earlier one has given.
    for batch_id, rows in groupby(waiting, key=lambda row: batch_of(row.job_id)):
        mine, given_at = [], {}
        for row in rows:
            try:
                customer = opened(keyring, row._mapping)
            except CannotDecrypt:
                closed.append(row._asdict() | {"due_at": now + AGAIN})
                continue
            # What was given since then, by an event, a person or a list that was released sooner, stays.
            if stored[row.customer_id] is None or stored[row.customer_id] <= row.given_at:
                mine.append((row_of(row.job_id), customer))
                given_at[row_of(row.job_id)] = row.given_at
        found = [replace(one, given_at=given_at[one.row]) for one in beside(connection, keyring, mine, now=now)]
        refresh(connection, keyring, found, batch_id=batch_id, act=ACT, now=now)
    if closed:
        log.error("the details of %d released rows cannot be read: they wait for their key", len(closed))
        bulk.add(connection, PendingDetails, closed)


_COLUMNS = PendingDetails.__table__.columns
_DUE = sa.select(PendingDetails.job_id).where(PendingDetails.due_at <= sa.bindparam("now"))
_DUE = _DUE.order_by(PendingDetails.due_at, PendingDetails.job_id).limit(CHUNK)
_TAKE = sa.delete(PendingDetails).where(bulk.among(PendingDetails.job_id, "ids")).returning(*_COLUMNS)
_DETAILS_AT = sa.select(CustomerRow.customer_id, CustomerRow.details_at).where(
    bulk.among(CustomerRow.customer_id, "ids")
)
_DETAILS_AT = _DETAILS_AT.order_by(CustomerRow.customer_id).with_for_update(key_share=True)
