"""Lines of customers who are known: beside what is stored, and given to them. An empty cell says nothing: what is
stored stays.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Customer, CustomerKind, Person
from worker.core.customers.known_customers import Match, changed_addresses, compare, in_words
from worker.core.customers.store.new_rows import Lines, OldLink, SealedLines, change_details, customer_row, numbers_of
from worker.core.customers.store.pending_details import IS_UNRELEASED, settled
from worker.core.database import bulk
from worker.core.database.audit_entries import note
from worker.core.database.bulk import picked, rows_of
from worker.core.database.database import fetch
from worker.core.database.encrypted_values import Erased, read_person
from worker.core.database.tables import CustomerRow
from worker.core.foundation.keyring import CannotDecrypt, Keyring
from worker.core.lifecycle.store.corrected_addresses import find, give_away
from worker.core.model.audit import Act
from worker.core.model.channels import ADDRESSES, CHANNELS, Address

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


@dataclass(frozen=True, repr=False)
class KnownLine:
    """A line of a customer who is known. `person`: as stored; None if nothing is that can be read. `links`: those that
    went to an address that it changes, and still open."""

    row: int
    given: Customer
    kind: CustomerKind
    country: str
    locale: str
    timezone: str
    person: Person | None
    unreleased: Person | None = None  # in place of `person`, if all that is stored is of a row that is not released
    owner: str = ""  # the sender of events whose customer it is; empty: none
    links: tuple[OldLink, ...] = ()
    given_at: datetime | None = None  # when the line was imported; None: now

    @property
    def is_another(self) -> bool:
        """Whether the line is of another person, as far as both say anything."""
        return self._is_another_than(self.person)

    @property
    def is_another_of_two_unreleased(self) -> bool:
        """The same, beside what only another row says that is not released: which of them is right is not known yet."""
        return self._is_another_than(self.unreleased)

    def _is_another_than(self, person: Person | None) -> bool:
        return person is not None and match_of(person, self.kind, self.given) is Match.ANOTHER

    @property
    def changed(self) -> tuple[Address, ...]:
        """The addresses that are other ones than those that are stored."""
        return changed_addresses(self.person, self.given.person) if self.person is not None else ()

    @property
    def merged(self) -> Customer:
        if self.person is None:
            return self.given
        filled = {name: value for name, value in vars(self.given.person).items() if value}
        own = {name: getattr(self.given, name) or getattr(self, name) for name in ("country", "locale", "timezone")}
        return replace(self.given, person=replace(self.person, **filled), **own)


def match_of(person: Person, kind: CustomerKind, given: Customer) -> Match:
    """Whether what is given is of this person, who is stored as of this kind."""
    return compare(person, given.person, CustomerKind.COMPANY if kind is CustomerKind.COMPANY else given.kind)


def known_lines(
    connection: sa.Connection, keyring: Keyring, lines: Lines, known: Collection[str] | None = None, *, now: datetime
) -> list[KnownLine]:
    """The lines of those customers who are known, in their order. `known`: who is, where that has been found out.

    Lock the customers first (`admission.lock_customers`), unless nothing follows from it: another import may bring
    them too.
    """
    return beside(connection, keyring, _given(keyring, lines, known), now=now)


def beside(
    connection: sa.Connection, keyring: Keyring, mine: Sequence[tuple[int, Customer]], *, now: datetime
) -> list[KnownLine]:
    """These rows of customers beside what is stored of those who are known."""
    if not mine:
        return []
    customers = {"customers": bulk.keys({customer.customer_id for _, customer in mine})}
    rows = fetch(connection, _STORED, customers)
    stored = {row.customer_id: (row, _person(keyring, row)) for row in rows}
    found = [
        KnownLine(
            number,
            customer,
            row.kind,
            row.country,
            row.locale,
            row.timezone,
            None if row.unreleased else person,
            unreleased=person if row.unreleased else None,
            owner=row.sender or "",
        )
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
    return [replace(one, links=tuple(links.get(one.given.customer_id, ()))) if one.changed else one for one in found]


def refresh(
    connection: sa.Connection,
    keyring: Keyring,
    lines: Sequence[KnownLine],
    *,
    batch_id: int,
    act: Act | None = None,
    now: datetime,
) -> None:
    """Give the customers, who must be locked, the details of these lines of a batch; of several for one the last.

    `KnownLine.changed` says of each line which addresses this changes; the audit log has it too. Links that the old
    ones have lead no new one on. `act`: see `note`.
    """
    last = {one.given.customer_id: one for one in lines}
    if not last:
        return
    settled(connection, last)
    rows = [
        customer_row(keyring, last[one].merged, details_at=last[one].given_at or now, now=now) for one in sorted(last)
    ]
    change_details(connection, rows)
    give_away(connection, keyring, {one: kinds for one in sorted(last) if (kinds := _kinds(last[one]))}, now=now)
    words = {one: in_words(line.person, line.given.person) for one, line in last.items() if line.person is not None}
    for customer_id in sorted(one for one, changes in words.items() if changes):
        by = f"{words[customer_id]} by batch {batch_id} row {last[customer_id].row}"
        note(connection, f"customer {customer_id}", now=now, reason=by, act=act)


def _kinds(line: KnownLine) -> Collection[Address]:
    """The kinds of addresses that are corrected. Another person is written to nowhere with a link of the first."""
    return ADDRESSES if line.is_another else line.changed


def opened(keyring: Keyring, row: Mapping[str, Any]) -> Customer:
    """The customer of one of `SealedLines.customers`."""
    named = {name: row[name] for name in ("kind", "country", "locale", "timezone")}
    person = read_person(keyring, row["customer_id"], row["encrypted"])
    return Customer(row["customer_id"], person=person, **named)


def _given(keyring: Keyring, lines: Lines, known: Collection[str] | None) -> list[tuple[int, Customer]]:
    if not isinstance(lines, SealedLines):
        customers = [(line.row, line.customer) for line in lines]
        return [one for one in customers if known is None or one[1].customer_id in known]
    ids = lines.customers["customer_id"]
    places = [place for place, one in enumerate(ids) if known is None or one in known]
    rows = rows_of(picked(lines.customers, places))
    numbers = numbers_of(lines)
    return [(numbers[place], opened(keyring, row)) for place, row in zip(places, rows, strict=True)]


def _person(keyring: Keyring, row: Any) -> Person | None:
    try:
        return read_person(keyring, row.customer_id, row.encrypted)
    except (Erased, CannotDecrypt):
        return None
