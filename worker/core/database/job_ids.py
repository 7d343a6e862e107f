"""The ids of rows. A job's id says its batch and its row: 7000000042 is row 42 of batch 7.

So the primary key also keeps a row from being added twice, and finds the rows of a batch in their order. A second index
for that would be written by each claim and each result again (docs/decisions/0008-the-customers-own-id-is-the-key.md).

Other rows that are many have ids that are made before the row is written (`new_ids`), so that related rows are written
in one transaction.

Queries for a chunk of keys. A key is a customer and a purpose.

A statement gets all customers as one parameter and all purposes as another parameter, so that it can use an index. It
therefore also finds a customer with a purpose of another key: `rows_of` drops these rows.
"""

import os
import struct
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import Job, SessionRow, StableLink
from onboarding_worker.core.foundation.clock import EPOCH, MILLISECOND
from onboarding_worker.core.model.states import SessionState

LARGEST = 999_999_999  # a batch has no row beyond
ROWS = LARGEST + 1  # of a batch, with its row 0
# The order in which jobs came. Ids do not say it: a day's later events have smaller ones than the lists of that day.
AS_THEY_CAME = (Job.created_at, Job.id)
NEWEST_FIRST = (Job.created_at.desc(), Job.id.desc())
# Of a session. In the words of the index (tests/core/database/test_index_conditions.py).
IS_LIVE = SessionRow.state.in_([bulk.fixed(SessionState.WAITING), bulk.fixed(SessionState.STARTED)])


def job_id(batch_id: int, row: int) -> int:
    """Raises ValueError: the row's number is not within a batch."""
    if not 0 <= row < ROWS:
        raise ValueError(f"a batch has rows up to {LARGEST:,}")
    return batch_id * ROWS + row


def row_of(id_: int) -> int:
    return id_ % ROWS


def batch_of(id_: int) -> int:
    return id_ // ROWS


def as_they_came(rows: Iterable[Any]) -> list[Any]:
    """The rows in this order, for those that had to be locked in another one."""
    return sorted(rows, key=attrgetter("created_at", "id"))


def of_batch(
    batch: int | sa.SQLColumnExpression[int], *, after: int = 0, id_: sa.Column[int] = Job.id
) -> sa.ColumnElement[bool]:
    """True for the jobs of a batch, behind the row `after`. Order them by `Job.id`. `id_`: the column with the job."""
    first: Any = batch * ROWS
    return sa.and_(id_ > first + after, id_ < first + ROWS)


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


Key = tuple[str, str]  # customer and purpose


def among_keys(
    model: type[Job] | type[SessionRow] | type[StableLink],
) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    """Conditions: the row belongs to the customers, and to the purposes, that `rows_of` binds."""
    return bulk.among(model.customer_id, "customers"), bulk.among(model.purpose, "purposes")


def rows_of(connection: sa.Connection, query: sa.Executable, keys: Collection[Key], **more: Any) -> list[sa.Row[Any]]:
    """The rows of these keys. The query has the conditions of `among_keys`, selects both columns, and binds `more`."""
    if not keys:
        return []
    given = {
        "customers": bulk.keys(sorted({customer_id for customer_id, _ in keys})),
        "purposes": bulk.keys(sorted({purpose for _, purpose in keys})),
        **more,
    }
    return [row for row in fetch(connection, query, given) if (row.customer_id, row.purpose) in keys]
