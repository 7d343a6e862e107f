"""Tries a stopped or paused account or sender again, because a person says so."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from worker.core.model.endings import is_at_cap, way_out
from worker.settings.policies import BudgetRules
from worker.wiring.stores import Stores


class NotTried(Exception):
    """It cannot be tried. The text says why, and what to do."""


@dataclass(frozen=True)
class Resumed:
    """`ended`: what ended, a stop or a pause; empty if it was neither stopped nor paused. `shared`: the accounts that
    share its budget, and go on as well."""

    ended: tuple[str, ...]
    shared: tuple[str, ...]


def sharing(name: str, rules: BudgetRules) -> list[str]:
    """The other accounts with the budget of this one. Raises NotTried if there is no account of this name."""
    every = rules.all()
    if name not in every:
        raise NotTried(f"there is no account {name!r}; they are {', '.join(sorted(every))}")
    return [other for other, rule in every.items() if rule.name == every[name].name and other != name]


def check_can_be_tried(name: str, rules: BudgetRules, stores: Stores) -> None:
    """Raises NotTried at a cap on credits: no call could be made."""
    state = stores.budgets.all()[rules.all()[name].name]
    if state.stopped_at is not None and is_at_cap(state.stop_reason):
        raise NotTried(f"{name}: {state.stop_reason}, so no call can be tried; {way_out(name, state.stop_reason)}")


def try_again(name: str, rules: BudgetRules, channels: Collection[str], stores: Stores, *, now: datetime) -> Resumed:
    """With a single call first. Raises NotTried."""
    shared = sharing(name, rules)
    check_can_be_tried(name, rules, stores)
    ended = stores.budgets.resume(rules.all()[name].name, by_person_at=now)
    if ended:
        stores.jobs.make_snoozed_due([name, *shared], now=now)
    if ended and name in channels:
        stores.jobs.make_waiting_jobs_due(now=now)
    return Resumed(tuple(ended), tuple(shared))
