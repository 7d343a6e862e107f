"""Rules of the calls to providers: no second session, no limit exceeded, no call that may not leave."""

from collections.abc import Iterator
from itertools import pairwise
from math import inf

from trials.simulation.plan import CREDITS, LEASE, LIFETIME, TIMEOUT
from trials.simulation.play import History
from trials.simulation.records import Kind
from trials.simulation.requests import LOOKS
from trials.simulation.rules.reading import (
    LISTED,
    SAFE,
    WRITTEN,
    behind,
    by_account,
    by_customer,
    decided,
    fell_asleep,
    left_late,
    looked_up,
    may_be_replaced,
    may_be_unknown,
    opened,
    opened_at,
    over_at,
    pairwise_by_process,
    times,
    verdicts,
)
from trials.simulation.setting import PROVIDERS, ROUTES

# A slot may be used so late: `limits.LAPSE`. A process makes up for so much lateness: `calls.CATCH_UP`.
LATE, CATCH_UP = 0.5, 0.05
HOUR, AHEAD = 3600.0, 10  # of an hourly limit a tenth may go ahead
MAILS = 4  # connections of a process to the relay
ASKS_AGAIN = 300.0  # `budgets.ASK_AGAIN_AFTER`
FIRST_PAUSE = 0.5  # the least pause after a 429 that names no time
STOP_HOLDS = 1.0  # `runner.STOP_HOLDS_AFTER`
# From an answer to its commit, and again from an attempt's commit to its call, a loop takes at most so many turns.
TURNS = 8


def one_live_session(history: History) -> Iterator[str]:
    """At no time has a customer two sessions that could both be used, over all accounts."""
    for customer, calls in opened(history).items():
        for earlier, later in pairwise(calls):
            ends = min(earlier.expires_at, earlier.ended_at or earlier.expires_at)
            # An answer that came too late is not kept: the worker does not know of its session.
            excused = left_late(history, earlier) or left_late(history, later) or decided(history, later)
            excused = excused or may_be_replaced(history, earlier, opened_at(later))
            if later.token != earlier.token and opened_at(later) < ends - 1e-6 and not excused:
                yield (
                    f"{customer}: a session is opened at {opened_at(later):.1f} s by {later.account}, and one of"
                    f" {earlier.account} lives until {ends:.1f} s"
                )


def no_unsafe_repeat(history: History) -> Iterator[str]:
    """A call that may have been carried out is repeated only after a look-up, or when its session must be over."""
    for customer, calls in by_customer(history, Kind.SESSION).items():
        for number, call in enumerate(calls):
            if call.account in SAFE or call.refused or not may_be_unknown(history, call):
                continue
            asleep_at = fell_asleep(history, call)
            for later in calls[number + 1 :]:
                if later.account in SAFE or left_late(history, later) or decided(history, later):
                    continue
                if may_be_replaced(history, call, later.sent_at):
                    continue
                if verdicts(history, customer).get(call.token, inf) <= later.sent_at:
                    continue  # a webhook has told of its session
                if call.answered_at is not None and later.sent_at >= call.answered_at and call.status >= 400:
                    continue  # an answer may be read from a process's socket, and be a refusal
                # Of a call that its worker did not live to write down, only the attempt shows when it was made.
                if later.sent_at >= (call.sent_at if asleep_at is None else asleep_at) + LIFETIME:
                    continue
                if call.account in LISTED and looked_up(history, call, later):
                    continue
                yield (
                    f"{customer}: the call of {call.sent_at:.1f} s to {call.account} has an unknown outcome, and"
                    f" {later.account} is called at {later.sent_at:.1f} s"
                )


def no_call_beside_another(history: History) -> Iterator[str]:
    """No call for a customer leaves while another one may still be answered or arrive."""
    for customer, calls in by_customer(history, Kind.SESSION).items():
        for earlier, later in pairwise(calls):
            known = earlier.answered_at if earlier.answered_at is not None else earlier.broke_at
            ends = earlier.sent_at + TIMEOUT if known is None else known
            if later.sent_at < ends - 1e-6 and not earlier.refused and not left_late(history, later):
                yield f"{customer}: calls of {earlier.sent_at:.2f} s and {later.sent_at:.2f} s are in flight together"


def no_call_for_nothing(history: History) -> Iterator[str]:
    """Who has a session whose answer was kept is not asked for again before it is over, not even for free."""
    for customer, calls in by_customer(history, Kind.SESSION, Kind.ADOPTED).items():
        for earlier, later in pairwise(calls):
            over = may_be_replaced(history, earlier, later.sent_at)
            over = over or (earlier.ended_at is not None and later.sent_at >= earlier.ended_at)
            known = earlier.processed and not may_be_unknown(history, earlier) and not left_late(history, earlier)
            over = over or decided(history, later)
            if known and not (over or left_late(history, later)) and later.sent_at < earlier.expires_at - 1:
                yield f"{customer}: its session of {earlier.sent_at:.1f} s lives, and another is asked for"


def limits_are_kept(history: History) -> Iterator[str]:
    """In no time, however long, do more calls leave than it has slots, and each slot may be used late. A process
    spaces its own calls as the slots are: late calls of one process do not leave together."""
    rate = history.plan.rate
    for account, calls in by_account(history).items():
        hourly = history.plan.hourly if account in PROVIDERS else 0
        for number, call in enumerate(calls):
            for many, later in enumerate(calls[number + 1 :], 2):
                seconds = later.sent_at - call.sent_at
                if many > _most_within(seconds, rate, hourly) + 1e-6:
                    limits = f"{rate or 'any number'} a second, {hourly or 'any number'} an hour"
                    yield f"{account}: {many} calls leave within {seconds:.3f} s, of {limits}"
                    break
        for call, later in pairwise_by_process(calls) if rate else ():
            # Calls that are in flight together are of the same dispatcher.
            if call.sent_at <= later.sent_at < min(over_at(call), call.sent_at + 1 / rate - CATCH_UP - 1e-6):
                yield f"{account}: process {call.process} calls at {call.sent_at:.3f} s and {later.sent_at:.3f} s"


def _most_within(seconds: float, rate: int, hourly: int) -> float:
    """The most calls that these limits allow in a window of this length. Of an hourly one some go ahead: they are taken
    from the pace afterwards, so that no hour has more than its limit, wherever it begins."""
    most = [(seconds + LATE) * rate + 1] if rate else []
    if hourly:
        most.append((seconds + LATE) * hourly / HOUR + 1 + hourly // AHEAD)
    if hourly and seconds < HOUR - LATE:
        most.append(hourly)
    return min(most, default=inf)


def permits_are_kept(history: History) -> Iterator[str]:
    """No more calls of an account are in flight than it allows, and no more mails of a process than it has
    connections."""
    for account, calls in by_account(history).items():
        if account == "twilio":
            continue  # it allows more than there are customers
        most = MAILS if account == "email" else history.plan.concurrency
        for call in calls:
            beside = [
                one
                for one in calls
                if one.sent_at <= call.sent_at < over_at(one) and (account != "email" or one.process == call.process)
            ]
            if len(beside) > most and not any(left_late(history, one) for one in beside):
                yield f"{account}: {len(beside)} calls are in flight at {call.sent_at:.2f} s, of {most}"
                break


def calls_leave_under_their_leases(history: History) -> Iterator[str]:
    """Each call leaves so soon after the commit of its attempt that its answer can come before its lease is over."""
    for calls in by_account(history).values():
        for call in calls:
            since = [at for at in history.record.lives[call.process].opened if at <= call.sent_at]
            if call.sent_at > max(since, default=0.0) + LEASE - TIMEOUT and not left_late(history, call):
                yield f"a {call.kind} leaves at {call.sent_at:.1f} s under a lease that ends before its time-out"


def pauses_are_kept(history: History) -> Iterator[str]:
    """After a 429 or refused credentials the process that read it calls the account no more, and soon no other does,
    until the pause or the stop is over."""
    for account, calls in by_account(history).items():
        for call in calls:
            if account == "twilio" or call.status not in (401, 429) or call.answered_at is None:
                continue
            still = history.record.lives[call.process].still
            if any(begin <= call.answered_at + WRITTEN and end >= call.answered_at for begin, end in still):
                continue
            if behind(history, call):  # the pause begins at its own time
                continue
            pause = ASKS_AGAIN if call.status == 401 else FIRST_PAUSE if call.retry_after is None else call.retry_after
            for later in calls:
                if later.process == call.process:
                    begins = call.answered_at + 0.001
                elif may_be_unknown(history, call):
                    continue  # it may not have been written
                else:
                    # A call that was opened before this was written leaves when its process comes to it, and when its
                    # connection is there.
                    begins = call.answered_at + WRITTEN + 2 * TURNS * history.plan.turn + history.plan.stalls
                # When a worker starts, a stop for refused credentials is tried.
                tried = call.status == 401 and any(
                    call.answered_at - WRITTEN <= life.began_at <= later.sent_at
                    for life in history.record.lives.values()
                )
                if begins < later.sent_at < call.answered_at + pause and not tried and not left_late(history, later):
                    answered = f"{account} answered {call.status} at {call.answered_at:.2f} s"
                    yield f"{answered}, and process {later.process} calls it at {later.sent_at:.2f} s"


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


def nothing_is_bought_without_a_visit(history: History) -> Iterator[str]:
    """Of stable links: on click, no session is asked for before the customer has pressed the button; and no further
    session before it has come again, or got a new link or another address, or is asked for anew after a list was
    cancelled or the customer erased: also by another list's row, which had joined. What a robot posts is none of these.
    """
    stable = history.plan.stable
    if not stable:
        return
    for customer, calls in by_customer(history, Kind.SESSION).items():
        presses, visits = times(history, "presses", customer), times(history, "visits", customer)
        words = ("the desk gives a new link", "has another address")
        given = [at for what in words for at in times(history, what, customer)]
        requests, cancelled = times(history, "requested", customer), times(history, "the office: cancel")
        given += cancelled if len(requests) > 1 else ()
        ended = min((*cancelled, *times(history, "erased", customer)), default=history.ended_at)
        given += [at for at in requests if at > ended]
        if stable == "on-click" and calls[0].sent_at < min(presses, default=history.ended_at):
            yield f"{customer}: a session is asked for at {calls[0].sent_at:.1f} s, and no press came before"
        for earlier, later in pairwise(calls):
            known = earlier.processed and not may_be_unknown(history, earlier) and not left_late(history, earlier)
            came = any(earlier.sent_at <= at <= later.sent_at for at in (*presses, *visits, *given))
            if known and later.sent_at > earlier.sent_at and not came and not left_late(history, later):
                yield f"{customer}: another session is asked for at {later.sent_at:.1f} s, and nobody came for it"


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
