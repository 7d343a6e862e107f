"""The way of every claim: what the budget allows, as many due rows under a lease, and then the slots that are kept.

    permits → budget → lease → (the gates of the rows' kind) → reserve

Jobs and messages are claimed in this way, in one transaction. The budget's row is locked where the account has limits,
so exactly the kept slots are reserved. What is asked between lease and reserve is decided in `store.issuing.gates` and
`store.messages.gates`.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.address_cap import AddressCap
from worker.domain.contact.contact_times import Hours
from worker.domain.limits.budgets import BudgetRule, BudgetState, Grant, credits_left, grant
from worker.domain.limits.concurrency import ASK_AGAIN, MOST_PER_PERMIT
from worker.domain.limits.event_share import share_out
from worker.domain.limits.rate_limits import Slots, claim_again_at
from worker.store.base.leases import Leases
from worker.store.base.priorities import BATCH, EVENT
from worker.store.limits import budgets
from worker.store.limits.concurrency import Permits


@dataclass(frozen=True, kw_only=True)
class ClaimPolicy:
    """How the rows of one account or channel are claimed. Durations in real time; `owner`: the process."""

    rule: BudgetRule
    lease: timedelta
    owner: str
    horizon: timedelta  # how far ahead calls are reserved
    ahead: timedelta = timedelta(0)  # added to the horizon for events, which then take the slots of batches' rows
    alone: timedelta | None = None  # the horizon while no other dispatcher has permits of the account; None: the same
    # From the lease's end until a call with an unknown outcome may be looked up; None: it is never looked up.
    reconcile_after: timedelta | None = None
    hours: Hours = field(default_factory=Hours)
    address_cap: AddressCap | None = None  # None: an address may get any number of messages
    only_batch: int | None = None  # claim only rows of this batch; None: of all batches

    @property
    def claims_for(self) -> str:
        """The account or channel."""
        raise NotImplementedError

    @property
    def permit_owner(self) -> str:
        """The owner of permits. It names the account too: several accounts of one process may share a budget."""
        return f"{self.owner} {self.claims_for}"


@dataclass(frozen=True)
class Room:
    """How much a claim may bring: so many rows, and up to `events` rows if the rest are events.

    `busy` calls are in flight. `lead`: how long a row needs from its claim to its call; no slot is reserved earlier.
    Zero while the database is quick.
    """

    rows: int
    events: int
    busy: int = 0
    lead: timedelta = timedelta(0)


@dataclass(frozen=True)
class Leased:
    """Rows under new leases, and what the budget allows for them. `more`: more rows may be due."""

    policy: ClaimPolicy
    state: BudgetState
    granted: Grant
    horizon: timedelta
    lead: timedelta
    rows: Sequence[sa.Row[Any]] = ()
    more: bool = False
    permits: int | None = None  # calls that may be in flight from now on

    def slots(self, kept: int) -> tuple[datetime, ...]:
        """The earliest times of the calls of the `kept` rows; none if the account has no limit."""
        slots = self.granted.slots
        return tuple(slots.at(index) for index in range(kept)) if slots.interval else ()

    def reserve(self, connection: sa.Connection, kept: int, *, now: datetime) -> datetime | None:
        """Reserve the slots of the `kept` rows that are called. Returns when to claim again; None: nothing more is due,
        or a person must act."""
        if not self.granted.slots.count:
            return self.granted.again_at
        rule = self.policy.rule
        budgets.reserve(connection, rule, self.state, self.granted, kept, now=now, probe_for=self.policy.lease)
        if not self.more:
            return None
        slots = self.granted.slots
        return claim_again_at(slots.at(kept) - self.lead, horizon=self.horizon, now=now) if slots.interval else now


class Claims:
    """The claims of one kind of row, by one process."""

    def __init__(self, leases: Leases[Any], *, jitter: Callable[[], float] = random.random) -> None:
        self._leases = leases
        self._jitter = jitter
        self._permits = Permits()

    def lease(self, connection: sa.Connection, policy: ClaimPolicy, asked: Room, *, now: datetime) -> Leased:
        """Lease as many due rows as are asked for and whose calls fit into the policy's horizon.

        Without a free permit or slot no row is leased. The horizon begins `asked.lead` from now, and is at least
        twice as long: the next claim may take as long, and begins when half of the horizon is free.
        """
        rule, horizon, busy, lead = policy.rule, policy.horizon, asked.busy, asked.lead
        permits = self._permits.hold(connection, rule, policy.permit_owner, lease=policy.lease, busy=busy, now=now)
        if permits is not None and permits < max(busy, 1):
            none = Grant(Slots(now, timedelta(0), 0), again_at=now + ASK_AGAIN)
            return Leased(policy, BudgetState(), none, horizon, lead, permits=permits)
        if policy.alone is not None and self._permits.alone(rule, policy.permit_owner):
            horizon = policy.alone
        horizon = max(horizon, 2 * lead)
        room = MOST_PER_PERMIT * permits if permits is not None else max(asked.rows, asked.events)
        most, events = min(asked.rows, room), min(asked.events, room)
        reach = horizon + policy.ahead
        state = budgets.read_to_claim(connection, rule)
        state = budgets.believed(connection, rule, state, now=now, reach=lead + reach, lease=policy.lease)
        granted, free_only = self._granted(connection, policy, state, max(most, events), reach, lead, now=now)
        leased = Leased(policy, state, granted, horizon, lead, permits=permits)
        if not granted.slots.count:
            return leased

        def due(priority: int) -> Callable[[int], list[sa.Row[Any]]]:
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

        soon = min(granted.slots.until(now + lead + horizon), most)
        shared = share_out(granted.slots.count, self._jitter(), soon=soon, events=due(EVENT), batches=due(BATCH))
        return replace(leased, rows=shared.rows, more=shared.more)

    def release_permits(self, connection: sa.Connection, policy: ClaimPolicy) -> None:
        """Release the dispatcher's permits: it makes no further call."""
        self._permits.give_back(connection, policy.rule, policy.permit_owner)

    def _granted(
        self,
        connection: sa.Connection,
        policy: ClaimPolicy,
        state: BudgetState,
        most: int,
        reach: timedelta,
        lead: timedelta,
        **at: Any,
    ) -> tuple[Grant, bool]:
        """The calls that the budget allows, and whether they are for rows alone whose calls cost no credit.

        At its credit cap an account still looks up calls with an unknown outcome: that may find that a credit was not
        spent. It stops when a row is due that costs a credit.
        """

        def granted(rule: BudgetRule) -> Grant:
            return grant(state, rule, most=most, horizon=reach, probe_for=policy.lease, lead=lead, **at)

        found = granted(policy.rule)
        if found.slots.count or credits_left(state, policy.rule) != 0:
            return found, False

        def is_due(*, unknown: bool) -> bool:
            of, batch = policy.claims_for, policy.only_batch
            return self._leases.is_due(connection, of, unknown=unknown, only_batch=batch, **at)

        if is_due(unknown=True):
            found = granted(replace(policy.rule, credits=None))
        if not found.slots.count and is_due(unknown=False):
            budgets.stop_at_cap(connection, policy.rule, **at)
        return found, True
