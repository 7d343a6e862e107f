"""The do-not-contact list as operators use it: a person adds and removes addresses, looks one up, counts them, and lets
those be forgotten that no key of the ring finds, with the erased customers whom none finds. Refused is what is no
address."""

from collections.abc import Collection
from datetime import datetime
from functools import reduce
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import ADDRESS
from onboarding_worker.core.database.tables import Suppression, Tombstone
from onboarding_worker.core.foundation.keyring import KEY_ID_DIGITS, Keyring
from onboarding_worker.core.model.channels import SuppressionReason, stronger, text_of
from onboarding_worker.core.rows.suppressions import ALL_OF_IT, Address, release, suppress, suppressed

LIST = "do-not-contact list"  # the subject of its entries in the audit log: no address is in them
_KEY_ID = sa.func.substr(Suppression.digest, 1, KEY_ID_DIGITS)


class Kept(NamedTuple):
    """What is stored about a suppressed address. `manual_by`: the person whose entry lies beneath a stronger reason."""

    reason: SuppressionReason
    source: str
    since: datetime
    manual_by: str | None = None


def kept_of(connection: sa.Connection, keyring: Keyring, channel: str, address: str) -> Kept | None:
    """Why, since when and by whose entry the address is suppressed; None: it is not. Raises ValueError as `suppress`
    does."""
    digests = keyring.digests(ADDRESS, text_of(channel, address))
    rows = fetch(connection, ALL_OF_IT, {"digests": bulk.keys(digests)})
    kept = [Kept(row.reason, row.source, row.created_at, row.manual_by) for row in rows]
    reasons = [one.reason for one in kept]
    return next((one for one in kept if one.reason is reduce(stronger, reasons)), None)


class Gone(NamedTuple):
    """How many addresses and erased customers are hashed by keys that are not in the ring: no look-up finds them."""

    addresses: int
    customers: int


class DoNotContact:
    """The list as operators use it. Each method has a transaction of its own, and raises ValueError as `suppress`."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def add(self, addresses: Collection[Address], reason: SuppressionReason, person: str, *, now: datetime) -> int:
        """Suppress these addresses; returns how many of them were not suppressed before."""
        with self._database.write() as connection:
            before = suppressed(connection, self._keyring, addresses)
            for channel, address in addresses:
                suppress(connection, self._keyring, channel, address, reason, person, now=now)
            note(connection, LIST, now=now, count=len(addresses), reason=f"added: {reason.value}")
        return len(addresses) - len(before)

    def remove(self, addresses: Collection[Address], *, now: datetime) -> int:
        """Lift the suppression of these addresses; returns how many of them were suppressed."""
        with self._database.write() as connection:
            reasons = [release(connection, self._keyring, *address) for address in addresses]
            removed = sum(reason is not None for reason in reasons)
            if removed:
                note(connection, LIST, now=now, count=removed, reason="removed")
        return removed

    def find(self, address: Address) -> Kept | None:
        """What is stored about the address; None: it is not suppressed."""
        with self._database.read() as connection:
            return kept_of(connection, self._keyring, *address)

    def counts(self) -> tuple[list[tuple[str, SuppressionReason, int]], int, Gone]:
        """How many are suppressed: by channel and reason, by older keys of the ring, by keys that are gone."""
        with self._database.read() as connection:
            older = _count(connection, _KEY_ID.in_(self._keyring.digest_ids[1:]))
            return counts(connection), older, keys_gone(connection, self._keyring)

    def keys_gone(self) -> Gone:
        with self._database.read() as connection:
            return keys_gone(connection, self._keyring)

    def forget_gone(self, *, now: datetime) -> Gone:
        """Remove what `keys_gone` counts; returns the numbers."""
        forgotten = []
        with self._database.write() as connection:
            for subject, table in ((LIST, Suppression), ("erased customers", Tombstone)):
                gone = sa.delete(table).where(_is_gone(table.digest, self._keyring))
                forgotten.append(connection.execute(gone).rowcount)
                if forgotten[-1]:
                    note(connection, subject, now=now, count=forgotten[-1], reason="forgotten: their key is gone")
        return Gone(*forgotten)


def counts(connection: sa.Connection) -> list[tuple[str, SuppressionReason, int]]:
    """How many addresses are suppressed, by channel and reason. The hashes do not show which addresses."""
    query = sa.select(Suppression.channel, Suppression.reason, sa.func.count().label("addresses"))
    rows = fetch(connection, query.group_by(Suppression.channel, Suppression.reason))
    return sorted((str(row.channel.value), row.reason, row.addresses) for row in rows)


def keys_gone(connection: sa.Connection, keyring: Keyring) -> Gone:
    return Gone(*(_count(connection, _is_gone(one.digest, keyring)) for one in (Suppression, Tombstone)))


def _is_gone(digest: Any, keyring: Keyring) -> sa.ColumnElement[bool]:
    """Before, between and behind the digests of the ring's keys: the primary key shows at once that there is none."""
    ids = sorted(keyring.digest_ids)
    before, behind = [digest < one for one in ids], [digest > f"{one}g" for one in ids]  # no digest has a "g"
    return sa.or_(before[0], *map(sa.and_, behind, before[1:]), behind[-1])


def _count(connection: sa.Connection, which: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).where(which)).scalar_one()
