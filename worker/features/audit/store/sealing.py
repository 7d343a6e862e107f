"""Chains the entries of the audit log, and signs the chain's head. Transactions add entries without a number. A moment
later one process at a time seals them: each gets its number and its hash, which covers the entry before it. So no
transaction waits for another one's entry."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import RETENTION, Act, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.tables import Audit, AuditHead, RetiredKey
from onboarding_worker.core.foundation.keyring import Keyring, key_id_of
from onboarding_worker.reporting.store.processes import set_timer
from onboarding_worker.wiring.stores import Stores

BEFORE_THE_FIRST = "0" * 64  # in place of the hash of an entry before the first


@dataclass(frozen=True)
class Point:
    """A place in the chain: the number of an entry, and its hash. Kept elsewhere, it shows a later change before it."""

    number: int = 0
    hash: str = BEFORE_THE_FIRST

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


def read_point(text: str) -> Point:
    """The point that was written as `NUMBER:HASH`. Raises ValueError."""
    number, _, digest = text.strip().partition(":")
    if not (number.isascii() and number.isdecimal() and len(digest) == 64 and set(digest) <= set("0123456789abcdef")):
        raise ValueError("expected NUMBER:HASH, as `onboard audit verify` prints it")
    return Point(int(number), digest)


def next_point(before: Point, entry: Any) -> Point:
    """The place behind `before` of an entry, an `Entry` or its row. The hash is SHA-256 over the hash before, a line
    feed, and the entry's values as a JSON array. examples/check_audit_export.py shows it to auditors: it must never
    change."""
    number = before.number + 1
    values = [number, precisely(entry.at), entry.actor, entry.action, entry.subject, entry.count, entry.reason]
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return Point(number, sha256(f"{before.hash}\n{text}".encode()).hexdigest())


def precisely(at: datetime) -> str:
    """The time as it is hashed and exported: to the microsecond, since a hash of less would not show a change."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


log = logging.getLogger(__name__)

CHUNK = 1000
NOT_SIGNED = "the audit log's head is not signed by a key of this configuration"
WENT_BACK = "the audit log's head is older than one that this process has seen"
NO_HEAD = "the audit log's head was removed"
REFUSED, REFUSED_FOR = "refused", timedelta(minutes=2)  # several processes sweep by turns, and only one may refuse
CHUNKS = 20  # at once: what else is due must not wait for all entries of a busy hour


class NotSigned(Exception):
    """The head of the chain is not to be signed: a person must look at the audit log. It has no signature by a key of
    this configuration, or is behind `seen`."""

    def __init__(self, why: str, seen: Point | None = None) -> None:
        super().__init__(why)
        self.seen = seen


@dataclass(frozen=True)
class Head:
    """The end of the chain, its beginning, and whether a key of the ring has signed them. `key_id`: "" if none has.
    `is_new`: nothing was ever sealed."""

    end: Point
    removed: Point
    key_id: str
    signed: bool
    is_new: bool


def head_of(rows: Sequence[Any], keyring: Keyring) -> Head:
    """The head that is stored, of these rows of its table. Raises NotSigned if it was removed."""
    if not rows:
        raise NotSigned(NO_HEAD)
    row = rows[0]
    end, removed = Point(row.number, row.hash), Point(row.removed_to, row.removed_hash)
    key_id, signed = key_id_of(row.digest or ""), row.digest in _signatures(keyring, end, removed)
    return Head(end, removed, key_id, signed, is_new=not key_id and end == removed == Point())


def _signatures(keyring: Keyring, end: Point, removed: Point) -> tuple[str, ...]:
    """By each key of the ring."""
    return keyring.digests("audit head", f"{end} after {removed}")


_UNSEALED = sa.select(Audit.__table__).where(Audit.number.is_(None)).order_by(Audit.id).limit(CHUNK)
# No process signs with a retired key: another one seals what it has added.
_NO_FIRST_KEY_RETIRED = ~sa.exists(sa.select(RetiredKey.key_id).where(bulk.among(RetiredKey.key_id, "first_keys")))
_ANY = sa.select(
    AuditHead.__table__, sa.exists().where(Audit.number.is_(None), _NO_FIRST_KEY_RETIRED).label("unsealed")
)
_ANY_SEALED = sa.select(Audit.id).where(Audit.number.is_not(None)).limit(1)
HEAD = sa.select(AuditHead.__table__)
_SEAL = bulk.Change(Audit.id, {"number": sa.bindparam("its_number"), "hash": sa.bindparam("its_hash")}, by="id_")


class Seals:
    """Remembers the furthest end of the chain that it has seen. Who puts back an older state of the log, with its head
    that we have signed, is found by it alone."""

    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring, self._furthest = database, keyring, Point()

    def seal(self) -> Point | None:
        """Seal the entries that are committed, in the order of their ids. Returns the new end; None: nothing to do.

        Does nothing while another process seals, or where a first key was retired. Raises NotSigned, and seals nothing,
        if the head was removed, is not well signed, or is behind one that was seen here: also where there is nothing to
        seal.
        """
        end = None
        for _ in range(CHUNKS):
            if not self._any_unsealed():
                break
            known = self._furthest
            with self._database.write() as connection:
                head = self._locked(connection)
                if head is None:  # another process seals
                    break
                self._check(head, known)
                if head.is_new and connection.execute(_ANY_SEALED).first() is not None:
                    raise NotSigned(NOT_SIGNED)
                rows = fetch(connection, _UNSEALED)
                if not rows:
                    break
                end, sealed = head.end, []
                for row in rows:
                    end = next_point(end, row)
                    sealed.append({"id_": row.id, "its_number": end.number, "its_hash": end.hash})
                _SEAL.run(connection, sealed)
                self._write(connection, end, head.removed)
            self._follow(end)
        return end

    def refused(self, *, now: datetime) -> None:
        """Say in the database that the head is refused here: `status` shows it for a while."""
        with self._database.write() as connection:
            connection.execute(set_timer(connection, REFUSED, now=now))

    def accept(self, *, now: datetime) -> Point:
        """Sign the head as it is, by the first key of the ring, and say so in an entry. Returns the head's end. For a
        person who has checked the chain, where the key of the signature is lost. Raises NotSigned where there is no
        head."""
        with self._database.write() as connection:
            found = head_of(fetch(connection, HEAD.with_for_update()), self._keyring)
            self._write(connection, found.end, found.removed)
            note(connection, "audit head", now=now, reason=f"signed by key {found.key_id or 'none'} before")
            return found.end

    def remove(self, *, until: datetime, now: datetime) -> int:
        """Remove the next sealed entries that are older; returns how many. The chain then begins after them. The new
        beginning is signed. So an entry that does not fit the chain stays, with all behind it: an entry that somebody
        has given an old time would be gone without a trace."""
        with self._database.write() as connection:
            head = self._locked(connection)
            if head is None or not head.signed:
                return 0
            after = head.removed.number
            oldest = sa.select(Audit.__table__).where(Audit.number > after).order_by(Audit.number)
            last = at = head.removed
            for row in fetch(connection, oldest.limit(CHUNK + 1)):
                point = next_point(at, row)
                if point != Point(row.number, row.hash):
                    log.error("audit log: entry %d does not fit the one before: neither is removed", row.number)
                    break
                last = at  # one fits behind it, so it may go; the newest stays
                if row.at > until:
                    break
                at = point
            if last.number <= after:
                return 0
            self._write(connection, head.end, last)
            connection.execute(sa.delete(Audit).where(Audit.number > after, Audit.number <= last.number))
            count, act = last.number - after, Act(RETENTION, "audit.removed")
            note(connection, f"audit entries to {last.number}", count=count, now=now, act=act)
            return count

    def _any_unsealed(self) -> bool:
        """Raises as `seal`. Commands seal their own entries, so the head moves without this process."""
        known, ring = self._furthest, self._keyring
        rows = self._database.rows(_ANY, {"first_keys": bulk.keys([ring.ids[0], ring.digest_ids[0]])})
        self._check(head_of(rows, self._keyring), known)
        return bool(rows[0].unsealed)

    def _check(self, head: Head, known: Point) -> None:
        """`known`: the furthest end before the head was read: another thread may have sealed more since."""
        if not head.signed and not head.is_new:
            raise NotSigned(NOT_SIGNED)
        if head.end.number < known.number or (head.end.number == known.number and head.end != known):
            raise NotSigned(WENT_BACK, seen=known)
        self._follow(head.end)

    def _follow(self, end: Point) -> None:
        if end.number > self._furthest.number:
            self._furthest = end

    def _locked(self, connection: sa.Connection) -> Head | None:
        """The head, locked; None if another transaction has it. Raises NotSigned if it was removed."""
        rows = fetch(connection, HEAD.with_for_update(skip_locked=True))
        if not rows and fetch(connection, HEAD):
            return None
        return head_of(rows, self._keyring)

    def _write(self, connection: sa.Connection, end: Point, removed: Point) -> None:
        values = {"number": end.number, "hash": end.hash, "digest": _signatures(self._keyring, end, removed)[0]}
        values |= {"removed_to": removed.number, "removed_hash": removed.hash}
        connection.execute(sa.update(AuditHead).values(values))


def seals_of(stores: Stores) -> Seals:
    """For `Stores.once`: one for each process, since it remembers the furthest head that it has seen."""
    return Seals(stores.database, stores.keyring)
