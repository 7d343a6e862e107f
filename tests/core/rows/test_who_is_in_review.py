"""Who is in review, among sessions of other customers, purposes and times; and what a row that follows a review has."""

from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import JobState, Result, SessionState
from onboarding_worker.core.rows.in_review import (
    customers_in_review,
    follow_reviews,
    others_in_review,
    release_reviewed,
    sessions_in_review,
)
from tests.stored.shelf import customer

REVIEW = Result.REVIEW.value
ONA = ("Ona", "onboarding")


@pytest.fixture
def present(shelf):
    """Ona's present session, and how another one is added beside it."""
    shelf.add(customer("Ona"))
    shelf.issue()
    row = shelf.row(SessionRow)
    shelf.set(SessionRow, check_at=None)

    def add(**changes):
        values = row._asdict() | {"id": uuid4(), "state": SessionState.EXPIRED, "token_digest": None} | changes
        with shelf.database.write() as connection:
            connection.execute(sa.insert(SessionRow), values)
        return values["id"]

    shelf.session_id, shelf.add_session = row.id, add
    return shelf


def asked(shelf, of, *given):
    with shelf.database.write() as connection:
        return of(connection, *given)


@pytest.mark.parametrize(
    ("other", "is_other"),
    [
        ({"result": REVIEW}, True),
        ({"result": Result.APPROVED.value}, False),
        ({"result": ""}, False),
        ({"result": REVIEW, "purpose": "renewal"}, False),
        ({"result": REVIEW, "customer_id": "Jonas"}, False),
        ({"result": REVIEW, "past": True}, False),
    ],
)
def test_another_session_in_review_is_of_the_same_customer_and_purpose_and_not_past(present, other, is_other):
    added = present.add_session(**other)
    assert asked(present, others_in_review, {present.session_id, uuid4()}) == (
        {present.session_id} if is_other else set()
    )
    assert asked(present, customers_in_review, {ONA, ("Rasa", "onboarding")}) == ({ONA} if is_other else set())
    in_review = other["result"] == REVIEW
    assert asked(present, sessions_in_review, {present.session_id, added}) == ({added} if in_review else set())


def test_a_sessions_own_review_is_no_other_one(present):
    present.set(SessionRow, result=REVIEW)
    assert asked(present, others_in_review, {present.session_id}) == set()
    assert asked(present, sessions_in_review, {present.session_id}) == {present.session_id}
    assert asked(present, customers_in_review, {ONA}) == {ONA}
    for of in (others_in_review, sessions_in_review, customers_in_review):
        assert asked(present, of, set()) == set()


@pytest.mark.parametrize("state", SessionState)
@pytest.mark.parametrize("result", ["", REVIEW])
def test_a_row_is_released_by_the_review_of_its_own_session_unless_that_was_given_up(present, state, result):
    present.add(customer("Jonas"))
    present.set(SessionRow, state=state, result=result)
    present.set(
        Job, state=JobState.WORKING, attempts=3, reason="transient", detail="HTTP 500", lease_until=present.clock()
    )
    ona, jonas = present.job("Ona"), present.job("Jonas")
    released = result == REVIEW and state is not SessionState.SUPERSEDED
    with present.database.write() as connection:
        found = release_reviewed(connection, [ona, jonas], now=present.clock())
    assert found == ({ona.id} if released else set())
    assert present.job("Jonas") == jonas
    after = present.job("Ona")
    if not released:
        assert after == ona
        return
    assert (after.state, after.session_id, after.result) == (JobState.INVITED, present.session_id, REVIEW)
    assert (after.attempts, after.reason, after.detail, after.due_at, after.lease_until) == (0, "", "", None, None)


@pytest.mark.parametrize("channel", Channel)
def test_a_row_that_follows_a_review_counts_as_invited_unless_it_asks_for_no_message(present, channel):
    other = present.add_session(customer_id="Jonas", result=REVIEW, state=SessionState.STARTED)
    present.add(customer("Jonas", channel=channel))
    jonas, ona = present.job("Jonas"), present.job("Ona")
    with present.database.write() as connection:
        follow_reviews(connection, [(jonas, other)], reason="in_review", detail="it decides", now=present.clock())
    after = present.job("Jonas")
    assert after.state is (JobState.ISSUED if channel is Channel.NONE else JobState.INVITED)
    assert (after.session_id, after.reason, after.detail) == (other, "in_review", "it decides")
    assert present.row(SessionRow, id=other).check_at is not None
    assert present.row(SessionRow, id=present.session_id).check_at is None
    assert present.job("Ona") == ona
