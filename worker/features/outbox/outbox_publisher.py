"""Publishes the outbox's events, chunk by chunk, to one target at a time. At least once, in each customer's order.

It blocks, and knows no loop: the caller gives it a thread for each target, so that a target that hangs delays no other.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from worker.core.foundation.clock import monotonic
from worker.core.foundation.logs import about
from worker.core.foundation.notation import show_duration
from worker.core.foundation.outage_log import Outage
from worker.core.limits.budgets import BudgetRule
from worker.core.limits.call_outcomes import CallOutcome
from worker.core.model.endings import Kind, Problem
from worker.core.model.metrics import PUBLISHED, Meters
from worker.core.model.wakeups import NAME_UNKNOWN
from worker.events.cloudevents import BUS, OutgoingEvent
from worker.features.outbox.outbox_targets import GIVE_UP, OutboxTargets
from worker.features.outbox.publishers.contract import GoesOn, Reply, Target
from worker.features.outbox.store.relay import Later, Publishing, SessionNotKept, keeps_its_session, publishing_lock

log = logging.getLogger(__name__)
# Events in one chunk: at most so many are published twice if the process dies before they are removed.
CHUNK = 200


class OutboxPublisher:
    """Publishes to the targets of one process. Safe for threads: one thread at a time publishes to a target."""

    def __init__(
        self,
        outbox: OutboxTargets,
        targets: Mapping[str, Target],
        *,
        stopping: Callable[[], bool] = lambda: False,
        jitter: Callable[[], float] = random.random,
        meters: Meters | None = None,
    ) -> None:
        """`stopping` returns True when the process is to end: no more is published then, and calls that hang are
        dropped."""
        self._database, self._clock = outbox.database, outbox.clock
        self._targets, self.names = targets, list(targets)
        self._stopping = stopping
        self._jitter = jitter
        self._meters = meters or Meters()
        self._rules = {name: outbox.rules[name] for name in targets}
        self._publishing = {name: threading.Lock() for name in targets}
        self._shared = Outage(log)
        self._unknown = Outage(log, logging.WARNING)
        self._checking = threading.Lock()
        self._keeps_its_session = False
        self._outages = {name: Outage(log, logging.WARNING) for name in targets}

    def publish(self, name: str, *, longest: timedelta) -> bool:
        """Publish to this target what is due by now. Returns whether more was due when the time was up.

        Returns at once when this process, or another, is publishing to it already. May take one chunk longer than
        `longest`. Raises sqlalchemy.exc.OperationalError when the database cannot be used.
        """
        if name not in self._targets:
            self._unknown.lasts(NAME_UNKNOWN, monotonic())
            return False
        if not self._publishing[name].acquire(blocking=False):
            return False
        try:
            with self._checking:  # once, before the first event is published
                self._keeps_its_session = self._keeps_its_session or keeps_its_session(self._database)
            if not self._keeps_its_session:
                raise SessionNotKept
            target = self._targets[name]
            with about(target=name), publishing_lock(self._database, name, silence=target.longest) as publishing:
                return publishing is not None and self._publish(name, target, publishing, longest)
        except SessionNotKept as error:
            self._shared.lasts(f"nothing is published: {error}", monotonic())
            return False
        finally:
            self._publishing[name].release()

    def _publish(self, name: str, target: Target, publishing: Publishing, longest: timedelta) -> bool:
        # Events that happen meanwhile wait for the next wake-up: otherwise there were chunks of a few rows, and a
        # transaction for each, again and again for as long as a batch is worked.
        until, since = monotonic() + longest.total_seconds(), self._clock()
        rule = self._rules[name]
        events = publishing.settle(rule, most=CHUNK, due_at=since, now=self._clock())
        while events and not self._stopping():
            if monotonic() >= until:
                return True
            # A process that was suspended for so long that the database ended its session must publish nothing more of
            # this chunk: another process may be publishing it.
            chunk_until = monotonic() + target.longest.total_seconds()
            replies = self._published(
                name,
                target,
                events,
                lambda chunk_until=chunk_until: not self._stopping() and monotonic() < chunk_until,  # type: ignore[misc]
            )
            if not replies:
                return False  # the process is stopping
            events = self._settle(name, events, replies, publishing, due_at=since)
        return False

    def _published(self, name: str, target: Target, events: Sequence[OutgoingEvent], goes_on: GoesOn) -> list[Reply]:
        """Publish these events. An event that raises by itself is given up, and the others are published.

        Some events may be published twice then. If each of several events raises, none of them is to blame: raises.
        """
        try:
            return target.publish(events, clock=self._clock, goes_on=goes_on)
        except Exception as error:
            failed: Exception = error
        replies: list[Reply] = []
        bad = 0
        for event in events:
            try:
                replies += target.publish([event], clock=self._clock, goes_on=goes_on)
            except Exception as error:
                bad += 1
                why = Problem(Kind.BAD_INPUT, f"publishing it ended with {type(error).__name__}")
                replies.append(Reply(event.number, self._clock(), why))
        if 1 < bad == len(events):
            raise failed
        kind = type(failed).__name__
        if bad:
            log.error("%s: %d events cannot be published, each raises: %s", name, bad, kind)
        else:
            words = "%s: %d events cannot be published together (%s); each was published alone"
            log.error(words, name, len(events), kind)
        return replies

    def _settle(
        self,
        name: str,
        events: Sequence[OutgoingEvent],
        replies: Sequence[Reply],
        publishing: Publishing,
        *,
        due_at: datetime,
    ) -> list[OutgoingEvent]:
        """Write what became of a chunk. Returns the next one, of events that were due at `due_at`."""
        rule, now = self._rules[name], self._clock()
        by_number = {event.number: event for event in events}
        accepted = [reply.number for reply in replies if reply.problem is None]
        later = [
            self._later(rule, by_number[reply.number], reply, now) for reply in replies if reply.problem is not None
        ]
        call_outcomes = [CallOutcome(reply.began_at, reply.problem) for reply in replies]
        chunk = publishing.settle(
            rule, accepted=accepted, later=later, call_outcomes=call_outcomes, most=CHUNK, due_at=due_at, now=now
        )
        given_up = [item for item in later if item.due_at is None]
        waiting = len(later) - len(given_up)
        for outcome, number in (("accepted", len(accepted)), ("later", waiting), ("given_up", len(given_up))):
            if number:
                self._meters.add(PUBLISHED, name, outcome, amount=number)
        if given_up:
            log.warning(
                "%s: %d events are given up, the last with %s; see `onboard events outgoing list`",
                name,
                len(given_up),
                given_up[-1].detail,
            )
        if accepted:
            log.info("%s: %d events published", name, len(accepted))
            self._outages[name].over(f"{name}: events are accepted again")
        elif later and not given_up:
            self._outages[name].lasts(f"{name}: events wait for it", monotonic(), why=later[0].detail)
        return chunk

    def _later(self, rule: BudgetRule, event: OutgoingEvent, reply: Reply, now: datetime) -> Later:
        problem = reply.problem
        assert problem is not None  # noqa: S101 -- for mypy
        tried_for = now - event.since
        if problem.kind is Kind.BAD_INPUT:
            return Later(event.number, None, now, problem.detail)
        if rule.name != BUS and tried_for >= GIVE_UP:
            return Later(event.number, None, now, f"not accepted for {show_duration(GIVE_UP)}: {problem.detail}")
        # If the target as a whole is to be left alone, its pause decides when the next event goes.
        waits = problem.unreachable or problem.kind is Kind.RATE_LIMITED
        wait = timedelta(0) if waits else rule.retry.ceiling(event.attempts + 1) * self._jitter()
        return Later(event.number, now + wait, event.since, problem.detail)

    def close(self) -> None:
        for target in self._targets.values():
            target.close()
