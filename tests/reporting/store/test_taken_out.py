"""Rows and messages that wait for an account or channel which the configuration does not have, on both databases."""

from tests.stored.shelf import customer
from worker.core.customers.customers import Channel
from worker.reporting.store.waiting import of_other_accounts, of_other_channels


def test_waiting_rows_and_messages_are_counted_by_what_they_wait_for_and_by_batch(shelf):
    first = shelf.add(customer("Ona"), customer("Jonas"))
    shelf.issue()
    shelf.add(customer("Rasa"))
    assert of_other_accounts(shelf.database, ["au"]) == {"kyc": {first + 1: 1}}
    assert of_other_accounts(shelf.database, ["kyc"]) == {}
    assert of_other_channels(shelf.database, ["sms"]) == {"email": {first: 2, first + 1: 1}}
    assert of_other_channels(shelf.database, ["email"]) == {}


def test_a_row_waits_for_both_of_its_channels(shelf):
    batch = shelf.add(customer("Ona", channel=Channel.BOTH))
    assert of_other_channels(shelf.database, ["email"]) == {"sms": {batch: 1}}
    assert of_other_channels(shelf.database, ["whatsapp"]) == {"email": {batch: 1}, "sms": {batch: 1}}


def test_what_has_left_waits_for_nothing(shelf):
    shelf.add(customer("Ona"))
    shelf.issue()
    shelf.hand_over(shelf.claim_messages())
    assert of_other_channels(shelf.database, ["sms"]) == {}
