"""Working one batch until it is done, for `onboard run`; and why that ended."""

from collections.abc import Callable
from datetime import datetime, timedelta
from enum import Enum

import sqlalchemy as sa

from worker.domain.limits.budgets import BudgetState
from worker.domain.model.customers import invitation_channels
from worker.domain.model.reconciliation import lost_answers
from worker.engine.maintenance.takeover import Takeovers
from worker.engine.steps.policies import BudgetRules
from worker.foundation.clock import Clock
from worker.runtime.embedded import Embedded, Outdated
from worker.store.operators.counts import BatchCounts
from worker.store.operators.report_rows import Facts, Outlook

# Counting a batch costs its rows (a million: about a second): no more often than this, nor for more than a share of
# the time. What it delays is the display, and by as much the end.
COUNT_EVERY = timedelta(seconds=1)
COUNT_SHARE = 0.1


class Stand(Enum):
    """Why working on a batch ended."""

    DONE = "done"
    LATER = "later"  # what is left waits longer than the patience, or for a paused batch, or for its customers
    STOPPED = "stopped"  # what is left waits for a person: its accounts are stopped
    INTERRUPTED = "interrupted"
    OUTDATED = "outdated"  # somebody upgraded the database to a newer release's schema


class OneBatch:
    """Works what is due, for as long as a batch needs it."""

    def __init__(
        self,
        embedded: Embedded,
        batch_id: int,
        *,
        facts: Facts,
        rules: BudgetRules,
        takeovers: Takeovers,
        clock: Clock,
        is_done: Callable[[BatchCounts], bool],
        patience: timedelta,
        show: Callable[[BatchCounts, str], None],
    ) -> None:
        """`show` is given the counts, and what is waited for."""
        self._facts, self._rules, self._takeovers, self._clock = facts, rules, takeovers, clock
        self._embedded = embedded
        self._batch_id = batch_id
        self._is_done = is_done
        self._patience = patience
        self._show = show
        self._counted_at = clock() - COUNT_EVERY
        self._took = self._rest = timedelta()
        self._progress = _Progress(clock())
        self.unpublished = 0  # events that were left when the work ended

    async def work(self) -> Stand:
        """Work until the batch is done, or what is left of it waits for longer than the patience, or for a person.

        A database that goes away meanwhile is waited for.
        """
        async with self._embedded as embedded:
            while not embedded.interrupted:
                try:
                    if await embedded.tick():
                        stand = await self._look(embedded)
                        if stand is not None:
                            self.unpublished = await embedded.beside.publish_what_is_left()
                            return stand
                        embedded.say_there()
                except Outdated:
                    return Stand.OUTDATED
                except sa.exc.OperationalError as error:
                    embedded.say_away(error)
                await embedded.rest()
            return Stand.INTERRUPTED

    async def _look(self, embedded: Embedded) -> Stand | None:
        """Count the batch, where it is time to; why its work is over, None where it goes on."""
        runner, batch_id = embedded.runner, self._batch_id
        now = self._clock()
        # With nothing to work on, a batch is counted as soon as that may be, to end at once.
        if now - self._counted_at < (max(COUNT_EVERY, self._rest) if runner.busy else self._rest):
            return None
        counts = await runner.in_thread(self._facts.counts, batch_id)
        self._progress.see(counts, now)
        stand: Stand | None = Stand.DONE if await runner.in_thread(self._is_done, counts) else None
        waits_for = ""
        if stand is None and not runner.busy:
            stand, waits_for = await runner.in_thread(self._stand, now)
            if stand is not None:  # another worker may have done the rest since it was counted
                counts = await runner.in_thread(self._facts.counts, batch_id)
                stand = Stand.DONE if await runner.in_thread(self._is_done, counts) else stand
        # The shorter of the last two: that it was held up once says nothing about its size.
        self._counted_at, before, self._took = now, self._took, self._clock() - now
        self._rest = min(before, self._took) / COUNT_SHARE
        self._show(counts, waits_for)
        return stand

    def _stand(self, now: datetime) -> tuple[Stand | None, str]:
        """Why nothing more will happen soon, None when something will; and what is waited for, in words."""
        outlook = self._facts.outlook(self._batch_id)
        if outlook.under_way:
            return None, ""
        found = next_move(self._rules, self._takeovers, outlook, self._batch_id, now=now)
        if found is None:
            # What is left belongs to accounts that are stopped or gone; or it is paused, or the customers' turn.
            left = outlook.accounts or outlook.channels or outlook.for_senders
            return (Stand.STOPPED if left else Stand.LATER), ""
        soonest, state = found
        if outlook.quiet_until is not None and now < soonest == outlook.quiet_until:
            return Stand.LATER, ""  # quiet hours are not waited for, however soon they end
        waits_for = f"waits until {soonest:%H:%M:%S} UTC: {self._why(state, soonest)}" if soonest > now else ""
        # An outage ends a pause only to begin the next: what has not moved for that long is not waited for either.
        too_long = soonest > now + self._patience or (soonest > now and now - self._progress.at > self._patience)
        return (Stand.LATER if too_long else None), waits_for

    def _why(self, state: BudgetState, soonest: datetime) -> str:
        """What is waited for until then, in words: a pause, or calls that are to be looked up."""
        if state.blocked_until is not None and state.blocked_until >= soonest:
            return state.pause_reason
        not_due = state.pause_reason or "what is left is not due before then"
        outcomes = self._facts.unknown_outcomes(self._batch_id)
        if outcomes.reconcile_at is None or outcomes.reconcile_at > soonest:
            return not_due
        return f"{lost_answers(sum(outcomes.calls.values()), outcomes.messages)}, then to be looked up"


def next_move(
    rules: BudgetRules, takeovers: Takeovers, outlook: Outlook, batch_id: int, *, now: datetime
) -> tuple[datetime, BudgetState] | None:
    """When the first of what is left may be worked, its own time or the end of its account's pause, and that account.

    What another account may take over waits for that one too. None when all of it belongs to accounts that are
    stopped or no longer configured, or nothing is left.
    """
    states = takeovers.budgets.all()
    due = [(at, rules.accounts[name]) for name, at in outlook.accounts.items() if name in rules.accounts]
    due += [(at, rules.channels[name]) for name, at in outlook.channels.items() if name in rules.channels]
    going = [(at, states[rule.name]) for at, rule in due if states[rule.name].stopped_at is None]
    for (name, channel), at in outlook.for_senders.items():
        wanted = [rules.channels[one] for one in invitation_channels(channel) if one in rules.channels]
        senders = [states[rule.name] for rule in wanted]
        account = states[rules.accounts[name].name] if name in rules.accounts else None
        if account is not None and all(state.stopped_at is None for state in [account, *senders]):
            # The sender's own reason, where it is paused until then.
            going.append((at, next((state for state in senders if state.blocked_until == at), account)))
    for what in takeovers.possible(states):
        if what.source in outlook.accounts:
            due_at = takeovers.failover.first_due(what, batch_id, now=now)
            going += [(due_at, states[what.rule.name])] if due_at is not None else []
    moves = [(max(at, state.blocked_until or at), state) for at, state in going]
    return min(moves, key=lambda move: move[0], default=None)


class _Progress:
    """When the batch last got on: rows done or sessions opened, not calls that were refused."""

    def __init__(self, now: datetime) -> None:
        self.at = now
        self._seen: object = None

    def see(self, counts: BatchCounts, now: datetime) -> None:
        issued = sum(facts.issued for facts in counts.accounts.values())
        seen = (dict(counts.jobs), dict(counts.invitations), issued)
        if seen != self._seen:
            self._seen, self.at = seen, now
