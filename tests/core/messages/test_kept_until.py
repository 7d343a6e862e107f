"""What keeps a claimed message for a while: its list's plan, the night, and a number that gets no texts."""

from datetime import timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import BatchPlan, CustomerRow, InvitationRow, SessionRow
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.states import InvitationState, SessionState
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.plans.store.plans import Plan
from tests.stored.shelf import changed, customer

HOUR = timedelta(hours=1)
NIGHT = QuietHours.parse("11:00-14:00")
WAITING = InvitationState.WAITING


@pytest.fixture
def planned(shelf):
    """A list with a plan, whose customers have their links; then the plan is this."""

    def make(*names, **plan):
        how = {"name": "planned", "digest": "planned", "again": False, "now": shelf.clock()}
        batch, _ = shelf.batches.open(**how, plan=Plan(per_hour=60))
        shelf.set(BatchPlan, per_hour=None)
        shelf.add(*map(customer, names), batch=batch.id)
        shelf.issue()
        shelf.set(BatchPlan, **plan)
        return {name: shelf.row(InvitationRow, job_id=shelf.job(name).id).id for name in names}

    return make


def left(shelf, channel="email"):
    return {message.customer.customer_id for message in shelf.claim_messages(channel=channel)}


def test_before_its_lists_start_no_message_leaves_whatever_its_kind(shelf, planned):
    start = shelf.clock() + HOUR
    ids = planned("Ona", "Jonas", start_at=start)
    shelf.add(customer("Rasa"))
    shelf.issue()
    shelf.set(InvitationRow, InvitationRow.id == ids["Jonas"], kind="resend-1")
    assert left(shelf) == {"Rasa"}
    waiting = shelf.rows(InvitationRow, state=WAITING)
    assert {(row.reason, row.due_at) for row in waiting} == {("planned", start)}
    assert {row.id for row in waiting} == set(ids.values())
    shelf.clock.now = start
    assert left(shelf) == {"Ona", "Jonas"}


def test_only_first_messages_to_customers_who_had_none_are_paced(shelf, planned):
    ids = planned("Ona", "Jonas", "Resent", "Reached", per_hour=1, start_at=None)
    shelf.set(InvitationRow, InvitationRow.id == ids["Ona"], due_at=shelf.clock() - timedelta(seconds=1))
    shelf.add(customer("Unplanned"))
    shelf.issue()
    shelf.set(InvitationRow, InvitationRow.id == ids["Resent"], kind="resend-1")
    session = shelf.row(SessionRow, customer_id="Reached")._asdict()
    message = shelf.row(InvitationRow, id=ids["Reached"])._asdict()
    earlier = {"id": uuid4(), "state": SessionState.EXPIRED, "token_digest": None}
    with shelf.database.write() as connection:
        connection.execute(sa.insert(SessionRow), session | earlier)
        sent = {"id": uuid4(), "session_id": earlier["id"], "state": InvitationState.SENT}
        connection.execute(sa.insert(InvitationRow), message | sent)
    gone = left(shelf)
    assert gone > {"Resent", "Reached", "Unplanned"}
    (row,) = shelf.rows(InvitationRow, state=WAITING)
    (waits,) = {"Ona", "Jonas"} - gone  # one place is free, and both are due
    assert (row.id, row.reason) == (ids[waits], "planned")
    assert shelf.clock() + HOUR <= row.due_at < shelf.clock() + HOUR + timedelta(minutes=1)


def test_a_message_that_is_claimed_in_its_channels_night_leaves_in_the_morning(shelf):
    shelf.add(customer("Ona"), customer("Jonas", channel=Channel.SMS), customer("Rasa"))
    shelf.issue()
    shelf.set(CustomerRow, timezone="UTC")
    shelf.set(CustomerRow, CustomerRow.customer_id == "Rasa", timezone="Asia/Tokyo")
    shelf.message_policy = changed(shelf.message_policy, hours=Hours({"email": NIGHT}))
    assert (left(shelf), left(shelf, "sms")) == ({"Rasa"}, {"Jonas"})
    (row,) = shelf.rows(InvitationRow, state=WAITING)
    assert (row.reason, row.due_at) == ("quiet_hours", shelf.clock() + 2 * HOUR)
    shelf.clock.now = row.due_at
    assert left(shelf) == {"Ona"}


@pytest.mark.parametrize("channel", ["sms", "whatsapp"])
def test_only_a_text_asks_whether_its_number_gets_texts(shelf, channel):
    numbers = {"mobile": "+37060000001", "landline": "+37052123456"}
    people = [customer(name, channel=Channel(channel), person=Person(phone=phone)) for name, phone in numbers.items()]
    shelf.add(*people)
    shelf.issue()
    assert left(shelf, channel) == ({"mobile"} if channel == "sms" else set(numbers))
    ended = shelf.rows(InvitationRow, state=InvitationState.FAILED)
    assert [row.reason for row in ended] == (["number_refused"] if channel == "sms" else [])
