"""Which accounts may take over rows of which, by the routes and by the state of the budgets."""

from collections.abc import Mapping

from worker.domain.limits.budgets import BudgetState
from worker.domain.limits.failover import may_take_over, trouble
from worker.domain.model.sessions import default_floor
from worker.engine.container import Parts
from worker.store.maintenance.takeover import Takeover


def substitutes(parts: Parts) -> Mapping[str, tuple[str, ...]]:
    """By account, the other accounts of its routes: they may take over its rows, if the row names them too.

    Both must name the account: the row has the accounts that could serve its customer when it was imported; the routes
    have what the operator wants now.
    """
    fallbacks = {
        name: [other for rule in parts.rules if name in rule.accounts for other in rule.accounts if other != name]
        for name in parts.accounts
    }
    return {name: tuple(dict.fromkeys(others)) for name, others in fallbacks.items() if others}


def take_overs(parts: Parts, states: Mapping[str, BudgetState] | None = None) -> list[Takeover]:
    """The takeovers that may happen now. `states` by budget; None: read them."""
    pairs = substitutes(parts)
    if not pairs:
        return []  # the usual case: no query
    states = parts.budgets.all() if states is None else states
    rules = {name: parts.budget_of(name) for name in parts.accounts}
    now = {name: states.get(rule.name, BudgetState()) for name, rule in rules.items()}
    healthy = tuple(name for name, rule in rules.items() if may_take_over(now[name], rule))
    return [
        Takeover(
            source=source,
            source_budget=rules[source].name,
            target=target,
            rule=rules[target],
            floor=default_floor(parts.providers[target].lifetime),
            sharing=tuple(name for name, rule in rules.items() if rule.name == rules[target].name),
            well=healthy,
        )
        for source, targets in pairs.items()
        if trouble(now[source])
        for target in targets
        if target in healthy
    ]
