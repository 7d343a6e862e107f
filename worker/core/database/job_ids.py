"""A job's id says its batch and its row: 7000000042 is row 42 of batch 7.

So the primary key also keeps a row from being added twice, and finds the rows of a batch in their order. A second index
for that would be written by each claim and each result again (docs/decisions/0096-ids-that-say-the-row.md).
"""

from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from worker.core.database.tables import Job
from worker.core.model.row_addresses import LARGEST

ROWS = LARGEST + 1  # of a batch, with its row 0
# The order in which jobs came. Ids do not say it: a day's later events have smaller ones than the lists of that day.
AS_THEY_CAME = (Job.created_at, Job.id)
NEWEST_FIRST = (Job.created_at.desc(), Job.id.desc())


def job_id(batch_id: int, row: int) -> int:
    """Raises ValueError: the row's number is not within a batch."""
    if not 0 <= row < ROWS:
        raise ValueError(f"a batch has rows up to {LARGEST:,}")
    return batch_id * ROWS + row


def row_of(id_: int) -> int:
    """The row of a job's id."""
    return id_ % ROWS


def batch_of(id_: int) -> int:
    """The batch of a job's id."""
    return id_ // ROWS


def as_they_came(rows: Iterable[Any]) -> list[Any]:
    """The rows in this order, for those that had to be locked in another one."""
    return sorted(rows, key=attrgetter("created_at", "id"))


def of_batch(
    batch: int | sa.SQLColumnExpression[int],
    *,
    after: int | sa.SQLColumnExpression[int] = 0,
    id_: InstrumentedAttribute[int] = Job.id,
) -> sa.ColumnElement[bool]:
    """True for the jobs of a batch, behind the row `after`. Order them by `Job.id`. `id_`: the column with the job."""
    first: Any = batch * ROWS
    return sa.and_(id_ > first + after, id_ < first + ROWS)
