"""Rules of the end: everybody is accounted for, and nobody has waited for long."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from trials.simulation.people import VERDICT
from trials.simulation.plan import FLOOR, LIFETIME, MESSAGES
from trials.simulation.play import CALM, History
from trials.simulation.records import Call, Kind
from trials.simulation.rules.reading import ENDED, LISTED, REPEATED, SAFE, may_be_unknown, sessions_of, times
from trials.simulation.setting import ROUTES

SOON = 300.0  # rows whose account had to wait are looked at each minute at least
# Where connections take seconds to open, and a busy process looks at them rarely, most calls miss their slots.
SOON_IN_A_SLOW_PLACE = 1200.0


def everybody_is_accounted_for(history: History) -> Iterator[str]:
    """At the end nobody waits without a reason, and nobody is held whose answers all arrived."""
    yield from history.record.complaints
    if history.open_attempts:
        yield f"{history.open_attempts} attempts are still open"
    for person in history.plan.people:
        job, calls = history.jobs.get(person.id), sessions_of(history, person.id)
        if job is None:
            yield f"{person.id} has no job"
        elif job.state in ENDED:
            if job.state == "failed":
                yield from _failed(history, person.id, job, calls)
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
        elif not (history.plan.capped and job.state == "waiting" and job.account == "kyc"):
            yield f"{person.id} is {job.state} at the end: {job.reason}"


def _failed(history: History, customer: str, job: object, calls: list[Call]) -> Iterator[str]:
    if not any(call.is_lost or call.refused or call.status >= 400 for call in calls):
        yield f"{customer} has failed, and no call has: {job}"


def _held(history: History, customer: str, job: object, calls: list[Call]) -> Iterator[str]:
    unreadable = history.record.first("row cannot be read", customer) is not None
    if job.reason == "not_me" and times(history, "says: not me", customer):  # type: ignore[attr-defined]
        return
    messages = [call for call in history.record.of(Kind.MAIL, Kind.TEXT) if call.customer == customer]
    # A hand-over that was begun in a process which then ended or stood still: nobody saw whether it left.
    unseen = history.begun_messages.get(customer, 0) > len(messages) and history.record.interrupted
    # … or a call that was begun for the customer's row of a list which was cancelled meanwhile.
    unseen = unseen or (bool(history.plan.acts) and history.record.interrupted)
    if not unreadable and not unseen and not any(may_be_unknown(history, call) for call in [*calls, *messages]):
        yield f"{customer} is held, and each of its calls was answered: {job}"


def _has_spent_its_messages(history: History, customer: str, job: Any) -> bool:
    """Whether as many messages were begun as a customer may get. Each counts, also one whose process ended or stood
    still before it left: only that process knew."""
    begun = history.begun_messages.get(customer, 0) + len(times(history, REPEATED))
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
        known = [call for call in calls if call.processed and not may_be_unknown(history, call)]
        if known and not any(message.sent_at <= max(due, known[0].sent_at + soon) for message in messages):
            yield f"{person.id}: its session of {known[0].sent_at:.0f} s is there, and no message left by {due:.0f} s"


def reminders_are_sent(history: History) -> Iterator[str]:
    """Of a link that leaves when all works, and that its customer never opens, each reminder follows while it lives."""
    plan = history.plan
    if not plan.reminders or plan.stable or plan.quiet or plan.operator or plan.acts or plan.shared or plan.pilot:
        return
    ends = {call.token: min(call.expires_at - FLOOR, history.ended_at) for call in history.record.of(Kind.SESSION)}
    patient = {person.id for person in plan.people if not (person.finishes or person.event)}
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
