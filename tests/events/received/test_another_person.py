"""An event brings another person under the id of a customer who is known."""

from dataclasses import replace

import pytest

from onboarding_worker.core.database.tables import Inbox, Job
from onboarding_worker.core.model.incoming import EventKind, EventSender, Outcome
from onboarding_worker.events.standing import NOT_ITS_CUSTOMER
from onboarding_worker.events.store.event_customers import ANOTHER
from tests.simulated.events import outcomes, person, requested, updated
from tests.simulated.world import customer

ONA = {"first_name": "Ona", "last_name": "Petraitė", "email": "ona@example.org", "phone": "+37060000001"}
JONAS = {"first_name": "Jonas", "last_name": "Kazys", "email": "jonas@example.org", "phone": "+37060000002"}


@pytest.fixture
async def town(inlet):
    """A world with Ona as C-1."""
    world, receiver = inlet()
    receiver.receive([requested("C-1", 0, **ONA)])
    return world, receiver


@pytest.mark.parametrize("minutes", [None, 5, -5])
async def test_a_request_of_another_person_is_refused_and_stores_nothing(town, minutes):
    world, receiver = town
    (receipt,) = receiver.receive([requested("C-1", minutes, purpose="renewal", **JONAS)]).receipts
    assert (receipt.outcome, receipt.reason) == (Outcome.REFUSED, ANOTHER)
    assert (len(world.rows(Job)), len(world.rows(Inbox))) == (1, 1)
    assert person(world, "C-1").email == "ona@example.org"


@pytest.mark.parametrize("agrees", [["email"], ["phone"], ["first_name", "last_name"]])
async def test_a_request_that_agrees_in_one_thing_is_taken(town, agrees):
    world, receiver = town
    data = JONAS | {name: ONA[name].upper() for name in agrees}
    assert outcomes(receiver.receive([requested("C-1", 5, **data)])) == ["taken"]
    assert person(world, "C-1").phone == data["phone"]


@pytest.mark.both_databases
async def test_the_person_of_a_list_is_compared_too_and_a_changed_address_alone_is_taken(inlet):
    world, receiver = inlet()
    world.add(customer("C-1"))
    world.add(customer("C-2"))
    receipts = receiver.receive([requested("C-1", **JONAS), requested("C-2", email="new@example.org")])
    assert outcomes(receipts) == ["refused", "taken"]


async def test_an_update_that_leaves_nothing_of_the_person_is_refused(town):
    world, receiver = town
    (receipt,) = receiver.receive([updated("C-1", 5, **JONAS)]).receipts
    assert (receipt.outcome, receipt.reason) == (Outcome.REFUSED, ANOTHER)
    assert person(world, "C-1").first_name == "Ona"


@pytest.mark.parametrize("left", [["email"], ["phone"], ["first_name", "last_name"]])
async def test_an_update_that_leaves_one_thing_is_taken(town, left):
    _, receiver = town
    columns = {name: value for name, value in JONAS.items() if name not in left}
    assert outcomes(receiver.receive([updated("C-1", 5, **columns)])) == ["taken"]


async def test_a_sender_who_does_not_reach_the_customer_is_told_nothing_of_the_person(town):
    _, receiver = town
    other = EventSender("other", frozenset(EventKind))
    events = [replace(one, sender=other) for one in (requested("C-1", 5, **JONAS), updated("C-1", 6, **JONAS))]
    receipts = receiver.receive(events).receipts
    assert [receipt.reason for receipt in receipts] == [NOT_ITS_CUSTOMER, ""]
