"""Publishes the outbox's events, chunk by chunk, to one target at a time: in `run` and `up` by threads, in workers by
wake-ups of the queue `tell`. At least once, in each customer's order. And when those are removed that were given up, or
whose target is not configured any more.

The publisher blocks, and knows no loop: the caller gives it a thread for each target, so that a target that hangs
delays no other.
"""

import logging
import random
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta

import sqlalchemy as sa

from onboarding_worker.core.database.outages import reason
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.core.foundation.logs import about
from onboarding_worker.core.foundation.notation import counted, show_duration
from onboarding_worker.core.foundation.outage_log import Outage
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.metrics import PUBLISHED, Meters
from onboarding_worker.core.model.wakeups import NAME_UNKNOWN
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.call_outcomes import CallOutcome
from onboarding_worker.events.cloudevents import BUS, SUBSCRIBER, OutgoingEvent
from onboarding_worker.features.outbox.outbox_targets import GIVE_UP, OutboxTargets, target_rules, unpublished_in_words
from onboarding_worker.features.outbox.publishers.contract import Reply, Target
from onboarding_worker.features.outbox.section import Subscriber
from onboarding_worker.features.outbox.store import relay
from onboarding_worker.reporting.store.look import Looked
from onboarding_worker.settings.model import Settings
from onboarding_worker.wiring.background import Ticks, Work, Working
from onboarding_worker.wiring.container import Parts

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
        """Publish to this target what is due by now. Returns whether more was due when the time was up. Returns at once
        when this process, or another, is publishing to it already. May take one chunk longer than `longest`. Raises
        sqlalchemy.exc.OperationalError when the database cannot be used."""
        if name not in self._targets:
            self._unknown.lasts(NAME_UNKNOWN, monotonic())
            return False
        if not self._publishing[name].acquire(blocking=False):
            return False
        try:
            with self._checking:  # once, before the first event is published
                self._keeps_its_session = self._keeps_its_session or relay.keeps_its_session(self._database)
            if not self._keeps_its_session:
                raise relay.SessionNotKept
            target = self._targets[name]
            with about(target=name), relay.publishing_lock(self._database, name, silence=target.longest) as publishing:
                return publishing is not None and self._publish(name, target, publishing, longest)
        except relay.SessionNotKept as error:
            self._shared.lasts(f"nothing is published: {error}", monotonic())
            return False
        finally:
            self._publishing[name].release()

    def _publish(self, name: str, target: Target, publishing: relay.Publishing, longest: timedelta) -> bool:
        # Events that happen meanwhile wait for the next wake-up: otherwise there were chunks of a few rows, and a
        # transaction for each, again and again for as long as a batch is worked.
        until, since = monotonic() + longest.total_seconds(), self._clock()
        rule = self._rules[name]
        events = relay.settle(publishing, rule, most=CHUNK, due_at=since, now=self._clock())
        while events and not self._stopping():
            if monotonic() >= until:
                return True
            replies = self._published(name, target, events)
            if not replies:
                return False  # the process is stopping
            events = self._settle(name, events, replies, publishing, due_at=since)
        return False

    def _published(self, name: str, target: Target, events: Sequence[OutgoingEvent]) -> list[Reply]:
        """Publish these events. An event that raises by itself is given up, and the others are published. Some events
        may be published twice then. If each of several events raises, none of them is to blame: raises."""
        # A process that was suspended for so long that the database ended its session must publish nothing more of this
        # chunk: another process may be publishing it.
        until = monotonic() + target.longest.total_seconds()

        def goes_on() -> bool:
            return not self._stopping() and monotonic() < until

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
        words = "%s: %d events cannot be published, each raises: %s"
        if not bad:
            words = "%s: %d events cannot be published together (%s); each was published alone"
        log.error(words, name, bad or len(events), type(failed).__name__)
        return replies

    def _settle(
        self,
        name: str,
        events: Sequence[OutgoingEvent],
        replies: Sequence[Reply],
        publishing: relay.Publishing,
        *,
        due_at: datetime,
    ) -> list[OutgoingEvent]:
        """Write what became of a chunk. Returns the next one, of events that were due at `due_at`."""
        rule, now = self._rules[name], self._clock()
        by_number = {event.number: event for event in events}
        accepted = [reply.number for reply in replies if reply.problem is None]
        later = [
            self._later(rule, by_number[one.number], one.problem, now) for one in replies if one.problem is not None
        ]
        chunk = relay.settle(
            publishing,
            rule,
            accepted=accepted,
            later=later,
            call_outcomes=[CallOutcome(reply.began_at, reply.problem) for reply in replies],
            most=CHUNK,
            due_at=due_at,
            now=now,
        )
        given_up = [item for item in later if item.new_due_at is None]
        waiting = len(later) - len(given_up)
        for outcome, number in (("accepted", len(accepted)), ("later", waiting), ("given_up", len(given_up))):
            if number:
                self._meters.add(PUBLISHED, name, outcome, amount=number)
        if given_up:
            words = "%s: %d events are given up, the last with %s; see `onboard events outgoing list`"
            log.warning(words, name, len(given_up), given_up[-1].new_detail)
        if accepted:
            log.info("%s: %d events published", name, len(accepted))
            self._outages[name].over(f"{name}: events are accepted again")
        elif later and not given_up:
            self._outages[name].lasts(f"{name}: events wait for it", monotonic(), why=later[0].new_detail)
        return chunk

    def _later(self, rule: BudgetRule, event: OutgoingEvent, problem: Problem, now: datetime) -> relay.Later:
        detail = problem.detail[:DETAIL_LENGTH]
        if problem.kind is Kind.BAD_INPUT:
            return relay.Later(event.number, None, now, detail)
        if rule.name != BUS and now - event.since >= GIVE_UP:
            late = f"not accepted for {show_duration(GIVE_UP)}: {detail}"
            return relay.Later(event.number, None, now, late[:DETAIL_LENGTH])
        # If the target as a whole is to be left alone, its pause decides when the next event goes.
        waits = problem.unreachable or problem.kind is Kind.RATE_LIMITED
        wait = timedelta(0) if waits else rule.retry.ceiling(event.attempts + 1) * self._jitter()
        return relay.Later(event.number, now + wait, event.since, detail)

    def close(self) -> None:
        for target in self._targets.values():
            target.close()


LOOK_SECONDS = 60.0
KEPT_FOR = timedelta(days=30)  # events that were given up can be put back for so long
# How long a process rests after it found nothing to remove: a look costs little, and nothing waits for it.
REST_SECONDS = 600.0
# A run that ends publishes what it can within this time; the next run publishes the rest.
LAST_PUBLISHING = timedelta(seconds=5)
LONGEST = timedelta(minutes=1)
# The kinds of steps that need the database.
LOOKING, PUBLISHING = "looking", "publishing"
BACK = "the database is back: events are published"


class OutboxThreads(Working):
    """A thread for each target: a target that hangs delays no other."""

    def __init__(self, outbox: OutboxTargets, targets: Mapping[str, Target], *, meters: Meters | None = None) -> None:
        self._outbox = outbox
        self._ending = False
        self._publisher = OutboxPublisher(outbox, targets, stopping=lambda: self._ending, meters=meters)
        self._going: dict[str, Future[None]] = {}
        self._database = Outage(log, logging.WARNING)
        self._threads = ThreadPoolExecutor(max_workers=max(1, len(targets)), thread_name_prefix="publish")

    @classmethod
    def of(cls, parts: Parts) -> "OutboxThreads":
        outbox = OutboxTargets(parts.settings, parts.database, parts.clock)
        return cls(outbox, build_targets(parts.settings), meters=parts.meters)

    def step(self) -> None:
        """Begin to publish what is due."""
        self._begin()

    def _begin(self) -> bool:
        """Whether a thread publishes now."""
        if not self._publisher.names:
            return False
        try:
            for name in self._outbox.due():
                going = self._going.get(name)
                if going is None or going.done():
                    self._going[name] = self._threads.submit(self._publish, name)
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, LOOKING)
            return False
        self._database.over(BACK, monotonic(), step=LOOKING)
        return any(not going.done() for going in self._going.values())

    def _publish(self, name: str) -> None:
        try:
            self._publisher.publish(name, longest=LONGEST)
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, PUBLISHING)
        except Exception as error:
            log.error("%s: publishing ended with %s; the next tick tries again", name, type(error).__name__)
        else:
            self._database.over(BACK, monotonic(), step=PUBLISHING)

    def _log_unreachable(self, error: sa.exc.OperationalError, step: str) -> None:
        what = "the database cannot be used, no events are published"
        self._database.lasts(what, monotonic(), why=reason(error), step=step)

    def finish(self, within: timedelta = LAST_PUBLISHING) -> str:
        """Publish what is possible within this time. Does not wait for a paused target."""
        until = monotonic() + within.total_seconds()
        while self._begin() and (left := until - monotonic()) > 0:
            # Those that have ended would end the wait at once, and the database would be asked again and again.
            if going := [one for one in self._going.values() if not one.done()]:
                wait(going, timeout=left, return_when=FIRST_COMPLETED)
        try:
            status = relay.status(self._outbox.database) if self._publisher.names else {}
        except sa.exc.OperationalError as error:
            self._log_unreachable(error, LOOKING)
            return ""
        left_over = sum(status[name][0] for name in self._publisher.names if name in status)
        words = f"{counted(left_over, 'outgoing event')} not delivered yet; `onboard events outgoing list` says why"
        return words if left_over else ""

    def close(self) -> None:
        """End publishing: open POSTs are abandoned, and the next process publishes their events again."""
        self._ending = True
        wait(self._going.values())
        self._threads.shutdown()  # no thread has work left
        self._publisher.close()


def build_targets(settings: Settings) -> dict[str, Target]:
    """The targets by the names in the outbox's rows. Opens no connection. Each kind is imported where it is configured:
    kombu and redis take longer to load than all else before the first call of `run`."""
    targets: dict[str, Target] = {}
    bus = settings.bus
    if bus is not None and bus.url.startswith("redis"):
        from onboarding_worker.features.outbox.publishers.bus import RedisStream

        targets[BUS] = RedisStream(bus.url, bus.exchange, tls=bus.protection)
    elif bus is not None:
        from onboarding_worker.features.outbox.publishers.bus import AmqpBus

        targets[BUS] = AmqpBus(bus.url, bus.exchange, declare=bus.declare, tls=bus.protection)
    for name, subscriber in settings.named(Subscriber).items():
        from onboarding_worker.features.outbox.publishers.subscriber import HttpSubscriber

        targets[f"{SUBSCRIBER}{name}"] = HttpSubscriber(subscriber.url, subscriber.keys, tls=subscriber.protection)
    return targets


class WokenPublisher:
    """Publishes to the target of each wake-up."""

    def __init__(self, parts: Parts, stopping: Callable[[], bool]) -> None:
        self._outbox = OutboxTargets(parts.settings, parts.database, parts.clock)
        targets = build_targets(parts.settings)
        self._publisher = OutboxPublisher(self._outbox, targets, stopping=stopping, meters=parts.meters)
        self._unpublished, self._looks = Outage(log, logging.WARNING), Ticks(LOOK_SECONDS)

    def due(self) -> list[str]:
        targets = self._outbox.due()
        if self._looks.begin(monotonic()):
            late = self._outbox.unpublished() if targets else []
            if late:
                words = f"{unpublished_in_words(late)}: does a worker consume the queue tell?"
                self._unpublished.lasts(words, monotonic())
            else:
                self._unpublished.over("events are published again")
        return targets

    def serve(self, name: str, *, longest: timedelta) -> bool:
        return self._publisher.publish(name, longest=longest)

    def close(self) -> None:
        self._publisher.close()


WORK = Work(OutboxThreads.of, in_run=True, woken=WokenPublisher)


def swept(parts: Parts) -> Callable[[Looked], None]:
    """Removes what is old, a chunk at each call. What is old is decided by the database's own time: nothing brings
    it back."""
    configured, ticks, more = target_rules(parts.settings), Ticks(REST_SECONDS), False

    def step(_looked: Looked) -> None:
        nonlocal more
        if not more and not ticks.begin(monotonic()):
            return
        try:
            gone = relay.remove_old(parts.database, targets=configured, before=parts.database_clock() - KEPT_FOR)
        except sa.exc.DBAPIError as error:  # nothing was changed, and nothing waits for it
            log.warning("old events: %s; trying again later", type(error.orig).__name__)
            gone = 0
        if gone:
            log.info("%d events were removed that no target accepted", gone)
        more = gone > 0

    return step
