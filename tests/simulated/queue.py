"""A list whose sender's queue is far longer than its links live, worked in virtual time from its import to its end."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

import sqlalchemy as sa

from onboarding_testing.fakes import FakeProvider, FakeSender
from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.providers.contract import HttpAnswer
from onboarding_worker.senders.contract import MayWrite, Message, Receipt
from tests.simulated.world import World, customer

HOUR = timedelta(hours=1)
LONG_AGO = timedelta(days=365)


@dataclass(frozen=True)
class Case:
    """`every`: the sender's limit is one message in this time. `at_once`: the provider opens another session at any
    time; else only when the last session has ended."""

    rows: int
    every: timedelta
    lifetime: timedelta = HOUR
    floor: timedelta = HOUR / 2
    at_once: bool = True
    pause: tuple[timedelta, timedelta] | None = None  # (when, how long) the sender is rate-limited
    quiet: str = ""
    failing: float = 0.03  # the share of calls, and of hand-overs
    seed: int = 7

    @property
    def limit(self) -> str:
        return f"{HOUR // self.every}/hour"


@dataclass
class Outcome:
    """`left` has how long each link was still valid when its message left; `at` when that was."""

    left: list[timedelta] = field(default_factory=list)
    at: list[datetime] = field(default_factory=list)
    sessions: Counter[int] = field(default_factory=Counter)  # customers, by their number of sessions
    jobs: dict[str, int] = field(default_factory=dict)
    took: timedelta = timedelta(0)
    longest_queue: int = 0

    @property
    def bought(self) -> int:
        return sum(count * customers for count, customers in self.sessions.items())


class _Provider(FakeProvider):
    def __init__(self, case: Case) -> None:
        super().__init__(lifetime=case.lifetime)
        self._at_once = case.at_once

    def reissue_at(self, expires_at: datetime) -> datetime:
        return expires_at - LONG_AGO if self._at_once else expires_at


class _Sender(FakeSender):
    def __init__(self, case: Case, clock: Callable[[], datetime], outcome: Outcome) -> None:
        super().__init__()
        self._case, self._clock, self._outcome, self._draw = case, clock, outcome, Random(case.seed)  # noqa: S311 -- invented failures
        self._began, self._pauses = clock(), case.pause is not None

    async def send(self, message: Message, may_write: MayWrite | None = None) -> Receipt | Problem:
        if may_write is not None:
            may_write(False)
        now = self._clock()
        if self._pauses and self._case.pause and now - self._began >= self._case.pause[0]:
            self._pauses = False
            return Problem(Kind.RATE_LIMITED, "later, please", retry_after=self._case.pause[1])
        if self._draw.random() < self._case.failing:
            return Problem(Kind.TRANSIENT, "451 try again")
        assert message.valid_for is not None
        self._outcome.left.append(message.valid_for)
        self._outcome.at.append(now)
        return Receipt(f"r-{len(self._outcome.left)}")


async def lived(make: Callable[..., World], case: Case, *, within: timedelta = timedelta(days=14)) -> Outcome:
    """Work the case's list until every customer is invited, or has ended, or the time is up."""
    outcome, draw = Outcome(), Random(case.seed + 1)  # noqa: S311
    hours = f'quiet_hours = {{ email = "{case.quiet}" }}' if case.quiet else ""
    world = make(
        lambda _: HttpAnswer(500, {}) if draw.random() < case.failing else world.session(),
        sender=f'limits = ["{case.limit}"]',
        templates=hours,
    )
    world.parts.providers["kyc"] = _Provider(case)
    world.senders["email"] = _Sender(case, world.clock, outcome)
    began = world.clock()
    world.add(*(customer(f"C{number:05}") for number in range(case.rows)), floor=case.floor)
    # The freshness of an account's routes decides how long a queue may be.
    (route,) = world.parts.settings.routes
    routes = (route.model_copy(update={"freshness": case.floor}),)
    # Links here live for hours: with the usual day between two sessions, each link that aged would wait for that day.
    follow_up = world.parts.settings.follow_up.model_copy(update={"spacing": timedelta(0)})
    world.parts.settings = world.parts.settings.model_copy(update={"routes": routes, "follow_up": follow_up})
    runner = world.start()
    try:
        while (then := _next(world)) is not None and world.clock() < began + within:
            world.clock.advance(seconds=max((then - world.clock()).total_seconds(), 0.001))
            # Woken as by the sweep, without its checks: a dispatcher that is paused, or has nothing due ends at once.
            await asyncio.gather(runner.serve(WakeUp.issue("kyc")), runner.serve(WakeUp.invite("email")))
            outcome.longest_queue = max(outcome.longest_queue, _queued(world))
    finally:
        await runner.close()
    outcome.took = max(outcome.at, default=began) - began
    outcome.jobs = world.states()
    per_customer = Counter(row.customer_id for row in world.rows(SessionRow))
    outcome.sessions = Counter(per_customer.values())
    return outcome


_WAITING = InvitationRow.state == InvitationState.WAITING


def _queued(world: World) -> int:
    return int(_one(world, sa.select(sa.func.count()).where(_WAITING)))


def _next(world: World) -> datetime | None:
    """When there is something to do again, now at the earliest; None: never."""
    now = world.clock()
    jobs = _one(world, sa.select(sa.func.min(Job.due_at)).where(Job.state == JobState.WAITING))
    messages = _one(world, sa.select(sa.func.min(InvitationRow.due_at)).where(_WAITING))
    times = [] if jobs is None else [jobs]
    if messages is not None:
        budget = world.budget("sender/email")
        times.append(max(at for at in (messages, budget.next_at, budget.blocked_until) if at is not None))
    return max(min(times), now) if times else None


def _one(world: World, query: sa.Select[Any]) -> Any:
    with world.parts.database.read() as connection:
        return connection.execute(query).scalar()
