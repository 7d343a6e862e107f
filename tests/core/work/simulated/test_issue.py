"""Opening sessions: each due session is opened once, at the account's pace, and every answer has its ending."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_testing.fakes import HANG
from onboarding_worker.core.database.tables import Attempt, InvitationRow, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.upkeep.expired_leases import ExpiredLeases
from onboarding_worker.providers.contract import Broken, HttpAnswer
from tests.simulated.world import FAILED, customer
from tests.suite.some import some

WEEK = timedelta(days=7)
ANSWER = ExpirySource.ANSWER
HOLD = 'on_orphan = "hold"'  # the fake provider has no list; what "wait" does there: test_orphans.py


@pytest.mark.both_databases
async def test_every_due_session_is_opened_once_and_then_its_customer_invited(make):
    world = make()
    world.add_many(150)
    await world.issue()
    assert world.states() == {"issued": 150}
    assert len(set(world.asked)) == len(world.asked) == 150
    assert "email" in world.woken
    await world.invite()
    assert world.states() == {"invited": 150}
    sent = world.senders["email"].messages
    assert len({message.key for message in sent}) == len({message.to for message in sent}) == 150


async def test_each_customer_gets_the_link_of_the_session_that_is_stored(make):
    world = make()
    batch = world.add_many(40)
    await world.work()
    links = {line.customer_id: line.opening.link for line in world.parts.facts.lines(batch, with_links=True)}
    for message in some(world.senders["email"].messages):
        name = message.to.partition("@")[0].upper()
        assert links[name] in message.text
    assert len(set(links.values())) == 40


async def test_an_attempt_is_in_the_database_before_its_call_is_seen(make):
    seen = []

    def answer(_request):
        with world.parts.database.read() as connection:
            query = sa.select(sa.func.count()).select_from(Attempt).where(Attempt.closed_at.is_(None))
            seen.append(connection.execute(query).scalar_one())
        return world.session()

    world = make(answer, concurrency=3)
    world.add_many(12)
    await world.issue()
    assert len(seen) == 12
    assert min(seen) >= 1
    assert world.states() == {"issued": 12}


async def answer_later(world, seconds):
    await asyncio.sleep(seconds)
    return world.session()


async def test_no_more_calls_are_in_flight_than_the_account_allows(make):
    world = make(lambda _: answer_later(world, 0.2), concurrency=4)
    world.add_many(30)
    await world.issue()
    assert world.http.most_in_flight == 4
    assert world.states() == {"issued": 30}


async def test_a_slow_account_does_not_slow_a_fast_one(make):
    events = []

    async def answer(request):
        slow = b"slow" in request.body
        await asyncio.sleep(8 if slow else 0.02)
        events.append("slow" if slow else "fast")
        return world.session()

    world = make(answer, concurrency=2)
    world.add_many(20, "fast")
    world.add_many(6, "slow", account="au")
    runner = world.start()
    slow = asyncio.create_task(runner.serve(WakeUp.issue("au")))
    await world.http.received(2)
    await runner.serve(WakeUp.issue("kyc"))
    await runner.serve(WakeUp.invite("email"))
    assert events == ["fast"] * 20
    assert len(world.senders["email"].messages) == 20
    assert not slow.done()
    await slow
    await runner.close()
    assert events == ["fast"] * 20 + ["slow"] * 6


async def test_the_limit_of_an_account_is_kept(make):
    begun = []

    def answer(_):
        begun.append(world.clock())
        return world.session()

    world = make(answer, limits=["20/second"])
    world.add_many(50)
    await world.issue()
    await world.work()
    assert world.states()["invited"] == 50
    for at in some(begun):
        assert sum(at <= other < at + timedelta(seconds=1) for other in begun) <= 20


@pytest.mark.parametrize("seconds", [0.3, 2.0])
async def test_calls_that_waited_long_for_their_connections_keep_the_limit_and_cost_nothing_if_not_made(make, seconds):
    """A TLS handshake stalls for so long. A row whose turn is over by then was not called: no attempt, no credit."""
    begun, refused = [], []

    def answer(_):
        begun.append(world.clock())
        return world.session()

    world = make(answer, limits=["20/second"], more="credits = 30")
    until, call = world.clock() + timedelta(seconds=seconds), world.http.call

    async def stalled(request, *, timeout, may_write):  # noqa: ASYNC109  # as Http's
        waited = (until - world.clock()).total_seconds()
        if waited <= 0:
            return await call(request, timeout=timeout, may_write=may_write)
        await asyncio.sleep(waited)
        if not may_write(True):
            refused.append(request)
            return Broken(sent=False, detail="too late")
        return await call(request, timeout=timeout)

    world.http.call = stalled
    world.add_many(30)
    await world.issue()
    await world.issue()
    assert world.states() == {"issued": 30}
    assert {row.attempts for row in world.rows(Job)} == {1}
    counted = world.parts.meters.news()
    calls = {series.labels: number for series, number in counted.items() if series.metric == "calls_total"}
    assert calls == {("kyc", "done"): 30}
    assert world.budget().credits_used == len(begun) == 30
    assert refused
    for at in begun:
        assert sum(at <= other < at + timedelta(seconds=1) for other in begun) <= 21  # one: `CATCH_UP`


# Rate limits and refusals.


# Failures.


async def test_a_failure_is_tried_again_later_with_its_attempt_counted(make):
    world = make([FAILED, FAILED])
    world.add_many(1)
    await world.issue()
    row = world.job("C000")
    assert (row.state, row.attempts, row.reason) == (JobState.WAITING, 1, "transient")
    assert row.due_at - world.attempts()[0].closed_at < timedelta(seconds=1)
    world.clock.advance(seconds=2)
    await world.issue()
    world.clock.advance(seconds=2)
    await world.issue()
    assert (world.job("C000").state, world.job("C000").attempts) == (JobState.ISSUED, 3)


async def test_after_the_last_attempt_a_row_has_failed_with_the_providers_reason(make):
    world = make(lambda _: FAILED)
    world.add_many(1)
    for _ in range(8):
        await world.issue()
        world.clock.advance(minutes=11)
    assert len(world.asked) == 8
    row = world.job("C000")
    assert (row.state, row.reason) == (JobState.FAILED, "attempts_spent")
    assert "HTTP 500" in row.detail


@pytest.mark.parametrize(
    ("answer", "state", "reason"),
    [
        (HttpAnswer(400), "failed", "bad_input"),
        (HttpAnswer(409), "held", "conflict"),
        (HttpAnswer(418), "held", "unknown"),
        (HttpAnswer(201, {}, b"{}"), "held", "unknown"),
        (Broken(sent=True, detail="connection reset"), "held", "unknown"),
    ],
    ids=["refused", "conflict", "strange status", "no session", "broken after sending"],
)
async def test_every_bad_answer_has_its_ending(make, answer, state, reason):
    world = make([answer], more=HOLD)
    world.add_many(3)
    await world.issue()
    row = world.job(world.asked[0])
    assert (row.state, row.reason) == (state, reason)
    assert world.states()["issued"] == 2


async def test_an_unknown_outcome_is_held_where_repeating_costs_and_repeated_where_it_does_not(make):
    world = make([Broken(sent=True, detail="connection reset")] * 2, more=HOLD)
    world.add_many(1, "K")
    await world.issue("kyc")
    world.add_many(1, "A", account="au")
    await world.issue("au")
    assert (world.job("K000").state, world.job("A000").state) == (JobState.HELD, JobState.WAITING)
    world.clock.advance(minutes=20)
    await world.work()
    assert world.asked == ["K000", "A000", "A000"]
    assert (world.job("K000").state, world.job("A000").state) == (JobState.HELD, JobState.INVITED)


async def test_if_the_account_is_configured_so_an_unknown_outcome_is_repeated_whatever_it_costs(make):
    world = make([HttpAnswer(418)], on_unknown="repeat")
    world.add_many(1)
    await world.issue()
    assert world.job("C000").state is JobState.WAITING
    assert world.attempts()[0].repeatable


async def test_a_bug_in_the_adapter_holds_the_row_and_loses_nothing(make, caplog):
    def answer(request):
        if b"C003" in request.body:
            raise KeyError("maria@example.org")
        return world.session()

    world = make(answer, more=HOLD)
    world.add_many(8)
    await world.issue()
    row = world.job("C003")
    assert (row.state, row.reason) == (JobState.HELD, "unknown")
    assert row.detail == "the worker failed with KeyError during the call"
    assert world.states() == {"issued": 7, "held": 1}
    assert "maria" not in caplog.text


async def test_a_worker_that_died_in_the_middle_leaves_an_unknown_outcome_only_for_its_calls(make):
    world = make([HANG] * 3, concurrency=3, more=HOLD)
    world.add_many(10)
    task = asyncio.create_task(world.start().serve(WakeUp.issue("kyc")))
    await world.http.received(3)
    dead = world.rows(Job)
    assert sum(row.state is JobState.WORKING for row in dead) == 3  # one for each permit
    world.clock.advance(seconds=61)
    leases = ExpiredLeases(world.parts.database, jitter=world.parts.jitter)
    assert leases.end(world.parts.settings.retry.policy, now=world.clock()).held == 3
    assert world.states() == {"held": 3, "waiting": 7}
    # it was only very slow: its late results change nothing any more
    world.http.release()
    await task
    assert {name for name in world.asked[:3]} == {row.customer_id for row in world.rows(Job, state=JobState.HELD)}
    assert world.states().get("held") == 3


async def test_two_processes_that_work_the_same_rows_open_one_session_for_each(make):
    world = make(lambda _: answer_later(world, 0.05))
    world.add_many(80)
    first, second = world.start(), world.start()
    await asyncio.gather(first.serve(WakeUp.issue("kyc")), second.serve(WakeUp.issue("kyc")))
    await asyncio.gather(first.close(), second.close())
    assert sorted(world.asked) == sorted(set(world.asked))
    assert world.states() == {"issued": 80}


async def test_a_customer_of_two_lists_gets_one_session_and_one_invitation(make):
    world = make()
    world.add(customer("Ona"))
    world.add(customer("Ona"))
    await world.work()
    assert (world.asked, len(world.senders["email"].messages)) == (["Ona"], 1)


async def test_a_line_without_a_channel_ends_with_its_session(make):
    world = make()
    world.add(customer("Ona", channel=Channel.NONE))
    await world.work()
    assert (world.states(), world.rows(InvitationRow)) == ({"issued": 1}, [])


async def test_a_session_that_was_texted_by_the_provider_itself_is_not_texted_again(make):
    world = make()
    world.provider.answers = []
    read = world.provider.read

    class Texting(type(world.provider)):
        def read(self, *answer, **times):
            return replace(read(*answer, **times), sms_sent=True)

    world.parts.providers["kyc"] = Texting()
    world.add(customer("Ona", channel=Channel.BOTH), customer("Jonas", channel=Channel.SMS))
    await world.work()
    assert world.senders["sms"].messages == []
    assert len(world.senders["email"].messages) == 1
    assert world.states() == {"invited": 2}
    assert {row.sms_sent for row in world.rows(SessionRow)} == {True}


async def test_an_answer_that_cannot_be_stored_holds_its_customer_and_costs_no_other_session(make):
    world = make(concurrency=10)
    batch = world.add_many(12)
    sessions = [
        Session(f"token-{number}", f"https://verify.test/{number}", f"scan-{number}", world.clock() + WEEK, ANSWER)
        for number in range(12)
    ]
    sessions[4] = replace(sessions[4], vendor_parameters={"note": "half of a character: \ud800"})
    world.provider.answers = sessions

    await world.issue()

    assert world.states() == {"issued": 11, "held": 1}
    (row,) = [row for row in world.rows(Job) if row.state is JobState.HELD]
    assert (row.reason, row.due_at) == (Reason.CANNOT_KEEP, None)
    assert "scan-4" in row.detail
    assert "UnicodeEncodeError" in row.detail
    attempt = world.row(Attempt, job_id=row.id)
    assert (attempt.outcome, row.unknown_attempt) == ("unknown", attempt.id)
    assert len(world.asked) == 12
    assert [line.reason for line in world.parts.facts.lines(batch) if line.state == "held"] == ["cannot_keep"]
