"""The way of every claim: what the budget allows, so many due rows under a lease, and slots for what passes the gates.

    budget and emergency stop → permits → lease → (the gates of the rows' kind) → reserve

Jobs and messages are claimed in this way, in one transaction. Where the account has limits, the budget's row is locked
last, by `reserve`: other workers and events wait for it no longer than they must. (A claim for events alone is short:
it locks the row first, with its first question, and waits for one answer less.) What is granted is decided again under
the lock; another transaction may have reserved slots meanwhile, and then some leased rows get none. What is asked
between lease and reserve is decided in `work.store.gates` and `messages.store.gates`.
"""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core.database.leases import Leases
from worker.core.database.priorities import BATCH, EVENT
from worker.core.limits.budgets import BudgetRule, BudgetState, Grant, credits_left, grant
from worker.core.limits.concurrency import ASK_AGAIN, MOST_PER_PERMIT, share_out
from worker.core.limits.rate_limits import Slots
from worker.core.limits.store import budgets, credits
from worker.core.limits.store.concurrency import Permits
from worker.core.messages.contact import ContactPolicy


@dataclass(frozen=True, kw_only=True)
class ClaimPolicy:
    """How the rows of one account or channel are claimed. Durations in real time; `owner`: the process."""

    rule: BudgetRule
    lease: timedelta
    owner: str
    contact: ContactPolicy
    ahead: timedelta = timedelta(0)  # added to the horizon for events, which then take the slots of batches' rows
    # From the lease's end until a call with an unknown outcome may be looked up; None: it is never looked up.
    reconcile_after: timedelta | None = None
    only_batch: int | None = None  # claim only rows of this batch; None: of all batches

    @property
    def claims_for(self) -> str:
        """The account or channel."""
        raise NotImplementedError

    @property
    def beside(self) -> Collection[str]:
        """The other budgets whose states the gates need."""
        return ()

    @property
    def permit_owner(self) -> str:
        """The owner of permits. It names the account too: several accounts of one process may share a budget."""
        return f"{self.owner} {self.claims_for}"


@dataclass(frozen=True)
class Room:
    """How much a claim may bring: so many rows, and up to `events` rows if the rest are events.

    `busy` calls are in flight. `lead`: no slot is reserved earlier than so long from now, where flushes take long; else
    zero. `horizon`: how far ahead slots are reserved; without a rate limit it says nothing.
    `for_event`: an event may be due, and nothing else is asked for. (Without it, a claim without rows asks whether
    permits are free.)
    """

    rows: int
    events: int
    busy: int = 0
    lead: timedelta = timedelta(0)
    horizon: timedelta = timedelta(0)
    for_event: bool = False


@dataclass(frozen=True)
class Reserved:
    """The earliest times of the `count` calls that may be made; no times if the account has no limit.

    `again_at`: when to claim again; None: nothing more is due, or a person must act. `spacing`: the least time between
    two calls now.
    """

    count: int
    again_at: datetime | None
    slots: Sequence[datetime] = ()
    spacing: timedelta = timedelta(0)


@dataclass(frozen=True)
class Reach:
    """Which slots a claim may reserve: of batch rows those in the `horizon` that begins `lead` from now."""

    horizon: timedelta
    lead: timedelta
    shared: bool = False  # other workers make calls of the account too, and get slots of their own

    def grant(self, policy: ClaimPolicy, state: BudgetState, most: int, *, now: datetime) -> Grant:
        """What the budget allows in this state."""
        return grant(
            state,
            policy.rule,
            most=most,
            horizon=self.horizon + policy.ahead,
            lead=self.lead,
            shared=self.shared,
            now=now,
        )


@dataclass(frozen=True)
class Leased:
    """Rows under new leases, and what the budget allows for them. `more`: more rows may be due."""

    policy: ClaimPolicy
    state: BudgetState
    is_locked: bool  # the budget's row
    granted: Grant
    reach: Reach
    rows: Sequence[sa.Row[Any]] = ()
    more: bool = False
    share: int = 0  # how many batch rows may get later slots, as events do
    permits: int | None = None  # calls that may be in flight from now on
    beside: Mapping[str, BudgetState] = field(default_factory=dict)  # the states of the policy's other budgets

    def reserve(self, connection: sa.Connection, passed: int, events: int, *, now: datetime) -> Reserved:
        """Reserve the slots of the `passed` rows, whose calls may be made, or of the first ones if there are fewer.

        The first `events` of them are events.
        """
        granted, state, rule, most = self.granted, self.state, self.policy.rule, passed
        if not granted.slots.count:
            return Reserved(0, granted.again_at)
        if rule.paces and passed and not self.is_locked:
            state = budgets.read(connection, rule.name, lock=True)
            granted = self.reach.grant(self.policy, state, passed, now=now)
            if granted.probe:  # paused meanwhile: the next claim sees it
                granted = replace(granted, slots=replace(granted.slots, count=0), again_at=now)
            most = min(passed, events + max(self.soon(granted.slots, now=now) - events, self.share))
        slots = granted.slots
        count = min(most, slots.count)
        budgets.reserve(connection, rule, state, granted, count, now=now, probe_for=self.policy.lease)
        if not slots.count:
            return Reserved(0, granted.again_at)
        again_at = None
        if self.more or count < passed:
            # In the time of the slots, which begin `lead` from now.
            lead = self.reach.lead
            again_at = slots.again_at(count, horizon=self.reach.horizon, now=now + lead) - lead
            again_at = again_at if slots.interval else now
        times = tuple(map(slots.at, range(count))) if slots.interval else ()
        return Reserved(count, again_at, times, slots.interval)

    def soon(self, slots: Slots, *, now: datetime) -> int:
        """How many of the slots are within the horizon of batch rows."""
        return slots.until(now + self.reach.lead + self.reach.horizon)


Due = Callable[[int], Sequence[sa.Row[Any]]]  # at most so many rows, under a lease


def _none_due(_: int) -> Sequence[sa.Row[Any]]:
    return ()


class Claims:
    """The claims of one kind of row, by one process."""

    def __init__(self, leases: Leases[Any], *, jitter: Callable[[], float] = random.random) -> None:
        self._leases = leases
        self._jitter = jitter
        self._permits = Permits()

    def lease(self, connection: sa.Connection, policy: ClaimPolicy, asked: Room, *, now: datetime) -> Leased:
        """Lease as many due rows as are asked for and whose calls fit into the horizon.

        Without a free permit or slot no row is leased. The horizon begins `asked.lead` from now, and is at least
        three times as long: the next claim may take as long, and begins when a third of the horizon is left.
        """
        rule, busy, lead = policy.rule, asked.busy, asked.lead
        # New permits are written under the lock.
        lock = self._permits.is_new(rule, policy.permit_owner) or (rule.paces and asked.for_event)
        if lock:
            budgets.lock(connection, rule)
        given = {"of_": policy.claims_for, "now": now}
        first = budgets.ask_first(connection, rule.name, self._leases.event_is_due, given, beside=policy.beside)
        state = first.state
        if first.stopped:
            none = Grant(Slots(now, timedelta(0), 0), again_at=None)
            return Leased(policy, state, lock, none, Reach(asked.horizon, lead))
        permits, locked = self._permits.hold(
            connection, rule, policy.permit_owner, lease=policy.lease, busy=busy, is_locked=lock, now=now
        )
        if permits is not None and permits < max(busy, 1):
            none = Grant(Slots(now, timedelta(0), 0), again_at=now + ASK_AGAIN)
            return Leased(policy, state, lock, none, Reach(asked.horizon, lead), permits=permits)
        reach = Reach(max(asked.horizon, 3 * lead), lead, self._permits.shared(rule, policy.permit_owner))
        room = MOST_PER_PERMIT * permits if permits is not None else max(asked.rows, asked.events)
        most, events = min(asked.rows, room), min(asked.events, room)
        furthest = lead + reach.horizon + policy.ahead
        is_locked = lock or locked is not None
        state, is_locked = budgets.to_claim(
            connection, rule, locked or state, is_locked=is_locked, now=now, reach=furthest, lease=policy.lease
        )
        granted, free_only = self._granted(connection, policy, state, reach, max(most, events), now=now)
        leased = Leased(policy, state, is_locked, granted, reach, permits=permits, beside=first.beside)
        if not granted.slots.count:
            return leased

        def due(priority: int) -> Due:
            return lambda most: self._leases.claim(
                connection,
                policy.claims_for,
                priority,
                most,
                lease=policy.lease,
                owner=policy.owner,
                now=now,
                only_batch=policy.only_batch,
                unknown_only=free_only,
            )

        soon = min(leased.soon(granted.slots, now=now), most)
        events_due: Due = due(EVENT) if first.event_is_due else _none_due
        found = share_out(granted.slots.count, self._jitter(), soon=soon, events=events_due, batches=due(BATCH))
        return replace(leased, rows=found.rows, more=found.more, share=found.share)

    def release_permits(self, connection: sa.Connection, policy: ClaimPolicy) -> None:
        """Release the dispatcher's permits: it makes no further call."""
        self._permits.release(connection, policy.rule, policy.permit_owner)

    def _granted(
        self,
        connection: sa.Connection,
        policy: ClaimPolicy,
        state: BudgetState,
        reach: Reach,
        most: int,
        **at: Any,
    ) -> tuple[Grant, bool]:
        """The calls that the budget allows, and whether they are for rows alone whose calls cost no credit.

        At its credit cap an account still looks up calls with an unknown outcome: that may find that a credit was not
        spent. It stops when a row is due that costs a credit.
        """
        found = reach.grant(policy, state, most, **at)
        if found.slots.count or credits_left(state, policy.rule) != 0:
            return found, False

        def is_due(*, unknown: bool) -> bool:
            of, batch = policy.claims_for, policy.only_batch
            return self._leases.is_due(connection, of, unknown=unknown, only_batch=batch, **at)

        if is_due(unknown=True):
            without_cap = replace(policy, rule=replace(policy.rule, credits=None))
            found = reach.grant(without_cap, state, most, **at)
        if not found.slots.count and is_due(unknown=False):
            credits.stop_at_cap(connection, policy.rule, **at)
        return found, True
