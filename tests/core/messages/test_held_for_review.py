"""A message to a customer in review waits, whichever session the review is of."""

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.states import InvitationState, JobState, Result, SessionState
from onboarding_worker.core.rules.contact import FIRST
from tests.stored.shelf import changed, customer

REVIEW = Result.REVIEW.value
AGAIN = timedelta(hours=1)


@pytest.fixture
def waits(shelf):
    """Whether the message of such a session waits for a review; `earlier`: another session of the customer, `sent`:
    with a message that reached them."""

    def claimed(*, kind=FIRST, session=None, job=None, earlier=None, sent=False):
        name = f"C-{len(shelf.rows(Job))}"
        shelf.add(customer(name))
        shelf.issue()
        row, message = shelf.row(SessionRow, customer_id=name), shelf.row(InvitationRow, job_id=shelf.job(name).id)
        shelf.set(SessionRow, SessionRow.id == row.id, **session or {"state": SessionState.WAITING})
        shelf.set(InvitationRow, InvitationRow.id == message.id, kind=kind)
        if job:
            shelf.set(Job, Job.customer_id == name, **job)
        if earlier is not None:
            other = row._asdict() | {"id": uuid4(), "state": SessionState.EXPIRED, "token_digest": None} | earlier
            state = InvitationState.SENT if sent else InvitationState.SUPERSEDED
            with shelf.database.write() as connection:
                connection.execute(sa.insert(SessionRow), other)
                values = message._asdict() | {"id": uuid4(), "session_id": other["id"], "state": state, "sent_at": None}
                connection.execute(sa.insert(InvitationRow), values)
        left = shelf.claim_messages()
        found = shelf.row(InvitationRow, id=message.id)
        assert bool(left) is (found.reason != "in_review")
        assert left or (found.state, found.due_at) == (InvitationState.WAITING, shelf.clock() + AGAIN)
        return not left

    return claimed


def test_a_message_of_a_session_in_review_waits_and_that_of_one_that_ended_is_replaced(waits):
    ended = {"state": SessionState.EXPIRED, "result": REVIEW}
    cases = [
        (FIRST, {"result": REVIEW}, True),
        ("resend-1", {"result": REVIEW}, True),
        (FIRST, {"result": Result.APPROVED.value}, False),
        (FIRST, {"result": ""}, False),
        (FIRST, ended, False),
    ]
    assert [case for case in cases if waits(kind=case[0], session=case[1]) is not case[2]] == []


def test_a_message_that_follows_an_earlier_link_waits_for_the_review_of_that_one(waits):
    review, replaces = {"result": REVIEW}, {"replaces": uuid4()}
    cases = [
        ({"earlier": review, "sent": True}, True),
        ({"earlier": {"result": ""}, "sent": True}, False),
        ({"earlier": review}, False),  # no earlier link is known to have left
        ({"earlier": review, "session": replaces, "job": {"reissues": 1}}, True),
        ({"earlier": review, "session": replaces}, False),
        ({"earlier": review, "job": {"reissues": 1}}, False),
        ({"earlier": {"result": ""}, "session": replaces, "job": {"reissues": 1}}, False),
        ({"earlier": review, "sent": True, "kind": "resend-1"}, True),
    ]
    assert [how for how, expected in cases if waits(**how) is not expected] == []


def test_a_reminder_is_not_put_off_for_a_review_but_given_up(shelf):
    shelf.message_policy = changed(shelf.message_policy, reminders=(timedelta(days=1),))
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.send()
    shelf.set(SessionRow, result=REVIEW, state=SessionState.STARTED)
    shelf.clock.advance(days=1)
    assert shelf.claim_messages() == []
    reminder = shelf.row(InvitationRow, kind="reminder-1")
    assert (reminder.state, reminder.reason) == (InvitationState.SUPERSEDED, "not_open")
    assert shelf.job("Ona").state is JobState.INVITED
