"""Which accounts may take over rows from which, by the routes and by the state of their budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from worker.core.customers.routing import Rule
from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.failover import may_take_over, trouble
from worker.core.limits.store.budgets import Budgets
from worker.core.limits.store.takeover import Failover, Takeover
from worker.core.model.sessions import default_floor


@dataclass(frozen=True, kw_only=True)
class Takeovers:
    routes: Sequence[Rule]
    rules: Mapping[str, BudgetRule]  # by account
    lifetimes: Mapping[str, timedelta | None]  # how long links live, by account
    budgets: Budgets
    failover: Failover  # moves and counts the rows

    def possible(self, states: Mapping[str, BudgetState] | None = None) -> list[Takeover]:
        """The takeovers that may happen now. `states` by budget; read from the database where it is None."""
        pairs = self._fallbacks()
        if not pairs:
            return []  # the usual case: it costs no query
        states = self.budgets.all() if states is None else states
        now = {name: states.get(rule.name, BudgetState()) for name, rule in self.rules.items()}
        well = tuple(name for name, rule in self.rules.items() if may_take_over(now[name], rule))
        return [
            Takeover(
                source=source,
                source_budget=self.rules[source].name,
                target=target,
                rule=self.rules[target],
                floor=default_floor(self.lifetimes[target]),
                sharing=tuple(name for name, rule in self.rules.items() if rule.name == self.rules[target].name),
                well=well,
            )
            for source, targets in pairs.items()
            if trouble(now[source])
            for target in targets
            if target in well
        ]

    def _fallbacks(self) -> Mapping[str, tuple[str, ...]]:
        """By account, the accounts that a route names next to it. They may take over its rows where a row names them.

        Both must name the account: a row names those that could serve its customer when the row was imported, and
        the routes of now are what the operator wants now.
        """
        pairs = {
            name: [other for rule in self.routes if name in rule.accounts for other in rule.accounts if other != name]
            for name in self.rules
        }
        return {name: tuple(dict.fromkeys(names)) for name, names in pairs.items() if names}
