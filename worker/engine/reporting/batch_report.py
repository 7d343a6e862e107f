"""The facts of a batch, as `status` prints them."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from worker.domain.contact.pilot import PilotNumbers, in_words
from worker.domain.limits.batch_pace import ends_at
from worker.domain.limits.budgets import BudgetRule, BudgetState, resumed, stop_in_words
from worker.domain.limits.forecast import Forecast, Load, forecast
from worker.domain.limits.obstacles import obstacle_of
from worker.domain.model.customers import Channel
from worker.domain.model.operation import no_account
from worker.domain.model.pauses import PauseCause
from worker.domain.model.reasons import Reason
from worker.domain.model.reconciliation import OrphanRule
from worker.domain.model.states import BatchState, InvitationState, JobState, LineState, batch_state
from worker.domain.model.waits import Blocked
from worker.domain.service_desk.next_steps import Circumstances
from worker.engine.maintenance.takeover import Takeovers
from worker.engine.reporting.report_lines import Columns
from worker.engine.reporting.rows_apart import part_of, part_of_kept, part_of_lost, with_rows_apart
from worker.engine.reporting.text_hours import by_country, with_country_cap
from worker.engine.steps.policies import BudgetRules
from worker.foundation.clock import Clock
from worker.foundation.plural import listed_in_words
from worker.foundation.timestamps import written, written_if_any
from worker.store.attempts.unknown_outcomes import Orphans, UnknownOutcomes
from worker.store.limits.budgets import Budgets
from worker.store.limits.standstill import Standstills
from worker.store.onboarding.batches import BatchFacts
from worker.store.onboarding.plans import Planned
from worker.store.operators.apart import Apart
from worker.store.operators.counts import BatchCounts
from worker.store.operators.pilots import NOT_MET, Pilots, latest_verdict
from worker.store.operators.report_rows import Facts

# Why rows wait until a time, in the words of a forecast.
_UNTIL_A_TIME = {Reason.QUIET_HOURS: "quiet hours"}


def state_of(batch: BatchFacts, counts: BatchCounts) -> BatchState:
    """The state of the batch, from the states of its rows."""
    return batch_state(
        counts.jobs,
        issued_only=counts.issued_only,
        paused=batch.is_paused,
        cancelled=batch.cancelled_at is not None,
        importing=batch.imported_at is None,
    )


@dataclass(frozen=True, kw_only=True)
class Reporting:
    """Reports a batch from its counts and the state of the budgets."""

    clock: Clock
    facts: Facts
    budgets: Budgets
    rules: BudgetRules
    takeovers: Takeovers
    plan: Callable[[BatchFacts], Planned | None]
    pilots: Pilots
    standstills: Standstills
    orphans: Mapping[str, OrphanRule]  # by account
    on_click: bool = False  # a session is bought when its customer comes
    texts_per_country: int | None = None
    texts: Callable[[datetime], tuple[dict[str, int], dict[str, int]]] = lambda _now: ({}, {})  # `texts_by_country`

    def columns(
        self, batch: BatchFacts, *, links: bool = False, routes: bool = False, details: bool = False
    ) -> Columns:
        """What the lines of a report of this batch are made with."""
        now = self.clock()
        missing = self.facts.counts(batch.id).waiting.keys() - self.rules.accounts.keys()
        blocked = self.blocked(now=now) | {name: Blocked(name, is_missing=True) for name in missing}
        return Columns(now, links=links, routes=routes, batch=str(batch.id), blocked=blocked, details=details)

    def blocked(self, *, now: datetime) -> dict[str, Blocked]:
        """The accounts and senders that make no calls now, by name."""
        states = self.budgets.all()
        found = (
            obstacle_of(name, rule, states.get(rule.name, BudgetState()), now=now)
            for name, rule in self.rules.all().items()
        )
        return {one.name: one for one in found if one is not None}

    def circumstances(self) -> Circumstances:
        """What keeps rows and messages waiting now, for the history of a customer."""
        stopped = self.standstills.find()
        return Circumstances(
            stopped.in_words if stopped is not None else "", self.blocked(now=self.clock()), self.orphans
        )

    def status(self, batch: BatchFacts, counts: BatchCounts | None = None) -> dict[str, Any]:
        """The facts of one batch, as `status --json` prints them (docs/reference/json.md). `counts`: if counted."""
        counts = counts or self.facts.counts(batch.id)
        budgets = self.budgets.all()
        # And the words that this release does not know, with their rows.
        rows = {state.value: counts.jobs.get(state, 0) for state in [*JobState, *counts.jobs]}
        refused = {LineState.REJECTED.value: counts.rejected, LineState.DUPLICATE.value: counts.duplicate}
        refused |= {LineState.KNOWN.value: counts.known} if counts.known else {}
        invitations = {
            state.value: counts.invitations.get(state, 0) for state in [*InvitationState, *counts.invitations]
        }
        invitations["waiting"] += invitations.pop("working")
        invitations.pop("superseded")  # another message replaced it before it left, and is counted
        outcomes = self.facts.unknown_outcomes(batch.id)
        accounts = {}
        for name, facts in sorted(counts.accounts.items()):
            # An account that is no longer configured still has its calls.
            state = budgets.get(self.rules.accounts[name].name) if name in self.rules.accounts else None
            accounts[name] = {
                "requests": facts.requests,
                "issued": facts.issued,
                "rate_limited": facts.rate_limited,
                "errors": facts.errors,
                "late": facts.late,
                "in_doubt": outcomes.calls.get(name, 0),
                **({"orphans": self._orphans(name, orphans)} if (orphans := outcomes.orphans.get(name)) else {}),
                "stopped": stop_in_words(state) if state is not None and state.stopped_at else None,
            }
        planned = self.plan(batch)
        ends = self._forecast(batch, counts, planned, outcomes)
        return {
            "batch": batch.id,
            "name": batch.name,
            "state": state_of(batch, counts).value,
            "rows": {"total": sum(rows.values()) + sum(refused.values()), **refused, **rows},
            "results": dict(sorted(counts.results.items())),
            "accounts": accounts,
            "invitations": invitations,
            "forecast": {
                "finishes_at": written_if_any(ends.finishes_at),
                "limited_by": ends.limited_by,
                "assumed": ends.assumed,
                **({"apart": list(ends.apart)} if ends.apart else {}),
            },
            **({"plan": self._plan(planned)} if planned is not None else {}),
            **({"waits": waits} if (waits := self._waits(counts)) else {}),
            **({"pause_reason": batch.pause_reason, "pause_cause": batch.pause_cause} if batch.is_paused else {}),
            **({"lapsed_unsent": counts.lapsed_unsent} if counts.lapsed_unsent else {}),
            **({"cancelled_out": counts.cancelled_out} if counts.cancelled_out else {}),
            **({"purged_at": written(batch.purged_at)} if batch.purged_at is not None else {}),
        }

    def _orphans(self, account: str, orphans: Orphans) -> dict[str, Any]:
        """The sessions that are waited for: how many, when the next is looked at, and when the last has ended."""
        return {
            "rows": orphans.number,
            "look_at": written(orphans.first),
            "ends_by": written_if_any(self._ends_by(account, orphans)),
        }

    def _ends_by(self, account: str, orphans: Orphans) -> datetime | None:
        rule = self.orphans.get(account, OrphanRule())
        return rule.known_by(orphans.last_opened, self.clock()) if orphans.last_opened is not None else None

    def _waits(self, counts: BatchCounts) -> dict[str, Any]:
        """The rows that wait for a later hour, by reason. `because`: what their senders wait for, where it is known."""
        waits = _waits(counts, now=self.clock())
        if Reason.WAITS_FOR_SENDER in waits:
            blocked, senders = self.blocked(now=self.clock()), counts.waits[Reason.WAITS_FOR_SENDER].messages
            if causes := [blocked[name] for name in sorted(senders) if name in blocked]:
                theirs = waits[Reason.WAITS_FOR_SENDER]
                theirs["because"] = "; ".join(one.why for one in causes)
                # A failed log-in prolongs the pause of a sender: its rows do not go before its end.
                if len(causes) == len(senders) and all(one.paused_until is not None for one in causes):
                    ends = sorted(written(one.paused_until) for one in causes if one.paused_until is not None)
                    theirs["from"], theirs["until"] = max(theirs["from"], ends[0]), max(theirs["until"], ends[-1])
        return waits

    def _plan(self, planned: Planned) -> dict[str, Any]:
        now, plan = self.clock(), planned.plan
        verdict_by = latest_verdict(planned, now=now) if planned.sent_at is not None else None
        pilot = {
            "first": plan.first,
            "go_on_if": plan.condition,
            # Without a condition there is nothing that the pilot did not meet: a person is asked.
            "verdict": planned.verdict if plan.condition or planned.verdict != NOT_MET else "asked",
            "verdict_at": written_if_any(planned.verdict_at),
            "verdict_by": written_if_any(verdict_by),
            "numbers": planned.numbers or _pilot_in_words(self.pilots.numbers(planned)),
        }
        return {
            "in_words": plan.in_words,
            "start_at": written_if_any(plan.start_at),
            "per_hour": plan.per_hour,
            **(pilot if plan.first else {}),
        }

    def _forecast(
        self, batch: BatchFacts, counts: BatchCounts, planned: Planned | None, outcomes: UnknownOutcomes
    ) -> Forecast:
        ends = self._forecast_of_rows(batch, counts, outcomes)
        if planned is None or ends.finishes_at is None:
            return ends
        now, plan = self.clock(), planned.plan
        if planned.holds_back:
            by = latest_verdict(planned, now=now) if planned.sent_at is not None else None
            return Forecast(None, f"it waits for the verdict on its pilot{f', by {written(by)}' if by else ''}")
        begins_at = max(plan.start_at or now, now)
        if plan.per_hour is not None:
            rows = sum(counts.waiting.values()) + sum(counts.unsent.values()) - counts.rows_kept
            paced = ends_at(plan.per_hour, max(begins_at, planned.next_at or begins_at), rows)
            if paced > ends.finishes_at:
                why = f"its pace of {plan.per_hour:,} first invitations an hour"
                return Forecast(paced, why, apart=ends.apart)
        elif begins_at > now:
            return replace(
                ends, finishes_at=begins_at + (ends.finishes_at - now), limited_by=f"its start; {ends.limited_by}"
            )
        return ends

    def _forecast_of_rows(self, batch: BatchFacts, counts: BatchCounts, outcomes: UnknownOutcomes) -> Forecast:
        if batch.cancelled_at is not None or not (counts.waiting or counts.unsent):
            return Forecast(None, None)
        if (stopped := self.standstills.find()) is not None:
            return Forecast(None, f"{stopped.in_words}: `onboard resume --all` goes on")
        if batch.is_paused:
            return Forecast(None, f"the batch is paused: `onboard resume {batch.id}` goes on with it")
        for name, rows in sorted(counts.waiting.items()):
            if name not in self.rules.accounts:
                return Forecast(None, no_account(name, rows))
        if counts.kept and counts.rows_kept == sum(counts.waiting.values()) + sum(counts.unsent.values()):
            return Forecast(None, part_of_kept(counts.kept).in_words)
        messages = Counter(counts.unsent) + Counter(counts.to_come)
        for kept in counts.kept.values():
            messages -= Counter(kept.messages)
        ends = forecast(self._loads(self._calls_left(batch, counts), messages), now=self.clock())
        ends = self._with_country_cap(messages[Channel.SMS], self._with_later_rows(counts, ends))
        if ends.finishes_at is not None and counts.last_due is not None and counts.last_due > ends.finishes_at:
            # For example, the link was to be used in the app first.
            ends = Forecast(counts.last_due, "messages that are not due before then")
        return self._with_rows_apart(batch.id, counts, outcomes, ends)

    def with_rows_apart(self, batch_id: int, ends: Forecast) -> Forecast:
        """A forecast of the batch's list, with its rows that wait for longer than the rest. Not those whose address is
        used up: the list itself shows them."""
        counts = replace(self.facts.counts(batch_id), waits={})
        if not (counts.waiting or counts.unsent):
            return ends
        return self._with_rows_apart(batch_id, counts, self.facts.unknown_outcomes(batch_id), ends)

    def _with_rows_apart(
        self, batch_id: int, counts: BatchCounts, outcomes: UnknownOutcomes, ends: Forecast
    ) -> Forecast:
        parts = [part_of_lost(lost, self._ends_by(account, lost)) for account, lost in outcomes.orphans.items()]
        if ends.finishes_at is not None and counts.last_end is not None and counts.last_end > ends.finishes_at:
            parts += [part_of(one) for one in self.facts.apart(batch_id, after=ends.finishes_at)]
        spent = counts.waits.get(Reason.ADDRESS_SPENT)
        if spent is not None and spent.last is not None:
            parts.append(part_of(Apart(Reason.ADDRESS_SPENT, spent.rows, spent.last)))
        if counts.kept:
            parts.append(part_of_kept(counts.kept))
        left = sum(counts.waiting.values()) + sum(counts.unsent.values())
        return with_rows_apart(ends, parts, left=left)

    def _with_later_rows(self, counts: BatchCounts, ends: Forecast) -> Forecast:
        """The forecast with the rows that wait until a time: their work begins then."""
        for reason, words in _UNTIL_A_TIME.items():
            rest = counts.waits.get(reason)
            if ends.finishes_at is None or rest is None or rest.first is None or rest.last is None:
                continue
            after = forecast(self._loads(rest.calls, rest.messages), now=max(rest.first, self.clock()))
            finishes_at = max(rest.last, after.finishes_at or rest.last)
            if finishes_at > ends.finishes_at:
                ends = Forecast(finishes_at, f"{words}: {rest.rows:,} wait, the last until {written(rest.last)}")
        return ends

    def _with_country_cap(self, texts: int, ends: Forecast) -> Forecast:
        """The forecast with the hours that a country's texts take. Where the texts that are left go is not stored in
        clear, so they are counted as those of the last days."""
        if not texts or self.texts_per_country is None:
            return ends
        now = self.clock()
        lately, this_hour = self.texts(now)
        return with_country_cap(ends, self.texts_per_country, by_country(texts, lately), sent=this_hour, now=now)

    def _calls_left(self, batch: BatchFacts, counts: BatchCounts) -> Mapping[str, int]:
        """The calls that are left, by the account that will make them with the present takeovers. Bought on click, a
        row with a message waits for no call."""
        calls = dict(counts.silent if self.on_click else counts.waiting)
        for kept in counts.kept.values():
            calls = {name: max(left - kept.calls.get(name, 0), 0) for name, left in calls.items()}
        for what in self.takeovers.possible():
            if calls.get(what.source):
                rows = min(self.takeovers.failover.count(what, batch.id, now=self.clock()), calls[what.source])
                calls[what.source] -= rows
                calls[what.target] = calls.get(what.target, 0) + rows
        return calls

    def _loads(self, calls: Mapping[str, int], messages: Mapping[str, int]) -> list[Load]:
        return loads_of(self.budgets, self.rules, calls, messages)


def _pilot_in_words(pilot: PilotNumbers) -> str:
    return f"of {pilot.size:,}: {in_words(pilot)}" if pilot.size else "not chosen yet: the import is not complete"


def needs_a_person(facts: dict[str, Any]) -> bool:
    """Whether some rows were rejected, failed, are held or lapsed without any message, an account is stopped, or the
    batch has paused itself."""
    rows = facts["rows"]
    stopped = any(account["stopped"] for account in facts["accounts"].values())
    return (
        stopped
        or facts.get("pause_cause") == PauseCause.ITSELF
        or "lapsed_unsent" in facts
        or any(rows[state] for state in (LineState.REJECTED, JobState.FAILED, JobState.HELD))
    )


def loads_of(
    budgets: Budgets,
    rules: BudgetRules,
    calls: Mapping[str, int],
    messages: Mapping[str, int],
    *,
    answering: Collection[str] = (),
) -> list[Load]:
    """The load of these calls (by account) and messages (by channel) on each budget; loads on one budget are added.

    `answering` names accounts and senders that have accepted our credentials just now: the next call ends such a stop.
    """
    states = dict(budgets.all())
    for name in answering:
        budget = rules.all()[name].name
        if (state := states.get(budget)) is not None and state.asks_again_at is not None:
            states[budget] = resumed(state)
    asked: dict[str, tuple[list[str], int, BudgetRule]] = {}
    given = [(name, left, rules.accounts[name]) for name, left in calls.items() if name in rules.accounts]
    given += [(name, left, rules.channels[name]) for name, left in messages.items() if name in rules.channels]
    for name, left, rule in given:
        names, before, _ = asked.get(rule.name, ([], 0, rule))
        asked[rule.name] = ([*names, name], before + left, rule)
    return [
        Load(listed_in_words(names), left, rule, states.get(rule.name, BudgetState()), several=len(names) > 1)
        for names, left, rule in asked.values()
    ]


def _waits(counts: BatchCounts, *, now: datetime) -> dict[str, Any]:
    """The rows that wait for a later hour, by reason. Not those whose hour has come: something else is in their way."""
    return {
        reason: {
            "rows": waits.rows,
            "from": written_if_any(waits.first) or "",
            "until": written_if_any(waits.last) or "",
        }
        for reason, waits in sorted(counts.waits.items())
        if waits.last is None or waits.last > now
    }
