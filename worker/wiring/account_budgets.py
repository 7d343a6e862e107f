"""The budgets of the accounts and senders: how fast each is now, which may be called, and trying them again: all at the
start of a process, one because a person says so."""

import logging
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from onboarding_worker.core.budgets.backpressure import make_refused_due, make_snoozed_due, make_waiting_jobs_due
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.stops import is_at_cap, way_out
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState
from onboarding_worker.core.rules.limits import used_up
from onboarding_worker.plans.deadlines import Paces
from onboarding_worker.reporting.forecast import Load, pace_of
from onboarding_worker.wiring.store.carried_budgets import carry_over

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from onboarding_worker.wiring.stores import Stores


def paces(stores: "Stores", *, now: datetime) -> Paces:
    """How fast each account and channel is now, by its limits."""
    rules, states = stores.budget_rules, stores.budgets.all()

    def of(rules: Mapping[str, BudgetRule]) -> dict[str, float | None]:
        loads = {name: Load(name, 1, rule, states.get(rule.name, BudgetState())) for name, rule in rules.items()}
        return {name: pace_of(load, now=now) for name, load in loads.items()}

    return Paces(of(rules.accounts), of(rules.channels))


def resume(stores: "Stores", channels: Collection[str] | None, *, now: datetime) -> None:
    """Let stopped accounts and senders be tried again, each with a single call first; and rows that had no right.

    Not where a try would be paid for in vain: `onboard account resume` does that. The senders of these channels
    (None: of all) must answer once before sessions are opened for their messages.
    """
    rules, budgets = stores.budget_rules, stores.budgets
    carry_over(stores.database, {name: rule.name for name, rule in rules.accounts.items()}, now=now)
    _warn_of_renamed(budgets.all(), {rule.name: rule for rule in rules.accounts.values()})
    # Not by a command that only reads: a running process would soon set the stop again at its own, older cap.
    budgets.lift_stops_at_caps(rules.accounts.values())
    for rule in rules.accounts.values():
        budgets.resume(rule.name)
    make_refused_due(stores.database, now=now)
    senders = [budgets.resume(rule.name) for rule in rules.channels.values()]
    used = rules.channels if channels is None else channels
    budgets.mark_unverified(rule.name for name, rule in rules.channels.items() if name in used)
    if any(senders):
        make_waiting_jobs_due(stores.database, now=now)


def _warn_of_renamed(states: Mapping[str, BudgetState], rules: Mapping[str, BudgetRule]) -> None:
    """An account that was renamed is a new one: its cap covers nothing from before."""
    used = {name: state.credits_used for name, state in states.items() if name not in rules and state.credits_used}
    left = ", ".join(f"{name} used {number:,}" for name, number in used.items())
    for name, rule in rules.items():
        if left and rule.is_capped and not states[name].credits_used:
            log.warning("%s: its cap counts from 0, but %s: was it renamed? Then lower it", name, left)


class NotTried(Exception):
    """It cannot be tried. The text says why, and what to do."""


def check_can_be_tried(name: str, stores: "Stores", *, now: datetime) -> list[str]:
    """The other accounts with the budget of this one, which go on as well. Raises NotTried if there is no account of
    this name, and at a cap on credits: no call could be made."""
    every = stores.budget_rules.all()
    if name not in every:
        raise NotTried(f"there is no account {name!r}; they are {', '.join(sorted(every))}")
    rule = every[name]
    state = stores.budgets.all()[rule.name]
    spent = used_up(rule.credits_by, state.spent, now) if rule.credits_by else None
    if spent is not None:
        goes_on = f"it goes on at {written(spent[0])}, or once `credits` of [accounts.{name}] is raised"
        raise NotTried(f"{name}: the cap of {spent[1].in_words} is used up, so no call can be tried; {goes_on}")
    if state.stopped_at is not None and is_at_cap(state.stop_reason):
        raise NotTried(f"{name}: {state.stop_reason}, so no call can be tried; {way_out(name, state.stop_reason)}")
    return [other for other in rule.names if other != name]


def try_again(name: str, stores: "Stores", *, now: datetime) -> tuple[list[str], list[str]]:
    """With a single call first. Returns what ended, a stop or a pause, none if it was neither stopped nor paused; and
    the accounts that share its budget, and go on as well. Raises NotTried."""
    shared = check_can_be_tried(name, stores, now=now)
    ended = stores.budgets.resume(stores.budget_rules.all()[name].name, by_person_at=now)
    if ended:
        make_snoozed_due(stores.database, [name, *shared], now=now)
    if ended and name in stores.channels:
        make_waiting_jobs_due(stores.database, now=now)
    return ended, shared
