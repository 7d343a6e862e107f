"""The most credits that a batch may cost (`--most-credits N`): of the calls of its rows, call N+1 is never made.

What is used is counted from the calls themselves: those that are open, those that cost a credit, and those that may
have. So nothing is given back by hand, and whatever dies, a call that may have cost stays counted. It is counted under
the lock of the batch's plan, which a claim holds until its calls are written down.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from worker.core.database.database import fetch
from worker.core.database.fast import tally
from worker.core.database.job_ids import of_batch
from worker.core.database.tables import Attempt, BatchCount, BatchCountChange, BatchPlan
from worker.core.database.tables.columns import aliased
from worker.core.limits.credits import COST_NOTHING
from worker.core.model.endings import Kind, Later, NotNow
from worker.core.model.reasons import Reason
from worker.core.model.states import DONE

if TYPE_CHECKING:
    from worker.core.work.store.job_context import ClaimedJob

LOOKED_AT_AGAIN = timedelta(hours=1)  # a look-up may have found meanwhile that a call cost nothing
_BATCH = sa.bindparam("batch", type_=Attempt.batch_id.type)
_CALLS = sa.union_all(
    *(
        sa.select(model.rows).where(
            model.batch_id == _BATCH, model.kind == tally.CountOf.CALL.value, model.state.not_in(COST_NOTHING)
        )
        for model in (BatchCount, BatchCountChange)
    )
).subquery()
_USED = sa.select(sa.func.coalesce(sa.func.sum(_CALLS.c.rows), 0))
_LOOK_UP = aliased(Attempt)
# Calls with an unknown outcome of which a look-up has found that they were not carried out.
_NOT_CARRIED_OUT = sa.select(sa.func.count(sa.distinct(Attempt.id))).where(
    of_batch(_BATCH, id_=Attempt.job_id),
    Attempt.outcome == Kind.UNKNOWN.value,
    _LOOK_UP.reconciles == Attempt.id,
    _LOOK_UP.id != Attempt.id,
    _LOOK_UP.outcome == DONE,
    _LOOK_UP.found == "",
)


def left(connection: sa.Connection, batch_id: int, most: int, wanted: int) -> int:
    """How many of the `wanted` calls the batch may pay for. The look-ups are read only where that matters."""
    rest = most - int(connection.execute(_USED, {"batch": batch_id}).scalar_one())
    if rest < wanted:
        rest += int(connection.execute(_NOT_CARRIED_OUT, {"batch": batch_id}).scalar_one())
    return max(min(rest, wanted), 0)


def beyond(connection: sa.Connection, jobs: "Sequence[ClaimedJob]", *, now: datetime) -> dict[int, NotNow]:
    """Those of these jobs for whose calls their batches have no credit left, each with when to ask again."""
    asking: dict[int, list[int]] = {}
    for job in jobs:
        if not job.looks_up:
            asking.setdefault(job.batch_id, []).append(job.id)
    capped = sa.select(BatchPlan.batch_id, BatchPlan.most_credits).where(
        BatchPlan.batch_id.in_(sorted(asking)), BatchPlan.most_credits.is_not(None)
    )
    found: dict[int, NotNow] = {}
    # Always in the same order, so that two claims of the same batches cannot deadlock.
    for plan in fetch(connection, capped.order_by(BatchPlan.batch_id).with_for_update()) if asking else ():
        rows = asking[plan.batch_id]
        may = left(connection, plan.batch_id, plan.most_credits, len(rows))
        found |= dict.fromkeys(rows[may:], Later(now + LOOKED_AT_AGAIN, Reason.CREDITS_SPENT))
    return found
