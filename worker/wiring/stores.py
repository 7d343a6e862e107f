"""Builds the store's objects over one database, and what the configuration says for them.

What is costly to load or to make is so when first needed: what work, webhooks and events need. Most commands only read
how batches stand.
"""

from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.database.audit_entries import Act
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import Customer, FieldProblem
from onboarding_worker.core.model.incoming import ACCOUNT, SENDER
from onboarding_worker.core.rules.contact import ContactPolicy
from onboarding_worker.core.rules.quiet_hours import Hours
from onboarding_worker.core.upkeep.takeovers import Takeovers
from onboarding_worker.events.store.refused_events import RefusedEvents
from onboarding_worker.http.trust import Trust, trust_of
from onboarding_worker.lists.decisions.store.decisions import Decisions
from onboarding_worker.lists.decisions.store.do_not_contact import DoNotContact
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from onboarding_worker.lists.importing.routing import Rule
from onboarding_worker.lists.store.batches import Batches
from onboarding_worker.plans.store.pilots import Pilots
from onboarding_worker.providers.contract import Provider, webhook_peers
from onboarding_worker.reporting.store.processes import Processes
from onboarding_worker.reporting.store.report_rows import Facts
from onboarding_worker.settings.accounts import Account
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.policies import BudgetRules, budget_rules, contact_policy, hours_of
from onboarding_worker.wiring.store.carried_budgets import as_counted

if TYPE_CHECKING:
    from onboarding_worker.core.messages.claim_invitations import Invitations
    from onboarding_worker.core.work.store.claim_jobs import Jobs
    from onboarding_worker.events.store.inbox import Inboxes
    from onboarding_worker.senders.contract import Sender
    from onboarding_worker.templates.pages import Pages
    from onboarding_worker.templates.render import Templates
    from onboarding_worker.web.webhooks.store.webhook_list import WebhookList
    from onboarding_worker.web.webhooks.store.webhooks import Webhooks

Made = TypeVar("Made")


class Stores:
    """The store's objects of one process, which open no connection before they are used; and the configuration's
    accounts, senders, templates, routes and limits."""

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
        self.settings, self.database, self.keyring = settings, database, keyring
        self.providers, self._senders, self.clock, self.jitter = providers, senders, clock, jitter
        self.accounts: Mapping[str, Account] = settings.accounts
        wide = {name for name, sender in settings.web.senders.items() if sender.rights(name).every_customer}
        self.batches = Batches(database, keyring, wide=wide)
        self.budgets = Budgets(database)
        self.pilots = Pilots(database)
        self.emergency_stops = EmergencyStops(database)
        self.facts = Facts(database, keyring)
        self.processes = Processes(database)
        self.do_not_contact = DoNotContact(database, keyring)
        self.decisions = Decisions(database, most_messages=settings.invitations.messages_per_customer)
        self.refused_events = RefusedEvents(database, keyring)
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[["Stores"], Made]) -> Made:
        """What a feature makes of these, kept for all who ask for it in this process."""
        if make not in self._made:
            self._made[make] = make(self)
        found: Made = self._made[make]
        return found

    def acting(self, act: Act) -> "Stores":
        """The same, whose changes the audit log ascribes to this act."""
        database = self.database.acting(act)
        return Stores(
            self.settings, database, self.keyring, self.providers, self._senders, clock=self.clock, jitter=self.jitter
        )

    @cached_property
    def jobs(self) -> "Jobs":
        from onboarding_worker.core.work.store.claim_jobs import Jobs

        return Jobs(self.database, self.keyring, jitter=self.jitter)

    @cached_property
    def invitations(self) -> "Invitations":
        from onboarding_worker.core.messages.claim_invitations import Invitations

        return Invitations(self.database, self.keyring, jitter=self.jitter)

    @cached_property
    def inboxes(self) -> "Inboxes":
        from onboarding_worker.events.store.inbox import Inboxes

        return Inboxes(self.database, self.keyring)

    @cached_property
    def webhook_list(self) -> "WebhookList":
        from onboarding_worker.web.webhooks.store.webhook_list import WebhookList

        return WebhookList(self.database, self.keyring)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """Built when first used: which accounts are one at the provider is known by their credentials."""
        from onboarding_worker.web.webhooks.session_chain import Again
        from onboarding_worker.web.webhooks.store.delivery_reports import apply_delivery_updates
        from onboarding_worker.web.webhooks.store.provider_updates import apply_provider_updates
        from onboarding_worker.web.webhooks.store.webhooks import Apply, Webhooks

        settings = self.settings
        peers = webhook_peers(settings.accounts)  # for each account, all whose webhooks come to its address
        refused_for = frozenset(settings.retry_after_denial.reasons)
        again = Again(settings.follow_up.most, settings.follow_up.spacing, refused_for)
        apply: dict[str, Apply] = {  # by the prefix of the sources
            ACCOUNT: partial(apply_provider_updates, self.keyring, peers, again),
            SENDER: partial(apply_delivery_updates, self.keyring, lambda: self.contact),
        }
        return Webhooks(self.database, self.keyring, apply)

    @cached_property
    def senders(self) -> "Mapping[str, Sender]":
        """By channel. Built when first needed, on the loop that will use them."""
        if self._senders is not None:
            return self._senders
        from onboarding_worker.wiring.senders import build_senders  # imported here: aiohttp and aiosmtplib

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
        from onboarding_worker.wiring.templates import templates_of  # imported here: Jinja

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
        from onboarding_worker.wiring.templates import lacking_columns  # imported here: Jinja

        return lambda customer: lacking_columns(self.templates, self.contact, customer)

    @cached_property
    def link_pages(self) -> "Mapping[str, Pages]":
        """The page of stable links, by brand. Reads the templates. The simulation has bare ones in their place."""
        from onboarding_worker.wiring.templates import pages_of  # imported here: Jinja

        return pages_of(self.settings)

    @cached_property
    def routes(self) -> tuple[Rule, ...]:
        return tuple(Rule(one.when, one.accounts, one.freshness, one.brand or "") for one in self.settings.routes)

    @cached_property
    def hours(self) -> Hours:
        """When customers may be written to."""
        return hours_of(self.settings)

    @cached_property
    def contact(self) -> ContactPolicy:
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
    def takeovers(self) -> Takeovers:
        """Which accounts may take over rows from which, and the moves."""
        lifetimes = {name: provider.lifetime for name, provider in self.providers.items()}
        return Takeovers(
            routes=[route.accounts for route in self.settings.routes],
            rules=self.budget_rules.accounts,
            lifetimes=lifetimes,
            database=self.database,
        )
