"""The budgets of the accounts and senders: how fast each is now, which may be called, and trying all of them again."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from worker.core.limits.budgets import BudgetRule, BudgetState
from worker.core.limits.store.budgets import Budgets
from worker.core.work.store.claim_jobs import Jobs
from worker.plans.deadlines import Paces
from worker.reporting.forecast import Load, pace_of
from worker.settings.policies import BudgetRules


class AccountBudgets:
    """The rows of `Budgets`, by the names of the accounts and channels that the configuration has."""

    def __init__(self, rules: BudgetRules, budgets: Budgets, jobs: Jobs) -> None:
        self._rules, self._budgets, self._jobs = rules, budgets, jobs

    def ensure(self, others: Collection[str]) -> None:
        """Make the budgets' rows, and rows of these other names, where the database lets us.

        Ends the stop of an account whose cap on credits was raised or taken out.
        """
        if self._budgets.may_write():
            rules = self._rules.all().values()
            self._budgets.ensure([*(rule.name for rule in rules), *others])
            self._budgets.lift_stops_at_caps(rules)

    def paces(self, now: datetime) -> Paces:
        """How fast each account and channel is now, by its limits."""
        states = self._budgets.all()

        def paces(rules: Mapping[str, BudgetRule]) -> dict[str, float | None]:
            loads = {name: Load(name, 1, rule, states.get(rule.name, BudgetState())) for name, rule in rules.items()}
            return {name: pace_of(load, now=now) for name, load in loads.items()}

        return Paces(paces(self._rules.accounts), paces(self._rules.channels))

    def not_stopped(self, accounts: Iterable[str]) -> list[str]:
        """Those of these accounts that are not stopped."""
        states = self._budgets.all()
        return [name for name in accounts if states[self._rules.accounts[name].name].stopped_at is None]

    def resume(self, channels: Collection[str] | None, *, now: datetime) -> None:
        """Let stopped accounts and senders be tried again, each with a single call first.

        Not where a try would be paid for in vain: `onboard account resume` does that. The senders of these channels
        (None: of all) must answer once before sessions are opened for their messages.
        """
        for rule in self._rules.accounts.values():
            self._budgets.resume(rule.name)
        senders = [self._budgets.resume(rule.name) for rule in self._rules.channels.values()]
        used = self._rules.channels if channels is None else channels
        self._budgets.doubt(rule.name for name, rule in self._rules.channels.items() if name in used)
        if any(senders):
            self._jobs.make_waiting_jobs_due(now=now)
