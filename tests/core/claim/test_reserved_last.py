"""A claim leases rows by what it sees of the budget, and reserves their slots under the budget's lock."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, Budget, Job
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import EVENT, JobState
from onboarding_worker.core.rows import unknown_outcomes
from onboarding_worker.core.rules.limits import Limit, UsedCredits
from onboarding_worker.core.rules.throughput import MeasuredThroughput
from tests.core.rules.call_outcomes import call_outcome
from tests.stored.shelf import customer
from tests.stored.statements import statements

pytestmark = pytest.mark.both_databases

SECOND = timedelta(seconds=1)


def test_what_a_claim_asks_first_is_the_whole_state_of_the_budget(shelf):
    name, now = shelf.policy.rule.name, shelf.clock()
    known = {"measured": MeasuredThroughput(70.0, 2.0, now), "spent": UsedCredits(now.date(), 1, 2, 3)}
    with shelf.database.write() as connection:
        budgets.save(connection, name, replace(budgets.read(connection, name), failures=2, **known))
    with shelf.database.write() as connection:  # another one, which has read nothing of it yet
        first = budgets.ask_first(connection, name, sa.exists(sa.select(sa.literal(1))), {}, beside=())
    assert first.state == shelf.budgets.all()[name]
    assert (first.state.failures, first.state.measured, first.state.spent) == (2, *known.values())


@pytest.fixture
def policy(shelf):
    """Ten slots a second, of which a claim sees those of a second."""
    shelf.jobs.horizon = SECOND
    return shelf.ruled(limits=(Limit.parse("10/second"),))


@pytest.fixture
def overtaken(shelf, monkeypatch) -> Callable[[Callable[[], object]], None]:
    """Something happens in another transaction after the next claim has looked at the budget."""
    if shelf.database.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    shelf.claim()  # the permits, which a first claim asks for under the budget's lock
    look = budgets.to_claim

    def by(happens: Callable[[], object]) -> None:
        def seen(*given, **how):
            found = look(*given, **how)
            monkeypatch.setattr(budgets, "to_claim", look)
            happens()
            return found

        monkeypatch.setattr(budgets, "to_claim", seen)

    return by


def test_no_slot_is_reserved_twice_and_rows_without_one_are_due_as_before(shelf, policy, overtaken):
    shelf.add(*(customer(f"C{number}") for number in range(30)))
    due = {row.due_at for row in shelf.rows(Job)}
    theirs = []
    overtaken(lambda: theirs.append(shelf.jobs.claim(policy, most=6, now=shelf.clock())))

    mine = shelf.jobs.claim(policy, most=20, now=shelf.clock())

    assert [(slot - shelf.clock()) / SECOND for slot in (*theirs[0].slots, *mine.slots)] == [
        pytest.approx(number / 10) for number in range(11)
    ]
    assert len(mine.jobs) == 5
    again_in = mine.again_at - shelf.clock()
    assert again_in / SECOND == pytest.approx(1.1 - 1 / 3, abs=1e-5)  # two thirds of the horizon are free then
    waiting = shelf.rows(Job, state=JobState.WAITING)
    assert len(waiting) == 19
    assert {(row.lease_until, row.due_at) for row in waiting} == {(None, *due)}


def test_rows_without_a_slot_cost_one_statement_while_others_wait_for_the_budget(shelf, policy, overtaken):
    shelf.add(*(customer(f"C{number}") for number in range(30)))
    overtaken(lambda: shelf.jobs.claim(policy, most=6, now=shelf.clock()))
    with statements(shelf.database) as made:
        shelf.jobs.claim(policy, most=20, now=shelf.clock())
    locked = max(place for place, text in enumerate(made) if "FROM budget" in text and text.endswith("FOR UPDATE"))
    assert [" ".join(text.split()[:2]) for text in made[locked + 1 :]] == ["UPDATE job", "UPDATE budget"]


def test_events_get_later_slots_where_batch_rows_get_none_beyond_the_horizon(shelf, policy, overtaken):
    shelf.add(*(customer(f"B{number}") for number in range(30)))
    shelf.add(*(customer(f"E{number}") for number in range(3)), priority=EVENT)

    def others_claim() -> None:
        shelf.jobs.claim(policy, most=8, now=shelf.clock())
        shelf.add(*(customer(f"F{number}") for number in range(4)), priority=EVENT)

    overtaken(others_claim)
    mine = shelf.jobs.claim(replace(policy, ahead=SECOND), most=9, now=shelf.clock())

    names = [job.customer.customer_id for job in mine.jobs]
    assert [name[0] for name in names] == ["F", "F", "F", "F"]
    assert [(slot - shelf.clock()) / SECOND for slot in mine.slots] == [pytest.approx(0.8 + n / 10) for n in range(4)]


def test_an_account_that_was_paused_meanwhile_gets_no_call(shelf, policy, overtaken):
    shelf.add(customer("Ona"), customer("Jonas"))
    refused = call_outcome(shelf.clock(), Kind.RATE_LIMITED, retry_after=timedelta(minutes=1))

    def pause() -> None:
        with shelf.database.write() as connection:
            budgets.apply_outcomes(connection, policy.rule, [refused], now=shelf.clock())

    overtaken(pause)
    claimed = shelf.jobs.claim(policy, most=20, now=shelf.clock())
    assert (claimed.jobs, claimed.slots, claimed.again_at) == ([], (), shelf.clock() + timedelta(minutes=1))
    assert {row.state for row in shelf.rows(Job)} == {JobState.WAITING}
    assert shelf.rows(Attempt) == []


def test_an_account_whose_pause_began_and_ended_meanwhile_gets_no_call_before_its_first_one_alone(
    shelf, policy, overtaken
):
    shelf.add(customer("Ona"), customer("Jonas"))
    overtaken(lambda: shelf.set(Budget, Budget.name == "kyc", pauses=1))
    claimed = shelf.jobs.claim(policy, most=20, now=shelf.clock())
    assert (claimed.jobs, claimed.again_at) == ([], shelf.clock())
    assert [job.probe for job in shelf.jobs.claim(policy, most=20, now=shelf.clock()).jobs] == [True]


def ended_with_an_unknown_call(shelf, policy) -> None:
    """A job that ended while its call had an unknown outcome, which may be looked up now."""
    shelf.add(customer("Ona"))
    (opened,) = shelf.open(shelf.claim(policy=policy), policy=policy)
    shelf.set(
        Job,
        Job.id == opened.id,
        state=JobState.COMPLETED,
        due_at=None,
        unknown_attempt=opened.attempt_id,
        lease_until=shelf.clock(),
        lease_owner=unknown_outcomes.NO_OWNER,
    )
    unknown = {"closed_at": shelf.clock(), "outcome": "unknown"}
    shelf.set(Attempt, Attempt.id == opened.attempt_id, **unknown)


def test_a_look_up_of_an_ended_job_that_was_not_made_in_time_may_be_claimed_again_at_once(shelf, policy):
    """At the end of its lease a new dispatcher would miss its slot again, on a slow database for ever."""
    ended_with_an_unknown_call(shelf, policy)
    for _ in range(2):
        shelf.clock.advance(seconds=1)
        (job,) = shelf.claim(policy=policy)
        assert job.ended
        (look_up,) = shelf.open([job], policy=policy)
        shelf.finish(CallResult(look_up, shelf.clock(), None), policy=policy)
    assert shelf.row(Job).state is JobState.COMPLETED


def test_the_look_up_of_an_ended_job_without_a_slot_may_be_claimed_again_at_once(shelf, policy, overtaken):
    ended_with_an_unknown_call(shelf, policy)
    shelf.add(*(customer(f"C{number}") for number in range(20)))
    shelf.clock.advance(seconds=2)
    shelf.claim(most=0)  # the permits are asked for again
    overtaken(lambda: shelf.jobs.claim(policy, most=11, now=shelf.clock()))

    assert shelf.jobs.claim(policy, most=20, now=shelf.clock()).jobs == []

    shelf.clock.advance(seconds=2)
    assert any(job.ended for job in shelf.jobs.claim(policy, most=20, now=shelf.clock()).jobs)


@pytest.mark.parametrize("for_event", [True, False], ids=["for an event", "for permits alone"])
def test_a_claim_for_an_event_locks_the_budget_with_its_first_question_and_one_for_permits_does_not(
    shelf, policy, for_event
):
    """The lock costs an event's claim no wait of its own. A worker without a free permit asks five times a second."""
    shelf.claim(policy=policy)  # the permits, which a first claim asks for under the budget's lock
    shelf.add(customer("Ona"), priority=EVENT)
    room = Room(0, 1 if for_event else 0, horizon=SECOND, for_event=for_event)

    with statements(shelf.database) as made:
        flushed = shelf.jobs.flush(policy, [], room, clock=shelf.clock)

    read = [text for text in made if "FROM budget" in text]
    locks = " FOR UPDATE" if not shelf.database.is_sqlite else ""
    assert len(flushed.opened) == len(flushed.slots) == int(for_event)
    assert [text.endswith(locks) for text in read] == (
        [True, False] if locks and for_event else [not locks] * len(read)
    )
