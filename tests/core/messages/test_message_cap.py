"""The messages of a customer are counted before one leaves, if there is more than that one."""

import pytest

from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.rules.contact import Caps
from tests.stored.shelf import changed, customer
from tests.stored.statements import statements


@pytest.fixture
def capped(shelf):
    def cap(messages):
        shelf.message_policy = changed(shelf.message_policy, caps=Caps(reissues=3, messages=messages))
        return shelf

    return cap


def claimed(shelf):
    """The customers whose messages may leave, and how often messages were counted for that."""
    with statements(shelf.database) as made:
        messages = shelf.claim_messages()
    counted = [text for text in made if text.startswith("SELECT") and "sum(" in text and "FROM invitation" in text]
    return sorted(message.customer.customer_id for message in messages), len(counted)


def test_a_customer_s_only_message_leaves_uncounted(capped):
    shelf = capped(2)
    shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    assert claimed(shelf) == (["Jonas", "Ona"], 0)


def test_a_customer_s_only_message_is_counted_where_there_may_be_no_more(capped):
    shelf = capped(1)
    shelf.add(customer("Ona"))
    shelf.issue()
    assert claimed(shelf) == (
        ["Ona"],
        2,
    )  # another list may be about to send one: counted again under the customer's lock


def test_the_messages_of_a_customer_with_several_are_counted(capped):
    shelf = capped(2)
    shelf.add(customer("Ona", channel=Channel.BOTH))
    shelf.issue()
    assert claimed(shelf)[1] > 0


def test_the_next_message_of_a_customer_is_counted_for_any_purpose(capped):
    shelf = capped(2)
    sent = []
    for purpose in ("onboarding", "refresh", "renewal"):
        shelf.add(customer("Ona", purpose=purpose))
        shelf.issue()
        sent.append(len(shelf.send()))
    assert sent == [1, 1, 0]
