"""When a batch ends: the forecast of its rows and messages, with what delays them and what is left out. The arithmetic
is `forecast`. Here is what it is asked about: the calls and messages that are left, and the accounts and senders that
make them."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from onboarding_worker.core.budgets.batch_pace import planned_at
from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.clock import Clock
from onboarding_worker.core.foundation.notation import counted, listed_in_words, written
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, resumed, under_cap
from onboarding_worker.core.rules.contact import ContactPolicy
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.core.upkeep.takeovers import Takeovers
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.plans.store.pilots import latest_verdict
from onboarding_worker.plans.store.plans import Planned
from onboarding_worker.reporting.forecast import (
    Forecast,
    Load,
    by_country,
    forecast,
    of_kept_rows,
    of_lost_sessions,
    of_rows,
    with_country_cap,
    with_rows_apart,
)
from onboarding_worker.reporting.store.counts import BatchCounts, Waits
from onboarding_worker.reporting.store.outlook import (
    Orphans,
    UnknownOutcomes,
    due_after,
    last_planned,
    waiting_to_reconcile,
)
from onboarding_worker.reporting.store.processes import WORK, Processes, Running
from onboarding_worker.reporting.store.report_rows import Facts
from onboarding_worker.reporting.store.waiting import Queue, queue, texts_by_country
from onboarding_worker.reporting.waits import Wait, rows_wait
from onboarding_worker.settings.model import Settings
from onboarding_worker.settings.policies import BudgetRules, buys_on_click

AWAITS_VERDICT = "it waits for the verdict on its pilot"


@dataclass(kw_only=True)
class Forecasts:
    """Forecasts batches from their counts and the state of the budgets."""

    clock: Clock
    database: Database
    facts: Facts
    rules: BudgetRules
    takeovers: Takeovers
    orphans: Mapping[str, OrphanRule]  # by account
    settings: Settings
    contact: ContactPolicy
    allowed_from: Mapping[str, Callable[[datetime], datetime]]  # by account: `Provider.reissue_at`
    # What the forecasts of all batches have in common: working processes, and lists. Read once a second at most.
    _read: tuple[datetime, Sequence[Running], Queue] | None = field(default=None, init=False)

    def of(
        self, batch: BatchFacts, counts: BatchCounts, planned: Planned | None, outcomes: UnknownOutcomes
    ) -> Forecast:
        if batch.cancelled_at is not None or not (counts.waiting or counts.unsent):
            return Forecast(None, None)
        if batch.is_paused:
            return Forecast(None, f"the batch is paused: `onboard resume {batch.id}` goes on with it")
        for name, rows in sorted(counts.waiting.items()):
            if name not in self.rules.accounts:
                # It was renamed, or taken out.
                why = f"{rows_wait(rows)} for the account {name}, which this configuration does not have"
                return Forecast(None, why)
        if counts.kept and counts.rows_kept == sum(counts.waiting.values()) + sum(counts.unsent.values()):
            return Forecast(None, of_kept_rows(counts.kept).detail)
        messages = counts.unsent + counts.to_come
        for kept in counts.kept.values():
            messages -= kept.messages
        # A look-up takes a slot as the call does that may follow it.
        calls = Counter(self._calls_left(batch, counts)) + Counter(outcomes.calls)
        rest, now = counts.waits.get(Reason.QUIET_HOURS), self.clock()
        until = max(rest.first, now) if rest is not None and rest.first is not None else now
        ahead = self.ahead(batch, planned, {**calls, **messages}, until=until)
        ends = self.of_calls(calls, messages, ahead=ahead, rest=rest)
        if ends.finishes_at is not None and counts.last_due is not None and counts.last_due > ends.finishes_at:
            # For example, the link was to be used in the app first.
            ends = Forecast(counts.last_due, "messages that are not due before then")
        ends = self._rows_apart(batch.id, counts, outcomes, ends)
        if batch.imported_at is None and ends.finishes_at is not None:
            ends = ends._replace(apart=(*ends.apart, "the rows that its import has not brought yet"))
        return ends if planned is None else self.by_plan(planned, counts, ends)

    def by_plan(
        self,
        planned: Planned,
        counts: BatchCounts,
        ends: Forecast,
        *,
        by_day: Callable[[Forecast, datetime], Forecast] = lambda ends, _begins_at: ends,
    ) -> Forecast:
        """The forecast of what is left of the batch with this plan: its pilot, its start, its pace, its rows' times.
        `by_day` adds the nights to work that begins at a time. The rows' times have theirs."""
        if ends.finishes_at is None:
            return ends
        now, plan = self.clock(), planned.plan
        if planned.holds_back:
            by = latest_verdict(planned, now=now) if planned.sent_at is not None else None
            return Forecast(None, f"{AWAITS_VERDICT}{f', by {written(by)}' if by else ''}")
        calls = sum(counts.waiting.values())
        if (most := plan.most_credits) is not None:
            left = self.facts.credits_left(planned.batch_id, most)
            if left < calls:
                has = f"the list has {left:,} of {counted(most, 'credit')} left for {counted(calls, 'call')}"
                return Forecast(None, f"{has}; `onboard resume {planned.batch_id} --most-credits N` allows more")
        begins_at = max(plan.start_at or now, now)
        finishes_at = begins_at + max(ends.finishes_at - now, timedelta(0))  # its clock was read a moment before
        if begins_at > now:
            ends = ends._replace(finishes_at=finishes_at, limited_by=f"its start; {ends.limited_by}")
        if plan.per_hour is not None:
            each = zip((planned.issue_next_at, planned.send_next_at), counts.places, strict=True)
            taken = [(max(begins_at, at or begins_at), left) for at, left in each if left > 0]
            paced = max((planned_at(plan.per_hour, at, left - 1) for at, left in taken), default=begins_at)
            if paced > finishes_at:
                why = f"its pace of {plan.per_hour:,} first invitations an hour"
                ends = Forecast(paced, why, apart=ends.apart)
        ends = by_day(ends, begins_at)
        last = last_planned(self.database, planned.batch_id, counts.waiting) if plan.deadline is not None else None
        if last is not None and ends.finishes_at is not None and last > ends.finishes_at:
            return Forecast(last, "its plan for the deadline", apart=ends.apart)
        return ends

    def of_calls(
        self,
        calls: Mapping[str, int],
        messages: Mapping[str, int],
        *,
        ahead: Mapping[str, int],
        rest: Waits | None = None,
        texts: Mapping[str, int] | None = None,
        answering: Collection[str] | None = None,
    ) -> Forecast:
        """When these calls (by account) and messages (by channel) are done: the one estimate of all. `ahead`: as
        `ahead`. `rest`: those of them that wait for the end of quiet hours. `texts`: by country; None: they go where
        those of the last days went. `answering`: of a list that a process is to start with, the accounts and senders
        that have accepted our credentials just now; None: no process starts."""
        stopped = EmergencyStops(self.database).find() if any((*calls.values(), *messages.values())) else None
        if stopped is not None:
            return Forecast(None, f"{stopped.in_words}: `onboard resume --all` goes on")
        now, states = self.clock(), dict(Budgets(self.database).all())
        if answering is not None:  # a process that starts ends these stops (`account_budgets.resume`)
            for name, rule in self.rules.all().items():
                state = under_cap(states.get(rule.name, BudgetState()), rule)
                ends_now = name in answering and state.asks_again_at is not None
                states[rule.name] = resumed(state) if ends_now else state
        ends = forecast(loads_of(states, self.rules, calls, messages, ahead=ahead), now=now)
        if ends.finishes_at is not None and rest is not None and rest.first is not None and rest.last is not None:
            after = forecast(loads_of(states, self.rules, rest.calls, rest.messages), now=max(rest.first, now))
            finishes_at = max(rest.last, after.finishes_at or rest.last)
            if finishes_at > ends.finishes_at:
                why = "quiet hours: " if self.contact.hours.quiet else ""  # the rows keep the time that they had
                ends = Forecast(finishes_at, f"{why}{rest.rows:,} wait, the last until {written(rest.last)}")
        number = messages.get(Channel.SMS, 0)
        if number and self.contact.texts_per_country is not None:
            lately, this_hour = texts_by_country(self.database, now=now)
            texts = by_country(number, lately) if texts is None else texts
            ends = with_country_cap(ends, self.contact.texts_per_country, texts, sent=this_hour, now=now)
        return ends

    def with_rows_apart(self, batch_id: int, ends: Forecast) -> Forecast:
        """A forecast of the batch's list, with the rows that wait for longer. Spent addresses the list itself shows."""
        counts = replace(self.facts.counts(batch_id), waits={})
        if not (counts.waiting or counts.unsent):
            return ends
        return self._rows_apart(batch_id, counts, waiting_to_reconcile(self.database, batch_id), ends)

    def _rows_apart(self, batch_id: int, counts: BatchCounts, outcomes: UnknownOutcomes, ends: Forecast) -> Forecast:
        parts = [of_lost_sessions(lost, self.ends_by(account, lost)) for account, lost in outcomes.orphans.items()]
        if ends.finishes_at is not None and counts.last_end is not None and counts.last_end > ends.finishes_at:
            parts += [of_rows(one) for one in due_after(self.database, batch_id, ends.finishes_at)]
        spent = counts.waits.get(Reason.ADDRESS_SPENT)
        if spent is not None and spent.last is not None:
            parts.append(of_rows(Wait(reason=Reason.ADDRESS_SPENT, until=spent.last, rows=spent.rows)))
        if counts.kept:
            parts.append(of_kept_rows(counts.kept))
        left = sum(counts.waiting.values()) + sum(counts.unsent.values())
        return with_rows_apart(ends, parts, left=left)

    def _calls_left(self, batch: BatchFacts, counts: BatchCounts) -> Mapping[str, int]:
        """The calls that are left, by account, after takeovers."""
        calls = dict(counts.waiting)
        for kept in counts.kept.values():
            calls = {name: max(left - kept.calls.get(name, 0), 0) for name, left in calls.items()}
        calls = self.before_click(calls, counts.silent)
        for what in self.takeovers.possible():
            if calls.get(what.source):
                rows = min(self.takeovers.count(what, batch.id, now=self.clock()), calls[what.source])
                calls[what.source] -= rows
                calls[what.target] = calls.get(what.target, 0) + rows
        return calls

    def before_click(self, calls: Mapping[str, int], silent: Mapping[str, int]) -> dict[str, int]:
        """The calls, of which `silent` bring no message. Bought on click, a message waits for no call of its own, but
        until its account makes calls: as for one."""
        least = {name: min(left, max(silent.get(name, 0), 1)) for name, left in calls.items()}
        return least if buys_on_click(self.settings) else dict(calls)

    def ahead(
        self, batch: BatchFacts | None, planned: Planned | None, left: Mapping[str, int], *, until: datetime
    ) -> Mapping[str, int]:
        """How many calls and messages of other batches go before these of one that goes on at `until`, by account and
        channel. None where a `run` works it: it leaves the others alone. Nor before a later start, when they may be
        gone. `batch` None: of a list that is not imported yet, if workers are to work it."""
        now, read, batch_id = self.clock(), self._read, batch.id if batch is not None else None
        start_at = planned.plan.start_at if planned is not None else None
        began_at = max(batch.created_at, start_at or batch.created_at) if batch is not None else now
        if read is None or not read[0] <= now < read[0] + timedelta(seconds=1):
            running = [one for one in Processes(self.database).running(now=now) if one.kind in WORK]
            queued = queue(self.database, now=now) if running else Queue((), frozenset(), {})
            read = self._read = (now, running, queued)
        _, working, lists = read
        of_batch = {one.batch_id for one in working}
        if began_at > now or None not in of_batch or (batch_id is not None and batch_id in of_batch):
            return {}
        return lists.ahead_of(batch_id, left, began_at=began_at, until=until, on_click=buys_on_click(self.settings))

    def ends_by(self, account: str, orphans: Orphans) -> datetime | None:
        rule = self.orphans.get(account, OrphanRule())
        return rule.known_by(orphans.last_opened, self.clock()) if orphans.last_opened is not None else None


def loads_of(
    states: Mapping[str, BudgetState],
    rules: BudgetRules,
    calls: Mapping[str, int],
    messages: Mapping[str, int],
    *,
    ahead: Mapping[str, int] = MappingProxyType({}),
) -> list[Load]:
    """The load of these calls (by account) and messages (by channel) on each budget; loads on one budget are added.
    `ahead`: those of other batches that go first, by account and channel."""
    asked: dict[str, tuple[list[str], int, BudgetRule]] = {}
    given = [(name, left, rules.accounts[name]) for name, left in calls.items() if name in rules.accounts]
    given += [(name, left, rules.channels[name]) for name, left in messages.items() if name in rules.channels]
    for name, left, rule in given:
        names, before, _ = asked.get(rule.name, ([], 0, rule))
        asked[rule.name] = ([*names, name], before + left, rule)
    first = Counter[str]()
    for name, number in ahead.items():
        if name in rules.all():
            first[rules.all()[name].name] += number
    return [
        Load(listed_in_words(names), left, rule, states.get(rule.name, BudgetState()), len(names) > 1, first[rule.name])
        for names, left, rule in asked.values()
    ]
