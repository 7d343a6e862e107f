"""Which words a message has."""

from worker.core.messages.contact import REACHED, Wording, wording_of
from worker.core.model.states import InvitationState


def test_a_first_message_to_a_customer_who_had_a_link_is_a_new_link():
    cases = [
        (True, False, Wording.INVITATION),
        (True, True, Wording.NEW_LINK),
        (False, False, Wording.REMINDER),
        (False, True, Wording.REMINDER),
    ]
    assert [
        (first, reached_before, wording, got)
        for first, reached_before, wording in cases
        if (got := wording_of(first=first, reached_before=reached_before)) is not wording
    ] == []


def test_only_a_message_that_is_known_to_have_left_reached_its_customer():
    assert {InvitationState.SENT, InvitationState.DELIVERED} == REACHED
