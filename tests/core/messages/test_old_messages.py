"""An unsent message of an earlier session: it does not change the present session of its job."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import InvitationRow, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import InvitationState, JobState, SessionState
from onboarding_worker.core.rules.contact import Caps, ContactPolicy
from onboarding_worker.core.rules.reissue import SETTLES
from onboarding_worker.core.upkeep.expired_sessions import ExpiryPolicy, check
from tests.stored.shelf import WEEK, customer

TERMS = ExpiryPolicy(
    ContactPolicy(Caps(3, 100), timedelta(days=1), None), {"kyc": WEEK}, {"kyc": lambda expires_at: expires_at}
)


@pytest.fixture
def reissued(shelf, keyring):
    """Ona has an email, and her text waited until the link had ended and she was issued another one."""
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    shelf.send()
    shelf.clock.now += WEEK + SETTLES
    check(shelf.database, keyring, TERMS, now=shelf.clock())
    shelf.issue()
    assert shelf.job("Ona").state is JobState.ISSUED


def test_it_is_of_no_use_and_leaves_the_new_link_alone(shelf, reissued):
    new = shelf.row(SessionRow, state=SessionState.WAITING)
    messages = shelf.claim_messages(channel="sms")
    assert [message.session_id for message in messages] == [new.id]
    (old,) = [row for row in shelf.rows(InvitationRow, channel="sms") if row.session_id != new.id]
    assert old.state is InvitationState.SUPERSEDED


def test_an_old_message_that_is_found_stale_late_leaves_the_new_link_alone(shelf, keyring):
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    (text,) = shelf.claim_messages(channel="sms")
    shelf.set(SessionRow, state=SessionState.EXPIRED, check_at=None)
    assert shelf.flush_messages().opened == []
    shelf.issue()
    assert shelf.open_messages([replace(text, ended=True)], policy=shelf.on("sms")) == []
    new = shelf.row(SessionRow, state=SessionState.WAITING)
    assert shelf.job("Ona").state is JobState.ISSUED
    assert {row.state for row in shelf.rows(InvitationRow, session_id=new.id)} == {InvitationState.WAITING}
