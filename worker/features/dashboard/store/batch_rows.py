"""The rows of one batch for a page: some of them, those that need a person, and what happened in each hour.

Each read is bounded, whatever the size of the batch: a page of rows through the index, the first rows that need a
person, and sums by hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import Database, fetch
from worker.core.database.job_ids import of_batch
from worker.core.database.tables import Job, SkippedLine
from worker.core.database.tables.work import ACCOUNT, DETAIL, DUE_AT, LEAD, REASON, RESULT, STATE
from worker.core.model.states import JobState, LineState, state_of_line
from worker.reporting.store.report_rows import why_skipped
from worker.reporting.store.spending import WORK, Points, points_of

MOST_GROUPED = 20_000  # rows whose reasons are grouped
# Few rows of a batch are in these states, and an index has them (`ix_job_rare`): a page of them reads no other rows.
_SKIPPED = (LineState.REJECTED, LineState.DUPLICATE, LineState.KNOWN)
_RARE = (JobState.HELD, JobState.LAPSED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class RowShown:
    """One row, without personal data. `detail` is in our own words."""

    row: int
    customer_id: str
    state: str
    result: str
    account: str
    reason: str
    detail: str
    due_at: datetime | None
    brand: str = ""


class BatchRows:
    def __init__(self, database: Database) -> None:
        self._database = database

    def some(self, batch_id: int, *, after: int, most: int, state: str = "", text: str = "") -> list[RowShown]:
        """The next rows after row `after`: of a state, or with `text` as their number or customer's id."""
        with self._database.read() as connection:
            queries = [] if state in _SKIPPED else _jobs(batch_id, after, most, state)
            rows = [_of_job(row) for query in queries for row in fetch(connection, _named(query, Job, text))]
            if state in ("", *_SKIPPED):
                lines = _named(_lines(batch_id, after, most, state), SkippedLine, text)
                rows += [_of_line(row) for row in fetch(connection, lines)]
        return sorted(rows, key=lambda one: one.row)[:most]

    def needing(self, batch_id: int, *, most: int = MOST_GROUPED) -> Iterator[RowShown]:
        """The first rows that need a person, in their order: held, failed, rejected."""
        with self._database.read() as connection:
            queries = [query for state in (JobState.HELD, JobState.FAILED) for query in _jobs(batch_id, 0, most, state)]
            rows = [_of_job(row) for query in queries for row in fetch(connection, query)]
            rows += [_of_line(row) for row in fetch(connection, _lines(batch_id, 0, most, LineState.REJECTED))]
        yield from sorted(rows, key=lambda one: one.row)[:most]

    def hours(self, batch_id: int) -> dict[str, Points]:
        """By name, how many in each hour (aware UTC): sessions issued, customers invited, calls refused, finished."""
        with self._database.read() as connection:
            return points_of(connection, WORK, batch_id, unit="hour")


def _select() -> sa.Select[*tuple[Any, ...]]:
    columns = (
        Job.row,
        Job.customer_id,
        STATE.label("state"),
        RESULT.label("result"),
        ACCOUNT.label("account"),
        REASON.label("reason"),
        DETAIL.label("detail"),
        DUE_AT.label("due_at"),
        Job.leader_id,
        sa.func.coalesce(LEAD.brand, Job.brand).label("brand"),
    )
    return sa.select(*columns).join(LEAD, LEAD.id == Job.leader_id, isouter=True)


def _jobs(batch_id: int, after: int, most: int, state: str) -> list[sa.Select[*tuple[Any, ...]]]:
    """Of a rare state, two queries: rows of their own, by the index, and rows that joined another list's."""
    query = _select().where(of_batch(batch_id, after=after)).order_by(Job.id).limit(most)
    if state in (LineState.JOINED, JobState.INVITED):
        joined = Job.leader_id.is_not(None) if state == LineState.JOINED else Job.leader_id.is_(None)
        return [query.where(joined, sa.cast(STATE, sa.String) == JobState.INVITED.value)]
    if state not in _RARE:
        return [query.where(sa.cast(STATE, sa.String) == state) if state else query]
    fixed, rare = bulk.fixed(JobState(state)), [bulk.fixed(one) for one in _RARE]
    return [
        query.where(Job.leader_id.is_(None), Job.state == fixed, Job.state.in_(rare)),  # in the words of its index
        query.where(Job.leader_id.is_not(None), LEAD.state == fixed),
    ]


def _lines(batch_id: int, after: int, most: int, state: str) -> sa.Select[*tuple[Any, ...]]:
    columns = (SkippedLine.row, SkippedLine.customer_id, SkippedLine.duplicate_of, SkippedLine.known)
    query = sa.select(*columns, SkippedLine.problems).where(SkippedLine.batch_id == batch_id, SkippedLine.row > after)
    if state == LineState.REJECTED:
        query = query.where(SkippedLine.duplicate_of.is_(None), SkippedLine.known.is_(None))
    elif state == LineState.DUPLICATE:
        query = query.where(SkippedLine.duplicate_of.is_not(None))
    elif state == LineState.KNOWN:
        query = query.where(SkippedLine.known.is_not(None))
    return query.order_by(SkippedLine.row).limit(most)


def _named(
    query: sa.Select[*tuple[Any, ...]], table: type[Job] | type[SkippedLine], text: str
) -> sa.Select[*tuple[Any, ...]]:
    """Only rows with `text` as their number or customer's id; empty: all."""
    if not text:
        return query
    by_id = table.customer_id == text
    is_row = text.isascii() and text.isdecimal() and len(text) <= 9
    return query.where(sa.or_(table.row == int(text), by_id) if is_row else by_id)


def _of_job(row: Any) -> RowShown:
    state = state_of_line(row.state, joined=row.leader_id is not None)
    facts = (row.row, row.customer_id, str(state), row.result, row.account, row.reason, row.detail, row.due_at)
    return RowShown(*facts, brand=row.brand)


def _of_line(row: Any) -> RowShown:
    state, reason, detail = why_skipped(row)
    return RowShown(row.row, row.customer_id or "", state, "", "", reason, detail, None)
