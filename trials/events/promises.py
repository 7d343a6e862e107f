"""What must hold after a run of events: each promise a function from the aftermath to complaints.

A complaint names customers by the ids of the trial, and kinds of messages; never an address, a token or a link.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from trials.case import ISSUING
from trials.events.aftermath import Aftermath
from trials.evidence import Job
from trials.leaks import PERSONAL

LIVE = frozenset({"waiting", "started"})
PREFETCH = 200  # messages that a consumer may have in hand when it dies
NAMELESS = "plain"  # the source of events that name none
SHOWN = 5  # complaints of one kind


def every_event_is_taken_once(case: Aftermath) -> Iterator[str]:
    named = Counter((row["source"], row["event_id"]) for row in case.inbox if row["source"] != NAMELESS)
    told = {(one.source, one.id) for one in case.programme.told}
    unnamed = len(case.inbox) - sum(named.values())
    if unnamed != case.programme.unnamed:
        yield f"{case.programme.unnamed} events without an id were told, {unnamed} are in the inbox"
    for key in named.keys() - told:
        yield f"the inbox holds {key[1]} of {key[0]}, which is no event"
    missing = len(told - named.keys()) - case.programme.unnamed
    if missing:
        yield f"{missing} events are not in the inbox"
    if case.left:
        yield f"{case.left} messages are still in the queue"


def every_refused_message_is_kept_with_its_reason(case: Aftermath) -> Iterator[str]:
    bodies = Counter(one.body for one in case.dead)
    for name, message in case.programme.refused:
        if not bodies[message.body]:
            yield f"a message is not in the dead queue: {name}"
    without = sum(not one.reason.strip() for one in case.dead)
    if without:
        yield f"{without} messages in the dead queue have no reason"
    for one in case.dead:
        for what, form in PERSONAL.items():
            if form.search(one.reason):
                yield f"a reason names {what}"


def nothing_else_is_refused(case: Aftermath) -> Iterator[str]:
    bodies = Counter(message.body for _, message in case.programme.refused)
    strangers = sum(one.body not in bodies for one in case.dead)
    if strangers:
        yield f"the dead queue holds {strangers} messages that are events, or that nobody sent"
    # What is refused is published there and then acknowledged: between the two, a death makes it twice.
    again = len(case.dead) - strangers - len({one.body for one in case.dead} & bodies.keys())
    if again > case.struck * PREFETCH + case.doubtful:
        yield f"the dead queue holds {again} messages twice, for {case.struck} deaths"
    if case.listed != len(case.dead):
        yield f"`bus dead list` shows {case.listed} of {len(case.dead)} messages"


def nothing_is_unpickled(case: Aftermath) -> Iterator[str]:
    if case.trapped:
        yield "a message was unpickled: it has made its file"


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
                yield f"{of}: {len(leads)} jobs lead, {int(due.wanted)} ought to"
            state = "issued" if due.deferred else "invited"
            for job in leads:
                if job.state != state:
                    yield f"{of}: {job.state}, not {state}: {job.reason} {job.detail}"
    for (customer_id, purpose), jobs in found.items():
        yield f"{customer_id} for {purpose}: {len(jobs)} jobs, and nobody asked"


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
                yield f"{customer_id} for {purpose}: a session, though it was called off before anybody worked"
        most = len(wanted if customer_id in case.before else known.due)
        if not len(wanted) <= opened[customer_id] <= most:
            yield f"{customer_id}: {opened[customer_id]} sessions were opened, not {len(wanted)} to {most}"
    strangers = opened.keys() - case.known.keys()
    if strangers:
        yield f"sessions were opened for {len(strangers)} customers of whom nobody told"


def one_message_each_to_where_they_are(case: Aftermath) -> Iterator[str]:
    arrived: Counter[str] = Counter(text["to"] for text in case.evidence.received.texts)
    copies: Counter[str] = Counter()
    for mail in case.evidence.received.mails:
        copies[mail["message_id"]] += 1
        arrived.update(mail["to"])
    again = sum(number > 1 for number in copies.values())
    if again:
        yield f"{again} mails came twice, and no sender died"
    for customer_id, known in case.known.items():
        for channel, address in (("email", known.email), ("sms", known.phone)):
            now = arrived.pop(address, 0)
            formerly = sum(arrived.pop(one, 0) for one in known.former if ("@" in one) == (channel == "email"))
            ought = [one for one in known.due.values() if channel in one.channels and not one.deferred]
            due = sum(one.wanted for one in ought)
            of = f"{customer_id} by {channel}"
            if customer_id in case.before and (now, formerly) != (due, 0):
                yield f"{of}: {now} messages to where they are and {formerly} to where they were, not {due} and 0"
            elif not due <= now + formerly <= len(ought):
                yield f"{of}: {now + formerly} messages, not {due}"
    if arrived:
        yield f"{len(arrived)} addresses that were written to are nobody's"


def who_is_erased_is_forgotten(case: Aftermath) -> Iterator[str]:
    for customer_id, known in case.known.items():
        is_kept = case.customers.get(customer_id, False)
        if is_kept and not known.is_known:
            yield f"{customer_id}: something personal is kept, though they are erased or never asked"
        # Of one who called it off, something is known only where the request came first.
        if not is_kept and any(one.wanted for one in known.due.values()):
            yield f"{customer_id}: nothing is known, though they asked"
    erased = {row["customer_id"] for row in case.inbox if row["kind"] == "customer.erased"}
    for row in case.inbox:
        if row["customer_id"] in erased and row["encrypted"] and not case.known[row["customer_id"]].is_known:
            yield f"{row['customer_id']}: an update of theirs is kept, though they are erased"


def others_are_told_of_everything_in_order(case: Aftermath) -> Iterator[str]:
    if case.outbox:
        yield f"{case.outbox} events of ours were not published"
    told: dict[str, dict[str, Any]] = {}
    order: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in case.heard:
        if one["id"] in told:
            if told[one["id"]] != one:
                yield f"{one['type']} was published twice under one id, in two forms"
            continue
        told[one["id"]] = one
        order[one["subject"]].append(one)
        for what, form in PERSONAL.items():
            if form.search(str(one)):
                yield f"{one['type']} holds {what}"
    kinds = Counter((one["subject"], one["type"]) for one in told.values())
    sessions = Counter(one.customer_id for one in case.evidence.sessions)
    sent = Counter(job.customer_id for job in _sent(case))
    for kind, due in (("session.issued", sessions), ("invitation.sent", sent)):
        for customer_id in due.keys() | {subject for subject, its in kinds if its == kind}:
            if kinds[customer_id, kind] != due[customer_id]:
                yield f"{customer_id}: {kinds[customer_id, kind]} events {kind}, {due[customer_id]} happened"
    for customer_id, events in order.items():
        numbers = [one["sequence"] for one in events]
        if numbers != sorted(numbers):
            yield f"{customer_id}: others were told in another order than it happened in"
        issued: set[str] = set()
        for one in events:
            if one["type"] == "session.issued":
                issued.add(one["data"]["session"])
            elif one["type"] == "invitation.sent" and one["data"]["session"] not in issued:
                yield f"{customer_id}: others were told of an invitation before its session"


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
    every_event_is_taken_once,
    every_refused_message_is_kept_with_its_reason,
    nothing_else_is_refused,
    nothing_is_unpickled,
    one_job_each,
    one_session_each,
    one_message_each_to_where_they_are,
    who_is_erased_is_forgotten,
    others_are_told_of_everything_in_order,
    http_answers_as_it_should,
)


def broken(case: Aftermath) -> list[str]:
    """What is wrong, each with its promise's name; of each promise the first few, and how many more."""
    wrong = []
    for promise in PROMISES:
        complaints = list(promise(case))
        wrong += [f"{promise.__name__}: {one}" for one in complaints[:SHOWN]]
        if len(complaints) > SHOWN:
            wrong.append(f"{promise.__name__}: and {len(complaints) - SHOWN} more")
    return wrong
