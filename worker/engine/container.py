"""Builds every part once, from the configuration: the one place where the parts meet."""

import os
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from datetime import timedelta
from email.utils import parseaddr
from functools import cached_property

import sqlalchemy as sa

from worker.domain.contact.caps import Caps
from worker.domain.contact.contact_times import Hours
from worker.domain.events.published import BUS, SUBSCRIBER, Happened
from worker.domain.invitations import Templates
from worker.domain.limits.budgets import BudgetRule
from worker.domain.model.customers import Customer, FieldProblem, invitation_channels
from worker.domain.routing import Rule
from worker.engine.steps.common import FLUSH_MARGIN, Ring
from worker.engine.steps.invite import InviteWork
from worker.engine.steps.issue import IssueWork
from worker.engine.steps.policies import (
    account_rule,
    caps_of,
    delivery_policy,
    expiry_policy,
    hours_of,
    invitation_policy,
    job_policy,
    sender_rule,
    sender_timeout,
)
from worker.foundation.clock import Clock, SharedClock, system_clock
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.http.client import Http, OwnHttp
from worker.providers.account import AccountUnusable
from worker.providers.contract import Provider
from worker.providers.parameters import check_parameters
from worker.providers.registry import build_provider, webhook_peers
from worker.senders.contract import Sender
from worker.senders.email import EmailSender
from worker.senders.sms import TwilioSender
from worker.settings import Account, Settings, SettingsError
from worker.store.base.database import Database
from worker.store.base.encrypted_values import decrypt_person
from worker.store.issuing.claim_jobs import Jobs
from worker.store.issuing.record_results import Attempts
from worker.store.limits.budgets import Budgets
from worker.store.maintenance.due_work import Sweeps
from worker.store.maintenance.expired_sessions import Expiring, ExpiryPolicy
from worker.store.maintenance.takeover import Failover
from worker.store.messages.claim_invitations import Invitations
from worker.store.messages.fallback import DeliveryPolicy
from worker.store.messages.record_results import Handovers
from worker.store.messages.suppressions import keys_gone
from worker.store.onboarding.batches import Batches
from worker.store.operators.decisions import Decisions
from worker.store.operators.ledger import Ledger
from worker.store.operators.report_rows import Facts
from worker.store.outbox.outbox import Subscriptions
from worker.store.privacy.erasure import Erasing
from worker.store.privacy.inbox_retention import InboxRetention
from worker.store.privacy.purge import Purging
from worker.store.webhooks.delivery_updates import DeliveryUpdates
from worker.store.webhooks.provider_updates import ProviderUpdates
from worker.store.webhooks.webhook_list import WebhookList
from worker.store.webhooks.webhooks import ACCOUNT, SENDER, Webhooks

# A lease must have room for a short wait, the call, and writing its result.
LEASE_ROOM = timedelta(seconds=5)
DATABASE_THREADS = 8
UNNAMED = "Verification"  # the sender name of a text if neither [sms] nor [email] has one


class Parts:
    """All parts of one process. Create it after a fork, never before: it holds connections."""

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
        self.providers = _providers(settings)
        _check_leases(settings)
        self.keyring = Keyring([key.reveal() for key in settings.encryption.keys])
        self.subscriptions = subscriptions_of(settings)
        # Each publisher of a target holds a connection.
        connections = DATABASE_THREADS + len(self.subscriptions.targets)
        self.database = Database(settings.database.url, connections=connections, subscriptions=self.subscriptions)
        if clock is system_clock and not self.database.is_sqlite:
            self.clock = SharedClock()
        self.jobs = Jobs(self.database, self.keyring, jitter=jitter)
        self.attempts = Attempts(self.database, self.keyring)
        self.invitations = Invitations(self.database, self.keyring, jitter=jitter)
        self.handovers = Handovers(self.database, self.keyring)
        self.batches = Batches(self.database, self.keyring)
        self.budgets = Budgets(self.database)
        self.decisions = Decisions(self.database)
        self.facts = Facts(self.database, self.keyring)
        self.ledger = Ledger(self.database)
        self.sweeps = Sweeps(self.database, jitter=jitter)
        self.failover = Failover(self.database)
        self.expiring = Expiring(self.database, self.keyring)
        self.erasing, self.purging = Erasing(self.database), Purging(self.database)
        self.inbox_retention = InboxRetention(self.database)
        provider_updates = ProviderUpdates(
            self.keyring, webhook_peers(settings.accounts), most_reissues=settings.reissue.most
        )
        delivers = DeliveryUpdates(self.keyring, lambda: self.delivery_policy)
        self.webhooks = Webhooks(self.database, self.keyring, {ACCOUNT: provider_updates, SENDER: delivers})
        self.webhook_list = WebhookList(self.database, self.keyring)
        self._senders = senders
        # The end is random: containers with the same host name may each number their processes from 1.
        self.owner = f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(3)}"

    @cached_property
    def senders(self) -> Mapping[str, Sender]:
        """By channel. Built when first needed, on the loop that will use them."""
        if self._senders is not None:
            return self._senders
        senders: dict[str, Sender] = {}
        email, sms = self.settings.email, self.settings.sms
        if email is not None:
            senders["email"] = EmailSender(
                host=email.host,
                port=email.port,
                tls=email.tls,
                username=email.username or "",
                password=email.password.reveal() if email.password else "",
                from_=email.from_,
                timeout=email.timeout,
                connections=email.connections,
                hold_unknown=email.on_unknown == "hold",
                now=self.clock,
            )
        if sms is not None:
            senders["sms"] = TwilioSender(
                OwnHttp(),
                base_url=sms.base_url,
                account=sms.account,
                token=sms.token,
                from_=sms.from_,
                timeout=sms.timeout,
                callback=callback_address(self.settings.links.base_url, "sms"),
                repeat_unknown=sms.on_unknown == "repeat",
                now=self.clock,
            )
        return senders

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that this configuration can send on."""
        if self._senders is not None:
            return tuple(self._senders)
        given = {"email": self.settings.email, "sms": self.settings.sms}
        return tuple(channel for channel, settings in given.items() if settings is not None)

    @cached_property
    def templates(self) -> Templates:
        invitations = self.settings.invitations
        return Templates(invitations.templates, locale=invitations.locale)

    @cached_property
    def rules(self) -> list[Rule]:
        """The routes, in order."""
        return [Rule(route.when, route.accounts, route.freshness) for route in self.settings.routes]

    def budget_of(self, account: str) -> BudgetRule:
        return account_rule(self.settings, account)

    def sender_budget(self, channel: str) -> BudgetRule:
        return sender_rule(self.settings, channel)

    @cached_property
    def hours(self) -> Hours:
        """When customers may be written to."""
        return hours_of(self.settings)

    @cached_property
    def caps(self) -> Caps:
        """What one customer may cost at most."""
        return caps_of(self.settings)

    @property
    def delivery_policy(self) -> DeliveryPolicy:
        """What happens to messages that come back."""
        return delivery_policy(self.settings, channels=self.channels)

    @cached_property
    def expiry_policy(self) -> ExpiryPolicy:
        """What happens to sessions that ended unused."""
        return expiry_policy(self.settings, self.providers, channels=self.channels)

    def ready(self) -> None:
        """Create the rows of budgets, and set the clock by the database's. The schema must be up to date."""
        self.budgets.ensure(
            [self.budget_of(name).name for name in self.accounts]
            + [self.sender_budget(channel).name for channel in self.channels]
            + list(self.subscriptions.targets)  # the pauses of each target: see `outbox_publisher`
        )
        self.set_clock()

    def check_keys(self) -> None:
        """Try the keys on the database. Raises SettingsError if they do not decrypt the newest encrypted row.

        A single row that cannot be decrypted is held; with wrong keys every row would be held. And if a key is
        missing, the suppressed addresses that it hashed would be written to again, against their owners' wishes.
        """
        newest = self.facts.any_encrypted()
        try:
            if newest is not None:
                decrypt_person(self.keyring, *newest)
            with self.database.read() as connection:
                unknown = keys_gone(connection, self.keyring)
        except CannotDecrypt as error:
            raise SettingsError([f"encryption.keys: {error}"]) from None
        if unknown:
            raise SettingsError(
                [
                    f"encryption.keys: {unknown:,} suppressed addresses are known by a key that is not in the ring,"
                    " and would be written to; put the key back at the end of the list, or give the addresses up with"
                    " `onboard suppress --forget-unknown`"
                ]
            )

    def resume(self) -> None:
        """Resume stopped accounts and senders, each with a single call first."""
        for name in self.accounts:
            self.budgets.resume(self.budget_of(name).name)
        senders = [self.budgets.resume(self.sender_budget(channel).name) for channel in self.channels]
        if any(senders):
            self.jobs.put_forward(now=self.clock())

    def set_clock(self) -> None:
        """Set the clock by the database's, if there may be several machines; exact to about half a round trip."""
        clock = self.clock
        if not isinstance(clock, SharedClock):
            return
        with self.database.read() as connection:
            connection.execute(sa.text("SELECT 1"))  # connecting takes long: do it before the two readings
            before = clock.own()
            theirs = connection.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
            after = clock.own()
        clock.measured(before=before, theirs=theirs, after=after)

    def able(self, account: str, customer: Customer) -> list[FieldProblem]:
        """Why the account cannot serve the customer; empty when it can."""
        return self.providers[account].refuses(customer)

    def unsendable(self, customer: Customer) -> list[FieldProblem]:
        """Why the customer's invitation could not be rendered or sent; empty when it could."""
        problems = [
            FieldProblem("channel", f"no sender is configured for {channel}", f"add [{channel}] to the configuration")
            for channel in invitation_channels(customer.channel)
            if channel not in self.channels
        ]
        if customer.template and customer.template not in self.templates.names:
            known = ", ".join(sorted(self.templates.names))
            problems.append(FieldProblem("template", "there is no template of that name", f"use one of {known}"))
        return problems

    def issue_work(self, account: str, http: Http, *, ring_invite: Ring) -> IssueWork:
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
            ring_invite=ring_invite,
            transaction=self.database.write,
            clock=self.clock,
            jitter=self._jitter,
        )

    def invite_work(self, channel: str) -> InviteWork:
        sender = self.senders[channel]
        return InviteWork(
            policy=invitation_policy(self.settings, channel, sender, channels=self.channels, owner=self.owner),
            sender=sender,
            sender_name=self.sender_name(channel),
            timeout=sender_timeout(self.settings, channel),
            templates=self.templates,
            providers=dict(self.providers),
            invitations=self.invitations,
            handovers=self.handovers,
            transaction=self.database.write,
            clock=self.clock,
            jitter=self._jitter,
        )

    def sender_name(self, channel: str) -> str:
        """The sender name of a message: for a text the name in `[sms]`, else the name of the mails."""
        email, sms = self.settings.email, self.settings.sms
        if channel == "sms" and sms is not None and sms.sender_name:
            return sms.sender_name
        return display_name(email.from_) if email else UNNAMED

    def close(self) -> None:
        self.database.close()


def subscriptions_of(settings: Settings) -> Subscriptions:
    """Which targets get which events."""
    everything = frozenset(Happened)
    targets = {BUS: everything} if settings.bus is not None else {}
    for name, subscriber in settings.subscribers.items():
        targets[f"{SUBSCRIBER}{name}"] = frozenset(map(Happened, subscriber.types)) or everything
    return Subscriptions(targets, {name: account.provider for name, account in settings.accounts.items()})


def not_applied_yet(settings: Settings) -> list[str]:
    """Settings that this release does not apply yet: the operator must know before relying on them."""
    asked = {
        "links.mode": settings.links.mode != "provider",
    }
    return [f"{key}: this release does not apply it yet" for key, is_asked in asked.items() if is_asked]


def callback_address(base_url: str | None, channel: str) -> str:
    """The address to which a sender posts delivery updates; "" if this installation has no public address."""
    return f"{base_url.rstrip('/')}/callbacks/{channel}" if base_url else ""


def display_name(from_: str) -> str:
    """The sender name of a mail: the name in `from`, or else the domain."""
    name, address = parseaddr(from_)
    return name or address.partition("@")[2]


def _providers(settings: Settings) -> dict[str, Provider]:
    providers, problems = {}, []
    for name, account in settings.accounts.items():
        try:
            providers[name] = build_provider(account)
        except AccountUnusable as error:
            problems.append(str(error))
            continue
        problems += [
            f"accounts.{name}.parameters.{found.column.partition('.')[2] or found.column}: {found.problem}"
            + (f"; {found.hint}" if found.hint else "")
            for found in check_parameters(account.provider, account.parameters, account.dialect)
        ]
    if problems:
        raise SettingsError(problems)
    return providers


def _check_leases(settings: Settings) -> None:
    """Raise SettingsError if a call could outlive its lease: another worker may own the row by then."""
    timeouts = {f"accounts.{name}.timeout": account.timeout for name, account in settings.accounts.items()}
    if settings.email:
        timeouts["email.timeout"] = settings.email.timeout
    if settings.sms:
        timeouts["sms.timeout"] = settings.sms.timeout
    problems = [
        f"worker.lease: {settings.worker.lease.total_seconds():g} s is too short for {key} ="
        f" {timeout.total_seconds():g} s; write at least {(timeout + FLUSH_MARGIN + LEASE_ROOM).total_seconds():g} s"
        for key, timeout in timeouts.items()
        if settings.worker.lease < timeout + FLUSH_MARGIN + LEASE_ROOM
    ]
    if problems:
        raise SettingsError(problems)
