"""What the configuration says, over the store's objects of one process: each part is built once, when first needed."""

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING

from worker.core.customers.customers import Customer, FieldProblem
from worker.core.database.database import Database
from worker.core.foundation.clock import Clock
from worker.core.foundation.keyring import Keyring
from worker.core.messages.contact import ContactPolicy
from worker.core.messages.quiet_hours import Hours
from worker.failover.store.takeovers import Takeovers
from worker.http.trust import Trust, trust_of
from worker.providers.contract import Provider
from worker.settings.accounts import Account
from worker.settings.model import Settings
from worker.settings.policies import BudgetRules, budget_rules, contact_policy, hours_of
from worker.wiring.account_budgets import AccountBudgets
from worker.wiring.store.carried_budgets import as_counted
from worker.wiring.stores import Stores

if TYPE_CHECKING:
    from worker.lists.importing.intake import Rule
    from worker.senders.contract import Sender
    from worker.templates.pages import Pages
    from worker.templates.render import Templates


class Configured(Stores):
    """The configuration's accounts, senders, templates, routes and limits."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        providers: Mapping[str, Provider],
        senders: "Mapping[str, Sender] | None",
        *,
        clock: Clock,
        jitter: Callable[[], float],
    ) -> None:
        """`senders` None: those of the configuration."""
        super().__init__(settings, database, keyring, delivery=lambda: self.contact, jitter=jitter)
        self.settings, self.clock, self.providers, self._senders = settings, clock, providers, senders
        self.accounts: Mapping[str, Account] = settings.accounts

    @cached_property
    def senders(self) -> "Mapping[str, Sender]":
        """By channel. Built when first needed, on the loop that will use them."""
        if self._senders is not None:
            return self._senders
        from worker.wiring.senders import build_senders  # imported here: aiohttp and aiosmtplib

        return build_senders(self.settings, self.clock, self.keyring)

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that this configuration can send on."""
        return tuple(self.settings.sending) if self._senders is None else tuple(self._senders)

    @cached_property
    def trust(self) -> Trust:
        """The certificates that calls to the providers trust."""
        return trust_of({account.base_url: account.protection for account in self.accounts.values()})

    @cached_property
    def templates(self) -> "Templates":
        from worker.wiring.templates import templates_of  # imported here: Jinja

        return templates_of(self.settings)

    @cached_property
    def message_columns(self) -> frozenset[str]:
        """The columns of lists for messages that the configuration or a template of the operator's names."""
        named = frozenset(self.settings.import_.for_messages)
        return named if self.settings.invitations.templates is None else named | self.templates.own_columns

    @cached_property
    def lacking_columns(self) -> Callable[[Customer], list[FieldProblem]]:
        """What of the list's own columns a customer's messages need, and the row lacks. Without templates of the
        operator's: nothing."""
        if self.settings.invitations.templates is None:
            return lambda _customer: []
        from worker.wiring.templates import lacking_columns  # imported here: Jinja

        return lambda customer: lacking_columns(self.templates, self.contact, customer)

    @cached_property
    def link_pages(self) -> "Mapping[str, Pages]":
        """The page of stable links, by brand. Reads the templates."""
        from worker.wiring.templates import pages_of  # imported here: Jinja

        return pages_of(self.settings)

    @cached_property
    def routes(self) -> "list[Rule]":
        """The routes, in order."""
        from worker.lists.importing.intake import Rule

        return [Rule(route.when, route.accounts, route.freshness, route.brand or "") for route in self.settings.routes]

    @cached_property
    def hours(self) -> Hours:
        """When customers may be written to."""
        return hours_of(self.settings)

    @cached_property
    def contact(self) -> ContactPolicy:
        """How customers are written to."""
        return contact_policy(self.settings, channels=self.channels)

    @cached_property
    def _rules(self) -> BudgetRules:
        return budget_rules(self.settings, self.channels)

    @property
    def budget_rules(self) -> BudgetRules:
        """Without the credentials, which say what accounts share a budget, as they were counted last."""
        is_known = not any(account.lacks_credentials for account in self.accounts.values())
        return self._rules if is_known else as_counted(self._rules, self.database)

    @property
    def account_budgets(self) -> AccountBudgets:
        return AccountBudgets(self.budget_rules, self)

    @property
    def takeovers(self) -> Takeovers:
        """Which accounts may take over rows from which."""
        lifetimes = {name: provider.lifetime for name, provider in self.providers.items()}
        return Takeovers(
            routes=[route.accounts for route in self.settings.routes],
            rules=self.budget_rules.accounts,
            lifetimes=lifetimes,
            budgets=self.budgets,
            failover=self.failover,
        )
