"""What a scrape reads from the database: kept counts, first rows of indexes, and small tables. Nothing is counted row
by row, so the cost does not grow with the rows that there are."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.outages import CANCELLED
from onboarding_worker.core.database.tables import InvitationRow, Job, Outbox, Permit, ProcessRow, Timer, Webhook
from onboarding_worker.core.limits.budgets import BudgetRule
from onboarding_worker.core.model.metrics import Series
from onboarding_worker.features.metrics.store import metric_counts
from onboarding_worker.reporting.store.counting import COUNTED, ROWS, first_due
from onboarding_worker.reporting.store.processes import GONE_AFTER
from onboarding_worker.reporting.store.waiting import to_check

# A scrape must not be what makes a slow database slower.
MOST_TIME = timedelta(seconds=3)


@dataclass(frozen=True)
class Configured:
    """What the configuration names: the only values of labels, besides words of ours."""

    accounts: Mapping[str, BudgetRule]
    channels: Mapping[str, BudgetRule]
    targets: Collection[str]

    @property
    def rules(self) -> dict[str, BudgetRule]:
        return {**self.accounts, **self.channels}


@dataclass(frozen=True)
class Gauges:
    """What the database says at one moment. A time is that of the oldest row; None: there is none."""

    counts: Mapping[Series, float]
    jobs: Mapping[str, int]  # by state
    waiting: Mapping[str, int]  # by account
    messages: Mapping[tuple[str, str], int]  # by channel and state
    due_jobs: Mapping[str, datetime | None]  # by account
    due_messages: Mapping[str, datetime | None]  # by channel
    permits: Mapping[str, int]  # by budget
    processes: Mapping[str, int]  # by kind
    timers: Mapping[str, datetime]
    outbox: Mapping[str, datetime | None]  # by target
    given_up: Mapping[str, int]  # by target
    webhooks: datetime | None
    webhooks_to_check: int


def read(database: Database, configured: Configured, *, now: datetime) -> Gauges:
    """Raises sqlalchemy.exc.OperationalError, also where it takes too long."""
    with _not_for_long(), database.read() as connection:
        if not database.is_sqlite:
            milliseconds = int(MOST_TIME / timedelta(milliseconds=1))
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        counted = fetch(connection, _COUNTED)
        jobs = [row for row in counted if row.kind == tally.CountOf.JOB]
        return Gauges(
            counts=metric_counts.all_counts(connection),
            jobs=_sums((row.state, row.rows) for row in jobs),
            waiting=_sums((row.account, row.rows) for row in jobs if row.state in ("waiting", "working")),
            messages=_sums(
                ((row.channel, row.state), row.rows) for row in counted if row.kind == tally.CountOf.MESSAGE
            ),
            due_jobs={
                name: first_due(connection, Job, Job.account == name, Job.leader_id.is_(None), now=now)
                for name in configured.accounts
            },
            due_messages={
                name: first_due(connection, InvitationRow, InvitationRow.channel == name, now=now)
                for name in configured.channels
            },
            permits=_by_name(connection, _PERMITS.where(Permit.until > now)),
            processes=_by_name(connection, _PROCESSES.where(ProcessRow.seen_at > now - GONE_AFTER)),
            timers=_by_name(connection, sa.select(Timer.name, Timer.at)),
            outbox={target: connection.execute(_OUTBOX, {"target": target}).scalar() for target in configured.targets},
            given_up=_by_name(connection, _GIVEN_UP),
            webhooks=connection.execute(_WEBHOOKS, {"now": now}).scalar(),
            webhooks_to_check=to_check(connection),
        )


@contextmanager
def _not_for_long() -> Iterator[None]:
    """Names our own limit: the server's words for it are those of a limit that an operator of the server has set."""
    try:
        yield
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != CANCELLED:
            raise
        too_long = TimeoutError(f"reading them takes longer than {MOST_TIME.seconds} s")
        raise sa.exc.OperationalError(None, None, too_long, hide_parameters=True) from None


def _sums(pairs: Iterable[tuple[Any, int]]) -> dict[Any, int]:
    found: dict[Any, int] = {}
    for key, number in pairs:
        found[key] = found.get(key, 0) + number
    return found


def _by_name(connection: sa.Connection, query: sa.Select[Any, Any]) -> dict[str, Any]:
    return {row[0]: row[1] for row in connection.execute(query)}


_ALIKE = (COUNTED.kind, COUNTED.state, COUNTED.channel, COUNTED.account)
_COUNTED = (
    sa.select(*_ALIKE, ROWS.label("rows"))
    .where(COUNTED.kind.in_([tally.CountOf.JOB.value, tally.CountOf.MESSAGE.value]))
    .group_by(*_ALIKE)
    .having(ROWS > 0)
)
_PERMITS = sa.select(Permit.budget, sa.func.sum(Permit.permits)).group_by(Permit.budget)
_PROCESSES = sa.select(ProcessRow.kind, sa.func.count()).group_by(ProcessRow.kind)
# By number: the oldest event is the first that is published.
_OUTBOX = (
    sa.select(Outbox.occurred_at)
    .where(Outbox.target == sa.bindparam("target"), Outbox.due_at.is_not(None))
    .order_by(Outbox.id)
    .limit(1)
)
_GIVEN_UP = sa.select(Outbox.target, sa.func.count()).where(Outbox.due_at.is_(None)).group_by(Outbox.target)
_WEBHOOKS = (
    sa.select(Webhook.due_at)
    .where(Webhook.due_at <= sa.bindparam("now", type_=Webhook.due_at.type), Webhook.due_at.is_not(None))
    .order_by(Webhook.due_at)
    .limit(1)
)
