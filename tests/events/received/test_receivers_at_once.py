"""Several consumers take events at the same moment: each is taken once; a customer's events come to one end."""

import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Batch, CustomerRow, Job
from onboarding_worker.core.model.incoming import EventKind, EventSender, Outcome
from onboarding_worker.core.model.states import JobState
from tests.simulated.events import cancelled, erased, requested, updated
from tests.simulated.world import World, customer
from tests.suite.waiting import ENDS_WITHIN

WAITS = sa.text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")


@pytest.fixture
def world(empty_postgresql_url, tmp_path, clock):
    with World(empty_postgresql_url, tmp_path, clock) as made:
        yield made


@contextmanager
def while_uncommitted(world, *first):
    """Events that another consumer has taken and not committed yet; it commits at the end."""
    with world.parts.database.engine.connect() as connection:
        world.receiver().receive_within(connection, list(first))
        yield
        connection.commit()


def wait_until_it_waits(world, other: Future) -> None:
    deadline = time.monotonic() + ENDS_WITHIN
    while not other.done() and time.monotonic() < deadline:
        with world.parts.database.read() as connection:
            if connection.execute(WAITS).scalar_one():
                return


def in_parallel(world, first, second):
    """The receipt of the second event, which comes in while the first is not committed yet."""
    with ThreadPoolExecutor(1) as thread:
        with while_uncommitted(world, first):
            other = thread.submit(world.receiver().receive, [second])
            wait_until_it_waits(world, other)
        return other.result().receipts[0]


async def test_of_two_consumers_with_one_event_the_second_sees_the_firsts_receipt(world):
    one = requested("C-1")
    receipt = in_parallel(world, one, one)
    assert (receipt.outcome, receipt.job_id) == (Outcome.DUPLICATE, world.job("C-1").id)


@pytest.mark.parametrize("known", [False, True])
async def test_a_request_in_parallel_with_its_later_cancellation_is_ignored(world, known):
    if known:
        world.receiver().receive([requested("C-1", 0, purpose="loan")])
    receipt = in_parallel(world, cancelled("C-1", 10), requested("C-1", 5))
    assert receipt.outcome is Outcome.IGNORED
    assert world.rows(Job, purpose="onboarding") == []


async def test_a_cancellation_in_parallel_with_the_first_request_of_its_customer_ends_its_job(world):
    receipt = in_parallel(world, requested("C-1", 5), cancelled("C-1", 10))
    assert receipt.job_id == world.job("C-1").id
    assert world.job("C-1").state is JobState.CANCELLED


async def test_a_request_in_parallel_with_another_joins_its_job(world):
    in_parallel(world, requested("C-1", 5), requested("C-1", 10))
    first, second = world.rows(Job)
    assert (first.leader_id, second.leader_id) == (None, first.id)
    assert len(world.rows(Batch)) == 1


@pytest.mark.parametrize("first", ["the erasure", "the request"])
async def test_an_erasure_in_parallel_with_an_earlier_first_request_leaves_nothing_personal(world, first):
    events = [erased("C-1", 10), requested("C-1", 5)]
    in_parallel(world, *(events if first == "the erasure" else reversed(events)))
    assert [row for row in world.rows(CustomerRow) if row.encrypted or row.details_at != events[0].occurred_at] == []
    assert {job.state for job in world.rows(Job)} <= {JobState.CANCELLED}


@pytest.mark.parametrize("first", ["the erasure", "the request"])
async def test_an_erasure_in_parallel_with_a_later_first_request_spares_it(world, first):
    events = [erased("C-1", 5), requested("C-1", 10)]
    in_parallel(world, *(events if first == "the erasure" else reversed(events)))
    assert world.row(CustomerRow).encrypted is not None
    assert world.job("C-1").state is JobState.WAITING


@pytest.mark.parametrize("first", ["the update", "the request"])
async def test_an_update_in_parallel_with_an_earlier_first_request_is_what_is_known(world, first):
    events = [updated("C-1", 10, locale="de"), requested("C-1", 5)]
    in_parallel(world, *(events if first == "the update" else reversed(events)))
    row = world.row(CustomerRow)
    assert (row.locale, row.country) == ("de", "LT")


async def test_a_list_in_parallel_with_a_request_that_came_after_its_customers_erasure_keeps_the_customer(world):
    """The row that stands for the customer of the event goes while the list waits for it."""
    own = EventSender("signup", frozenset(EventKind))  # its erasure of somebody unknown keeps no list out
    world.receiver().receive([replace(erased("C-1", 20), sender=own)])
    with ThreadPoolExecutor(1) as thread:
        with while_uncommitted(world, requested("C-1", 10, of={"sender": own})):
            other = thread.submit(world.add, customer("C-1"))
            wait_until_it_waits(world, other)
        other.result()
    assert world.row(CustomerRow).encrypted is not None
    assert world.job("C-1").state is JobState.WAITING


async def test_who_signs_up_twice_in_one_lot_is_served_once(world):
    world.receiver().receive([requested("C-1", 5), requested("C-1", 10), updated("C-1", 15, locale="de")])
    first, second = world.rows(Job)
    assert second.leader_id == first.id
    assert world.row(CustomerRow).locale == "de"


async def test_what_a_host_takes_back_of_a_first_request_leaves_nothing(world):
    one = requested("C-1")
    with world.parts.database.engine.connect() as connection:
        world.receiver().receive_within(connection, [one])
        connection.rollback()
    assert world.rows(CustomerRow) == world.rows(Job) == []
    (receipt,) = world.receiver().receive([one]).receipts
    assert receipt.outcome is Outcome.TAKEN


async def test_an_update_in_parallel_with_a_later_one_writes_over_nothing_that_is_newer(world):
    receiver = world.receiver()
    receiver.receive([requested("C-1", 0)])
    in_parallel(world, updated("C-1", 10, locale="de"), updated("C-1", 5, locale="fr", country="DE"))
    row = world.row(CustomerRow)
    assert (row.locale, row.country) == ("de", "DE")


async def test_many_consumers_with_the_same_events_make_one_job_of_each(world):
    receiver = world.receiver()
    events = [requested(f"C-{number}", of={"id": f"same-{number}"}) for number in range(40)]

    def consume(order):
        return {event.id: receipt for event, receipt in zip(order, receiver.receive(order).receipts, strict=True)}

    with ThreadPoolExecutor(4) as threads:
        received = list(
            threads.map(consume, [events, events[::-1], events[20:] + events[:20], events[::-2] + events[::2]])
        )
    assert len(world.rows(Job)) == 40
    assert sorted(row.row for row in world.rows(Job)) == list(range(1, 41))
    for one in events:
        receipts = [consumer[one.id] for consumer in received]
        assert Counter(receipt.outcome for receipt in receipts) == {Outcome.TAKEN: 1, Outcome.DUPLICATE: 3}
        assert len({(receipt.id, receipt.job_id) for receipt in receipts}) == 1


async def test_a_list_in_parallel_with_an_event_serves_the_customer_once(world):
    with ThreadPoolExecutor(1) as thread:
        with while_uncommitted(world, requested("C-1")):
            other = thread.submit(world.add, customer("C-1"))
            wait_until_it_waits(world, other)
        other.result()
    first, second = world.rows(Job)
    assert second.leader_id == first.id


async def test_of_two_requests_at_once_that_give_one_id_to_two_people_the_second_is_refused(world):
    ona = requested("C-1", first_name="Ona", last_name="Petraitė", email="ona@example.org")
    jonas = requested("C-1", first_name="Jonas", last_name="Kazys", email="jonas@example.org")
    assert in_parallel(world, ona, jonas).outcome is Outcome.REFUSED
    assert len(world.rows(Job)) == 1
