"""Workers that share a budget, and a server that enforces a limit by itself, in simulated time: minutes in no time.

The workers do what a dispatcher does (claim, open, call, flush; halt at a 429), with the same pure functions and a list
of events. A seeded generator draws how long calls take, and which calls a server refuses at any rate.
"""

import heapq
import itertools
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from onboarding_worker.core.model.endings import Kind, Problem, RetryPolicy
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, after_claim, grant
from onboarding_worker.core.rules.call_outcomes import CallOutcome, after_outcomes
from onboarding_worker.core.rules.limits import Limit

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HORIZON = timedelta(milliseconds=100)
FLUSH = timedelta(milliseconds=100)
STATEMENT = timedelta(milliseconds=2)  # the time of a transaction
LEASE = timedelta(seconds=60)


@dataclass
class Server:
    """A token bucket that holds one second's rate; `refuses` is the share that it refuses at any rate."""

    rate: float  # calls per second
    retry_after: timedelta | None = timedelta(seconds=1)
    refuses: float = 0.0
    tokens: float = -1.0
    at: datetime = START
    accepted: list[datetime] = field(default_factory=list)
    refused: list[datetime] = field(default_factory=list)

    def call(self, now: datetime, chance: float) -> bool:
        """Whether it accepts a call that comes at `now`."""
        most = max(self.rate, 1.0)
        full = most if self.tokens < 0 else self.tokens
        self.tokens = min(most, full + self.rate * (now - self.at).total_seconds())
        self.at = now
        fits = self.tokens >= 1 and chance >= self.refuses
        self.tokens -= fits
        (self.accepted if fits else self.refused).append(now)
        return fits


@dataclass
class Worker:
    permits: int
    out: int = 0
    halts: int = 0
    wants: bool = False  # to claim as soon as there is a free permit
    call_outcomes: list[CallOutcome] = field(default_factory=list)
    flushes_at: datetime | None = None


class World:
    def __init__(
        self, server: Server, *limits: str, workers: int = 3, permits: int = 50, latency: float = 0.05, seed: int = 0
    ) -> None:
        """`latency` in seconds: calls take between half and one and a half times as long."""
        self.server, self.latency = server, latency
        self.rule = BudgetRule("kyc", tuple(Limit.parse(text) for text in limits), retry=RetryPolicy())
        self.state, self.now = BudgetState(), START
        self.random = random.Random(seed)  # noqa: S311 -- a simulation that can be repeated
        self.workers = [Worker(permits) for _ in range(workers)]
        self.rates: list[tuple[datetime, float | None]] = []  # the rate found, each time that it changed
        self._order = itertools.count()
        self._events: list = []
        for worker in self.workers:
            self._at(self.now, self._claim, worker)

    def run(self, **time: float) -> None:
        until = self.now + timedelta(**time)
        while self._events and self._events[0][0] <= until:
            self.now, _, what, arguments = heapq.heappop(self._events)
            what(*arguments)
        self.now = until

    def used(self, since: datetime = START) -> float:
        """The accepted calls as a share of the calls that the server allows."""
        seconds = (self.now - since).total_seconds()
        return sum(at >= since for at in self.server.accepted) / (self.server.rate * seconds)

    def refused(self, since: datetime = START) -> float:
        """The share of the calls that the server refused."""
        refused = sum(at >= since for at in self.server.refused)
        return refused / max(refused + sum(at >= since for at in self.server.accepted), 1)

    def _at(self, when: datetime, what, *arguments) -> None:
        heapq.heappush(self._events, (when, next(self._order), what, arguments))

    def _claim(self, worker: Worker) -> None:
        free = worker.permits - worker.out
        if any(outcome.kind for outcome in worker.call_outcomes):  # the answer that made it halt is written first
            self._at(self.now + STATEMENT, self._claim, worker)
            return
        if free <= 0:
            worker.wants = True
            return
        granted = grant(self.state, self.rule, most=free, now=self.now, horizon=HORIZON)
        slots = granted.slots
        before = self.state.pace.rate
        self.state = after_claim(self.state, self.rule, granted, slots.count, now=self.now, probe_for=LEASE)
        if self.state.pace.rate != before:
            self.rates.append((self.now, self.state.pace.rate))
        worker.out += slots.count
        for index in range(slots.count):
            begins_at = max(slots.at(index), self.now + STATEMENT)
            self._at(begins_at, self._call, worker, worker.halts, granted.probe)
        again_at = granted.again_at or self.now
        self._at(max(again_at, self.now + STATEMENT), self._claim, worker)

    def _call(self, worker: Worker, halts: int, probe: bool) -> None:
        if halts != worker.halts:
            if probe:
                self.state = replace(self.state, probe_until=None)
            self._free(worker)
            return
        there = timedelta(seconds=self.latency * self.random.uniform(0.5, 1.5)) / 2
        self._at(self.now + there, self._arrive, worker, CallOutcome(self.now), there)

    def _arrive(self, worker: Worker, outcome: CallOutcome, back: timedelta) -> None:
        if not self.server.call(self.now, self.random.random()):
            outcome = outcome._replace(
                problem=Problem(Kind.RATE_LIMITED, "HTTP 429", retry_after=self.server.retry_after)
            )
        self._at(self.now + back, self._answer, worker, outcome)

    def _answer(self, worker: Worker, outcome: CallOutcome) -> None:
        worker.call_outcomes.append(outcome)
        when = self.now + (STATEMENT if outcome.kind else FLUSH)
        worker.halts += outcome.kind is not None
        if worker.flushes_at is None or when < worker.flushes_at:
            worker.flushes_at = when
            self._at(when, self._flush, worker, when)
        self._free(worker)

    def _flush(self, worker: Worker, when: datetime) -> None:
        if worker.flushes_at == when:
            call_outcomes, worker.call_outcomes, worker.flushes_at = worker.call_outcomes, [], None
            self.state = after_outcomes(self.state, self.rule, call_outcomes, now=self.now)

    def _free(self, worker: Worker) -> None:
        worker.out -= 1
        if worker.wants:
            worker.wants = False
            self._at(self.now, self._claim, worker)
