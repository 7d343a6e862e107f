"""What a log-in without a message shows of a sender, and when one is tried."""

from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Budget
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.rules.budgets import ASK_AGAIN_AFTER
from tests.core.rules.call_outcomes import call_outcome

EMAIL, SMS = "sender/email", "sender/sms"


def log_in(shelf, kind=None, **problem):
    outcome = call_outcome(shelf.clock(), kind, "SMTP 421", **problem)
    shelf.budgets.record_log_in(shelf.message_policy.rule, outcome, now=shelf.clock())


def is_tried(shelf, name=EMAIL):
    return shelf.budgets.is_unverified(name, now=shelf.clock())


@pytest.fixture
def unverified(shelf):
    assert not is_tried(shelf)
    shelf.budgets.mark_unverified([EMAIL])
    assert (is_tried(shelf), is_tried(shelf, SMS)) == (True, False)
    return shelf


def test_a_sender_that_has_accepted_a_log_in_is_not_tried_again(unverified):
    log_in(unverified)
    assert not is_tried(unverified)


def test_a_sender_that_cannot_be_reached_is_tried_again_after_its_pause(unverified):
    log_in(unverified, Kind.TRANSIENT, unreachable=True)
    assert not is_tried(unverified)
    unverified.clock.advance(hours=1)
    assert is_tried(unverified)


def test_a_sender_that_refuses_the_log_in_is_tried_again_when_its_stop_asks_again(unverified):
    log_in(unverified, Kind.AUTH)
    unverified.clock.advance(seconds=(ASK_AGAIN_AFTER - timedelta(seconds=1)).total_seconds())
    assert not is_tried(unverified)
    unverified.clock.advance(seconds=1)
    assert is_tried(unverified)
    log_in(unverified)
    assert unverified.budgets.all()[EMAIL].stopped_at is None


def test_a_refused_log_in_gives_no_credit_back(unverified):
    unverified.set(Budget, Budget.name == EMAIL, credits_used=3)
    log_in(unverified, Kind.AUTH)
    assert unverified.budgets.all()[EMAIL].credits_used == 3
