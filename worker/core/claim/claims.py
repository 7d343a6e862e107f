"""The way of every claim: what the budget allows, so many due rows under a lease, and slots for what passes the gates.

    budget and emergency stop → permits → lease → (the gates of the rows' kind) → reserve

Jobs and messages are claimed in this way, in one transaction. Where the account has limits, the budget's row is locked
as late as can be, by `reserve`: other workers and events wait for it no longer than they must. Earlier it is locked for
new permits, a problem of a call, a pause that ends, a cap, a plan, and by a short claim for events alone. What is
granted is decided again under the lock; another transaction may have reserved slots meanwhile, and then some leased
rows get none. What is asked between lease and reserve is decided in `work.store.gates` and
`messages.claim_invitations`.

Which rows get an account's slots when events and batches both wait (`share_out`): events first, but batches keep a
share. Without the share, a stream of sign-ups would delay a list for ever. With the share, an event waits for a batch's
call in at most one slot of five. The slots that one side does not use go to the other.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.claim.leases import ASK_AGAIN, MOST_PER_PERMIT, Leases, Permits
from onboarding_worker.core.model.states import BATCH, EVENT
from onboarding_worker.core.rules.budgets import (
    BudgetRule,
    BudgetState,
    Grant,
    calls_left,
    credits_again_at,
    credits_left,
    grant,
    under_cap,
)
from onboarding_worker.core.rules.contact import ContactPolicy
from onboarding_worker.core.rules.limits import Slots

BATCH_SHARE = 0.2


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
    # The promise of its kind: whether every call may be made again when its outcome is unknown. By default an email
    # may be. A session may not, as it may cost another one: of it, whether this claimed row's request may be.
    all_are_repeatable: bool = False
    row_is_repeatable: Callable[[Any], bool] = lambda _row: False
    # Where it is never looked up: how long a session that this row's call may have opened can live; None: it is held.
    orphan_life: Callable[[Any], timedelta | None] = lambda _row: None
    senders: Mapping[str, BudgetRule] = field(default_factory=dict)  # of its messages, by channel: for the gates

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

    `busy` calls are in flight. `lead`: no slot is reserved earlier than so long from now, where flushes take long; else
    zero. `horizon`: how far ahead slots are reserved; without a rate limit it says nothing. `slow`: flushes take long,
    so a slot that was left out for another worker would pass before that claims.
    `for_event`: an event may be due, and nothing else is asked for. (Without it, a claim without rows asks whether
    permits are free.)
    """

    rows: int
    events: int
    busy: int = 0
    lead: timedelta = timedelta(0)
    horizon: timedelta = timedelta(0)
    slow: bool = False
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
class Leased:
    """Rows under new leases, and what the budget allows for them. `more`: more rows may be due.

    Batch rows get the slots of the `horizon` that begins `lead` from now.
    """

    policy: ClaimPolicy
    state: BudgetState
    granted: Grant
    grants: Callable[..., Grant]  # what the budget allows, given its state, rule and the `most` calls
    lead: timedelta
    horizon: timedelta
    rows: Sequence[sa.Row[Any]] = ()
    more: bool = False
    share: int = 0  # how many batch rows may get later slots, as events do
    permits: int | None = None  # calls that may be in flight from now on
    beside: Mapping[str, BudgetState] = field(default_factory=dict)  # the states of the senders' budgets

    def reserve(self, connection: sa.Connection, passed: int, events: int, *, now: datetime) -> Reserved:
        """Reserve the slots of the `passed` rows, whose calls may be made, or of the first ones if there are fewer.

        The first `events` of them are events.
        """
        granted, state, rule, most = self.granted, self.state, self.policy.rule, passed
        if not granted.slots.count:
            return Reserved(0, granted.again_at)
        if rule.paces and passed and (locked := budgets.read(connection, rule.name, lock=True)) != state:
            state, granted = locked, self.grants(locked, rule, most=passed)
            if granted.probe:  # paused meanwhile: the next claim sees it
                granted = replace(granted, slots=replace(granted.slots, count=0), again_at=now)
            soon = granted.slots.until(now + self.lead + self.horizon)
            most = min(passed, events + max(soon - events, self.share))
        slots = granted.slots
        count = min(most, slots.count)
        budgets.reserve(connection, rule, state, granted, count, now=now, probe_for=self.policy.lease)
        if not slots.count:
            return Reserved(0, granted.again_at)
        again_at = None
        if self.more or count < passed:
            # In the time of the slots, which begin `lead` from now.
            again_at = slots.again_at(count, horizon=self.horizon, now=now + self.lead) - self.lead
            again_at = again_at if slots.interval else now
        times = tuple(map(slots.at, range(count))) if slots.interval else ()
        return Reserved(count, again_at, times, slots.interval)


def locks_first(permits: Permits, policy: ClaimPolicy, asked: Room) -> bool:
    """Whether a claim locks the budget's row before its first question. New permits are written under the lock."""
    return permits.is_new(policy.rule, policy.permit_owner) or (policy.rule.paces and asked.for_event)


def ask_first(
    connection: sa.Connection, leases: Leases[Any], policy: ClaimPolicy, *, now: datetime
) -> budgets.FirstAnswers:
    """What a claim must know first."""
    given, beside = {"of_": policy.claims_for, "now": now}, {sender.name for sender in policy.senders.values()}
    return budgets.ask_first(connection, policy.rule.name, leases.event_is_due, given, beside=beside)


def lease(
    connection: sa.Connection,
    leases: Leases[Any],
    permits: Permits,
    policy: ClaimPolicy,
    asked: Room,
    *,
    jitter: float,
    now: datetime,
    first: budgets.FirstAnswers | None = None,
) -> Leased:
    """Lease as many due rows as are asked for and whose calls fit into the horizon.

    Without a free permit or slot no row is leased. The horizon begins `asked.lead` from now, and is at least three
    times as long: the next claim may take as long, and begins when a third of the horizon is left. `jitter`: see
    `share_out`. `first`: what was asked already, of a claim that does not lock first.
    """
    rule, busy, lead = policy.rule, asked.busy, asked.lead
    horizon = max(asked.horizon, 3 * lead)
    if first is None and locks_first(permits, policy, asked):
        budgets.lock(connection, rule)
    first = first or ask_first(connection, leases, policy, now=now)
    seen = budgets.read(connection, rule.name)  # with what results have changed in this transaction
    nothing = Grant(Slots(now, timedelta(0), 0))
    leased = Leased(policy, seen, nothing, grant, lead, horizon, beside=first.beside)
    if first.stopped:
        return leased
    share = permits.hold(connection, rule, policy.permit_owner, lease=policy.lease, busy=busy, now=now)
    room = max(asked.rows, asked.events)
    if share is not None:
        leased = replace(leased, permits=share.use)
        if share.use < max(busy, 1):
            return replace(leased, granted=replace(nothing, again_at=now + ASK_AGAIN))
        room = MOST_PER_PERMIT * share.use
    most, events = min(asked.rows, room), min(asked.events, room)
    shared = share is not None and not (share.alone or asked.slow)
    grants = partial(grant, horizon=horizon + policy.ahead, lead=lead, shared=shared, now=now)
    state = budgets.to_claim(connection, rule, now=now, reach=lead + horizon + policy.ahead, lease=policy.lease)
    granted, free_only = grants(state, rule, most=max(most, events)), False
    if not granted.slots.count and calls_left(state, rule, now=now) == 0:
        granted, free_only = _at_cap(connection, leases, policy, grants, state, max(most, events), now=now), True
    leased = replace(leased, state=state, granted=granted, grants=grants)
    if not granted.slots.count:
        return leased
    due = partial(
        leases.claim,
        connection,
        policy.claims_for,
        lease=policy.lease,
        owner=policy.owner,
        now=now,
        only_batch=policy.only_batch,
        free_only=free_only,
    )
    soon = min(granted.slots.until(now + lead + horizon), most)
    rows, more, kept = share_out(
        granted.slots.count,
        jitter,
        soon=soon,
        events=partial(due, EVENT) if first.event_is_due else None,
        batches=partial(due, BATCH),
    )
    return replace(leased, rows=rows, more=more, share=kept)


def _at_cap(
    connection: sa.Connection,
    leases: Leases[Any],
    policy: ClaimPolicy,
    grants: Callable[..., Grant],
    state: BudgetState,
    most: int,
    *,
    now: datetime,
) -> Grant:
    """The calls that an account may make at a cap on its credits: those that cost no credit.

    It still looks up lost answers, which may show that a credit was not spent, and asks about sessions. At the cap on
    all credits it stops when a row is due that costs one; at that of a period it waits for the period's end.
    """
    is_due = partial(leases.is_due, connection, policy.claims_for, only_batch=policy.only_batch, now=now)
    at_the_end = credits_left(state, policy.rule) == 0
    again_at = None if at_the_end else credits_again_at(state, policy.rule, now=now)
    found = Grant(Slots(now, timedelta(0), 0), again_at=again_at)
    if is_due(free=True):
        rule = replace(policy.rule, credits=None, credits_by=())
        found = grants(under_cap(state, rule), rule, most=most)
    if at_the_end and not found.slots.count and is_due(free=False):
        budgets.stop_at_cap(connection, policy.rule, now=now)
    return found


T = TypeVar("T")


def share_out(
    slots: int,
    jitter: float,
    *,
    soon: int,
    events: Callable[[int], Sequence[T]] | None,
    batches: Callable[[int], Sequence[T]],
) -> tuple[list[T], bool, int]:
    """The rows that get the slots, events first; whether more rows of either kind may wait; and how many batch rows get
    slots whatever events wait, zero if few events do.

    `events` and `batches` return at most the given number of rows of their kind; `events` None: none waits.

    Batches get the slots among the first `soon` that events do not use. Later slots go to events, except the share.
    `jitter` in [0, 1) rounds the batches' part, so that few slots add up too.
    If only batches wait, or events use no more than their part, each function is called once.
    """
    kept = min(int(slots * BATCH_SHARE + jitter), slots)  # for batches before events
    first = list(events(slots - kept)) if events is not None and kept < slots else []
    crowded = len(first) == slots - kept
    share = kept if crowded else 0
    left = max(soon - len(first), share)
    rest = list(batches(left)) if left else []
    more = len(rest) == left
    left = slots - len(first) - len(rest)
    if left and crowded:
        also = events(left) if events is not None else ()
        first += also
        more = len(also) == left
    return first + rest, more, share
