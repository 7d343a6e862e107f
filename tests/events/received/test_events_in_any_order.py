"""A customer's events come to the same in every order, as docs/reference/events.md promises: each story of them."""

import re
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import permutations

import pytest

from onboarding_worker.core.database.tables import CustomerRow, Job, SessionRow
from onboarding_worker.core.model.incoming import OPERATOR, Event, EventKind
from onboarding_worker.core.model.states import LIVE_SESSIONS, JobState
from tests.simulated.events import MORNING

AGAIN = 1_000_000  # added to a number: the customer's next addresses
CHANNELS = ("email", "sms", "both")


def requested(move=0, **more):
    return EventKind.REQUESTED, move, more


def updated(move, *columns):
    return EventKind.UPDATED, move, dict.fromkeys(columns or ("email", "phone"))


def cancelled(**more):
    return EventKind.CANCELLED, 0, more


ERASED = EventKind.ERASED, 0, {}
CREDIT = {"purpose": "credit"}
# The events in the order in which they happened; how many rows lead at the end, and to which addresses messages go:
# that of the email, that of the phone.
STORIES = {
    "requested": ([requested()], 1, (0, 0)),
    "deferred": ([requested(invite_after="30 minutes")], 1, None),
    "moved": ([requested(), updated(1)], 1, (1, 1)),
    "moved twice": ([requested(), updated(1), updated(2, "email")], 1, (2, 1)),
    "moved before": ([updated(2), requested()], 1, (0, 0)),
    "asked again": ([requested(), requested(1)], 1, (1, 1)),
    "asked again and moved": ([requested(), requested(1), updated(2, "email")], 1, (2, 1)),
    "cancelled": ([requested(), cancelled()], 0, None),
    "cancelled before": ([cancelled(), requested()], 1, (0, 0)),
    "wanted after all": ([requested(), cancelled(), requested(1)], 1, (1, 1)),
    "two purposes": ([requested(), requested(**CREDIT)], 2, (0, 0)),
    "one of two cancelled": ([requested(), requested(**CREDIT), cancelled(**CREDIT)], 1, (0, 0)),
    "erased": ([requested(), ERASED], 0, None),
    "erased after moving": ([requested(), updated(1), ERASED], 0, None),
    "back after erasure": ([requested(), ERASED, requested(1)], 1, (1, 1)),
    "never asked": ([updated(0), cancelled(), ERASED], 0, None),
}


def email(number):
    return f"c{number}@example.com"


def phone(number):
    return f"+4479{number:08}"


def event(number, place, happened, channel):
    kind, move, more = happened
    columns = {"email": email(number + move * AGAIN), "phone": phone(number + move * AGAIN)}
    data = {"customer_id": f"E-{number:06}"}
    if kind is EventKind.REQUESTED:
        data |= {"first_name": "Ann", "last_name": "Okonkwo", "country": "LT", "channel": channel} | columns | more
    elif kind is EventKind.UPDATED:
        data |= {name: columns[name] for name in more}
    else:
        data |= more
    # It waits from its time on: one without a time has just happened.
    time = None if "invite_after" in more else MORNING + timedelta(seconds=number + place * 0.01)
    return Event("/crm", f"{number}-{place}", kind, data, time, OPERATOR)


def told(number, channel, led, moves):
    """The messages to each address."""
    if moves is None:
        return {}
    by = {"email": email(number + moves[0] * AGAIN), "sms": phone(number + moves[1] * AGAIN)}
    return dict.fromkeys((by.values() if channel == "both" else [by[channel]]), led)


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "together"])
async def test_events_come_to_the_same_in_every_order(make, together: bool):
    world = make()
    receiver = world.receiver()
    sent: list[Event] = []
    expected, names = {}, {}
    for name, (story, led, moves) in STORIES.items():
        for channel in CHANNELS:
            for order in permutations(range(len(story))):
                number = len(expected)
                sent += [event(number, place, story[place], channel) for place in order]
                expected[f"E-{number:06}"] = led, led, told(number, channel, led, moves)
                names[f"E-{number:06}"] = f"{name}, {channel}: {order}"
    for chunk in [sent] if together else [[one] for one in sent]:
        receipts = receiver.receive(chunk).receipts
        assert {receipt.outcome.value for receipt in receipts} <= {"taken", "ignored"}
    await world.work()
    led = Counter(
        job.customer_id for job in world.rows(Job) if job.leader_id is None and job.state is not JobState.CANCELLED
    )
    sessions = Counter(row.customer_id for row in world.rows(SessionRow) if row.state in LIVE_SESSIONS)
    messages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for message in (*world.senders["email"].messages, *world.senders["sms"].messages):
        number = int(re.sub(r"\D", "", message.to.removeprefix("+4479")))
        messages[f"E-{number % AGAIN:06}"][message.to] += 1
    found = {one: (led[one], sessions[one], dict(messages[one])) for one in expected}
    assert {names[one]: found[one] for one in found if found[one] != expected[one]} == {}
    kept = {row.customer_id for row in world.rows(CustomerRow) if row.encrypted}
    assert [names[one] for one in kept if "erased" in names[one] or "never" in names[one]] == []
