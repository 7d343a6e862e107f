"""A customer whom email no longer reaches gets a new session only if a text may be sent."""

from dataclasses import replace

import pytest

from onboarding_worker.core.database.tables import CustomerRow, InvitationRow
from onboarding_worker.core.model.channels import CHANNELS, SuppressionReason
from onboarding_worker.core.model.customers import Channel, Person
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rows.suppressions import suppress
from onboarding_worker.core.upkeep.expired_sessions import check
from onboarding_worker.settings.policies import fallbacks
from tests.core.upkeep.test_expired_sessions import TERMS, invited, let_expire
from tests.stored.shelf import CONTACT, changed, customer

EMAIL, TEXT = ("email", "ona@example.org"), ("sms", "+37060000001")


@pytest.fixture
def story(shelf, keyring):
    """Ona was invited by email; then these addresses were suppressed, her session ended and was checked."""

    def run(*, fallback="sms", who=None, **reasons):
        shelf.message_policy = replace(
            shelf.message_policy, contact=replace(CONTACT, fallbacks=fallbacks(fallback, CHANNELS))
        )
        shelf.policy = changed(shelf.policy, fallbacks=fallbacks(fallback, CHANNELS))
        invited(shelf, who or customer("Ona"))
        with shelf.database.write() as connection:
            for address in (EMAIL, TEXT):
                if (reason := reasons.get(address[0])) is not None:
                    suppress(connection, keyring, *address, reason, "vita", now=shelf.clock())
        let_expire(shelf)
        check(shelf.database, keyring, changed(TERMS, fallbacks=fallbacks(fallback, CHANNELS)), now=shelf.clock())
        return shelf.job("Ona")

    return run


def test_a_customer_whose_email_bounced_gets_the_next_link_by_text(shelf, story):
    assert story(email=SuppressionReason.BOUNCE).state is JobState.WAITING
    shelf.issue()
    for channel in ("email", "sms"):
        shelf.send(channel=channel)
    second = shelf.job("Ona").session_id
    assert {row.channel: row.state for row in shelf.rows(InvitationRow, session_id=second)} == {
        "email": InvitationState.SUPPRESSED,
        "sms": InvitationState.SENT,
    }
    assert shelf.job("Ona").state is JobState.INVITED


@pytest.mark.parametrize(
    "how",
    [
        {"email": SuppressionReason.STOP},
        {"email": SuppressionReason.BOUNCE, "fallback": None},
        {"email": SuppressionReason.BOUNCE, "sms": SuppressionReason.STOP},
        {"email": SuppressionReason.BOUNCE, "who": customer("Ona", person=Person(email=EMAIL[1]))},
        {
            "email": SuppressionReason.STOP,
            "sms": SuppressionReason.BOUNCE,
            "who": customer("Ona", channel=Channel.BOTH),
        },
    ],
    ids=["she asked for it", "no fallback", "no text either", "no phone", "both"],
)
def test_no_session_is_bought_whose_link_could_not_be_sent(story, how):
    job = story(**how)
    assert (job.state, job.reason) == (JobState.LAPSED, "suppressed")


def test_a_channel_that_may_be_written_to_is_enough(story):
    assert story(email=SuppressionReason.STOP, who=customer("Ona", channel=Channel.BOTH)).state is JobState.WAITING


def test_a_customer_whom_no_key_decrypts_does_not_lapse_for_a_missing_address(shelf, keyring):
    invited(shelf)
    shelf.set(CustomerRow, encrypted=b"no key opens this")
    let_expire(shelf)
    check(shelf.database, keyring, TERMS, now=shelf.clock())
    assert shelf.job("Ona").state is JobState.WAITING
