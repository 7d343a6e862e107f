"""Which accounts may take over from which, as the routes say and as the budgets stand."""

from collections.abc import Mapping

from worker.domain.limits.budgets import BudgetState
from worker.domain.limits.failover import may_take_over, trouble
from worker.domain.model.sessions import default_floor
from worker.engine.container import Parts
from worker.store.maintenance.takeover import Takeover


def substitutes(parts: Parts) -> Mapping[str, tuple[str, ...]]:
    """By account, those that a route names beside it: they may take over its rows, where a row names them too.

    Both must say so: a row names those that could serve its customer when it was imported, and the routes of now
    are what the operator wants now.
    """
    beside = {
        name: [other for rule in parts.rules if name in rule.accounts for other in rule.accounts if other != name]
        for name in parts.accounts
    }
    return {name: tuple(dict.fromkeys(others)) for name, others in beside.items() if others}


def take_overs(parts: Parts, states: Mapping[str, BudgetState] | None = None) -> list[Takeover]:
    """Who may take over from whom now; `states` by budget, read where they are not given."""
    pairs = substitutes(parts)
    if not pairs:
        return []  # as mostly: it costs no query then
    states = parts.budgets.all() if states is None else states
    rules = {name: parts.budget_of(name) for name in parts.accounts}
    now = {name: states.get(rule.name, BudgetState()) for name, rule in rules.items()}
    well = tuple(name for name, rule in rules.items() if may_take_over(now[name], rule))
    return [
        Takeover(
            source=source,
            source_budget=rules[source].name,
            target=target,
            rule=rules[target],
            floor=default_floor(parts.providers[target].lifetime),
            sharing=tuple(name for name, rule in rules.items() if rule.name == rules[target].name),
            well=well,
        )
        for source, targets in pairs.items()
        if trouble(now[source])
        for target in targets
        if target in well
    ]
