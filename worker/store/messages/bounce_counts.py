"""A batch's messages by the minute, and its pausing itself when too many of them come back (`contact.auto_pause`).

Counted in the very transaction that writes what came of the messages. The batch is marked there; its rows are lifted
out of those that are taken afterwards, by the timer (`Decisions.finish_pauses`): they may be a million.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from worker.domain.contact.auto_pause import BounceCounts, PauseRule, pause_reason
from worker.store.tables import Batch, BounceCount

HOUR = timedelta(hours=1)
NOTHING = BounceCounts(0, 0, 0)


def count(
    connection: sa.Connection, counted: Mapping[int, BounceCounts], rule: PauseRule | None, *, now: datetime
) -> None:
    """Add to the batches' tallies of this minute, and pause those of which too many messages come back.

    None: batches do not pause themselves, and nothing is counted.
    """
    if rule is None:
        return
    minute = now.replace(second=0, microsecond=0)
    insert = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    statement = insert(BounceCount)
    more = {name: BounceCount.__table__.c[name] + statement.excluded[name] for name in _COUNTS}
    statement = statement.on_conflict_do_update(index_elements=["batch_id", "minute"], set_=more)
    rows = [
        {"batch_id": batch_id, "minute": minute, "tried": one.tried, "refused": one.refused, "bounced": one.bounced}
        for batch_id, one in sorted(counted.items())  # in one order: two who write them must not wait for each other
        if one != NOTHING
    ]
    if rows:
        connection.execute(statement, rows)
    _pause(connection, [batch_id for batch_id, one in counted.items() if one.refused or one.bounced], rule, now=now)


def _pause(connection: sa.Connection, batch_ids: Collection[int], rule: PauseRule, *, now: datetime) -> None:
    for batch_id in sorted(batch_ids):
        batch = connection.execute(_GOING, {"batch_id": batch_id}).one_or_none()
        if batch is None:
            continue
        # A minute in which it was resumed is as a whole of before: what was counted in it was looked at.
        since = [BounceCount.minute > batch.resumed_at] if batch.resumed_at else []
        spans = ([*since, BounceCount.minute > now - HOUR], since)
        reason = pause_reason((_sum(connection, batch_id, span) for span in spans), rule)
        if reason is not None:
            connection.execute(_MARK, {"batch_id": batch_id, "reason": reason[:400]})


def _sum(connection: sa.Connection, batch_id: int, span: Iterable[sa.ColumnElement[bool]]) -> BounceCounts:
    sums = (sa.func.coalesce(sa.func.sum(BounceCount.__table__.c[name]), 0) for name in _COUNTS)
    row = connection.execute(sa.select(*sums).where(BounceCount.batch_id == batch_id, *span)).one()
    return BounceCounts(*map(int, row))


_COUNTS = ("tried", "refused", "bounced")
# Not a standing one: some wrong addresses among a day's sign-ups must not keep everybody else from signing up.
_MAY_PAUSE = (
    Batch.paused_at.is_(None),
    Batch.cancelled_at.is_(None),
    Batch.last_row.is_(None),
    Batch.pause_reason == "",
)
_GOING = sa.select(Batch.resumed_at).where(Batch.id == sa.bindparam("batch_id"), *_MAY_PAUSE)
# Whoever holds the batch (an import, somebody who pauses it) may wait for rows that are held here: the next result that
# counts says it again.
_FREE = sa.select(Batch.id).where(Batch.id == sa.bindparam("batch_id"), *_MAY_PAUSE)
_MARK = (
    sa.update(Batch)
    .where(Batch.id.in_(_FREE.with_for_update(skip_locked=True, key_share=True)))
    .values(pause_reason=sa.bindparam("reason"))
)
