"""Which processes run, and which one of them sweeps when no wake-up comes."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import ProcessRow
from onboarding_worker.reporting.store.processes import FULL, GONE_AFTER, REMOVED_AFTER, Processes, Running

LATE = timedelta(seconds=10)


@pytest.fixture
def processes(shelf):
    return Processes(shelf.database)


@pytest.fixture
def up(shelf):
    return Running("up", "host", 7, "0.1.0", None, shelf.clock(), shelf.clock())


def test_a_process_counts_while_it_says_that_it_runs_and_until_its_end(shelf, processes, up):
    processes.started("a", up)
    processes.started("b", up._replace(kind="run", batch_id=4))
    shelf.clock.advance(seconds=15)
    assert processes.seen("a", now=shelf.clock())
    shelf.clock.advance(seconds=15)  # b was killed
    now = shelf.clock()
    assert processes.running(now=now) == [up._replace(seen_at=now - timedelta(seconds=15))]
    processes.ended("a")
    assert processes.running(now=now) == []
    assert not processes.seen("a", now=now)


def test_a_killed_process_is_removed_by_one_that_starts_later(shelf, processes, up):
    processes.started("killed", up)
    later = shelf.clock.advance(seconds=(GONE_AFTER + REMOVED_AFTER).total_seconds())
    processes.started("new", up._replace(started_at=later, seen_at=later))
    assert [row.id for row in shelf.rows(ProcessRow)] == ["new"]


@pytest.mark.both_databases
def test_one_process_sweeps_when_the_last_sweep_is_old_and_none_while_wake_ups_come(shelf, processes):
    def claims() -> list[bool]:
        return [processes.claim_sweep(older_than=LATE, now=shelf.clock()) for _ in range(3)]

    assert claims() == [True, False, False]
    shelf.clock.advance(seconds=9)
    assert claims() == [False, False, False]
    shelf.clock.advance(seconds=1)
    processes.note_wake_up(now=shelf.clock())
    assert claims() == [False, False, False]
    assert processes.last() == {"sweep": shelf.clock(), "beat": shelf.clock()}
    shelf.clock.advance(seconds=10)
    assert claims() == [True, False, False]
    assert processes.last()["beat"] < processes.last()["sweep"]


@pytest.mark.postgresql_alone
def test_that_the_server_refuses_a_write_for_a_full_disk_is_noted_in_a_row_that_needs_no_space(shelf, processes):
    processes.note_full_disk(now=shelf.clock())
    assert FULL not in processes.last()
    refused = "DO $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
    with pytest.raises(sa.exc.OperationalError), shelf.database.write() as connection:
        connection.exec_driver_sql(refused)
    processes.note_full_disk(now=shelf.clock())
    assert processes.last()[FULL] == shelf.clock()
