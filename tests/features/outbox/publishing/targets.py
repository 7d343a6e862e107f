"""Targets that record what they are given, and events to publish to them."""

from collections.abc import Callable
from datetime import timedelta

from onboarding_worker.core.database.tables import Outbox
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.features.outbox.outbox_publisher import OutboxPublisher
from onboarding_worker.features.outbox.outbox_targets import PAUSES_AFTER, OutboxTargets, observing
from onboarding_worker.features.outbox.publishers.contract import Reply

CRM = "subscriber/crm"
LONGEST = timedelta(minutes=1)
SUBSCRIPTIONS = """
[bus]
url = "amqp://127.0.0.1"
[subscribers.crm]
url = "https://crm.example.com/hooks"
keys = [{ env = "SECRET" }]
types = ["job.held", "invitation.sent"]
[retry]
first = "1 s"
most = "1 minute"
"""
DOWN = Problem(Kind.TRANSIENT, "HTTP 500")
UNREACHABLE = Problem(Kind.TRANSIENT, "connection refused or not possible", unreachable=True)


class FakeTarget:
    """Accepts events, except those of the customers in `problems`, and none while it is `down`."""

    longest = timedelta(seconds=30)

    def __init__(self, published: list | None = None, *, down: Problem | None = None, **problems: Problem) -> None:
        self.published = [] if published is None else published
        self.chunks: list[list[str]] = []
        self.down, self.problems = down, problems
        self.before_answering: Callable[[], None] = lambda: None

    def publish(self, events, *, clock, goes_on):
        self.chunks.append([event.customer_id for event in events])
        replies = []
        for event in events:
            problem = self.down or self.problems.get(event.customer_id)
            if problem is None:
                self.published.append(event)
            replies.append(Reply(event.number, clock(), problem))
            if self.down and (problem is UNREACHABLE or len(replies) == PAUSES_AFTER):
                break
        self.before_answering()
        return replies

    def close(self):
        pass

    @property
    def order(self) -> list[tuple[str, str]]:
        return [(event.customer_id, event.kind) for event in self.published]


def targets_of(world):
    return OutboxTargets(world.parts.settings, world.parts.database, world.clock)


def happen(world, happened, *customers, account="kyc"):
    """Write this event of each of these customers, in a transaction for each."""
    for customer in customers:
        with world.parts.database.write() as connection:
            data = {"customer_id": customer, "account": account, "job_id": 1}
            observing(world.parts.settings).write(connection, happened, [data], now=world.clock())


def publisher(world, **targets):
    return OutboxPublisher(targets_of(world), {"bus": FakeTarget(), CRM: FakeTarget()} | targets, jitter=lambda: 1.0)


def left(world, target="bus"):
    return [(row.customer_id, row.kind) for row in world.rows(Outbox, target=target)]
