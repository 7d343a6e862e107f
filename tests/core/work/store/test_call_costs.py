"""What calls cost their list and their account: which are counted, which credits come back, and to which day."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, Budget, Job
from onboarding_worker.core.model.endings import Done, Hold, Kind, Problem, Reconcile, Retry
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.limits import CreditCap
from onboarding_worker.core.rules.reconciliation import More, Nothing, UnknownCall, Unmatched
from onboarding_worker.core.work.store import call_costs
from onboarding_worker.plans.store.plans import Plan
from tests.stored.reconciling import advance, drop, reconcilable
from tests.stored.shelf import customer

HOUR = timedelta(hours=1)


def left(shelf, batch, most, wanted):
    with shelf.database.read() as connection:
        return call_costs.left(connection, batch, most, wanted)


@pytest.fixture
def called(shelf):
    """Three calls of a list, one of which was refused; a message of it; and a call of another list."""
    batch = shelf.add(customer("Ona"), customer("Jonas"), customer("Rasa"))
    ona, jonas, rasa = shelf.open(shelf.claim())
    refused = Hold(Reason.BAD_INPUT, "")
    shelf.finish(shelf.got(ona), shelf.failed(jonas, Kind.UNKNOWN, Hold(Reason.UNKNOWN, "")))
    shelf.finish(shelf.failed(rasa, Kind.BAD_INPUT, refused))
    shelf.send()
    other = shelf.add(customer("Lina"))
    shelf.open(shelf.claim())
    return batch, other, jonas


def with_look_up(shelf, call, **values):
    row = {**shelf.row(Attempt, id=call.attempt_id)._mapping, "id": uuid4(), "reconciles": call.attempt_id}
    with shelf.database.write() as connection:
        connection.execute(sa.insert(Attempt).values(row | {"outcome": "done", "found": ""} | values))


@pytest.mark.parametrize(
    ("most", "wanted", "may"), [(1, 5, 0), (2, 5, 0), (3, 5, 1), (9, 5, 5), (7, 5, 5), (6, 5, 4), (2, 0, 0)]
)
def test_a_list_may_pay_for_what_is_left_of_its_credits(shelf, called, most, wanted, may):
    assert left(shelf, called[0], most, wanted) == may
    assert left(shelf, called[1], most, wanted) == min(wanted, most - 1)
    assert left(shelf, shelf.batch(), most, wanted) == min(wanted, most)


@pytest.mark.parametrize(
    ("look_up", "free"),
    [
        ({}, 1),
        ({"outcome": "transient"}, 0),
        ({"outcome": "more"}, 0),
        ({"found": "scan-1"}, 0),
        ({"reconciles": UUID(int=1)}, 0),
    ],
    ids=str,
)
def test_a_lost_call_costs_nothing_once_its_own_look_up_found_nothing(shelf, called, look_up, free):
    batch, other, lost = called
    with_look_up(shelf, lost, **look_up)
    assert left(shelf, batch, 2, 5) == free
    assert left(shelf, other, 1, 5) == 0
    shelf.set(Attempt, Attempt.id == lost.attempt_id, outcome="late")
    assert left(shelf, batch, 2, 5) == 0


def test_a_lost_call_of_a_message_gives_its_list_no_credit_back(shelf, called):
    batch, _, lost = called
    with_look_up(shelf, lost)
    shelf.set(Attempt, Attempt.id == lost.attempt_id, invitation_id=uuid4())  # one call is left
    assert left(shelf, batch, 2, 5) == 1


def test_rows_beyond_their_lists_credits_wait_an_hour_and_those_of_other_lists_go(shelf):
    lists = []
    for names, most in ((("Ona", "Jonas", "Rasa"), 2), (("Lina", "Vita"), 1), (("Asta",), None)):
        plan = Plan(most_credits=most)
        batch, _ = shelf.batches.open(name="x", digest=names[0], again=False, now=shelf.clock(), plan=plan)
        shelf.add(*map(customer, names), batch=batch.id)
        lists.append(batch.id)
    shelf.add(customer("Petras"))
    shelf.set(Job, due_at=shelf.clock())
    assert [job.customer.customer_id for job in shelf.flush().opened] == ["Ona", "Jonas", "Lina", "Asta", "Petras"]
    waits = {row.customer_id: row.due_at for row in shelf.rows(Job, reason="credits_spent")}
    assert waits == dict.fromkeys(["Rasa", "Vita"], shelf.clock() + HOUR)
    assert {row.lease_until for row in shelf.rows(Job, state=JobState.WAITING)} == {None}


def test_a_look_up_needs_no_credit_of_its_list(shelf):
    policy = reconcilable(shelf.policy)
    batch, _ = shelf.batches.open(name="x", digest="x", again=False, now=shelf.clock(), plan=Plan(most_credits=1))
    shelf.add(customer("Ona"), customer("Jonas"), batch=batch.id)
    (opened,) = shelf.flush(policy=policy).opened
    lost = Problem(Kind.UNKNOWN, "lost")
    shelf.finish(CallResult(opened, shelf.clock(), Reconcile(shelf.clock(), Reason.UNKNOWN, ""), lost), policy=policy)
    assert [job.looks_up for job in shelf.flush(policy=policy).opened] == [True]


@pytest.mark.parametrize(
    ("kind", "found", "ending", "comes_back"),
    [
        (Kind.UNKNOWN, Nothing(), Done(), True),
        (Kind.CONFLICT, Nothing(), Done(), False),
        (Kind.UNKNOWN, Unmatched(("scan-9",), "one"), Done(), False),
        (Kind.UNKNOWN, More(), Done(), False),
        (Kind.UNKNOWN, None, None, False),
    ],
    ids=str,
)
@pytest.mark.parametrize("days", [0, 1])
def test_the_credit_of_a_lost_call_comes_back_to_its_day_once_it_is_known_to_have_cost_nothing(
    shelf, kind, found, ending, comes_back, days
):
    policy = reconcilable(shelf.ruled(credits_by=(CreditCap(5, "day"),)))
    drop(shelf, policy, customer("Ona"), customer("Jonas"))
    shelf.set(Attempt, outcome=kind.value)
    shelf.clock.advance(days=days)
    shelf.add(customer("Rasa"))
    advance(shelf)
    opened = shelf.open(shelf.claim(policy=policy), policy=policy)
    (look,) = [job for job in opened if job.customer.customer_id == "Ona"]
    before = shelf.row(Budget, name="kyc")
    again = Retry(shelf.clock(), Reason.UNKNOWN, "") if ending is not None else None
    shelf.finish(CallResult(look, shelf.clock(), again, found=found), policy=policy)
    after = shelf.row(Budget, name="kyc")
    assert before.credits_used - after.credits_used == comes_back
    assert before.credits_today - after.credits_today == (comes_back and not days)


@pytest.mark.parametrize(
    ("look", "counted"),
    [({}, 1), ({"outcome": "transient"}, 0), ({"found": "scan-1"}, 0), ({"reconciles": UUID(int=1)}, 0)],
    ids=str,
)
@pytest.mark.parametrize("outcome", ["unknown", "done"])
def test_a_late_sessions_credit_is_counted_again_only_if_a_look_up_had_given_it_back(shelf, look, counted, outcome):
    policy = reconcilable(shelf.ruled(credits=9))
    shelf.add(customer("Ona"), customer("Jonas"))
    opened, other = shelf.open(shelf.claim(policy=policy), policy=policy)
    shelf.set(Attempt, outcome=outcome, closed_at=shelf.clock())
    shelf.set(Job, state=JobState.WAITING)  # its lease was ended
    with_look_up(shelf, opened, **look)
    with_look_up(shelf, other)
    before = shelf.row(Budget, name="kyc").credits_used
    shelf.finish(shelf.got(opened), policy=policy)
    assert shelf.row(Budget, name="kyc").credits_used - before == (counted if outcome == "unknown" else 0)


@pytest.mark.parametrize("look_ups", [False, True])
def test_what_look_ups_and_calls_show_of_an_account_is_told_apart(shelf, look_ups):
    shelf.add(*(customer(f"C{number}") for number in range(4)))
    call, looks, idle, asks = shelf.open(shelf.claim())
    looks = replace(looks, unknown_call=UnknownCall(uuid4(), shelf.clock()))
    asks = replace(asks, asks_about="scan-1")
    began = {id_: shelf.clock() + timedelta(seconds=id_) for id_ in range(4)}
    failed = Problem(Kind.TRANSIENT, "HTTP 500")
    again = Retry(shelf.clock(), Reason.TRANSIENT, "")
    results = [
        CallResult(call, began[0], again, problem=failed),
        CallResult(looks, began[1], again, problem=failed),
        CallResult(idle, began[2], None),
        CallResult(asks, began[3], again, problem=failed),
    ]
    found = call_costs.outcomes_of(results, look_ups=look_ups)
    assert [one.began_at for one in found] == ([began[1]] if look_ups else [began[0]])
