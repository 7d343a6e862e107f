"""The link again: what leaves, when it is refused, and what it waits for."""

import pytest

from onboarding_worker.core.database.tables import Batch, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.channels import SuppressionReason
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Cancel, Kind, Problem
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.contact import Caps
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from onboarding_worker.features.service_desk.case import Refused
from onboarding_worker.features.service_desk.store.cases import SeveralPurposes
from onboarding_worker.features.service_desk.store.desk import Sent
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops
from tests.features.service_desk.store.desks import desk_of, refusal, told
from tests.stored.shelf import customer
from tests.stored.webhook_feed import APPROVED, WebhookFeed


def test_a_resend_is_a_message_of_its_own_with_the_same_link(ona, desk):
    sent = desk.resend("Ona", reason="call 4711", now=ona.clock())
    assert isinstance(sent, Sent)
    assert (sent.channel, sent.to, sent.due_at) == ("email", "o…@example.org", ona.clock())
    (message,) = ona.send()
    assert (message.kind, message.opening.link, message.wording) == (
        "resend-1",
        "https://verify.test/token-0001",
        "invitation",
    )
    assert len(ona.rows(SessionRow)) == 1
    assert ona.row(Job).state is JobState.INVITED
    assert told(ona) == ["the link by email; call 4711"]


def test_a_second_resend_is_refused_while_the_first_waits_and_soon_after_it_left(ona, desk):
    assert isinstance(desk.resend("Ona", now=ona.clock()), Sent)
    assert "waiting to leave already" in refusal(desk.resend("Ona", now=ona.clock())).why
    ona.send()
    assert "may still be on its way" in refusal(desk.resend("Ona", now=ona.clock.advance(minutes=9))).why
    assert isinstance(desk.resend("Ona", now=ona.clock.advance(minutes=1)), Sent)
    assert [row.kind for row in ona.rows(InvitationRow)] == ["invitation", "resend-1", "resend-2"]
    assert len(told(ona)) == 2


@pytest.mark.both_databases
def test_of_many_clerks_at_once_one_sends(ona, desk, in_parallel):
    answers = in_parallel(lambda: desk.resend("Ona", now=ona.clock()), times=6)
    assert sum(isinstance(answer, Sent) for answer in answers) == 1
    assert len(ona.rows(InvitationRow)) == 2
    assert len(told(ona)) == 1


def test_a_resend_by_text_is_the_first_message_on_that_channel(ona, desk):
    assert isinstance(desk.resend("Ona", channel="sms", now=ona.clock()), Sent)
    (message,) = ona.send(channel="sms")
    assert message.kind == "invitation"


def test_of_a_customer_who_stands_at_the_link_the_refusal_promises_no_message(ona, desk):
    ona.set(Job, state="waiting", reason="pressed", link_requested_at=ona.clock(), due_at=ona.clock())
    refused = [desk.resend("Ona", now=ona.clock()), desk.new_link("Ona", now=ona.clock())]
    assert {str(one).partition("; ")[2] for one in refused} == {
        "no message follows: the link that the customer has opened leads to it"
    }
    ona.set(Job, link_requested_at=None, reason="session_expired")
    assert str(desk.resend("Ona", now=ona.clock())).endswith("; its message follows by itself")


def test_a_message_that_is_being_sent_at_this_moment_is_waited_for(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    messages = shelf.claim_messages()
    assert "being sent at this moment" in refusal(desk_of(shelf).resend("Ona", now=shelf.clock())).why
    shelf.hand_over(messages)
    assert shelf.row(InvitationRow).state is InvitationState.SENT


def test_a_message_in_doubt_is_decided_first(ona, desk):
    ona.set(InvitationRow, state=InvitationState.HELD)
    ona.set(Job, state=JobState.HELD, reason=Reason.UNKNOWN)
    refused = refusal(desk.resend("Ona", now=ona.clock()))
    assert "is held" in refused.why
    assert f"onboard resolve {ona.row(Job).batch_id} --row 2" in refused.then


@pytest.mark.parametrize(("kind", "next_kind"), [("reminder-1", "resend-1"), ("resend-1", "resend-2")])
def test_a_reminder_or_resend_that_may_have_left_is_no_dead_end_for_who_asks_again(ona, desk, kind, next_kind):
    desk.resend("Ona", now=ona.clock())
    in_doubt = {"state": InvitationState.HELD, "reason": Reason.UNKNOWN, "due_at": None, "kind": kind}
    ona.set(InvitationRow, InvitationRow.kind == "resend-1", **in_doubt)
    assert isinstance(desk.resend("Ona", now=ona.clock()), Sent)
    assert [one.kind for one in ona.send()] == [next_kind]
    assert ona.row(InvitationRow, kind=kind).state is InvitationState.HELD


def test_a_message_that_came_back_leaves_again_and_its_row_is_invited_again(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    refusal = Problem(Kind.BAD_INPUT, "SMTP 550")
    shelf.hand_over(shelf.claim_messages(), Cancel(Reason.BAD_INPUT, "SMTP 550"), problem=refusal)
    assert shelf.row(Job).state is JobState.FAILED
    shelf.clock.advance(minutes=1)
    assert isinstance(desk_of(shelf).resend("Ona", now=shelf.clock()), Sent)
    assert shelf.row(Job).state is JobState.ISSUED
    shelf.send()
    assert (shelf.row(Job).state, shelf.row(InvitationRow).state) == (JobState.INVITED, InvitationState.SENT)


@pytest.mark.parametrize(
    ("stage", "why", "then"),
    [
        ("finished", "has finished (approved)", "nothing is left"),
        ("ended", "link ended", "new-link"),
        ("erased", "was erased", "--allow-erased"),
        ("suppressed", "gets no messages: messages to this address bounced", "suppress --remove"),
        ("spent", "no more messages", "otherwise"),
        ("cancelled", "was cancelled", "new list"),
        ("stopped", "everything was stopped", "onboard resume --all"),
        ("pausing", "is being paused", "again in a minute"),
        ("stale", "too short a time", "new-link"),
    ],
)
def test_a_resend_is_refused_with_the_reason_and_what_to_do(ona, desk, decide, stage, why, then):
    match stage:
        case "finished":
            WebhookFeed(ona).receive(APPROVED)
        case "ended":
            ona.clock.advance(days=7)
        case "erased":
            SubjectRequests(ona.database, ona.keyring).erase("Ona", reason="", forget_suppressed=False, now=ona.clock())
        case "suppressed":
            with ona.database.write() as connection:
                bounce = SuppressionReason.BOUNCE
                suppress(connection, ona.keyring, "email", "ona@example.org", bounce, "x", now=ona.clock())
        case "spent":
            desk = desk_of(ona, caps=Caps(3, 1))
        case "cancelled":
            decide.cancel(ona.row(Job).batch_id, now=ona.clock())
        case "stopped":
            EmergencyStops(ona.database).stop(by="vita", reason="", now=ona.clock())
        case "pausing":
            ona.set(Batch, pause_cause="itself")
        case "stale":
            ona.clock.advance(days=6, hours=13)
    refused = desk.resend("Ona", now=ona.clock())
    assert isinstance(refused, Refused), refused
    assert why in refused.why
    assert then in refused.then
    assert len(ona.rows(InvitationRow)) == 1
    assert [reason for reason in told(ona) if "link" in reason] == []


def test_a_resend_waits_for_quiet_hours(ona):
    hours = Hours({"email": QuietHours.parse("10:00-18:00")}, "UTC")
    ona.clock.advance(minutes=30)
    sent = desk_of(ona, hours).resend("Ona", now=ona.clock())
    assert isinstance(sent, Sent)
    assert sent.due == ()
    assert (sent.due_at.hour, ona.send()) == (16, [])  # 18:00 in Vilnius


@pytest.mark.both_databases
def test_a_message_that_reached_nobody_says_that_it_waits_for_quiet_hours(ona):
    hours = Hours({"email": QuietHours.parse("10:00-18:00")}, "UTC")
    ona.clock.advance(minutes=30)
    ona.set(InvitationRow, state=InvitationState.FAILED, sent_at=None, reason="bad_input")
    ona.set(Job, state=JobState.FAILED, reason="bad_input")
    assert isinstance(desk_of(ona, hours).resend("Ona", now=ona.clock()), Sent)
    message = ona.row(InvitationRow)
    assert (message.state, message.due_at.hour, message.reason) == (InvitationState.WAITING, 16, "quiet_hours")


def test_a_resend_to_a_customer_who_has_submitted_meanwhile_does_not_leave(ona, desk):
    desk.resend("Ona", now=ona.clock())
    WebhookFeed(ona).receive(APPROVED)
    assert ona.send() == []
    assert ona.rows(InvitationRow)[1].state is InvitationState.SUPERSEDED


def test_a_customer_of_several_purposes_is_asked_which(shelf):
    shelf.add(customer("Ona"), customer("Ona", purpose="again"))
    shelf.issue()
    shelf.send()
    shelf.clock.advance(minutes=30)
    with pytest.raises(SeveralPurposes, match="again, onboarding"):
        desk_of(shelf).resend("Ona", now=shelf.clock())
    assert isinstance(desk_of(shelf).resend("Ona", purpose="again", now=shelf.clock()), Sent)


def test_a_customer_with_both_channels_hears_again_on_the_one_that_reaches(shelf):
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send()
    shelf.send(channel="sms")
    with shelf.database.write() as connection:
        bounce = SuppressionReason.BOUNCE
        suppress(connection, shelf.keyring, "email", "ona@example.org", bounce, "x", now=shelf.clock())
    sent = desk_of(shelf).resend("Ona", now=shelf.clock.advance(minutes=30))
    assert isinstance(sent, Sent)
    assert sent.channel == "sms"
