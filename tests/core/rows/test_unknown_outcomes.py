"""What is known about a customer when a call is looked up, and how the look-up itself is counted."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim.flush import CallResult
from onboarding_worker.core.database.tables import Attempt, SessionRow
from onboarding_worker.core.model.endings import Hold, Kind, Problem, Reconcile, Retry
from onboarding_worker.core.rules.reconciliation import More, Nothing, Unmatched
from onboarding_worker.lists.decisions.store.decisions import Verdict
from onboarding_worker.lists.decisions.store.settlement import Which
from onboarding_worker.reporting.store.spending import spending_of
from tests.stored.reconciling import LOST, advance, drop, look_up, reconcilable, sweep
from tests.stored.recount import forget_calls
from tests.stored.shelf import customer, facts_about


@pytest.fixture
def policy(shelf):
    """The policy of an account whose calls can be reconciled."""
    return reconcilable(shelf.policy)


def test_sessions_of_the_customer_are_known_and_sessions_of_another_customer_are_not(shelf, policy):
    shelf.add(customer("Ona", purpose="earlier"), customer("Jonas"))
    shelf.issue(lifetime=timedelta(seconds=1))
    mine, other = (shelf.row(SessionRow, customer_id=name).reference for name in ("Ona", "Jonas"))
    drop(shelf, policy)
    advance(shelf)
    (claimed,) = shelf.claim(policy=policy)
    assert mine in claimed.unknown_call.known
    assert other not in claimed.unknown_call.known


def test_what_a_look_up_found_and_an_operator_decided_about_is_known_to_the_next_look_up_only(shelf, policy, decide):
    batch = drop(shelf, policy)
    advance(shelf)
    opened = look_up(shelf, policy)
    found = Unmatched(("scan-lost",), "the provider has scan-lost")
    shelf.finish(CallResult(opened, shelf.clock(), Hold("unknown", found.detail), found=found), policy=policy)
    assert shelf.job("Ona").unknown_attempt is not None
    assert decide.resolve(Which(batch), Verdict.REPEAT, now=shelf.clock()).rows == 1
    assert shelf.job("Ona").unknown_attempt is None
    (again,) = shelf.open(shelf.claim(policy=policy), policy=policy)
    shelf.finish(CallResult(again, shelf.clock(), Reconcile(shelf.clock(), "unknown", "lost"), LOST), policy=policy)
    (claimed,) = shelf.claim(policy=policy)
    assert claimed.unknown_call.known == {"scan-lost"}


def test_a_look_ups_find_is_known_to_neither_of_two_calls_that_were_in_flight_at_once(shelf, policy):
    """The provider lists sessions by customer, not by purpose: the found session may belong to either call."""
    drop(shelf, policy, customer("Ona"), customer("Ona", purpose="renewal"))
    advance(shelf)
    first, second = shelf.claim(policy=policy, most=1), shelf.claim(policy=policy, most=1)
    (opened,) = shelf.open(first, policy=policy)
    shelf.finish(
        CallResult(opened, shelf.clock(), Hold("unknown", "two"), found=Unmatched(("one", "two"), "two")), policy=policy
    )
    assert second[0].unknown_call.known == frozenset()
    advance(shelf, seconds=61)
    sweep(shelf)
    (again,) = shelf.claim(policy=policy)
    assert again.unknown_call.known == frozenset()


def test_pages_and_failures_of_the_look_ups_so_far_are_counted(shelf, policy):
    drop(shelf, policy)
    advance(shelf)
    now = shelf.clock()
    again = Reconcile(now, "unknown", "again")
    for end in (
        {"found": More()},
        {"problem": Problem(Kind.TRANSIENT, "HTTP 500")},
        {"problem": Problem(Kind.UNKNOWN, "dropped")},
        {"problem": Problem(Kind.RATE_LIMITED, "HTTP 429")},
        {"problem": Problem(Kind.TRANSIENT, "connection refused", unreachable=True)},
    ):
        shelf.finish(CallResult(look_up(shelf, policy), now, again, **end), policy=policy)
        advance(shelf, minutes=30)
    (claimed,) = shelf.claim(policy=policy)
    assert (claimed.unknown_call.page, claimed.unknown_call.failures) == (2, 2)


def test_a_row_whose_unknown_attempt_is_gone_is_still_looked_up_and_not_called(shelf, policy):
    drop(shelf, policy)
    with shelf.database.write() as connection:
        connection.execute(sa.delete(Attempt))
        forget_calls(connection)
    advance(shelf)
    (claimed,) = shelf.claim(policy=policy)
    assert claimed.unknown_call is not None


def test_a_look_up_counts_as_a_request_and_not_as_a_session(shelf, policy):
    batch = drop(shelf, policy)
    advance(shelf)
    found = CallResult(look_up(shelf, policy), shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(found, policy=policy)
    facts = shelf.facts.counts(batch).accounts["kyc"]
    assert (facts.requests, facts.issued, facts.errors, facts.late) == (2, 0, 1, 0)


def test_a_look_up_costs_no_credit_whatever_its_answer(shelf):
    policy = reconcilable(shelf.ruled(credits=5))
    batch = drop(shelf, policy)
    advance(shelf)
    for kind in (Kind.BAD_INPUT, Kind.RATE_LIMITED):
        again = Reconcile(shelf.clock(), "unknown", "again")
        shelf.finish(CallResult(look_up(shelf, policy), shelf.clock(), again, Problem(kind, "no")), policy=policy)
        advance(shelf, minutes=30)
        assert shelf.budgets.all()["kyc"].credits_used == 1
    nothing = Retry(shelf.clock(), "unknown", "")
    shelf.finish(CallResult(look_up(shelf, policy), shelf.clock(), nothing, found=Nothing()), policy=policy)
    assert shelf.budgets.all()["kyc"].credits_used == 0  # the call was not carried out and cost nothing
    assert facts_about(shelf).lost_calls == {}
    assert [one.calls for one in spending_of(shelf.database, batch).routes.values() if one.calls] == []


@pytest.mark.both_databases
def test_at_the_credit_cap_unknown_calls_are_looked_up_and_no_other_call_is_made(shelf):
    policy = reconcilable(shelf.ruled(credits=1))
    drop(shelf, policy)
    advance(shelf)
    shelf.add(customer("Jonas"))
    opened = look_up(shelf, policy)
    assert shelf.budgets.all()["kyc"].stopped_at is None
    nothing = CallResult(opened, shelf.clock(), Retry(shelf.clock(), "unknown", ""), found=Nothing())
    shelf.finish(nothing, policy=policy)
    # The credit that the lost call did not cost is available again.
    assert len(shelf.open(shelf.claim(policy=policy), policy=policy)) == 1
    assert shelf.claim(policy=policy) == []
    assert shelf.budgets.all()["kyc"].stopped_at is not None
