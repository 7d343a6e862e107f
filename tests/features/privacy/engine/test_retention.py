"""Retention removes what was kept long enough: a chunk in each step, and rests when there is nothing more."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import AuditHead, Batch, CustomerRow, Job, SessionRow
from onboarding_worker.core.model.states import JobState
from onboarding_worker.features.privacy import retention as retention_module
from onboarding_worker.features.privacy.retention import LOOK_EVERY, Retention
from onboarding_worker.features.privacy.store.removals import CHUNK, Purging
from onboarding_worker.lists.store.added_lines import all_added
from onboarding_worker.runtime.batch_run import OneBatch
from onboarding_worker.runtime.embedded import Embedded
from tests.features.privacy.engine.test_inbox_retention import let_go
from tests.simulated.virtual_time import START
from tests.simulated.world import customer


@pytest.fixture
def ended(make, clock):
    """A world in which a list's customers have finished. `batches`: its retention."""

    def prepare(count=3, more="", name="C"):
        world = make(more=more)
        batch = world.add_many(count, name)
        all_added(world.parts.batches, batch, now=clock())
        world.set(Job, state=JobState.COMPLETED, due_at=None)
        return world, batch

    return prepare


BATCHES = '[retention]\nbatches = "120 days"'


def kept(world):
    return sum(row.encrypted is not None for row in world.rows(CustomerRow))


async def test_personal_data_is_erased_after_its_time_and_batches_stay_unless_configured_otherwise(ended, clock):
    world, _ = ended()
    retention = Retention(world.parts)
    clock.advance(days=89)
    retention.step()
    assert kept(world) == 3
    clock.advance(days=2)
    retention.step()
    assert kept(world) == 0
    clock.advance(days=4000)
    for _ in range(4):
        retention.step()
    assert len(world.rows(Job)) == 3


async def test_links_are_dropped_a_day_after_they_have_expired(make, clock):
    world = make()
    world.add_many(2)
    await world.work()
    (expires_at,) = {row.expires_at for row in world.rows(SessionRow)}
    retention = Retention(world.parts)

    def links():
        return sum(row.encrypted != ERASED for row in world.rows(SessionRow))

    clock.advance(seconds=(expires_at - clock()).total_seconds() + 23 * 3600)
    retention.step()
    assert links() == 2
    clock.advance(seconds=2 * 3600)
    retention.step()
    assert (links(), kept(world)) == (0, 2)


async def test_a_batch_is_purged_after_its_time(ended, clock):
    world, batch = ended(more=BATCHES)
    clock.advance(days=121)
    let_go(world)
    assert world.rows(Job) == []
    assert world.row(Batch, id=batch).purged_at == clock()
    assert world.parts.facts.counts(batch).jobs == {JobState.COMPLETED: 3}


async def test_a_batch_that_is_not_over_does_not_delay_the_next_one(ended, clock):
    world, first = ended(more=BATCHES)
    world.set(Job, state=JobState.HELD)
    second = world.add_many(2, "D")
    all_added(world.parts.batches, second, now=clock())
    world.set(Job, Job.batch_id == second, state=JobState.COMPLETED)
    clock.advance(days=121)
    let_go(world)
    assert {row.batch_id for row in world.rows(Job)} == {first}


async def test_a_step_is_one_chunk_and_the_next_look_is_later(ended, clock):
    world, _ = ended(CHUNK + 3)
    clock.advance(days=91)
    retention = Retention(world.parts)
    left = []
    for _ in range(4):
        retention.step()
        left.append(kept(world))
    assert left == [3, 0, 0, 0]
    world.set(CustomerRow, encrypted=b"\x01")
    world.set(CustomerRow, changed_at=clock() - timedelta(days=91))
    retention.step()
    assert kept(world) == CHUNK + 3
    clock.advance(seconds=LOOK_EVERY.total_seconds())
    retention.step()
    assert kept(world) == 3


async def test_a_batch_with_a_row_that_was_put_back_does_not_delay_the_next_one(ended, clock):
    world, first = ended(count=1)
    second = world.add_many(1, "D")
    world.set(Job, Job.batch_id == second, state=JobState.COMPLETED, due_at=None)
    for batch in (first, second):
        Purging(world.parts.database).begin(batch, world.parts.facts.counts(batch), now=clock())
    world.set(Job, Job.batch_id == first, state=JobState.WAITING, due_at=clock())
    Retention(world.parts).step()
    assert [row.batch_id for row in world.rows(Job)] == [first]


async def test_a_purge_that_was_cut_off_continues_though_batches_are_kept(ended, clock):
    world, batch = ended(CHUNK + 3)
    Purging(world.parts.database).begin(batch, world.parts.facts.counts(batch), now=clock())
    Purging(world.parts.database).chunk(batch, now=clock())
    let_go(world)
    assert world.rows(Job) == []


async def test_webhooks_have_their_turn_while_erasing_walks_through_millions(ended, monkeypatch):
    world, _ = ended()

    removed = []

    class Old:
        def remove(self, **_how):
            removed.append("webhooks")
            return 0

    world.parts.webhook_list = Old()
    monkeypatch.setattr(retention_module, "erase_next", lambda *_, **__: (0, (START, "C")))
    let_go(world)
    assert removed


async def test_a_database_failure_does_not_end_the_sweep(ended, clock):
    world, _ = ended()
    clock.advance(days=91)
    retention = Retention(world.parts)
    with world.parts.database.write() as connection:
        connection.execute(sa.text("ALTER TABLE customer RENAME TO elsewhere"))
    try:
        retention.step()
    finally:
        with world.parts.database.write() as connection:
            connection.execute(sa.text("ALTER TABLE elsewhere RENAME TO customer"))
    clock.advance(seconds=LOOK_EVERY.total_seconds())
    retention.step()
    assert kept(world) == 0


async def test_it_rests_where_the_head_of_the_audit_log_was_removed(ended, clock):
    world, _ = ended(more='[retention]\naudit = "90 days"')
    with world.parts.database.write() as connection:
        connection.execute(sa.delete(AuditHead))
    clock.advance(days=91)
    retention = Retention(world.parts)
    for _ in range(8):
        retention.step()
    assert kept(world) == 0
    world.set(CustomerRow, encrypted=b"\x01", changed_at=clock() - timedelta(days=91))
    for _ in range(8):
        retention.step()
    assert kept(world) == 3


async def test_a_run_erases_customers_that_are_over(ended, clock):
    world, _ = ended()
    clock.advance(days=91)
    batch = world.add(customer("Ona"))
    world.set(Job, Job.batch_id == batch, state=JobState.CANCELLED)
    await OneBatch(
        Embedded(world.parts),
        batch,
        alone=False,
        is_done=lambda counts: True,
        patience=timedelta(),
        show=lambda counts, waits_for: None,
    ).work()
    assert kept(world) == 1
