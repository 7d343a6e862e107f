"""What the forecast says, and what the batch then takes, in virtual time: within a quarter."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.database.tables import Batch, Job
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.plans.store import plans
from onboarding_worker.plans.store.plans import Plan
from onboarding_worker.reporting import batch_forecast
from onboarding_worker.reporting.store.processes import Running
from onboarding_worker.wiring.container import Parts
from tests.simulated.world import customer


def apart(parts: Parts, batch: int) -> list[str]:
    return parts.reporting.status(parts.batches.find(str(batch)))["forecast"].get("apart", [])


class Relay(FakeSender):
    """Takes so long for a message."""

    seconds = 0.05

    async def send(self, message, may_write=None):
        await asyncio.sleep(self.seconds)
        return await super().send(message, may_write)


def finishes_at(parts: Parts, batch: int) -> tuple[datetime, str]:
    found = parts.reporting.status(parts.batches.find(str(batch)))["forecast"]
    assert found["assumed"] is False
    return datetime.fromisoformat(found["finishes_at"]), found["limited_by"]


CASES = {  # rows, settings, seconds of a call, what limits the pace
    "the account's limit": (120, {"limits": ["20/second"]}, 0.1, "kyc: the limit of 20/second"),
    "the sender's limit": (
        60,
        {"limits": ["20/second"], "sender": 'limits = ["10/second"]'},
        0.1,
        "email: the limit of 10/second",
    ),
    "slow calls": (100, {"limits": ["20/second"], "concurrency": 2}, 0.5, "kyc: the pace of the last calls, "),
    "a slow relay": (240, {"limits": ["200/second"]}, 0.4, "email: the pace of the last calls, "),
}


@pytest.mark.parametrize("case", CASES)
async def test_a_forecast_is_within_a_quarter_of_the_time_that_it_takes(make, case):
    rows, settings, seconds, limited_by = CASES[case]

    async def answer(_request):
        await asyncio.sleep(0.1 if case == "a slow relay" else seconds)
        return world.session()

    relay = Relay()
    relay.seconds = seconds if case == "a slow relay" else 0.05
    world = make(answer, senders={"email": relay, "sms": FakeSender()}, **settings)
    batch = world.add_many(rows)
    known_before = "pace" not in limited_by
    began_at = world.clock()
    first = finishes_at(world.parts, batch)
    await world.live(lambda: len(relay.messages) >= rows / 2)
    left_at, then = world.clock(), finishes_at(world.parts, batch)
    await world.live(lambda: len(relay.messages) == rows)
    ended_at = world.clock()
    assert then[1].startswith(limited_by)
    assert abs(then[0] - ended_at) <= (ended_at - left_at) / 4
    if known_before:
        assert first[1] == limited_by
        assert abs(first[0] - ended_at) <= (ended_at - began_at) / 4


def work_all(world: Any, *, batch: int | None = None) -> None:
    now = world.clock()
    world.parts.processes.started("w", Running("worker" if batch is None else "run", "host", 1, "0", batch, now, now))


async def test_a_batch_ends_after_the_rows_of_the_batches_before_it(make):
    world = make(limits=["20/second"], sender='limits = ["50/second"]')
    before, batch = world.add_many(60, "A"), world.add_many(20, "B")
    work_all(world)
    began_at = world.clock()
    at, why = finishes_at(world.parts, batch)
    assert why == "kyc: the limit of 20/second; 60 of other batches go first"
    assert finishes_at(world.parts, before)[1] == "kyc: the limit of 20/second"
    await world.live(lambda: world.parts.facts.counts(batch).out == 20)
    assert abs(at - world.clock()) <= (world.clock() - began_at) / 4


@pytest.mark.both_databases
async def test_a_batch_waits_for_no_other_that_is_paused_or_timed_or_that_no_process_works(make):
    world = make(limits=["20/second"])
    paused = world.add_many(100, "A")
    timed = world.add_many(100, "D")
    with world.parts.database.write() as connection:
        plans.add(connection, timed, Plan(per_hour=10))
    batch = world.add_many(40, "B")
    world.parts.decisions.pause(paused, by="tester", now=world.clock())
    alone = "kyc: the limit of 20/second"
    work_all(world)
    assert finishes_at(world.parts, batch)[1] == alone
    world.parts.decisions.resume(paused, now=world.clock())
    assert finishes_at(world.parts, batch)[1] == f"{alone}; 100 of other batches go first"
    work_all(world, batch=batch)
    assert finishes_at(world.parts, batch)[1] == alone


@pytest.mark.both_databases
async def test_rows_that_wait_for_a_later_hour_go_first_once_it_has_come(make):
    world = make(limits=["20/second"])
    before, batch = world.add_many(100, "A"), world.add_many(40, "B")
    work_all(world)
    alone = "kyc: the limit of 20/second"
    for hours, said in ((1, alone), (0, f"{alone}; 100 of other batches go first")):
        due_at = world.clock() + timedelta(hours=hours)
        world.set(Job, Job.batch_id == before, reason=Reason.QUIET_HOURS, due_at=due_at)
        await asyncio.sleep(2)
        work_all(world)
        assert finishes_at(world.parts, batch)[1] == said


@pytest.mark.both_databases
async def test_rows_of_a_later_hour_go_before_a_list_that_waits_as_long(make):
    world = make(more="credits = 120")
    before, batch = world.add_many(100, "A"), world.add_many(40, "B")
    work_all(world)
    due_at, said = world.clock() + timedelta(hours=1), []
    world.set(Job, Job.batch_id == before, reason=Reason.QUIET_HOURS, due_at=due_at)
    for hours in (0, 1, 2):
        until = world.clock() + timedelta(hours=hours)
        said.append(world.parts.reporting.ahead(None, None, {"kyc": 40}, until=until))
    assert said == [{"kyc": rows, "email": rows} for rows in (40, 140, 140)]
    assert world.parts.reporting.status(world.parts.batches.find(str(batch)))["forecast"]["finishes_at"] is not None
    world.set(Job, Job.batch_id == batch, reason=Reason.QUIET_HOURS, due_at=due_at)
    ends = world.parts.reporting.status(world.parts.batches.find(str(batch)))["forecast"]
    assert ends["limited_by"] == "kyc has 120 credits left for 140 calls; 100 of other batches go first"


async def test_a_pace_is_forecast_the_same_before_and_after_its_first_session_and_message(make):
    world = make(limits=["20/second"])
    batch = world.add_many(30)
    with world.parts.database.write() as connection:
        plans.add(connection, batch, Plan(per_hour=10))
        connection.execute(sa.update(Batch).where(Batch.id == batch).values(planned=True))
    ends = [finishes_at(world.parts, batch)[0]]
    for step in (world.issue, world.work):
        await step()
        ends.append(finishes_at(world.parts, batch)[0])
    assert world.parts.facts.counts(batch).out == 1
    assert max(ends) - min(ends) < timedelta(minutes=1)


async def test_the_order_of_batches_is_that_in_which_their_rows_are_due_and_events_go_first(make):
    world = make(limits=["20/second"])
    started = world.add_many(100, "A")
    with world.parts.database.write() as connection:
        plans.add(connection, started, Plan(start_at=world.clock() + timedelta(minutes=1)))
        connection.execute(sa.update(Batch).where(Batch.id == started).values(planned=True))
    batch = world.add_many(40, "B")
    events = world.add_many(10, "C")
    with world.parts.database.write() as connection:
        connection.execute(sa.update(Batch).where(Batch.id == events).values(last_row=11))
    await asyncio.sleep(120)
    work_all(world)
    alone = "kyc: the limit of 20/second"
    assert finishes_at(world.parts, events)[1] == f"{alone}; 4 of other batches go first"  # the share of the lists
    assert finishes_at(world.parts, batch)[1] == f"{alone}; 10 of other batches go first"
    assert finishes_at(world.parts, started)[1] == f"{alone}; 50 of other batches go first"


async def test_of_many_batches_what_goes_before_them_is_read_once_and_again_after_a_second(make, monkeypatch):
    world = make(limits=["20/second"])
    batches = [world.add_many(3, prefix) for prefix in "ABCDE"]
    work_all(world)
    reads, read = [], batch_forecast.queue
    monkeypatch.setattr(batch_forecast, "queue", lambda *of, **how: reads.append(how) or read(*of, **how))
    reporting = world.parts.reporting
    for batch in batches:
        reporting.status(world.parts.batches.find(str(batch)))
    assert len(reads) == 1
    world.add_many(3, "F")
    await asyncio.sleep(1.5)
    last = reporting.status(world.parts.batches.find(str(world.add_many(3, "G"))))
    assert last["forecast"]["limited_by"] == "kyc: the limit of 20/second; 18 of other batches go first"


WAITS = {
    Reason.ORPHAN: "1 row waits for the end of a session",
    Reason.SESSION_ENDS_FIRST: "1 row waits for the end of a session",
    Reason.STALE_LINK: "1 row waits for the end of a session",
    Reason.UNKNOWN: "1 row waits for the look-up of a call whose answer was lost",
}


@pytest.mark.parametrize("reason", WAITS)
async def test_the_rest_of_a_batch_has_its_own_time_and_rows_that_wait_for_an_end_are_named_apart(make, reason):
    world = make(limits=["20/second"])
    batch = world.add_many(3)
    world.set(Job, Job.customer_id == "C001", reason=reason, due_at=world.clock() + timedelta(days=6))
    ends = world.job("C001").due_at
    at, why = finishes_at(world.parts, batch)
    assert at - world.clock() < timedelta(minutes=1)
    assert why == "kyc: the limit of 20/second"
    assert apart(world.parts, batch) == [f"{WAITS[reason]}, until {written(ends)}"]


async def test_while_a_list_is_imported_its_time_is_that_of_the_rows_that_are_in(make):
    world = make(limits=["20/second"])
    batch = world.add_many(3)
    world.set(Batch, Batch.id == batch, imported_at=None)
    assert apart(world.parts, batch) == ["the rows that its import has not brought yet"]


@pytest.mark.both_databases
async def test_rows_and_messages_that_an_address_has_no_place_for_are_named_apart(make):
    world = make(limits=["20/second"])
    batch = world.add_many(3)
    await world.work()
    later = world.clock() + timedelta(days=6)
    world.set(Job, Job.customer_id == "C001", state="waiting", reason=Reason.ADDRESS_SPENT, due_at=later)
    world.set(Job, Job.customer_id == "C002", state="waiting", due_at=world.clock())
    at, _ = finishes_at(world.parts, batch)
    assert at - world.clock() < timedelta(minutes=1)
    assert apart(world.parts, batch) == [f"1 row waits for messages_per_address, until {written(later)}"]
    world.set(Job, Job.customer_id == "C000", state="waiting", reason=Reason.ADDRESS_SPENT, due_at=later)
    said = f"2 rows wait for messages_per_address, the last is looked at again {written(later)}"
    assert apart(world.parts, batch) == [said]


@pytest.mark.both_databases
async def test_a_batch_is_not_done_before_the_ends_that_all_its_rows_wait_for(make):
    world = make(limits=["20/second"])
    batch = world.add_many(3)
    ends = world.clock() + timedelta(days=6)
    world.set(Job, Job.batch_id == batch, reason=Reason.SESSION_ENDS_FIRST, due_at=ends)
    at, why = finishes_at(world.parts, batch)
    assert abs(at - ends) < timedelta(seconds=1)
    assert why.startswith("3 rows wait for the ends of sessions, the last until ")
    assert apart(world.parts, batch) == []


async def test_rows_that_another_list_serves_are_named_apart(make):
    world = make(limits=["20/second"])
    world.add(customer("Ona"))
    world.set(Job, Job.customer_id == "Ona", reason=Reason.ORPHAN, due_at=world.clock() + timedelta(days=6))
    batch = world.add(customer("Ona"), customer("Jonas"))
    at, _ = finishes_at(world.parts, batch)
    assert at - world.clock() < timedelta(minutes=1)
    (words,) = apart(world.parts, batch)
    assert words.startswith("1 row waits for the row of another list, until ")


async def test_rows_that_a_paused_list_serves_have_no_end_and_the_resume_is_named(make):
    world = make(limits=["20/second"])
    paused = world.add(customer("Ona"), customer("Ada"))
    world.parts.decisions.pause(paused, by="tester", now=world.clock())
    batch = world.add(customer("Ona"), customer("Ada"))

    def ends() -> dict[str, Any]:
        return world.parts.reporting.status(world.parts.batches.find(str(batch)))["forecast"]

    words = f"batch {paused}, which is paused: `onboard resume {paused}` goes on with it"
    assert ends() == {"finishes_at": None, "limited_by": f"2 rows wait for the rows of {words}", "assumed": False}

    both = world.add(customer("Ona"), customer("Jonas"))
    at, why = finishes_at(world.parts, both)
    assert at - world.clock() < timedelta(minutes=1)
    assert why == "kyc: the limit of 20/second"
    assert apart(world.parts, both) == [f"1 row waits for the row of {words}"]

    world.parts.decisions.resume(paused, now=world.clock())
    assert ends()["finishes_at"] is not None
