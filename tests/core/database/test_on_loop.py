"""Blocking code of the store on an event loop: the loop goes on while it waits for PostgreSQL."""

import asyncio
import threading

import pytest
import sqlalchemy as sa
from psycopg.pq import PipelineStatus

from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.core.database.fast.on_loop import is_on_loop, on_loop, pause
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.postgresql_engine import BoundedConnection
from onboarding_worker.core.database.tables import Budget
from tests.suite.twins import only_fast
from tests.suite.waiting import ENDS_WITHIN


@pytest.fixture
def database(empty_postgresql_url):
    opened = Database(empty_postgresql_url, connections=2)
    Budgets(opened).ensure(["kyc", "au"])
    yield opened
    opened.close()


def names(database):
    with database.read() as connection:
        return set(connection.execute(sa.select(Budget.name)).scalars())


async def steps_during(awaited, *, every=0.005):
    """How often another task of the loop had its turn until this one ended."""
    steps, task = 0, asyncio.ensure_future(awaited)
    while not task.done():
        await asyncio.sleep(every)
        steps += 1
    await task
    return steps


async def test_the_loop_goes_on_while_a_statement_is_answered(database):
    def slow():
        with database.read() as connection:
            connection.execute(sa.text("SELECT pg_sleep(0.3)"))

    assert await steps_during(on_loop(slow)) > 10


async def test_the_work_runs_in_the_loops_own_thread_and_knows_it(database):
    seen = []

    def work():
        with database.read() as connection:
            connection.execute(sa.text("SELECT 1"))
            seen.append((threading.current_thread(), is_on_loop()))

    await on_loop(work)
    assert seen == [(threading.current_thread(), True)]
    assert not is_on_loop()


async def test_waiting_for_a_connection_of_the_pool_stops_nobody(database):
    def slow():
        with database.read() as connection:
            connection.execute(sa.text("SELECT pg_sleep(0.2)"))

    # Four transactions for two connections: the loop must go on, or the first two would never give theirs back.
    assert await steps_during(asyncio.gather(*(on_loop(slow) for _ in range(4)))) > 10


async def test_an_error_rolls_back_and_reaches_the_caller(database):
    def fails():
        with database.write() as connection:
            connection.execute(sa.delete(Budget))
            raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row"):
        await on_loop(fails)
    assert names(database) == {"kyc", "au"}


@only_fast(Twin.UNANSWERED)
async def test_a_transaction_waits_once_for_its_begin_and_its_first_statement(database, monkeypatch):
    together = []
    driver = BoundedConnection._wait

    def wait(connection, *waits_for):
        together.append(connection.pgconn.pipeline_status == PipelineStatus.ON)
        return driver(connection, *waits_for)

    def work():
        with database.write() as connection:
            monkeypatch.setattr(BoundedConnection, "_wait", wait)
            connection.execute(sa.delete(Budget).where(Budget.name == "au"))
            assert any(together)
            together.clear()
            connection.execute(sa.select(Budget.name)).all()
            assert not any(together)

    await on_loop(work)
    assert names(database) == {"kyc"}


async def test_an_error_of_the_first_statement_leaves_a_connection_that_works(database):
    def fails():
        with database.write() as connection:
            connection.execute(sa.text("SELECT 1 / (random() * 0)::int"))

    for _ in range(3):  # more than there are connections
        with pytest.raises(sa.exc.DataError):
            await on_loop(fails)
    assert await on_loop(names, database) == {"kyc", "au"}


async def test_cancelling_the_caller_does_not_end_a_transaction_that_has_begun(database):
    begun, written = asyncio.Event(), asyncio.Event()

    def work():
        with database.write() as connection:
            begun.set()
            connection.execute(sa.text("SELECT pg_sleep(0.1)"))
            connection.execute(sa.delete(Budget).where(Budget.name == "au"))
        written.set()

    caller = asyncio.ensure_future(on_loop(work))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    async with asyncio.timeout(ENDS_WITHIN):
        await written.wait()
    assert names(database) == {"kyc"}


async def test_of_two_transactions_in_a_deadlock_the_one_that_is_ended_is_repeated(database):
    both = asyncio.Barrier(2)
    tries = []

    def locks(first, second):
        with database.write() as connection:
            for name in (first, second):
                connection.execute(sa.select(Budget.name).where(Budget.name == name).with_for_update())
                if not tries:
                    pause(0.1)  # until the other one has its first lock too
            tries.append(first)

    def outlives(*names_):
        outlive_deadlocks(lambda: locks(*names_), pause=pause)

    async def work(*names_):
        await both.wait()
        await on_loop(outlives, *names_)

    assert await steps_during(asyncio.gather(work("kyc", "au"), work("au", "kyc"))) > 10
    assert sorted(tries) == ["au", "kyc"]
