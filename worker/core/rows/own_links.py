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
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.encrypted_values import STABLE, context_of_stable_link
from onboarding_worker.core.database.job_ids import Key, among_keys, new_ids, rows_of
from onboarding_worker.core.database.tables import SessionRow, StableLink
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.states import SessionState

SECRET_BYTES = 18  # 144 bits, without padding in base64
SECRET = re.compile(r"[A-Za-z0-9_-]{24}")
# Of what is stored for a customer who has our link and has bought no session by it yet: a later row goes on with it.
LEADS_ON = (SessionRow.state == bulk.fixed(SessionState.DEFERRED), SessionRow.check_at.is_not(None))
# A link's end is written again only if it moves by so much.
A_DAY = timedelta(days=1)


@dataclass(frozen=True, repr=False)
class OwnLink:
    """A link: its address is secret, so no repr. `ends_at`: when it ends if a message with it leaves now; `is_put_off`:
    that is later than what is stored."""

    link_id: uuid.UUID
    address: str
    ends_at: datetime
    is_put_off: bool
    made_at: datetime


Found = OwnLink | CannotDecrypt


class StableLinks(NamedTuple):
    """How stable links are made: `base` is where `onboard web` is reached, `valid` how long a link leads somewhere
    after its last first message. `on_click`: a session is bought when the customer presses the button of the link's
    page, not before its message."""

    base: str
    valid: timedelta
    on_click: bool = False

    def address(self, secret: str) -> str:
        return f"{self.base.rstrip('/')}/s/{secret}"

    def ensure(
        self, connection: sa.Connection, keyring: Keyring, keys: Collection[Key], *, now: datetime
    ) -> dict[Key, Found]:
        """These customers' links, or why one cannot be read. A link that is missing is made, a revoked one left out."""
        found = _found(connection, keys)
        missing = sorted(set(keys) - found.keys())
        if missing:
            new = [
                _new(keyring, link_id, key, ends_at=now + self.valid, now=now)
                for link_id, key in zip(new_ids(now, len(missing)), missing, strict=True)
            ]
            bulk.add_new(connection, StableLink, new)
            found |= _found(connection, missing)  # another process may have been faster: its link counts
        open_ = {key: row for key, row in found.items() if row.revoked_at is None}
        return {key: self._read(keyring, row, now) for key, row in open_.items()}

    def put_off(self, connection: sa.Connection, leaving: Iterable[OwnLink], *, now: datetime) -> None:
        """Put off the ends of links whose messages leave now."""
        if late := sorted({link.link_id for link in leaving if link.is_put_off}):
            later = sa.update(StableLink).where(StableLink.id.in_(late))
            connection.execute(later.values(ends_at=now + self.valid))

    def _read(self, keyring: Keyring, row: Any, now: datetime) -> Found:
        is_put_off = row.ends_at < now + self.valid - A_DAY
        ends_at = now + self.valid if is_put_off else row.ends_at
        try:
            secret = keyring.decrypt(row.encrypted, context=context_of_stable_link(row.id))["secret"]
            return OwnLink(row.id, self.address(secret), ends_at, is_put_off, row.created_at)
        except CannotDecrypt as error:
            return error


def digests_of(keyring: Keyring, secret: str) -> tuple[str, ...]:
    """The digests by which a link may be stored; none if the text is no secret part of ours."""
    return keyring.digests(STABLE, secret) if SECRET.fullmatch(secret) else ()


def ends_of(connection: sa.Connection, keys: Iterable[Key]) -> dict[Key, datetime]:
    """Until when the links of these customers lead somewhere. A revoked link leads nowhere any more."""
    rows = rows_of(connection, _ENDS, set(keys))
    return {(row.customer_id, row.purpose): row.revoked_at or row.ends_at for row in rows}


def renew(connection: sa.Connection, keyring: Keyring, links: Collection[Any], *, now: datetime) -> None:
    """Give these rows of links new secret parts, as if they were made now: who has the old ones is led nowhere."""
    if not links:
        return
    new = [_new(keyring, row.id, (row.customer_id, row.purpose), ends_at=row.ends_at, now=now) for row in links]
    changes = [{f"new_{name}": one[name] for name in ("id", "digest", "encrypted")} for one in new]
    _RENEW.run(connection, changes, at=now)


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
        "encrypted": keyring.encrypt({"secret": secret}, context=context_of_stable_link(link_id)),
        "created_at": now,
        "ends_at": ends_at,
    }


def _found(connection: sa.Connection, keys: Collection[Key]) -> dict[Key, sa.Row[Any]]:
    return {(row.customer_id, row.purpose): row for row in rows_of(connection, _OF_KEYS, set(keys))}


_OF_KEYS = sa.select(*StableLink.__table__.columns).where(*among_keys(StableLink))
_ENDS = sa.select(StableLink.customer_id, StableLink.purpose, StableLink.ends_at, StableLink.revoked_at).where(
    *among_keys(StableLink)
)
_RENEW = bulk.Change(
    StableLink.id,
    {
        "digest": sa.bindparam("new_digest"),
        "encrypted": sa.bindparam("new_encrypted"),
        "created_at": sa.bindparam("at"),
        "opened_at": None,
        "visited_at": None,
        "visited_session": None,
    },
    by="new_id",
)
_FORGET = sa.delete(StableLink).where(bulk.among(StableLink.customer_id, "customers"))
