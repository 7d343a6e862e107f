"""Which account takes over the rows of one that cannot work, how many of them at a time, and what they say of it.

Pure: `store.maintenance.takeover` moves the rows, the timer (`sweep.take_over`) says when. To change who takes over,
change `taker`; to change how much of a list may have gone elsewhere when the first account is back, change `room`.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from worker.domain.limits.budgets import BudgetRule, BudgetState, credits_left, interval
from worker.domain.limits.rate_limits import offer

# Rows go over in chunks of what an account can do in so long: when the first is back within seconds, most are its own
# still, and a slow second one has not been given a million.
SOON = timedelta(seconds=10)
# … at least so many, however slow the account is; and at most so many where nothing is known of its pace.
LEAST = 10
CHUNK = 500
_MANY = 1_000_000  # more than any account does soon
OTHERS_LENGTH = 400  # what the column holds
ROUTE_LENGTH = 200
_TAKEN_OVER = "; taken over from "


def trouble(state: BudgetState) -> str:
    """Why others take over the account's rows, in words; empty while it works.

    Being told to wait is no trouble: a pause ends by itself, and rows wait for it. Refused credentials and a lack of
    credit are stops.
    """
    if state.stopped_at is not None:
        return "is stopped"
    return "has its breaker open" if state.opened_at is not None else ""


def may_take_over(state: BudgetState, rule: BudgetRule) -> bool:
    """Whether the account may be given another's rows: nothing is wrong with it, and its cap leaves a call."""
    return not trouble(state) and credits_left(state, rule) != 0


def joined(account: str, fallback_accounts: Sequence[str]) -> str:
    """The other accounts of a row as its column keeps them: as many of them as fit beside its own name."""
    kept: list[str] = []
    for other in fallback_accounts:
        if len(",".join([account, *kept, other])) > OTHERS_LENGTH:
            break
        kept.append(other)
    return ",".join(kept)


def taker(account: str, fallback_accounts: str, well: Collection[str]) -> str | None:
    """Which account takes the row over from `account`: the most preferred of those that are well; None: none is."""
    return next((other for other in fallback_accounts.split(",") if other != account and other in well), None)


def fallback_accounts_after(account: str, fallback_accounts: str) -> str:
    """The row's preferences once another account has it: all of them, so that their order is not lost.

    The first to have a row is the most preferred of those that could serve it, and not named among its others.
    """
    return fallback_accounts if account in fallback_accounts.split(",") else f"{account},{fallback_accounts}"


def room(state: BudgetState, rule: BudgetRule, *, due: int, now: datetime) -> int:
    """How many more rows the account may be given, with `due` waiting there already.

    What its limits, or the one that was found, allow it soon, less what is due; never more than its credits. One that
    is paused for longer is given none: they may just as well wait where they are.
    """
    paused_until = state.blocked_until or now
    if paused_until > now + SOON:
        return 0
    begins_at = max(now, paused_until, state.next_at or now)
    most = CHUNK
    if interval(state, rule):
        found = state.pace.interval
        slots = offer(rule.limits, next_at=begins_at, most=_MANY, now=now, horizon=SOON, found=found)
        most = max(slots.count, LEAST)
    left = credits_left(state, rule)
    return max((most if left is None else min(most, left)) - due, 0)


def keeps_one(state: BudgetState, *, now: datetime) -> bool:
    """Whether a last row stays: the call that finds out whether the account is back needs a customer.

    One that is stopped waits for a person. A call that is out already, or is not to be made soon, needs no row now.
    """
    is_out = state.probe_until is not None and state.probe_until > now
    return state.stopped_at is None and not is_out and (state.blocked_until or now) <= now + SOON


def told(route: str, source: str, why: str) -> str:
    """Why the row is where it is: its route's own words, and who had it last."""
    added = f"{_TAKEN_OVER}{source}, which {why}"
    return route.partition(_TAKEN_OVER)[0][: ROUTE_LENGTH - len(added)] + added
