"""Which rows get the slots while events and batches both wait, and what happens to reserved slots that are not used."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.database.tables import Budget, InvitationRow, Job
from onboarding_worker.core.model.states import BATCH, EVENT
from onboarding_worker.core.rules.limits import Limit
from tests.stored.shelf import customer
from tests.stored.statements import statements
from tests.stored.steps import InvitationSteps, JobSteps

TEN = (Limit.parse("10/second"),)


def crowd(shelf, events=20, batches=20):
    shelf.add(*(customer(f"E{number}") for number in range(events)), priority=EVENT)
    shelf.add(*(customer(f"B{number}") for number in range(batches)), priority=BATCH)


def count(names):
    names = list(names)
    return {kind: sum(name.startswith(kind) for name in names) for kind in "EB"}


def test_while_events_wait_a_share_of_the_slots_stays_for_batches(shelf):
    crowd(shelf)
    claimed = [job.customer.customer_id for job in shelf.claim(most=10)]
    assert count(claimed) == {"E": 8, "B": 2}
    assert claimed[:8] == [f"E{number}" for number in range(8)]


def test_slots_that_events_do_not_need_go_to_batches_and_the_other_way_round(shelf):
    crowd(shelf, events=3, batches=9)
    assert count(job.customer.customer_id for job in shelf.claim(most=10)) == {"E": 3, "B": 7}
    shelf.add(*(customer(f"E{number}") for number in range(100, 120)), priority=EVENT)
    assert count(job.customer.customer_id for job in shelf.claim(most=10)) == {"E": 8, "B": 2}
    assert count(job.customer.customer_id for job in shelf.claim(most=10)) == {"E": 10, "B": 0}


def test_single_slots_go_to_batches_according_to_their_share(shelf):
    jobs = JobSteps(shelf.database, shelf.keyring, jitter=iter([0.0, 0.3, 0.6, 0.85, 0.5]).__next__)
    crowd(shelf)
    claimed = [jobs.claim(shelf.policy, most=1, now=shelf.clock()).jobs[0] for _ in range(5)]
    assert count(job.customer.customer_id for job in claimed) == {"E": 4, "B": 1}


def test_invitations_share_as_jobs_do(shelf):
    crowd(shelf)
    while shelf.issue():
        pass
    messages = InvitationSteps(shelf.database, shelf.keyring, jitter=lambda: 0.0)
    claimed = messages.claim(shelf.message_policy, most=10, now=shelf.clock()).invitations
    assert count(item.customer.customer_id for item in claimed) == {"E": 8, "B": 2}
    assert {row.state for row in shelf.rows(InvitationRow)} == {"waiting", "working"}


@pytest.mark.parametrize(("events", "leases"), [(0, 1), (1, 2)])
def test_a_claim_leases_once_for_each_priority_that_is_due(shelf, events, leases):
    crowd(shelf, events=events)
    with statements(shelf.database) as made:
        shelf.claim(most=10)
    assert sum("UPDATE job" in text for text in made) == leases


def test_an_event_that_is_not_due_yet_and_one_of_another_account_cost_no_statement(shelf):
    crowd(shelf, events=2)
    shelf.set(Job, Job.customer_id == "E0", due_at=shelf.clock() + timedelta(hours=1))
    shelf.set(Job, Job.customer_id == "E1", account="other")
    with statements(shelf.database) as made:
        shelf.claim(most=10)
    assert sum("UPDATE job" in text for text in made) == 1


def release(shelf, store, policy, items, slots):
    """Release rows that are not called, and their slots."""
    store.release(policy, items, now=shelf.clock())
    store.flush(policy, [], None, clock=shelf.clock, unused=slots)


def next_at(shelf):
    return shelf.row(Budget, name="kyc").next_at


def test_slots_of_rows_that_are_released_are_free_again(shelf):
    policy = shelf.ruled(limits=TEN)
    shelf.jobs.horizon = timedelta(seconds=10)
    crowd(shelf, events=0, batches=5)
    claimed = shelf.jobs.claim(policy, most=10, now=shelf.clock())
    release(shelf, shelf.jobs, policy, claimed.jobs[2:], claimed.slots[2:])
    assert next_at(shelf) == shelf.clock() + timedelta(milliseconds=200)
    assert shelf.jobs.claim(policy, most=10, now=shelf.clock()).slots == claimed.slots[2:]


def test_an_unused_slot_before_a_reserved_slot_stays_lost(shelf):
    policy = shelf.ruled(limits=TEN)
    shelf.jobs.horizon = timedelta(seconds=10)
    crowd(shelf, events=0, batches=4)
    first, second = (shelf.jobs.claim(policy, most=2, now=shelf.clock()) for _ in range(2))
    before = next_at(shelf)
    release(shelf, shelf.jobs, policy, first.jobs, first.slots)
    assert next_at(shelf) == before
    release(shelf, shelf.jobs, policy, second.jobs, second.slots)
    assert next_at(shelf) == second.slots[0]


def test_no_slot_is_earlier_than_a_slow_dispatcher_needs_and_the_next_claim_comes_before_the_last_one(shelf):
    lead, hundredth = timedelta(seconds=1.5), timedelta(milliseconds=10)
    policy = shelf.ruled(limits=(Limit.parse("100/second"),))
    crowd(shelf, events=0, batches=500)
    claimed = shelf.jobs.claim(policy, most=500, lead=lead, now=shelf.clock())
    assert claimed.slots[0] == shelf.clock() + lead
    assert claimed.slots[-1] == shelf.clock() + lead + 3 * lead  # its claims take as long
    assert claimed.again_at == claimed.slots[-1] + hundredth - lead - lead


def test_slots_of_invitations_that_are_released_are_free_again(shelf):
    crowd(shelf, events=0, batches=3)
    shelf.issue()
    rule = replace(shelf.message_policy.rule, limits=TEN)
    policy = replace(shelf.message_policy, rule=rule)
    shelf.invitations.horizon = timedelta(seconds=10)
    claimed = shelf.invitations.claim(policy, most=10, now=shelf.clock())
    release(shelf, shelf.invitations, policy, claimed.invitations, claimed.slots)
    assert shelf.row(Budget, name="sender/email").next_at == shelf.clock()


def test_a_limit_that_was_found_spaces_the_slots_and_is_kept_with_the_budget(shelf):
    policy = shelf.ruled(limits=TEN)
    shelf.jobs.horizon = timedelta(seconds=10)
    shelf.set(Budget, Budget.name == "kyc", pace_rate=5.0)
    crowd(shelf, events=0, batches=3)
    shelf.claim(policy=policy)
    assert shelf.slots == [0, 0.2, 0.4]
    assert shelf.budgets.all()["kyc"].pace.rate == 5.0
    assert shelf.budgets.all()["kyc"].pace.granted == 3
    crowd(shelf, events=0, batches=1)
    room = Room(1, 0, horizon=timedelta(seconds=10))
    assert shelf.jobs.flush(policy, [], room, clock=shelf.clock).spacing == timedelta(seconds=0.2)


def test_an_event_is_claimed_though_all_slots_within_the_horizon_are_reserved_and_rows_of_batches_are_not(shelf):
    policy = replace(shelf.ruled(limits=TEN), ahead=timedelta(milliseconds=400))
    crowd(shelf, events=0, batches=9)
    shelf.claim(policy=policy)
    assert shelf.slots == [0, 0.1]
    assert shelf.claim(policy=policy) == []
    crowd(shelf, events=1, batches=0)
    (job,) = shelf.claim(policy=policy)
    assert (job.is_event, shelf.slots) == (True, [0.2])


def test_an_event_is_claimed_when_there_is_no_room_for_batches(shelf):
    crowd(shelf, events=3, batches=9)
    (job,) = shelf.jobs.claim(shelf.policy, most=0, events=1, now=shelf.clock()).jobs
    assert job.is_event
    shelf.issue()
    shelf.finish(shelf.got(*shelf.open([job])))
    messages = shelf.invitations.claim(shelf.message_policy, most=0, events=2, now=shelf.clock()).invitations
    assert [message.is_event for message in messages] == [True, True]


def test_slots_are_reserved_again_when_a_third_of_the_horizon_is_left(shelf):
    policy = shelf.ruled(limits=(Limit.parse("100/second"),))
    crowd(shelf, events=0, batches=30)
    first = shelf.jobs.claim(policy, most=100, now=shelf.clock())
    assert first.again_at == first.slots[-1] + timedelta(milliseconds=10) - shelf.jobs.horizon / 3
    full = shelf.jobs.claim(policy, most=100, now=shelf.clock())
    assert (full.jobs, full.again_at) == ([], first.again_at)


def test_two_workers_leave_every_other_slot_to_each_other(shelf):
    hundred = (Limit.parse("100/second"),)
    policy = replace(shelf.policy, rule=replace(shelf.policy.rule, limits=hundred))
    mine, other = (JobSteps(shelf.database, shelf.keyring, jitter=lambda: 0.0) for _ in range(2))
    mine.horizon = other.horizon = timedelta(seconds=1)
    shelf.add(*(customer(f"B{number}") for number in range(40)), priority=BATCH)
    start = shelf.clock()
    assert places(mine.claim(policy, most=5, now=start).slots, start) == [0, 1, 2, 3, 4]  # it is alone
    elsewhere = replace(policy, owner="there:1")
    assert places(other.claim(elsewhere, most=5, now=start).slots, start) == [5, 7, 9, 11, 13]
    shelf.clock.advance(seconds=0.01)
    assert places(other.claim(elsewhere, most=6, now=shelf.clock()).slots, start) == [6, 8, 10, 12, 14, 15]
    [budget] = [row for row in shelf.rows(Budget) if row.name == policy.rule.name]
    assert [budget.left_at, budget.next_at] == [start + place * timedelta(milliseconds=10) for place in (16, 17)]


def places(slots, start):
    return [(slot - start) // timedelta(milliseconds=10) for slot in slots]
