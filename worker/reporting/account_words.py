"""What an account's or a sender's budget says to a person: why it is stopped, fails, or does not answer. Pure."""

from datetime import datetime, timedelta

from worker.core.foundation.timestamps import written
from worker.core.limits.budgets import BudgetState

# A provider's restart takes a minute or two; a person who hears of each would hear of nothing.
FAILING_AFTER = timedelta(minutes=5)


def stop_in_words(state: BudgetState) -> str:
    """Why the account is stopped, and when one call asks again, if one does."""
    again = f"; a running worker asks again from {written(state.asks_again_at)} on" if state.asks_again_at else ""
    return f"{state.stop_reason or 'stopped'}{again}"


def silence_of(state: BudgetState, *, now: datetime) -> str:
    """Why the last call had no answer, if its pause is over and no call was made since; else ""."""
    may_call = state.stopped_at is None and state.paused_until(now) is None
    return state.pause_reason if state.unproven and may_call else ""


def outage_of(state: BudgetState, *, now: datetime, due: bool = False) -> str:
    """Since when no call has succeeded, and why, while the breaker is open; else "".

    Without a pause and without work that is `due`, no call finds out whether it is over: then it says nothing.
    """
    is_tried = due or any(at is not None and at > now for at in (state.blocked_until, state.probe_until))
    if state.opened_at is None or state.stopped_at is not None or not is_tried:
        return ""
    return f"no call has succeeded since {written(state.opened_at)}: {state.pause_reason}"


def lasting_outage_of(state: BudgetState, *, now: datetime, due: bool) -> str:
    """As `outage_of`, once it has lasted so long that a person is to know."""
    fails = state.opened_at is not None and now - state.opened_at >= FAILING_AFTER
    return outage_of(state, now=now, due=due) if fails else ""
