"""Delivery updates of senders: states, addresses, the other channel, and the job, in any order of arrival."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy.dialects import postgresql

from onboarding_worker.core.database.tables import (
    Audit,
    Batch,
    BounceCount,
    CustomerRow,
    InvitationRow,
    Job,
    SessionRow,
    Suppression,
    Webhook,
)
from onboarding_worker.core.database.tables.types import OPTIONS
from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.endings import Hold
from onboarding_worker.core.model.incoming import SENDER
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState, WebhookState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.rules.contact import PauseRule
from onboarding_worker.core.rules.quiet_hours import Hours, QuietHours
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.senders.contract import DeliveryStatus, DeliveryUpdate, Stop
from onboarding_worker.settings.policies import fallbacks
from onboarding_worker.web.webhooks.store.delivery_reports import _TEXTS, apply_delivery_updates
from onboarding_worker.web.webhooks.store.webhooks import Arrived, Webhooks, given_of
from tests.stored.post import BOTH_WAYS, EMAIL, TEXT
from tests.stored.shelf import CONTACT, customer
from tests.suite.some import some


@pytest.mark.parametrize("channel", ["email", "sms"])
def test_a_message_is_marked_as_delivered_once(post, channel):
    reference = post.send(channel=channel)
    at = post.shelf.clock()
    post.shelf.clock.advance(minutes=5)
    result = post.report(reference, DeliveryStatus.DELIVERED, channel=channel, happened_at=at)
    assert result.state is WebhookState.APPLIED
    row = post.message(channel)
    assert (row.state, row.delivery_at, row.reason) == (InvitationState.DELIVERED, at, "")
    assert post.shelf.job("Ona").state is JobState.INVITED
    assert post.report(reference, DeliveryStatus.DELIVERED, channel=channel).state is WebhookState.IGNORED


@pytest.mark.both_databases
def test_a_text_is_found_by_an_id_that_is_longer_than_what_is_stored_of_it(post):
    """A service of another package may have such ids."""
    reference = post.send(channel="sms", sid="a" * 150)
    assert post.report(reference, DeliveryStatus.DELIVERED, channel="sms").state is WebhookState.APPLIED
    assert post.message("sms").state is InvitationState.DELIVERED


@pytest.mark.parametrize("first", [DeliveryStatus.DELIVERED, DeliveryStatus.BOUNCED])
def test_a_bounce_outweighs_a_delivery_and_ends_a_job_without_a_reached_customer(post, first):
    reference = post.send()
    for status in (first, DeliveryStatus.BOUNCED, DeliveryStatus.DELIVERED):
        post.report(reference, status, code="511")
    row, job = post.message(), post.shelf.job("Ona")
    assert (row.state, row.reason) == (InvitationState.BOUNCED, "bounced")
    assert (job.state, job.reason) == (JobState.FAILED, "bounced")
    assert "(511)" in job.detail
    assert post.suppressed(("email", EMAIL)) == {}


def test_a_bounce_for_good_keeps_the_address_that_was_written_to_from_being_written_to(post):
    reference = post.send()
    post.report(reference, DeliveryStatus.BOUNCED, stop=Stop.BOUNCED, address="forwarded@example.net")
    assert post.suppressed(("email", EMAIL), ("email", "forwarded@example.net")) == {
        ("email", EMAIL): SuppressionReason.BOUNCE
    }
    assert post.shelf.row(Suppression).source == "sender/email"


def test_a_customer_whose_address_was_corrected_since_is_not_suppressed_for_the_old_one(post):
    reference = post.send()
    changed = post.shelf.clock.advance(hours=1)
    post.shelf.set(CustomerRow, changed_at=changed)
    post.report(reference, DeliveryStatus.BOUNCED, stop=Stop.BOUNCED)
    assert post.shelf.rows(Suppression) == []
    post.report(reference, stop=Stop.COMPLAINED)
    assert post.suppressed(("email", EMAIL)) == {("email", EMAIL): SuppressionReason.COMPLAINT}


def test_a_customer_who_answers_stop_gets_no_text_until_they_answer_start(post):
    post.send(channel="sms")
    assert post.report("", channel="sms", address=TEXT, stop=Stop.STOPPED).state is WebhookState.APPLIED
    assert post.suppressed(("sms", TEXT), ("email", EMAIL)) == {("sms", TEXT): SuppressionReason.STOP}
    assert post.report("", channel="sms", address=TEXT, resume=True).state is WebhookState.APPLIED
    assert post.suppressed(("sms", TEXT)) == {}
    assert post.message("sms").state is InvitationState.SENT


def test_an_answer_of_start_undoes_nothing_but_a_stop(post):
    with post.shelf.database.write() as connection:
        suppress(connection, post.keyring, "sms", TEXT, SuppressionReason.COMPLAINT, "vita", now=post.shelf.clock())
    assert post.report("", channel="sms", address=TEXT, resume=True).state is WebhookState.IGNORED
    assert post.suppressed(("sms", TEXT)) == {("sms", TEXT): SuppressionReason.COMPLAINT}


def test_a_manual_entry_stays_after_an_answer_of_stop_and_of_start(post):
    with post.shelf.database.write() as connection:
        suppress(connection, post.keyring, "sms", TEXT, SuppressionReason.MANUAL, "vita", now=post.shelf.clock())
    post.report("", channel="sms", address=TEXT, stop=Stop.STOPPED)
    assert post.suppressed(("sms", TEXT)) == {("sms", TEXT): SuppressionReason.STOP}
    assert post.report("", channel="sms", address=TEXT, resume=True).state is WebhookState.APPLIED
    assert post.suppressed(("sms", TEXT)) == {("sms", TEXT): SuppressionReason.MANUAL}
    assert post.report("", channel="sms", address=TEXT, resume=True).state is WebhookState.IGNORED


@pytest.mark.parametrize("reference", ["SM404", "4f0e9a55", "f" * 32, ""])
@pytest.mark.parametrize("channel", ["email", "sms"])
def test_an_update_without_a_matching_message_is_unknown_and_changes_nothing(post, reference, channel):
    post.send(channel=channel)
    result = post.report(reference, DeliveryStatus.BOUNCED, channel=channel)
    waits = reference and channel == "sms"  # its reference may be known in a moment
    assert result.state is (WebhookState.WAITING if waits else WebhookState.IGNORED)
    assert result.detail == ("no message here matches it" if reference else "")
    assert post.shelf.job("Ona").state is JobState.INVITED


def test_an_update_that_comes_before_the_hand_over_is_stored_is_tried_again(post):
    post.shelf.add(customer("Ona"))
    post.shelf.issue()
    messages = post.shelf.claim_messages()
    assert post.report(messages[0].id.hex, DeliveryStatus.BOUNCED, stop=Stop.BOUNCED).again_after
    assert post.shelf.rows(Suppression) == []
    post.shelf.hand_over(messages)
    assert post.report(messages[0].id.hex, DeliveryStatus.BOUNCED, stop=Stop.BOUNCED).state is WebhookState.APPLIED


@pytest.fixture
def in_doubt(post):
    """The id of a message whose hand-over has an unknown outcome."""
    post.shelf.add(customer("Ona"))
    post.shelf.issue()
    (message,) = post.shelf.claim_messages()
    post.shelf.hand_over([message], Hold("unknown", "timed out"))
    return message.id


def test_a_delivered_message_with_an_unknown_outcome_was_sent_and_its_job_is_no_longer_held(post, in_doubt):
    assert post.shelf.job("Ona").state is JobState.HELD
    post.report(in_doubt.hex, DeliveryStatus.DELIVERED)
    assert (post.message().state, post.message().sent_at) == (InvitationState.DELIVERED, post.shelf.clock())
    assert (post.shelf.job("Ona").state, post.shelf.job("Ona").reason) == (JobState.INVITED, "")


def test_the_message_of_a_session_before_answers_nothing_that_its_job_is_held_for_now(post, in_doubt):
    post.shelf.set(Job, unknown_attempt=in_doubt)  # the call for the next session
    post.report(in_doubt.hex, DeliveryStatus.DELIVERED)
    assert post.message().state is InvitationState.DELIVERED
    assert (post.shelf.job("Ona").state, post.shelf.job("Ona").reason) == (JobState.HELD, "unknown")


@pytest.mark.both_databases
def test_a_session_that_ended_while_its_messages_outcome_was_unknown_is_checked_afterwards(post, in_doubt):
    post.shelf.set(SessionRow, check_at=None)  # as the sweep leaves it then
    post.report(in_doubt.hex, DeliveryStatus.DELIVERED)
    session = post.shelf.row(SessionRow)
    assert session.check_at == session.expires_at + SETTLES


def test_after_a_bounce_a_text_goes_out_for_the_same_session_once_the_night_is_over(post, clock):
    post.policy = replace(
        CONTACT, fallbacks=fallbacks("sms", CHANNELS), hours=Hours({"sms": QuietHours.parse("12:00-16:00")})
    )
    reference = post.send(customer("Ona", timezone="Etc/GMT"))
    for _ in range(2):
        post.report(reference, DeliveryStatus.BOUNCED, stop=Stop.BOUNCED)
    text = post.message("sms")
    assert (text.state, text.kind, text.due_at) == (InvitationState.WAITING, "invitation", clock() + timedelta(hours=4))
    assert text.session_id == post.message().session_id
    assert post.shelf.job("Ona").state is JobState.INVITED
    clock.advance(hours=4)
    assert len(post.shelf.send(channel="sms")) == 1
    assert post.shelf.job("Ona").state is JobState.INVITED


def test_a_message_that_is_due_at_once_on_the_other_channel_needs_a_wake_up(post):
    post.policy = BOTH_WAYS
    post.report(post.send(), DeliveryStatus.BOUNCED)
    assert post.due == {WakeUp.invite("sms")}


NOWHERE_ELSE = {
    "no phone": lambda post: post.send(customer("Ona", person=Person(email=EMAIL))),
    "the phone is suppressed": lambda post: (_stop(post), post.send())[1],
    "the session is over": lambda post: _after(post, SessionRow, state=SessionState.COMPLETED),
    "the batch is cancelled": lambda post: _after(post, Batch, cancelled_at=post.shelf.clock()),
    "the person was erased": lambda post: _after(post, CustomerRow, encrypted=None),
}


def _stop(post):
    post.report("", channel="sms", address=TEXT, stop=Stop.STOPPED)


def _after(post, model, **values):
    reference = post.send()
    post.shelf.set(model, **values)
    return reference


@pytest.mark.parametrize("why", NOWHERE_ELSE)
def test_there_is_no_other_channel_where(post, why):
    post.policy = BOTH_WAYS
    reference = NOWHERE_ELSE[why](post)
    post.report(reference, DeliveryStatus.BOUNCED)
    assert post.due == set()
    assert [row.channel for row in post.shelf.rows(InvitationRow)] == ["email"]
    assert post.shelf.job("Ona").state is JobState.FAILED


def test_with_both_channels_the_other_one_goes_on_and_is_not_written_to_twice(post):
    post.policy = BOTH_WAYS
    reference = post.send(customer("Ona", channel=Channel.BOTH))
    post.report(reference, DeliveryStatus.BOUNCED)
    assert len(post.shelf.rows(InvitationRow)) == 2
    assert post.shelf.job("Ona").state is JobState.INVITED
    post.shelf.send(channel="sms")
    assert post.shelf.job("Ona").state is JobState.INVITED


def test_a_text_that_comes_back_is_not_sent_again_by_text(post):
    post.policy = BOTH_WAYS
    reference = post.send(channel="sms")
    post.report(reference, DeliveryStatus.BLOCKED, channel="sms", code="30007")
    assert (post.shelf.job("Ona").state, len(post.shelf.rows(InvitationRow))) == (JobState.FAILED, 1)
    assert post.shelf.rows(Suppression) == []


def test_the_query_for_a_text_is_spelled_as_its_partial_index():
    index = next(one for one in InvitationRow.__table__.indexes if one.name == "ix_invitation_reference")
    for words in some(str(index.info[OPTIONS]["postgresql_where"]).split(" AND ")):
        assert f"invitation.{words}".replace("<>", "!=") in str(_TEXTS.compile(dialect=postgresql.dialect()))


def test_a_newer_list_sends_a_bounced_message_again_without_its_old_update(post):
    reference = post.send()
    post.report(reference, DeliveryStatus.BOUNCED)
    post.shelf.add(customer("Ona"))
    assert post.shelf.claim() == []  # it gets the session that the customer has
    assert [message.id.hex for message in post.shelf.send()] == [reference]
    assert (post.message().state, post.message().delivery_at) == (InvitationState.SENT, None)
    post.report(reference, DeliveryStatus.DELIVERED)
    assert post.message().state is InvitationState.DELIVERED


def test_a_customer_whom_neither_channel_reached_has_failed(post):
    post.policy = BOTH_WAYS
    post.report(post.send(), DeliveryStatus.BOUNCED)
    text = post.shelf.send(channel="sms")[0].id
    post.shelf.set(InvitationRow, InvitationRow.id == text, reference="SM9")
    post.report("SM9", DeliveryStatus.BOUNCED, channel="sms", code="30005", stop=Stop.BOUNCED)
    assert (post.shelf.job("Ona").state, post.shelf.job("Ona").reason) == (JobState.FAILED, "bounced")


WHATSAPP = replace(CONTACT, fallbacks=fallbacks(None, CHANNELS), pause=PauseRule(10, 1))


def test_a_number_that_is_not_on_whatsapp_gets_one_text_whatever_is_reported_how_often(post):
    post.policy = WHATSAPP
    reference = post.send(channel="whatsapp")
    post.report(reference, DeliveryStatus.ELSEWHERE, channel="whatsapp")
    assert post.due == {WakeUp.invite("sms")}
    for status in (DeliveryStatus.ELSEWHERE, DeliveryStatus.BLOCKED, DeliveryStatus.DELIVERED):
        assert post.report(reference, status, channel="whatsapp").state is WebhookState.IGNORED
    assert sorted((row.channel, row.state) for row in post.shelf.rows(InvitationRow)) == [
        ("sms", InvitationState.WAITING),
        ("whatsapp", InvitationState.BOUNCED),
    ]
    assert post.suppressed(("sms", TEXT), ("whatsapp", TEXT)) == {}
    assert not post.shelf.rows(BounceCount)  # a good number, so nothing is wrong with the list
    assert post.shelf.job("Ona").state is not JobState.FAILED


def test_a_process_that_dies_before_its_commit_leaves_one_text_after_the_report_comes_again(post):
    post.policy = WHATSAPP
    reference = post.send(channel="whatsapp")
    update = DeliveryUpdate("failed", reference, status=DeliveryStatus.ELSEWHERE)

    def dies():
        with post.shelf.database.write() as connection:
            post.deliver(connection, [update], channel="whatsapp")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dies()
    assert [row.channel for row in post.shelf.rows(InvitationRow)] == ["whatsapp"]
    post.report(reference, DeliveryStatus.ELSEWHERE, channel="whatsapp")
    # A state that was lost, as by a restored backup: the row of the text is what prevents another.
    post.shelf.set(InvitationRow, InvitationRow.channel == "whatsapp", state=InvitationState.SENT)
    post.report(reference, DeliveryStatus.ELSEWHERE, channel="whatsapp")
    assert sorted(row.channel for row in post.shelf.rows(InvitationRow)) == ["sms", "whatsapp"]


def test_who_blocked_us_on_whatsapp_gets_no_text_either(post):
    post.policy = WHATSAPP
    reference = post.send(channel="whatsapp")
    post.report(reference, DeliveryStatus.BOUNCED, stop=Stop.STOPPED, channel="whatsapp")
    assert [row.channel for row in post.shelf.rows(InvitationRow)] == ["whatsapp"]
    assert post.suppressed(("sms", TEXT), ("whatsapp", TEXT)) == {
        ("sms", TEXT): SuppressionReason.STOP,
        ("whatsapp", TEXT): SuppressionReason.STOP,
    }
    assert post.shelf.row(Suppression).channel is Channel.SMS


def test_a_text_waits_for_the_quiet_hours_of_texts(post):
    post.policy = replace(WHATSAPP, hours=Hours({"sms": QuietHours.parse("12:00-16:00")}))
    reference = post.send(channel="whatsapp")
    post.report(reference, DeliveryStatus.ELSEWHERE, channel="whatsapp")
    assert post.due == set()
    assert post.message("sms").due_at > post.shelf.clock()


@pytest.mark.both_databases
def test_a_text_that_waits_for_quiet_hours_says_so_and_is_counted_with_those_that_wait_for_them(post):
    post.policy = replace(WHATSAPP, hours=Hours({"sms": QuietHours.parse("12:00-16:00")}))
    reference = post.send(channel="whatsapp")
    post.report(reference, DeliveryStatus.ELSEWHERE, channel="whatsapp")
    text = post.message("sms")
    counts = post.shelf.facts.counts(text.batch_id)
    assert text.reason == "quiet_hours"
    assert (counts.waits["quiet_hours"].messages, counts.last_due) == ({"sms": 1}, text.due_at)


def test_a_text_for_a_customer_in_the_app_waits_for_no_quiet_hours(post):
    post.policy = replace(WHATSAPP, hours=Hours({"sms": QuietHours.parse("02:00-03:00")}))
    reference = post.send(channel="whatsapp")
    later = post.shelf.clock() + timedelta(hours=1)
    post.shelf.set(Job, invite_at=later)
    post.report(reference, DeliveryStatus.ELSEWHERE, channel="whatsapp")
    assert (post.message("sms").due_at, post.message("sms").reason) == (later, "")


def test_a_start_is_not_undone_when_an_older_report_of_an_unknown_text_is_tried_again(post):
    hooks = Webhooks(
        post.shelf.database, post.keyring, {SENDER: partial(apply_delivery_updates, post.keyring, lambda: CONTACT)}
    )

    def arrives(number, update):
        digests = post.keyring.digests("webhook", str(number))
        hooks.keep([Arrived("sender/sms", digests, update.event, given_of(update))], now=post.shelf.clock())
        hooks.process(now=post.shelf.clock())

    refused = {"status": DeliveryStatus.BOUNCED, "stop": Stop.STOPPED, "address": TEXT}
    arrives(1, DeliveryUpdate("undelivered", "SM of another program", **refused))
    assert post.suppressed(("sms", TEXT))
    post.shelf.clock.advance(seconds=2)
    arrives(2, DeliveryUpdate("received", resume=True, address=TEXT))
    for wait in (2, 20, 70, 310, 1300):
        hooks.process(now=post.shelf.clock.advance(seconds=wait))
    assert post.suppressed(("sms", TEXT)) == {}
    assert {row.state for row in post.shelf.rows(Webhook)} == {"ignored", "applied"}
    noted = [row.reason for row in post.shelf.rows(Audit, action="webhook")]
    assert noted == ["stopped", "may get messages again"]
