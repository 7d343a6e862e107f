"""Standing batches: the one of each day (UTC) that the jobs of its events belong to."""

from dataclasses import dataclass
from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.store.tables import Batch

TRIES = 10


@dataclass(frozen=True)
class Rows:
    """Numbers for new rows of a batch, from `first` on."""

    batch_id: int
    first: int
    paused: bool


def next_rows(connection: sa.Connection, count: int, *, now: datetime) -> Rows:
    """Number so many rows of today's batch, which is made with its first.

    One that was cancelled, or is being purged, is over: whoever signs up after that was meant by neither, and goes
    into the next generation. The batch stays locked until the transaction ends, so call this late in it.
    """
    # No list's: theirs are of 64 digits.
    digest = f"events-{now.astimezone(UTC):%Y-%m-%d}"
    number = (
        sa.update(Batch)
        .where(Batch.digest == digest, Batch.cancelled_at.is_(None), Batch.purged_at.is_(None))
        .values(last_row=sa.func.coalesce(Batch.last_row, 0) + count)
        .returning(Batch.id, Batch.last_row, Batch.paused_at)
    )
    for _ in range(TRIES):
        row = connection.execute(number).first()
        if row is not None and row.last_row is not None:
            return Rows(row.id, row.last_row - count + 1, row.paused_at is not None)
        _make(connection, digest, now=now)
    raise RuntimeError("the day's batch could not be made: each is cancelled at once")


def _make(connection: sa.Connection, digest: str, *, now: datetime) -> None:
    newest = sa.select(sa.func.max(Batch.generation)).where(Batch.digest == digest)
    generation = (connection.execute(newest).scalar() or 0) + 1
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    values = {
        "name": digest if generation == 1 else f"{digest}-{generation}",
        "digest": digest,
        "generation": generation,
        "created_at": now,
        "imported_at": now,  # nothing of it was cut off; that more may come does not keep it from being over
        "last_row": 0,
    }
    # Another may be making it at this moment: then it is there afterwards.
    connection.execute(insert(Batch).values(values).on_conflict_do_nothing())
