"""The timer's work: leases that ran out, rows of accounts that cannot work, webhooks, expired sessions, what is due.

This is why the work is done even if all messages are deleted from the broker: they only wake, and each sweep finds in
the database what is due (`Sweep.look`) and wakes for it again. Celery's workers run it when beat says so or, if beat is
silent, alone (`runtime/worker_process.py`), and so does the worker inside a command; running it twice does no harm.
"""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from onboarding_worker.core.claim import leases
from onboarding_worker.core.model.stops import is_at_cap
from onboarding_worker.core.model.wakeups import Wake, WakeUp
from onboarding_worker.core.upkeep.expired_leases import EndedLeases, ExpiredLeases
from onboarding_worker.core.upkeep.expired_sessions import ExpiryPolicy, check
from onboarding_worker.lists.store import refreshed
from onboarding_worker.reporting.store import counting
from onboarding_worker.reporting.store.look import Looked, Looks, Step
from onboarding_worker.settings.policies import listing_accounts, stable_links
from onboarding_worker.web.webhooks.store.webhooks import process_webhooks
from onboarding_worker.wiring.sweep_steps import each_alone

if TYPE_CHECKING:
    from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)


class Sweep:
    """The timer's work on one database. Safe for threads. Leases and sessions end by the database's own time, not by
    this process's: a machine with a wrong clock must not end the leases of all others, nor sessions that live."""

    def __init__(self, parts: "Parts") -> None:
        self._parts = parts

    def process_webhooks(self, wake: Wake) -> None:
        """Process the webhooks that are due, and wake what became due by that."""
        parts = self._parts
        for wake_up in process_webhooks(parts.webhooks, parts.clock, parts.meters, parts.traces):
            wake(wake_up)

    def end_leases(self, *, all_of_them: bool = False) -> EndedLeases:
        """End leases that have expired. `all_of_them`: when no other process can be working."""
        parts = self._parts
        ended = ExpiredLeases(parts.database, jitter=parts.jitter).end(
            parts.settings.retry.policy,
            now=parts.database_clock(),
            all_of_them=all_of_them,
            listing=listing_accounts(parts.settings, parts.providers),
        )
        if all_of_them:
            leases.clear(parts.database)
        if ended != EndedLeases():
            log.info(
                "leases of workers that are gone: %d rows released, %d to be repeated, %d to be reconciled,"
                " %d held or failed, %d had ended",
                ended.released,
                ended.repeated,
                ended.unknown,
                ended.held,
                ended.ended,
            )
        return ended

    def look(self, *, only_batch: int | None = None) -> Looked:
        """What is due, of one batch or of all, and what the timer has to do."""
        rules, now = self._parts.budget_rules, self._parts.clock()
        looks = Looks(self._parts.database)
        return looks.look(accounts=rules.accounts, channels=rules.channels, only_batch=only_batch, now=now)

    def once(
        self,
        wake: Wake,
        *besides: Callable[[], object],
        only_batch: int | None = None,
        all_leases: bool = False,
        whole: bool = True,
    ) -> None:
        """One sweep: wake what is due, make the steps `besides`, and do the rest of the timer's work. Not `whole`:
        without that rest. The others as for `look` and `steps`. Raises sqlalchemy.exc.OperationalError."""
        looked = self.look(only_batch=only_batch)

        def wake_for_due() -> None:
            for wake_up in self.due_wake_ups(looked, only_batch=only_batch):
                wake(wake_up)

        steps = self.steps(looked, all_leases=all_leases, wake=wake) if whole else ()
        each_alone(wake_for_due, *besides, *steps)  # wake-ups first: customers wait for them

    def steps(
        self, looked: Looked, *, all_leases: bool = False, wake: Wake = lambda _wake_up: None
    ) -> tuple[Callable[[], object], ...]:
        """What the timer does besides: `each_alone` makes these steps. What they make due, the next sweep wakes for.

        `all_leases`: end all of them, as no other process can be working. `wake` is called for what webhooks make
        due: a customer waits for it, and in a rehearsal there is no next sweep until time is advanced.
        """
        steps: tuple[tuple[bool, Callable[[], object]], ...] = (
            (all_leases or Step.LEASES in looked.steps, partial(self.end_leases, all_of_them=all_leases)),
            (True, self.take_over),
            (Step.PAUSES in looked.steps, self.pause_batches),
            (Step.PILOTS in looked.steps, self.judge_pilots),
            (Step.DETAILS in looked.steps, self.apply_details),
            # Before sessions are checked: an update may show that a session is not over.
            (Step.WEBHOOKS in looked.steps, partial(self.process_webhooks, wake)),
            (Step.SESSIONS in looked.steps, self.expire),
            *((True, partial(step, looked)) for step in self._parts.sweep_steps),
            (Step.COUNTS in looked.steps, self.add_up_counts),
            *((True, look) for look in self._parts.tellers),
            (self._parts.restored is not None, self.mark),
        )
        return tuple(step for is_needed, step in steps if is_needed)

    def mark(self) -> None:
        """Say beside the database how far it has come, each minute."""
        if self._parts.restored is not None:
            self._parts.restored.mark(now=self._parts.clock())

    def take_over(self) -> None:
        """Give rows of accounts that are stopped, or have their breaker open, to the next account of their routes. The
        next tick wakes the accounts that got rows, since they have something due."""
        for takeover in self._parts.takeovers.possible():
            source, target = takeover.source, takeover.target
            if rows := self._parts.takeovers.move(takeover, now=self._parts.clock()):
                log.info("%d rows of %s are taken over by %s", rows, source, target, extra={"account": source})

    def pause_batches(self) -> None:
        """Pause the rows of batches of which too many messages came back. Finish resumes and cancels that were cut
        off."""
        for batch_id in self._parts.decisions.finish_changes(now=self._parts.clock()):
            log.warning("batch %d: a resume or a cancel was cut off, it is finished now", batch_id)
        for batch_id, reason in self._parts.decisions.finish_pauses(now=self._parts.clock()).items():
            log.warning("batch %d is paused: %s", batch_id, reason, extra={"batch": batch_id})

    def judge_pilots(self) -> None:
        """Go on with the lists that have a pilot: take the verdicts that are due, and release rows."""
        for batch_id, verdict in self._parts.pilots.step(now=self._parts.clock()).items():
            log.log(logging.INFO if verdict.met else logging.WARNING, "batch %d: %s", batch_id, verdict.why)

    def apply_details(self) -> None:
        refreshed.apply(self._parts.database, self._parts.keyring, now=self._parts.clock())

    def add_up_counts(self) -> None:
        """Add up the changes of the batches' counts, all that are there now."""
        while counting.add_up(self._parts.database) == counting.AT_ONCE:
            pass

    def expire(self) -> None:
        """Check the due sessions: replace the sessions that ended unused, or let their jobs lapse. The next tick wakes
        the accounts that are to open another session, where that is due."""
        parts = self._parts
        lists = listing_accounts(parts.settings, parts.providers)

        def not_stopped() -> list[str]:
            rules, states = parts.budget_rules.accounts, parts.budgets.all()
            asked = {name: states[rules[name].name] for name in lists}  # at a cap too: a question costs no credit
            return [name for name, one in asked.items() if one.stopped_at is None or is_at_cap(one.stop_reason)]

        policy = ExpiryPolicy(
            contact=parts.contact,
            lifetimes={name: provider.lifetime for name, provider in parts.providers.items()},
            reissue_at={name: provider.reissue_at for name, provider in parts.providers.items()},
            lists=lists,
            can_ask=not_stopped,
            stable=stable_links(parts.settings) is not None,
        )
        counts = check(parts.database, parts.keyring, policy, now=parts.database_clock())
        if counts.reissued or counts.lapsed:
            log.info(
                "sessions that ended unused: %d to be replaced, %d customers lapsed", counts.reissued, counts.lapsed
            )
        if counts.postponed:
            # The limit stops a runaway, so the operator should know.
            log.warning(
                "%d sessions that ended unused wait for tomorrow (UTC): their account has reached its [follow_up]"
                " per_day (%d)",
                counts.postponed,
                parts.contact.per_day or 0,
            )

    def due_wake_ups(self, due: Looked | None = None, *, only_batch: int | None = None) -> list[WakeUp]:
        """A wake-up for each account and channel with something due that it may do now. None: look first. A channel is
        woken without a message, too, where rows may be waiting for its sender to answer. `only_batch` as for `look`."""
        parts, rules, now = self._parts, self._parts.budget_rules, self._parts.clock()
        due = self.look(only_batch=only_batch) if due is None else due
        if not due.accounts and not due.channels:
            return []
        states = parts.budgets.all()
        unproven = {name for name, rule in rules.channels.items() if states[rule.name].unproven}
        accounts = parts.jobs.workable(due.accounts, rules.accounts, states, only_batch, now=now)
        channels = parts.invitations.workable(due.channels | unproven, rules.channels, states, only_batch, now=now)
        return [*map(WakeUp.issue, accounts), *map(WakeUp.invite, channels)]
