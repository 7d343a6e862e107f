"""A loop's blocking calls to the store: on the loop or in threads, and never too many for one budget.

In real time: what is tested is that work waits for PostgreSQL and the loop goes on.
"""

import asyncio
import threading

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.fast import Twin
from onboarding_worker.wiring.runner import CALLS_OF_A_BUDGET, StoreCalls
from tests.suite.twins import only_fast


@pytest.fixture
def database(empty_postgresql_url):
    opened = Database(empty_postgresql_url)
    yield opened
    opened.close()


@pytest.mark.parametrize("on_the_loop", [0, 5], ids=["in threads", "on the loop"])
def test_calls_that_wait_for_one_budget_leave_room_for_those_of_another(database, on_the_loop):
    waiting = []

    def for_kyc():
        waiting.append(1)
        with database.read() as connection:
            connection.execute(sa.text("SELECT pg_sleep(0.3)"))
        waiting.remove(1)
        return len(waiting)

    async def look():
        calls = StoreCalls(["kyc", "au"], threads=5, on_the_loop=on_the_loop)
        of_kyc = [asyncio.ensure_future(calls.in_turn("kyc", for_kyc)) for _ in range(2 * CALLS_OF_A_BUDGET)]
        await asyncio.sleep(0.1)
        assert await calls.in_turn("au", lambda: len(waiting)) == CALLS_OF_A_BUDGET
        assert max(await asyncio.gather(*of_kyc)) < CALLS_OF_A_BUDGET
        calls.close()

    asyncio.run(look())


@pytest.mark.parametrize("on_the_loop", [0, 5], ids=["in threads", "on the loop"])
@only_fast(Twin.ON_LOOP)
def test_a_dispatchers_calls_run_where_they_should_and_long_work_in_a_thread(on_the_loop):
    async def look():
        calls = StoreCalls(["kyc"], threads=1, on_the_loop=on_the_loop)
        here = threading.current_thread()
        assert (await calls.in_turn("kyc", threading.current_thread) is here) is bool(on_the_loop)
        assert await calls.in_thread(threading.current_thread) is not here
        calls.close()

    asyncio.run(look())
