"""What a run of `make events` can only try once is tried here in each order: every story of it, against its model.

The model (trials/events/meaning.py) was written from docs/reference/events.md alone.
"""

import re
from collections import Counter, defaultdict
from datetime import timedelta
from itertools import permutations

import pytest

from tests.simulated.events import MORNING
from trials.events.event import Event as Sent
from trials.events.meaning import Known, meant
from trials.events.stories import ADDRESSES, BEFORE, Signup
from worker.domain.events.incoming import OPERATOR, Event, EventKind
from worker.domain.model.states import LIVE_SESSIONS, JobState
from worker.store.tables import CustomerRow, Job, SessionRow


def event(sent: Sent) -> Event:
    return Event(sent.source, sent.id, EventKind(sent.kind), sent.data, sent.time, OPERATOR)


def what_is_owed(known: Known) -> dict:
    """The leading jobs, live sessions and messages (by address) of a customer after all events."""
    messages: Counter[str] = Counter()
    wanted = [due for due in known.due.values() if due.wanted]
    for due in wanted:
        if not due.deferred:
            messages.update({"email": known.email, "sms": known.phone}[channel] for channel in due.channels)
    return {"led": len(wanted), "sessions": len(wanted), "messages": dict(messages)}


@pytest.mark.parametrize("together", [False, True], ids=["one-by-one", "together"])
async def test_events_come_to_the_same_in_every_order(make, together: bool):
    world = make()
    receiver = world.receiver()
    sent: list[Sent] = []
    orders: dict[str, str] = {}
    for story in BEFORE:
        for index in (2, 3, 4):  # by email, SMS and both
            for order in permutations(range(len(story(Signup(index, MORNING))))):
                one = Signup(len(orders) * 5 + index, MORNING + timedelta(seconds=len(sent)))
                events = [story(one)[place] for place in order]
                sent += events
                orders[one.customer_id] = f"{story.__name__}: {', '.join(event.id[-1] for event in events)}"
    for chunk in [sent] if together else [[one] for one in sent]:
        receipts = receiver.receive([event(one) for one in chunk]).receipts
        assert {receipt.outcome.value for receipt in receipts} <= {"taken", "ignored"}
    await world.work()
    led = Counter(
        job.customer_id for job in world.rows(Job) if job.joins is None and job.state is not JobState.CANCELLED
    )
    sessions = Counter(row.customer_id for row in world.rows(SessionRow) if row.state in LIVE_SESSIONS)
    messages: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for message in (*world.senders["email"].messages, *world.senders["sms"].messages):
        number = int(re.sub(r"\D", "", message.to.removeprefix("+4479")))
        messages[f"E-{number % ADDRESSES:06}"][message.to] += 1
    kept = {row.customer_id for row in world.rows(CustomerRow) if row.encrypted}
    wrong = []
    for customer_id, known in meant(sent).items():
        found = {"led": led[customer_id], "sessions": sessions[customer_id], "messages": dict(messages[customer_id])}
        if found != what_is_owed(known) or (customer_id in kept and not known.is_known):
            wrong.append(orders[customer_id])
    assert wrong == []
