"""The message that follows from an event's result is claimed in the transaction of that result, by the claim that
another dispatcher shares."""

import asyncio
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.simulated.bench import EVENTS, MINUTE, Opened, Row
from tests.simulated.world import World, customer
from worker.domain.model.customers import Channel
from worker.domain.model.wakeups import WakeUp
from worker.engine.dispatch.contract import ClaimedRows, Room, UnknownClaim
from worker.engine.dispatch.shared_claim import SharedClaim, closing
from worker.senders.fake import FakeSender
from worker.store.base.priorities import EVENT
from worker.store.tables import Attempt, InvitationRow, Job, SessionRow

UNREACHABLE = sa.exc.OperationalError("COMMIT", None, Exception("connection reset"))


def rows_of(bench, *numbers):
    return [Row(number, bench.clock() + MINUTE, is_event=number >= EVENTS) for number in numbers]


@pytest.fixture
async def sharer(bench):
    """A running dispatcher, with one call that takes long."""
    rows = bench.rows(1, latency={0: 5})
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(1)
    yield dispatcher, rows, going
    bench.stopping.set()
    await going


def claim_none(_connection, _room, _now):
    return ClaimedRows([])


async def test_a_dispatcher_shares_its_claim_of_events_and_calls_the_claimed_rows(bench, sharer):
    dispatcher, rows, _ = sharer
    asked = []

    def claim(_connection, room, _now):
        asked.append(room)
        return ClaimedRows([], opened=[Opened(row) for row in rows_of(bench, EVENTS)])

    shared = dispatcher.share_claim(claim)
    shared.claim(None, bench.clock())
    await asyncio.sleep(0.2)
    assert rows.numbers("call") == [0]  # it is not known yet whether the transaction was committed
    shared.end(kept=True)
    await asyncio.sleep(0.01)
    assert rows.numbers("call") == [0, EVENTS]
    assert [(room.rows, room.events > 0, room.attempts > 0) for room in asked] == [(0, True, True)]


async def test_meanwhile_it_claims_nothing_itself_and_looks_again_for_a_wake_up(bench, sharer):
    dispatcher, rows, _ = sharer
    claimed = len(rows.claims)
    shared = dispatcher.share_claim(claim_none)
    assert dispatcher.share_claim(claim_none) is None
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await asyncio.sleep(0.5)
    assert len(rows.claims) == claimed
    shared.end(kept=True)
    await asyncio.sleep(0.1)
    assert rows.numbers("call") == [0, EVENTS]


async def test_rows_that_may_have_been_claimed_are_released_and_claimed_again_before_their_call(bench, sharer):
    dispatcher, rows, _ = sharer
    shared = dispatcher.share_claim(lambda *_: ClaimedRows([], opened=[Opened(row) for row in rows_of(bench, EVENTS)]))
    shared.claim(None, bench.clock())
    shared.end(kept=False)
    await asyncio.sleep(0.1)
    happened = [what for what, number in rows.log if number == EVENTS]
    assert happened[:4] == ["release", "claim", "open", "call"]  # and no wake-up was sent


async def test_rows_that_a_limit_kept_out_of_the_shared_claim_are_claimed_when_the_limit_allows(bench, sharer):
    dispatcher, rows, _ = sharer
    rows.waiting.append(EVENTS)
    shared = dispatcher.share_claim(claim_none)
    shared.end(kept=True)
    await asyncio.sleep(0.5)
    assert rows.numbers("call") == [0]
    soon = bench.clock() + timedelta(seconds=0.5)
    shared = dispatcher.share_claim(lambda *_: ClaimedRows([], again_at=soon))
    shared.claim(None, bench.clock())
    shared.end(kept=True)
    await asyncio.sleep(0.4)
    assert rows.numbers("call") == [0]
    await asyncio.sleep(0.2)
    assert rows.numbers("call") == [0, EVENTS]


async def test_a_dispatcher_that_is_ending_or_not_running_shares_no_claim(bench, sharer):
    dispatcher, _, going = sharer
    bench.stopping.set()
    await asyncio.sleep(2)  # it has looked again since
    assert dispatcher.share_claim(claim_none) is None
    await going
    assert dispatcher.share_claim(claim_none) is None
    assert bench.dispatcher(bench.rows(1)).share_claim(claim_none) is None


async def test_a_dispatcher_waits_for_its_shared_claim_before_it_ends(bench, sharer):
    dispatcher, rows, going = sharer
    shared = dispatcher.share_claim(lambda *_: ClaimedRows([], opened=[Opened(row) for row in rows_of(bench, EVENTS)]))
    shared.claim(None, bench.clock())
    bench.stopping.set()
    await asyncio.sleep(20)
    assert not going.done()
    shared.end(kept=True)
    await going
    assert rows.numbers("call") == [0]
    assert EVENTS in rows.written  # as a call that was not made


async def test_a_claim_that_may_open_no_attempt_is_not_shared(bench):
    rows = bench.rows(200, permits=1, latency=dict.fromkeys(range(200), 0.0))
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    rooms = []

    def claim(_connection, room, _now):
        rooms.append(room)
        return ClaimedRows([])

    while not going.done():
        await asyncio.sleep(0.003)
        if (shared := dispatcher.share_claim(claim)) is not None:
            shared.claim(None, bench.clock())
            shared.end(kept=True)
    assert rooms
    assert all(room.attempts > 0 for room in rooms)


async def test_only_the_result_of_an_event_uses_a_shared_claim(bench):
    rows = bench.rows(3)
    rows.waiting = [0, 1, EVENTS]
    made = []

    def claims_to_share():
        shared = SharedClaim(claim_none, Room(0, 1, 0, 1), item=lambda opened: opened)
        made.append(shared)
        return {"email": shared}

    await bench.run(rows, claims_to_share=claims_to_share)
    assert len(made) == 1
    assert [list(shared_claims) for shared_claims in rows.shared_claims if shared_claims] == [["email"]]
    assert await made[0].claimed() == ClaimedRows([])


async def test_a_bug_in_a_shared_claim_does_not_cost_the_results_of_calls(bench):
    rows = bench.rows(0)
    rows.waiting = [0, EVENTS]
    flush = rows.flush

    def flush_and_claim(results, items, now, shared_claims=None, _stretch=None):
        for shared in (shared_claims or {}).values():
            shared.claim(None, now)
        return flush(results, items, now, shared_claims)

    def broken(*_):
        raise ZeroDivisionError("a bug")

    rows.flush = flush_and_claim
    await bench.run(rows, claims_to_share=lambda: {"email": SharedClaim(broken, Room(0, 1, 0, 1), item=rows.item)})
    assert sorted(rows.written) == [0, EVENTS]
    assert rows.numbers("call") == [EVENTS, 0]


@pytest.mark.parametrize("error", [UNREACHABLE, ZeroDivisionError("a bug")], ids=["unreachable", "a bug"])
async def test_however_a_transaction_ends_its_shared_claims_end(error):
    both = ClaimedRows(["another"], opened=["row"])
    shared = SharedClaim(lambda *_: both, Room(0, 1, 0, 1), item=lambda opened: opened)

    def broken():
        with closing({"email": shared}):
            shared.claim(None, None)
            raise error

    with pytest.raises(type(error)):
        broken()
    with pytest.raises(UnknownClaim) as caught:
        await shared.claimed()
    assert caught.value.items == ["row", "another"]


async def test_if_a_transaction_is_repeated_only_its_last_claim_counts():
    claims = iter([ClaimedRows([], opened=["first"]), ClaimedRows([], opened=["second"])])
    shared = SharedClaim(lambda *_: next(claims), Room(0, 1, 0, 1), item=lambda opened: opened)
    shared.begin()
    shared.claim(None, None)
    shared.begin()
    shared.end(kept=True)
    assert (await shared.claimed()).opened == ()


# With real rows.


class SlowFirst(FakeSender):
    """Keeps the dispatcher of the mails running: the first mail takes some seconds."""

    async def send(self, message):
        receipt = await super().send(message)
        if len(self.messages) == 1:
            await asyncio.sleep(5)
        return receipt


@pytest.fixture
def world(make_on_both):
    made: World = make_on_both(senders={"email": SlowFirst(), "sms": FakeSender()})
    made.add(customer("Ona"), customer("Jonas"))
    return made


def sign_up(world, *names):
    with world.parts.database.write() as connection:
        connection.execute(sa.update(Job).where(Job.customer_id.in_(names)).values(priority=EVENT))


async def work_during_a_slow_mail(world):
    """Ona's mail keeps the mails' dispatcher running while Jonas signs up."""
    world.set(Job, Job.customer_id == "Jonas", priority=EVENT, due_at=world.clock() + timedelta(seconds=2))
    await world.issue()
    runner = world.start()
    mails = asyncio.create_task(runner.serve(WakeUp.invite("email")))
    await asyncio.sleep(2.5)
    await runner.serve(WakeUp.issue("kyc"))
    await mails
    await runner.close()


async def test_the_mail_of_an_event_is_opened_in_the_transaction_that_writes_its_session(world):
    await work_during_a_slow_mail(world)
    assert world.states() == {"invited": 2}
    (job,) = (row for row in world.rows(Job) if row.customer_id == "Jonas")
    asked, mailed = sorted(world.rows(Attempt, job_id=job.id), key=lambda row: row.opened_at)
    assert mailed.opened_at == asked.closed_at
    assert world.woken == ["email"]  # for Ona's mail: no mail dispatcher was running then
    assert [row.state.value for row in world.rows(InvitationRow)] == ["sent", "sent"]


async def test_if_no_mail_dispatcher_is_running_a_wake_up_is_sent(world):
    sign_up(world, "Ona", "Jonas")
    await world.issue()
    assert world.woken
    assert {row.state.value for row in world.rows(InvitationRow)} == {"waiting"}
    await world.work()
    assert world.states() == {"invited": 2}


@pytest.mark.parametrize(
    ("events", "shared", "rung"),
    [
        (["Ona", "Jonas"], True, []),
        (["Ona"], True, [("email", False)]),  # Jonas's mail is a batch row: it is claimed with the other batch rows
        (["Ona"], False, [("email", True)]),
        ([], False, [("email", False)]),
    ],
)
async def test_a_wake_up_is_sent_for_messages_that_no_shared_claim_has(world, events, shared, rung):
    sign_up(world, *events)
    wake_ups = []
    work = world.parts.issue_work("kyc", world.http, wake_invite=lambda *wake_up: wake_ups.append(wake_up))
    claimed = work.claim(Room(10, 10, 0, 5))
    opened = [*claimed.opened, *work.flush([], claimed.items)]
    results = [await work.call(one) for one in opened]
    mails = world.parts.invite_work("email")
    shared_claims = {"email": SharedClaim(mails.claim_within, Room(0, 10, 0, 5), item=mails.item)} if shared else {}
    with closing(shared_claims):
        work.flush(results, [], shared_claims)
    assert wake_ups == rung
    for one in shared_claims.values():
        mailed = (await one.claimed()).opened
        assert {mails.item(opened).customer.customer_id for opened in mailed} == set(events)


@pytest.mark.parametrize("order", [["email", "sms"], ["sms", "email"]])
async def test_messages_on_both_channels_are_claimed_in_the_same_order_in_all_processes(world, order):
    """Each claim locks its sender's budget: in different orders two processes would wait for each other."""
    world.add(customer("Rasa", channel=Channel.BOTH))
    work = world.parts.issue_work("kyc", world.http, wake_invite=lambda *_: None)
    results = [await work.call(one) for one in work.flush([], work.claim(Room(9, 9, 0, 0)).items)]
    held = []

    def claim_on(channel):
        return lambda *_: held.append(channel) or ClaimedRows([])

    shared_claims = {channel: SharedClaim(claim_on(channel), Room(0, 9, 0, 5), item=work.item) for channel in order}
    with closing(shared_claims):
        work.flush(results, [], shared_claims)
    assert held == order


@pytest.mark.parametrize("kept", [True, False], ids=["committed", "not committed"])
async def test_if_the_outcome_of_that_transaction_is_unknown_there_is_one_session_and_one_mail(
    world, kept, monkeypatch
):
    write, lost = world.parts.database.write, []

    @contextmanager
    def losing_the_answer(within=None):
        with write(within) as connection:
            yield connection
            mailed = sa.select(sa.func.count()).where(Attempt.invitation_id.is_not(None), Attempt.closed_at.is_(None))
            ours = within is None and not lost and connection.execute(mailed).scalar_one() == 2
            if ours and not kept:
                lost.append("rolled back")
                raise UNREACHABLE
        if ours:
            lost.append("committed")
            raise UNREACHABLE

    monkeypatch.setattr(world.parts.database, "write", losing_the_answer)
    await work_during_a_slow_mail(world)
    await world.work()
    assert lost == ["committed" if kept else "rolled back"]
    assert world.states() == {"invited": 2}
    assert len(world.rows(SessionRow)) == len(world.asked) == 2
    assert sorted(message.to for message in world.senders["email"].messages) == ["jonas@example.org", "ona@example.org"]
