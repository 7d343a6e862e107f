"""What must hold for each history: functions from a history to complaints. They know nothing of the engine's inside.

The rules read what the outside saw, and the states in which the customers are at the end. A rule that
trials/promises.py has too says the same there, about a database and a real sandbox.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from trials.promises import most_within
from trials.simulation.plan import (
    CREDITS,
    FLOOR,
    LEASE,
    LIFETIME,
    MESSAGES,
    PER_ADDRESS,
    PER_ADDRESS_SECONDS,
    REISSUES,
    TIMEOUT,
)
from trials.simulation.play import CALM, History
from trials.simulation.records import Call, Kind
from trials.simulation.requests import LOOKS
from trials.simulation.setting import ROUTES
from trials.simulation.wire import CONNECTING

LISTED = frozenset({"kyc", "lt"})  # accounts that list a customer's sessions
SAFE = frozenset({"au"})  # accounts whose calls may be repeated
ENDED = frozenset({"completed", "lapsed", "failed", "cancelled"})
# An answer is written within a flush and a commit. Later it is lost only if the process dies or stands still meanwhile.
WRITTEN = 2.0
# A call that was opened before a decision may leave until its lease is over.
IN_FLIGHT = LEASE + TIMEOUT
# A slot may be used so late: `rate_limits.LAPSE`. A process makes up for so much lateness: `slot_gate.CATCH_UP`.
LATE, CATCH_UP = 0.5, 0.05
MAILS = 4  # connections of a process to the relay
ASKS_AGAIN = 300.0  # `budgets.ASK_AGAIN_AFTER`
FIRST_PAUSE = 0.5  # the least pause after a 429 that names no time
CLOCKS = 0.1  # between a process's clock and the database's, once that was asked
SET_CLOCK = 10.0  # `timekeeper.SET_CLOCK_EVERY`
SOON = 300.0  # rows whose account had to wait are looked at each minute at least
STOP_HOLDS = 1.0  # `runner.STOP_HOLDS_AFTER`
SLACK = 1.0  # seconds between the check of a link's life and the message's departure


def one_live_session(history: History) -> Iterator[str]:
    """At no time has a customer two sessions that could both be used, over all accounts."""
    for customer, calls in _opened(history).items():
        for earlier, later in pairwise(calls):
            ends = min(earlier.expires_at, earlier.ended_at or earlier.expires_at)
            # An answer that came too late is not kept: the worker does not know of its session.
            excused = left_late(history, earlier) or left_late(history, later) or given_up(history, earlier, later)
            if later.token != earlier.token and _at(later) < ends - 1e-6 and not excused:
                yield (
                    f"{customer}: a session is opened at {_at(later):.1f} s by {later.account}, and one of"
                    f" {earlier.account} lives until {ends:.1f} s"
                )


def no_unsafe_repeat(history: History) -> Iterator[str]:
    """A call that may have been carried out is repeated only after a look-up, or when its session must be over."""
    for customer, calls in _by_customer(history, Kind.SESSION).items():
        for number, call in enumerate(calls):
            if call.account in SAFE or call.refused or not may_be_unknown(history, call):
                continue
            asleep_at = fell_asleep(history, call)
            for later in calls[number + 1 :]:
                if later.account in SAFE or left_late(history, later):
                    continue
                if call.answered_at is not None and later.sent_at >= call.answered_at and call.status >= 400:
                    continue  # an answer may be read from a process's socket, and be a refusal
                # Of a call that its worker did not live to write down, only the attempt shows when it was made.
                if later.sent_at >= (call.sent_at if asleep_at is None else asleep_at) + LIFETIME:
                    continue
                if call.account in LISTED and _looked_up(history, call, later):
                    continue
                if given_up(history, call, later) and _was_written(history, call, later):
                    continue
                yield (
                    f"{customer}: the call of {call.sent_at:.1f} s to {call.account} has an unknown outcome, and"
                    f" {later.account} is called at {later.sent_at:.1f} s"
                )


def no_call_beside_another(history: History) -> Iterator[str]:
    """No call for a customer leaves while another one may still be answered or arrive."""
    for customer, calls in _by_customer(history, Kind.SESSION).items():
        for earlier, later in pairwise(calls):
            known = earlier.answered_at if earlier.answered_at is not None else earlier.broke_at
            ends = earlier.sent_at + TIMEOUT if known is None else known
            if later.sent_at < ends - 1e-6 and not earlier.refused and not left_late(history, later):
                yield f"{customer}: calls of {earlier.sent_at:.2f} s and {later.sent_at:.2f} s are in flight together"


def no_call_for_nothing(history: History) -> Iterator[str]:
    """Who has a session whose answer was kept is not asked for again before it is over, not even for free."""
    for customer, calls in _by_customer(history, Kind.SESSION).items():
        for earlier, later in pairwise(calls):
            over = earlier.ended_at is not None and later.sent_at >= earlier.ended_at
            known = earlier.processed and not may_be_unknown(history, earlier) and not left_late(history, earlier)
            over = over or given_up(history, earlier, later)
            if known and not (over or left_late(history, later)) and later.sent_at < earlier.expires_at - 1:
                yield f"{customer}: its session of {earlier.sent_at:.1f} s lives, and another is asked for"


def nothing_is_sent_twice(history: History) -> Iterator[str]:
    """One text for a session; one Message-ID for a session, and a second copy only after an unknown outcome.

    With stable links one for the link: whatever becomes of its session, no message follows.
    """
    texts: dict[tuple[str, str], list[Call]] = defaultdict(list)
    mails: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in history.record.calls:
        if call.processed and call.kind in (Kind.TEXT, Kind.MAIL):
            (texts if call.kind is Kind.TEXT else mails)[call.customer, call.link or call.token].append(call)
    for (customer, token), sent in texts.items():
        if sum(not left_late(history, call) for call in sent) > 1:
            yield f"{customer} is texted {len(sent)} times about session …{token[-6:]}"
    for (customer, token), sent in mails.items():
        if len({call.key for call in sent}) > 1:
            yield f"{customer} gets {len({call.key for call in sent})} Message-IDs for session …{token[-6:]}"
        unknown = sum(may_be_unknown(history, call) for call in sent)
        if sum(not left_late(history, call) for call in sent) - 1 > unknown:
            yield f"{customer} gets {len(sent)} mails about session …{token[-6:]}, with {unknown} unknown outcomes"


def caps_are_kept(history: History) -> Iterator[str]:
    for customer, calls in _opened(history).items():
        lost = sum(may_be_unknown(history, call) or left_late(history, call) for call in calls)
        sessions = len({call.token for call in calls})
        # The session after a move does not count when it is asked for.
        moves = min(len(_times(history, "moves links")), 1)
        if sessions > 1 + REISSUES + lost + moves:
            yield f"{customer}: {sessions} sessions are opened, {lost} of them with lost answers, or too late"
    for customer, sent in _by_customer(history, Kind.MAIL, Kind.TEXT).items():
        messages = {(call.kind, call.link or call.token) for call in sent if call.processed}
        if len(messages) > MESSAGES:
            yield f"{customer} gets {len(messages)} messages"


def limits_are_kept(history: History) -> Iterator[str]:
    """In no time, however long, do more calls leave than it has slots, and each slot may be used late. A process
    spaces its own calls as the slots are: late calls of one process do not leave together."""
    if not history.plan.rate:
        return
    apart = 1 / history.plan.rate
    for account, calls in _by_account(history).items():
        for number, call in enumerate(calls):
            for many, later in enumerate(calls[number + 1 :], 2):
                seconds = later.sent_at - call.sent_at
                if many > (seconds + LATE) / apart + 1 + 1e-6:
                    yield f"{account}: {many} calls leave within {seconds:.3f} s, of {history.plan.rate} a second"
                    break
        for call, later in _pairwise_by_process(calls):
            # Calls that are in flight together are of the same dispatcher.
            if call.sent_at <= later.sent_at < min(_over(call), call.sent_at + apart - CATCH_UP - 1e-6):
                yield f"{account}: process {call.process} calls at {call.sent_at:.3f} s and {later.sent_at:.3f} s"


def permits_are_kept(history: History) -> Iterator[str]:
    """No more calls of an account are in flight than it allows, and no more mails of a process than it has
    connections."""
    for account, calls in _by_account(history).items():
        if account == "twilio":
            continue  # it allows more than there are customers
        most = MAILS if account == "email" else history.plan.concurrency
        for call in calls:
            beside = [
                one
                for one in calls
                if one.sent_at <= call.sent_at < _over(one) and (account != "email" or one.process == call.process)
            ]
            if len(beside) > most and not any(left_late(history, one) for one in beside):
                yield f"{account}: {len(beside)} calls are in flight at {call.sent_at:.2f} s, of {most}"
                break


def calls_leave_under_their_leases(history: History) -> Iterator[str]:
    """Each call leaves so soon after the commit of its attempt that its answer can come before its lease is over."""
    for calls in _by_account(history).values():
        for call in calls:
            since = [at for at in history.record.lives[call.process].opened if at <= call.sent_at]
            if call.sent_at > max(since, default=0.0) + LEASE - TIMEOUT and not left_late(history, call):
                yield f"a {call.kind} leaves at {call.sent_at:.1f} s under a lease that ends before its time-out"


def pauses_are_kept(history: History) -> Iterator[str]:
    """After a 429 or refused credentials the process that read it calls the account no more, and soon no other does,
    until the pause or the stop is over."""
    for account, calls in _by_account(history).items():
        for call in calls:
            if account == "twilio" or call.status not in (401, 429) or call.answered_at is None:
                continue
            still = history.record.lives[call.process].still
            if any(begin <= call.answered_at + WRITTEN and end >= call.answered_at for begin, end in still):
                continue
            pause = ASKS_AGAIN if call.status == 401 else FIRST_PAUSE if call.retry_after is None else call.retry_after
            for later in calls:
                if later.process == call.process:
                    begins = call.answered_at + 0.001
                elif may_be_unknown(history, call):
                    continue  # it may not have been written
                else:
                    begins = call.answered_at + WRITTEN
                # When a worker starts, a stop for refused credentials is tried.
                tried = call.status == 401 and any(
                    call.answered_at - WRITTEN <= life.began_at <= later.sent_at
                    for life in history.record.lives.values()
                )
                if begins < later.sent_at < call.answered_at + pause and not tried and not left_late(history, later):
                    answered = f"{account} answered {call.status} at {call.answered_at:.2f} s"
                    yield f"{answered}, and process {later.process} calls it at {later.sent_at:.2f} s"


def quiet_hours_are_kept(history: History) -> Iterator[str]:
    """In quiet hours no message leaves, and no session is asked for that only a message needs."""
    begins, ends = history.plan.quiet_seconds
    quiet = {person.id for person in history.plan.people if person.account != "au"}
    for call in history.record.of(Kind.SESSION, Kind.MAIL, Kind.TEXT):
        if call.customer not in quiet or behind(history, call):
            continue
        if call.kind is Kind.SESSION:
            if not history.plan.stable and begins + LEASE * bool(begins) < call.sent_at < ends - CLOCKS:
                yield f"{call.customer}: a session is asked for at {call.sent_at:.2f} s, and it is quiet"
        elif begins + CLOCKS * bool(begins) < call.sent_at < ends - CLOCKS:
            yield f"{call.customer}: a {call.kind} leaves at {call.sent_at:.2f} s, and it is quiet"


def addresses_are_spared(history: History) -> Iterator[str]:
    """A mailbox that customers share gets no more messages than an address may get."""
    if not history.plan.shared:
        return
    first: dict[str, float] = {}
    for call in history.record.of(Kind.MAIL):
        if call.processed:
            first.setdefault(call.key, call.sent_at)
    # A place is taken with the attempt.
    most = most_within(sorted(first.values()), PER_ADDRESS_SECONDS - LEASE)
    if most > PER_ADDRESS:
        yield f"{most} messages leave to one mailbox, of {PER_ADDRESS}"


def credits_are_counted(history: History) -> Iterator[str]:
    for account in {name for person in history.plan.people for name in ROUTES[person.account]}:
        calls = [call for call in history.record.of(Kind.SESSION) if call.account == account]
        opened = sum(call.processed for call in calls)
        used = history.credits_used.get(account, 0)
        most = CREDITS + sum(left_late(history, call) for call in calls)
        if history.plan.capped and account == "kyc" and max(opened, used) > most:
            yield f"{account}: {opened} sessions are opened and {used} credits counted, of {CREDITS}"
        if opened > used:
            yield f"{account}: {opened} sessions are opened, and {used} credits are counted"


def nothing_stale_is_sent(history: History) -> Iterator[str]:
    sessions = {call.token: call for call in history.record.of(Kind.SESSION) if call.token}
    if history.plan.stable:
        yield from _leads_only_there(history, sessions)
        return
    for message in history.record.of(Kind.MAIL, Kind.TEXT):
        session = sessions.get(message.token)
        if session is None or session.customer != message.customer:
            yield f"{message.customer} is sent a link that no provider opened for it"
        elif session.expires_at - message.sent_at < FLOOR - SLACK:
            yield f"{message.customer} is sent a link with {session.expires_at - message.sent_at:.0f} s left"


def _leads_only_there(history: History, sessions: dict[str, Call]) -> Iterator[str]:
    """Each customer's messages have one link, its own, which leads to sessions of its own that live."""
    customers: dict[str, set[str]] = defaultdict(set)
    for message in history.record.of(Kind.MAIL, Kind.TEXT):
        customers[message.link].add(message.customer)
    for link, owners in customers.items():
        if not link or len(owners) > 1:
            yield f"messages of {', '.join(sorted(owners))} have {'the same' if link else 'no'} link of ours"
    for led in history.record.happened:
        if led.what == "is led to":
            session = sessions.get(led.detail)
            if session is None or session.customer != led.customer:
                yield f"{led.customer} is led to a session that no provider opened for it"
            elif led.at >= session.expires_at + SLACK:
                yield f"{led.customer} is led at {led.at:.0f} s to a session that ended at {session.expires_at:.0f} s"


def nothing_is_bought_without_a_visit(history: History) -> Iterator[str]:
    """Of stable links: on click, no session is asked for before the customer has pressed the button; and no further
    session before it has come again. What a robot posts is neither."""
    stable = history.plan.stable
    if not stable:
        return
    for customer, calls in _by_customer(history, Kind.SESSION).items():
        presses, visits = _times(history, "presses", customer), _times(history, "visits", customer)
        if stable == "on-click" and calls[0].sent_at < min(presses, default=history.ended_at):
            yield f"{customer}: a session is asked for at {calls[0].sent_at:.1f} s, and no press came before"
        for earlier, later in pairwise(calls):
            known = earlier.processed and not may_be_unknown(history, earlier) and not left_late(history, earlier)
            came = any(earlier.sent_at <= at <= later.sent_at for at in (*presses, *visits))
            if known and later.sent_at > earlier.sent_at and not came and not left_late(history, later):
                yield f"{customer}: another session is asked for at {later.sent_at:.1f} s, and nobody came for it"


def nothing_leaves_after_not_me(history: History) -> Iterator[str]:
    """Who has said that the message was for another person gets none any more, and no session."""
    for person in history.plan.people:
        said = history.record.first("not me", person.id)
        if said is None:
            continue
        asked_again = [at for at in _times(history, "requested", person.id) if at > said - IN_FLIGHT]
        for call in history.record.of(Kind.SESSION, Kind.MAIL, Kind.TEXT):
            late = call.customer == person.id and call.sent_at > said + IN_FLIGHT and not left_late(history, call)
            if late and not asked_again:
                yield f"{person.id} has said not to be meant at {said:.1f} s: a {call.kind} leaves {call.sent_at:.1f} s"
        job = history.jobs.get(person.id)
        if job is not None and job.state not in (*ENDED, "held") and not asked_again:
            yield f"{person.id} has said not to be meant, and is {job.state}"


def nothing_leaves_after_the_end(history: History) -> Iterator[str]:
    """Whose request was cancelled or whose data was erased, or who is known to have finished, is left alone."""
    for call in history.record.of(Kind.SESSION, Kind.MAIL, Kind.TEXT):
        for word in ("cancelled", "erased"):
            at = history.record.first(word, call.customer)
            if at is None or call.sent_at <= at + IN_FLIGHT or left_late(history, call):
                continue
            # Events may come in any order: a request that came after the cancellation is a new one.
            requested = [
                one.at for one in history.record.happened if one.what == "requested" and one.customer == call.customer
            ]
            if not any(when > at for when in requested):
                yield f"{call.customer} was {word} at {at:.1f} s: a {call.kind} leaves at {call.sent_at:.1f} s"


def everybody_is_accounted_for(history: History) -> Iterator[str]:
    """At the end nobody waits without a reason, and nobody is held whose answers all arrived."""
    yield from history.record.complaints
    if history.open_attempts:
        yield f"{history.open_attempts} attempts are still open"
    for person in history.plan.people:
        job, calls = history.jobs.get(person.id), _of(history, person.id)
        if job is None:
            yield f"{person.id} has no job"
        elif job.state in ENDED:
            if job.state == "failed":
                yield from _failed(history, person.id, job, calls)
            another = len({call.token for call in calls if call.processed}) <= REISSUES
            another = another and job.reason != "link_ended"
            if job.state == "lapsed" and another and not _has_spent_its_messages(history, person.id, job):
                yield f"{person.id} lapsed after {len(calls)} calls, though another session is allowed"
        elif job.state == "held":
            yield from _held(history, person.id, job, calls)
        elif not (history.plan.capped and job.state == "waiting" and job.account == "kyc"):
            yield f"{person.id} is {job.state} at the end: {job.reason}"


def _has_spent_its_messages(history: History, customer: str, job: Any) -> bool:
    """Whether as many messages were begun as a customer may get. Each counts, also one whose process ended or stood
    still before it left: only that process knew."""
    return job.reason == "messages_spent" and history.begun_messages.get(customer, 0) >= MESSAGES


def nobody_waits_for_long(history: History) -> Iterator[str]:
    """Soon after the faults are over, a session was asked for each customer, and its message left."""
    if history.plan.operator == "pause" or history.plan.capped or history.plan.pilot or history.plan.shared:
        return
    for person in history.plan.people:
        asked = history.record.first("requested", person.id)
        words = ("cancelled", "cancelled: duplicate", "erased", "erased: duplicate")
        gone = any(history.record.first(word, person.id) is not None for word in words)
        if asked is None or gone or history.record.first("row cannot be read", person.id) is not None:
            continue
        # Where no list shows whether an attempt became a call, its session must be over first.
        unlisted = 0.0 if ROUTES[person.account][0] in LISTED | SAFE else LIFETIME
        quiet_until = history.plan.quiet_seconds[1]
        due, calls = max(asked, CALM, history.calm_at, quiet_until) + SOON + unlisted, _of(history, person.id)
        messages = [call for call in history.record.of(Kind.MAIL, Kind.TEXT) if call.customer == person.id]
        if history.plan.stable == "on-click":  # the message comes first
            if not any(message.sent_at <= due for message in messages):
                yield f"{person.id}: no message within {SOON:.0f} s after everything works again"
            continue
        if not calls or calls[0].sent_at > due:
            yield f"{person.id}: no call within {SOON:.0f} s after everything works again"
            continue
        known = [call for call in calls if call.processed and not may_be_unknown(history, call)]
        if known and not any(message.sent_at <= max(due, known[0].sent_at + SOON) for message in messages):
            yield f"{person.id}: its session of {known[0].sent_at:.0f} s is there, and no message left by {due:.0f} s"


def a_pilot_goes_first(history: History) -> Iterator[str]:
    """Before the verdict on a list's pilot, no session is asked for another of its customers."""
    if not history.plan.pilot:
        return
    verdicts = [one.at for one in history.record.happened if one.what.startswith("verdict")]
    until = verdicts[0] - LOOKS if verdicts else history.ended_at
    listed = {person.id for person in history.plan.people if person.asked_at is None}
    # An event for a customer of the list is a request of its own.
    early = {call.customer for call in history.record.of(Kind.SESSION) if call.sent_at < until} & listed
    if len(early) > history.plan.pilot:
        who = ", ".join(sorted(early))
        yield f"before the verdict, sessions are asked for {who}, of a pilot of {history.plan.pilot}"


def nothing_leaves_while_stopped(history: History) -> Iterator[str]:
    """From a second after a stop of everything until it goes on, no call and no message leaves."""
    stopped, went_on = (history.record.first(word, "") for word in ("stopped", "goes on"))
    if stopped is None:
        return
    for call in history.record.calls:
        still = (*history.record.lives[call.process].still, *history.record.outages)
        excused = any(begin <= call.sent_at and call.sent_at <= end + STOP_HOLDS for begin, end in still)
        if stopped + STOP_HOLDS < call.sent_at < (went_on or history.ended_at) and not excused:
            yield f"everything was stopped at {stopped:.1f} s: a {call.kind} leaves at {call.sent_at:.1f} s"


def _failed(history: History, customer: str, job: object, calls: list[Call]) -> Iterator[str]:
    if not any(call.is_lost or call.refused or call.status >= 400 for call in calls):
        yield f"{customer} has failed, and no call has: {job}"


def _held(history: History, customer: str, job: object, calls: list[Call]) -> Iterator[str]:
    unreadable = history.record.first("row cannot be read", customer) is not None
    if job.reason == "not_me" and _times(history, "says: not me", customer):  # type: ignore[attr-defined]
        return
    own = [*calls, *(call for call in history.record.of(Kind.MAIL, Kind.TEXT) if call.customer == customer)]
    if not unreadable and not any(may_be_unknown(history, call) for call in own):
        yield f"{customer} is held, and each of its calls was answered: {job}"


RULES: tuple[Callable[[History], Iterator[str]], ...] = (
    one_live_session,
    no_unsafe_repeat,
    no_call_beside_another,
    no_call_for_nothing,
    nothing_is_sent_twice,
    caps_are_kept,
    limits_are_kept,
    permits_are_kept,
    calls_leave_under_their_leases,
    pauses_are_kept,
    quiet_hours_are_kept,
    addresses_are_spared,
    credits_are_counted,
    nothing_stale_is_sent,
    nothing_leaves_after_the_end,
    everybody_is_accounted_for,
    nobody_waits_for_long,
    a_pilot_goes_first,
    nothing_leaves_while_stopped,
    nothing_is_bought_without_a_visit,
    nothing_leaves_after_not_me,
)


def broken(history: History) -> list[str]:
    """Every complaint, with the name of its rule."""
    return [f"{rule.__name__}: {complaint}" for rule in RULES for complaint in rule(history)]


def may_be_unknown(history: History, call: Call) -> bool:
    """Whether the worker may not know the outcome: no answer, one that cannot be kept, or a process that could not
    write it."""
    if call.refused:
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


def given_up(history: History, earlier: Call, later: Call) -> bool:
    """Whether an operator had moved the customer's link before the later call, and the customer had not been led to
    the earlier session: that session was paid for, and leads nowhere any more."""
    if earlier.account == later.account:
        return False
    led = [one.at for one in history.record.happened if one.what == "is led to" and one.detail == earlier.token]
    moved = [at for at in _times(history, "moves links") if at <= later.sent_at]
    return bool(moved) and not any(at < max(moved) for at in led)


def _was_written(history: History, call: Call, later: Call) -> bool:
    """Whether a message left between the calls: with links bought ahead, none leaves before the answer is written."""
    messages = [one for one in history.record.of(Kind.MAIL, Kind.TEXT) if one.customer == call.customer]
    ahead = history.plan.stable == "ahead" and call.answered_at is not None
    return ahead and any(call.sent_at < message.sent_at < later.sent_at for message in messages)


def _times(history: History, what: str, customer: str = "") -> list[float]:
    return [one.at for one in history.record.happened if one.what == what and customer in ("", one.customer)]


def _looked_up(history: History, call: Call, later: Call) -> bool:
    return any(
        look_up.account == call.account
        and look_up.customer == call.customer
        and look_up.status == 200
        and (look_up.arrived_at or 0) > (call.arrived_at or call.sent_at)
        and look_up.answered_at is not None
        and look_up.answered_at <= later.sent_at
        for look_up in history.record.of(Kind.LOOK_UP)
    )


def _at(call: Call) -> float:
    return call.arrived_at if call.arrived_at is not None else call.sent_at


def _of(history: History, customer: str) -> list[Call]:
    return [call for call in history.record.of(Kind.SESSION) if call.customer == customer]


def _by_account(history: History) -> dict[str, list[Call]]:
    """The calls of each account and sender, in their order; no log-ins."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.record.calls, key=lambda call: call.sent_at):
        if call.kind is not Kind.OTHER:
            found[call.account].append(call)
    return found


def _pairwise_by_process(calls: list[Call]) -> Iterator[tuple[Call, Call]]:
    """Each call, and the next one of the same process."""
    last: dict[int, Call] = {}
    for call in calls:
        if call.process in last:
            yield last[call.process], call
        last[call.process] = call


def _over(call: Call) -> float:
    """When a call is in flight no more."""
    if call.refused:
        return call.sent_at
    known = call.answered_at if call.answered_at is not None else call.broke_at
    return call.sent_at + TIMEOUT if known is None else known


def _by_customer(history: History, *kinds: Kind) -> dict[str, list[Call]]:
    found: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.record.of(*kinds), key=lambda call: call.sent_at):
        found[call.customer].append(call)
    return found


def _opened(history: History) -> dict[str, list[Call]]:
    """The calls that opened sessions, by customer, in the order of their opening."""
    found: dict[str, list[Call]] = defaultdict(list)
    for call in sorted(history.record.of(Kind.SESSION), key=_at):
        if call.processed:
            found[call.customer].append(call)
    return found
