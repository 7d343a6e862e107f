"""What a scrape reads from the database: kept counts, first rows of indexes, and small tables. Nothing is counted row
by row, so the cost does not grow with the rows that there are."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.outages import CANCELLED
from onboarding_worker.core.database.tables import InvitationRow, Job, Outbox, Permit, ProcessRow, Timer, Webhook
from onboarding_worker.core.model.metrics import Metric, Series
from onboarding_worker.features.metrics import gauges
from onboarding_worker.features.metrics.gauges import Values
from onboarding_worker.features.metrics.store import metric_counts
from onboarding_worker.reporting.store.counting import COUNTED, ROWS, first_due
from onboarding_worker.reporting.store.processes import BEAT, GONE_AFTER, SWEEP
from onboarding_worker.reporting.store.waiting import to_check
from onboarding_worker.settings.policies import BudgetRules

# A scrape must not be what makes a slow database slower.
MOST_TIME = timedelta(seconds=3)


def read(
    database: Database, rules: BudgetRules, targets: Collection[str], *, now: datetime
) -> tuple[dict[Metric, Values], dict[Series, float]]:
    """The values of each metric that is stored, and the counts of all processes. Raises
    sqlalchemy.exc.OperationalError, also where it takes too long."""
    age = partial(seconds, until=now)
    with _not_for_long(), database.read() as connection:
        if not database.is_sqlite:
            milliseconds = int(MOST_TIME / timedelta(milliseconds=1))
            connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")
        ages = {name: {(): age(at)} for name, at in connection.execute(sa.select(Timer.name, Timer.at))}
        permits = dict(connection.execute(_PERMITS.where(Permit.until > now)).all())
        given_up = dict(connection.execute(_GIVEN_UP).all())
        processes = connection.execute(_PROCESSES.where(ProcessRow.seen_at > now - GONE_AFTER))
        due = {
            ("issue", name): first_due(connection, Job, Job.account == name, Job.leader_id.is_(None), now=now)
            for name in rules.accounts
        }
        due |= {
            ("invite", name): first_due(connection, InvitationRow, InvitationRow.channel == name, now=now)
            for name in rules.channels
        }
        values = rows_of(fetch(connection, _COUNTED), rules)
        values |= {
            gauges.OLDEST_DUE: {labels: age(at) for labels, at in due.items()},
            gauges.PERMITS: {(name,): float(permits.get(rule.name, 0)) for name, rule in rules.all().items()},
            gauges.PROCESSES: {(kind,): float(number) for kind, number in processes},
            gauges.BEAT_AGE: ages.get(BEAT, {}),
            gauges.SWEEP_AGE: ages.get(SWEEP, {}),
            gauges.OUTBOX_AGE: {
                (target,): age(connection.execute(_OUTBOX, {"target": target}).scalar()) for target in targets
            },
            gauges.GIVEN_UP: {(target,): float(given_up.get(target, 0)) for target in targets},
            gauges.WEBHOOKS_AGE: {(): age(connection.execute(_WEBHOOKS, {"now": now}).scalar())},
            gauges.WEBHOOKS_TO_CHECK: {(): float(to_check(connection))},
        }
        return values, metric_counts.all_counts(connection)


def rows_of(counted: Iterable[Any], rules: BudgetRules) -> dict[Metric, Values]:
    """The metrics of jobs and messages, of rows of kept counts."""
    found = {
        metric: Counter[tuple[str, ...]]()
        for metric in (gauges.JOBS, gauges.JOBS_WAITING, gauges.NOT_CONFIGURED, gauges.FIRST_MESSAGES)
    }
    found[gauges.JOBS_WAITING].update({(name,): 0 for name in rules.accounts})
    found[gauges.NOT_CONFIGURED].update({(): 0})
    for row in counted:
        if row.kind == tally.CountOf.JOB:
            found[gauges.JOBS][row.state,] += row.rows
            waits, is_here = row.state in ("waiting", "working"), row.account in rules.accounts
        else:
            found[gauges.FIRST_MESSAGES][row.channel, row.state] += row.rows
            waits, is_here = row.state == "waiting", row.channel in rules.channels
        if waits and not is_here:
            found[gauges.NOT_CONFIGURED][()] += row.rows
        elif waits and row.kind == tally.CountOf.JOB:
            found[gauges.JOBS_WAITING][row.account,] += row.rows
    return {metric: {labels: float(rows) for labels, rows in values.items()} for metric, values in found.items()}


def seconds(since: datetime | None, until: datetime | None) -> float:
    return max((until - since).total_seconds(), 0.0) if since is not None and until is not None else 0.0


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
