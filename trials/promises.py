"""The promises that must hold after a trial, whatever was killed: each is a function from a case to complaints.

A complaint names the row and the numbers, never a customer's address, a token or a link. The functions check promises,
not details: a customer has one session, and a row is held only if its outcome cannot be known.

After a restore the database does not know what was done since the dump, and once a person has resumed it may do that
again. So nothing is done twice within each of `Case.lives`, and what the database says must fit its last one.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from trials.case import BOUGHT, Case, at

OUT = frozenset({"invited", "held"})
LIVE = frozenset({"waiting", "started"})
# Accounts whose calls can be reconciled, as texts can.
RECONCILED = frozenset({"kyc", "kyc-lt"})
# Outcomes of a call that may have been carried out, with or without an answer.
UNKNOWN = frozenset({"unknown", "late", "conflict"})
NOT_MADE = "not_sent"
# The most seconds between a call's slot and its arrival on a busy machine: half a second until the slot lapses, and
# half a second on the way. The sandbox's bucket, which holds one second's rate, allows the same.
DELAY = 1.0
# The most seconds between the clocks of a worker and of the sandbox: the worker's is corrected by the database's clock.
CLOCKS = 0.5
# A bucket may refuse calls that were delayed for longer, or came while the sandbox itself did not run.
REFUSED_AT_MOST = 0.0005


def every_row_is_accounted_for(case: Case) -> Iterator[str]:
    if len(case.evidence.jobs) != len(case.customers) or len(case.evidence.report) != len(case.customers):
        yield f"{len(case.customers)} rows, {len(case.evidence.jobs)} jobs, {len(case.evidence.report)} lines of report"
    for one in case.customers:
        job = case.jobs.get(one.row)
        if job is None or (job.customer_id, job.account) != (one.customer_id, one.account):
            yield f"row {one.row} ({one.account}) is missing, another customer's or at another account"
        elif job.state not in OUT and not case.waits_for_credit(job) and one.customer_id not in case.left_alone:
            yield f"row {one.row} ({one.account}) is {job.state}: {job.reason} {job.detail}"
        elif job.state == "waiting" and UNKNOWN & {attempt.outcome for attempt in case.asked.get(one.row, ())}:
            yield f"row {one.row} ({one.account}) waits for credit, though it has a call with an unknown outcome"
    open_ones = sum(not attempt.outcome for attempt in case.evidence.attempts)
    if open_ones:
        yield f"{open_ones} attempts are still open, and no worker runs"


def every_event_is_stored_once(case: Case) -> Iterator[str]:
    stored, sent = Counter(case.evidence.inbox), Counter(set(case.events))
    if stored != sent:
        lost, again = (sent - stored).total(), (stored - sent).total()
        yield f"of {len(sent)} events {lost} are lost, and {again} are stored that are none, or were stored before"


def one_live_session_for_each_customer(case: Case) -> Iterator[str]:
    live = Counter((one.customer_id, one.purpose) for one in case.evidence.sessions if one.state in LIVE)
    for (customer_id, _), number in live.items():
        if number > 1:
            yield f"customer {customer_id} has {number} live sessions"


def no_second_session_without_a_decision(case: Case) -> Iterator[str]:
    """No operator decides in a trial, so a customer has at most one session, over all accounts."""
    for row, calls in case.calls.items():
        if row == 0:
            yield f"{len(calls)} calls arrived for customers who are on no list"
            continue
        job = case.jobs[row]
        for life in case.lives(calls):
            opened = sum(call["processed"] for call in life if call["endpoint"] in BOUGHT)
            if opened > 1:
                yield f"row {row} ({job.account}, {job.state}): {opened} sessions were opened"
            elif opened and len({call["endpoint"] for call in life}) > 1:
                yield f"row {row}: a session was opened, and another endpoint was called too"


def an_invited_row_has_the_session_that_was_opened(case: Case) -> Iterator[str]:
    sessions = {one.id: one for one in case.evidence.sessions}
    links = {line["row"]: line["link"] for line in case.evidence.report}
    for job in case.evidence.jobs:
        session = sessions.get(job.session_id or "")
        if job.state == "invited" and (session is None or session.state not in LIVE):
            yield f"row {job.row} ({job.account}) is invited without a live session"
        tokens = [call["token"] for call in case.calls.get(job.row, ()) if call["token"]]
        if session is not None and not any(token in links.get(job.row, "") for token in tokens):
            yield f"row {job.row} ({job.account}) has a link to a session that the provider did not open for it"


def nothing_is_sent_twice(case: Case) -> Iterator[str]:
    for one in case.customers:
        texts = max(map(len, case.lives(case.texts.get(one.phone, []))))
        if texts > 1:
            yield f"row {one.row} was texted {texts} times"
        ids = max(len({mail["message_id"] for mail in life}) for life in case.lives(case.mails.get(one.email, [])))
        if ids > 1:
            yield f"row {one.row} was sent {ids} Message-IDs"
        mails = case.known(case.mails.get(one.email, []))
        messages = [message for message in case.invitations.get(one.row, ()) if message.channel == "email"]
        # By outcomes, not by times: an answer may be written long after it was read.
        unknown = sum(one.outcome in UNKNOWN for message in messages for one in case.handed.get(message.id, ()))
        if len(mails) - 1 > unknown:
            yield f"row {one.row} was mailed {len(mails)} times, with {unknown} unknown outcomes"


def each_message_is_the_customers_own(case: Case) -> Iterator[str]:
    lines = {line["row"]: line for line in case.evidence.report}
    known = {one.email for one in case.customers} | {one.phone for one in case.customers}
    strangers = [to for to in (*case.mails, *case.texts) if to not in known]
    if strangers:
        yield f"{len(strangers)} addresses of messages are on no list"
    for one in case.customers:
        job, line = case.jobs.get(one.row), lines.get(one.row)
        if job is None or line is None:
            continue
        messages = {"email": case.mails.get(one.email, []), "sms": case.texts.get(one.phone, [])}
        arrived = {channel for channel, there in messages.items() if there}
        if job.state == "invited" and arrived != one.channels:
            yield f"row {one.row} is invited by {sorted(one.channels)}, and {sorted(arrived)} arrived"
        theirs = [message for there in messages.values() for message in case.known(there)]
        if not job.session_id and theirs:
            yield f"row {one.row} has no session ({job.state}), and was sent a message"
        if any(not line["link"] or line["link"] not in _body(message) for message in theirs):
            yield f"row {one.row} was sent a link that is not the stored one"
        tokens = [call["token"] for call in case.calls.get(one.row, ()) if call["token"]]
        bodies = [_body(message) for there in messages.values() for message in there]
        if any(not any(token in body for token in tokens) for body in bodies):
            yield f"row {one.row} was sent a link to a session that the provider did not open for it"


def _body(message: Mapping[str, Any]) -> str:
    return re.sub(r"\s", "", message["text"]) if "text" in message else str(message["body"])


def each_call_was_written_down(case: Case) -> Iterator[str]:
    """Each received call has an attempt, because the attempt is written first; each answered attempt did arrive."""
    for job in case.evidence.jobs:
        made = [one for one in case.asked.get(job.row, ()) if one.outcome != NOT_MADE]
        answered = sum(one.outcome in ("done", "late") or one.status is not None for one in made)
        calls = case.calls.get(job.row, [])
        arrived = len(calls)
        if answered > arrived or len(case.known(calls)) > len(made):
            yield f"row {job.row} ({job.account}): {arrived} calls arrived of {len(made)} made, {answered} answered"
    for one in case.customers:
        for channel, there in (("email", case.mails.get(one.email, [])), ("sms", case.texts.get(one.phone, []))):
            hand_overs = [
                attempt
                for invitation in case.invitations.get(one.row, ())
                if invitation.channel == channel
                for attempt in case.handed.get(invitation.id, ())
                if attempt.outcome != NOT_MADE
            ]
            done = sum(attempt.outcome == "done" for attempt in hand_overs)
            if done > len(there) or len(case.known(there)) > len(hand_overs):
                yield f"row {one.row}: {len(there)} by {channel} of {len(hand_overs)} hand-overs, {done} of them done"


def no_call_is_made_after_its_lease(case: Case) -> Iterator[str]:
    """Otherwise a call could arrive after reconciliation found nothing.

    A worker that was stopped (SIGSTOP) while it wrote calls sends them when it continues. But a call is reconciled only
    some time after its lease, and after that time no call may arrive.
    """
    if case.lease is None:
        return
    longest = case.lease + (case.reconcile_after if case.stops else 0)
    if late := late_calls(case, longest):
        yield f"{late} calls arrived {longest:g} s after all their attempts, with {case.stops} stops of workers"


def late_calls(case: Case, longest: float) -> int:
    """The number of calls and texts that arrived more than `longest` seconds after all their attempts were opened."""
    late = 0
    for job in case.evidence.jobs:
        opened = [_seconds(one.opened_at) for one in case.asked.get(job.row, ())]
        arrived = [at(call).timestamp() for call in case.known(case.calls.get(job.row, []))]
        late += sum(not _in_time(time, opened, longest) for time in arrived)
    phones = {one.phone: one.row for one in case.customers}
    for call in case.known(case.evidence.received.calls):
        if call["endpoint"] == "twilio":
            texts = (one for one in case.invitations.get(phones.get(call["client"], 0), ()) if one.channel == "sms")
            opened = [_seconds(one.opened_at) for text in texts for one in case.handed.get(text.id, ())]
            late += not _in_time(at(call).timestamp(), opened, longest)
    return late


def _in_time(arrived: float, opened: Sequence[float], longest: float) -> bool:
    return any(one - CLOCKS <= arrived <= one + longest + CLOCKS for one in opened)


def _seconds(time: str) -> float:
    parsed = datetime.fromisoformat(time)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


def limits_are_kept(case: Case) -> Iterator[str]:
    """The provider's limit refused almost no call, and no window has more calls than its limit and the delayed ones."""
    for name, cap in case.caps.items():
        calls = [call for call in case.evidence.received.calls if call["endpoint"] in cap.endpoints]
        refused = sum(refused_by_limit(call) for call in calls)
        if refused > REFUSED_AT_MOST * len(calls):
            yield f"budget {name}: {refused} of {len(calls)} calls were refused by the provider's limit"
        times = sorted(at(call).timestamp() for call in calls)
        for seconds in (1.0, 10.0):
            most, allowed = most_within(times, seconds), cap.rate * (seconds + DELAY) + 1
            if most > allowed:
                yield f"budget {name}: {most} calls within {seconds:g} s, of {cap.rate:g} a second"


def refused_by_limit(call: Mapping[str, Any]) -> bool:
    """True for a 429 of the limit itself, not of an ordered fault."""
    return call["status"] == 429 and call["fault"] is None


def most_within(times: Sequence[float], seconds: float) -> int:
    """The most of these sorted times in any window of `seconds`."""
    most = begin = 0
    for end, time in enumerate(times):
        while time - times[begin] >= seconds:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def credits_are_kept(case: Case) -> Iterator[str]:
    for name, cap in case.caps.items():
        if cap.credits is None:
            continue
        opened = sum(call["processed"] for call in case.evidence.received.calls if call["endpoint"] in cap.endpoints)
        used = case.evidence.credits_used.get(name, 0)
        waiting = sum(case.waits_for_credit(job) for job in case.evidence.jobs if job.account in cap.accounts)
        if max(opened, used) > cap.credits:
            yield f"budget {name}: {opened} sessions were opened and {used} credits counted, of {cap.credits}"
        if opened > used + cap.uncounted:
            yield f"budget {name}: {opened} sessions were opened, and only {used} credits counted"
        if waiting and used + cap.uncounted < cap.credits:
            yield f"budget {name}: {waiting} rows wait, though only {used} of {cap.credits} credits are used"


def a_held_row_has_a_reason(case: Case) -> Iterator[str]:
    """A row is held only for an unknown outcome, or for a session that a look-up found without its token."""
    for job in case.evidence.jobs:
        if job.state != "held":
            continue
        asked = [one.outcome for one in case.asked.get(job.row, ())]
        messages = [one for one in case.invitations.get(job.row, ()) if one.state == "held"]
        if not job.reason and not any(one.reason for one in messages):
            yield f"row {job.row} ({job.account}) is held without a reason"
        for one in messages:
            # No message is held: an email is repeated, and a text is reconciled with the provider's list.
            outcomes = [attempt.outcome for attempt in case.handed.get(one.id, ())]
            yield f"row {job.row}: its {one.channel} is held ({one.reason}) after {outcomes}"
        if messages:
            continue
        if job.account == "au":
            yield f"row {job.row} (au) is held, though its call may be repeated: {job.reason}"
        elif not UNKNOWN & set(asked):
            yield f"row {job.row} ({job.account}) is held ({job.reason}) after {asked}: none of these is unknown"
        elif job.account in RECONCILED:
            there = [call for call in case.calls.get(job.row, ()) if call["processed"]]
            if not there:
                yield f"row {job.row} ({job.account}) is held ({job.reason}), though the provider has no session of it"
            elif not all(call["reference"] in job.detail for call in case.known(there)):
                yield f"row {job.row} ({job.account}) is held ({job.reason}) without naming the session"


def nothing_is_sent_after_a_restore_before_a_person_resumes(case: Case) -> Iterator[str]:
    # A worker that starts asks its sender whether the log-in works: that is about no customer.
    calls = [call for call in case.evidence.received.calls if call["client"]]
    received = [*calls, *case.evidence.received.mails, *case.evidence.received.texts]
    for restore in case.restores:
        sent = sum(restore.ended + timedelta(seconds=DELAY) < time < restore.resumed for time in map(at, received))
        if sent:
            yield f"{sent} calls and messages came between a restore and its resume"


def who_was_erased_or_suppressed_before_a_restore_gets_nothing(case: Case) -> Iterator[str]:
    for one in case.customers:
        if one.customer_id in case.left_alone:
            since = case.left_alone[one.customer_id] + timedelta(seconds=DELAY)
            messages = (*case.mails.get(one.email, ()), *case.texts.get(one.phone, ()))
            arrived = [*case.calls.get(one.row, ()), *messages]
            sent = sum(at(call) > since for call in arrived)
            if sent:
                yield f"row {one.row} was to be left alone, and {sent} calls and messages came after the restore"


PROMISES: tuple[Callable[[Case], Iterator[str]], ...] = (
    every_row_is_accounted_for,
    every_event_is_stored_once,
    one_live_session_for_each_customer,
    no_second_session_without_a_decision,
    an_invited_row_has_the_session_that_was_opened,
    nothing_is_sent_twice,
    each_message_is_the_customers_own,
    each_call_was_written_down,
    no_call_is_made_after_its_lease,
    limits_are_kept,
    credits_are_kept,
    a_held_row_has_a_reason,
    nothing_is_sent_after_a_restore_before_a_person_resumes,
    who_was_erased_or_suppressed_before_a_restore_gets_nothing,
)


def broken(case: Case) -> list[str]:
    """Every complaint, with the name of its promise."""
    return [f"{promise.__name__}: {complaint}" for promise in PROMISES for complaint in promise(case)]


def second_copies(case: Case) -> int:
    """The number of emails that came again under the same Message-ID."""
    return sum(number - 1 for number in Counter(mail["message_id"] for mail in case.evidence.received.mails).values())
