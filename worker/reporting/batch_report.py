"""The facts of a batch, as `status` prints them; and what a person's decision about it holds back, ends or may cost, in
words."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.foundation.notation import counted, listed_in_words, written, written_if_any
from onboarding_worker.core.model.reasons import UNTIL_A_PERSON, Reason
from onboarding_worker.core.model.states import (
    ENDED_JOBS,
    OPEN_JOBS,
    OUT_JOBS,
    BatchState,
    InvitationState,
    JobState,
    LineState,
    PauseCause,
)
from onboarding_worker.core.rules.reissue import ahead_at
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from onboarding_worker.lists.store.batches import BatchFacts
from onboarding_worker.plans.pilot import in_words
from onboarding_worker.plans.store.pilots import NOT_MET, Pilots, latest_verdict
from onboarding_worker.plans.store.plans import Planned
from onboarding_worker.reporting.batch_forecast import Forecasts
from onboarding_worker.reporting.report_lines import Columns
from onboarding_worker.reporting.store.counts import BatchCounts
from onboarding_worker.reporting.store.outlook import waiting_to_reconcile
from onboarding_worker.reporting.store.waiting import has_spent
from onboarding_worker.reporting.waits import Circumstances, of_accounts, rows_wait, stop_in_words, turns_at
from onboarding_worker.settings.policies import stable_links

if TYPE_CHECKING:
    from onboarding_worker.lists.decisions.store.decisions import RepeatCost


def state_of(batch: BatchFacts, counts: BatchCounts) -> BatchState:
    """The state of the batch, from the states of its rows, so that the two always agree. A job whose channel is `none`
    is out once it is issued."""
    if batch.cancelled_at is not None:
        return BatchState.CANCELLED
    if batch.is_paused:
        return BatchState.PAUSED
    jobs, total = counts.jobs, sum(counts.jobs.values())
    for states, found in ((ENDED_JOBS, BatchState.FINISHED), (OUT_JOBS, BatchState.SENT)):
        if batch.imported_at is not None and sum(jobs.get(one, 0) for one in states) + counts.issued_only >= total:
            return found
    untouched = jobs.get(JobState.WAITING, 0) + jobs.get(JobState.CANCELLED, 0)
    was_called = untouched < total or any(facts.requests for facts in counts.accounts.values())
    return BatchState.BEGUN if was_called else BatchState.READY


@dataclass(kw_only=True)
class Reporting(Forecasts):
    """Reports a batch from its counts and the state of the budgets, with its forecast."""

    plan: Callable[[BatchFacts], Planned | None]

    def columns(
        self, batch: BatchFacts, *, links: bool = False, routes: bool = False, details: Collection[str] | None = None
    ) -> Columns:
        corrected, around = self.facts.counts(batch.id).corrected, self.circumstances()
        return Columns(self.clock(), links, routes, str(batch.id), around, details, corrected=corrected)

    def circumstances(self) -> Circumstances:
        """What keeps rows and messages waiting now."""
        now, rules, states = self.clock(), self.rules.all(), Budgets(self.database).all()
        stopped = EmergencyStops(self.database).find()
        return Circumstances(
            stopped.in_words if stopped is not None else "",
            of_accounts(rules, states, now=now),
            turns_at(rules, states, now=now),
            cache(partial(has_spent, self.database)),
            self.contact,
            self.orphans,
            stable_links(self.settings) is not None,
            self._early_at,
        )

    def _early_at(self, account: str, issued_at: datetime, expires_at: datetime) -> datetime | None:
        if (allowed_from := self.allowed_from.get(account)) is None:
            return None
        return ahead_at(self.contact, issued_at, expires_at, allowed_from(expires_at))

    def status(self, batch: BatchFacts, counts: BatchCounts | None = None, *, with_sets: bool = True) -> dict[str, Any]:
        """The facts of one batch, as `status --json` prints them (docs/reference/json.md). `counts`: if counted.
        `with_sets`: also what its rows set, which takes a statement more."""
        sets = self.facts.sets(batch.id) if with_sets else {}
        counts = counts or self.facts.counts(batch.id)
        budgets = Budgets(self.database).all()
        # And the words that this release does not know, with their rows.
        lines = counts.lines
        rows = {str(state): lines.get(state, 0) for state in [*JobState, *lines]}
        refused = {LineState.REJECTED.value: counts.rejected, LineState.DUPLICATE.value: counts.duplicate}
        refused |= {LineState.KNOWN.value: counts.known} if counts.known else {}
        invitations = {one.value: counts.invitations.get(one, 0) for one in [*InvitationState, *counts.invitations]}
        invitations["waiting"] += invitations.pop("working")
        invitations.pop("superseded")  # another message replaced it before it left, and is counted
        outcomes = waiting_to_reconcile(self.database, batch.id)
        accounts = {}
        for name, facts in sorted(counts.accounts.items()):
            # An account that is no longer configured still has its calls.
            state = budgets.get(self.rules.accounts[name].name) if name in self.rules.accounts else None
            orphans = {}
            if lost := outcomes.orphans.get(name):  # when the next is looked at, and when the last has ended
                ends_by = written_if_any(self.ends_by(name, lost))
                orphans = {"orphans": {"rows": lost.number, "look_at": written(lost.first), "ends_by": ends_by}}
            accounts[name] = {
                **asdict(facts),
                "in_doubt": outcomes.calls.get(name, 0),
                **orphans,
                "stopped": stop_in_words(state) if state is not None and state.stopped_at else None,
            }
        planned = self.plan(batch)
        ends = self.of(batch, counts, planned, outcomes)
        return {
            "batch": batch.id,
            "name": batch.name,
            "state": state_of(batch, counts).value,
            "rows": {"total": sum(rows.values()) + sum(refused.values()), **refused, **rows},
            "results": dict(sorted(counts.results.items())),
            **({"in_review_since": written(since)} if (since := counts.in_review_since) is not None else {}),
            "accounts": accounts,
            "invitations": invitations,
            "forecast": {
                "finishes_at": written_if_any(ends.finishes_at),
                "limited_by": ends.limited_by,
                "assumed": ends.assumed,
                **({"apart": list(ends.apart)} if ends.apart else {}),
            },
            **({"plan": self._plan(batch, planned)} if planned is not None else {}),
            **({"sets": sets} if sets else {}),
            **({"waits": waits} if (waits := self._waits(batch.id, counts)) else {}),
            **({"pause_reason": batch.pause_reason, "pause_cause": batch.pause_cause} if batch.is_paused else {}),
            **({"lapsed_unsent": counts.lapsed_unsent} if counts.lapsed_unsent else {}),
            **({"cancelled_out": counts.cancelled_out} if counts.cancelled_out else {}),
            **({"purged_at": written(batch.purged_at)} if batch.purged_at is not None else {}),
        }

    def _waits(self, batch_id: int, counts: BatchCounts) -> dict[str, Any]:
        """The rows that wait for a later hour, by reason. `because`: what their senders wait for, where it is known.
        Not those whose hour has come, or whose reason is over: something else is in their way."""
        now, around = self.clock(), Circumstances(spent=partial(has_spent, self.database), contact=self.contact)
        waits: dict[str, Any] = {
            reason: {"rows": one.rows, "from": written_if_any(one.first) or "", "until": written_if_any(one.last) or ""}
            for reason, one in sorted(counts.waits.items())
            if (one.last is None or one.last > now) and around.is_so(reason, batch_id)
        }
        if Reason.WAITS_FOR_SENDER in waits:
            blocked = of_accounts(self.rules.all(), Budgets(self.database).all(), now=now)
            senders = counts.waits[Reason.WAITS_FOR_SENDER].messages
            if causes := [blocked[name] for name in sorted(senders) if name in blocked]:
                theirs = waits[Reason.WAITS_FOR_SENDER]
                # Of a pause the time stands already.
                theirs["because"] = "; ".join(
                    f"{one.called} is paused: {one.detail}" if one.reason == Reason.ACCOUNT_PAUSED else one.in_words
                    for one, *_ in causes
                )
                # A failed log-in prolongs the pause of a sender: its rows do not go before its end.
                pauses = [one for each in causes for one in each if one.reason == Reason.ACCOUNT_PAUSED]
                if len(pauses) == len(senders):
                    ends = sorted(written(one.until) for one in pauses if one.until is not None)
                    theirs["from"], theirs["until"] = max(theirs["from"], ends[0]), max(theirs["until"], ends[-1])
        return waits

    def _plan(self, batch: BatchFacts, planned: Planned) -> dict[str, Any]:
        now, plan, most = self.clock(), planned.plan, planned.plan.most_credits
        # Of a batch that is paused or cancelled, no verdict is taken.
        takes = planned.sent_at is not None and not batch.is_paused and batch.cancelled_at is None
        verdict_by = latest_verdict(planned, now=now) if takes else None
        numbers = planned.numbers
        if not numbers:
            found = Pilots(self.database).numbers(planned)
            numbers = f"of {found.size:,}: {in_words(found)}" if found.size else "not chosen yet"
        pilot = {
            "first": plan.first,
            "go_on_if": plan.condition,
            # Without a condition there is nothing that the pilot did not meet: a person is asked.
            "verdict": planned.verdict if plan.condition or planned.verdict != NOT_MET else "asked",
            "verdict_at": written_if_any(planned.verdict_at),
            "verdict_by": written_if_any(verdict_by),
            "numbers": numbers,
        }
        return {
            "in_words": plan.in_words,
            "start_at": written_if_any(plan.start_at),
            "per_hour": plan.per_hour,
            **({} if most is None else {"most_credits": most, "credits_left": self.facts.credits_left(batch.id, most)}),
            "deadline": written_if_any(plan.deadline),
            **(pilot if plan.first else {}),
        }


def rows_to_correct(facts: Mapping[str, Any], corrected: int = 0) -> int:
    """The rows that were rejected, failed or lapsed unsent. `corrected`: rejected ones with a later row."""
    if "purged_at" in facts:
        return 0
    rows: Mapping[str, int] = facts["rows"]
    lapsed: int = facts.get("lapsed_unsent", 0)
    return rows[LineState.REJECTED] - corrected + rows[JobState.FAILED] + lapsed


def until_a_person(facts: Mapping[str, Any]) -> dict[str, int]:
    """The rows that wait for what only a person ends, by reason: the time of each is that of the next look at it."""
    return {reason: one["rows"] for reason, one in facts.get("waits", {}).items() if reason in UNTIL_A_PERSON}


def needs_a_person(facts: Mapping[str, Any]) -> bool:
    """Whether rows are held, wait for a correction or for more credits, an account is stopped, or the batch has paused
    itself."""
    rows = facts["rows"][JobState.HELD] + rows_to_correct(facts) + sum(until_a_person(facts).values())
    stopped = any(account["stopped"] for account in facts["accounts"].values())
    return stopped or facts.get("pause_cause") == PauseCause.ITSELF or bool(rows)


def rows_left(left: int, *, with_joined: int = 0) -> str:
    """Of a pause: `35 rows wait for a session or its message`. `left` is `Facts.left`: without held rows, which wait
    for a person, and rows that another list serves. `with_joined` is `BatchCounts.left`, with these: a resume does not
    bring them forward."""
    said = f"{rows_wait(left)} for a session or its message"
    if with_joined <= left:
        return said
    joined = counted(with_joined - left, "row waits for the row", "rows wait for the rows")
    return f"{said}; {joined} of another list that has the same customers"


def what_ends(counts: BatchCounts, reminders: int) -> str:
    """Of a cancel: `300 rows (35 waiting, 265 invited), 35 first messages and 265 reminders`; "" if no row is left."""
    states = {state: number for state in OPEN_JOBS if (number := counts.jobs.get(state, 0))}
    if not states:
        return ""
    of_states = ", ".join(f"{number:,} {state}" for state, number in states.items())
    messages = sum(counts.unsent.values()) + sum(counts.to_come.values())
    parts = [f"{counted(sum(states.values()), 'row')} ({of_states})"]
    parts += [counted(messages, "first message")] if messages else []
    parts += [counted(reminders, "reminder")] if reminders else []
    return listed_in_words(parts)


def worst_cost(cost: "RepeatCost") -> str:
    """Of repeating held rows: a sentence; "" if nothing would be repeated."""
    sessions, messages = sum(cost.sessions.values()), sum(cost.messages.values())
    costs = []
    if sessions:
        second = "a second session" if sessions == 1 else f"{sessions:,} second sessions"
        costs.append(f"pays for {second} ({_each(cost.sessions)})")
    if messages:
        # Not of so many customers: one may have an email and a text.
        second = "a second message" if messages == 1 else f"{messages:,} second messages"
        costs.append(f"brings {second} ({_each(cost.messages)})")
    return f"At worst that {' and '.join(costs)}" if costs else ""


def staying(stay: Mapping[Reason, int]) -> list[str]:
    """Of the held rows that a repeat leaves as they are: a sentence without its stop for each reason."""
    steps = {Reason.NOT_ME: "; give one row alone, by its number, to ask again all the same"}
    return [
        f"{counted(rows, 'row stays', 'rows stay')} held: {reason.meaning}{steps.get(reason, '')}"
        for reason, rows in stay.items()
    ]


def _each(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(numbers.items()))
