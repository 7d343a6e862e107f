"""The timer's work: the leases of workers that are gone, rows of accounts that cannot work, and what is due.

The same for Celery's beat and for the worker inside a command; doing it twice does no harm.
"""

import logging
from datetime import timedelta

from worker.domain.model.wakeups import WakeUp
from worker.engine.container import Parts
from worker.engine.maintenance.takeover import take_overs
from worker.store.limits import concurrency as permits
from worker.store.maintenance.due_work import Returned
from worker.store.maintenance.expired_sessions import LookedAt
from worker.store.outbox import relay as telling
from worker.store.webhooks.webhooks import CHUNK, WebhookState

log = logging.getLogger(__name__)
UNPUBLISHED_AFTER = timedelta(minutes=5)  # targets are told each second
SAID_AT_ONCE = 5  # lines of the log for each chunk of them
PROCESSED_AT_ONCE = 20  # chunks of webhooks at a tick: what else is due must not wait for all that came in an outage


def return_leases(parts: Parts, *, all_of_them: bool = False) -> Returned:
    """Give back rows whose lease has run out. `all_of_them`: when no other process can be working."""
    returned = parts.sweeps.return_leases(parts.settings.retry.policy, now=parts.clock(), all_of_them=all_of_them)
    if all_of_them:
        permits.clear(parts.database)
    if returned != Returned():
        log.info(
            "leases of workers that are gone: %d rows given back, %d to be repeated, %d to be looked up,"
            " %d held or failed",
            returned.free,
            returned.repeated,
            returned.unknown,
            returned.held,
        )
    return returned


def look_after(parts: Parts) -> None:
    """What the timer sees to before it looks for what is due, and sends wake-ups for it."""
    take_over(parts)
    pause_themselves(parts)
    process_webhooks(parts)  # before sessions are looked at: what was heard of one may say that it is not over
    expire(parts)


def take_over(parts: Parts) -> int:
    """Give rows of accounts that are stopped, or have their breaker open, to the next of their routes.

    Returns how many. The accounts that got some are woken in the same tick, since they have something due.
    """
    moved = 0
    for what in take_overs(parts):
        rows = parts.failover.move(what, now=parts.clock())
        if rows:
            log.info("%d rows of %s are taken over by %s", rows, what.source, what.target)
        moved += rows
    return moved


def pause_themselves(parts: Parts) -> int:
    """Take nothing more of batches of which too many messages come back. Returns how many there were."""
    paused = parts.decisions.finish_pauses(now=parts.clock())
    for batch_id, reason in paused.items():
        log.warning("batch %d has paused itself: %s", batch_id, reason)
    return len(paused)


def process_webhooks(parts: Parts) -> set[WakeUp]:
    """Work off what providers and senders have told us; the wake-ups for what is due by that now.

    Whoever takes webhooks in works them off at once: what is found here is what was left, or is looked at again.
    """
    due: set[WakeUp] = set()
    for _ in range(PROCESSED_AT_ONCE):
        now = parts.clock()
        if not parts.webhooks.any_due(now=now):
            break
        worked = parts.webhooks.work(now=now)
        due |= worked.due
        for source, event, state, detail in worked.listed[:SAID_AT_ONCE]:
            level = logging.ERROR if state is WebhookState.BROKEN else logging.WARNING
            log.log(level, "%s of %s is %s: %s; see `onboard webhook list`", event, source, state.value, detail)
        if len(worked.listed) > SAID_AT_ONCE:
            log.warning("%d more webhooks are for a person to look at", len(worked.listed) - SAID_AT_ONCE)
        if worked.count < CHUNK:
            break
    return due


def expire(parts: Parts) -> LookedAt:
    """Look at the sessions that are due to be: replace those that ended unused, or give their customers up.

    The accounts that are to open another are woken in the same tick, where that is due.
    """
    looked = parts.expiring.look(parts.expiry_policy, now=parts.clock())
    if looked.reissued or looked.lapsed:
        log.info("sessions that ended unused: %d to be replaced, %d customers lapsed", looked.reissued, looked.lapsed)
    if looked.put_off:
        # Meant to stop a runaway, so somebody should know.
        log.warning(
            "%d sessions that ended unused wait for tomorrow (UTC): their account has had its [reissue] per_day (%d)",
            looked.put_off,
            parts.expiry_policy.per_day or 0,
        )
    return looked


def targets_due(parts: Parts) -> list[str]:
    """The targets that are to be told of something, and may be now."""
    now = parts.clock()
    due = telling.due(parts.database, parts.subscriptions.targets, now=now)
    if not due:
        return []
    states = parts.budgets.all()
    return [name for name in due if (until := states[name].blocked_until) is None or until <= now]


def unpublished(parts: Parts) -> list[str]:
    """The targets that may be told of something for minutes, and that no process is telling."""
    return telling.unpublished(parts.database, targets_due(parts), before=parts.clock() - UNPUBLISHED_AFTER)


def unpublished_in_words(targets: list[str]) -> str:
    minutes = UNPUBLISHED_AFTER // timedelta(minutes=1)
    return f"{', '.join(targets)}: events have waited for more than {minutes} minutes, and no process tells them"


def due_wake_ups(parts: Parts) -> list[WakeUp]:
    """A wake-up for each account and channel with something due that it may do now."""
    now = parts.clock()
    due = parts.sweeps.due(accounts=parts.accounts, channels=parts.channels, now=now)
    if not due.accounts and not due.channels:
        return []
    states = parts.budgets.all()

    def may_work(budget: str) -> bool:
        state = states[budget]
        return state.stopped_at is None and (state.blocked_until is None or state.blocked_until <= now)

    accounts = [WakeUp.issue(name) for name in sorted(due.accounts) if may_work(parts.budget_of(name).name)]
    channels = [WakeUp.invite(name) for name in sorted(due.channels) if may_work(parts.sender_budget(name).name)]
    return accounts + channels
