"""One dispatcher for each account and channel on a loop, wake-ups that coalesce, and an end that is quick and loses
nothing."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_testing.fakes import HANG, FakeSender
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.job_ids import new_id
from onboarding_worker.core.database.tables import Attempt, Budget, InvitationRow, Job
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.upkeep.expired_leases import EndedLeases
from onboarding_worker.wiring.sweep import Sweep
from onboarding_worker.wiring.work import issue_work
from tests.simulated.world import LIMITED, REFUSED, customer
from tests.suite.some import some


def slow(make, seconds, **how):
    """A world in which each call takes so long."""

    async def answer(_):
        await asyncio.sleep(seconds)
        return world.session()

    world = make(answer, **how)
    return world


async def test_a_wake_up_for_an_account_that_is_being_served_returns_at_once(make):
    world = slow(make, 1)
    world.add_many(10)
    runner = world.start()
    going = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await world.http.received(10)
    began = world.clock.elapsed
    assert [await runner.serve(WakeUp.issue("kyc")) for _ in range(50)] == [False] * 50
    assert world.clock.elapsed == began
    assert runner.is_working(WakeUp.issue("kyc"))
    await going
    assert not runner.busy
    assert len(world.asked) == 10
    await runner.close()


async def test_a_wake_up_while_a_dispatcher_is_running_makes_it_look_again(make):
    world = slow(make, 0.5)
    world.add_many(1)
    runner = world.start()
    going = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await world.http.received(1)
    world.add_many(1, "D")
    await runner.serve(WakeUp.issue("kyc"))
    await going
    assert world.asked == ["C000", "D000"]
    await runner.close()


async def test_a_wake_up_for_a_dispatcher_that_has_just_ended_is_sent_again(make):
    world = make()
    sent = []
    runner = world.start(wake_others=sent.append)
    going = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await asyncio.sleep(0)
    assert runner.is_working(WakeUp.issue("kyc"))
    runner.wake(WakeUp.issue("kyc"))
    assert sent == []
    await going
    runner.wake(WakeUp.issue("kyc"))
    assert sent == [WakeUp.issue("kyc")]
    await runner.close()


async def test_where_there_is_work_for_more_workers_the_wake_up_is_handed_on(make):
    world = make()
    world.add_many(300)
    handed_on = []
    runner = world.start(wake_others=handed_on.append)
    await runner.serve(WakeUp.issue("kyc"))
    assert handed_on == [WakeUp.issue("kyc")]
    await runner.close()


async def test_wake_ups_for_names_that_are_not_configured_are_logged_once_without_the_names(make, caplog):
    world = make()
    runner = world.start()
    for name in ("quirin@example.com", "quirin.o@example.com"):
        assert await runner.serve(WakeUp.issue(name)) is False
    assert len(caplog.records) == 1
    assert "quirin" not in caplog.text
    await runner.close()


async def test_a_superfluous_wake_up_finds_nothing_and_ends(make):
    world = make()
    await world.serve(WakeUp.issue("kyc"), WakeUp.issue("au"), WakeUp.invite("email"), WakeUp.invite("sms"))
    assert world.asked == []
    assert world.clock.elapsed < 1


async def test_a_process_that_ends_names_the_dispatchers_that_it_waits_for_and_again_while_it_waits(make, caplog):
    world = slow(make, 25, more='timeout = "30 s"')
    world.add_many(2)
    runner = world.start()
    going = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await world.http.received(2)
    caplog.set_level("INFO", logger="onboarding_worker.wiring.runner")
    runner.stop()
    runner.stop()
    await going
    await runner.close()
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if "waits for" in record.msg]
    said = "ending: waits for issue:kyc (2 calls in flight)"
    assert lines == [("INFO", said), ("WARNING", said), ("WARNING", said)]


async def test_a_dispatcher_that_ends_by_time_returns_that_more_is_due(make):
    world = slow(make, 1, concurrency=1)
    world.longest = timedelta(seconds=3)
    world.add_many(20)
    runner = world.start()
    assert await runner.serve(WakeUp.issue("kyc")) is True
    assert world.clock.elapsed < 5
    assert world.states()["waiting"] == 20 - len(world.asked)
    assert await runner.serve(WakeUp.issue("kyc")) is True
    await runner.close()


async def test_a_stop_waits_for_the_calls_in_flight_and_releases_the_rest(make):
    world = slow(make, 2, concurrency=3)
    world.add_many(50)
    runner = world.start()
    going = asyncio.create_task(runner.serve(WakeUp.issue("kyc")))
    await world.http.received(3)
    runner.stop()
    await runner.close()
    assert going.done()
    assert world.clock.elapsed < 3
    assert world.states() == {"issued": 3, "waiting": 47}
    assert {row.lease_until for row in world.rows(Job)} == {None}
    assert {row.outcome for row in world.rows(Attempt)} == {"done"}


async def test_after_a_stop_no_wake_up_starts_a_dispatcher(make):
    world = make()
    world.add_many(3)
    runner = world.start()
    runner.stop()
    assert await runner.serve(WakeUp.issue("kyc")) is False
    await runner.close()
    assert world.asked == []


async def test_closing_the_runner_closes_the_senders_connections(make):
    world = make()
    await world.start().close()
    assert world.senders
    assert all(sender.closed for sender in some(world.senders.values()))


# The database cannot be used.


class Deadlock(Exception):
    """PostgreSQL's error to one of two transactions in a deadlock."""

    sqlstate = "40P01"


def refuse_results(store, times, why=None):
    """The next results of this store cannot be written."""
    record, refusals = store.record, [why or Exception("the connection was closed")] * times

    def refused(*arguments, **how):
        if refusals:
            raise sa.exc.OperationalError("UPDATE", None, refusals.pop())
        return record(*arguments, **how)

    store.record = refused


async def test_results_outlive_a_database_that_cannot_be_reached_while_they_are_written(make):
    world = make()
    refuse_results(world.parts.jobs, 2)
    world.add_many(20)
    await world.issue()
    assert world.states() == {"issued": 20}
    assert len(world.asked) == 20


async def test_a_transaction_that_met_a_deadlock_is_repeated_at_once(make):
    world = make()
    refuse_results(world.parts.jobs, 3, Deadlock())
    world.add_many(20)
    await world.issue()
    assert world.states() == {"issued": 20}
    assert world.clock.elapsed < 1


async def test_results_of_sent_messages_outlive_it_too_and_are_not_sent_again(make):
    world = make()
    refuse_results(world.parts.invitations, 2)
    world.add_many(6)
    await world.work()
    assert world.states() == {"invited": 6}
    assert len(world.senders["email"].messages) == 6


async def test_a_database_that_cannot_be_reached_at_a_claim_ends_the_dispatcher_and_nothing_is_lost(make):
    world = make()
    world.add_many(5)
    real = world.parts.jobs.flush
    world.parts.jobs.flush = lambda *_, **__: (_ for _ in ()).throw(
        sa.exc.OperationalError("SELECT", None, Exception("the connection was closed"))
    )
    with pytest.raises(sa.exc.OperationalError):
        await world.issue()
    world.parts.jobs.flush = real
    await world.work()
    assert world.states() == {"invited": 5}


# The sweep.


async def test_the_sweep_finds_what_is_due_and_may_be_worked(make):
    world = make()
    assert Sweep(world.parts).due_wake_ups() == []
    world.add_many(1)
    world.add_many(1, "D", account="au")
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("au"), WakeUp.issue("kyc")]
    await world.issue("kyc")
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("au"), WakeUp.invite("email")]


async def test_the_sweep_leaves_a_paused_account_out_until_its_time(make):
    world = make([LIMITED])
    world.add_many(1)
    await world.issue()
    world.set(Job, due_at=world.clock())
    assert Sweep(world.parts).due_wake_ups() == []
    world.clock.advance(seconds=31)
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("kyc")]


async def test_the_sweep_leaves_a_stopped_account_out(make):
    world = make([REFUSED])
    world.add_many(1)
    await world.issue()
    assert Sweep(world.parts).due_wake_ups() == []
    world.parts.budgets.resume("kyc")
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("kyc")]


async def test_the_sweep_wakes_an_account_that_is_stopped_at_its_cap_only_for_what_costs_no_credit(make):
    world = make(more="credits = 1")
    batch = world.add_many(2)
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("kyc")]
    await world.issue()
    assert world.budget().stop_reason == "the cap of 1 credit is used up"
    world.set(InvitationRow, due_at=None)
    assert Sweep(world.parts).due_wake_ups() == []
    for why in ({"needs_status_check": True}, {"unknown_attempt": new_id(world.clock())}):
        world.set(Job, Job.state == "waiting", **why)
        assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("kyc")]
        assert Sweep(world.parts).due_wake_ups(only_batch=batch) == [WakeUp.issue("kyc")]
        assert Sweep(world.parts).due_wake_ups(only_batch=batch + 1) == []
        world.set(Budget, Budget.name == "kyc", blocked_until=world.clock() + timedelta(seconds=1))
        assert Sweep(world.parts).due_wake_ups() == []
        world.set(Budget, Budget.name == "kyc", blocked_until=None)
        world.set(Job, needs_status_check=False)
    world.set(Budget, Budget.name == "kyc", stop_reason="HTTP 402")
    assert Sweep(world.parts).due_wake_ups() == []


async def test_due_rows_without_a_wake_up_are_found(make):
    """Every wake-up between issuing and inviting is lost: the sweep finds both."""
    world = make()
    world.add_many(5)
    assert await world.tick()
    world.woken.clear()
    assert await world.tick()
    assert world.states() == {"invited": 5}
    assert not await world.tick()


async def test_the_leases_of_a_dead_worker_come_back(make):
    world = make()
    world.add_many(2)
    work = issue_work(world.parts, "kyc", world.http, wake_invite=lambda wake_up, _: world.woken.append(wake_up.name))
    work.flush([], Room(10, 10))
    assert Sweep(world.parts).end_leases() == EndedLeases()
    world.clock.advance(seconds=61)
    assert Sweep(world.parts).end_leases() == EndedLeases(unknown=2)
    assert world.states() == {"waiting": 2}


async def test_if_no_other_process_can_be_working_they_come_back_at_once(make):
    world = make([HANG])
    world.add_many(1)
    going = asyncio.create_task(world.start().serve(WakeUp.issue("kyc")))
    await world.http.received(1)
    assert Sweep(world.parts).end_leases(all_of_them=True) == EndedLeases(unknown=1)
    world.http.release()
    await going
    assert world.job("C000").unknown_attempt is not None


async def test_a_slow_relay_does_not_delay_the_opening_of_sessions(make):
    class Slow(FakeSender):
        async def send(self, message, may_write=None):
            await asyncio.sleep(20)
            return await super().send(message, may_write)

    world = make(senders={"email": Slow()})
    world.add(customer("Ona"))
    await world.issue()
    world.add_many(30)
    runner = world.start()
    sending = asyncio.create_task(runner.serve(WakeUp.invite("email")))
    await asyncio.sleep(0)
    await runner.serve(WakeUp.issue("kyc"))
    assert world.states() == {"issued": 31}
    assert world.clock.elapsed < 5
    runner.stop()
    await runner.close()
    assert sending.done()
