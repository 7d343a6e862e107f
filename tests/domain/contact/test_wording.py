"""Which words a message has."""

import pytest

from worker.domain.contact.wording import REACHED, Wording, wording_of
from worker.domain.model.states import InvitationState


@pytest.mark.parametrize(
    ("first", "reached_before", "wording"),
    [
        (True, False, Wording.INVITATION),
        (True, True, Wording.NEW_LINK),
        (False, False, Wording.REMINDER),
        (False, True, Wording.REMINDER),
    ],
)
def test_a_first_message_to_a_customer_who_had_a_link_is_a_new_link(first, reached_before, wording):
    assert wording_of(first=first, reached_before=reached_before) is wording


def test_only_a_message_that_is_known_to_have_left_reached_its_customer():
    assert {InvitationState.SENT, InvitationState.DELIVERED} == REACHED
