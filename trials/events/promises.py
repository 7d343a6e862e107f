"""The promises that must hold after a run of events: each is a function from the aftermath to complaints.

A complaint names customers by the ids of the trial, and kinds of messages; never an address, a token or a link.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from trials.case import ISSUING
from trials.events.aftermath import Aftermath
from trials.evidence import Job
from trials.leaks import PERSONAL

LIVE = frozenset({"waiting", "started"})
PREFETCH = 200  # the most unacknowledged messages of a consumer that dies
NAMELESS = "plain"  # the source of events that name no source
UUID_IN_TEXT = re.compile(rb"[0-9a-f]{8}-[0-9a-f-]{27}")
SPOILT = re.compile(r"X-\d{6}")  # the marks of `trials.events.spoilt`
SHOWN = 5  # the most complaints of one kind


def every_event_is_stored_once(case: Aftermath) -> Iterator[str]:
    named = Counter((row["source"], row["event_id"]) for row in case.inbox if row["source"] != NAMELESS)
    sent = {(one.source, one.id) for one in case.programme.all_events}
    unnamed = len(case.inbox) - sum(named.values())
    if unnamed != case.programme.unnamed:
        yield f"{case.programme.unnamed} events without an id were sent, {unnamed} are in the inbox"
    for key in named.keys() - sent:
        yield f"the inbox has {key[1]} of {key[0]}, which is no event"
    missing = len(sent - named.keys()) - case.programme.unnamed
    if missing:
        yield f"{missing} events are not in the inbox"
    if case.left:
        yield f"{case.left} messages are still in the queue"


def every_refused_message_is_kept_with_its_reason(case: Aftermath) -> Iterator[str]:
    bodies = Counter(one.body for one in case.dead)
    for name, message in case.programme.refused:
        if not bodies[message.body]:
            yield f"a refused message is not kept: {name}"
    without = sum(not one.reason.strip() for one in case.dead)
    if without:
        yield f"{without} refused messages have no reason"
    for one in case.dead:
        for what, form in PERSONAL.items():
            if form.search(one.reason):
                yield f"a reason names {what}"


def nothing_else_is_refused(case: Aftermath) -> Iterator[str]:
    bodies = Counter(message.body for _, message in case.programme.refused)
    strangers = sum(one.body not in bodies for one in case.dead)
    if strangers:
        yield f"{strangers} messages are refused that are events, or that no producer sent"
    again = len(case.dead) - strangers - len({one.body for one in case.dead} & bodies.keys())
    if again:
        yield f"{again} refused messages are kept twice"
    if case.listed != len(case.dead):
        yield f"`bus dead list` shows {case.listed} of {len(case.dead)} messages"


def the_dead_queue_has_a_notice_of_each_and_nothing_of_its_content(case: Aftermath) -> Iterator[str]:
    ids = [UUID_IN_TEXT.findall(notice)[0].decode() for notice in case.notices]
    unnoticed = {one.id for one in case.dead} - set(ids)
    if unnoticed:
        yield f"{len(unnoticed)} refused messages have no notice"
    # A notice is published and the message then acknowledged: if the consumer dies in between, it is there twice.
    if len(ids) - len(set(ids)) > case.struck * PREFETCH + case.unconfirmed:
        yield f"the dead queue has {len(ids) - len(set(ids))} notices twice, for {case.struck} deaths"
    for form in (*PERSONAL.values(), SPOILT):
        number = sum(form.search(notice.decode()) is not None for notice in case.notices)
        if number:
            yield f"{number} notices hold something of their messages"


def nothing_is_unpickled(case: Aftermath) -> Iterator[str]:
    if case.trapped:
        yield "a message was unpickled: its file exists"


def one_job_each(case: Aftermath) -> Iterator[str]:
    found: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
    for job in case.evidence.jobs:
        found[job.customer_id, case.purposes[job.id]].append(job)
    for customer_id, known in case.known.items():
        for purpose, due in known.due.items():
            jobs = found.pop((customer_id, purpose), [])
            leads = [job for job in jobs if case.leading[job.id] and job.state != "cancelled"]
            of = f"{customer_id} for {purpose}"
            if len(jobs) > due.requests or (due.wanted and not jobs):
                yield f"{of}: {len(jobs)} jobs for {due.requests} requests"
            if len(leads) != due.wanted:
                yield f"{of}: {len(leads)} jobs lead, {int(due.wanted)} must"
            state = "issued" if due.deferred else "invited"
            for job in leads:
                if job.state != state:
                    yield f"{of}: {job.state}, not {state}: {job.reason} {job.detail}"
    for (customer_id, purpose), jobs in found.items():
        yield f"{customer_id} for {purpose}: {len(jobs)} jobs without a request"


def one_session_each(case: Aftermath) -> Iterator[str]:
    live = Counter((one.customer_id, one.purpose) for one in case.evidence.sessions if one.state in LIVE)
    ever = Counter((one.customer_id, one.purpose) for one in case.evidence.sessions)
    opened = Counter(
        call["client"] for call in case.evidence.received.calls if call["endpoint"] in ISSUING and call["processed"]
    )
    for customer_id, known in case.known.items():
        wanted = {purpose for purpose, due in known.due.items() if due.wanted}
        for purpose in known.due:
            if purpose in wanted and live[customer_id, purpose] != 1:
                yield f"{customer_id} for {purpose}: {live[customer_id, purpose]} live sessions"
            if ever[customer_id, purpose] > 1:
                yield f"{customer_id} for {purpose}: {ever[customer_id, purpose]} sessions"
            if customer_id in case.before and purpose not in wanted and ever[customer_id, purpose]:
                yield f"{customer_id} for {purpose}: a session, though it was cancelled before a worker ran"
        most = len(wanted if customer_id in case.before else known.due)
        if not len(wanted) <= opened[customer_id] <= most:
            yield f"{customer_id}: {opened[customer_id]} sessions were opened, not {len(wanted)} to {most}"
    strangers = opened.keys() - case.known.keys()
    if strangers:
        yield f"sessions were opened for {len(strangers)} customers without an event"


def one_message_each_to_where_they_are(case: Aftermath) -> Iterator[str]:
    arrived: Counter[str] = Counter(text["to"] for text in case.evidence.received.texts)
    copies: Counter[str] = Counter()
    for mail in case.evidence.received.mails:
        copies[mail["message_id"]] += 1
        arrived.update(mail["to"])
    again = sum(number > 1 for number in copies.values())
    if again:
        yield f"{again} emails came twice, though no worker died"
    for customer_id, known in case.known.items():
        for channel, address in (("email", known.email), ("sms", known.phone)):
            now = arrived.pop(address, 0)
            formerly = sum(arrived.pop(one, 0) for one in known.former if ("@" in one) == (channel == "email"))
            ought = [one for one in known.due.values() if channel in one.channels and not one.deferred]
            due = sum(one.wanted for one in ought)
            of = f"{customer_id} by {channel}"
            if customer_id in case.before and (now, formerly) != (due, 0):
                yield f"{of}: {now} messages to the current address and {formerly} to a former one, not {due} and 0"
            elif not due <= now + formerly <= len(ought):
                yield f"{of}: {now + formerly} messages, not {due}"
    if arrived:
        yield f"{len(arrived)} addresses got messages and belong to no customer"


def who_is_erased_is_forgotten(case: Aftermath) -> Iterator[str]:
    for customer_id, known in case.known.items():
        is_kept = case.customers.get(customer_id, False)
        if is_kept and not known.is_known:
            yield f"{customer_id}: personal data is stored, though the customer is erased or made no request"
        # Data of a customer who cancelled is stored only if the request came first.
        if not is_kept and any(one.wanted for one in known.due.values()):
            yield f"{customer_id}: no data is stored, though there is a request"
    erased = {row["customer_id"] for row in case.inbox if row["kind"] == "customer.erased"}
    for row in case.inbox:
        if row["customer_id"] in erased and row["encrypted"] and not case.known[row["customer_id"]].is_known:
            yield f"{row['customer_id']}: an update is stored, though the customer is erased"


def every_event_of_ours_is_published_in_order(case: Aftermath) -> Iterator[str]:
    if case.outbox:
        yield f"{case.outbox} events of ours were not published"
    published: dict[str, dict[str, Any]] = {}
    # Two jobs of one customer have different purposes, and no order between them.
    order: defaultdict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for one in case.published:
        if one["id"] in published:
            if published[one["id"]] != one:
                yield f"{one['type']} was published twice under one id, in two forms"
            continue
        published[one["id"]] = one
        order[one["subject"], one["data"]["job_id"]].append(one)
        for what, form in PERSONAL.items():
            if form.search(str(one)):
                yield f"{one['type']} has {what}"
    kinds = Counter((one["subject"], one["type"]) for one in published.values())
    sessions = Counter(one.customer_id for one in case.evidence.sessions)
    sent = Counter(job.customer_id for job in _sent(case))
    for kind, due in (("session.issued", sessions), ("invitation.sent", sent)):
        for customer_id in due.keys() | {subject for subject, its in kinds if its == kind}:
            if kinds[customer_id, kind] != due[customer_id]:
                yield f"{customer_id}: {kinds[customer_id, kind]} events {kind}, expected {due[customer_id]}"
    for (customer_id, _), events in order.items():
        numbers = [one["sequence"] for one in events]
        if numbers != sorted(numbers):
            yield f"{customer_id}: the events were published in the wrong order"
        issued: set[str] = set()
        for one in events:
            if one["type"] == "session.issued":
                issued.add(one["data"]["session"])
            elif one["type"] == "invitation.sent" and one["data"]["session"] not in issued:
                yield f"{customer_id}: an invitation was published before its session"


def _sent(case: Aftermath) -> Iterator[Job]:
    jobs = {job.id: job for job in case.evidence.jobs}
    return (jobs[one.job_id] for one in case.evidence.invitations if one.state in ("sent", "delivered"))


def http_answers_as_it_should(case: Aftermath) -> Iterator[str]:
    wrong = Counter(one.status for one in case.answers if one.status != 202)
    if wrong:
        yield f"good events were answered {dict(wrong)}"
    wrong = Counter(one.status for one in case.refusals if not 400 <= one.status < 500)
    if wrong:
        yield f"bad events were answered {dict(wrong)}"


PROMISES: tuple[Callable[[Aftermath], Iterator[str]], ...] = (
    every_event_is_stored_once,
    every_refused_message_is_kept_with_its_reason,
    nothing_else_is_refused,
    the_dead_queue_has_a_notice_of_each_and_nothing_of_its_content,
    nothing_is_unpickled,
    one_job_each,
    one_session_each,
    one_message_each_to_where_they_are,
    who_is_erased_is_forgotten,
    every_event_of_ours_is_published_in_order,
    http_answers_as_it_should,
)


def broken(case: Aftermath) -> list[str]:
    """The complaints with their promise's names: the first few of each promise, and the number of the rest."""
    wrong = []
    for promise in PROMISES:
        complaints = list(promise(case))
        wrong += [f"{promise.__name__}: {one}" for one in complaints[:SHOWN]]
        if len(complaints) > SHOWN:
            wrong.append(f"{promise.__name__}: and {len(complaints) - SHOWN} more")
    return wrong
