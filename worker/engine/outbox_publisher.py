"""Tells others what has happened: the outbox's rows, chunk by chunk, to one target at a time. At least once, in order.

Blocks, and knows no loop: whoever calls it gives it a thread, so that a target that hangs holds up nobody else.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from worker.domain.events.published import OutgoingEvent
from worker.domain.limits.budgets import Lesson, grant
from worker.domain.model.endings import Kind
from worker.engine.outbox_targets import OutboxTargets, TargetPolicy
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.publishers.contract import Reply, Target
from worker.store.limits import budgets
from worker.store.outbox.relay import (
    Later,
    NotOurConnection,
    Transaction,
    alone,
    next_events,
    sessions_are_ours,
    settle,
)

log = logging.getLogger(__name__)
# Events taken in one transaction, and so at most told twice when the process dies before they are removed.
CHUNK = 200


class OutboxPublisher:
    """Tells the targets of one process. Safe for threads: a target that is being told is not told beside it."""

    def __init__(
        self,
        outbox: OutboxTargets,
        targets: Mapping[str, Target],
        *,
        stopping: Callable[[], bool] = lambda: False,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`stopping` says that the process is to end: no more is told then, and what hangs is let go of."""
        self._database, self._clock = outbox.database, outbox.clock
        self._targets = targets
        self._stopping = stopping
        self._jitter = jitter
        self._policies = {name: outbox.policies[name] for name in targets}
        self._at_it = {name: threading.Lock() for name in targets}
        self._shared = Outage(log)
        self._looking = threading.Lock()
        self._sessions_are_ours = False
        self._outages = {name: Outage(log, logging.WARNING) for name in targets}

    @property
    def names(self) -> list[str]:
        return list(self._targets)

    def publish(self, name: str, *, longest: timedelta) -> bool:
        """Tell this target what is due by now; whether there was more when the time was up.

        Returns at once when this process, or another, is at it already. Takes longer than `longest` by one chunk.
        Raises sqlalchemy.exc.OperationalError when the database is away.
        """
        if name not in self._targets:
            log.warning("a wake-up for %s, which this configuration does not have", name)
            return False
        if not self._at_it[name].acquire(blocking=False):
            return False
        try:
            self._look_at_the_sessions()
            target = self._targets[name]
            with alone(self._database, name, silence=target.longest) as transaction:
                return transaction is not None and self._publish(name, target, transaction, longest)
        except NotOurConnection as error:
            self._shared.lasts(f"nobody is told what happens: {error}", monotonic())
            return False
        finally:
            self._at_it[name].release()

    def _look_at_the_sessions(self) -> None:
        """Once, before anybody is told. Raises NotOurConnection."""
        with self._looking:
            self._sessions_are_ours = self._sessions_are_ours or sessions_are_ours(self._database)
        if not self._sessions_are_ours:
            raise NotOurConnection

    def _publish(self, name: str, target: Target, transaction: Transaction, longest: timedelta) -> bool:
        until, since = monotonic() + longest.total_seconds(), self._clock()
        while not self._stopping():
            # What happens meanwhile waits for the next bell: to go on with it would be a chunk of a few rows, and two
            # transactions, again and again for as long as a batch is worked.
            events = self._next(name, transaction, since)
            if not events:
                return False
            if monotonic() >= until:
                return True
            # Whoever was stopped for so long that the database took him for gone must tell nothing more of this chunk:
            # another process may be at it.
            chunk_until = monotonic() + target.longest.total_seconds()
            replies = target.publish(
                events,
                clock=self._clock,
                goes_on=lambda chunk_until=chunk_until: not self._stopping() and monotonic() < chunk_until,  # type: ignore[misc]
            )
            if not replies:
                return False  # it was told to end
            self._settle(name, events, replies, transaction)
        return False

    def _next(self, name: str, transaction: Transaction, due_at: datetime) -> list[OutgoingEvent]:
        rule, now = self._policies[name].rule, self._clock()
        with transaction() as connection:
            state = budgets.read(connection, name)
            granted = grant(state, rule, most=CHUNK, now=now, horizon=timedelta(0), probe_for=timedelta(0))
            return next_events(connection, name, most=granted.slots.count, now=due_at) if granted.slots.count else []

    def _settle(
        self, name: str, events: Sequence[OutgoingEvent], replies: Sequence[Reply], transaction: Transaction
    ) -> None:
        policy, now = self._policies[name], self._clock()
        told = {event.number: event for event in events}
        taken = [reply.number for reply in replies if reply.problem is None]
        later = [self._later(policy, told[reply.number], reply, now) for reply in replies if reply.problem is not None]
        with transaction() as connection:
            settle(connection, policy.rule, accepted=taken, later=later, lessons=map(_lesson, replies), now=now)
        given_up = [item for item in later if item.due_at is None]
        if given_up:
            log.warning(
                "%s: %d events are given up, the last with %s; `onboard outbox list` has them",
                name,
                len(given_up),
                given_up[-1].detail,
            )
        if taken:
            log.info("%s: %d events were taken", name, len(taken))
            self._outages[name].over(f"{name}: events are taken again")
        elif later and not given_up:
            self._outages[name].lasts(f"{name}: events wait for it: {later[0].detail}", monotonic())

    def _later(self, policy: TargetPolicy, event: OutgoingEvent, reply: Reply, now: datetime) -> Later:
        problem = reply.problem
        assert problem is not None  # noqa: S101 -- for mypy
        tried_for = now - event.since
        if problem.kind is Kind.BAD_INPUT:
            return Later(event.number, None, now, problem.detail)
        if policy.give_up is not None and tried_for >= policy.give_up:
            return Later(event.number, None, now, f"not taken for {tried_for.days} days: {problem.detail}")
        # Where it is the target that is to be left alone, its pause decides when the next one goes.
        waits = problem.unreachable or problem.kind is Kind.RATE_LIMITED
        wait = timedelta(0) if waits else policy.rule.retry.ceiling(event.attempts + 1) * self._jitter()
        return Later(event.number, now + wait, event.since, problem.detail)

    def close(self) -> None:
        for target in self._targets.values():
            target.close()


def _lesson(reply: Reply) -> Lesson:
    problem = reply.problem
    if problem is None:
        return Lesson(reply.began_at)
    return Lesson(reply.began_at, problem.kind, problem.detail, problem.retry_after, problem.unreachable)
