"""Daily batches: the jobs of events belong to the batch of their day (UTC)."""

from datetime import UTC, datetime
from typing import NamedTuple

import sqlalchemy as sa

from worker.core.database.bulk import insert
from worker.core.database.tables import Batch

TRIES = 10
DAILY = "events-"  # how the names of daily batches begin


class DailyRows(NamedTuple):
    """Reserved row numbers of a batch, beginning with `first`."""

    batch_id: int
    first: int
    paused: bool


_NUMBER = (
    sa.update(Batch)
    .where(Batch.digest == sa.bindparam("of_day"), Batch.cancelled_at.is_(None), Batch.purged_at.is_(None))
    .values(last_row=sa.func.coalesce(Batch.last_row, 0) + sa.bindparam("count_", type_=sa.Integer()))
    .returning(Batch.id, Batch.last_row, Batch.pause_cause)
)


def next_rows(connection: sa.Connection, count: int, *, now: datetime, named: str = DAILY) -> DailyRows:
    """Reserve `count` row numbers of today's batch. The first call of a day creates the batch. `named`: how its name
    begins.

    A batch that was cancelled or is being purged gets no more rows, because neither was meant for later customers: the
    rows go into the batch's next generation. The batch stays locked until the transaction ends, so call this late.
    """
    # Cannot equal the digest of a list, which has 64 digits.
    digest = f"{named}{now.astimezone(UTC):%Y-%m-%d}"
    for _ in range(TRIES):
        row = connection.execute(_NUMBER, {"of_day": digest, "count_": count}).first()
        if row is not None and row.last_row is not None:
            return DailyRows(row.id, row.last_row - count + 1, row.pause_cause != "")
        _make(connection, digest, now=now)
    raise RuntimeError("the daily batch could not be created: each new batch was cancelled at once")


def _make(connection: sa.Connection, digest: str, *, now: datetime) -> None:
    newest = sa.select(sa.func.max(Batch.generation)).where(Batch.digest == digest)
    generation = (connection.execute(newest).scalar() or 0) + 1
    values = {
        "name": digest if generation == 1 else f"{digest}-{generation}",
        "digest": digest,
        "generation": generation,
        "created_at": now,
        "imported_at": now,  # no import was cut off; the batch can be over although more rows may come
        "last_row": 0,
    }
    # Another transaction may create the same batch at this moment: its batch is used then.
    connection.execute(insert(Batch, connection.dialect.name).values(values).on_conflict_do_nothing())
