"""What the results of calls show: of the account, pauses, stops, the breaker, and what `rate_adaptation` judges by (see
`budgets`); what a sender's later reports show; and whom a refusal is about, where its code does not say. Pure.

The same "554" comes for one odd message, and for each message of a sender that is blocked. So the row is tried again
soon, and what the other rows got meanwhile decides:

    refused ──▶ tried again ──▶ most others succeeded since: it is about the row
                           └──▶ nobody has, in the last tries or for a minute: it is about us, and the account stops

A single row without others proves nothing: after a minute it is about the row if others succeeded before, and else its
problem is what the code alone says.
"""

from collections import deque
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import NamedTuple

from onboarding_worker.core.model.endings import Backoff, Kind, Problem
from onboarding_worker.core.model.stops import REPEATS, REPORTS, About, reason_of_stop, tries_again_by_itself
from onboarding_worker.core.rules.budgets import ASK_AGAIN_AFTER, BudgetRule, BudgetState, next_slot
from onboarding_worker.core.rules.rate_adaptation import Pace, counted

# Success, and refusals of one row: the account answers, so a pause is over.
ANSWERS = frozenset({None, Kind.BAD_INPUT, Kind.CONFLICT})
STOPS = frozenset({Kind.AUTH, Kind.OUT_OF_CREDIT, Kind.SHORT_LIVED})
FAILURES = frozenset({Kind.TRANSIENT, Kind.UNKNOWN})  # the account gave no answer, or no usable one


class CallOutcome(NamedTuple):
    """What one call showed: the problem that it ended with, or None for a success. `began_at` is when it was made.

    An account that cannot be reached is paused like a rate-limited one: one call finds out whether it is back, and not
    a call for each row. Of an unclear problem what was refused is the message itself: a log-in does not show that it is
    accepted again.
    """

    began_at: datetime
    problem: Problem | None = None

    @property
    def kind(self) -> Kind | None:
        return self.problem.kind if self.problem is not None else None


def after_outcomes(
    state: BudgetState, rule: BudgetRule, call_outcomes: Iterable[CallOutcome], *, now: datetime
) -> BudgetState:
    """The state after these calls: paused, stopped, with an open breaker, or working again; and its calls counted, for
    the next claim to adapt the pace."""
    call_outcomes = sorted(call_outcomes, key=lambda outcome: outcome.began_at)
    stopped_at = state.stopped_at
    slot = next_slot(state, rule, now=now)
    if slot is not None and slot.has_gone_ahead(now) and any(each.kind is Kind.RATE_LIMITED for each in call_outcomes):
        # The pause ends what goes ahead. These refusals, and those of other calls until now, do not show that the even
        # pace is too fast.
        state = replace(state, pace=replace(state.pace, lowered_at=now))
    for outcome in call_outcomes:
        if outcome.problem is None and state.is_well:
            continue  # nearly every call: a success shows nothing new
        state = _after(state, rule, outcome, stopped_at=stopped_at, now=now)
    return replace(state, pace=_counted(state, rule, call_outcomes, now=now))


def _after(
    state: BudgetState, rule: BudgetRule, outcome: CallOutcome, *, stopped_at: datetime | None, now: datetime
) -> BudgetState:
    """The state after this call. `stopped_at`: since when the account was stopped, before all of these calls."""
    problem, kind = outcome.problem, outcome.kind
    # A call from before the pause says nothing about the time since.
    fresh = state.paused_at is None or outcome.began_at >= state.paused_at
    unreachable = problem is not None and problem.unreachable
    failed = unreachable or kind in FAILURES
    if fresh and failed:
        state = replace(state, failures=state.failures + 1)
    elif fresh:  # any answer shows that the account answers, even a 429
        state = replace(state, failures=0, opened_at=None)
    if fresh or kind in STOPS:
        refused = problem is not None and kind in STOPS and not problem.unclear
        state = replace(state, unproven=unreachable or refused)
    opens = failed and fresh and rule.opens_after is not None and state.failures >= rule.opens_after
    if problem is not None and (unreachable or kind is Kind.RATE_LIMITED):
        state = _paused(state, rule, problem, fresh=fresh, now=now)
    elif problem is not None and kind in STOPS:
        state = _stopped(state, problem, now=now)
    elif kind in ANSWERS and fresh:
        state = _answered(state, outcome.began_at, stopped_at)
    elif problem is not None and opens:
        state = _paused(state, rule, replace(problem, retry_after=None), fresh=True, now=now)
    elif fresh:
        state = replace(state, probe_until=None)
    if problem is not None and opens:
        why = f"{state.failures} calls in a row failed, the last with {problem.detail}"[:400]
        return replace(state, opened_at=state.opened_at or now, pause_reason=why)
    if fresh and rule.opens_after is None:
        # Of a sender only this is its own failure; any answer ends it.
        return replace(state, opened_at=(state.opened_at or now) if unreachable else None)
    return state


def _counted(state: BudgetState, rule: BudgetRule, call_outcomes: list[CallOutcome], *, now: datetime) -> Pace:
    """The pace with the refused calls counted; with all calls, for an account without a limit that has refused some:
    claims count none."""
    pace = state.pace
    since = pace.lowered_at
    current = [outcome for outcome in call_outcomes if since is None or outcome.began_at >= since]
    refused = sum(outcome.kind is Kind.RATE_LIMITED for outcome in current)
    unlimited = rule.rate is None and pace.rate is None
    if not refused and not (unlimited and pace.refused):
        return pace
    return counted(pace, rule.rate, granted=len(current) if unlimited else 0, refused=refused, now=now)


def _paused(state: BudgetState, rule: BudgetRule, problem: Problem, *, fresh: bool, now: datetime) -> BudgetState:
    if not fresh and problem.retry_after is None:
        return state
    pauses = state.pauses + 1 if fresh else state.pauses
    until = now + (problem.retry_after if problem.retry_after is not None else rule.retry.ceiling(pauses))
    until = max(until, state.blocked_until or until)
    return replace(
        state,
        blocked_until=until,
        # What goes ahead is over: after the pause calls are evenly spaced.
        ahead_at=max(until, state.ahead_at or state.next_at or until) if rule.burst is not None else None,
        pauses=pauses,
        paused_at=now if fresh else state.paused_at,
        pause_reason=problem.detail,
        probe_until=None,
    )


def _stopped(state: BudgetState, problem: Problem, *, now: datetime) -> BudgetState:
    if state.stopped_at is not None and not tries_again_by_itself(state.stop_reason):
        return state  # a call that was in flight: one more must not go out by itself
    again_at = now + ASK_AGAIN_AFTER
    return replace(
        state,
        stopped_at=state.stopped_at or now,
        stop_reason=reason_of_stop(problem.detail),
        probe_until=None,
        # As for a pause: a process whose clock is slow makes it no shorter.
        asks_again_at=max(again_at, state.asks_again_at or again_at) if problem.kind is Kind.AUTH else None,
    )


def repeating(state: BudgetState, count: int, *, now: datetime) -> BudgetState:
    """The state once so many answers of the last hour had what another customer has: stopped until a person acts."""
    if state.stop_reason.startswith(REPEATS):
        return state
    reason = (
        f"{REPEATS}{count} within an hour had the token or the id of another customer; is there a cache or a proxy"
        " before the provider?"
    )
    stopped_at = state.stopped_at or now
    return replace(state, stopped_at=stopped_at, stop_reason=reason, asks_again_at=None, probe_until=None)


class Report(NamedTuple):
    """What a sender reported of one message that it had taken. `about`: whom its loss is about; None: it arrived.
    `sent_at`: when it was handed over. `words`: of its code."""

    about: About | None
    sent_at: datetime
    words: str = ""


# Five losses in a row that are about us stop the sender, or twenty whose codes have no published meaning.
WEIGHTS = {About.US: 4, About.UNKNOWN: 1}
STOPS_AT = 20
LONGEST_ROW = timedelta(days=1)


def after_reports(state: BudgetState, reports: Iterable[Report], *, by_mail: bool, now: datetime) -> BudgetState:
    """The state of a sender after these reports, in their order. A delivery ends the row of losses, and so does a day.
    A loss because of an address or a customer is no part of it, and does not end it. The stop is a person's to end: the
    service would take the next message as well.

    `by_mail`: a mail service may be set up to report no deliveries. Then losses of one day have nothing between them,
    whatever arrived: they count once a delivery was reported.
    """
    for report in reports:
        weight, since = WEIGHTS.get(report.about, 0) if report.about is not None else 0, state.lost_since
        if since is not None and report.sent_at < since:
            continue
        if report.about is None:
            state = replace(state, lost=0, lost_since=report.sent_at if since is None else since)
        elif weight and (since is not None or not by_mail):
            if since is None or report.sent_at > since + LONGEST_ROW:
                state = replace(state, lost=0, lost_since=report.sent_at)
            state = replace(state, lost=min(state.lost + weight, STOPS_AT))
            if state.lost >= STOPS_AT and not state.stop_reason.startswith(REPORTS):
                why, stopped_at = f"{REPORTS}{report.words}"[:400], state.stopped_at or now
                state = replace(state, stopped_at=stopped_at, stop_reason=why, asks_again_at=None, probe_until=None)
    return state


def _answered(state: BudgetState, began_at: datetime, stopped_at: datetime | None) -> BudgetState:
    state = replace(state, pauses=0, probe_until=None, pause_reason="")
    # Not a call that was in flight when the account was stopped.
    if state.asks_again_at is not None and stopped_at is not None and began_at > stopped_at:
        return replace(state, stopped_at=None, stop_reason="", asks_again_at=None)
    return state


LAST_TRIES = 20
LONGEST_LOOK = timedelta(minutes=1)
# When the row is tried again: soon, since nothing costs an attempt; but a server that greylists is not asked often.
LOOKS = Backoff.steps(5, 10, 20, 30)
LEAST_WORDS = 2


class Subject(Enum):
    """Whom a refusal is about."""

    ROW = "row"
    US = "us"
    AS_ITS_CODE = "as its code"  # the other rows say nothing, and will not
    OPEN = "open"  # the next look may tell


class Try(NamedTuple):
    """One call of the account: a success, or a refusal whose code does not say whom it is about."""

    row: Hashable
    began_at: datetime
    succeeded: bool


def subject_of(row: Hashable, first_at: datetime, tries: Sequence[Try], *, now: datetime) -> Subject:
    """Whom the refusal of this row is about.

    `tries`: the account's last ones in their order, with the row's own. `first_at`: when the row was refused first.
    """
    last = tries[-LAST_TRIES:]
    others = [one for one in last if one.row != row and one.began_at > first_at]
    succeeded = sum(one.succeeded for one in others)
    if 2 * succeeded > len(others):
        return Subject.ROW
    if _nobody_succeeds(last, now=now):
        return Subject.US
    if now - first_at < LONGEST_LOOK:
        return Subject.OPEN
    return Subject.ROW if any(one.succeeded for one in last if one.row != row) else Subject.AS_ITS_CODE


def _nobody_succeeds(last: Sequence[Try], *, now: datetime) -> bool:
    """Whether more than one row was refused, and none succeeded in all of the last tries, or for a minute."""
    successes = [one.began_at for one in last if one.succeeded]
    refused = [one for one in last if not one.succeeded and (not successes or one.began_at > successes[-1])]
    if len({one.row for one in refused}) < 2:
        return False
    return len(refused) >= LAST_TRIES or now - refused[0].began_at >= LONGEST_LOOK


def shared_words(one: str, other: str) -> str:
    """How both sentences begin. What is the same for two customers names neither of them, so it may be shown."""
    same = []
    for word, again in zip(one.split(), other.split(), strict=False):
        if word != again:
            break
        same.append(word)
    return " ".join(same) if len(same) >= LEAST_WORDS else ""


MOST_ROWS = 10_000  # beyond them the row that was refused first is looked at anew
MOST_SAID = 100
# What a refusal is once it is known whom it is about. A request to wait is no reason to stop.
ABOUT_US = {Kind.BAD_INPUT: Kind.AUTH, Kind.TRANSIENT: Kind.RATE_LIMITED}
ABOUT_ROW = {Kind.AUTH: Kind.BAD_INPUT}


@dataclass
class _Refused:
    first_at: datetime
    times: int = 0


@dataclass
class SecondLook:
    """Lives on one loop."""

    _tries: deque[Try] = field(default_factory=lambda: deque(maxlen=LAST_TRIES))
    _refused: dict[Hashable, _Refused] = field(default_factory=dict)  # in the order of their first refusal
    # By our own words for a refusal: the other side's words, which several rows got or only this one.
    _said: dict[str, tuple[Hashable, str]] = field(default_factory=dict)

    def succeeded(self, row: Hashable, began_at: datetime) -> None:
        self._tries.append(Try(row, began_at, succeeded=True))
        self._refused.pop(row, None)

    def judged(self, row: Hashable, began_at: datetime, problem: Problem, *, now: datetime) -> Problem:
        """The problem of the row's call, with the kind that it has by what the other rows got."""
        if problem.unreachable:
            return problem
        quoted = self._quoted(row, problem)  # of the first refusals too: the sentence stands when they add up to a stop
        if problem.unclear:
            problem = self._looked_at(row, began_at, problem, now=now)
        return replace(problem, detail=quoted) if problem.concerns_account else problem

    def _looked_at(self, row: Hashable, began_at: datetime, problem: Problem, *, now: datetime) -> Problem:
        self._tries.append(Try(row, began_at, succeeded=False))
        refused = self._refused.setdefault(row, _Refused(began_at))
        refused.times += 1
        if len(self._refused) > MOST_ROWS:
            del self._refused[next(iter(self._refused))]
        look_again = LOOKS.ceiling(refused.times)
        match subject_of(row, refused.first_at, tuple(self._tries), now=now):
            case Subject.OPEN:
                return replace(problem, kind=Kind.UNCLEAR, retry_after=look_again, address=None)
            case Subject.ROW:
                return replace(problem, kind=ABOUT_ROW.get(problem.kind, problem.kind))
            case Subject.US:
                problem = replace(problem, kind=ABOUT_US.get(problem.kind, problem.kind), address=None)
        if problem.kind is Kind.AUTH:  # the next row asks whether the stop is over, in case it was about this one
            return replace(problem, retry_after=look_again)
        return replace(problem, retry_after=None) if problem.kind is Kind.RATE_LIMITED else problem

    def _quoted(self, row: Hashable, problem: Problem) -> str:
        """Our words for a refusal of each row, with what the other side says to several of them alike."""
        if not problem.words:
            return problem.detail
        if len(self._said) > MOST_SAID:
            self._said.clear()
        first, words = self._said.setdefault(problem.detail, (row, problem.words))
        if first == row:
            return problem.detail
        shared = shared_words(words, problem.words)
        self._said[problem.detail] = (None, shared) if shared else (row, problem.words)
        return f"{problem.detail}; the answer says: {shared}" if shared else problem.detail
