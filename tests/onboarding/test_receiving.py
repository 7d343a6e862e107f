"""Events come in: each is taken once, and becomes what docs/events.md says."""

from dataclasses import replace

import pytest

from worker.events import Outcome
from worker.models import Batch, Inbox, Job
from worker.receiving import Receiver
from worker.store.jobs import EVENT

from .events import at, requested


@pytest.fixture
def inlet(make_on_both):
    """A world, and what takes its events."""

    def prepare(**how):
        world = make_on_both(**how)
        return world, Receiver(world.parts)

    return prepare


def outcomes(received):
    return [receipt.outcome.value for receipt in received.receipts]


async def test_a_request_becomes_a_job_of_the_days_batch_that_goes_first(inlet):
    world, receiver = inlet()
    received = receiver.receive([requested("C-1"), requested("C-2")])
    assert outcomes(received) == ["taken", "taken"]
    assert received.due == {("issue", "kyc")}
    batch = world.row(Batch)
    assert batch.name == f"events-{world.clock():%Y-%m-%d}"
    assert batch.imported_at == world.clock()
    rows = world.rows(Job)
    assert [(row.batch_id, row.row, row.customer_id, row.priority) for row in rows] == [
        (batch.id, 1, "C-1", EVENT),
        (batch.id, 2, "C-2", EVENT),
    ]
    assert [receipt.job_id for receipt in received.receipts] == [row.id for row in rows]
    assert {row.id for row in world.rows(Inbox)} == {receipt.id for receipt in received.receipts}
    await world.work()
    assert world.states() == {"invited": 2}


async def test_an_event_that_comes_again_is_a_duplicate_with_the_same_address(inlet):
    world, receiver = inlet()
    one = requested("C-1")
    first, again = receiver.receive([one, one]).receipts
    (later,) = receiver.receive([replace(one, data=dict(reversed(one.data.items())))]).receipts
    assert first.outcome is Outcome.TAKEN
    assert again == later
    assert (again.outcome, again.id, again.job_id) == (Outcome.DUPLICATE, first.id, first.job_id)
    assert len(world.rows(Job)) == 1


@pytest.mark.parametrize("change", [{"data": {"customer_id": "C-2", "email": "b@example.org"}}, {"occurred_at": at(1)}])
async def test_the_same_id_with_other_content_is_refused(inlet, change):
    world, receiver = inlet()
    one = requested("C-1")
    receiver.receive([one])
    (other,) = receiver.receive([replace(one, **change)]).receipts
    assert other.outcome is Outcome.REFUSED
    assert "source and id" in other.reason
    assert len(world.rows(Job)) == 1
