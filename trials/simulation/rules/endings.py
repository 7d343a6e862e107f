"""Rules of the end: everybody is accounted for, and nobody has waited for long."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from trials.simulation.people import VERDICT
from trials.simulation.plan import DAY, FLOOR, LEAST_RENEWAL, LIFETIME, MESSAGES, MOST_RENEWAL, Person
from trials.simulation.play import CALM, History
from trials.simulation.records import Call, Kind
from trials.simulation.rules.reading import (
    EARLY,
    ENDED,
    LISTED,
    REPEATED,
    SAFE,
    left_late,
    may_be_unknown,
    sessions_of,
    times,
    verdicts,
)
from trials.simulation.setting import ROUTES

SOON = 300.0  # rows whose account had to wait are looked at each minute at least
# Where connections take seconds to open, and a busy process looks at them rarely, most calls miss their slots.
SOON_IN_A_SLOW_PLACE = 1200.0
A_MINUTE = 60.0


def _was_erased_before(history: History, customer: str) -> bool:
    """Whether the customer was erased on request before anybody asked: the request is refused then."""
    refused = times(history, "requested: refused", customer)
    return any(erased < at for erased in times(history, "erased", customer) for at in refused)


def everybody_is_accounted_for(history: History) -> Iterator[str]:
    """At the end nobody waits without a reason, and nobody is held whose answers all arrived."""
    yield from history.record.complaints
    if history.open_attempts:
        yield f"{history.open_attempts} attempts are still open"
    for person in history.plan.people:
        job, calls = history.jobs.get(person.id), sessions_of(history, person.id)
        if job is None:
            if not _was_erased_before(history, person.id):
                yield f"{person.id} has no job"
        elif job.state in ENDED:
            if job.state == "failed":
                yield from _failed(history, person, job, calls)
            another = len({call.token for call in calls if call.processed}) <= history.plan.reissues
            another = another and job.reason != "link_ended"
            if job.state == "lapsed" and another and not _has_spent_its_messages(history, person.id, job):
                yield f"{person.id} lapsed after {len(calls)} calls, though another session is allowed"
        elif job.state == "held":
            yield from _held(history, person.id, job, calls)
        elif job.result == "review" and not times(history, f"is known: {VERDICT}", person.id):
            # Its verdict was lost on the way: a review may last for any time, where no list says how it ended.
            if job.state == "invited" and job.account in LISTED and history.plan.asks_about_reviews:
                yield f"{person.id} is in review at the end, and {job.account} lists the verdict"
        elif history.plan.renews_for and calls and calls[-1].sent_at > history.ended_at - 2 * LIFETIME:
            pass  # it was asked again just before the history was cut off
        elif not (
            history.plan.capped  # nor can a stopped account be asked whether an adopted session has ended
            and (job.state == "waiting" or person.adopted)
            and (job.account == "kyc" or history.plan.pilot)
        ):
            yield f"{person.id} is {job.state} at the end: {job.reason}"


def _failed(history: History, person: Person, job: Any, calls: list[Call]) -> Iterator[str]:
    # Another one had come under the id, with a mail address alone: for its row the first one has none.
    without = job.reason == "bounced" and person.channel == "sms" and times(history, "the office: other_persons")
    if not without and not any(call.is_lost or call.refused or call.status >= 400 for call in calls):
        yield f"{person.id} has failed, and no call has: {job}"


def _held(history: History, customer: str, job: object, calls: list[Call]) -> Iterator[str]:
    unreadable = history.record.first("row cannot be read", customer) is not None
    if job.reason == "not_me" and times(history, "says: not me", customer):  # type: ignore[attr-defined]
        return
    messages = [call for call in history.record.of(Kind.MAIL, Kind.TEXT) if call.customer == customer]
    # A hand-over that was begun in a process which then ended or stood still: nobody saw whether it left.
    unseen = history.begun_messages.get(customer, 0) > len(messages) and history.record.interrupted
    # … or a call that was begun for the customer's row of a list which was cancelled meanwhile.
    unseen = unseen or (bool(history.plan.acts) and history.record.interrupted)
    # … or was to be looked up, when the list was cancelled.
    unseen = unseen or (bool(times(history, "the office: cancel")) and any(call.status >= 500 for call in messages))
    if not unreadable and not unseen and not any(may_be_unknown(history, call) for call in [*calls, *messages]):
        yield f"{customer} is held, and each of its calls was answered: {job}"


def _has_spent_its_messages(history: History, customer: str, job: Any) -> bool:
    """Whether as many messages were begun as a customer may get. Each counts, also one whose process ended or stood
    still before it left: only that process knew."""
    # Another tool has sent the first ones of an adopted session.
    theirs = sum(1 + (one.channel == "both") for one in history.plan.people if one.id == customer and one.adopted)
    begun = history.begun_messages.get(customer, 0) + theirs + len(times(history, REPEATED))
    return job.reason == "messages_spent" and begun >= MESSAGES


def nobody_waits_for_long(history: History) -> Iterator[str]:
    """Soon after the faults are over, a session was asked for each customer, and its message left."""
    plan = history.plan
    if plan.operator == "pause" or plan.capped or plan.pilot or plan.shared or plan.acts:
        return
    soon = SOON_IN_A_SLOW_PLACE if history.plan.turn and history.plan.stalls else SOON
    soon += 2 * 3600 * len(plan.people) / plan.hourly if plan.hourly else 0.0
    for person in history.plan.people:
        asked = history.record.first("requested", person.id)
        words = ("cancelled", "cancelled: duplicate", "erased", "erased: duplicate")
        gone = any(history.record.first(word, person.id) is not None for word in words)
        if asked is None or gone or history.record.first("row cannot be read", person.id) is not None:
            continue
        # Where no list shows whether an attempt became a call, its session must be over first.
        unlisted = 0.0 if ROUTES[person.account][0] in LISTED | SAFE else LIFETIME
        quiet_until = history.plan.quiet_seconds[1]
        due, calls = max(asked, CALM, history.calm_at, quiet_until) + soon + unlisted, sessions_of(history, person.id)
        messages = [call for call in history.record.of(Kind.MAIL, Kind.TEXT) if call.customer == person.id]
        if history.plan.stable == "on-click":  # the message comes first
            if not any(message.sent_at <= due for message in messages):
                yield f"{person.id}: no message within {soon:.0f} s after everything works again"
            continue
        if not calls or calls[0].sent_at > due:
            yield f"{person.id}: no call within {soon:.0f} s after everything works again"
            continue
        if person.adopted:
            continue  # another tool has sent its link
        known = [call for call in calls if call.processed and not may_be_unknown(history, call)]
        if known and not any(message.sent_at <= max(due, known[0].sent_at + soon) for message in messages):
            yield f"{person.id}: its session of {known[0].sent_at:.0f} s is there, and no message left by {due:.0f} s"


def reminders_are_sent(history: History) -> Iterator[str]:
    """Of a link that leaves when all works, and that its customer never opens, each reminder follows while it lives."""
    plan = history.plan
    if not plan.reminders or plan.stable or plan.quiet or plan.operator or plan.acts or plan.shared or plan.pilot:
        return
    ends = {call.token: min(call.expires_at - FLOOR, history.ended_at) for call in history.record.of(Kind.SESSION)}
    patient = {person.id for person in plan.people if not (person.finishes or person.event or person.adopted)}
    sent: dict[tuple[str, Kind, str], dict[object, float]] = defaultdict(dict)  # by link: when each message left
    for call in history.record.of(Kind.MAIL, Kind.TEXT):
        if call.processed and call.customer in patient:
            sent[call.customer, call.kind, call.token].setdefault(call.key or call, call.sent_at)
    for (customer, kind, token), at in sent.items():
        first = min(at.values())
        due = sum(first + after + SOON < ends[token] for after in plan.reminders)
        spent = history.begun_messages.get(customer, 0) >= MESSAGES
        if first > max(CALM, history.calm_at) and len(at) <= due and not spent:
            yield f"{customer} gets a {kind} at {first:.0f} s, and {len(at) - 1} reminders, not {due}"


def no_dead_link_lies_for_long(history: History) -> Iterator[str]:
    """Where links are replaced before their end, who does nothing has another one within a minute of it."""
    plan = history.plan
    for person in plan.people if plan.ahead else ():
        if person.account not in EARLY or person.finishes or person.event or person.channel == "sms":
            continue
        calls = sessions_of(history, person.id)
        messages = [one for one in history.record.of(Kind.MAIL, Kind.TEXT) if one.customer == person.id]
        uncertain = any(may_be_unknown(history, call) or left_late(history, call) for call in [*calls, *messages])
        if uncertain or history.record.first("row cannot be read", person.id) is not None:
            continue
        for number, call in enumerate(one for one in calls if one.processed):
            ends, spent = call.expires_at + A_MINUTE, history.begun_messages.get(person.id, 0) >= MESSAGES
            last = number >= plan.reissues or ends > history.ended_at or spent
            if last or call.sent_at < max(CALM, history.calm_at):
                continue
            if not any(one.token != call.token and call.sent_at < one.sent_at <= ends for one in messages):
                yield f"{person.id}: its link of {call.sent_at:.0f} s has ended, and no other came by {ends:.0f} s"


def the_refused_are_asked_once_more(history: History) -> Iterator[str]:
    """Who is refused has one more session, where another one is allowed, and the verdict on that counts."""
    plan = history.plan
    for person in plan.people if plan.tries_again else ():
        job, known = history.jobs.get(person.id), list(verdicts(history, person.id).items())
        gone = person.event or history.record.first("row cannot be read", person.id) is not None
        if not person.ends_again or gone or job is None or job.state != "completed" or not known or plan.renews_for:
            continue
        opened = len({call.token for call in sessions_of(history, person.id) if call.processed})
        spent = opened > plan.reissues or history.begun_messages.get(person.id, 0) >= MESSAGES
        if len(known) == 1 and opened == 1 and not spent and not plan.capped:
            yield f"{person.id} was refused, known at {known[0][1]:.0f} s, and is not asked once more"
        wanted = "approved" if len(known) > 1 and person.ends_again == "finish" else "denied"
        if job.result != wanted:
            yield f"{person.id} is {job.result} after {len(known)} verdicts, not {wanted}"


def the_approved_are_asked_to_renew(history: History) -> Iterator[str]:
    """Who is approved is asked again when the approval is due to be renewed, and once."""
    for person in history.plan.people if history.plan.renews_for else ():
        if person.event or history.record.first("row cannot be read", person.id) is not None:
            continue
        calls = sessions_of(history, person.id)
        if any(may_be_unknown(history, call) or left_late(history, call) for call in calls):
            continue
        submitted = verdicts(history, person.id, "finished")
        # Each is finished within minutes, and soon known to be: one session is enough.
        prompt = person.hears in ("webhook", "twice") and not (person.dawdles or person.ends_again or person.review)
        for token, at in _approvals(history, person).items():
            begin, end = submitted[token] + LEAST_RENEWAL, at + MOST_RENEWAL
            due = {call.token for call in calls if begin <= call.sent_at <= end + DAY}
            if not due and end + DAY < history.ended_at:
                yield f"{person.id} was approved at {at:.0f} s (…{token[-6:]}), and is not asked to renew"
            elif len(due) > 1 and prompt:
                yield f"{person.id} was approved at {at:.0f} s, and is asked to renew {len(due)} times"


def _approvals(history: History, person: Person) -> dict[str, float]:
    """The sessions in which a customer was approved, and when that was known."""
    known = verdicts(history, person.id)
    if person.ends in ("finish", "review", "ask"):
        return known
    return dict(list(known.items())[1::2]) if person.ends_again == "finish" and history.plan.tries_again else {}
