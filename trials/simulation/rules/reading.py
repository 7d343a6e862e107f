"""What a history shows of its calls: which the worker may not know the outcome of, which left too late, and when
a call is over. The rules ask this."""

from collections import defaultdict
from collections.abc import Iterator
from math import inf

from trials.simulation.people import VERDICT
from trials.simulation.plan import LEAST_RENEWAL, LIFETIME, TIMEOUT, Person
from trials.simulation.play import History
from trials.simulation.records import Call, Kind
from trials.simulation.setting import ROUTES
from trials.simulation.wire import CONNECTING

LISTED = frozenset({"kyc", "lt"})  # accounts that list a customer's sessions
SAFE = frozenset({"au"})  # accounts whose calls may be repeated
EARLY = frozenset({"kyb"})  # accounts that open another session while one lives
ENDED = frozenset({"completed", "lapsed", "failed", "cancelled"})
# An answer is written within a flush and a commit. Later it is lost only if the process dies or stands still meanwhile.
WRITTEN = 2.0
REPEATED = "a person answers for a second call"
CLOCKS = 5.0  # how much two times may differ that several clocks have told
SET_CLOCK = 10.0  # `container.SET_CLOCK_EVERY`


def may_be_unknown(history: History, call: Call) -> bool:
    """Whether the worker may not know the outcome: no answer, one that cannot be kept, or a process that could not
    write it."""
    if call.refused or call.kind is Kind.ADOPTED:
        return False
    if call.answered_at is None or call.spoilt or call.status >= 500:
        return call.status < 400 or call.answered_at is None
    life = history.record.lives[call.process]
    away: list[float] = []
    for begin, end in sorted(history.record.outages):  # one may begin before the other is over
        if begin <= max([call.answered_at, *away]) + WRITTEN and end >= call.sent_at:
            away.append(end)
    # A commit that was not acknowledged is made again, a second later.
    away += [at for at in life.broken if call.sent_at <= at <= call.answered_at + WRITTEN]
    until = max([call.answered_at, *away]) + WRITTEN
    if life.ended_at is not None and life.ended_at <= until:
        return True
    return any(begin <= until and end >= call.sent_at for begin, end in life.still)


def behind(history: History, call: Call) -> bool:
    """Whether its machine was paused, clocks and all, and its clock may not have been set since."""
    paused = history.record.lives[call.process].paused
    return any(begin <= call.sent_at <= end + SET_CLOCK + WRITTEN for begin, end in paused)


def left_late(history: History, call: Call) -> bool:
    """Whether its machine was paused, clocks and all, between the attempt's commit and the call."""
    return fell_asleep(history, call) is not None


def fell_asleep(history: History, call: Call) -> float | None:
    """When its machine was paused, clocks and all, if that was between the attempt's commit and the call.

    The process cannot see that it slept, and asks nothing more before the call, which may wait for its connection: only
    the provider could refuse it. If the process has committed attempts since it woke, this may be one of them, and the
    call must not leave.
    """
    life = history.record.lives[call.process]
    begins = (
        begin
        for begin, end in life.paused
        if end <= call.sent_at <= end + WRITTEN + max(history.plan.stalls, CONNECTING[1])
        # A second mail does little harm, so an attempt that was committed since is taken for another row's.
        and (call.kind is Kind.MAIL or not any(end < at < call.sent_at for at in life.opened))
    )
    return min(begins, default=None)


def looked_up(history: History, call: Call, later: Call) -> bool:
    """Whether a look-up after the call was answered before the later one left."""
    return any(
        look_up.account == call.account
        and look_up.customer == call.customer
        and look_up.status == 200
        and (look_up.arrived_at or 0) > (call.arrived_at or call.sent_at)
        and look_up.answered_at is not None
        and look_up.answered_at <= later.sent_at
        for look_up in history.record.of(Kind.LOOK_UP)
    )


def decided(history: History, later: Call) -> bool:
    """Whether a person gave this customer a new link before this call, or another address, or answered for a second
    call: what may no more be led to is replaced."""
    words = (("the desk gives a new link", later.customer), ("has another address", later.customer), (REPEATED, ""))
    return any(at <= later.sent_at for what, customer in words for at in times(history, what, customer))


def asked(history: History, customer: str) -> int:
    """How many lists, events and renewals have asked for this customer, at most."""
    return max(len(times(history, "requested", customer)), 1) + len(due_again(history, customer))


def times(history: History, what: str, customer: str = "") -> list[float]:
    """When this has happened, to this customer or to anybody."""
    return [one.at for one in history.record.happened if one.what == what and customer in ("", one.customer)]


def opened_at(call: Call) -> float:
    """When the provider opened the session; if it never heard of the call, when the call left."""
    return call.arrived_at if call.arrived_at is not None else call.sent_at


def over_at(call: Call) -> float:
    """When a call is in flight no more."""
    if call.refused:
        return call.sent_at
    known = call.answered_at if call.answered_at is not None else call.broke_at
    return call.sent_at + TIMEOUT if known is None else known


def sessions_of(history: History, customer: str) -> list[Call]:
    """The calls for a customer's sessions, and one that was adopted."""
    return [call for call in history.record.of(Kind.SESSION, Kind.ADOPTED) if call.customer == customer]


def may_be_replaced(history: History, call: Call, at: float) -> bool:
    """Whether the link of this session may be replaced at this time, before its end."""
    end = call.expires_at or call.sent_at + LIFETIME
    return bool(history.plan.ahead) and call.account in EARLY and at >= end - history.plan.ahead - WRITTEN


def verdicts(history: History, customer: str, what: str = f"is known: {VERDICT}") -> dict[str, float]:
    """When the verdict on each of a customer's sessions was first known, by token, in the order of time; or when
    something else happened to them."""
    found: dict[str, float] = {}
    for one in history.record.happened:
        if one.what == what and one.customer == customer:
            found.setdefault(one.detail, one.at)
    return found


def is_asked_once_more(history: History, person: Person) -> bool:
    """Whether the first refusal of this customer is followed by another session."""
    gives_reasons = person.adopted or ROUTES[person.account][0] in LISTED  # adopted sessions are of kyc
    return history.plan.tries_again and person.ends in ("deny", "review-deny") and gives_reasons


def due_again(history: History, customer: str) -> list[float]:
    """When a customer may be asked to renew at the earliest: some providers name the time at which it has submitted."""
    every = LEAST_RENEWAL if history.plan.renews_for else inf
    submitted = verdicts(history, customer, "finished").values()
    return [at + every for at in submitted if at + every < history.ended_at]


def opened(history: History) -> dict[str, list[Call]]:
    """The calls that opened sessions, by customer, in the order of their opening."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.record.of(Kind.SESSION, Kind.ADOPTED), key=opened_at):
        if call.processed:
            found[call.customer].append(call)
    return found


def by_customer(history: History, *kinds: Kind) -> dict[str, list[Call]]:
    """The calls of these kinds, by customer, in their order."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.record.of(*kinds), key=lambda call: call.sent_at):
        found[call.customer].append(call)
    return found


def by_account(history: History) -> dict[str, list[Call]]:
    """The calls of each account and sender, in their order; no log-ins."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.record.calls, key=lambda call: call.sent_at):
        if call.kind not in (Kind.OTHER, Kind.ADOPTED):
            found[call.account].append(call)
    return found


def pairwise_by_process(calls: list[Call]) -> Iterator[tuple[Call, Call]]:
    """Each call, and the next one of the same process."""
    last: dict[int, Call] = {}
    for call in calls:
        if call.process in last:
            yield last[call.process], call
        last[call.process] = call
