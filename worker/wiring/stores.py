"""Builds the store's objects over one database, and what applies the webhooks of each kind of source.

What work, webhooks and events need is loaded when it is first asked for: most commands only read how batches stand.
"""

from collections.abc import Callable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from worker.core.database.database import Database
from worker.core.foundation.keyring import Keyring
from worker.core.limits.store.budgets import Budgets
from worker.core.messages.contact import ContactPolicy
from worker.failover.store.takeovers import Failover
from worker.lists.decisions.store.do_not_contact import DoNotContact
from worker.lists.decisions.store.emergency_stop import EmergencyStops
from worker.lists.store.batches import Batches
from worker.plans.store.pilots import Pilots
from worker.reporting.store.look import Looks
from worker.reporting.store.processes import Processes
from worker.reporting.store.report_rows import Facts
from worker.settings.model import Settings

if TYPE_CHECKING:
    from worker.core.messages.store.claim_invitations import Invitations
    from worker.core.unknown.store.expired_leases import ExpiredLeases
    from worker.core.work.store.claim_jobs import Jobs
    from worker.events.store.inbox import Inboxes
    from worker.events.store.refused_events import RefusedEvents
    from worker.lists.decisions.store.decisions import Decisions
    from worker.reporting.store.ledger import Ledger
    from worker.web.webhooks.store.webhook_list import WebhookList
    from worker.web.webhooks.store.webhooks import Webhooks

Made = TypeVar("Made")


class Stores:
    """The store's objects of one process. They open no connection before they are used."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        keyring: Keyring,
        *,
        delivery: Callable[[], ContactPolicy],
        jitter: Callable[[], float],
    ) -> None:
        """`delivery` returns what becomes of messages that come back; it is called for each chunk of webhooks."""
        self.database, self.keyring, self.jitter = database, keyring, jitter
        wide = {name for name, sender in settings.web.senders.items() if sender.rights(name).every_customer}
        self.batches = Batches(database, keyring, wide=wide)
        self.budgets = Budgets(database)
        self.pilots = Pilots(database)
        self.emergency_stops = EmergencyStops(database)
        self.facts = Facts(database, keyring)
        self.processes = Processes(database)
        self.looks = Looks(database)
        self.failover = Failover(database)
        self.do_not_contact = DoNotContact(database, keyring)
        self._accounts, self._follow_up, self._delivery = settings.accounts, settings.follow_up, delivery
        self._most_messages = settings.invitations.messages_per_customer
        self._refused_for = frozenset(settings.retry_after_denial.reasons)
        self._made: dict[Any, Any] = {}

    def once(self, make: Callable[["Stores"], Made]) -> Made:
        """What a feature makes of these, kept for all who ask for it in this process."""
        if make not in self._made:
            self._made[make] = make(self)
        found: Made = self._made[make]
        return found

    @cached_property
    def jobs(self) -> "Jobs":
        from worker.core.work.store.claim_jobs import Jobs

        return Jobs(self.database, self.keyring, jitter=self.jitter)

    @cached_property
    def invitations(self) -> "Invitations":
        from worker.core.messages.store.claim_invitations import Invitations

        return Invitations(self.database, self.keyring, jitter=self.jitter)

    @cached_property
    def expired_leases(self) -> "ExpiredLeases":
        from worker.core.unknown.store.expired_leases import ExpiredLeases

        return ExpiredLeases(self.database, jitter=self.jitter)

    @cached_property
    def decisions(self) -> "Decisions":
        from worker.lists.decisions.store.decisions import Decisions

        return Decisions(self.database, most_messages=self._most_messages)

    @cached_property
    def inboxes(self) -> "Inboxes":
        from worker.events.store.inbox import Inboxes

        return Inboxes(self.database, self.keyring)

    @cached_property
    def refused_events(self) -> "RefusedEvents":
        from worker.events.store.refused_events import RefusedEvents

        return RefusedEvents(self.database, self.keyring)

    @cached_property
    def ledger(self) -> "Ledger":
        from worker.reporting.store.ledger import Ledger

        return Ledger(self.database, self.keyring)

    @cached_property
    def webhook_list(self) -> "WebhookList":
        from worker.web.webhooks.store.webhook_list import WebhookList

        return WebhookList(self.database, self.keyring)

    @cached_property
    def webhooks(self) -> "Webhooks":
        """Built when first used: which accounts are one at the provider is known by their credentials."""
        from worker.providers.contract import webhook_peers
        from worker.web.webhooks.session_chain import Again
        from worker.web.webhooks.store.delivery_reports import apply_delivery_updates
        from worker.web.webhooks.store.provider_updates import apply_provider_updates
        from worker.web.webhooks.store.results import ACCOUNT, SENDER
        from worker.web.webhooks.store.webhooks import Apply, Webhooks

        peers = webhook_peers(self._accounts)  # for each account, all whose webhooks come to its address
        again = Again(self._follow_up.most, self._follow_up.spacing, self._refused_for)
        apply: dict[str, Apply] = {  # by the prefix of the sources
            ACCOUNT: partial(apply_provider_updates, self.keyring, peers, again),
            SENDER: partial(apply_delivery_updates, self.keyring, self._delivery),
        }
        return Webhooks(self.database, self.keyring, apply)
