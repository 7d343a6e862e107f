"""Which keys the stored values and digests need, and which keys are retired."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from worker.core.database.audit_entries import note
from worker.core.database.database import Database
from worker.core.database.encrypted_columns import DIGESTS, ENCRYPTED, Uses, uses_of_digest_keys, uses_of_keys
from worker.core.database.tables import RetiredKey
from worker.core.database.upserts import insert
from worker.core.foundation.keyring import Keyring
from worker.core.model.operation import Running
from worker.reporting.store.processes import Processes


@dataclass(frozen=True)
class Needs:
    """What needs a key: values and digests by what they are of, and processes that encrypt or hash with it."""

    values: Mapping[str, int]
    digests: Mapping[str, int]
    processes: Collection[Running]


class KeyUse:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def uses(self) -> tuple[Uses, Uses]:
        """How many encrypted values, and how many digests, need each key. Reads every row, and locks none."""
        with self._database.read() as connection:
            return uses_of_keys(connection), uses_of_digest_keys(connection)

    def to_change(self) -> dict[str, int]:
        """How many rows of each column are not by the first keys, and so are for a rotation. Reads every row."""
        values, digests = self.uses()
        hashed = {id(column.digest): column.name for column in DIGESTS}
        first, first_digest = self._keyring.ids[0], self._keyring.digest_ids[0]
        return {
            column.name: max(
                _by_others(values, column.name, first),
                *(_by_others(digests, hashed[id(one.column)], first_digest) for one in column.hashed),
                0,
            )
            for column in ENCRYPTED
        }

    def needs(self, key_id: str, *, now: datetime) -> Needs:
        """What needs this key. A digest key that is derived from it counts as the key itself.

        The processes are read first: what a process has written before it ended is among the values.
        """
        derived = dict(zip(self._keyring.ids, self._keyring.digest_ids, strict=False))
        digest_id = derived.get(key_id, key_id) if self._keyring.derives_digest_keys else key_id
        running = Processes(self._database).running(now=now)
        values, digests = self.uses()
        using = [one for one in running if not {key_id, digest_id}.isdisjoint(one.first_keys.split())]
        return Needs(values.get(key_id, {}), digests.get(digest_id, {}), using)

    def retire(self, key_id: str, *, now: datetime) -> None:
        """From now on no process that encrypts or hashes with this key starts."""
        with self._database.write() as connection:
            retired = insert(RetiredKey, connection.dialect.name).values(key_id=key_id, at=now).on_conflict_do_nothing()
            if connection.execute(retired.returning(RetiredKey.key_id)).first() is not None:
                note(connection, f"key {key_id}", now=now, reason="retired")

    def take_back(self, key_id: str, *, now: datetime) -> None:
        """The key is not retired."""
        with self._database.write() as connection:
            connection.execute(sa.delete(RetiredKey).where(RetiredKey.key_id == key_id))
            note(connection, f"key {key_id}", now=now, reason="not retired: it is needed")


def _by_others(uses: Uses, name: str, good: str) -> int:
    """How many of a column's values, or digests, are by another key than this one."""
    return sum(counts.get(name, 0) for key_id, counts in uses.items() if key_id != good)
