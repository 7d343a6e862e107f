"""One account as the database knows it: its rows that are due, its budget, and the permits of its dispatchers.

The worker's own pure functions decide; here is only what they are asked, in the order of `store.limits.claims`.
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from benchmarks.scaling.machines import LockedRow
from worker.domain.limits.budgets import BudgetRule, BudgetState, after_claim, after_release, grant
from worker.domain.limits.concurrency import ASK_AGAIN, MOST_PER_PERMIT, RENEW_AFTER, Held, Share, share
from worker.domain.limits.event_share import share_out
from worker.engine.dispatch.headroom import EVENTS_AHEAD
from worker.store.limits.claims import Room

LEASE = timedelta(seconds=60)


@dataclass(frozen=True)
class Granted:
    """What a claim brings: so many rows, the slots of their calls (none without a limit), and when to claim again."""

    rows: int = 0
    slots: tuple[datetime, ...] = ()
    again_at: datetime | None = None


@dataclass
class Account:
    """`due`: rows that no dispatcher has. `left`: rows whose result is not stored. `row`: the budget's.

    `horizon` replaces the dispatchers' own, whether one of them works for the account or many.
    """

    rule: BudgetRule
    due: int
    chance: random.Random
    horizon: timedelta | None = None
    left: int = field(init=False)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    row: LockedRow = field(default_factory=LockedRow)
    state: BudgetState = field(default_factory=BudgetState)
    held: dict[str, Held] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.left = self.due

    @property
    def is_limited(self) -> bool:
        return bool(self.rule.limits)

    def share_of(self, owner: str, busy: int, now: datetime) -> tuple[Share, bool]:
        """The owner's permits, and whether it holds them already and need not renew them."""
        granted = share(self.rule.concurrency, self.held.values(), owner, busy=busy, now=now)
        mine = self.held.get(owner)
        return granted, mine is not None and mine.permits == granted.keep and mine.until - now > LEASE - RENEW_AFTER

    def keep(self, owner: str, granted: Share, now: datetime) -> None:
        self.held[owner] = Held(owner, granted.keep, now + LEASE)

    def seen(self, asked: Room, permits: Share, now: datetime) -> int:
        """How many rows a claim leases by what it sees without a lock. Under the lock there may be fewer slots."""
        due, state, chance = self.due, self.state, self.chance.getstate()
        rows = self.claim(asked, permits, now).rows
        self.due, self.state = due, state
        self.chance.setstate(chance)
        return rows

    def claim(self, asked: Room, permits: Share, now: datetime) -> Granted:
        """Lease due rows and reserve their slots. `now`: when the transaction began, as in the store."""
        if permits.use < max(asked.busy, 1):
            return Granted(again_at=now + ASK_AGAIN)
        horizon = max(self.horizon or asked.horizon, 2 * asked.lead)
        room = MOST_PER_PERMIT * permits.use
        most, events = min(asked.rows, room), min(asked.events, room)
        granted = grant(
            self.state,
            self.rule,
            most=max(most, events),
            now=now,
            horizon=horizon + EVENTS_AHEAD,
            lead=asked.lead,
            shared=not permits.alone,
        )
        slots = granted.slots
        if not slots.count:
            return Granted(again_at=granted.again_at)
        shared = share_out(
            slots.count,
            self.chance.random(),
            soon=min(slots.until(now + asked.lead + horizon), most),
            events=lambda _: (),
            batches=lambda wanted: range(min(wanted, self.due)),
        )
        rows = len(shared.rows)
        self.due -= rows
        self.state = after_claim(self.state, self.rule, granted, rows, now=now, probe_for=LEASE)
        again_at = None
        if shared.more:
            again_at = slots.again_at(rows, horizon=horizon, now=now + asked.lead) - asked.lead
            again_at = again_at if slots.interval else now
        reserved = tuple(slots.at(index) for index in range(rows)) if slots.interval else ()
        return Granted(rows, reserved, again_at)

    def release_slots(self, slots: Sequence[datetime]) -> None:
        """Free slots in which no call was made."""
        if slots:
            self.state = after_release(self.state, self.rule, slots)

    def stored(self, rows: int) -> None:
        """The results of these rows are in the database."""
        self.left -= rows
        if not self.left:
            self.finished.set()

    def leave_out(self, rows: int) -> None:
        """Take so many rows that are due out of the list."""
        self.due -= rows
        self.left -= rows

    def release(self, rows: int) -> None:
        """These rows are due again."""
        self.due += rows
