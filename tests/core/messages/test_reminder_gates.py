"""Whether a reminder that is due may leave: after which first message, and with our own link after its session."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, Ladder, Rung
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from tests.stored.own_link import LINKS
from tests.stored.shelf import WEEK, changed, customer

DAY = timedelta(days=1)
WAITS = InvitationState.WAITING
ALIVE, EXPIRED, DEFERRED = SessionState.WAITING, SessionState.EXPIRED, SessionState.DEFERRED


@pytest.fixture
def reminding(shelf):
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(3, 9), reminders=(2 * DAY, 5 * DAY))
    return shelf


@pytest.fixture
def with_own_links(reminding):
    reminding.message_policy = replace(reminding.message_policy, stable=LINKS)
    return reminding


def invited(shelf, *customers, channels=("email",), apart=timedelta(0)):
    shelf.add(*customers or [customer("Ona", channel=Channel.BOTH if len(channels) > 1 else Channel.EMAIL)])
    shelf.issue()
    for channel in channels:
        shelf.send(channel=channel)
        shelf.clock.now += apart


def left(shelf, span=2 * DAY, channel="email"):
    """Which reminders leave after this time, of whom."""
    shelf.clock.now += span
    return sorted((one.customer.customer_id, one.kind) for one in shelf.send(channel=channel))


def why(shelf, kind="reminder-1", channel="email"):
    return shelf.row(InvitationRow, kind=kind, channel=channel).reason


def test_without_a_first_message_of_the_channel_that_was_sent_none_leaves(reminding):
    invited(reminding, channels=("email", "sms"))
    of_email = (InvitationRow.kind == "invitation", InvitationRow.channel == "email")
    reminding.set(InvitationRow, *of_email, sent_at=None)
    assert left(reminding) == []
    assert why(reminding) == "not_reached"
    assert left(reminding, timedelta(0), "sms") == [("Ona", "reminder-1")]


def test_each_customers_reminder_is_judged_by_their_own_first_message(reminding):
    names = ("Ona", "Rasa", "Eva")
    invited(reminding, *map(customer, names))
    rasas = reminding.job("Rasa").session_id
    first = (InvitationRow.session_id == rasas, InvitationRow.kind == "invitation")
    reminding.set(InvitationRow, *first, state=InvitationState.BOUNCED)
    assert left(reminding) == [("Eva", "reminder-1"), ("Ona", "reminder-1")]


def test_a_step_by_another_channel_is_counted_from_the_earliest_message(reminding):
    reminding.message_policy = changed(reminding.message_policy, ladder=Ladder({5 * DAY: Rung("sms")}))
    invited(reminding, channels=("email", "sms"), apart=DAY)
    assert left(reminding, 3 * DAY - timedelta(seconds=1), "sms") == [("Ona", "reminder-1")]
    assert left(reminding, timedelta(seconds=1), "sms") == [("Ona", "reminder-2")]


def test_a_step_by_another_channel_is_due_after_the_quiet_hours_of_that_one(reminding):
    noon, ladder = Hours({"sms": QuietHours.parse("11:00-14:00")}), Ladder({2 * DAY: Rung("sms")})
    reminding.message_policy = changed(reminding.message_policy, ladder=ladder, hours=noon)
    invited(reminding, customer("Ona", timezone="UTC"))
    due = {
        row.kind: (row.channel, row.due_at - reminding.clock()) for row in reminding.rows(InvitationRow, state=WAITS)
    }
    assert due == {"reminder-1": ("sms", 2 * DAY + timedelta(hours=2)), "reminder-2": ("email", 5 * DAY)}


@pytest.mark.parametrize(
    ("earlier", "replaces", "leaves"),
    [
        (InvitationState.SENT, None, False),
        (InvitationState.SUPERSEDED, UUID(int=1), False),
        (InvitationState.SUPERSEDED, None, True),
    ],
)
def test_a_reminder_of_a_session_that_follows_one_in_review_does_not_leave(reminding, earlier, replaces, leaves):
    invited(reminding)
    session, message = reminding.row(SessionRow), reminding.row(InvitationRow, kind="invitation")
    before = {"id": UUID(int=1), "state": EXPIRED, "token_digest": None, "result": "review"}
    first = {"id": UUID(int=2), "session_id": UUID(int=1), "state": earlier}
    reminding.set(SessionRow, replaces=replaces)
    with reminding.database.write() as connection:
        connection.execute(sa.insert(SessionRow), session._asdict() | before)
        connection.execute(sa.insert(InvitationRow), message._asdict() | first)
    assert left(reminding) == [("Ona", "reminder-1")] * leaves
    assert why(reminding) == ("" if leaves else "not_open")


def test_a_reminder_whose_step_goes_by_another_channel_by_now_is_none_any_more(reminding):
    invited(reminding)
    reminding.message_policy = changed(reminding.message_policy, ladder=Ladder({2 * DAY: Rung("sms")}))
    assert left(reminding) == []
    assert why(reminding) == "none_left"
    reminding.message_policy = changed(reminding.message_policy, ladder=Ladder({5 * DAY: Rung("email")}))
    assert left(reminding, 3 * DAY) == [("Ona", "reminder-2")]


def test_a_link_that_is_sent_again_on_request_leaves_whatever_reminders_there_are(reminding):
    invited(reminding)
    reminding.set(InvitationRow, InvitationRow.kind == "reminder-1", kind="resend-1")
    assert left(reminding) == [("Ona", "resend-1")]


def test_a_reminder_that_came_too_early_waits_until_it_is_due(reminding):
    invited(reminding)
    sent_at = reminding.row(InvitationRow, kind="invitation").sent_at
    reminding.set(InvitationRow, InvitationRow.kind == "reminder-1", due_at=reminding.clock() + DAY)
    assert left(reminding, DAY) == []
    waits = reminding.row(InvitationRow, kind="reminder-1")
    assert (waits.state, waits.reason, waits.due_at) == (InvitationState.WAITING, "reminder", sent_at + 2 * DAY)
    assert left(reminding, DAY) == [("Ona", "reminder-1")]


# Our own link outlives its session.


@pytest.mark.both_databases
@pytest.mark.parametrize(
    ("state", "expires_in", "reissues", "reason"),
    [
        (ALIVE, WEEK, 0, ""),
        (ALIVE, 2 * DAY + timedelta(seconds=1), 0, ""),
        (ALIVE, 2 * DAY, 0, "reissues_spent"),
        (EXPIRED, WEEK, 0, "reissues_spent"),
        (EXPIRED, WEEK, 1, ""),
        (ALIVE, DAY, 1, ""),
        (DEFERRED, DAY, 0, ""),
    ],
)
def test_one_with_our_own_link_leaves_while_the_link_leads_to_a_session(
    with_own_links, state, expires_in, reissues, reason
):
    shelf = with_own_links
    invited(shelf, customer("Ona"), customer("Rasa"))
    ona = SessionRow.customer_id == "Ona"
    shelf.set(SessionRow, ona, state=state, expires_at=shelf.clock() + expires_in)
    shelf.message_policy = changed(shelf.message_policy, caps=Caps(reissues, 9))
    assert left(shelf) == [("Ona", "reminder-1")] * (not reason) + [("Rasa", "reminder-1")]
    (row,) = shelf.rows(InvitationRow, kind="reminder-1", session_id=shelf.job("Ona").session_id)
    assert (row.state, row.reason) == ((InvitationState.SUPERSEDED, reason) if reason else (InvitationState.SENT, ""))


def test_without_own_links_the_end_of_the_session_ends_its_reminders(reminding):
    invited(reminding)
    reminding.set(SessionRow, state=EXPIRED)
    assert left(reminding) == []
    assert why(reminding) == "session_ended"


@pytest.mark.parametrize("own", [True, False])
def test_one_with_our_own_link_does_not_leave_while_the_session_that_followed_is_in_review(reminding, own):
    shelf = reminding
    if own:
        shelf.message_policy = replace(shelf.message_policy, stable=LINKS)
    invited(shelf)
    first = shelf.row(SessionRow)
    shelf.set(SessionRow, state=EXPIRED)
    shelf.set(Job, state=JobState.WAITING, due_at=shelf.clock())
    shelf.issue()
    following = shelf.job("Ona").session_id
    assert following != first.id
    shelf.set(Job, state=JobState.INVITED)
    shelf.set(InvitationRow, InvitationRow.session_id == following, state=InvitationState.SUPERSEDED, due_at=None)
    shelf.set(SessionRow, SessionRow.id == following, result="review")
    assert left(shelf) == []
    assert why(shelf) == ("not_open" if own else "session_ended")
