"""The policies of accounts and senders: how the configuration decides what their jobs or messages are claimed by.

Budgets, leases, reconciliation, caps for one customer: the configuration has them. What it cannot say the adapter
does: how long its links live, and whether its calls can be reconciled.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from email.utils import parseaddr
from typing import TYPE_CHECKING

from onboarding_worker.core.foundation.features import Hook
from onboarding_worker.core.model.channels import CHANNELS, is_mail
from onboarding_worker.core.rules.budgets import FLUSH_MARGIN, BudgetRule
from onboarding_worker.core.rules.contact import Caps, ContactPolicy, CorrectedRule, Ladder, PauseRule, Rung
from onboarding_worker.core.rules.quiet_hours import Hours
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.providers.contract import Provider
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.problems import SettingsError

if TYPE_CHECKING:
    from onboarding_worker.core.rows.own_links import StableLinks

# A row must be able to wait a little under its lease, be called for, and be written.
LEASE_ROOM = timedelta(seconds=5)
TEXT_PERMITS = 10  # calls in flight to the service of a channel
# How our own links are made; None: they are not. The feature `stable_links` makes them, and answers who opens one.
OWN_LINKS: Hook["Callable[[Settings], StableLinks | None]"] = Hook("OWN_LINKS")


def account_rule(settings: Settings, account: str) -> BudgetRule:
    of = settings.accounts[account]
    in_all = next((cap.count for cap in of.credits if not cap.period), None)
    by_period = tuple(cap for cap in of.credits if cap.period)
    retry = settings.retry.policy
    return BudgetRule(of.budget, of.limits, of.concurrency, in_all, retry, ahead=of.burst, credits_by=by_period)


def sender_rule(settings: Settings, channel: str) -> BudgetRule:
    """The budget of what is handed over on a channel."""
    retry = settings.retry.policy
    if not is_mail(channel):
        texting = settings.texting(channel)
        # The provider counts the messages of each From.
        name = f"sender/{channel}:{texting.from_}" if texting else f"sender/{channel}"
        return BudgetRule(name, texting.limits if texting else (), TEXT_PERMITS, retry=retry, opens_after=None)
    email = settings.email
    limits = email.limits if email else ()
    permits = email.connections if email else 1
    # Refusals open no breaker: a relay refuses recipients one by one. The permits are connections, which each process
    # keeps open.
    ramp = email.ramp if email else None
    return BudgetRule(f"sender/{channel}", limits, permits, retry=retry, ramp=ramp, opens_after=None, each_process=True)


@dataclass(frozen=True)
class BudgetRules:
    """The budget of each account, and of each channel that has a sender."""

    accounts: Mapping[str, BudgetRule]
    channels: Mapping[str, BudgetRule]

    def all(self) -> dict[str, BudgetRule]:
        """The budgets by the name of their account or channel."""
        return {**self.accounts, **self.channels}


def budget_rules(settings: Settings, channels: Collection[str]) -> BudgetRules:
    """`channels` are those that messages are sent on."""
    return BudgetRules(
        named_together({name: account_rule(settings, name) for name in settings.accounts}),
        named_together({channel: sender_rule(settings, channel) for channel in channels}),
    )


def named_together(rules: Mapping[str, BudgetRule]) -> dict[str, BudgetRule]:
    """The rules, each with the names of all accounts of its budget, or of its channel."""
    sharing: dict[str, list[str]] = {}
    for name, rule in rules.items():
        sharing.setdefault(rule.name, []).append(name)
    return {name: replace(rule, names=tuple(sharing[rule.name])) for name, rule in rules.items()}


def check_leases(settings: Settings) -> None:
    """Raise SettingsError where a call could outlive its lease: another process may own the row by then."""
    timeouts = {f"accounts.{name}.timeout": account.timeout for name, account in settings.accounts.items()}
    timeouts |= {f"{channel}.timeout": sending.timeout for channel, sending in settings.sending.items()}
    problems = [
        f"worker.lease: {settings.worker.lease.total_seconds():g} s is too short for {key} ="
        f" {timeout.total_seconds():g} s; write at least {(timeout + FLUSH_MARGIN + LEASE_ROOM).total_seconds():g} s"
        for key, timeout in timeouts.items()
        if settings.worker.lease < timeout + FLUSH_MARGIN + LEASE_ROOM
    ]
    if problems:
        raise SettingsError(problems)


def sender_timeout(settings: Settings, channel: str) -> timedelta:
    sending = settings.sending.get(channel)
    return sending.timeout if sending else timedelta(seconds=30)


def hours_of(settings: Settings) -> Hours:
    return Hours(settings.invitations.quiet, settings.invitations.timezone)


def fallbacks(configured: str | None, senders: Collection[str]) -> Mapping[str, str]:
    """The channel to try after a bounce, by channel. `configured` is the configuration's; `senders` are the channels
    that have a sender."""
    found: dict[str, str] = {}
    for name, facts in CHANNELS.items():
        other = facts.falls_to if facts.falls_to in senders else configured
        if other is not None and other in senders and other != name:
            found[name] = other
    return found


def contact_policy(settings: Settings, *, channels: Collection[str]) -> ContactPolicy:
    """How customers are written to; `channels` have a sender."""
    invitations, follow_up = settings.invitations, settings.follow_up
    ladder = {step.after: Rung(step.channel or "", step.template or "") for step in follow_up.ladder}
    return ContactPolicy(
        caps=Caps(follow_up.most, invitations.messages_per_customer),
        spacing=follow_up.spacing,
        ahead=follow_up.ahead,
        per_day=follow_up.per_day,
        refused_for=frozenset(settings.retry_after_denial.reasons),
        corrected=CorrectedRule(follow_up.corrected_address),
        fallbacks=fallbacks(invitations.fallback, channels),
        budgets=named_together({channel: sender_rule(settings, channel) for channel in channels}),
        hours=hours_of(settings),
        address_cap=invitations.messages_per_address,
        reminders=(*follow_up.reminders, *ladder),
        ladder=Ladder(ladder),
        pause=PauseRule(invitations.pause_over, invitations.pause_from) if invitations.pause_over < 100 else None,
        countries=texted_countries(settings),
        texts_per_country=settings.sms.per_country if settings.sms else None,
        brands=frozenset(settings.brands),
    )


def mail_domains(settings: Settings) -> frozenset[str]:
    """The domains that our own mails come from or are answered at: of each `from` and `reply_to`."""
    email = settings.email
    if email is None:
        return frozenset()
    ours = [email.from_, email.reply_to or ""]
    ours += [address for brand in settings.brands.values() for address in brand.addresses(email)]
    return frozenset(parseaddr(one)[1].rpartition("@")[2].lower() for one in ours if one)


def texted_countries(settings: Settings) -> frozenset[str] | None:
    """The countries that texts may go to; None: all."""
    given = settings.sms.countries if settings.sms else None
    return None if given is None else frozenset(given)


def stable_links(settings: Settings) -> "StableLinks | None":
    """How our own links are made; None: the provider's links are sent."""
    made = (one(settings) for one in OWN_LINKS.offered())
    return next((links for links in made if links is not None), None)


def buys_on_click(settings: Settings) -> bool:
    """Whether a session is bought when the customer presses the link's button, not before its message."""
    links = stable_links(settings)
    return links is not None and links.on_click


def orphan_rules(providers: Mapping[str, Provider]) -> dict[str, OrphanRule]:
    """How long the accounts' orphans are waited for, by account."""
    return {name: OrphanRule(provider.lifetime) for name, provider in providers.items()}


def listing_accounts(settings: Settings, providers: Mapping[str, Provider]) -> list[str]:
    """The accounts whose calls with an unknown outcome are looked up in the provider's list of its sessions."""
    return [
        name
        for name, provider in providers.items()
        if settings.accounts[name].on_unknown == "reconcile" and not provider.no_look_up
    ]
