"""Our own link of a customer and purpose: made when its first message is about to leave, and sent again as it is.

Stored are a keyed hash of its secret part, by which it is found, and the secret part encrypted, since reminders repeat
it. So a copy of the database opens nothing.
"""

import re
import secrets
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.foundation.ids import new_ids
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.base import bulk
from worker.store.base.customer_keys import Key, among_keys, rows_of
from worker.store.base.encrypted_values import STABLE, Erased, decrypt_secret_part, encrypt_secret_part
from worker.store.base.keys_of_customers import readable, writable
from worker.store.tables import StableLink

SECRET_BYTES = 18  # 144 bits, without padding in base64
SECRET = re.compile(r"[A-Za-z0-9_-]{24}")
# A link's end is written again only if it moves by so much.
A_DAY = timedelta(days=1)


@dataclass(frozen=True, repr=False)
class OwnLink:
    """A link: its address is secret, so no repr."""

    address: str
    ends_at: datetime


Found = OwnLink | CannotDecrypt | Erased


@dataclass(frozen=True)
class StableLinks:
    """How stable links are made: `base` is where `onboard web` is reached, `valid` how long a link leads somewhere
    after its last first message."""

    base: str
    valid: timedelta

    def address(self, secret: str) -> str:
        return f"{self.base.rstrip('/')}/s/{secret}"

    def ensure(
        self, connection: sa.Connection, keyring: Keyring, keys: Collection[Key], *, now: datetime
    ) -> dict[Key, Found]:
        """These customers' links, or why one cannot be read. A link that is missing is made; its end is put off.

        A revoked link is left as it is, and left out.
        """
        found = _found(connection, keys)
        missing = sorted(set(keys) - found.keys())
        if missing:
            ring = writable(connection, keyring, {customer_id for customer_id, _ in missing}, now=now)
            new = [
                _new(ring, link_id, key, ends_at=now + self.valid, now=now)
                for link_id, key in zip(new_ids(now, len(missing)), missing, strict=True)
            ]
            bulk.add_new(connection, StableLink, new)
            found |= _found(connection, missing)  # another process may have been faster: its link counts
        late = [row.id for row in found.values() if row.ends_at < now + self.valid - A_DAY]
        if late:
            put_off = sa.update(StableLink).where(StableLink.id.in_(late))
            connection.execute(put_off.values(ends_at=now + self.valid))
        ends = {key: max(row.ends_at, now + self.valid - A_DAY) for key, row in found.items()}
        open_ = {key: row for key, row in found.items() if row.revoked_at is None}
        ring = readable(connection, keyring, [row.encrypted for row in open_.values()])
        return {key: self._read(ring, row, ends[key]) for key, row in open_.items()}

    def _read(self, keyring: Keyring, row: Any, ends_at: datetime) -> Found:
        try:
            return OwnLink(self.address(decrypt_secret_part(keyring, row.id, row.encrypted)), ends_at)
        except (CannotDecrypt, Erased) as error:
            return error


def digests_of(keyring: Keyring, secret: str) -> tuple[str, ...]:
    """The digests by which a link may be stored; none if the text is no secret part of ours."""
    return keyring.digests(STABLE, secret) if SECRET.fullmatch(secret) else ()


def ends_of(connection: sa.Connection, keys: Iterable[Key]) -> dict[Key, datetime]:
    """Until when the links of these customers lead somewhere. A revoked link leads nowhere any more."""
    rows = rows_of(connection, _ENDS, set(keys))
    return {(row.customer_id, row.purpose): row.revoked_at or row.ends_at for row in rows}


def forget(connection: sa.Connection, customer_ids: Collection[str]) -> int:
    """Remove the links of these customers: they lead nowhere any more. Returns how many there were."""
    if not customer_ids:
        return 0
    return connection.execute(_FORGET, {"customers": bulk.keys(set(customer_ids))}).rowcount


def _new(keyring: Keyring, link_id: uuid.UUID, key: Key, *, ends_at: datetime, now: datetime) -> dict[str, Any]:
    customer_id, purpose = key
    secret = secrets.token_urlsafe(SECRET_BYTES)
    return {
        "id": link_id,
        "customer_id": customer_id,
        "purpose": purpose,
        "digest": keyring.digests(STABLE, secret)[0],
        "encrypted": encrypt_secret_part(keyring, link_id, secret, of=customer_id),
        "created_at": now,
        "ends_at": ends_at,
    }


def _found(connection: sa.Connection, keys: Collection[Key]) -> dict[Key, sa.Row[Any]]:
    return {(row.customer_id, row.purpose): row for row in rows_of(connection, _OF_KEYS, set(keys))}


_OF_KEYS = sa.select(*StableLink.__table__.columns).where(*among_keys(StableLink))
_ENDS = sa.select(StableLink.customer_id, StableLink.purpose, StableLink.ends_at, StableLink.revoked_at).where(
    *among_keys(StableLink)
)
_FORGET = sa.delete(StableLink).where(bulk.among(StableLink.customer_id, "customers"))
