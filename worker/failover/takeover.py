"""Which account takes over the rows of an account that cannot work, how many at a time, and the route they then show.

Pure: `failover.store.takeovers` moves the rows, the sweep (`sweep.take_over`) decides when. `taker` decides which
account takes over. `room` decides how much of a list may have moved when the first account is back.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from worker.core.limits.budgets import BudgetRule, BudgetState, calls_left, credits_left, interval, is_stopped
from worker.core.limits.rate_limits import offer

# Rows move in chunks that an account can work in this time. If the first account is back within seconds, it still has
# most of its rows, and a slow second account has not received a million.
SOON = timedelta(seconds=10)
# At least this many rows, however slow the account is; and at most CHUNK where its pace is unknown.
LEAST = 10
CHUNK = 500
_MANY = 1_000_000  # more calls than any account makes in SOON
ROUTE_LENGTH = 200  # the column's
_TAKEN_OVER = "; taken over from "


def trouble(state: BudgetState) -> str:
    """Why other accounts take over the account's rows, in words; empty while it works. A pause is no trouble: it ends
    by itself, and rows wait for it. Refused credentials and a lack of credit are stops."""
    if state.stopped_at is not None:
        return "is stopped"
    return "has its breaker open" if state.opened_at is not None else ""


def may_take_over(state: BudgetState, rule: BudgetRule) -> bool:
    """Whether the account may take over rows: it has no trouble, and its cap on credits allows a call."""
    return not trouble(state) and credits_left(state, rule) != 0


def taker(account: str, fallback_accounts: str, well: Collection[str]) -> str | None:
    """Which account takes the row over from `account`: the most preferred one of `well`; None if there is none."""
    return next((other for other in fallback_accounts.split(",") if other != account and other in well), None)


def fallback_accounts_after(account: str, fallback_accounts: str) -> str:
    """The row's fallback accounts after a takeover: all of them, so that their order is not lost. The first account of
    a row is the most preferred one, and its own fallback accounts do not name it."""
    return fallback_accounts if account in fallback_accounts.split(",") else f"{account},{fallback_accounts}"


def room(state: BudgetState, rule: BudgetRule, *, due: int, now: datetime) -> int:
    """How many more rows the account may take over, with `due` rows waiting there already. The calls that its limits,
    or the limit found, allow in SOON, less `due`; never more than its credits. An account that is paused for longer
    takes over none: the rows may as well wait where they are."""
    paused_until = state.blocked_until or now
    if paused_until > now + SOON:
        return 0
    begins_at = max(now, paused_until, state.next_at or now)
    most = CHUNK
    if interval(state, rule):
        found = state.pace.interval
        slots = offer(rule.limits, next_at=begins_at, most=_MANY, now=now, horizon=SOON, found=found)
        most = max(slots.count, LEAST)
    left = calls_left(state, rule, now=now)
    return max((most if left is None else min(most, left)) - due, 0)


def keeps_one(state: BudgetState, *, now: datetime) -> bool:
    """Whether the account keeps its last row: the probe, which finds out whether it is back, needs a customer. An
    account that is stopped for a person has no probe. A probe that is in flight needs no row, and for one that is due
    in minutes no customer waits: all rows move, and the account's next row makes the probe when it is due."""
    in_flight = state.probe_until is not None and state.probe_until > now
    soon = now + SOON
    return not is_stopped(state, now=soon) and not in_flight and (state.blocked_until or now) <= soon


def route_after_takeover(route: str, source: str, why: str) -> str:
    """The row's route text with the account that had the row last, and why it has it no more."""
    added = f"{_TAKEN_OVER}{source}, which {why}"
    return route.partition(_TAKEN_OVER)[0][: ROUTE_LENGTH - len(added)] + added
