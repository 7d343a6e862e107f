"""Ids that are made before the row is written, so that related rows are written in one transaction."""

import secrets
import uuid
from datetime import UTC, datetime, timedelta

# Whole numbers: a float of seconds is sometimes wrong by a millisecond.
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


def new_id(now: datetime) -> uuid.UUID:
    """A version 7 UUID (RFC 9562): 48 bits of milliseconds, then 74 random bits.

    Ordered by time, so that a growing index is written at its end; unguessable, so that a link may contain it.
    """
    milliseconds = (now - EPOCH) // MILLISECOND & (2**48 - 1)
    random = secrets.randbits(74)
    value = milliseconds << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | random & (2**62 - 1)
    return uuid.UUID(int=value)
