"""The chain of hashes that shows a change of the audit log's entries. Pure."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from worker.core.model.audit import Entry

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


def next_point(before: Point, entry: Entry) -> Point:
    """The place of an entry behind `before`.

    The hash is SHA-256 over the hash before, a line feed, and the entry's values as a JSON array.
    examples/check_audit_export.py shows it to auditors: it must never change.
    """
    number = before.number + 1
    values = [number, precisely(entry.at), entry.actor, entry.action, entry.subject, entry.count, entry.reason]
    text = json.dumps(values, ensure_ascii=False, separators=(",", ":"))
    return Point(number, sha256(f"{before.hash}\n{text}".encode()).hexdigest())


def precisely(at: datetime) -> str:
    """The time as it is hashed and exported: to the microsecond, since a hash of less would not show a change."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
