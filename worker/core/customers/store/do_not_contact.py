"""The do-not-contact list as operators use it. Each method has a transaction of its own."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from worker.core.customers.store import suppressions
from worker.core.customers.store.suppressions import Address, Kept
from worker.core.customers.suppression import SuppressionReason
from worker.core.database.audit_entries import note
from worker.core.database.database import Database
from worker.core.foundation.keyring import Keyring

LIST = "do-not-contact list"  # the subject of its entries in the audit log: no address is in them


@dataclass(frozen=True)
class ListCounts:
    """How many addresses are suppressed: by channel and reason; by older keys of the ring; by keys that are gone."""

    addresses: list[tuple[str, SuppressionReason, int]]
    by_older_keys: int
    keys_gone: int


class DoNotContact:
    """The list of one database. Methods raise ValueError as `suppressions.suppress` does."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def add(self, addresses: Collection[Address], reason: SuppressionReason, person: str, *, now: datetime) -> int:
        """Suppress these addresses; returns how many of them were not suppressed before."""
        with self._database.write() as connection:
            before = suppressions.suppressed(connection, self._keyring, addresses)
            for channel, address in addresses:
                suppressions.suppress(connection, self._keyring, channel, address, reason, person, now=now)
            note(connection, LIST, now=now, count=len(addresses), reason=f"added: {reason.value}")
        return len(addresses) - len(before)

    def remove(self, addresses: Collection[Address], *, now: datetime) -> int:
        """Lift the suppression of these addresses; returns how many of them were suppressed."""
        with self._database.write() as connection:
            reasons = [suppressions.release(connection, self._keyring, *address) for address in addresses]
            removed = sum(reason is not None for reason in reasons)
            if removed:
                note(connection, LIST, now=now, count=removed, reason="removed")
        return removed

    def find(self, address: Address) -> Kept | None:
        """What is stored about the address; None: it is not suppressed."""
        with self._database.read() as connection:
            return suppressions.kept_of(connection, self._keyring, *address)

    def counts(self) -> ListCounts:
        with self._database.read() as connection:
            return ListCounts(
                suppressions.counts(connection),
                suppressions.by_older_keys(connection, self._keyring),
                suppressions.keys_gone(connection, self._keyring),
            )

    def keys_gone(self) -> int:
        """How many addresses are known by a key that is not in the ring: no look-up finds them."""
        with self._database.read() as connection:
            return suppressions.keys_gone(connection, self._keyring)

    def forget_gone(self, *, now: datetime) -> int:
        """Remove the addresses that `keys_gone` counts; returns their number."""
        with self._database.write() as connection:
            forgotten = suppressions.forget_gone(connection, self._keyring)
            if forgotten:
                note(connection, LIST, now=now, count=forgotten, reason="forgotten: their key is gone")
            return forgotten
