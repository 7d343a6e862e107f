"""What an event's result leads on to is taken in the result's own transaction, by a dispatcher that lends its
taking."""

import asyncio
from contextlib import contextmanager
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.simulated.bench import EVENTS, MINUTE, Opened, Row
from tests.simulated.world import World, customer
from worker.domain.model.customers import Channel
from worker.domain.model.wakeups import WakeUp
from worker.engine.dispatch.contract import ClaimedRows, Room, Unsure
from worker.engine.dispatch.shared_claim import SharedClaim, ending
from worker.senders.fake import FakeSender
from worker.store.base.priorities import EVENT
from worker.store.tables import Attempt, InvitationRow, Job, SessionRow

AWAY = sa.exc.OperationalError("COMMIT", None, Exception("connection reset"))


def rows_of(bench, *numbers):
    return [Row(number, bench.clock() + MINUTE, is_event=number >= EVENTS) for number in numbers]


@pytest.fixture
async def lender(bench):
    """A dispatcher that is at it, with one call that takes long."""
    rows = bench.rows(1, latency={0: 5})
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    await asyncio.sleep(1)
    yield dispatcher, rows, going
    bench.stopping.set()
    await going


def take_none(_connection, _room, _now):
    return ClaimedRows([])


async def test_a_shift_lends_the_taking_of_events_and_calls_for_what_was_taken(bench, lender):
    dispatcher, rows, _ = lender
    asked = []

    def claim(_connection, room, _now):
        asked.append(room)
        return ClaimedRows([], opened=[Opened(row) for row in rows_of(bench, EVENTS)])

    lent = dispatcher.share_claim(claim)
    lent.claim(None, bench.clock())
    await asyncio.sleep(0.2)
    assert rows.numbers("call") == [0]  # nobody knows yet whether it was kept
    lent.end(kept=True)
    await asyncio.sleep(0.01)
    assert rows.numbers("call") == [0, EVENTS]
    assert [(room.rows, room.events > 0, room.attempts > 0) for room in asked] == [(0, True, True)]


async def test_meanwhile_it_takes_nothing_itself_and_looks_again_for_a_bell_that_rang(bench, lender):
    dispatcher, rows, _ = lender
    claimed = len(rows.takes)
    lent = dispatcher.share_claim(take_none)
    assert dispatcher.share_claim(take_none) is None
    rows.waiting.append(EVENTS)
    dispatcher.wake()
    await asyncio.sleep(0.5)
    assert len(rows.takes) == claimed
    lent.end(kept=True)
    await asyncio.sleep(0.1)
    assert rows.numbers("call") == [0, EVENTS]


async def test_what_may_have_been_taken_is_given_back_and_taken_again_before_it_is_called_for(bench, lender):
    dispatcher, rows, _ = lender
    lent = dispatcher.share_claim(lambda *_: ClaimedRows([], opened=[Opened(row) for row in rows_of(bench, EVENTS)]))
    lent.claim(None, bench.clock())
    lent.end(kept=False)
    await asyncio.sleep(0.1)
    happened = [what for what, number in rows.log if number == EVENTS]
    assert happened[:4] == ["release", "claim", "open", "call"]  # and nobody has rung


async def test_what_a_limit_did_not_let_it_take_is_taken_when_it_may_be(bench, lender):
    dispatcher, rows, _ = lender
    rows.waiting.append(EVENTS)
    lent = dispatcher.share_claim(take_none)
    lent.end(kept=True)
    await asyncio.sleep(0.5)
    assert rows.numbers("call") == [0]
    soon = bench.clock() + timedelta(seconds=0.5)
    lent = dispatcher.share_claim(lambda *_: ClaimedRows([], again_at=soon))
    lent.claim(None, bench.clock())
    lent.end(kept=True)
    await asyncio.sleep(0.4)
    assert rows.numbers("call") == [0]
    await asyncio.sleep(0.2)
    assert rows.numbers("call") == [0, EVENTS]


async def test_a_shift_that_is_ending_or_is_not_at_it_lends_nothing(bench, lender):
    dispatcher, _, going = lender
    bench.stopping.set()
    await asyncio.sleep(2)  # it has looked since
    assert dispatcher.share_claim(take_none) is None
    await going
    assert dispatcher.share_claim(take_none) is None
    assert bench.dispatcher(bench.rows(1)).share_claim(take_none) is None


async def test_a_shift_waits_for_what_it_has_lent_before_it_ends(bench, lender):
    dispatcher, rows, going = lender
    lent = dispatcher.share_claim(lambda *_: ClaimedRows([], opened=[Opened(row) for row in rows_of(bench, EVENTS)]))
    lent.claim(None, bench.clock())
    bench.stopping.set()
    await asyncio.sleep(20)
    assert not going.done()
    lent.end(kept=True)
    await going
    assert rows.numbers("call") == [0]
    assert EVENTS in rows.written  # as not made


async def test_without_a_place_for_an_attempt_nothing_is_lent(bench):
    rows = bench.rows(200, permits=1, latency=dict.fromkeys(range(200), 0.0))
    dispatcher = bench.dispatcher(rows)
    going = asyncio.create_task(dispatcher.run())
    rooms = []

    def claim(_connection, room, _now):
        rooms.append(room)
        return ClaimedRows([])

    while not going.done():
        await asyncio.sleep(0.003)
        if (lent := dispatcher.share_claim(claim)) is not None:
            lent.claim(None, bench.clock())
            lent.end(kept=True)
    assert rooms
    assert all(room.attempts > 0 for room in rooms)


async def test_only_what_an_event_came_to_borrows(bench):
    rows = bench.rows(3)
    rows.waiting = [0, 1, EVENTS]
    borrowed = []

    def claims_to_share():
        lent = SharedClaim(take_none, Room(0, 1, 0, 1), item=lambda opened: opened)
        borrowed.append(lent)
        return {"email": lent}

    await bench.run(rows, claims_to_share=claims_to_share)
    assert len(borrowed) == 1
    assert [list(shared_claims) for shared_claims in rows.shared_claims if shared_claims] == [["email"]]
    assert await borrowed[0].claimed() == ClaimedRows([])


async def test_a_bug_in_what_was_lent_does_not_cost_what_the_calls_came_to(bench):
    rows = bench.rows(0)
    rows.waiting = [0, EVENTS]
    flush = rows.flush

    def turn_and_take(results, items, now, shared_claims=None):
        for lent in (shared_claims or {}).values():
            lent.claim(None, now)
        return flush(results, items, now, shared_claims)

    def broken(*_):
        raise ZeroDivisionError("a bug")

    rows.flush = turn_and_take
    await bench.run(rows, claims_to_share=lambda: {"email": SharedClaim(broken, Room(0, 1, 0, 1), item=rows.item)})
    assert sorted(rows.written) == [0, EVENTS]
    assert rows.numbers("call") == [EVENTS, 0]


@pytest.mark.parametrize("error", [AWAY, ZeroDivisionError("a bug")], ids=["away", "a bug"])
async def test_however_a_transaction_ends_what_was_lent_for_it_is_given_back(error):
    both = ClaimedRows(["another"], opened=["row"])
    lent = SharedClaim(lambda *_: both, Room(0, 1, 0, 1), item=lambda opened: opened)

    def broken():
        with ending({"email": lent}):
            lent.claim(None, None)
            raise error

    with pytest.raises(type(error)):
        broken()
    with pytest.raises(Unsure) as caught:
        await lent.claimed()
    assert caught.value.items == ["row", "another"]


async def test_of_a_transaction_that_is_made_again_only_the_last_taking_counts():
    takings = iter([ClaimedRows([], opened=["first"]), ClaimedRows([], opened=["second"])])
    lent = SharedClaim(lambda *_: next(takings), Room(0, 1, 0, 1), item=lambda opened: opened)
    lent.begin()
    lent.claim(None, None)
    lent.begin()
    lent.end(kept=True)
    assert (await lent.claimed()).opened == ()


# With real rows.


class SlowFirst(FakeSender):
    """Keeps the dispatcher of the mails at it: the first takes some seconds."""

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


async def worked_beside_a_slow_mail(world):
    """Ona's mail keeps the mails' dispatcher at it while Jonas signs up."""
    world.set(Job, Job.customer_id == "Jonas", priority=EVENT, due_at=world.clock() + timedelta(seconds=2))
    await world.issue()
    runner = world.start()
    mails = asyncio.create_task(runner.serve(WakeUp.invite("email")))
    await asyncio.sleep(2.5)
    await runner.serve(WakeUp.issue("kyc"))
    await mails
    await runner.close()


async def test_an_events_mail_is_written_down_in_the_transaction_that_keeps_its_session(world):
    await worked_beside_a_slow_mail(world)
    assert world.states() == {"invited": 2}
    (job,) = (row for row in world.rows(Job) if row.customer_id == "Jonas")
    asked, mailed = sorted(world.rows(Attempt, job_id=job.id), key=lambda row: row.opened_at)
    assert mailed.opened_at == asked.closed_at
    assert world.woken == ["email"]  # for Ona's, which no dispatcher was there to take
    assert [row.state.value for row in world.rows(InvitationRow)] == ["sent", "sent"]


async def test_where_the_mails_shift_is_not_at_it_it_is_rung_for(world):
    sign_up(world, "Ona", "Jonas")
    await world.issue()
    assert world.woken
    assert {row.state.value for row in world.rows(InvitationRow)} == {"waiting"}
    await world.work()
    assert world.states() == {"invited": 2}


@pytest.mark.parametrize(
    ("events", "lent", "rung"),
    [
        (["Ona", "Jonas"], True, []),
        (["Ona"], True, [("email", False)]),  # Jonas's is a batch's: with the others, when their time has come
        (["Ona"], False, [("email", True)]),
        ([], False, [("email", False)]),
    ],
)
async def test_a_bell_is_rung_for_what_was_not_taken_along(world, events, lent, rung):
    sign_up(world, *events)
    bells = []
    work = world.parts.issue_work("kyc", world.http, wake_invite=lambda *bell: bells.append(bell))
    claimed = work.claim(Room(10, 10, 0, 5), world.clock())
    opened = [*claimed.opened, *work.flush([], claimed.items, world.clock())]
    results = [await work.call(one) for one in opened]
    mails = world.parts.invite_work("email")
    shared_claims = {"email": SharedClaim(mails.claim_within, Room(0, 10, 0, 5), item=mails.item)} if lent else {}
    with ending(shared_claims):
        work.flush(results, [], world.clock(), shared_claims)
    assert bells == rung
    for one in shared_claims.values():
        mailed = (await one.claimed()).opened
        assert {mails.item(opened).customer.customer_id for opened in mailed} == set(events)


@pytest.mark.parametrize("order", [["email", "sms"], ["sms", "email"]])
async def test_messages_on_both_channels_are_taken_in_the_order_that_all_processes_have(world, order):
    """Each taking holds its sender's budget: in an order of their own, two processes would wait for each other."""
    world.add(customer("Rasa", channel=Channel.BOTH))
    work = world.parts.issue_work("kyc", world.http, wake_invite=lambda *_: None)
    now = world.clock()
    results = [await work.call(one) for one in work.flush([], work.claim(Room(9, 9, 0, 0), now).items, now)]
    held = []

    def take_on(channel):
        return lambda *_: held.append(channel) or ClaimedRows([])

    shared_claims = {channel: SharedClaim(take_on(channel), Room(0, 9, 0, 5), item=work.item) for channel in order}
    with ending(shared_claims):
        work.flush(results, [], now, shared_claims)
    assert held == order


@pytest.mark.parametrize("kept", [True, False], ids=["committed", "not committed"])
async def test_where_the_answer_to_that_transaction_is_lost_one_session_and_one_mail_come_of_it(
    world, kept, monkeypatch
):
    write, lost = world.parts.database.write, []

    @contextmanager
    def losing(within=None):
        with write(within) as connection:
            yield connection
            mailed = sa.select(sa.func.count()).where(Attempt.invitation_id.is_not(None), Attempt.closed_at.is_(None))
            ours = within is None and not lost and connection.execute(mailed).scalar_one() == 2
            if ours and not kept:
                lost.append("rolled back")
                raise AWAY
        if ours:
            lost.append("committed")
            raise AWAY

    monkeypatch.setattr(world.parts.database, "write", losing)
    await worked_beside_a_slow_mail(world)
    await world.work()
    assert lost == ["committed" if kept else "rolled back"]
    assert world.states() == {"invited": 2}
    assert len(world.rows(SessionRow)) == len(world.asked) == 2
    assert sorted(message.to for message in world.senders["email"].messages) == ["jonas@example.org", "ona@example.org"]
