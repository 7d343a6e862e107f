"""Why a row, an account or a sender waits, until when, and who must act: the words of `status`, the reports, the
dashboard, the service desk and alerts. Pure. Features say it of their own work: `source_reports`, `standings`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum

from worker.core.features import hint
from worker.core.foundation.plural import counted
from worker.core.foundation.timestamps import written
from worker.core.limits.budgets import BudgetRule, BudgetState, at_cap, credits_left, found_in_words, interval
from worker.core.limits.rate_limits import tightest
from worker.core.model.channels import CHANNELS
from worker.core.model.endings import is_at_cap, way_out
from worker.core.model.reasons import Reason
from worker.core.model.states import JobState, LineState
from worker.core.unknown.reconciliation import OrphanRule
from worker.reporting.account_words import silence_of, stop_in_words
from worker.reporting.operation import TAKES_EVENTS, WORK, Running, Wakening, no_account, no_wake_up

_STATUS = "onboard status"  # where the feature whose command shows more is not here
_REFUSED_FOR = timedelta(minutes=2)  # several processes sweep by turns, and only one may refuse
# Words that say how a row is served, and nothing that went wrong.
_HEALTHY = frozenset({Reason.JOINED_JOB, Reason.JOINED_SESSION, Reason.ALREADY_FINISHED})
_SERVED = frozenset({JobState.ISSUED, JobState.INVITED, JobState.COMPLETED, LineState.JOINED})
# The reasons whose words say nothing without the time.
_UNTIL_A_TIME = frozenset(
    {
        Reason.QUIET_HOURS,
        Reason.WAITS_FOR_SENDER,
        Reason.IN_REVIEW,
        Reason.LAST_MESSAGE_UNDER_WAY,
        Reason.ADDRESS_SPENT,
        Reason.COUNTRY_SPENT,
        Reason.PLANNED,
    }
)


@dataclass(frozen=True)
class Blocked:
    """An account or sender that makes no calls now: `stopped` says why, it is paused until a time, or the configuration
    does not have it (`is_missing`).

    `asks_again`: the stop in words, where a worker asks again by itself. `full_until`: the next call that its limit
    allows. `silent`: why it is not known to work.
    """

    name: str
    stopped: str = ""
    paused_until: datetime | None = None
    paused_for: str = ""
    is_missing: bool = False
    asks_again: str = ""
    full_until: datetime | None = None
    full_for: str = ""
    silent: str = ""

    @property
    def is_shut(self) -> bool:
        """Whether no process can do its work now, however many there are."""
        return bool(self.stopped or self.paused_until or self.full_until)

    @property
    def until(self) -> datetime | None:
        """When its pause ends, or its limit allows the next call; None where a person must act first."""
        return self.paused_until or self.full_until

    @property
    def way_out(self) -> str:
        """What a person must do before it makes calls again, in words; "": nothing."""
        if self.is_missing:
            return "put the account back into the configuration"
        return way_out(self.name, self.stopped) if self.stopped else ""

    @property
    def called(self) -> str:
        """What it is called in a sentence."""
        return f"the sender {self.name}" if self.name in CHANNELS else self.name

    @property
    def why(self) -> str:
        """As `in_words`, for a line that has a time already: a pause without its end."""
        if self.paused_until is None or self.is_missing or self.stopped:
            return self.in_words
        return f"{self.called} is paused: {self.paused_for}"

    @property
    def in_words(self) -> str:
        """The strongest reason, as a sentence without its stop."""
        if self.is_missing:
            return f"this configuration does not have the account {self.name}"
        if self.stopped:
            return f"{self.called} is stopped: {self.asks_again or self.stopped}"
        if self.paused_until is not None:
            return f"{self.called} is paused until {written(self.paused_until)}: {self.paused_for}"
        if self.full_until is not None:
            return f"{self.called} has used up {self.full_for}, until {written(self.full_until)}"
        return f"{self.called} did not answer: {self.silent}"


@dataclass(frozen=True)
class Wait:
    """Why a row waits; until when, if that is known; what a person does, if any."""

    reason: str
    detail: str
    until: datetime | None
    action: str = ""

    @property
    def why(self) -> str:
        """In the words of the column `error`."""
        if self.until is not None and self.reason in _UNTIL_A_TIME:
            return "; ".join(filter(None, [f"{self.reason}: not before {written(self.until)}", self.detail]))
        return explained(self.reason, self.detail)


def explained(reason: str, detail: str) -> str:
    """The reason with its detail."""
    return f"{reason}: {detail}" if detail else reason


def is_healthy(state: str, reason: str) -> bool:
    """True for a row that is served, if the reason says only how."""
    return state in _SERVED and reason in _HEALTHY


def wait_of(
    reason: str,
    detail: str,
    due_at: datetime | None,
    *,
    paused: str,
    batch_id: int,
    blocked: Iterable[Blocked],
    now: datetime,
) -> Wait:
    """Why a row waits. `paused` is why its batch is paused, or the batch `batch_id` whose row serves its customer."""
    if paused:
        return Wait(Reason.BATCH_PAUSED, f"batch {batch_id}: {paused}", None, f"`onboard resume {batch_id}`")
    blocked = list(blocked)
    if first := first_for_a_person(blocked):
        if first.is_missing:
            return Wait(Reason.ACCOUNT_MISSING, first.in_words, None, first.way_out)
        return Wait(Reason.ACCOUNT_STOPPED, f"{first.name}: {first.stopped}", None, first.way_out)
    until = due_at if due_at is not None and due_at > now else None
    pauses = [one for one in blocked if one.paused_until is not None and one.paused_until > (until or now)]
    if pauses:
        last = max(pauses, key=lambda one: one.paused_until or now)
        return Wait(Reason.ACCOUNT_PAUSED, f"{last.name}: {last.paused_for}", last.paused_until)
    if until is not None and reason in _UNTIL_A_TIME:
        causes = [one.in_words for one in blocked if one.name in CHANNELS] if reason == Reason.WAITS_FOR_SENDER else []
        return Wait(reason, "; ".join(causes), until)
    full = [one for one in blocked if one.full_until is not None and one.full_until > (until or now)]
    if full:
        last = max(full, key=lambda one: one.full_until or now)
        return Wait(Reason.LIMIT_USED_UP, f"{last.name}: {last.full_for}", last.full_until)
    return Wait(reason, detail, until)


def first_for_a_person(blocked: Iterable[Blocked]) -> Blocked | None:
    """The first that waits for a person and not for a time."""
    return next((one for one in blocked if one.way_out), None)


# A slot that is nearer than this keeps no row waiting for long enough to be named.
SOON = timedelta(minutes=1)


@dataclass(frozen=True)
class Circumstances:
    """`stopped`: who stopped everything and why, in words. `blocked`: the accounts and senders that make no calls now,
    by name. `orphans`: how long a session with a lost token is waited for, by account; each account of the
    configuration has one. None: the accounts are not known. `most_messages`: the cap of each customer; None: not known.
    """

    stopped: str = ""
    blocked: Mapping[str, Blocked] = field(default_factory=dict)
    orphans: Mapping[str, OrphanRule] | None = None
    most_messages: int | None = None

    def of_account(self, name: str) -> "Circumstances":
        """The same for a row of this account, which the configuration may not have any more."""
        if self.orphans is None or name in self.orphans:
            return self
        return replace(self, blocked={**self.blocked, name: Blocked(name, is_missing=True)})


def obstacles(
    rules: Mapping[str, BudgetRule], states: Mapping[str, BudgetState], *, now: datetime
) -> dict[str, Blocked]:
    """The accounts and senders that make no calls now, by name."""
    found = {
        name: obstacle_of(name, rule, states.get(rule.name, BudgetState()), now=now) for name, rule in rules.items()
    }
    return {name: one for name, one in found.items() if one is not None}


def obstacle_of(name: str, rule: BudgetRule, state: BudgetState, *, now: datetime) -> Blocked | None:
    """Why the account or sender makes no call now; None: it does."""
    if credits_left(state, rule) == 0:
        state = at_cap(state, rule, now=now)  # as the next claim finds it
    paused_until = state.paused_until(now)
    full_until, full_for = _used_up(rule, state, now)
    found = Blocked(
        name,
        stopped=(state.stop_reason or "stopped") if state.stopped_at is not None else "",
        paused_until=paused_until,
        paused_for=state.why_paused if paused_until else "",
        asks_again=stop_in_words(state) if state.stopped_at is not None and state.asks_again_at is not None else "",
        full_until=full_until,
        full_for=full_for,
        silent=_silence(state, now),
    )
    return found if found != Blocked(name) else None


def _silence(state: BudgetState, now: datetime) -> str:
    if not state.unproven or state.stopped_at is not None or state.paused_until(now):
        return ""
    return silence_of(state, now=now) or "it has not been tried since a worker started"


def _used_up(rule: BudgetRule, state: BudgetState, now: datetime) -> tuple[datetime | None, str]:
    """When the next call fits into the limits, and into which, if that is not soon."""
    today = rule.at(state.ramp_from, now)
    if state.next_at is None or not (today.limits or state.pace.rate is not None):
        return None, ""
    # A later slot was reserved under a lower limit, or by a wrong clock (`budgets.clamp_future_times`).
    until = min(state.next_at, now + interval(state, today))
    if until - now < SOON:
        return None, ""
    limit = tightest(today.limits)
    if state.pace.rate is not None and (limit is None or state.pace.interval > limit.interval):
        return until, f"the limit of {found_in_words(rule, state)} that was found"
    if rule.ramp is not None and limit not in rule.limits:
        return until, f"its ramp of {rule.ramp}, today {limit}"
    return until, f"its limit of {limit}"


class Level(IntEnum):
    """The exit codes of `status --check`, as monitoring systems read them."""

    WELL = 0
    NEEDS_A_PERSON = 1
    CRITICAL = 2


@dataclass(frozen=True)
class Attention:
    """Something that waits for a person. `command` does it, or shows more."""

    # Such as stop, database, process, account, sender, batch, folder or list.
    what: str
    name: str
    reason: str
    command: str
    level: Level = Level.NEEDS_A_PERSON


def level_of(found: Iterable[Attention]) -> Level:
    """The most urgent level; well if nothing needs a person."""
    return max((one.level for one in found), default=Level.WELL)


def of_work(running: Collection[Running], due: Collection[str], *, unwritable: str, starts: str) -> list[Attention]:
    """`due`: the accounts and senders with work that is due now. `starts`: the command that starts work. `unwritable`:
    why nothing can be written; empty: it can. A process that works may not be among `running` then: it cannot say that
    it runs.
    """
    if unwritable:
        return [Attention("database", "", unwritable, hint("doctor", "onboard doctor") or _STATUS, Level.CRITICAL)]
    if not due or any(one.kind in WORK for one in running):
        return []
    why = f"no process is working, and work is due for {', '.join(sorted(due))}"
    return [Attention("process", "", why, starts, Level.CRITICAL)]


def of_scheduler(running: Collection[Running], wakening: Wakening, *, now: datetime) -> list[Attention]:
    """Only workers need its wake-ups."""
    if not wakening.beat_is_missing(now) or all(one.kind != "worker" for one in running):
        return []
    none, slowly = no_wake_up(wakening), "the workers look for due work by themselves, every few seconds"
    if wakening.others_come(now):
        return [Attention("beat", "", f"{none}, but others come: `onboard beat` is missing; {slowly}", "onboard beat")]
    causes = "`onboard beat` does not run, or the broker cannot be reached, takes no messages or loses them"
    meanwhile = slowly if wakening.workers_sweep(now) else "no worker looks for due work, and new work waits"
    return [Attention("beat", "", f"{none}: {causes}; {meanwhile}", hint("doctor", "onboard doctor") or _STATUS)]


def of_bus(running: Collection[Running], queues: Collection[str], *, unwritable: str) -> list[Attention]:
    """`queues`: those that a sender of the configuration publishes to. How many events wait in them, only their broker
    knows. `unwritable`: as in `of_work`."""
    if unwritable or not queues or any(one.kind in TAKES_EVENTS for one in running):
        return []
    return [Attention("bus", "", f"no process takes events from {', '.join(sorted(queues))}: they wait", "onboard bus")]


def of_audit_log(refused_at: datetime | None, *, now: datetime) -> list[Attention]:
    """`refused_at`: when a process last refused the audit log's head. It says so every few seconds while it lasts."""
    if refused_at is None or refused_at <= now - _REFUSED_FOR:
        return []
    why = "the audit log is not sealed: its head is gone, not signed, or older than before; the workers' log says which"
    return [Attention("audit", "", why, hint("audit", "onboard audit verify") or _STATUS)]


def of_missing_key(key_id: str, held: int) -> Attention:
    """`held`: how many held rows need the key."""
    why = f"{counted(held, 'held row needs', 'held rows need')} it, and it is not in [encryption]: put it back"
    return Attention("key", key_id, why, hint("keys", "onboard keys status") or _STATUS)


def of_missing_account(name: str, rows: int, batch_id: int) -> Attention:
    """`rows` wait for an account that the configuration does not have, the first of them in this batch."""
    return Attention("account", name, f"{no_account(name, rows)}: put it back", f"onboard report {batch_id}")


def of_missing_channel(name: str, messages: int, batch_id: int) -> Attention:
    """`messages` wait for a channel that the configuration does not have, the first of them in this batch."""
    waiting = counted(messages, "message waits", "messages wait")
    why = f"{waiting} for this channel, which this configuration does not have: put it back"
    return Attention("sender", name, why, f"onboard report {batch_id}")


def of_stop(what: str, names: str, reason: str) -> Attention:
    """`names`: the accounts that share the stopped budget, or the sender."""
    first = names.partition(",")[0]
    if is_at_cap(reason):
        return Attention(what, names, f"stopped: {reason}; {way_out(first, reason)}", "onboard account list")
    return Attention(what, names, f"stopped: {reason}; correct the cause first", f"onboard account resume {first}")


def of_country(country: str, sent: int, refused: int) -> Attention:
    """`sent`: the texts of an hour. `refused`: how often one waited."""
    why = f"{counted(sent, 'text')} in an hour, the most that [sms] per_country allows, and {refused} wait: who asks?"
    return Attention("texts", country, why, "onboard report latest")


def of_refused_events(queue: str, number: int) -> Attention:
    why = f"{counted(number, 'refused event waits', 'refused events wait')} to be put back or dropped"
    return Attention("queue", queue, why, "onboard events dead list")


def of_webhooks(number: int) -> list[Attention]:
    """`number`: the webhooks to check."""
    if not number:
        return []
    why = f"{counted(number, 'webhook is', 'webhooks are')} to be checked by a person"
    return [Attention("webhook", "", why, "onboard events webhooks list")]
