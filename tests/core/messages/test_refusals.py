"""Suppressed addresses, and refusals because of the address, at the moment of sending."""

from dataclasses import replace

import pytest

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Batch, BounceCount, InvitationRow, SessionRow
from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import AddressIs, Cancel, Done, Hold, Kind, Problem
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rows.suppressions import suppress, suppressed
from onboarding_worker.core.rules.contact import PauseRule
from onboarding_worker.settings.policies import fallbacks
from tests.stored.shelf import CONTACT, customer

EMAIL, TEXT = ("email", "ona@example.org"), ("sms", "+37060000001")


@pytest.fixture
def desk(shelf, keyring):
    """A shelf whose messages fall back to texts; and helpers to suppress, refuse and count."""

    class Desk:
        def __init__(self):
            shelf.message_policy = replace(
                shelf.message_policy,
                contact=replace(CONTACT, fallbacks=fallbacks("sms", CHANNELS), pause=PauseRule(10, 5)),
            )

        def suppress(self, address, reason):
            with shelf.database.write() as connection:
                suppress(connection, keyring, *address, reason, "vita", now=shelf.clock())

        def suppressed(self, *addresses):
            with shelf.database.write() as connection:
                return suppressed(connection, keyring, addresses)

        def issue(self, *customers):
            batch = shelf.add(*customers)
            shelf.issue()
            return batch

        def refused(self, address, channel="email", *, good=0):
            messages = shelf.claim_messages(channel=channel)
            opened = shelf.open_messages(messages, policy=shelf.on(channel))
            problem = Problem(Kind.BAD_INPUT, "550 5.1.1 no such user", address=address)
            results = [
                CallResult(item, shelf.clock(), Done())
                if index < good
                else CallResult(item, shelf.clock(), Cancel("bad_input", problem.detail), problem=problem)
                for index, item in enumerate(opened)
            ]
            shelf.finish_messages(*results, policy=shelf.on(channel))

        def messages(self):
            return {row.channel: row.state for row in shelf.rows(InvitationRow)}

    return Desk()


def test_an_address_that_was_suppressed_since_its_message_was_written_is_not_written_to(desk, shelf):
    desk.issue(customer("Ona"), customer("Jonas"))
    desk.suppress(EMAIL, SuppressionReason.STOP)
    assert [message.customer.customer_id for message in shelf.send()] == ["Jonas"]
    (row,) = shelf.rows(InvitationRow, state=InvitationState.SUPPRESSED)
    job = shelf.job("Ona")
    assert (row.reason, row.detail) == ("suppressed", "the customer asked for no more messages")
    assert (job.state, job.reason, job.detail) == (JobState.FAILED, row.reason, row.detail)


def test_a_number_that_no_text_may_go_to_since_its_message_was_written_is_not_written_to(desk, shelf):
    texts = replace(shelf.message_policy.contact, fallbacks=fallbacks("email", CHANNELS), countries=frozenset({"LV"}))
    shelf.message_policy = replace(shelf.message_policy, contact=texts)
    desk.issue(customer("Ona", channel=Channel.SMS))
    assert shelf.send(channel="sms") == []
    (row,) = shelf.rows(InvitationRow, channel="sms")
    assert (row.state, row.reason) == (InvitationState.FAILED, "number_refused")
    assert row.detail == "a number of LT, which [sms] countries does not have"
    assert [message.customer.customer_id for message in shelf.send()] == ["Ona"]  # by email instead


def test_the_fallback_writes_to_no_number_that_gets_no_texts(desk, shelf):
    delivery = replace(shelf.message_policy.contact, countries=frozenset({"LV"}))
    shelf.message_policy = replace(shelf.message_policy, contact=delivery)
    desk.issue(customer("Ona"))
    desk.refused(AddressIs.GONE)
    assert desk.messages() == {"email": InvitationState.BOUNCED}


def test_a_customer_who_is_not_reached_there_is_written_to_on_the_other_channel_at_once(desk, shelf):
    desk.issue(customer("Ona"))
    desk.suppress(EMAIL, SuppressionReason.BOUNCE)
    assert shelf.send() == []
    assert desk.messages() == {"email": InvitationState.SUPPRESSED, "sms": InvitationState.WAITING}
    assert shelf.job("Ona").state is JobState.ISSUED
    shelf.send(channel="sms")
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.parametrize(
    ("state", "also_by_text"),
    [(SessionState.DEFERRED, True), (SessionState.EXPIRED, False), (SessionState.COMPLETED, False)],
)
def test_a_link_that_is_over_goes_to_no_other_channel_and_our_own_does(desk, shelf, state, also_by_text):
    desk.issue(customer("Ona"))
    messages = shelf.open_messages(shelf.claim_messages(), policy=shelf.on("email"))
    shelf.set(SessionRow, state=state)
    problem = Problem(Kind.BAD_INPUT, "550 5.1.1 no such user", address=AddressIs.GONE)
    results = [CallResult(item, shelf.clock(), Cancel("bad_input", ""), problem=problem) for item in messages]
    shelf.finish_messages(*results, policy=shelf.on("email"))
    assert ("sms" in desk.messages()) is also_by_text


@pytest.mark.parametrize("reason", [SuppressionReason.MANUAL, SuppressionReason.STOP, SuppressionReason.COMPLAINT])
def test_a_customer_who_wants_no_messages_gets_none_on_another_channel(desk, shelf, reason):
    desk.issue(customer("Ona"))
    desk.suppress(EMAIL, reason)
    assert shelf.send() == []
    assert desk.messages() == {"email": InvitationState.SUPPRESSED}
    assert shelf.job("Ona").state is JobState.FAILED


def test_with_both_channels_the_one_that_may_be_written_to_invites(desk, shelf):
    desk.suppress(TEXT, SuppressionReason.STOP)
    desk.issue(customer("Ona", channel=Channel.BOTH))
    shelf.send(channel="sms")
    assert shelf.job("Ona").state is JobState.ISSUED
    shelf.send()
    assert desk.messages() == {"email": InvitationState.SENT, "sms": InvitationState.SUPPRESSED}
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.INVITED, "")


@pytest.mark.parametrize(
    ("address", "state", "kept"),
    [
        (AddressIs.GONE, InvitationState.BOUNCED, {EMAIL: SuppressionReason.BOUNCE}),
        (AddressIs.REFUSED, InvitationState.BOUNCED, {}),
        (AddressIs.OPTED_OUT, InvitationState.SUPPRESSED, {EMAIL: SuppressionReason.STOP}),
        (None, InvitationState.FAILED, {}),
    ],
)
def test_a_refusal_says_what_is_known_of_the_address(desk, shelf, address, state, kept):
    desk.issue(customer("Ona"))
    desk.refused(address)
    assert desk.messages()["email"] is state
    assert desk.suppressed(EMAIL) == kept
    falls_back = state is InvitationState.BOUNCED
    assert ("sms" in desk.messages()) is falls_back
    job = shelf.job("Ona")
    assert job.state is (JobState.ISSUED if falls_back else JobState.FAILED)
    reasons = {InvitationState.SUPPRESSED: "suppressed", InvitationState.FAILED: "message_refused"}
    assert job.reason == reasons.get(state, "")


def test_of_several_addresses_that_are_refused_at_once_each_is_suppressed_and_each_customer_gets_a_text(desk, shelf):
    desk.issue(customer("Ona"), customer("Jonas"))
    desk.refused(AddressIs.GONE)
    jonas = ("email", "jonas@example.org")
    assert desk.suppressed(EMAIL, jonas) == {EMAIL: SuppressionReason.BOUNCE, jonas: SuppressionReason.BOUNCE}
    assert len(shelf.rows(InvitationRow, channel="sms")) == 2


def test_a_job_whose_messages_were_all_refused_has_bounced(desk, shelf):
    desk.issue(customer("Ona"))
    desk.refused(AddressIs.GONE)
    desk.refused(AddressIs.GONE, "sms")
    assert (shelf.job("Ona").state, shelf.job("Ona").reason) == (JobState.FAILED, "bounced")
    assert desk.suppressed(EMAIL, TEXT) == {EMAIL: SuppressionReason.BOUNCE, TEXT: SuppressionReason.BOUNCE}


def test_a_batch_whose_messages_are_refused_says_why_it_is_to_pause(desk, shelf):
    def issued(most):
        shelf.finish(*map(shelf.got, shelf.open(shelf.claim(most))))

    batch = shelf.add(*(customer(f"C{number}") for number in range(32)))
    issued(20)
    desk.refused(None, good=18)
    row = shelf.row(BounceCount)
    assert (row.tried, row.refused, row.bounced) == (20, 2, 0)
    assert shelf.row(Batch).pause_reason == ""
    issued(12)
    desk.refused(None, good=9)
    assert shelf.row(Batch, id=batch).pause_reason.startswith("5 of 32 messages were refused (5) or bounced (0)")


@pytest.mark.parametrize(
    ("address", "counted", "expected"),
    [
        (AddressIs.ELSEWHERE, 0, {"whatsapp": InvitationState.BOUNCED, "sms": InvitationState.WAITING}),
        (AddressIs.REFUSED, 1, {"whatsapp": InvitationState.BOUNCED, "sms": InvitationState.WAITING}),
        (AddressIs.OPTED_OUT, 1, {"whatsapp": InvitationState.SUPPRESSED}),
        (AddressIs.GONE, 1, {"whatsapp": InvitationState.BOUNCED}),
    ],
)
def test_a_whatsapp_message_that_is_refused_is_followed_by_a_text_where_one_may_arrive(
    desk, shelf, address, counted, expected
):
    desk.issue(customer("Ona", channel=Channel.WHATSAPP))
    desk.refused(address, channel="whatsapp")
    assert desk.messages() == expected
    assert sum(row.refused for row in shelf.rows(BounceCount)) == counted


def test_a_whatsapp_message_with_an_unknown_outcome_is_followed_by_no_text(desk, shelf):
    desk.issue(customer("Ona", channel=Channel.WHATSAPP))
    opened = shelf.open_messages(shelf.claim_messages(channel="whatsapp"), policy=shelf.on("whatsapp"))
    problem = Problem(Kind.UNKNOWN, "no answer")
    result = CallResult(opened[0], shelf.clock(), Hold(Reason.UNKNOWN, "no answer"), problem=problem)
    shelf.finish_messages(result, policy=shelf.on("whatsapp"))
    assert [row.channel for row in shelf.rows(InvitationRow)] == ["whatsapp"]
