"""The gates of a claim: which claimed jobs stay, why and until when, and that all others are called for."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import BATCH, EVENT, InvitationState, JobState, SessionState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.contact import BRAND_LOOKED_AT_AGAIN
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.rules.reissue import REVIEWED_AGAIN
from onboarding_worker.plans.store.plans import Plan
from tests.stored.shelf import WEEK, changed, customer

OTHER = UUID(int=1)  # one and the same in each process: tests are named after it
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def names(jobs):
    return [job.customer.customer_id for job in jobs]


@pytest.fixture
def again(shelf):
    """Ona's job is due once more, after its session; Jonas's, whose session is as good, is not."""

    def due(*, session=None, **row):
        shelf.add(customer("Ona"), customer("Jonas"))
        shelf.issue()
        now, kept = shelf.clock(), shelf.row(SessionRow, customer_id="Ona").id
        if session:
            shelf.set(SessionRow, SessionRow.customer_id == "Ona", **session)
        shelf.set(Job, Job.customer_id == "Ona", **{"state": JobState.WAITING, "due_at": now} | row)
        return shelf.row(SessionRow, id=kept)

    return due


def soon(shelf):
    """The policy of an account whose unused links are replaced a week before their end: at once."""
    return changed(replace(shelf.policy, reissue_at=lambda _end: shelf.clock()), ahead=WEEK)


ENDS_SOON = "link_ends_soon"


@pytest.mark.parametrize(
    ("reason", "session", "ahead", "state"),
    [
        (ENDS_SOON, {"state": SessionState.STARTED}, False, JobState.INVITED),
        (ENDS_SOON, {"result": "review"}, False, JobState.INVITED),
        (ENDS_SOON, {}, False, JobState.ISSUED),
        ("", {"state": SessionState.STARTED}, False, JobState.ISSUED),
        (ENDS_SOON, {}, True, JobState.WORKING),
        ("", {}, True, JobState.WORKING),
        ("", {"state": SessionState.STARTED}, True, JobState.ISSUED),
        ("", {"result": "review"}, True, JobState.ISSUED),
    ],
    ids=str,
)
def test_a_job_whose_link_ends_soon_keeps_the_session_that_its_customer_has_begun(
    shelf, again, reason, session, ahead, state
):
    kept = again(session=session, reason=reason)
    shelf.clock.now += WEEK / 2 if ahead else timedelta(0)
    called = shelf.claim(policy=soon(shelf) if ahead else shelf.policy)
    row = shelf.job("Ona")
    assert (row.state, row.session_id) == (state, kept.id)
    assert names(called) == (["Ona"] if state is JobState.WORKING else [])
    if state is not JobState.WORKING:
        assert (row.due_at, row.lease_until) == (None, None)
    if state is JobState.INVITED:
        assert row.reason == ""
    assert shelf.job("Jonas").reason == ""


@pytest.mark.parametrize(("early", "state"), [(SECOND, JobState.ISSUED), (timedelta(0), JobState.WORKING)])
def test_a_link_is_replaced_before_its_end_from_its_time_on(shelf, again, early, state):
    again()
    shelf.clock.now += WEEK / 2 - early
    shelf.claim(policy=soon(shelf))
    assert shelf.job("Ona").state is state


def test_another_lists_row_does_not_replace_a_link_that_ends_soon(shelf, again):
    again(session_id=uuid4())
    shelf.clock.now += WEEK / 2
    assert shelf.claim(policy=soon(shelf)) == []
    assert shelf.job("Ona").reason == "joined_session"


@pytest.mark.parametrize("ends_in", [timedelta(0), -SECOND])
def test_an_unknown_outcome_is_reconciled_before_a_review_is_followed(shelf, again, ends_in):
    session = again(session={"result": "review", "expires_at": shelf.clock() + ends_in}, unknown_attempt=uuid4())
    (job,) = shelf.claim(policy=replace(shelf.policy, reissue_at=lambda end: end + HOUR))
    assert (job.looks_up, job.session_id) == (True, session.id)


def test_a_job_that_asks_about_its_session_reuses_none(shelf, again):
    session = again(needs_status_check=True)
    (job,) = shelf.claim()
    assert (job.asks_about, shelf.job("Ona").session_id) == (session.reference, session.id)


def test_a_job_whose_session_is_gone_asks_about_it_all_the_same_and_opens_none(shelf, again):
    again(needs_status_check=True, session_id=None)
    (job,) = shelf.claim()
    assert (job.asks_about, job.looks_up) == ("", True)


REVIEWED = {"state": SessionState.EXPIRED, "result": "review"}


@pytest.mark.parametrize(
    ("session", "row", "becomes"),
    [
        (REVIEWED, {}, "follows"),
        (REVIEWED, {"session_id": OTHER}, "waits"),
        (REVIEWED | {"purpose": "renewal"}, {"session_id": OTHER}, "called"),
        (REVIEWED | {"customer_id": "Petras"}, {"session_id": OTHER}, "called"),
        (REVIEWED, {"session_id": OTHER, "unknown_attempt": OTHER}, "called"),
        (REVIEWED, {"session_id": OTHER, "needs_status_check": True}, "called"),
        (REVIEWED, {"unknown_attempt": OTHER}, "called"),
        (REVIEWED, {"needs_status_check": True}, "called"),
        (REVIEWED | {"past": True}, {"session_id": OTHER}, "called"),
        ({"state": SessionState.EXPIRED}, {}, "called"),
    ],
    ids=str,
)
def test_a_customer_in_review_is_not_called_for(shelf, again, session, row, becomes):
    again(session=session, **row)
    called = shelf.claim()
    after = shelf.job("Ona")
    assert names(called) == (["Ona"] if becomes == "called" else [])
    if becomes == "follows":
        assert (after.state, after.due_at, after.lease_until) == (JobState.INVITED, None, None)
    elif becomes == "waits":
        assert (after.state, after.due_at, after.reason) == (
            JobState.WAITING,
            shelf.clock() + REVIEWED_AGAIN,
            "in_review",
        )
        assert after.state in Reason(after.reason).jobs


@pytest.mark.parametrize(("starts_in", "waits"), [(SECOND, True), (timedelta(0), False)])
def test_the_rows_of_a_list_wait_for_its_start_and_say_so(shelf, starts_in, waits):
    start = shelf.clock() + starts_in
    batch, _ = shelf.batches.open(name="x", digest="x", again=False, now=shelf.clock(), plan=Plan(start_at=start))
    shelf.add(customer("Ona"), batch=batch.id)
    shelf.add(customer("Jonas"))
    shelf.set(Job, due_at=shelf.clock())
    assert names(shelf.claim()) == (["Jonas"] if waits else ["Ona", "Jonas"])
    if waits:
        assert (shelf.job("Ona").reason, shelf.job("Ona").due_at) == ("planned", start)


BRANDED = customer("Ona", brand="gone")


@pytest.mark.parametrize(
    ("priority", "row", "waits"),
    [(BATCH, {}, True), (EVENT, {}, False), (EVENT, {"session_id": OTHER}, True)],
    ids=["a list's", "an event's first", "an event's second"],
)
def test_a_row_of_a_brand_that_is_no_more_waits_unless_the_sender_of_an_event_does(shelf, priority, row, waits):
    shelf.add(BRANDED, priority=priority)
    shelf.add(customer("Jonas"))
    if row:
        shelf.set(Job, Job.customer_id == "Ona", **row)
    policy = changed(shelf.policy, brands=frozenset({"known"}))
    assert sorted(names(shelf.claim(policy=policy))) == (["Jonas"] if waits else ["Jonas", "Ona"])
    if waits:
        assert shelf.job("Ona").reason == "brand_missing"
        assert shelf.job("Ona").due_at == shelf.clock() + BRAND_LOOKED_AT_AGAIN


def test_outside_quiet_hours_all_rows_are_called_for_and_within_them_those_without_a_message(shelf):
    shelf.add(customer("Ona"), customer("Jonas", channel=Channel.NONE))
    quiet = changed(shelf.policy, hours=Hours({"email": QuietHours.parse("00:00-23:00")}, "UTC"))
    shelf.clock.now = shelf.clock().replace(hour=12, minute=0)
    assert names(shelf.claim(policy=quiet)) == ["Jonas"]
    row = shelf.job("Ona")
    assert (row.reason, row.due_at) == ("quiet_hours", shelf.clock().replace(hour=21))  # in Vilnius
    shelf.clock.now = row.due_at
    assert names(shelf.claim(policy=quiet)) == ["Ona"]


SENT = {"state": InvitationState.SENT}


@pytest.mark.parametrize(
    ("message", "session", "state"),
    [
        *(
            ({"state": one}, {}, JobState.LAPSED if one in ("sent", "delivered") else JobState.FAILED)
            for one in InvitationState
        ),
        *(
            (SENT, {"state": one}, JobState.LAPSED if one == "expired" else JobState.FAILED)
            for one in SessionState
            if one not in ("waiting", "started")
        ),
        (SENT | {"kind": "first"}, {}, JobState.FAILED),
        (SENT | {"session_id": OTHER}, {}, JobState.FAILED),
    ],
    ids=str,
)
def test_an_unreachable_customer_who_got_a_link_that_ended_unused_has_lapsed(shelf, again, message, session, state):
    again(session={"state": SessionState.EXPIRED} | session)
    shelf.set(InvitationRow, InvitationRow.job_id == shelf.job("Ona").id, **message)
    with shelf.database.write() as connection:
        suppress(
            connection, shelf.keyring, "email", "ona@example.org", SuppressionReason.MANUAL, "v", now=shelf.clock()
        )
    assert shelf.claim() == []
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (state, "suppressed")


def test_only_customers_all_of_whose_own_addresses_are_suppressed_are_unreachable(shelf, again):
    again(session={"state": SessionState.EXPIRED})
    shelf.set(InvitationRow, state=InvitationState.SENT)
    shelf.add(customer("Lina", person=Person(first_name="Lina")), customer("Rasa", channel=Channel.BOTH))
    with shelf.database.write() as connection:
        for address in ("jonas@example.org", "rasa@example.org"):
            suppress(connection, shelf.keyring, "email", address, SuppressionReason.MANUAL, "v", now=shelf.clock())
    assert sorted(names(shelf.claim())) == ["Lina", "Ona", "Rasa"]


@pytest.mark.both_databases
@pytest.mark.parametrize("priority", [BATCH, EVENT])
def test_with_a_full_sender_other_rows_of_lists_are_put_off_with_the_first_and_an_event_stands_for_itself(
    shelf, priority
):
    shelf.add(customer("First"), priority=priority)
    shelf.clock.advance(seconds=1)
    shelf.add(*(customer(name) for name in ("Alike", "Held", "Joined", "Past", "InApp")))
    shelf.add(customer("Event"), priority=EVENT)
    now = shelf.clock()
    shelf.set(Job, Job.customer_id == "First", due_at=now - HOUR)
    shelf.set(Job, Job.customer_id == "Event", due_at=now)
    shelf.set(Job, Job.customer_id == "Held", state=JobState.HELD)
    shelf.set(Job, Job.customer_id == "Joined", leader_id=shelf.job("First").id)
    shelf.set(Job, Job.customer_id == "Past", invite_at=now)
    shelf.set(Job, Job.customer_id == "InApp", invite_at=now + SECOND)
    if priority == BATCH:
        shelf.set(Job, Job.customer_id == "Event", due_at=now + SECOND)
    policy = replace(shelf.policy, senders={"sms": BudgetRule("sender/sms")})  # none for emails
    assert shelf.claim(1, policy) == []
    put_off = {row.customer_id for row in shelf.rows(Job, reason="waits_for_sender")}
    assert put_off == ({"First", "Alike", "Past"} if priority == BATCH else {"First"})
    assert {row.due_at for row in shelf.rows(Job, reason="waits_for_sender")} != {now}


@pytest.mark.parametrize(
    ("row", "counts"), [({}, True), ({"session_id": OTHER}, False), ({"attempts": 1}, False)], ids=str
)
def test_only_first_sessions_of_planned_lists_take_places_of_their_pace(shelf, row, counts):
    plan = Plan(per_hour=1)
    batch, _ = shelf.batches.open(name="x", digest="x", again=False, now=shelf.clock(), plan=plan)
    shelf.add(customer("Ona"), customer("Jonas"), batch=batch.id)
    shelf.add(customer("Rasa"), customer("Lina"))
    shelf.set(Job, due_at=shelf.clock(), **row)
    assert names(shelf.claim()) == (["Ona", "Rasa", "Lina"] if counts else ["Ona", "Jonas", "Rasa", "Lina"])
    if counts:
        assert shelf.job("Jonas").reason == "planned"
