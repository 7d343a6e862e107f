"""What repeating held rows may cost, in words."""

from worker.lists.decisions.store.decisions import RepeatCost
from worker.reporting.batch_report import worst_cost


def test_second_messages_are_counted_as_messages_and_not_as_customers():
    """A customer may have an email and a text."""
    said = worst_cost(RepeatCost({}, {"email": 1, "sms": 1}))
    assert said == "At worst that brings 2 second messages (email 1, sms 1)"
    one = worst_cost(RepeatCost({"kyc": 1}, {"sms": 1}))
    assert one == "At worst that pays for a second session (kyc 1) and brings a second message (sms 1)"
    assert worst_cost(RepeatCost({}, {})) == ""
