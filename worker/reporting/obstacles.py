"""What keeps an account or sender from calling now: a stop, a pause, silence, or a limit that is used up. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from worker.core.limits.budgets import (
    BudgetRule,
    BudgetState,
    at_cap,
    credits_left,
    found_in_words,
    interval,
    silence_of,
    stop_in_words,
)
from worker.core.limits.rate_limits import tightest
from worker.core.model.waits import Blocked
from worker.core.unknown.reconciliation import OrphanRule

# A slot that is nearer than this keeps no row waiting for long enough to be named.
SOON = timedelta(minutes=1)


@dataclass(frozen=True)
class Circumstances:
    """`stopped`: who stopped everything and why, in words. `blocked`: the accounts and senders that make no calls now,
    by name. `orphans`: how long a session with a lost token is waited for, by account; each account of the
    configuration has one. None: the accounts are not known. `most_messages`: the cap of each customer; None: not known.
    """

    stopped: str = ""
    blocked: Mapping[str, Blocked] = field(default_factory=dict)
    orphans: Mapping[str, OrphanRule] | None = None
    most_messages: int | None = None

    def of_account(self, name: str) -> "Circumstances":
        """The same for a row of this account, which the configuration may not have any more."""
        if self.orphans is None or name in self.orphans:
            return self
        return replace(self, blocked={**self.blocked, name: Blocked(name, is_missing=True)})


def obstacle_of(name: str, rule: BudgetRule, state: BudgetState, *, now: datetime) -> Blocked | None:
    """Why the account or sender makes no call now; None: it does."""
    if credits_left(state, rule) == 0:
        state = at_cap(state, rule, now=now)  # as the next claim finds it
    paused_until = state.paused_until(now)
    full_until, full_for = _used_up(rule, state, now)
    found = Blocked(
        name,
        stopped=(state.stop_reason or "stopped") if state.stopped_at is not None else "",
        paused_until=paused_until,
        paused_for=state.why_paused if paused_until else "",
        asks_again=stop_in_words(state) if state.stopped_at is not None and state.asks_again_at is not None else "",
        full_until=full_until,
        full_for=full_for,
        silent=_silence(state, now),
    )
    return found if found != Blocked(name) else None


def _silence(state: BudgetState, now: datetime) -> str:
    if not state.unproven or state.stopped_at is not None or state.paused_until(now):
        return ""
    return silence_of(state, now=now) or "it has not been tried since a worker started"


def _used_up(rule: BudgetRule, state: BudgetState, now: datetime) -> tuple[datetime | None, str]:
    """When the next call fits into the limits, and into which, if that is not soon."""
    today = rule.at(state.ramp_from, now)
    if state.next_at is None or not (today.limits or state.pace.rate is not None):
        return None, ""
    # A later slot was reserved under a lower limit, or by a wrong clock (`budgets.believable`).
    until = min(state.next_at, now + interval(state, today))
    if until - now < SOON:
        return None, ""
    limit = tightest(today.limits)
    if state.pace.rate is not None and (limit is None or state.pace.interval > limit.interval):
        return until, f"the limit of {found_in_words(rule, state)} that was found"
    if rule.ramp is not None and limit not in rule.limits:
        return until, f"its ramp of {rule.ramp}, today {limit}"
    return until, f"its limit of {limit}"
