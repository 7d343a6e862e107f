"""Counts the rows of all batches one by one: the kept counts must say the same, whatever happened before."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.fast.tally import Alike
from onboarding_worker.core.database.tables import Attempt, Batch, BatchCount, BatchCountChange, InvitationRow, Job
from onboarding_worker.core.rules.contact import FIRST

# Made once: thousands of tests end with these statements.
_KEPT = [column.name for column in BatchCount.__table__.columns]
_COUNTS = [sa.select(*(getattr(model, name) for name in _KEPT)) for model in (BatchCount, BatchCountChange)]
_PURGED = sa.select(Batch.id).where(Batch.purged_at.is_not(None))
_JOBS = sa.select(Job.batch_id, Job.state, Job.channel, Job.account, Job.result, Job.reason, Job.session_id).where(
    Job.leader_id.is_(None)
)
_MESSAGES = sa.select(InvitationRow.batch_id, InvitationRow.state, InvitationRow.channel, InvitationRow.reason).where(
    InvitationRow.kind == FIRST
)
_CALLS = sa.select(Attempt.batch_id, Attempt.outcome, Attempt.account, Attempt.reconciles).where(
    Attempt.invitation_id.is_(None)
)


def recounted(connection: sa.Connection) -> dict[Alike, tuple[int, int]]:
    """How many rows are alike, and how many of them have a session, by looking at each row."""
    rows: Counter[Alike] = Counter()
    sessions: Counter[Alike] = Counter()
    for *job, session_id in connection.execute(_JOBS):
        alike = tally.job(*map(_plain, job))
        rows[alike] += 1
        sessions[alike] += session_id is not None
    for message in connection.execute(_MESSAGES):
        rows[tally.message(*map(_plain, message))] += 1
    for batch_id, outcome, account, reconciles in connection.execute(_CALLS):
        rows[tally.call(batch_id, outcome or "", account, look_up=reconciles is not None)] += 1
    return {alike: (number, sessions[alike]) for alike, number in rows.items()}


def kept(connection: sa.Connection) -> dict[Alike, tuple[int, int]]:
    """The same from the kept counts."""
    sums: dict[Alike, tuple[int, int]] = {}
    for counts in _COUNTS:
        for *values, rows, sessions in connection.execute(counts):
            alike = Alike(*values)
            before = sums.get(alike, (0, 0))
            sums[alike] = (before[0] + rows, before[1] + sessions)
    return {alike: numbers for alike, numbers in sums.items() if numbers != (0, 0)}


def untrue_counts(connection: sa.Connection) -> Iterator[str]:
    """A complaint for each count of a batch that differs from its rows. A purged batch keeps its totals instead."""
    purged = set(connection.execute(_PURGED).scalars())
    looked, said = recounted(connection), kept(connection)
    for alike in sorted({*said, *looked}):
        rows, counted = looked.get(alike, (0, 0)), said.get(alike, (0, 0))
        if rows != counted and alike.batch_id not in purged:
            yield f"{alike}: {counted} are kept, and {rows} are there (rows, and those with a session)"


def _plain(value: Any) -> Any:
    return value.value if hasattr(value, "value") else value


def untrue_counts_at(url: str) -> list[str]:
    """The complaints about the database at this URL."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return list(untrue_counts(connection))
    finally:
        engine.dispose()
