"""Reads the audit log: lists entries, as their rows, and verifies their chain. An entry without a number is not sealed
yet."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.tables import Audit
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.features.audit.store.sealing import HEAD, NOT_SIGNED, Head, NotSigned, Point, head_of, next_point

PAGE = 5000
MOST_SHOWN = 20  # problems of the log, in words; the others are counted


@dataclass(frozen=True)
class Wanted:
    """Which entries: of a time (`since` included, `until` not), and with these exact texts. None: all. `begins`: the
    texts need only begin so. `before`: only entries whose rows have a smaller id."""

    since: datetime | None = None
    until: datetime | None = None
    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    after: int = 0  # only entries with a higher number, and those without a number
    before: int | None = None
    begins: bool = False

    @property
    def conditions(self) -> list[sa.ColumnElement[bool]]:
        texts = {Audit.actor: self.actor, Audit.action: self.action, Audit.subject: self.subject}
        found: list[sa.ColumnElement[bool]] = [
            column.startswith(text, autoescape=True) if self.begins else column == text
            for column, text in texts.items()
            if text is not None
        ]
        found += [Audit.id < self.before] if self.before is not None else []
        found += [Audit.at >= self.since] if self.since is not None else []
        found += [Audit.at < self.until] if self.until is not None else []
        return found


@dataclass
class Verified:
    """What a check of the chain has found. `problems`, for people, are the first MOST_SHOWN; `more`: how many are not
    among them."""

    problems: list[str] = field(default_factory=list)
    more: int = 0
    end: Point = field(default_factory=Point)
    entries: int = 0
    removed: int = 0  # the number of the newest entry that retention has removed
    unsealed: int = 0

    @property
    def is_whole(self) -> bool:
        return not self.problems

    def add(self, problem: str) -> None:
        if len(self.problems) < MOST_SHOWN:
            self.problems.append(problem)
        else:
            self.more += 1


class AuditLog:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def newest(self, wanted: Wanted, *, most: int) -> list[Any]:
        """The newest of these entries, the oldest of them first."""
        query = sa.select(Audit.__table__).where(*wanted.conditions).order_by(Audit.id.desc()).limit(most)
        return self._database.rows(query)[::-1]

    def in_order(self, wanted: Wanted, *, to: int) -> Iterator[Any]:
        """The sealed ones of these entries, in the order of the chain, with numbers up to `to`."""
        query = sa.select(Audit.__table__).where(*wanted.conditions, Audit.number <= to)
        return self._database.in_order(query, Audit.number, chunk=PAGE, after=wanted.after)

    def end(self) -> Point:
        """The end of the chain, as its head says. Raises NotSigned if no key of this configuration has signed it."""
        head = head_of(self._database.rows(HEAD), self._keyring)
        if not head.signed and not head.is_new:
            raise NotSigned(NOT_SIGNED)
        return head.end

    def verify_end(self, most: int) -> Verified:
        """Check the head's signature, and compute the last `most` entries of the chain again. As quick for a long log
        as for a short one. What was changed before these entries does not show here: `verify` reads them all."""
        with self._snapshot() as connection:
            found, head = self._head(connection)
            first = head.end.number - most
            start = head.removed
            if first > head.removed.number:
                before = sa.select(Audit.number, Audit.hash).where(Audit.number == first)
                row = connection.execute(before).first()
                if row is None:
                    found.add(f"entry {first}: removed")
                start = Point(first, row.hash or "" if row is not None else "")
            _Chain(found, head, None, start).follow(connection, lambda _: None)
        return found

    def verify(self, kept: Point | None = None, *, progress: Callable[[int], None] = lambda _: None) -> Verified:
        """Compute the chain again, from its first entry to its head. `kept`: a point of it that was kept elsewhere.
        `progress` gets the number of entries that were checked."""
        with self._snapshot() as connection:
            found, head = self._head(connection)
            _Chain(found, head, kept, head.removed).follow(connection, progress)
            unsealed = sa.select(sa.func.count()).select_from(Audit).where(Audit.number.is_(None))
            found.unsealed = connection.execute(unsealed).scalar_one()
        return found

    @contextmanager
    def _snapshot(self) -> Iterator[sa.Connection]:
        with self._database.read() as connection:
            if not self._database.is_sqlite:  # else a page could be of another moment than the head
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            yield connection

    def _head(self, connection: sa.Connection) -> tuple[Verified, Head]:
        """The head of the chain, and what is wrong with it."""
        found = Verified()
        try:
            head = head_of(fetch(connection, HEAD), self._keyring)
        except NotSigned:
            found.add("the head of the chain is missing: the row of audit_head was removed")
            return found, Head(Point(), Point(), "", signed=False, is_new=True)
        if not head.signed and not head.is_new:
            by = f" by a key of this configuration (it names the key {head.key_id})"
            why = f"{by}: it was changed, or that key is missing from [encryption]" if head.key_id else ""
            found.add(f"the head of the chain is not signed{why}")
        return found, head


class _Chain:
    """Follows the stored entries from `start`. Compares them with their hashes, the head, and a point that was kept."""

    def __init__(self, found: Verified, head: Head, kept: Point | None, start: Point) -> None:
        self._found, self._head, self._kept, self._at = found, head, kept, start
        found.removed, found.end = head.removed.number, head.end

    def follow(self, connection: sa.Connection, progress: Callable[[int], None]) -> None:
        self._compare(self._at)
        query = sa.select(Audit.__table__).order_by(Audit.number).limit(PAGE)
        beyond = Audit.number.is_not(None) if self._at == self._head.removed else Audit.number > self._at.number
        while rows := fetch(connection, query.where(beyond)):
            beyond = Audit.number > rows[-1].number
            for row in rows:
                self._take(row)
            progress(self._found.entries)
        at, end, found = self._at, self._head.end, self._found
        if at.number < end.number:
            found.add(f"{_range(at.number + 1, end.number)}: removed, at the end of the chain")
        elif at.number > end.number:
            found.add(f"{_range(end.number + 1, at.number)}: behind the chain's head, not sealed by a worker")
        elif at.hash != end.hash:
            found.add(f"the head of the chain does not fit entry {at.number}")
        if self._kept is not None:
            found.add(f"the chain ends at {at.number}, before the head that you gave: its end was cut off")

    def _take(self, row: Any) -> None:
        found, number = self._found, row.number
        found.entries += 1
        if number <= self._head.removed.number:
            found.add(f"entry {number} is there, but retention has removed all up to {self._head.removed.number}")
            return
        if number == self._at.number + 1:
            if next_point(self._at, row).hash != row.hash:
                found.add(f"entry {number} was changed: its hash does not fit it and the entry before")
        else:  # without the entry before it, its own hash cannot be checked
            found.add(f"{_range(self._at.number + 1, number - 1)}: removed")
        # On from the stored hash: one changed entry is one problem, and no problem of all later ones.
        self._at = Point(number, row.hash or "")
        self._compare(self._at)

    def _compare(self, at: Point) -> None:
        kept = self._kept
        if kept is None or kept.number > at.number:
            return
        self._kept = None
        if kept.number < at.number:
            self._found.add(f"entry {kept.number} is gone, so the head that you gave cannot be compared")
        elif kept.hash != at.hash:
            self._found.add(f"entry {kept.number} is not the one of the head that you gave: the chain was made anew")


def _range(first: int, last: int) -> str:
    return f"entry {first}" if first == last else f"entries {first} to {last}"
