"""How many rows go to the account that takes them over at a time: what it can do soon, and no more."""

import threading
from datetime import timedelta

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.states import EVENT, JobState
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.upkeep.takeovers import CHUNK, LEAST, SOON
from tests.stored.shelf import customer
from tests.stored.takeovers import add, add_many, count_at, move, open_breaker, stop, takeover
from tests.suite.waiting import ENDS_WITHIN


def test_a_slow_account_is_given_a_few_and_more_once_they_are_done(shelf, failover):
    add_many(shelf, 3 * LEAST)
    stop(shelf)
    slow = takeover(limits=(Limit.parse("1/minute"),))
    assert move(shelf, failover, slow) == LEAST
    assert move(shelf, failover, slow) == 0
    shelf.set(Job, Job.account == "au", state=JobState.ISSUED)
    assert move(shelf, failover, slow) == LEAST
    # The next of them are those that have waited longest.
    assert [row.account for row in shelf.rows(Job)] == ["au"] * 2 * LEAST + ["kyc"] * LEAST


def test_what_shares_the_budget_counts_as_due_there(shelf, failover):
    add_many(shelf, LEAST - 3, "U", account="us", fallback_accounts=())
    add_many(shelf, 2 * LEAST)
    stop(shelf)
    assert move(shelf, failover, takeover(sharing=("us",), limits=(Limit.parse("1/minute"),))) == 3


def test_a_fast_account_is_given_several_chunks_and_one_without_limits_a_single_one(shelf, failover):
    add_many(shelf, CHUNK + 5, "A")
    add_many(shelf, 7, "U", fallback_accounts=("us",))
    stop(shelf)
    assert move(shelf, failover, takeover()) == CHUNK
    assert move(shelf, failover, takeover()) == 0
    shelf.set(Job, account="kyc", fallback_accounts="au")
    assert move(shelf, failover, takeover(limits=(Limit.parse("2000/second"),))) == CHUNK + 12


def test_an_event_s_row_goes_before_those_of_a_batch(shelf, failover):
    add_many(shelf, LEAST)
    shelf.clock.advance(seconds=1)
    add(shelf, customer("Ona"), priority=EVENT)
    stop(shelf)
    move(shelf, failover, takeover(limits=(Limit.parse("1/minute"),)))
    assert shelf.job("Ona").account == "au"


def test_a_row_stays_for_the_probe_of_an_open_breaker_and_none_for_one_that_is_stopped(shelf, failover):
    add_many(shelf, 3)
    open_breaker(shelf, blocked_for=SOON)
    assert move(shelf, failover) == 2
    assert shelf.job("C0002").account == "kyc"  # the one that would have been last
    assert move(shelf, failover) == 0
    stop(shelf)
    assert move(shelf, failover) == 1


def test_a_row_stays_for_the_call_that_asks_a_refused_account_again(shelf, failover):
    add_many(shelf, 3)
    stop(shelf, asks_again_after=SOON)
    assert move(shelf, failover) == 2
    assert shelf.job("C0002").account == "kyc"
    assert move(shelf, failover) == 0
    shelf.clock.now += SOON
    (asked,) = shelf.claim()
    assert (asked.customer.customer_id, asked.probe) == ("C0002", True)


def test_no_row_stays_at_a_refused_account_that_is_asked_again_much_later(shelf, failover):
    add_many(shelf, 3)
    stop(shelf, asks_again_after=SOON + timedelta(seconds=1))
    assert move(shelf, failover) == 3


@pytest.mark.postgresql_alone
def test_two_timers_do_not_give_the_same_room_away_twice(shelf, failover, database):
    add_many(shelf, 4 * LEAST)
    stop(shelf)
    slow = takeover(limits=(Limit.parse("1/minute"),))
    timers = [threading.Thread(target=failover.move, args=(slow,), kwargs={"now": shelf.clock()}) for _ in range(4)]
    for timer in timers:
        timer.start()
    for timer in timers:
        timer.join(ENDS_WITHIN)
    assert count_at(shelf) == LEAST
