"""Links that live for an hour, and a sender that needs ten hours for the list: not one leaves too old.

In full size: `python -m trials.freshness`.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_testing.fakes import FakeSender
from onboarding_worker.core.database.tables import Budget, InvitationRow, Job
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.states import JobState
from onboarding_worker.reporting.store.outlook import outlook_of
from onboarding_worker.runtime.batch_run import next_move
from tests.simulated.events import requested
from tests.simulated.queue import HOUR, Case, lived
from tests.simulated.world import customer

MINUTE = timedelta(minutes=1)
KYB = Case(rows=40, every=15 * MINUTE, lifetime=4 * HOUR, floor=2 * HOUR, pause=(4 * HOUR, 3 * HOUR))
FRANKIEONE = replace(KYB, at_once=False, quiet="21:00-08:00")


@pytest.mark.parametrize("case", [pytest.param(KYB, id="any-time"), pytest.param(FRANKIEONE, id="must-wait")])
async def test_in_a_queue_far_longer_than_a_link_lives_no_link_leaves_too_old_and_few_are_bought_twice(make, case):
    outcome = await lived(make, case)
    assert outcome.jobs == {"invited": case.rows}
    assert min(outcome.left) >= case.floor
    # Only links that were in the queue when the sender paused, or the night began, are bought twice: a full queue.
    queue = (case.lifetime - case.floor) / 2 // case.every
    assert outcome.bought <= case.rows + queue * (2 if case.quiet else 1)
    # The sender was never idle while it could send.
    shut = 3 * HOUR + (11 * HOUR if case.quiet else 0 * HOUR)
    assert outcome.took <= case.rows * case.every * 1.1 + shut


class Stoppable(FakeSender):
    """Refuses our credentials until it is put right."""

    broken = True

    async def send(self, message, may_write=None):
        return Problem(Kind.AUTH, "HTTP 401") if self.broken else await super().send(message, may_write)


@pytest.mark.both_databases
async def test_while_a_sender_is_stopped_no_session_is_asked_for_that_only_it_could_tell_of(make):
    world = make(senders={"email": FakeSender(), "sms": Stoppable()}, concurrency=1)
    world.set(Budget, Budget.name == "sender/sms", stopped_at=world.clock(), stop_reason="HTTP 401")
    batch = world.add(
        *(customer(f"T{number}", channel=Channel.SMS) for number in range(3)),
        customer("Both", channel=Channel.BOTH),
        customer("Mail"),
        customer("Link", channel=Channel.NONE),
    )
    await world.work()
    assert sorted(world.asked) == ["Link", "Mail"]
    waiting = world.rows(Job, state=JobState.WAITING)
    assert {(row.reason, row.attempts, row.waits, row.lease_until) for row in waiting} == {
        ("waits_for_sender", 0, 0, None)
    }
    assert all(4 * MINUTE < row.due_at - world.clock() <= 5 * MINUTE for row in waiting)
    outlook = outlook_of(world.parts.database, batch)
    assert set(outlook.for_senders) == {("kyc", Channel.SMS), ("kyc", Channel.BOTH)}
    assert (
        next_move(world.parts.budget_rules, world.parts.takeovers, outlook, batch, now=world.clock()) is None
    )  # a person's turn
    waits = world.parts.reporting.status(world.parts.batches.find(str(batch)))["waits"]["waits_for_sender"]
    assert waits["rows"] == 4
    assert waits["because"].startswith("the sender sms is stopped: ")
    world.senders["sms"].broken = False
    world.parts.resume()  # what waits is looked at again at once, and a second later when a text was still in the queue
    assert await world.live(lambda: world.states() == {"issued": 1, "invited": 5}) < MINUTE


@pytest.mark.both_databases
async def test_an_hour_that_has_passed_is_not_named_as_what_rows_wait_for(make):
    world = make(senders={"email": Stoppable()}, concurrency=1)
    world.set(Budget, Budget.name == "sender/email", stopped_at=world.clock(), stop_reason="HTTP 401")
    batch = world.parts.batches.find(str(world.add(customer("Mail"))))
    await world.work()
    assert world.parts.reporting.status(batch)["waits"]["waits_for_sender"]["rows"] == 1
    # The sender works again, and meanwhile the account is stopped: no process looks at the row at its hour.
    world.set(Budget, Budget.name == "sender/email", stopped_at=None, stop_reason="")
    world.set(Budget, Budget.name == "kyc", stopped_at=world.clock(), stop_reason="HTTP 401")
    world.clock.advance(minutes=6)
    status = world.parts.reporting.status(batch)
    assert "waits" not in status
    assert status["forecast"]["limited_by"] == "kyc is stopped: HTTP 401"


async def test_what_waits_for_a_sender_is_put_off_by_the_lot_and_not_taken_for_it(make, monkeypatch):
    monkeypatch.setattr("onboarding_worker.core.work.store.gates.CHUNK", 10)
    world = make(sender='limits = ["1/hour"]', concurrency=1)
    world.add_many(30)
    await world.issue()
    assert len(world.asked) == len(world.rows(InvitationRow)) >= 1
    waits = world.rows(Job, reason="waits_for_sender")
    assert len(waits) == 30 - len(world.asked)
    assert all(row.due_at == world.clock() + 10 * MINUTE for row in waits)


async def test_what_waits_for_the_end_of_a_senders_pause_says_so(make):
    world = make()
    until = world.clock() + 2 * HOUR
    world.set(Budget, Budget.name == "sender/email", blocked_until=until, pause_reason="421 later")
    batch = world.add(customer("Ona"))
    await world.work()
    assert (world.asked, world.job("Ona").due_at) == ([], until)
    move = next_move(
        world.parts.budget_rules,
        world.parts.takeovers,
        outlook_of(world.parts.database, batch),
        batch,
        now=world.clock(),
    )
    assert (move.at, move.state.pause_reason) == (until, "421 later")


async def test_a_short_pause_of_a_sender_keeps_nobody_waiting(make):
    world = make()
    world.set(Budget, Budget.name == "sender/email", blocked_until=world.clock() + MINUTE / 2)
    world.add(customer("Ona"))
    await world.issue()
    assert world.asked == ["Ona"]


async def test_an_event_is_not_kept_waiting_by_the_queue_of_a_list(make):
    world = make(sender='limits = ["1/hour"]')
    world.parts.providers["kyc"].lifetime = HOUR
    world.add_many(3, floor=HOUR / 2)
    await world.issue()
    before = len(world.asked)
    world.receiver().receive([requested("C-1")])
    await world.issue()
    assert world.asked[before:] == ["C-1"]


async def test_a_link_that_grows_too_old_while_its_message_waits_for_its_slot_is_not_sent(make):
    route = '[[routes]]\naccounts = ["kyc"]\nfreshness = "604799 s"'
    world = make(sender='limits = ["5/second"]', more=route)
    world.add(customer("Ona"), customer("Jonas"), floor=timedelta(days=7) - timedelta(seconds=1))
    await world.issue()
    world.clock.advance(seconds=0.76)  # fresh when the second slot is reserved, and not when it begins
    await world.invite()
    left = [message.valid_for for message in world.senders["email"].messages]
    assert len(left) == 1
    assert left[0] >= timedelta(days=7) - timedelta(seconds=1)
