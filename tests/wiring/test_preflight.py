"""A sender is asked whether it works before sessions are bought for its messages, and again while it does not."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from types import SimpleNamespace

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.budgets.backpressure import make_waiting_jobs_due
from onboarding_worker.core.database.tables import Budget, InvitationRow, Job
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.senders.contract import Receipt
from onboarding_worker.wiring.runner import Preflight
from onboarding_worker.wiring.sweep import Sweep
from tests.simulated.world import customer

REFUSED = Problem(Kind.AUTH, "SMTP 535 at AUTH")
ENDED = "sender/email: answers again"
AWAY = Problem(Kind.TRANSIENT, "SMTP connection refused at connect", unreachable=True)
EMAIL = "sender/email"


def with_email(make, *preflights, **how):
    return make(senders={"email": FakeSender(preflights=preflights, **how), "sms": FakeSender()}, concurrency=5)


async def test_a_refused_log_in_stops_the_sender_and_nothing_is_bought_for_it(make):
    world = with_email(make, REFUSED, REFUSED)
    world.add(*(customer(f"C{number}") for number in range(30)), customer("Link", channel=Channel.NONE))
    world.parts.resume(["email"])
    await world.work()
    assert world.asked == ["Link"]
    assert (world.budget(EMAIL).stop_reason, world.senders["sms"].logins) == ("SMTP 535 at AUTH", 0)
    # A person tries again too early: it is asked, and nothing is bought.
    world.parts.budgets.resume(EMAIL)
    make_waiting_jobs_due(world.parts.database, now=world.clock())
    await world.work()
    assert (world.asked, world.senders["email"].logins) == (["Link"], 2)
    assert world.budget(EMAIL).stopped_at is not None
    # Put right, all rows go on at once.
    world.parts.resume(["email"])
    await world.work()
    assert world.states() == {"issued": 1, "invited": 30}


async def test_a_log_in_that_failed_counts_from_when_it_began(make):
    """One that began before a pause says nothing about the time after it."""
    world = with_email(make)
    tried = []

    class Slow(FakeSender):
        async def preflight(self):
            world.clock.advance(seconds=20)
            return AWAY

    async def at_once(function, *arguments):
        return function(*arguments)

    budgets = SimpleNamespace(
        is_unverified=lambda *_, **__: True, record_log_in=lambda _rule, outcome, now: tried.append(outcome)
    )
    parts = SimpleNamespace(
        senders={"email": Slow()},
        budget_rules=world.parts.budget_rules,
        budgets=budgets,
        jobs=world.parts.jobs,
        clock=world.clock,
    )
    preflight = Preflight(parts, at_once)
    began = world.clock()
    await preflight.prove("email")
    assert [(outcome.began_at, outcome.kind) for outcome in tried] == [(began, Kind.TRANSIENT)]


async def test_a_process_that_ends_after_a_log_in_leaves_no_job_waiting_for_the_sender_that_answers(make):
    """What follows from a log-in is written in the call that records it: nothing comes between them."""
    world = with_email(make, REFUSED)
    world.add_many(3)
    world.parts.resume(["email"])
    await world.work()
    world.parts.resume(["email"])
    world.set(Job, due_at=world.clock() + timedelta(minutes=10))
    calls = iter([True, True, False])

    async def until_the_end(function, *arguments):
        if not next(calls):
            raise asyncio.CancelledError
        return function(*arguments)

    with suppress(asyncio.CancelledError):
        await Preflight(world.parts, until_the_end).prove("email")
    assert [job.due_at <= world.clock() for job in world.rows(Job)] == 3 * [True]


async def test_a_server_that_is_away_is_asked_again_after_each_pause_until_it_is_back(make):
    bought = []

    def away():
        for _ in range(3):
            bought.append(len(world.asked))
            yield AWAY

    world = make(senders={"email": FakeSender(preflights=away()), "sms": FakeSender()}, concurrency=5)
    world.add_many(30)
    world.parts.resume(["email"])
    took = await world.live(lambda: len(world.senders["email"].messages) == 30)
    assert (bought, world.senders["email"].logins) == ([0, 0, 0], 4)
    assert timedelta(seconds=1 + 2 + 4) <= took < timedelta(seconds=15)


async def test_a_sender_that_stops_answering_in_the_middle_costs_the_rows_under_way_alone(make):
    sender = FakeSender([Receipt()] * 20 + [AWAY] * 4, preflights=[None] + [AWAY] * 2)
    world = make(senders={"email": sender, "sms": FakeSender()}, concurrency=5, limits=["20/second"])
    world.add_many(150)
    world.parts.resume(["email"])
    await world.live(lambda: sender.logins == 4)
    # The sender was away for seconds, in which all sessions could have been bought.
    assert 20 < len(world.asked) < 60
    await world.live(lambda: len(sender.messages) == 150)
    assert len(set(world.asked)) == len(world.asked) == 150


@pytest.mark.parametrize("resumed", [None, ["email"], []])
async def test_only_the_senders_that_the_work_uses_are_asked(make, resumed):
    world = with_email(make)
    world.parts.resume(resumed)
    runner = world.start()
    await runner.prove_senders()
    await runner.close()
    logins = {name: sender.logins for name, sender in world.senders.items()}
    assert logins == {"email": int(resumed != []), "sms": int(resumed is None)}


async def test_a_channel_is_woken_without_a_message_while_its_sender_must_prove_itself(make):
    world = with_email(make)
    world.add_many(1)
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("kyc")]
    world.parts.budgets.mark_unverified([EMAIL])
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("kyc"), WakeUp.invite("email")]
    world.set(Budget, Budget.name == EMAIL, blocked_until=world.clock() + timedelta(minutes=1))
    assert Sweep(world.parts).due_wake_ups() == [WakeUp.issue("kyc")]
    assert world.rows(InvitationRow) == []
