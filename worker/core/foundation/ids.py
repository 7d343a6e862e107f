"""Ids that are made before the row is written, so that related rows are written in one transaction."""

import os
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

# Whole numbers: a float of seconds is sometimes wrong by a millisecond.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_RANDOM = struct.Struct(">HQ")  # of one id: 16 bits, of which 12 are used, and 64, of which 62 are
_guessable: Callable[[int], bytes] | None = None


@contextmanager
def guessable_ids(random_bytes: Callable[[int], bytes]) -> Iterator[None]:
    """Within this, the random bits of ids come from here: rows of one moment have the same order in each rehearsal.

    For a database that is thrown away: who knows the seed knows the ids.
    """
    global _guessable
    _guessable = random_bytes
    try:
        yield
    finally:
        _guessable = None


def new_id(now: datetime) -> uuid.UUID:
    """A version 7 UUID (RFC 9562): 48 bits of milliseconds, then 74 random bits.

    Ordered by time, so that a growing index is written at its end; unguessable, so that a link may contain it.
    """
    return new_ids(now, 1)[0]


def new_ids(now: datetime, count: int) -> list[uuid.UUID]:
    """As many different ids of one moment, as `new_id` makes them."""
    fixed = ((now - EPOCH) // MILLISECOND & (2**48 - 1)) << 80 | 0x7 << 76 | 0b10 << 62
    source = (_guessable or os.urandom)(_RANDOM.size * count)  # one call for all: it is half the cost of an id
    return [
        uuid.UUID(int=fixed | (high & 0xFFF) << 64 | low & 0x3FFF_FFFF_FFFF_FFFF)
        for high, low in _RANDOM.iter_unpack(source)
    ]
