"""The rows of batches for pages. Of one batch: some rows, those that need a person, what happened in each hour, one
customer. Of all: how many are not invited yet, by what they wait for.

Each read is bounded, whatever the size of a batch: a page of rows through the index, the first rows that need a person,
sums by hour, the kept counts, and through an index the sessions that end within the hour.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.fast.tally import CountOf
from onboarding_worker.core.database.job_ids import job_id, of_batch
from onboarding_worker.core.database.tables import Batch, CustomerRow, Job, SessionRow, SkippedLine
from onboarding_worker.core.database.tables.types import word_of
from onboarding_worker.core.database.tables.work import ACCOUNT, DETAIL, DUE_AT, LEAD, REASON, RESULT, STATE
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import Channel, Customer, invitation_channels
from onboarding_worker.core.model.states import UNSENT_JOBS, JobState, LineState, SessionState, state_of_line
from onboarding_worker.core.rows.message_rows import CUSTOMER, customer_of
from onboarding_worker.core.rows.verdicts import verdict_of_row, verdicts_of
from onboarding_worker.reporting.store.counting import COUNTED, ROWS
from onboarding_worker.reporting.store.report_rows import LineFacts, refused_lines
from onboarding_worker.reporting.store.spending import WORK, Points, points_of

MOST_GROUPED = 20_000  # rows whose reasons are grouped
# Few rows of a batch are in these states, and an index has them (`ix_job_rare`): a page of them reads no other rows.
_RARE = (JobState.HELD, JobState.LAPSED, JobState.FAILED, JobState.CANCELLED)
_SKIPPED: dict[str, tuple[sa.ColumnElement[bool], ...]] = {
    LineState.REJECTED: (SkippedLine.duplicate_of.is_(None), SkippedLine.known.is_(None)),
    LineState.DUPLICATE: (SkippedLine.duplicate_of.is_not(None),),
    LineState.KNOWN: (SkippedLine.known.is_not(None),),
}


def page_of_rows(
    database: Database, keyring: Keyring, batch_id: int, *, after: int, most: int, state: str = "", text: str = ""
) -> list[LineFacts]:
    """The next rows after row `after`: of a state, or with `text` as their number or customer's id."""
    with database.read() as connection:
        queries = [] if state in _SKIPPED else _jobs(batch_id, after, most, state)
        found = [row for query in queries for row in fetch(connection, query.where(*_named(Job, text)))]
        verdicts = verdicts_of(connection, keyring, {row.customer_id for row in found if row.result})
        rows = [replace(_of_job(row), verdict=verdict_of_row(verdicts, row.customer_id, row)) for row in found]
        if state in ("", *_SKIPPED):
            which = (*_SKIPPED.get(state, ()), *_named(SkippedLine, text))
            rows += refused_lines(connection, batch_id, *which, after=after, most=most)
    return sorted(rows, key=lambda one: one.row)[:most]


def rows_in_need(database: Database, batch_id: int, *, most: int = MOST_GROUPED) -> list[LineFacts]:
    """The first rows that need a person, in their order: held, failed, rejected."""
    with database.read() as connection:
        queries = [query for state in (JobState.HELD, JobState.FAILED) for query in _jobs(batch_id, 0, most, state)]
        rows = [_of_job(row) for query in queries for row in fetch(connection, query)]
        rows += refused_lines(connection, batch_id, *_SKIPPED[LineState.REJECTED], after=0, most=most)
    return sorted(rows, key=lambda one: one.row)[:most]


def hours_of(database: Database, batch_id: int) -> dict[str, Points]:
    """By name, how many in each hour (aware UTC): sessions issued, customers invited, calls refused, finished."""
    with database.read() as connection:
        return points_of(connection, WORK, batch_id, unit="hour")


_ROWS = sa.select(
    *(Job.row, Job.customer_id, Job.purpose, Job.leader_id, STATE.label("state"), RESULT.label("result")),
    *(ACCOUNT.label("account"), REASON.label("reason"), DETAIL.label("detail"), DUE_AT.label("due_at")),
    sa.func.coalesce(LEAD.brand, Job.brand).label("brand"),
).join(LEAD, LEAD.id == Job.leader_id, isouter=True)


def _jobs(batch_id: int, after: int, most: int, state: str) -> list[sa.Select[*tuple[Any, ...]]]:
    """Of a rare state, two queries: rows of their own, by the index, and rows that joined another list's."""
    query = _ROWS.where(of_batch(batch_id, after=after)).order_by(Job.id).limit(most)
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


def _named(table: type[Job] | type[SkippedLine], text: str) -> list[sa.ColumnElement[bool]]:
    """Only rows with `text` as their number or customer's id; empty: all."""
    by_id = table.customer_id == text
    is_row = text.isascii() and text.isdecimal() and len(text) <= 9
    return [sa.or_(table.row == int(text), by_id) if is_row else by_id] if text else []


def _of_job(row: Any) -> LineFacts:
    return made_of(LineFacts, row, state=str(state_of_line(row.state, joined=row.leader_id is not None)))


def customer_of_row(database: Database, keyring: Keyring, batch_id: int, row: int) -> Customer | None:
    """As a message is written to. None: the batch has no such row, or it was rejected. Raises keyring.CannotDecrypt,
    encrypted_values.Erased."""
    query = sa.select(*CUSTOMER).join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
    found = database.first(query.where(Job.id == job_id(batch_id, row)))
    return customer_of(keyring, found) if found is not None else None


HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class KeptBack:
    """Rows of one batch, account and channel. `is_open`: their sessions are, so that their messages alone wait; of
    these, `ending` sessions end within the hour."""

    batch_id: int
    is_paused: bool
    account: str
    channels: tuple[str, ...]
    is_open: bool
    rows: int
    ending: int


def kept_back(database: Database, *, now: datetime) -> list[KeptBack]:
    """The rows of all batches, but those without a message of ours."""
    alike = (COUNTED.batch_id, COUNTED.account, COUNTED.channel, COUNTED.state, Batch.pause_cause)
    rows = (
        sa.select(*alike, ROWS.label("rows"))
        .join(Batch, Batch.id == COUNTED.batch_id)
        .where(
            COUNTED.kind == CountOf.JOB,
            COUNTED.state.in_([state.value for state in UNSENT_JOBS]),
            COUNTED.channel != Channel.NONE.value,
            Batch.cancelled_at.is_(None),
        )
        .group_by(*alike)
        .having(ROWS > 0)
    )
    ends = (
        sa.select(Job.batch_id, Job.account, Job.channel, sa.func.count().label("rows"))
        .join(SessionRow, sa.and_(SessionRow.job_id == Job.id, SessionRow.id == Job.session_id))
        .where(
            sa.func.length(SessionRow.encrypted) > sa.literal_column("0"),  # in the words of the index
            SessionRow.expires_at.between(now, now + HOUR),
            SessionRow.state == SessionState.WAITING,
            Job.state == bulk.fixed(JobState.ISSUED),
        )
        .group_by(Job.batch_id, Job.account, Job.channel)
    )
    with database.read() as connection:
        ending = {(row.batch_id, row.account, str(row.channel)): row.rows for row in fetch(connection, ends)}
        return [_of(row, ending.get((row.batch_id, row.account, row.channel), 0)) for row in fetch(connection, rows)]


def _of(row: Any, ending: int) -> KeptBack:
    channels = tuple(map(str, invitation_channels(word_of(Channel, row.channel))))
    is_open = row.state == JobState.ISSUED
    paused = bool(row.pause_cause)
    return KeptBack(row.batch_id, paused, row.account, channels, is_open, row.rows, ending if is_open else 0)
