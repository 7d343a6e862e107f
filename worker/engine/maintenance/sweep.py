"""The timer's work: leases that ran out, rows of accounts that cannot work, webhooks, expired sessions, what is due.

Celery's beat and the worker inside a command run the same sweep; running it twice does no harm.
"""

import logging
from dataclasses import dataclass

from worker.domain.model.endings import RetryPolicy
from worker.domain.model.wakeups import WakeUp
from worker.engine.maintenance.takeover import Takeovers
from worker.engine.steps.policies import BudgetRules
from worker.foundation.clock import Clock
from worker.store.base.database import Database
from worker.store.limits import concurrency as permits
from worker.store.limits.budgets import Budgets
from worker.store.maintenance.due_work import Returned, Sweeps
from worker.store.maintenance.expired_sessions import Expiring, ExpiryPolicy, LookedAt
from worker.store.operators.decisions import Decisions
from worker.store.webhooks.webhooks import CHUNK, Webhooks, WebhookState

log = logging.getLogger(__name__)
LOGGED_AT_ONCE = 5  # log lines for each chunk of webhooks
PROCESSED_AT_ONCE = 20  # chunks of webhooks in a tick: other due work must not wait for all webhooks of an outage


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The timer's work on one database. Safe for threads."""

    clock: Clock
    database: Database
    leases: Sweeps
    retry: RetryPolicy
    budgets: Budgets
    rules: BudgetRules
    takeovers: Takeovers
    decisions: Decisions
    webhooks: Webhooks
    sessions: Expiring
    expiry: ExpiryPolicy

    def return_leases(self, *, all_of_them: bool = False) -> Returned:
        """Give back rows whose lease has run out. `all_of_them`: when no other process can be working."""
        returned = self.leases.return_leases(self.retry, now=self.clock(), all_of_them=all_of_them)
        if all_of_them:
            permits.clear(self.database)
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

    def look_after(self) -> None:
        """Do what the timer does before it looks for due rows and wakes for them."""
        self.take_over()
        self.pause_batches()
        # Before sessions are looked at: an update may show that a session is not over.
        process_webhooks(self.webhooks, self.clock)
        self.expire()

    def take_over(self) -> int:
        """Give rows of accounts that are stopped, or have their breaker open, to the next account of their routes.

        Returns how many. The same tick wakes the accounts that got rows, since they have something due.
        """
        moved = 0
        for takeover in self.takeovers.possible():
            rows = self.takeovers.failover.move(takeover, now=self.clock())
            if rows:
                log.info("%d rows of %s are taken over by %s", rows, takeover.source, takeover.target)
            moved += rows
        return moved

    def pause_batches(self) -> int:
        """Pause batches of which too many messages come back. Returns how many there were."""
        paused = self.decisions.finish_pauses(now=self.clock())
        for batch_id, reason in paused.items():
            log.warning("batch %d has paused itself: %s", batch_id, reason)
        return len(paused)

    def expire(self) -> LookedAt:
        """Look at the sessions that are due for it: replace those that ended unused, or let their customers lapse.

        The same tick wakes the accounts that are to open another session, where that is due.
        """
        looked = self.sessions.look(self.expiry, now=self.clock())
        if looked.reissued or looked.lapsed:
            log.info(
                "sessions that ended unused: %d to be replaced, %d customers lapsed", looked.reissued, looked.lapsed
            )
        if looked.put_off:
            # The limit stops a runaway, so the operator should know.
            log.warning(
                "%d sessions that ended unused wait for tomorrow (UTC): their account has reached its [reissue]"
                " per_day (%d)",
                looked.put_off,
                self.expiry.per_day or 0,
            )
        return looked

    def due_wake_ups(self) -> list[WakeUp]:
        """A wake-up for each account and channel with something due that it may do now."""
        now = self.clock()
        due = self.leases.due(accounts=self.rules.accounts, channels=self.rules.channels, now=now)
        if not due.accounts and not due.channels:
            return []
        states = self.budgets.all()

        def may_work(budget: str) -> bool:
            state = states[budget]
            return state.stopped_at is None and (state.blocked_until is None or state.blocked_until <= now)

        accounts = [WakeUp.issue(name) for name in sorted(due.accounts) if may_work(self.rules.accounts[name].name)]
        channels = [WakeUp.invite(name) for name in sorted(due.channels) if may_work(self.rules.channels[name].name)]
        return accounts + channels


def process_webhooks(webhooks: Webhooks, clock: Clock) -> set[WakeUp]:
    """Process the webhooks that are due; returns the wake-ups for what became due by that.

    The process that takes webhooks in processes them at once. The sweep finds those that were left, and those that
    are looked at again.
    """
    due: set[WakeUp] = set()
    for _ in range(PROCESSED_AT_ONCE):
        now = clock()
        if not webhooks.any_due(now=now):
            break
        worked = webhooks.work(now=now)
        due |= worked.due
        for source, event, state, detail in worked.listed[:LOGGED_AT_ONCE]:
            level = logging.ERROR if state is WebhookState.BROKEN else logging.WARNING
            log.log(level, "%s of %s is %s: %s; see `onboard webhook list`", event, source, state.value, detail)
        if len(worked.listed) > LOGGED_AT_ONCE:
            log.warning("%d more webhooks need a look; see `onboard webhook list`", len(worked.listed) - LOGGED_AT_ONCE)
        if worked.count < CHUNK:
            break
    return due
