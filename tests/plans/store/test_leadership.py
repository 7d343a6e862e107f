"""A row leads in place of another list's only where, by its own plan and channel, it goes no later."""

from dataclasses import replace
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import BatchPlan, Job
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import BATCH, EVENT
from onboarding_worker.lists.store import refreshed
from onboarding_worker.lists.store.added_lines import all_added
from onboarding_worker.plans.store.pilots import Pilots
from onboarding_worker.plans.store.plans import Plan
from tests.stored.shelf import add_lines, customer, line

NAMES = [f"C{row:02}" for row in range(2, 10)]
WEEK = timedelta(days=7)

pytestmark = pytest.mark.both_databases


@pytest.fixture
def planned(shelf):
    """Imports a list with a plan and these customers."""

    def make(*names, channel=Channel.EMAIL, priority=BATCH, **plan) -> int:
        name = f"list{len(shelf.rows(Job))}.csv"
        batch, _ = shelf.batches.open(name=name, digest=name, again=False, now=shelf.clock(), plan=Plan(**plan))
        lines = [line(row, customer(name, channel=channel)) for row, name in enumerate(names, 2)]
        add_lines(shelf.batches, batch.id, lines, priority=priority, now=shelf.clock())
        all_added(shelf.batches, batch.id, now=shelf.clock())
        return batch.id

    return make


@pytest.fixture
def alone(shelf, decide):
    """What a `run` of this list alone does; returns the customers whose rows of it lead."""

    def run(batch: int) -> list[str]:
        decide.take_leads(batch, stopped_only=False, now=shelf.clock())
        return leading(shelf, batch)

    return run


def leading(shelf, batch: int) -> list[str]:
    return [row.customer_id for row in shelf.rows(Job, batch_id=batch) if row.leader_id is None]


def test_a_pilot_of_customers_who_wait_for_a_list_that_nobody_works_has_its_first_rows(shelf, planned, alone, clock):
    other = shelf.add(*map(customer, NAMES))
    pilots, batch = Pilots(shelf.database), planned(*NAMES, first="25%", condition="sent >= 1 within 4 hours")
    assert alone(batch) == []
    assert pilots.step(now=clock()) == {}  # nothing is chosen, and nothing has passed
    assert pilots.verdict_by(batch, now=clock()) is None

    pilots.choose(batch, alone=True, now=clock())
    assert pilots.step(now=clock()) == {}
    assert alone(batch) == NAMES[:2]
    assert leading(shelf, other) == NAMES[2:]
    refreshed.apply(shelf.database, shelf.keyring, now=clock())
    of_batch = replace(shelf.policy, only_batch=batch)
    assert [job.customer.customer_id for job in shelf.issue(policy=of_batch)] == NAMES[:2]

    shelf.send()
    clock.advance(minutes=5)
    assert pilots.step(now=clock())[batch].met
    assert alone(batch) == NAMES


def test_a_pilot_whose_customers_another_list_has_taken_back_is_chosen_again(shelf, planned, alone, clock):
    other = shelf.add(*map(customer, NAMES[:2]))
    pilots, batch = Pilots(shelf.database), planned(*NAMES, first="2", condition="sent >= 1 within 4 hours")
    pilots.choose(batch, alone=True, now=clock())
    pilots.step(now=clock())
    assert alone(other) == NAMES[:2]
    assert pilots.step(now=clock() + timedelta(seconds=5)) == {}
    assert pilots.step(now=clock() + timedelta(seconds=9)) == {}
    assert shelf.row(BatchPlan).last_row == 5


@pytest.mark.parametrize("plan", [{"start_at": WEEK}, {"per_hour": 1}, {"start_at": WEEK, "per_hour": 1}])
def test_a_row_that_leads_does_not_wait_by_the_other_lists_plan(shelf, planned, alone, clock, plan):
    if "start_at" in plan:
        plan = plan | {"start_at": clock() + plan["start_at"]}
    first = planned("B", "C", **plan)
    # As if it had been imported before the plan was the reason.
    shelf.set(Job, Job.batch_id == first, reason="transient", attempts=1)
    later = shelf.add(customer("C"))
    shelf.set(Job, Job.batch_id == first, reason="planned")
    assert alone(later) == ["C"]
    row = shelf.row(Job, batch_id=later)
    assert (row.due_at, row.reason, row.attempts) == (clock(), "", 1)


@pytest.mark.parametrize("how", ["list", "event", "pilot", "spent"])
def test_a_row_leads_at_once_where_the_other_waits_by_its_lists_plan(shelf, planned, clock, how):
    plan = {"first": "1"} if how == "pilot" else {"start_at": clock() + WEEK}
    first = planned("C", **plan)
    if how == "spent":
        shelf.set(Job, due_at=clock(), reason="credits_spent")
    batch = shelf.add(customer("C"), priority=EVENT if how == "event" else BATCH)
    assert (leading(shelf, first), leading(shelf, batch)) == ([], ["C"])
    assert shelf.row(Job, batch_id=batch).due_at == clock()
    assert planned("C", start_at=clock() + WEEK)
    assert leading(shelf, batch) == ["C"]


@pytest.mark.parametrize(
    ("plan", "leads"),
    [
        ({"start_at": WEEK}, []),
        ({"per_hour": 1}, NAMES[:1]),
        ({"most_credits": 2}, NAMES[:2]),
        ({"first": "1"}, []),
        ({"per_hour": 10_000_000}, NAMES[:1]),
    ],
)
def test_a_row_that_goes_later_by_its_own_plan_stays_joined(shelf, planned, alone, clock, plan, leads):
    if "start_at" in plan:
        plan = {"start_at": clock() + plan["start_at"]}
    first = shelf.add(*map(customer, NAMES))
    batch = planned(*NAMES, **plan)
    assert alone(batch) == alone(batch) == leads
    assert leading(shelf, first) == NAMES[len(leads) :]
    assert {row.due_at for row in shelf.rows(Job) if row.leader_id is None} == {clock()}


def test_the_customers_of_a_start_that_is_sooner_go_then(shelf, planned, alone, clock):
    planned("C", start_at=clock() + WEEK)
    sooner = planned("C", start_at=clock() + WEEK / 2)
    assert alone(sooner) == ["C"]
    row = shelf.row(Job, batch_id=sooner)
    assert (row.due_at, row.reason) == (clock() + WEEK / 2, "planned")


def test_a_row_without_a_message_leaves_the_lead_to_one_with_a_message(shelf, alone, clock):
    first = shelf.add(customer("C", channel=Channel.SMS))
    shelf.set(Job, due_at=clock() + timedelta(hours=8), reason="quiet_hours")
    assert alone(shelf.add(customer("C", channel=Channel.NONE))) == []
    by_mail = shelf.add(customer("C"))
    assert alone(by_mail) == ["C"]
    row = shelf.row(Job, batch_id=by_mail)
    assert (row.due_at, row.reason, leading(shelf, first)) == (clock(), "", [])


def test_a_failed_calls_wait_and_the_end_of_a_session_stay(shelf, alone, clock):
    shelf.add(customer("C"))
    at = clock() + timedelta(hours=8)
    shelf.set(Job, due_at=at, reason="session_ends_first", attempts=2)
    batch = shelf.add(customer("C"))
    assert alone(batch) == ["C"]
    row = shelf.row(Job, batch_id=batch)
    assert (row.due_at, row.reason, row.attempts) == (at, "session_ends_first", 2)
