"""What claims know of the senders' queues: which messages count, who is ahead of whom, and when is counted again."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.budgets.backpressure import NOT_THERE, Rooms, SenderState
from onboarding_worker.core.database.tables import InvitationRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import BATCH, EVENT, PAUSED, InvitationState
from tests.stored.shelf import customer

pytestmark = pytest.mark.both_databases

SECOND, TICK = timedelta(seconds=1), timedelta(microseconds=1)
PACED = SenderState(SECOND)
TRUSTED, HOLDS = SECOND, 10 * SECOND


@pytest.fixture
def job(shelf):
    """A claimed job of a batch. Three messages are due before its own: one of an event, and two of batches."""
    now = shelf.clock()
    shelf.add(*(customer(f"C{number}") for number in range(7)))
    shelf.issue()
    others = [
        {"due_at": now},
        {"due_at": now - SECOND},
        {"priority": EVENT},
        {"due_at": now + TICK},
        {"state": InvitationState.WORKING},
        {"channel": "sms"},
        {"priority": BATCH + PAUSED},
    ]
    for row, values in zip(shelf.rows(InvitationRow), others, strict=True):
        shelf.set(InvitationRow, InvitationRow.id == row.id, **values)
    shelf.add(customer("Ona"))
    (claimed,) = shelf.claim()
    return claimed


@pytest.fixture
def rooms(shelf):
    """Those of one process, so much later: each is a claim's, with a transaction of its own."""
    queues = {}
    with ExitStack() as open_until_then:

        def claims(after=timedelta(0), **senders):
            connection = open_until_then.enter_context(shelf.database.read())
            return Rooms(connection, queues, senders, 10 * SECOND, shelf.clock() + after)

        yield claims


@pytest.mark.parametrize(
    ("channel", "priority", "senders", "wait"),
    [
        (Channel.EMAIL, BATCH, {"email": PACED}, 3),
        (Channel.EMAIL, EVENT, {"email": PACED}, 1),
        (Channel.EMAIL, EVENT, {"email": replace(PACED, pause=4 * SECOND)}, 5),
        (Channel.SMS, BATCH, {"email": PACED, "sms": PACED}, 1),
        (Channel.SMS, EVENT, {"email": PACED, "sms": PACED}, 0),
        (Channel.BOTH, BATCH, {"email": PACED, "sms": PACED}, 3),
        (Channel.BOTH, BATCH, {"email": PACED, "sms": SenderState(4 * SECOND)}, 4),
        (Channel.EMAIL, BATCH, {"email": SenderState(pause=SECOND), "sms": PACED}, 0),
        (Channel.EMAIL, BATCH, {"sms": PACED}, 0),
        (Channel.NONE, BATCH, {"email": PACED}, 0),
    ],
)
def test_a_message_waits_for_those_that_are_due_before_it(rooms, job, channel, priority, senders, wait):
    assert rooms(**senders).delay(replace(job, channel=channel, priority=priority)) == wait * SECOND


def let_go(rooms, job, most=9, **changes):
    """How many such jobs there is room for, one after the other, and the sender that had none for the next."""
    job = replace(job, **changes)
    for number in range(most):
        if (full := rooms.full_sender(job)) is not None:
            return number, full
    return most, None


def test_there_is_room_until_the_messages_ahead_fill_half_of_a_links_life(rooms, job):
    here = rooms(email=PACED)
    assert let_go(here, job) == (2, PACED)
    assert let_go(here, job, priority=EVENT) == (4, PACED)
    assert here.delay(job) == 9 * SECOND
    assert let_go(rooms(sms=PACED), job, channel=Channel.SMS, priority=EVENT) == (5, PACED)  # no other event waits


SHUT, QUICK = SenderState(is_shut=True), SenderState()


@pytest.mark.parametrize(
    ("channel", "senders", "found"),
    [
        (Channel.EMAIL, {}, (9, None)),
        (Channel.EMAIL, {"email": QUICK}, (9, None)),
        (Channel.EMAIL, {"email": SHUT}, (0, SHUT)),
        (Channel.EMAIL, {"email": QUICK, "sms": SHUT}, (9, None)),
        (Channel.EMAIL, {"sms": QUICK}, (0, NOT_THERE)),
        (Channel.BOTH, {"email": QUICK, "sms": SHUT}, (0, SHUT)),
        (Channel.BOTH, {"email": PACED, "sms": PACED}, (2, PACED)),
        (Channel.BOTH, {"email": QUICK, "sms": PACED}, (4, PACED)),
        (Channel.NONE, {"email": SHUT}, (9, None)),
    ],
)
def test_a_job_goes_only_if_each_of_its_senders_has_room(rooms, job, channel, senders, found):
    assert let_go(rooms(**senders), job, channel=channel) == found


def test_a_job_that_one_sender_has_no_room_for_occupies_none_of_the_other(rooms, job):
    here = rooms(email=PACED, sms=SenderState(is_shut=True))
    assert let_go(here, job, channel=Channel.BOTH)[0] == 0
    assert here.delay(job) == 3 * SECOND


def put_off_all(shelf):
    shelf.set(InvitationRow, InvitationRow.channel == "email", due_at=shelf.clock() + timedelta(hours=1))


@pytest.mark.parametrize(
    ("after", "ahead"),
    [(timedelta(0), 3), (HOLDS - TICK, 3), (HOLDS, 0), (-TICK, 0)],
    ids=["at once", "while it holds", "no longer", "the clock was set back"],
)
def test_a_count_holds_for_a_while(shelf, rooms, job, after, ahead):
    rooms(email=PACED).delay(job)
    put_off_all(shelf)
    assert rooms(after, email=PACED).delay(job) == ahead * SECOND


@pytest.mark.parametrize(("after", "more"), [(TRUSTED, 0), (TRUSTED + TICK, 5)])
def test_a_count_that_leaves_no_room_is_made_again_once_it_is_a_second_old(shelf, rooms, job, after, more):
    assert let_go(rooms(email=PACED), job)[0] == 2
    put_off_all(shelf)
    assert let_go(rooms(after, email=PACED), job)[0] == more
