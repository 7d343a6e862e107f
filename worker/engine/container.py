"""Builds every part once, from the configuration: the one place where the parts meet.

Commands, `engine.opening`, `engine.runner` and the runtime hold `Parts`; everything else is handed what it uses.
"""

import os
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from functools import cached_property

from worker.domain.contact.contact_times import Hours
from worker.domain.invitations import Templates
from worker.domain.routing import Rule
from worker.engine.adapters import build_providers, build_senders, configured_channels, sender_name
from worker.engine.intake import Intake
from worker.engine.maintenance.retention import Retention
from worker.engine.maintenance.sweep import Sweep
from worker.engine.maintenance.takeover import Takeovers
from worker.engine.outbox_targets import OutboxTargets, subscriptions_of, target_policies
from worker.engine.reporting.batch_report import Reporting
from worker.engine.steps.invite import InviteWork
from worker.engine.steps.issue import IssueWork
from worker.engine.steps.policies import (
    BudgetRules,
    budget_rules,
    check_leases,
    delivery_policy,
    expiry_policy,
    hours_of,
    invitation_policy,
    job_policy,
    sender_timeout,
)
from worker.engine.steps.step_endings import WakeInvite
from worker.engine.stores import Stores
from worker.foundation.clock import Clock, SharedClock, system_clock
from worker.foundation.keyring import Keyring
from worker.http.client import Http
from worker.senders.contract import Sender
from worker.settings import Account, Settings
from worker.store.base.database import Database
from worker.store.messages.fallback import DeliveryPolicy

DATABASE_THREADS = 8


class Parts(Stores):
    """All parts of one process. Make it after a fork, never before: it holds connections."""

    database_threads = DATABASE_THREADS

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock = system_clock,
        jitter: Callable[[], float] = random.random,
        senders: Mapping[str, Sender] | None = None,
    ) -> None:
        """Raises SettingsError when the configuration names what cannot work. Opens no connection yet."""
        self.settings = settings
        self.clock = clock
        self._jitter = jitter
        self.accounts: Mapping[str, Account] = settings.accounts
        self.providers = build_providers(settings)
        check_leases(settings)
        keyring = Keyring([key.reveal() for key in settings.encryption.keys])
        self.subscriptions = subscriptions_of(settings)
        # A publisher holds a connection for each target while it publishes.
        connections = DATABASE_THREADS + len(self.subscriptions.targets)
        database = Database(settings.database.url, connections=connections, subscriptions=self.subscriptions)
        if clock is system_clock and not database.is_sqlite:
            self.clock = SharedClock()
        super().__init__(settings, database, keyring, delivery=lambda: self.delivery_policy, jitter=jitter)
        self._senders = senders
        # The end is random: containers with the same host name may each number their processes from 1.
        self.owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(3)}"

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        """By channel. Built when first needed, on the loop that will use them."""
        return build_senders(self.settings, self.clock) if self._senders is None else self._senders

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that this configuration can send on."""
        return configured_channels(self.settings) if self._senders is None else tuple(self._senders)

    @cached_property
    def templates(self) -> Templates:
        invitations = self.settings.invitations
        return Templates(invitations.templates, locale=invitations.locale)

    @cached_property
    def routes(self) -> list[Rule]:
        """The routes, in order."""
        return [Rule(route.when, route.accounts, route.freshness) for route in self.settings.routes]

    @cached_property
    def budget_rules(self) -> BudgetRules:
        return budget_rules(self.settings, self.channels)

    @cached_property
    def hours(self) -> Hours:
        """When customers may be written to."""
        return hours_of(self.settings)

    @property
    def delivery_policy(self) -> DeliveryPolicy:
        """What happens to messages that come back."""
        return delivery_policy(self.settings, channels=self.channels)

    @property
    def intake(self) -> Intake:
        """What rows of lists, and events, are judged by."""
        return Intake(
            clock=self.clock,
            columns=self.settings.import_.columns,
            routes=self.routes,
            providers=self.providers,
            channels=self.channels,
            templates=lambda: self.templates.names,
            hours=self.hours,
        )

    @property
    def takeovers(self) -> Takeovers:
        """Which accounts may take over rows from which."""
        lifetimes = {name: provider.lifetime for name, provider in self.providers.items()}
        return Takeovers(
            routes=self.routes,
            rules=self.budget_rules.accounts,
            lifetimes=lifetimes,
            budgets=self.budgets,
            failover=self.failover,
        )

    @property
    def sweep(self) -> Sweep:
        """The timer's work."""
        return Sweep(
            clock=self.clock,
            database=self.database,
            leases=self.sweeps,
            retry=self.settings.retry.policy,
            budgets=self.budgets,
            rules=self.budget_rules,
            takeovers=self.takeovers,
            decisions=self.decisions,
            webhooks=self.webhooks,
            sessions=self.expiring,
            expiry=expiry_policy(self.settings, self.providers, channels=self.channels),
        )

    def retention(self) -> Retention:
        """Make the process's retention, which remembers how far it has looked."""
        return Retention(
            self.clock,
            personal=self.settings.retention.personal,
            batches=self.settings.retention.batches,
            erasing=self.erasing,
            purging=self.purging,
            facts=self.facts,
            inbox=self.inbox_retention,
            webhooks=self.webhook_list,
            outbox=self.outbox_targets,
        )

    @property
    def outbox_targets(self) -> OutboxTargets:
        """The targets that changes are published to."""
        policies = target_policies(self.settings)
        return OutboxTargets(policies=policies, database=self.database, budgets=self.budgets, clock=self.clock)

    @property
    def reporting(self) -> Reporting:
        """What is reported of a batch."""
        return Reporting(
            clock=self.clock,
            facts=self.facts,
            budgets=self.budgets,
            rules=self.budget_rules,
            takeovers=self.takeovers,
        )

    def ready(self) -> None:
        """Make the budgets' rows, and set the clock by the database's. The schema must be up to date."""
        rules = self.budget_rules.all().values()
        # A target's row keeps how publishing to it goes: see `outbox_publisher`.
        self.budgets.ensure([rule.name for rule in rules] + list(self.subscriptions.targets))
        self.set_clock()

    def resume(self) -> None:
        """Let stopped accounts and senders be tried again, each with a single call first."""
        for rule in self.budget_rules.accounts.values():
            self.budgets.resume(rule.name)
        senders = [self.budgets.resume(rule.name) for rule in self.budget_rules.channels.values()]
        if any(senders):
            self.jobs.make_waiting_jobs_due(now=self.clock())

    def set_clock(self) -> None:
        """Set the clock by the database's, where there are several machines."""
        if isinstance(self.clock, SharedClock):
            self.database.set_clock(self.clock)

    def issue_work(self, account: str, http: Http, *, wake_invite: WakeInvite) -> IssueWork:
        settings = self.accounts[account]
        provider = self.providers[account]
        return IssueWork(
            policy=job_policy(self.settings, account, provider, channels=self.channels, owner=self.owner),
            provider=provider,
            http=http,
            timeout=settings.timeout,
            repeat_unknown=settings.on_unknown == "repeat",
            jobs=self.jobs,
            attempts=self.attempts,
            wake_invite=wake_invite,
            transaction=self.database.write,
            clock=self.clock,
            jitter=self._jitter,
        )

    def invite_work(self, channel: str) -> InviteWork:
        sender = self.senders[channel]
        return InviteWork(
            policy=invitation_policy(self.settings, channel, sender, channels=self.channels, owner=self.owner),
            sender=sender,
            sender_name=sender_name(self.settings, channel),
            timeout=sender_timeout(self.settings, channel),
            templates=self.templates,
            providers=dict(self.providers),
            invitations=self.invitations,
            handovers=self.handovers,
            transaction=self.database.write,
            clock=self.clock,
            jitter=self._jitter,
        )

    def close(self) -> None:
        self.database.close()
