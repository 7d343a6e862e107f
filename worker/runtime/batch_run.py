"""Works one batch until it is done, for `onboard run`, and says why the work ended."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from math import inf
from typing import NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.customers import invitation_channels
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, credits_again_at
from onboarding_worker.core.upkeep.takeovers import Takeovers
from onboarding_worker.plans.store.pilots import LOOK_EVERY
from onboarding_worker.reporting.forecast import due_then, lost_answers, of_rest
from onboarding_worker.reporting.store.counts import BatchCounts
from onboarding_worker.reporting.store.outlook import Outlook, ended_calls, outlook_of, waiting_to_reconcile
from onboarding_worker.reporting.waits import Wait, of_account
from onboarding_worker.runtime.embedded import Embedded, Outdated
from onboarding_worker.settings.policies import BudgetRules

log = logging.getLogger(__name__)

# The batch is counted at most this often while it is worked: the display, and the end of the run, are late by as much.
COUNT_SECONDS = 1.0


class Stand(Enum):
    """Why the work on a batch ended."""

    DONE = "done"
    LATER = "later"  # the rest waits longer than the patience, or for a paused batch, or for customers
    STOPPED = "stopped"  # the rest waits for a person: its accounts are stopped
    INTERRUPTED = "interrupted"  # by Ctrl-C
    TERMINATED = "terminated"  # by another signal
    HALTED = "halted"  # a person has stopped everything
    OUTDATED = "outdated"  # the database was upgraded to a newer release's schema


# In place of a forecast while results cannot be written; the log has the reason.
UNUSABLE = "the database cannot be used; trying again"


class Unusable(Exception):
    """The database could not be used for longer than the patience. The text is its reason."""


@dataclass(eq=False)
class OneBatch:
    """Works what is due until one batch is done.

    `show` gets the counts, and what the batch waits for. `alone`: `embedded` works this batch only.
    """

    embedded: Embedded
    batch_id: int
    _: KW_ONLY
    is_done: Callable[[BatchCounts], bool]
    patience: timedelta
    alone: bool
    show: Callable[[BatchCounts, str], None]

    def __post_init__(self) -> None:
        self._parts = self.embedded.parts
        # In the loop's seconds, which no clock changes.
        self._counted_at = -inf
        self._counts: BatchCounts | None = None  # as they were counted last
        # From this second on the batch has made no progress for the patience. In an outage one pause follows another.
        self._rests_from = self.patience.total_seconds()
        self._seen: object = None  # the batch as it was at its last progress
        self._failed_before = -inf  # when the database had last failed before the last progress, in monotonic seconds
        self.left: list[str] = []  # what features had left when the work ended, in words

    async def work(self) -> Stand:
        """Work until the batch is done, or its rest waits longer than the patience, or for a person.

        Waits for a database that cannot be used (it is away, or its disk is full). Raises Unusable when that takes
        longer than the patience, once the results of calls are written, or the dispatchers have given them up.
        """
        async with self.embedded as embedded:
            while not embedded.interrupted:
                try:
                    if await embedded.tick() and not embedded.interrupted:
                        stand = await self._look(embedded)
                        embedded.log_back()
                        if stand is not None:
                            self.left = await embedded.finish()
                            return stand
                except Outdated:
                    return Stand.OUTDATED
                except sa.exc.OperationalError as error:
                    embedded.log_unreachable(error)
                self._give_up_if_unusable(embedded)
                if self._counts is not None and embedded.outage.lasted > 0 and self._is_unusable(embedded):
                    self.show(self._counts, UNUSABLE)  # what was counted last: no pace says when the rest is out
                await embedded.rest()
            return Stand.INTERRUPTED

    def _give_up_if_unusable(self, embedded: Embedded) -> None:
        """Raise Unusable if the database failed for longer than the patience, and nothing was done meanwhile.

        While some steps fail, others may succeed: a full disk can be read, and has room for a small row.
        """
        outage = embedded.outage
        if outage.lasted > self.patience.total_seconds() and asyncio.get_running_loop().time() > self._rests_from:
            log.error("the database could not be used for longer than the patience: ending")
            raise Unusable(outage.why)

    def _is_unusable(self, embedded: Embedded) -> bool:
        """Whether the batch has made no progress since the database last failed, which it does.

        An outage ends late where a dispatcher goes on with its work: only the end of its run says that it succeeds.
        """
        return embedded.outage.last_at > self._failed_before

    async def _look(self, embedded: Embedded) -> Stand | None:
        """Count the batch, if it is time; why the work is over, None while it goes on."""
        runner, batch_id = embedded.runner, self.batch_id
        loop = asyncio.get_running_loop()
        began, failed_at = loop.time(), embedded.outage.last_at
        # With no dispatcher running, the batch is counted at once, to end at once.
        if runner.busy and began - self._counted_at < COUNT_SECONDS:
            return None
        counts = await runner.in_thread(self._parts.facts.counts, batch_id)
        if self._is_progress(counts, began):
            self._failed_before = failed_at
        stand: Stand | None = Stand.DONE if await runner.in_thread(self.is_done, counts) else None
        waits_for = ""
        if stand is Stand.DONE:
            stand, waits_for = await runner.in_thread(self._looked_up, began, runner.busy)
        elif not runner.busy or began > self._rests_from:  # due rows that wait for a limit keep it busy too
            stand, waits_for = await runner.in_thread(self._stand, began)
            if stand is not None:  # another worker may have done the rest since it was counted
                counts = await runner.in_thread(self._parts.facts.counts, batch_id)
                stand = Stand.DONE if await runner.in_thread(self.is_done, counts) else stand
        self._counted_at = began
        self._counts = counts
        if stand is None and embedded.outage.lasted > 0 and self._is_unusable(embedded):
            waits_for = UNUSABLE
        ends_early = stand not in (None, Stand.DONE)  # then no pace of the last seconds says when the rest is out
        self.show(counts, waits_for or ("the rest cannot go on now" if ends_early else ""))
        return stand

    def _looked_up(self, seconds: float, busy: bool) -> tuple[Stand | None, str]:
        """DONE, or None while calls of jobs that have ended can be looked up soon; and what the batch waits for."""
        parts = self._parts
        left = ended_calls(parts.database, self.batch_id)
        if left and busy and seconds <= self._rests_from:
            return None, ""  # a dispatcher may be asking about them
        outlook = Outlook({account: first for account, (_, first) in left.items()}, {}, under_way=False)
        now = parts.clock()
        found = next_move(parts.budget_rules, parts.takeovers, outlook, self.batch_id, now=now) if left else None
        if found is None or seconds > self._rests_from or found.at > now + self.patience:
            return Stand.DONE, ""
        calls = sum(calls for calls, _ in left.values())
        return None, f"waits until {written(found.at)}: {lost_answers(calls, 0)}, {due_then(calls, 'reconciled')}"

    def _is_progress(self, counts: BatchCounts, now: float) -> bool:
        """Whether rows were done or sessions opened since the last call; refused calls are none. `now`: as above."""
        issued = sum(facts.issued for facts in counts.accounts.values())
        seen = (dict(counts.jobs), dict(counts.invitations), issued)
        if seen == self._seen:
            return False
        self._seen, self._rests_from = seen, now + self.patience.total_seconds()
        return True

    def _stand(self, seconds: float) -> tuple[Stand | None, str]:
        """Why nothing more will happen soon, None if something will; and what the batch waits for, for people.

        `seconds` is the loop's time.
        """
        parts, now = self._parts, self._parts.clock()
        if parts.budgets.everything_is_stopped():
            return Stand.HALTED, ""
        # Rows of the batch lead that would wait for rows of other batches.
        if parts.decisions.take_leads(self.batch_id, stopped_only=not self.alone, now=now):
            return None, ""
        outlook = outlook_of(parts.database, self.batch_id, alone=self.alone)
        if outlook.under_way:
            return None, ""
        found = next_move(parts.budget_rules, parts.takeovers, outlook, self.batch_id, now=now)
        if found is None:
            # The rest belongs to accounts that are stopped or gone; or the batch is paused, or customers must act.
            left = outlook.accounts or outlook.channels or outlook.for_senders
            verdict_by = None if left else parts.pilots.verdict_by(self.batch_id, now=parts.clock())
            # The next look at the pilot is work of this process: a run does not end before it, however impatient.
            if verdict_by is not None and verdict_by <= parts.clock() + max(self.patience, LOOK_EVERY):
                return None, f"waits for the verdict on the pilot, by {written(verdict_by)}"
            return (Stand.STOPPED if left else Stand.LATER), ""
        soonest = found.at
        if outlook.quiet_until is not None and now < soonest == outlook.quiet_until:
            return Stand.LATER, ""  # a run does not wait for the end of quiet hours
        kept = found.kept_by(now=now)
        why = (
            of_rest(soonest, kept, lambda: waiting_to_reconcile(parts.database, self.batch_id)).detail
            or "the rest is not due before then"
        )
        waits_for = f"waits until {written(soonest)}: {why}" if soonest > now else ""
        too_long = soonest > now + self.patience or (soonest > now and seconds > self._rests_from)
        return (Stand.LATER if too_long else None), waits_for


class Move(NamedTuple):
    """`name`: the account or sender of the first remaining row, with its budget's rule and state."""

    at: datetime
    name: str
    rule: BudgetRule
    state: BudgetState

    def kept_by(self, *, now: datetime) -> Sequence[Wait]:
        """Why the account or sender makes no call now, the strongest first."""
        return of_account(self.name, self.rule, self.state, now=now)


def next_move(
    rules: BudgetRules, takeovers: Takeovers, outlook: Outlook, batch_id: int, *, now: datetime
) -> Move | None:
    """When the first remaining row may be worked (its own time, the end of its account's or sender's pause, or the next
    call that the limit allows), and what keeps it until then.

    A row that another account may take over counts for that account too. None if all rows belong to accounts or senders
    that are stopped or no longer configured, or no row is left.
    """
    states = Budgets(takeovers.database).all()

    def move(at: datetime, name: str, rule: BudgetRule) -> Move:
        state = _at_cap(states[rule.name], rule, now)
        return Move(max(at, state.blocked_until or at, state.next_at or at), name, rule, state)

    due = [(at, name, rules.accounts[name]) for name, at in outlook.accounts.items() if name in rules.accounts]
    due += [(at, name, rules.channels[name]) for name, at in outlook.channels.items() if name in rules.channels]
    going = [move(at, name, rule) for at, name, rule in due if states[rule.name].stopped_at is None]
    for (name, channel), at in outlook.for_senders.items():
        wanted = invitation_channels(channel)
        if name not in rules.accounts or not rules.channels.keys() >= set(wanted):
            continue
        senders = [Move(at, one, rules.channels[one], states[rules.channels[one].name]) for one in wanted]
        account = Move(at, name, rules.accounts[name], states[rules.accounts[name].name])
        if all(one.state.stopped_at is None for one in [account, *senders]):
            # A failed log-in prolongs the pause of a sender that does not answer: its rows do not go before its end.
            shut = [one for one in senders if one.state.unproven or one.state.blocked_until == at]
            last = max(shut, key=lambda one: one.state.blocked_until or at, default=account)
            going.append(last._replace(at=max(at, last.state.blocked_until or at, last.state.next_at or at)))
    for what in takeovers.possible(states):
        if what.source in outlook.accounts:
            due_at = takeovers.first_due(what, batch_id, now=now)
            going += [move(due_at, what.target, what.rule)] if due_at is not None else []
    return min(going, key=lambda one: one.at, default=None)


def _at_cap(state: BudgetState, rule: BudgetRule, now: datetime) -> BudgetState:
    """The state with its next call in the next period, where the credits of this one are used up."""
    at = credits_again_at(state, rule, now=now)
    return state if at is None else replace(state, next_at=max(state.next_at or at, at))
