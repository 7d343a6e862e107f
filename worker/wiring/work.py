"""The work of dispatchers, at an account and on a channel, with the policies by which jobs and messages are claimed."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from onboarding_worker.core.budgets.backpressure import ASSUMED_LIFETIME
from onboarding_worker.core.dispatch.prefetch import EVENTS_AHEAD
from onboarding_worker.core.messages.message_context import InvitationPolicy
from onboarding_worker.core.model.channels import channels_of
from onboarding_worker.core.model.sessions import floor_of, max_age_of
from onboarding_worker.core.rules.reconciliation import MARGIN
from onboarding_worker.core.work.kinds import FirstLinks, InviteWork, IssueWork, WakeInvite
from onboarding_worker.core.work.store.job_context import ClaimedJob, JobPolicy
from onboarding_worker.http.client import Http
from onboarding_worker.lists.importing.routing import freshness_of
from onboarding_worker.providers.contract import Provider
from onboarding_worker.providers.row_rights import judged
from onboarding_worker.senders.contract import Sender
from onboarding_worker.settings.accounts import Account
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.policies import sender_timeout, stable_links
from onboarding_worker.settings.rights import Rights
from onboarding_worker.wiring.container import Parts
from onboarding_worker.wiring.templates import sender_name


def issue_work(
    parts: Parts, account: str, http: Http, *, wake_invite: WakeInvite, only_batch: int | None = None
) -> IssueWork:
    """`only_batch`: no row of another batch is worked."""
    settings, provider, rules = parts.settings, parts.providers[account], parts.budget_rules
    of, own = settings.accounts[account], stable_links(settings)
    # By the routes as they are now.
    freshness, lifetime_with = freshness_of(account, parts.routes), provider.lifetime_with
    policy = JobPolicy(
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
        forbids=partial(_forbidden, of, settings.rights),
        any_age=own is not None,
        only_batch=only_batch,
    )
    return IssueWork(
        policy=policy,
        provider=provider,
        http=http,
        timeout=of.timeout,
        second_look=parts.second_looks[f"account/{account}"],
        wait_for_orphans=of.on_orphan == "wait",
        rows=parts.jobs,
        wake_invite=wake_invite,
        clock=parts.clock,
        floor=lambda asked: floor_of(freshness(asked.customer), lifetime=lifetime_with(asked.parameters)),
        first_links=parts.first_links.setdefault(account, FirstLinks()),
        meters=parts.meters,
        keep_news=parts.webhooks.keep_news,
        jitter=parts.jitter,
    )


def invite_work(parts: Parts, channel: str, *, only_batch: int | None = None) -> InviteWork:
    """As for `issue_work`."""
    settings, sender, providers = parts.settings, parts.senders[channel], parts.providers
    sending, timeout = settings.sending.get(channel), sender_timeout(settings, channel)
    policy = InvitationPolicy(
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
        reconcile_after=_reconcile_after(sending.on_unknown if sending else "hold", sender, timeout),
        stable=stable_links(settings),
        only_batch=only_batch,
    )
    return InviteWork(
        policy=policy,
        sender=sender,
        sender_names={brand: sender_name(settings, channel, brand) for brand in ("", *settings.brands)},
        timeout=timeout,
        second_look=parts.second_looks[f"sender/{channel}"],
        templates=parts.templates,
        rows=parts.invitations,
        clock=parts.clock,
        jitter=parts.jitter,
        meters=parts.meters,
    )


def _forbidden(account: Account, rights: Rights, job: ClaimedJob) -> str:
    """What the row says and may not say to this account's provider, in words."""
    if not (job.parameters or job.names_account):
        return ""
    return judged(account, rights.of(job.origin), job.parameters, names_account=job.names_account).in_words


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
