"""The sweep's work: return leases of dead workers, move rows of accounts that cannot work, and find what is due.

The same for Celery's beat and for the worker inside a command. Running it twice does no harm.
"""

import logging
from datetime import timedelta

from worker.engine.container import Parts
from worker.engine.maintenance.takeover import take_overs
from worker.store.limits import concurrency as permits
from worker.store.maintenance.due_work import Returned
from worker.store.maintenance.expired_sessions import LookedAt
from worker.store.outbox import relay as telling
from worker.store.webhooks.webhooks import CHUNK, WebhookState

log = logging.getLogger(__name__)
UNPUBLISHED_AFTER = timedelta(minutes=5)  # publishing is tried each second
LOGGED_PER_CHUNK = 5  # log lines for each chunk of webhooks
PROCESSED_AT_ONCE = 20  # chunks of webhooks in one sweep: all other work must not wait for the webhooks of an outage


def return_leases(parts: Parts, *, all_of_them: bool = False) -> Returned:
    """Return rows whose lease has run out. `all_of_them`: no other process can be working, so return every lease."""
    returned = parts.sweeps.return_leases(parts.settings.retry.policy, now=parts.clock(), all_of_them=all_of_them)
    if all_of_them:
        permits.clear(parts.database)
    if returned != Returned():
        log.info(
            "leases of workers that are gone: %d rows released, %d to be repeated, %d to be reconciled,"
            " %d held or failed",
            returned.free,
            returned.repeated,
            returned.unknown,
            returned.held,
        )
    return returned


def look_after(parts: Parts) -> None:
    """The sweep's work before it looks for what is due and sends wake-ups."""
    take_over(parts)
    pause_themselves(parts)
    process_webhooks(parts)  # before sessions are checked: an update may say that a session is not over
    expire(parts)


def take_over(parts: Parts) -> int:
    """Move rows of accounts that are stopped, or whose breaker is open, to the next account of their routes.

    Returns how many. An account that got rows gets a wake-up in the same sweep, since rows of it are due.
    """
    moved = 0
    for what in take_overs(parts):
        rows = parts.failover.move(what, now=parts.clock())
        if rows:
            log.info("%d rows of %s moved to %s (takeover)", rows, what.source, what.target)
        moved += rows
    return moved


def pause_themselves(parts: Parts) -> int:
    """Pause batches of which too many messages come back. Returns how many were paused."""
    paused = parts.decisions.finish_pauses(now=parts.clock())
    for batch_id, reason in paused.items():
        log.warning("batch %d has paused itself: %s", batch_id, reason)
    return len(paused)


def process_webhooks(parts: Parts) -> set[tuple[str, str]]:
    """Process stored webhooks of providers and senders. Returns (step, name) of what is due by that now.

    The process that receives a webhook processes it at once. Here are those that were left, or are to be tried again.
    """
    due: set[tuple[str, str]] = set()
    for _ in range(PROCESSED_AT_ONCE):
        now = parts.clock()
        if not parts.webhooks.any_due(now=now):
            break
        worked = parts.webhooks.work(now=now)
        due |= worked.due
        for source, event, state, detail in worked.listed[:LOGGED_PER_CHUNK]:
            level = logging.ERROR if state is WebhookState.BROKEN else logging.WARNING
            log.log(level, "%s of %s is %s: %s; see `onboard webhook list`", event, source, state.value, detail)
        if len(worked.listed) > LOGGED_PER_CHUNK:
            log.warning(
                "%d more webhooks need a person; see `onboard webhook list`", len(worked.listed) - LOGGED_PER_CHUNK
            )
        if worked.count < CHUNK:
            break
    return due


def expire(parts: Parts) -> LookedAt:
    """Check the sessions that are due for it: replace sessions that ended unused, or let their customers lapse.

    An account that is to open a new session gets a wake-up in the same sweep, if the session is due.
    """
    looked = parts.expiring.look(parts.expiry_policy, now=parts.clock())
    if looked.reissued or looked.lapsed:
        log.info("sessions that ended unused: %d to be replaced, %d customers lapsed", looked.reissued, looked.lapsed)
    if looked.put_off:
        # The cap is there to stop a runaway, so the operator should know.
        log.warning(
            "%d sessions that ended unused wait for tomorrow (UTC): their account has had its [reissue] per_day (%d)",
            looked.put_off,
            parts.expiry_policy.per_day or 0,
        )
    return looked


def targets_due(parts: Parts) -> list[str]:
    """The targets that have events due and are not paused."""
    now = parts.clock()
    due = telling.due(parts.database, parts.subscriptions.targets, now=now)
    if not due:
        return []
    states = parts.budgets.all()
    return [name for name in due if (until := states[name].blocked_until) is None or until <= now]


def unpublished(parts: Parts) -> list[str]:
    """The targets that have had events due for minutes while no process publishes to them."""
    return telling.unpublished(parts.database, targets_due(parts), before=parts.clock() - UNPUBLISHED_AFTER)


def unpublished_in_words(targets: list[str]) -> str:
    minutes = UNPUBLISHED_AFTER // timedelta(minutes=1)
    return f"{', '.join(targets)}: events have waited for more than {minutes} minutes, and no process publishes them"


def ringable(parts: Parts) -> list[tuple[str, str]]:
    """(step, name) of each account and channel that has rows due and is neither paused nor stopped."""
    now = parts.clock()
    due = parts.sweeps.due(accounts=parts.accounts, channels=parts.channels, now=now)
    if not due.accounts and not due.channels:
        return []
    states = parts.budgets.all()

    def may_work(budget: str) -> bool:
        state = states[budget]
        return state.stopped_at is None and (state.blocked_until is None or state.blocked_until <= now)

    accounts = [("issue", name) for name in sorted(due.accounts) if may_work(parts.budget_of(name).name)]
    channels = [("invite", name) for name in sorted(due.channels) if may_work(parts.sender_budget(name).name)]
    return accounts + channels
