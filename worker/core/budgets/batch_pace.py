"""The start and the pace of one batch, `--per-hour N`: at most N first invitations in any hour, over all workers.

Places are spaced evenly, like an account's slots. A place may be used up to `TOLERANCE` late, since due rows are looked
for once a second; the spacing is wider by as much, so that no hour has more than N. They are taken under the lock of
the batch's plan. Sessions and first messages have places of their own: sessions are opened no faster than their links
can be sent. A claim gives back the places of rows that another gate keeps. A place of a row that is released later is
lost: the rows behind it may have gone in theirs, and one more in its place would be one too many in their hour.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import BatchPlan
from onboarding_worker.core.model.endings import Later, NotNow
from onboarding_worker.core.model.reasons import Reason

HOUR = timedelta(hours=1)
TOLERANCE = timedelta(seconds=10)


class Places(NamedTuple):
    """For each that asked, None if it may go now, else when to ask again. `next_at`: the next free place."""

    again_at: Sequence[datetime | None]
    next_at: datetime


def interval(per_hour: int) -> timedelta:
    """The time between two places."""
    return timedelta(microseconds=-(-(HOUR + TOLERANCE) // timedelta(microseconds=1) // per_hour))


def give_places(per_hour: int, next_at: datetime | None, weights: Sequence[int], *, now: datetime) -> Places:
    """Give places to rows, in their order; a row takes as many as its weight, and goes when its first has come."""
    spaced = interval(per_hour)
    place = max(next_at or now, now - TOLERANCE)
    again_at: list[datetime | None] = []
    taken = place
    for weight in weights:
        again_at.append(None if place <= now else place)
        place += spaced * weight
        if again_at[-1] is None:
            taken = place
    return Places(again_at, taken)


def planned_at(per_hour: int, begins_at: datetime, index: int) -> datetime:
    """When the row number `index` (from 0) is due, if nothing delays the batch."""
    return begins_at + interval(per_hour) * index


SESSIONS, MESSAGES = BatchPlan.issue_next_at, BatchPlan.send_next_at


class PacedRow(NamedTuple):
    """A row that needs places of its batch's pace: as many as it has messages."""

    id: Any
    batch_id: int
    weight: int = 1


def starts_later(connection: sa.Connection, batch_ids: Collection[int], *, now: datetime) -> dict[int, datetime]:
    """The starts of those of these batches whose start has not come."""
    query = sa.select(BatchPlan.batch_id, BatchPlan.start_at)
    later = query.where(BatchPlan.batch_id.in_(sorted(batch_ids)), BatchPlan.start_at > now)
    return {row.batch_id: row.start_at for row in fetch(connection, later)}


def take(connection: sa.Connection, rows: Sequence[PacedRow], column: Any, *, now: datetime) -> dict[Any, NotNow]:
    """Take places, in the order of the rows. Returns the rows that have none now, each with when to ask again."""
    # Always in the same order, so that two claims of the same batches cannot deadlock.
    batch_ids = sorted({one.batch_id for one in rows})
    query = sa.select(BatchPlan.batch_id, BatchPlan.per_hour, column.label("next_at"))
    paced = query.where(BatchPlan.batch_id.in_(batch_ids), BatchPlan.per_hour.is_not(None))
    found: dict[Any, NotNow] = {}
    for plan in fetch(connection, paced.order_by(BatchPlan.batch_id).with_for_update()):
        here = [one for one in rows if one.batch_id == plan.batch_id]
        places = give_places(plan.per_hour, plan.next_at, [one.weight for one in here], now=now)
        for one, again_at in zip(here, places.again_at, strict=True):
            if again_at is not None:
                found[one.id] = Later(again_at, Reason.PLANNED)
        change = sa.update(BatchPlan).where(BatchPlan.batch_id == plan.batch_id)
        connection.execute(change.values({column: places.next_at}))
    return found


def give_back(connection: sa.Connection, rows: Sequence[PacedRow], column: Any) -> None:
    """Give back the places that these rows have taken in this transaction, which still holds the plans' locks."""
    weights: Counter[int] = Counter()
    for one in rows:
        weights[one.batch_id] += one.weight
    query = sa.select(BatchPlan.batch_id, BatchPlan.per_hour, column.label("next_at"))
    for plan in fetch(connection, query.where(BatchPlan.batch_id.in_(weights), BatchPlan.per_hour.is_not(None))):
        change = sa.update(BatchPlan).where(BatchPlan.batch_id == plan.batch_id)
        next_at = plan.next_at - interval(plan.per_hour) * weights[plan.batch_id]
        connection.execute(change.values({column: next_at}))
