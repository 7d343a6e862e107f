"""The policies of work: by what jobs and messages are claimed, and what becomes of sessions that ended unused."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core.dispatch.prefetch import EVENTS_AHEAD
from worker.core.lifecycle.store.expired_sessions import ExpiryPolicy
from worker.core.limits.store.backpressure import ASSUMED_LIFETIME
from worker.core.messages.store.message_context import InvitationPolicy
from worker.core.model.channels import channels_of
from worker.core.model.sessions import floor_of, max_age_of
from worker.core.unknown.reconciliation import MARGIN
from worker.core.work.store.job_context import ClaimedJob, JobPolicy
from worker.providers.contract import Provider
from worker.senders.contract import Sender
from worker.settings.accounts import Account
from worker.settings.model import Settings
from worker.settings.policies import listing_accounts, sender_timeout, stable_links

if TYPE_CHECKING:
    from worker.wiring.container import Parts


def job_policy(parts: "Parts", account: str, *, only_batch: int | None) -> JobPolicy:
    """`only_batch`: no row of another batch is claimed."""
    settings, provider, rules = parts.settings, parts.providers[account], parts.budget_rules
    of, own = settings.accounts[account], stable_links(settings)
    return JobPolicy(
        account=account,
        provider=of.provider,
        rule=rules.accounts[account],
        lease=settings.worker.lease,
        owner=parts.owner,
        ahead=EVENTS_AHEAD,
        reissue_at=provider.reissue_at,
        contact=parts.contact,
        lifetime=provider.lifetime,
        senders=rules.channels,
        max_age=_least_max_age(settings, account, provider),
        reminds=bool(set(channels_of("phone")) & rules.channels.keys()),
        reconcile_after=_reconcile_after(of.on_unknown, provider, of.timeout),
        row_is_repeatable=lambda job: of.on_unknown == "repeat" or provider.repeatable(job),
        orphan_life=_orphan_life(of, provider),
        on_click=own if own is not None and own.on_click else None,
        any_age=own is not None,
        only_batch=only_batch,
    )


def invitation_policy(parts: "Parts", channel: str, *, only_batch: int | None) -> InvitationPolicy:
    """As for `job_policy`."""
    settings, sender, providers = parts.settings, parts.senders[channel], parts.providers
    sending = settings.sending.get(channel)
    on_unknown = sending.on_unknown if sending else "hold"
    return InvitationPolicy(
        channel=channel,
        rule=parts.budget_rules.channels[channel],
        lease=settings.worker.lease,
        owner=parts.owner,
        ahead=EVENTS_AHEAD,
        contact=parts.contact,
        reissue_at=lambda account, expires_at: (
            # An account that was taken out of the configuration opens no session, so any time will do.
            providers[account].reissue_at(expires_at) if account in providers else expires_at
        ),
        all_are_repeatable=sender.repeatable(),
        reconcile_after=_reconcile_after(on_unknown, sender, sender_timeout(settings, channel)),
        stable=stable_links(settings),
        only_batch=only_batch,
    )


def expiry_policy(parts: "Parts") -> ExpiryPolicy:
    """What happens to sessions that ended unused."""
    settings, providers = parts.settings, parts.providers
    lists = listing_accounts(settings, providers)
    return ExpiryPolicy(
        contact=parts.contact,
        lifetimes={name: provider.lifetime for name, provider in providers.items()},
        reissue_at={name: provider.reissue_at for name, provider in providers.items()},
        lists=lists,
        can_ask=lambda: parts.account_budgets.not_stopped(lists),
        stable=stable_links(settings) is not None,
    )


def _least_max_age(settings: Settings, account: str, provider: Provider) -> timedelta:
    """The maximum age of the account's links when they are sent, on the route with the highest freshness floor."""
    lifetime = provider.lifetime or ASSUMED_LIFETIME
    asked = [route.freshness for route in settings.routes if account in route.accounts] or [None]
    return max_age_of(lifetime, floor=max(floor_of(freshness, lifetime=provider.lifetime) for freshness in asked))


def _orphan_life(account: Account, provider: Provider) -> Callable[[ClaimedJob], timedelta | None]:
    """From the end of the lease until no session is live that a lost call may have opened; None: it is not known."""
    if account.on_unknown != "reconcile" or account.on_orphan != "wait":
        return lambda _: None
    margin = account.timeout + MARGIN

    def life(job: ClaimedJob) -> timedelta | None:
        lifetime = provider.lifetime_with(job.parameters)
        return None if lifetime is None else lifetime + margin

    return life


def _reconcile_after(on_unknown: str, other_side: Provider | Sender, timeout: timedelta) -> timedelta | None:
    """Time from the end of the lease until a call cannot arrive any more, not even one of a suspended worker."""
    return timeout + MARGIN if on_unknown == "reconcile" and not other_side.no_look_up else None
