"""Counts of a batch's messages per minute; pauses a batch when too many of its messages bounce (`messages.auto_pause`).

The messages' results and their counts are written in the same transaction. That transaction only marks the batch; the
timer pauses the batch's rows afterwards (`Decisions.finish_pauses`), because a batch may have a million rows.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import cache, partial

import sqlalchemy as sa

from worker.core.database import tally
from worker.core.database.audit_entries import note
from worker.core.database.database import insert
from worker.core.database.tables import Batch, BounceCount
from worker.core.database.unanswered import UNANSWERED
from worker.core.messages.auto_pause import BounceCounts, PauseRule, pause_reason
from worker.core.model.audit import Act
from worker.core.model.states import PauseCause

HOUR = timedelta(hours=1)
NOTHING = BounceCounts(0, 0, 0)
ACT = Act("schedule", "batch.paused")


def count(
    connection: sa.Connection, counted: Mapping[int, BounceCounts], rule: PauseRule | None, *, now: datetime
) -> None:
    """Add to the batches' counts of this minute, and pause the batches with too many bounced messages.

    That is written at the end of the transaction: all transactions with results of a batch write the same row. `rule`
    None: batches are never paused automatically, and nothing is counted.
    """
    some = {batch_id: one for batch_id, one in counted.items() if one != NOTHING}
    if some and rule is not None:
        tally.of(connection).last.append(partial(_write, counted=some, rule=rule, now=now))


def _write(connection: sa.Connection, *, counted: Mapping[int, BounceCounts], rule: PauseRule, now: datetime) -> None:
    minute = now.replace(second=0, microsecond=0)
    for batch_id, one in sorted(counted.items()):  # always in the same order: two transactions must not deadlock
        row = {"batch_id": batch_id, "minute": minute, **asdict(one)}
        connection.execute(_add(connection.dialect.name), row, execution_options=UNANSWERED)
    _pause(connection, [batch_id for batch_id, one in counted.items() if one.refused or one.bounced], rule, now=now)


@cache
def _add(dialect: str) -> sa.Insert:
    statement = insert(BounceCount, dialect)
    more = {name: BounceCount.__table__.c[name] + statement.excluded[name] for name in _COUNTS}
    return statement.on_conflict_do_update(index_elements=["batch_id", "minute"], set_=more)


def _pause(connection: sa.Connection, batch_ids: Collection[int], rule: PauseRule, *, now: datetime) -> None:
    for batch_id in sorted(batch_ids):
        batch = connection.execute(_GOING, {"batch_id": batch_id}).one_or_none()
        if batch is None:
            continue
        # The whole minute of the resume counts as before it: the operator has seen what was counted in that minute.
        since = [BounceCount.minute > batch.resumed_at] if batch.resumed_at else []
        spans = ([*since, BounceCount.minute > now - HOUR], since)
        reason = pause_reason((_sum(connection, batch_id, span) for span in spans), rule, batch_id=batch_id)
        if reason is not None:
            marked = connection.execute(_MARK, {"batch_id": batch_id, "reason": reason[:400]})
            if marked.rowcount:  # a resume clears the reason from the batch: the entry keeps it
                note(connection, f"batch {batch_id}", now=now, reason=reason, act=ACT)


def _sum(connection: sa.Connection, batch_id: int, span: Iterable[sa.ColumnElement[bool]]) -> BounceCounts:
    sums = (sa.func.coalesce(sa.func.sum(BounceCount.__table__.c[name]), 0) for name in _COUNTS)
    row = connection.execute(sa.select(*sums).where(BounceCount.batch_id == batch_id, *span)).one()
    return BounceCounts(*map(int, row))


_COUNTS = ("tried", "refused", "bounced")
# A daily batch (`last_row` is set) never pauses: a few wrong addresses must not stop every other customer of the day.
_MAY_PAUSE = (Batch.cancelled_at.is_(None), Batch.last_row.is_(None), Batch.pause_cause == "")
_GOING = sa.select(Batch.resumed_at).where(Batch.id == sa.bindparam("batch_id"), *_MAY_PAUSE)
# An import, or an operator's pause, may hold the batch's lock and wait for rows that this transaction holds. So this
# transaction skips a locked batch: the next counted result marks the batch.
_FREE = sa.select(Batch.id).where(Batch.id == sa.bindparam("batch_id"), *_MAY_PAUSE)
_MARK = (
    sa.update(Batch)
    .where(Batch.id.in_(_FREE.with_for_update(skip_locked=True, key_share=True)))
    .values(pause_cause=PauseCause.ITSELF.value, pause_reason=sa.bindparam("reason"))
)
