"""`onboard move`: unopened stable links lead to another account, and no customer gets a message."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from tests.engine.test_stable_links import AHEAD, ON_CLICK, ask, later, see, sent, visited
from tests.simulated.world import customer
from worker.domain.links.door import Finished, Lead, Press
from worker.store.links.moves import Move, Moved
from worker.store.tables import Audit, SessionRow

HOUR = timedelta(hours=1)


@pytest.fixture
def ahead(make):
    return make(sender=AHEAD)


@pytest.fixture
def on_click(make):
    return make(sender=ON_CLICK)


def to_au(batch_id=None, fits=lambda _: True):
    return Move("kyc", "au", "frankieone-v2", fits, batch_id)


def move(world, **how):
    return world.parts.moves.move(to_au(**how), now=world.clock())


def at_once(*calls):
    """What these calls return, each made by a thread of its own."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return [each.result() for each in [pool.submit(call) for call in calls]]


def account_of(world, name):
    return world.job(name).account


async def test_an_unopened_link_leads_to_the_new_accounts_session_which_is_bought_when_it_is_opened(ahead):
    (secret,) = await sent(ahead)
    assert ahead.parts.moves.count(to_au(), now=ahead.clock()) == Moved(1, 1, 0)
    assert move(ahead) == Moved(1, 1, 0)
    assert [row.state for row in ahead.rows(SessionRow)] == ["superseded", "unbought"]
    await ahead.work()
    assert (see(ahead, secret).decision, ahead.budget("au").credits_used) == (Press(replaces=True), 0)
    ask(ahead, secret)
    await ahead.work()
    assert (see(ahead, secret).decision, see(ahead, secret).account) == (Lead(), "au")
    assert (ahead.budget("kyc").credits_used, ahead.budget("au").credits_used) == (1, 1)
    assert len(ahead.senders["email"].messages) == 1
    first, _, third = ahead.rows(SessionRow)
    assert third.replaces == first.id  # one chain: a result for the first still ends the job


async def test_who_was_in_the_session_that_a_move_gave_up_buys_no_other_during_its_review(ahead):
    (secret,) = await sent(ahead)
    move(ahead)
    before, _ = ahead.rows(SessionRow)
    assert see(ahead, secret).decision == Press(replaces=True)
    ahead.set(SessionRow, SessionRow.id == before.id, result="review")
    assert [look(ahead, secret).decision for look in (see, ask)] == [Finished()] * 2
    await ahead.work()
    assert (len(ahead.rows(SessionRow)), ahead.budget("au").credits_used) == (2, 0)


async def test_an_unbought_link_is_moved_without_giving_up_anything(on_click):
    (secret,) = await sent(on_click)
    assert move(on_click) == Moved(1, 0, 0)
    ask(on_click, secret)
    await on_click.work()
    assert see(on_click, secret).account == "au"
    assert on_click.budget("kyc").credits_used == 0


async def test_opened_links_stay_and_so_do_those_whose_visitor_may_be_inside(ahead):
    opened, inside, _ = await sent(ahead, "A", "B", "C")
    visited(ahead, opened, opened=True)
    await later(2 * HOUR)
    visited(ahead, inside)
    ahead.set(SessionRow, SessionRow.customer_id == "C", state="started")
    assert move(ahead) == Moved()
    assert {account_of(ahead, name) for name in "ABC"} == {"kyc"}
    assert (see(ahead, opened).decision, see(ahead, inside).decision) == (Lead(), Lead())
    await later(2 * HOUR)
    assert move(ahead) == Moved(1, 1, 0)
    assert account_of(ahead, "B") == "au"


async def test_only_the_batchs_rows_are_moved_and_only_customers_that_the_account_can_serve(ahead):
    await sent(ahead, "A")
    other = ahead.add(customer("B"), customer("C"))
    await ahead.work()
    assert move(ahead, batch_id=other, fits=lambda who: who.customer_id != "C") == Moved(1, 1, 1)
    assert [account_of(ahead, name) for name in "ABC"] == ["kyc", "au", "kyc"]


async def test_the_same_move_again_finds_nothing_left(ahead):
    await sent(ahead)
    move(ahead)
    assert move(ahead) == Moved()


async def test_a_move_is_in_the_audit_log_with_its_size_in_the_transaction_of_the_change(ahead, monkeypatch):
    await sent(ahead, "A", "B")
    monkeypatch.setattr("worker.store.links.moves.note", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        move(ahead)
    assert [account_of(ahead, name) for name in "AB"] == ["kyc", "kyc"]
    monkeypatch.undo()
    move(ahead)
    query = sa.select(Audit.subject, Audit.count, Audit.reason).where(Audit.reason.like("unopened links%"))
    with ahead.parts.database.read() as connection:
        assert connection.execute(query).all() == [
            ("account kyc", 2, "unopened links of kyc moved to au; 2 sessions given up")
        ]


async def test_a_customer_who_comes_during_the_move_is_served_once(make_on_both):
    world = make_on_both(sender=ON_CLICK)
    (secret,) = await sent(world)
    at_once(partial(move, world), partial(ask, world, secret))
    await world.work()
    assert see(world, secret).decision == Lead()
    assert len(world.http.requests) == 1


async def test_two_processes_that_are_pressed_at_once_buy_one_session(make_on_both):
    world = make_on_both(sender=ON_CLICK)
    (secret,) = await sent(world)
    asked = at_once(*[partial(ask, world, secret)] * 4)
    assert sum(bool(one.due) for one in asked) == 1
    await world.work()
    assert len(world.http.requests) == 1
