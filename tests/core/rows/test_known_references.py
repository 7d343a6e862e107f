"""What is known of a customer's sessions and messages when a call is looked up: what explains it, and what does not."""

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.rows.unknown_outcomes import calls_to_reconcile, messages_to_reconcile
from tests.stored.shelf import customer

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


@pytest.fixture
def looked_up(shelf):
    """Ona's job and message, and Jonas's, all with a call whose outcome is unknown; and Ona's other job and message."""
    shelf.add(customer("Ona"), customer("Jonas"), customer("Ona", purpose="renewal"))
    shelf.issue()
    shelf.clock.advance(minutes=1)
    shelf.open_messages(shelf.claim_messages())
    shelf.set(Attempt, outcome=Kind.UNKNOWN.value, closed_at=shelf.clock() + SECOND, opened_at=shelf.clock())
    for row in shelf.rows(Attempt):
        if row.invitation_id is None:
            shelf.set(Job, Job.id == row.job_id, unknown_attempt=row.id)
        else:
            shelf.set(InvitationRow, InvitationRow.id == row.invitation_id, unknown_attempt=row.id)
    return shelf


def calls(shelf):
    """What is known about the calls of Ona's first job and of its message."""
    with shelf.database.read() as connection:
        jobs = [row for row in shelf.rows(Job) if row.purpose == "onboarding"]
        of_jobs = calls_to_reconcile(connection, jobs, now=shelf.clock())
        query = sa.select(InvitationRow.__table__, Job.customer_id).join(Job, Job.id == InvitationRow.job_id)
        messages = connection.execute(query.where(Job.purpose == "onboarding")).all()
        of_messages = messages_to_reconcile(connection, messages, now=shelf.clock())
    ona = shelf.job("Ona", purpose="onboarding").id
    (message,) = [row.id for row in messages if row.job_id == ona]
    return of_jobs[ona], of_messages[message]


def attempts(shelf, purpose="onboarding", name="Ona"):
    """The call of this job, and the hand-over of its message."""
    rows = shelf.rows(Attempt, job_id=shelf.job(name, purpose=purpose).id)
    return sorted(rows, key=lambda row: row.invitation_id is not None)


def test_sessions_and_receipts_of_the_customers_rows_are_known(looked_up):
    for row in looked_up.rows(Job):
        name = f"{row.customer_id}-{row.purpose}"
        looked_up.set(SessionRow, SessionRow.job_id == row.id, reference=f"scan-{name}")
        reference = "" if name == "Ona-onboarding" else f"SM-{name}"
        looked_up.set(InvitationRow, InvitationRow.job_id == row.id, reference=reference)
    call, hand_over = calls(looked_up)
    assert call.known == {"scan-Ona-onboarding", "scan-Ona-renewal"}
    assert hand_over.known == {"SM-Ona-renewal"}


OWN, OTHER, JONAS = ("Ona", "onboarding"), ("Ona", "renewal"), ("Jonas", "onboarding")


@pytest.mark.parametrize("step", [0, 1], ids=["call", "hand-over"])
@pytest.mark.parametrize(
    ("of", "reconciles", "closed", "known", "seen"),
    [
        (OWN, None, -MINUTE, False, False),
        (OTHER, None, MINUTE, True, False),
        (JONAS, None, -MINUTE, False, False),
        (OTHER, OTHER, -MINUTE, True, False),
        (OTHER, OTHER, timedelta(0), True, False),
        (OTHER, OTHER, SECOND, False, False),
        (OWN, OWN, -MINUTE, False, True),
        (JONAS, JONAS, -MINUTE, False, False),
    ],
    ids=str,
)
def test_what_another_call_of_the_customer_found_before_is_known(looked_up, step, of, reconciles, closed, known, seen):
    shelf = looked_up
    shelf.set(SessionRow, reference="")
    row = attempts(shelf, name=of[0], purpose=of[1])[step]
    found = "one two"
    values = {"found": found, "closed_at": shelf.clock() + closed}
    if reconciles is None:
        shelf.set(Attempt, Attempt.id == row.id, **values)
    else:
        looks_up = attempts(shelf, name=reconciles[0], purpose=reconciles[1])[step].id
        with shelf.database.write() as connection:
            connection.execute(
                sa.insert(Attempt).values({**row._mapping, **values, "id": uuid4(), "reconciles": looks_up})
            )
    result = {"one two"} if reconciles is None else {"one", "two"}
    mine, others = calls(shelf)[step], calls(shelf)[1 - step]
    assert mine.known - {""} == (result if known else set())
    assert mine.seen == (result if seen else frozenset())
    assert (others.known - {""}, others.seen) == (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("outcome", "page", "failures"),
    [
        ("more", 3, 0),
        *((word, 1, 2) for word in ("transient", "unknown", "bad_input")),
        *((word, 1, 0) for word in ("rate_limited", "auth", "out_of_credit", "unreachable")),
        *((word, 1, 0) for word in ("not_sent", "done", "unanswered")),
    ],
)
def test_a_look_up_turns_a_page_or_fails_or_counts_as_neither(looked_up, outcome, page, failures):
    own, other = attempts(looked_up)[0], attempts(looked_up, purpose="renewal")[0]
    closed = looked_up.clock()
    looks = [(own.id, closed)] * 2 + [(own.id, None), (other.id, closed)]
    with looked_up.database.write() as connection:
        for reconciles, at in looks:
            values = {**own._mapping, "id": uuid4(), "outcome": outcome, "reconciles": reconciles, "closed_at": at}
            connection.execute(sa.insert(Attempt).values(values))
    call, hand_over = calls(looked_up)
    assert (call.page, call.failures) == (page, failures)
    assert (hand_over.page, hand_over.failures) == (1, 0)


@pytest.mark.parametrize("kind", Kind)
def test_only_a_conflict_is_told_apart_from_a_lost_answer(looked_up, kind):
    own = attempts(looked_up)[0]
    looked_up.set(Attempt, Attempt.id == own.id, outcome=kind.value)
    call, hand_over = calls(looked_up)
    assert call.kind is (Kind.CONFLICT if kind is Kind.CONFLICT else Kind.UNKNOWN)
    assert (call.attempt_id, call.opened_at, hand_over.kind) == (own.id, own.opened_at, Kind.UNKNOWN)


def test_a_call_whose_attempt_is_gone_counts_as_opened_now(looked_up):
    own = attempts(looked_up)[0]
    looked_up.clock.advance(minutes=1)
    looked_up.set(Job, Job.id == own.job_id, unknown_attempt=uuid4())
    call, _ = calls(looked_up)
    assert (call.opened_at, call.kind) == (looked_up.clock(), Kind.UNKNOWN)
