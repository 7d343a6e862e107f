"""The caps on one customer, and the reasons when a cap is used up."""

from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState
from onboarding_worker.core.rules.contact import COUNTED, Caps, may_send, spent

CAPS = Caps(reissues=3, messages=6)
NOT_SENT = [InvitationState.WAITING, InvitationState.SUPERSEDED, InvitationState.SUPPRESSED, InvitationState.FAILED]


def test_every_message_that_has_or_may_have_reached_the_customer_counts():
    assert set(InvitationState) - COUNTED == set(NOT_SENT)


@given(st.integers(0, 20), st.integers(1, 10))
def test_messages_never_pass_the_cap(counted, most):
    sent = counted
    while may_send(Caps(3, most), sent):
        sent += 1
    assert sent == max(counted, most)


def test_a_new_session_needs_both_a_session_and_a_message_that_are_left():
    cases = [
        (0, 0, None),
        (2, 5, None),
        (3, 0, Reason.REISSUES_SPENT),
        (0, 6, Reason.MESSAGES_SPENT),
        (4, 9, Reason.REISSUES_SPENT),
    ]
    assert [
        (reissues, messages, reason, got)
        for reissues, messages, reason in cases
        if (got := spent(CAPS, reissues=reissues, messages=messages)) is not reason
    ] == []


def test_no_reissue_at_all_may_be_asked_for():
    assert spent(Caps(reissues=0, messages=6), reissues=0, messages=1) is Reason.REISSUES_SPENT


def test_a_message_that_was_not_sent_does_not_count():
    assert not COUNTED & set(NOT_SENT)
