"""Why a row, an account, a sender or the whole waits, until when, and who must act: one type, and a function for each
question that makes it. Status, reports, forecasts, the dashboard, the service desk and alerts show these and no other
reasons. Pure: the callers read the facts. Features have reasons of their own: `standings`."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from operator import attrgetter
from typing import NamedTuple, Self

from onboarding_worker.core.foundation.features import hint
from onboarding_worker.core.foundation.notation import counted, written, written_if_any
from onboarding_worker.core.model.channels import CHANNELS
from onboarding_worker.core.model.reasons import UNTIL_A_PERSON, Reason
from onboarding_worker.core.model.states import HELD_BACK, PRIORITIES, JobState, LineState
from onboarding_worker.core.model.stops import is_at_cap, way_out
from onboarding_worker.core.rules.budgets import (
    BudgetRule,
    BudgetState,
    at_cap,
    credits_left,
    found_in_words,
    interval,
    next_call_at,
)
from onboarding_worker.core.rules.contact import ContactPolicy
from onboarding_worker.core.rules.limits import tightest, used_up
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.reporting.steps import step_for
from onboarding_worker.reporting.store.processes import TAKES_EVENTS, WORK, Running, Wakening, no_wake_up

_STATUS = "onboard status"  # where the feature whose command shows more is not here
# Words that say how a row is served, and nothing that went wrong.
_HEALTHY = frozenset({Reason.JOINED_JOB, Reason.JOINED_SESSION, Reason.ALREADY_FINISHED})
_SERVED = frozenset({JobState.ISSUED, JobState.INVITED, JobState.COMPLETED, LineState.JOINED})
# A slot that is nearer than this keeps no row waiting for long enough to be named.
SOON = timedelta(minutes=1)
# A provider's restart takes a minute or two; a person who hears of each would hear of nothing.
FAILING_AFTER = timedelta(minutes=5)
# A long list is claimed within seconds, and a slot that is further away is a wait of its own.
UNMOVED_FOR = timedelta(minutes=5)
NOTHING_STUCK = "nothing is stuck"  # said where nothing needs a person now


class Wait(NamedTuple):
    """Something that does not go on: why, until when, who must act, and how many rows it keeps. `what` and `name` say
    of what: account kyc, batch 7, process, folder; "" of one row. `detail` is why, in words; `reason` the word of it
    that a row has, if there is one. It ends by itself at `until`; None: that is not known, or no time ends it. `turn`:
    in words, that others may go first then. `action`: what a person must do, a command or a sentence; "": nothing. A
    stopped account that a worker asks again by itself has both. `since`: when it began; None: that is not stored.
    `batch_id`: of a batch."""

    what: str = ""
    name: str = ""
    detail: str = ""
    action: str = ""
    reason: str = ""
    until: datetime | None = None
    since: datetime | None = None
    batch_id: int | None = None
    rows: int = 0
    is_critical: bool = False
    turn: str = ""

    @property
    def step(self) -> str:
        """What a person must do, as a sentence has it."""
        return f"`{self.action}`" if self.action.startswith("onboard ") else self.action

    @property
    def error(self) -> str:
        """Why a row waits, in the words of the column `error`."""
        is_timed = self.reason and self.until is not None and not self.detail
        said = explained(self.reason, f"not before {written_if_any(self.until)}" if is_timed else self.detail)
        return "; ".join(filter(None, (said, self.turn)))

    @property
    def called(self) -> str:
        return f"the sender {self.name}" if self.what == "sender" else self.name

    @property
    def in_words(self) -> str:
        """Of an account or sender: a sentence without its stop."""
        until = written(self.until) if self.until is not None else ""
        match self.reason:
            case Reason.ACCOUNT_STOPPED:
                return f"{self.called} is stopped: {self.detail}{asks_again(until)}"
            case Reason.ACCOUNT_PAUSED:
                return f"{self.called} is paused until {until}: {self.detail}"
            case Reason.LIMIT_USED_UP:
                return f"{self.called} has used up {self.detail}, until {until}"
            case Reason.UNREACHABLE:
                return f"{self.called} did not answer: {self.detail}"
            case _:
                return self.detail


# The accounts and senders that make no calls now, by name. Of each, why: the strongest first.
Blocked = Mapping[str, Sequence[Wait]]


def asks_again(at: str) -> str:
    """Of a stop that a worker tries by itself, from then on; "": of another."""
    return f"; a running worker asks again from {at} on" if at else ""


def explained(reason: str, detail: str) -> str:
    return ": ".join(filter(None, (reason, detail)))


def is_healthy(state: str, reason: str) -> bool:
    """True for a row that is served, if the reason says only how."""
    return state in _SERVED and reason in _HEALTHY


class Place(NamedTuple):
    """Where a row or message waits. `paused`: why its batch is; `behind_pilot`: it waits for the verdict on its list's
    pilot. `others`: other accounts may take it over."""

    batch_id: int = 0
    paused: str = ""
    behind_pilot: bool = False
    others: bool = False

    @classmethod
    def of(cls, batch_id: int, pause_reason: str, priority: int, *, others: bool = False) -> Self:
        """`pause_reason`: the batch's. What a person sends while it is paused has a priority of its own."""
        paused = pause_reason if priority not in PRIORITIES else ""
        return cls(batch_id, paused, behind_pilot=priority >= HELD_BACK, others=others)


class Waiting(NamedTuple):
    """A row or message that waits. `reason` and `detail`: of the last look at it, which comes again at `due_at`.
    `needed`: the account and the senders that it waits for."""

    place: Place
    needed: Sequence[str] = ()
    due_at: datetime | None = None
    reason: str = ""
    detail: str = ""
    brand: str = ""


@dataclass(frozen=True)
class Circumstances:
    """What keeps rows waiting now, whatever was so at the last look at each. `stopped`: who stopped everything and why,
    in words. `blocked`: the accounts and senders that make no calls. `turns`: of those whose calls are minutes apart,
    that rows take turns, as look-ups do. `spent`: whether a batch may buy no more session (--most-credits). `contact`:
    how customers are written to; None: not known. `orphans`: how long a session with a lost token is waited for, by
    account; each account of the configuration has one. None: the accounts are not known. `has_own_links`: messages
    carry our own link. `early_at`: from when a link of this account that nobody has used is replaced, by its two times;
    None: at its end.
    """

    stopped: str = ""
    blocked: Blocked = field(default_factory=dict)
    turns: Mapping[str, str] = field(default_factory=dict)
    spent: Callable[[int], bool] = lambda _batch: True
    contact: ContactPolicy | None = None
    orphans: Mapping[str, OrphanRule] | None = None
    has_own_links: bool = False
    early_at: Callable[[str, datetime, datetime], datetime | None] = lambda _account, _issued_at, _expires_at: None

    def now(self, one: Waiting) -> Waiting:
        """The same, without a reason that is not so any more."""
        is_so = self.is_so(one.reason, one.place.batch_id, one.brand)
        return one if is_so else one._replace(reason="", detail="")

    def is_so(self, reason: str, batch_id: int, brand: str = "") -> bool:
        """Whether what the last look at a row found is kept by a rule still. An answer that somebody gave us cannot be
        asked for again, nor whose hour it is now: numbers and addresses are encrypted."""
        contact = self.contact
        match reason:
            case Reason.CREDITS_SPENT:
                return self.spent(batch_id)
            case Reason.BRAND_MISSING if contact is not None:
                return contact.brands is not None and brand not in contact.brands
            case Reason.QUIET_HOURS if contact is not None:
                return bool(contact.hours.quiet)
            case Reason.ADDRESS_SPENT if contact is not None:
                return contact.address_cap is not None
            case Reason.COUNTRY_SPENT if contact is not None:
                return contact.texts_per_country is not None
        return True

    def of(self, one: Waiting) -> list[Sequence[Wait]]:
        """Why each account and sender that it needs makes no calls; of an account that the configuration does not have
        any more, that."""
        found = [self.blocked.get(name, ()) for name in one.needed]
        for name in one.needed[:1]:  # of a row it is the account
            if self.orphans is not None and name not in self.orphans and name not in CHANNELS:
                found[0] = of_no_account(name)
        return [each for each in found if each]


def of_accounts(rules: Mapping[str, BudgetRule], states: Mapping[str, BudgetState], *, now: datetime) -> Blocked:
    made = {name: of_account(name, rule, states.get(rule.name, BudgetState()), now=now) for name, rule in rules.items()}
    return {name: each for name, each in made.items() if each}


def turns_at(rules: Mapping[str, BudgetRule], states: Mapping[str, BudgetState], *, now: datetime) -> dict[str, str]:
    """Of each account and sender whose calls are so far apart that a row which is due may wait for others: that."""
    every = [(name, rule, states.get(rule.name, BudgetState())) for name, rule in rules.items()]
    return {
        name: f"then in turn, by {_limit_in_words(rule, state, now)}"
        for name, rule, state in every
        if interval(state, rule.at(state.ramp_from, now)) >= SOON
    }


def of_account(name: str, rule: BudgetRule, state: BudgetState, *, now: datetime) -> tuple[Wait, ...]:
    """Why the account or sender makes no call now, the strongest first. Empty: it does."""
    if credits_left(state, rule) == 0:
        state = at_cap(state, rule, now=now)  # as the next claim finds it
    one, found = Wait("sender" if name in CHANNELS else "account", name), []
    if state.stopped_at is not None:
        why = state.stop_reason or "stopped"
        step, again_at = way_out(name, why), state.asks_again_at
        stop = one._replace(detail=why, action=step, until=again_at, since=state.stopped_at)
        found.append(stop._replace(reason=Reason.ACCOUNT_STOPPED))
    if (paused := state.paused_until(now)) is not None:
        found.append(one._replace(reason=Reason.ACCOUNT_PAUSED, detail=state.why_paused, until=paused))
    if (full := _used_up(rule, state, now)) is not None:
        found.append(one._replace(reason=Reason.LIMIT_USED_UP, detail=full[1], until=full[0]))
    if state.unproven and state.stopped_at is None and paused is None:
        why = silence_of(state, now=now) or "it has not been tried since a worker started"
        found.append(one._replace(reason=Reason.UNREACHABLE, detail=why))
    return tuple(found)


def stop_in_words(state: BudgetState) -> str:
    """Why the account is stopped, and when one call asks again, if one does."""
    again_at = written(state.asks_again_at) if state.asks_again_at is not None else ""
    return f"{state.stop_reason or 'stopped'}{asks_again(again_at)}"


def silence_of(state: BudgetState, *, now: datetime) -> str:
    """Why the last call had no answer, if its pause is over and no call was made since; else ""."""
    may_call = state.stopped_at is None and state.paused_until(now) is None
    return state.pause_reason if state.unproven and may_call else ""


def outage_of(state: BudgetState, *, now: datetime, due: bool = False) -> str:
    """Since when no call has succeeded, and why, while the breaker is open; else "". Without a pause and without work
    that is `due`, no call finds out whether it is over: then it says nothing."""
    is_tried = due or any(at is not None and at > now for at in (state.blocked_until, state.probe_until))
    if state.opened_at is None or state.stopped_at is not None or not is_tried:
        return ""
    return f"no call has succeeded since {written(state.opened_at)}: {state.pause_reason}"


def _used_up(rule: BudgetRule, state: BudgetState, now: datetime) -> tuple[datetime, str] | None:
    """When the next call fits into the limits and the credits of a period, and into which, if that is not soon."""
    limits = _at_limit(rule, state, now)
    spent = used_up(rule.credits_by, state.spent, now) if rule.credits_by else None
    if spent is None or (limits is not None and limits[0] > spent[0]):
        return limits
    until, cap = spent
    more = {"day": "tomorrow", "week": "next week", "month": "next month"}[cap.period]
    return until, f"its cap of {cap.in_words} (it waits for those of {more}; a higher `credits` goes on earlier)"


def _at_limit(rule: BudgetRule, state: BudgetState, now: datetime) -> tuple[datetime, str] | None:
    until = next_call_at(state, rule, now=now)
    if until is None or until - now < SOON:
        return None
    return until, _limit_in_words(rule, state, now)


def _limit_in_words(rule: BudgetRule, state: BudgetState, now: datetime) -> str:
    limit = tightest(rule.at(state.ramp_from, now).limits)
    if state.pace.rate is not None and (limit is None or state.pace.interval > limit.interval):
        return f"the limit of {found_in_words(rule, state)} that was found"
    if rule.ramp is not None and limit not in rule.limits:
        return f"its ramp of {rule.ramp}, today {limit}"
    return f"its limit of {limit}"


def of_no_account(name: str) -> tuple[Wait]:
    why, reason = f"this configuration does not have the account {name}", Reason.ACCOUNT_MISSING
    return (Wait("account", name, why, step_for(JobState.WAITING, reason), reason=reason),)


def cause_of(one: Waiting, around: Circumstances, *, now: datetime) -> Wait:
    """The first of what keeps a row or message waiting; `what` says of what it is, "" of the row's own `reason`. What a
    person ends goes first. Then of all that a time ends the last: nothing happens before it."""
    one = around.now(one)
    batch, blocked, reason = str(one.place.batch_id), around.of(one), one.reason
    if around.stopped:
        return Wait("everything", "", around.stopped, "onboard resume --all")
    if one.place.paused:
        step = step_for(JobState.WAITING, Reason.BATCH_PAUSED, batch)
        return Wait("batch", batch, one.place.paused, step, reason=Reason.BATCH_PAUSED)
    if one.place.behind_pilot:
        return Wait("pilot", batch, "", "nothing: the verdict is taken by itself")  # no command ends it before
    # A lost answer is looked up at a cap, too, and may give a credit back.
    looks_up = reason == Reason.UNKNOWN
    if for_a_person := [each[0] for each in blocked if each[0].action and not (looks_up and is_at_cap(each[0].detail))]:
        return for_a_person[0]
    if reason in UNTIL_A_PERSON:  # it is looked at again now and then, but only a person goes on with it
        return Wait(reason=reason, detail=one.detail, action=step_for(JobState.WAITING, reason, batch))
    until = one.due_at if one.due_at is not None and one.due_at > now else None
    for_sender = until is not None and reason == Reason.WAITS_FOR_SENDER
    every = [one for each in blocked for one in each if one.until is not None and one.until > (until or now)]
    if for_sender:
        # A session may be opened before its message fits into the sender's limit: when it is due, it is asked again.
        every = [one for one in every if one.what != "sender" or one.reason != Reason.LIMIT_USED_UP]
    if every:
        return max(every, key=attrgetter("until"))
    of_senders = "; ".join(each[0].in_words for each in blocked if for_sender and each[0].what == "sender")
    turn = next(filter(None, map(around.turns.get, one.needed)), "") if until is not None else ""
    return Wait(reason=reason, detail=of_senders or one.detail, until=until, turn=turn)


def of_row(first: Wait) -> Wait:
    """What the first cause is for a row, in the words of a report. What a person may have to end has no `until`."""
    if first.what == "pilot":
        return Wait(detail=f"it waits for the verdict on the pilot of batch {first.name}", action=first.action)
    if first.what in ("", "everything"):
        return first._replace(what="")
    called = f"batch {first.name}" if first.what == "batch" else first.name
    detail = first.detail if first.reason == Reason.ACCOUNT_MISSING else f"{called}: {first.detail}"
    return Wait(detail=detail, action=first.action, reason=first.reason, until=None if first.action else first.until)


def rows_wait(rows: int) -> str:
    return counted(rows, "row waits", "rows wait")


def rows_in_words(to_correct: int, *, held: int = 0) -> str:
    """Of rows that no work and no time goes on with: `2 rows wait for a decision, 1 row waits for a correction`."""
    each = ((held, "a decision"), (to_correct, "a correction"))
    return ", ".join(f"{rows_wait(rows)} for {what}" for rows, what in each if rows)


def with_rows(said: str, to_correct: int) -> str:
    """How the whole stands, with the rows that wait for a correction: they keep nothing else waiting."""
    return "; ".join(filter(None, [said, rows_in_words(to_correct)]))


class Level(IntEnum):
    """The exit codes of `status --check`, as monitoring systems read them."""

    WELL = 0
    NEEDS_A_PERSON = 1
    CRITICAL = 2


def level_of(found: Iterable[Wait]) -> Level:
    """How urgent the most urgent of what needs a person is; well if nothing does."""
    each = (Level.CRITICAL if one.is_critical else Level.NEEDS_A_PERSON for one in found)
    return max(each, default=Level.WELL)


def none_works(running: Collection[Running]) -> str:
    """Where none of the running processes works. One that only receives runs, and does not send."""
    return "no process sends" if running else "no process is working"


def of_work(
    running: Collection[Running],
    due: Collection[str],
    *,
    unwritable: str,
    starts: str,
    since: datetime | None = None,
    unmoved: datetime | None = None,
    now: datetime,
) -> list[Wait]:
    """`due`: the accounts and senders with work that is due now. `starts`: the command that starts work. `unwritable`:
    why nothing can be written; empty: it can. A process that works may not be among `running` then: it cannot say that
    it runs. `since`: when a process last looked for due work. `unmoved`: since when none has written a call down: a
    server whose disk is full takes what needs no more space, and a process says there that it runs."""
    doctor = hint("doctor", "onboard doctor") or _STATUS
    if unwritable:
        return [Wait("database", "", unwritable, doctor, is_critical=True)]
    for_whom = ", ".join(sorted(due))
    if due and not any(one.kind in WORK for one in running):
        why = f"{none_works(running)}, and work is due for {for_whom}"
        return [Wait("process", "", why, starts, since=since, is_critical=True)]
    if due and unmoved is not None and now - unmoved > UNMOVED_FOR:
        why = f"no call has begun since {written(unmoved)}, and work is due for {for_whom}: the processes log why"
        return [Wait("calls", "", why, doctor, since=unmoved, is_critical=True)]
    return []


def of_scheduler(running: Collection[Running], wakening: Wakening, *, now: datetime) -> list[Wait]:
    """Only workers need its wake-ups."""
    if not wakening.beat_is_missing(now) or all(one.kind != "worker" for one in running):
        return []
    none, slowly = no_wake_up(wakening), "the workers look for due work by themselves"
    if wakening.others_come(now):
        why = f"{none}, but others come: `onboard beat` is missing; {slowly}"
        return [Wait("beat", "", why, "onboard beat", since=wakening.beat_at)]
    causes = "`onboard beat` does not run, or the broker takes no messages"
    meanwhile = slowly if wakening.workers_sweep(now) else "no worker looks for due work, and new work waits"
    step = hint("doctor", "onboard doctor") or _STATUS
    return [Wait("beat", "", f"{none}: {causes}; {meanwhile}", step, since=wakening.beat_at)]


def of_bus(running: Collection[Running], queues: Collection[str], *, unwritable: str) -> list[Wait]:
    """`queues`: those that a sender of the configuration publishes to. How many events wait in them, only their broker
    knows. `unwritable`: as in `of_work`."""
    if unwritable or not queues or any(one.kind in TAKES_EVENTS for one in running):
        return []
    return [Wait("bus", "", f"no process takes events from {', '.join(sorted(queues))}: they wait", "onboard bus")]


def of_missing_key(key_id: str, held: int, since: datetime) -> Wait:
    """`held`: how many held rows need the key. `since`: when the first of them was held."""
    why = f"{counted(held, 'held row needs', 'held rows need')} it, and it is not in [encryption]: put it back"
    return Wait("key", key_id, why, hint("keys", "onboard keys status") or _STATUS, since=since)


def of_missing(what: str, name: str, by_batch: Mapping[int, int]) -> Wait:
    """An account, brand or sender that the configuration does not have, or the right to set something at an account.
    `by_batch`: the rows or messages that wait."""
    rows, report = sum(by_batch.values()), f"onboard report {min(by_batch)}"
    if what == "right":
        sets = "sets what it may not" if rows == 1 else "set what they may not"
        why = f"{counted(rows, 'row')} {sets}: list it in the account's per_row and in [rights], or cancel"
        return Wait(what, name, why, report, rows=rows)
    named = {"account": f"the account {name}", "brand": f"[brand.{name}]", "sender": "this channel"}[what]
    waiting = counted(rows, "message waits", "messages wait") if what == "sender" else rows_wait(rows)
    why = f"{waiting} for {named}, which this configuration does not have: put it back"
    return Wait(what, name, why, report, rows=rows)


def of_stop(what: str, names: str, reason: str, since: datetime | None = None, *, credentials: str = "") -> Wait:
    """`names`: the accounts that share the stopped budget, or the sender. `credentials`: the keys of the refused ones,
    and where their values come from; "" of another stop."""
    first, stopped = names.partition(",")[0], f"stopped since {written(since)}" if since is not None else "stopped"
    if is_at_cap(reason):
        return Wait(what, names, f"{stopped}: {reason}; {way_out(first, reason)}", "onboard account list", since=since)
    why = f"{stopped}: {reason}; correct the cause first{f' (the credentials: {credentials})' if credentials else ''}"
    return Wait(what, names, why, f"onboard account resume {first}", since=since)


def of_country(country: str, sent: int, refused: int) -> Wait:
    """`sent`: the texts of an hour. `refused`: how often one waited."""
    why = f"{counted(sent, 'text')} in an hour, the most that [sms] per_country allows, and {refused} wait: who asks?"
    return Wait("texts", country, why, "onboard report latest")


def of_refused_events(queue: str, number: int, since: datetime) -> Wait:
    why = f"{counted(number, 'refused event waits', 'refused events wait')} to be put back or dropped"
    return Wait("queue", queue, why, "onboard events dead list", since=since)


def of_unread(what: str, name: str, code: str, number: int, since: datetime) -> Wait:
    """`number`: of answers or reports with a code that our tables do not have."""
    many = counted(number, "answer or report has", "answers or reports have")
    why = f"{many} the code {code}, which our tables do not: what does the service say of it?"
    return Wait(what, name, why, "onboard report latest", since=since)


def of_webhooks(number: int, since: datetime | None) -> list[Wait]:
    """`number`: the webhooks to check. `since`: when the first of them came."""
    if not number:
        return []
    why = f"{counted(number, 'webhook is', 'webhooks are')} to be checked by a person"
    return [Wait("webhook", "", why, "onboard events webhooks list", since=since)]
