"""What a batch has cost, and when its rows moved on: sums over its calls and messages, for the report page.

Nothing is kept for them: a report is read rarely, and reads each row once anyway.
"""

from dataclasses import dataclass, field

import sqlalchemy as sa

from worker.core.database.database import Database, fetch
from worker.core.database.job_ids import of_batch
from worker.core.database.tables import Attempt, InvitationRow, Job
from worker.core.lifecycle.session_updates import Result
from worker.core.model.reasons import Reason
from worker.reporting.store.ledger import COST_NOTHING
from worker.reporting.store.series import PROGRESS, Points, points_of


@dataclass
class RouteFacts:
    """What the rows of one route have used. `calls` by account: those that cost a credit, or may have. `messages` by
    channel: those that left; `charged`: as how many, where a text is charged by its segments."""

    calls: dict[str, int] = field(default_factory=dict)
    messages: dict[str, int] = field(default_factory=dict)
    charged: dict[str, int] = field(default_factory=dict)
    customers: int = 0
    verified: int = 0


@dataclass
class Spending:
    """By route, in words. `series`: by name, the numbers of each minute in which something happened, in order."""

    routes: dict[str, RouteFacts] = field(default_factory=dict)
    series: dict[str, Points] = field(default_factory=dict)


class SpendingFacts:
    """Reads what a batch has cost. Rows that joined a job of another list cost nothing here."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, batch_id: int) -> Spending:
        spending = Spending()
        with self._database.read() as connection:
            given = {"batch": batch_id}
            for row in fetch(connection, _CUSTOMERS, given):
                facts = spending.routes.setdefault(row.route, RouteFacts())
                facts.customers += row.number
                facts.verified += row.number if row.result == Result.APPROVED else 0
            for row in fetch(connection, _CALLS, given):
                spending.routes.setdefault(row.route, RouteFacts()).calls[row.account] = row.number
            for row in fetch(connection, _MESSAGES, given):
                facts = spending.routes.setdefault(row.route, RouteFacts())
                facts.messages[row.channel], facts.charged[row.channel] = row.number, row.charged
            spending.series = points_of(connection, PROGRESS, batch_id, unit="minute")
        return spending


_NUMBER = sa.func.count().label("number")
_OF_THE_BATCH = of_batch(sa.bindparam("batch", type_=Job.id.type))
_CUSTOMERS = (
    sa.select(Job.route, Job.result, _NUMBER)
    .where(_OF_THE_BATCH, Job.joins.is_(None))
    .group_by(Job.route, Job.result)
    .order_by(Job.route)
)
_CALLS = (
    sa.select(Job.route, Attempt.account, _NUMBER)
    .join(Attempt, Attempt.job_id == Job.id)
    .where(
        _OF_THE_BATCH,
        Attempt.invitation_id.is_(None),
        Attempt.reconciles.is_(None),
        Attempt.closed_at.is_not(None),
        Attempt.outcome.not_in(COST_NOTHING),
    )
    .group_by(Job.route, Attempt.account)
    .order_by(Job.route, Attempt.account)
)
_MESSAGES = (
    sa.select(Job.route, InvitationRow.channel, _NUMBER, sa.func.sum(InvitationRow.segments).label("charged"))
    .join(InvitationRow, InvitationRow.job_id == Job.id)
    .where(_OF_THE_BATCH, InvitationRow.sent_at.is_not(None), InvitationRow.reason != Reason.SENT_BY_PROVIDER)
    .group_by(Job.route, InvitationRow.channel)
    .order_by(Job.route, InvitationRow.channel)
)
