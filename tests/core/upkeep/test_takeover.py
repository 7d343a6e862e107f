"""Rows of an account that cannot work go to the next of their route."""

import re
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Budget, Job, SessionRow
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rules.budgets import BudgetRule
from onboarding_worker.core.rules.limits import Limit
from onboarding_worker.core.upkeep.takeovers import LEAST
from tests.stored.plans import plans_of, tidy
from tests.stored.shelf import customer
from tests.stored.takeovers import accounts_of, add, add_many, move, open_breaker, remaining, stop, takeover

pytestmark = pytest.mark.both_databases


@pytest.mark.parametrize(("trouble", "words"), [(stop, "is stopped"), (open_breaker, "has its breaker open")])
def test_rows_of_an_account_in_trouble_are_taken_over_with_the_reason(shelf, failover, trouble, words):
    add(shelf, customer("Ona"), customer("Jonas"), fallback_accounts=("au", "us"))
    trouble(shelf)
    shelf.clock.advance(seconds=1)
    assert move(shelf, failover) == 2
    row = shelf.job("Ona")
    assert (row.account, row.fallback_accounts, row.state) == ("au", "kyc,au,us", JobState.WAITING)
    assert row.route == f"route 1: every customer; taken over from kyc, which {words}"
    assert (row.reason, row.detail) == ("taken_over", f"taken over from kyc, which {words}")
    assert row.changed_at == shelf.clock()
    assert row.due_at < shelf.clock()  # it has not lost its place


def test_nothing_moves_while_the_account_is_well_or_only_rate_limited(shelf, failover):
    add(shelf, customer("Ona"))
    assert move(shelf, failover) == 0
    shelf.set(Budget, Budget.name == "kyc", blocked_until=shelf.clock() + timedelta(hours=1), pauses=3)
    assert move(shelf, failover) == 0
    assert accounts_of(shelf) == {"Ona": "kyc"}


@pytest.mark.parametrize("trouble", [stop, open_breaker])
def test_nothing_moves_to_an_account_that_is_in_trouble_itself(shelf, failover, trouble):
    add(shelf, customer("Ona"))
    stop(shelf)
    trouble(shelf, "au")
    assert move(shelf, failover) == 0
    assert accounts_of(shelf) == {"Ona": "kyc"}


def test_nothing_moves_to_an_account_whose_cap_is_used_up(shelf, failover):
    add_many(shelf, 5)
    stop(shelf)
    shelf.set(Budget, Budget.name == "au", credits_used=3)
    assert move(shelf, failover, takeover(credits=3)) == 0
    assert move(shelf, failover, takeover(credits=5)) == 2
    assert move(shelf, failover, takeover(credits=5)) == 0


def test_what_was_taken_over_is_worked_there_under_that_account_s_name(shelf, failover):
    add(shelf, customer("Ona"))
    stop(shelf)
    move(shelf, failover)
    au = replace(shelf.policy, account="au", provider="frankieone-v2", rule=BudgetRule("au"))
    shelf.issue(policy=au)
    row = shelf.job("Ona")
    assert (row.state, row.reason, shelf.row(SessionRow).account) == (JobState.ISSUED, "", "au")
    (line,) = shelf.facts.lines(row.batch_id)
    assert (line.account, line.route) == ("au", row.route)


def test_the_floor_is_the_route_s_or_else_that_of_the_account_that_took_over(shelf, failover):
    add(shelf, customer("Ona"))
    add(shelf, customer("Jonas"), freshness=2 * 3600)
    stop(shelf)
    move(shelf, failover)
    assert shelf.job("Ona").floor_seconds == 30 * 60
    assert shelf.job("Jonas").floor_seconds == 2 * 3600


def test_rows_come_back_when_the_second_fails_and_stay_while_both_are_well(shelf, failover):
    add(shelf, customer("Ona"))
    stop(shelf)
    move(shelf, failover)
    shelf.budgets.resume("kyc")
    back = takeover("kyc", source="au", well=("kyc",))
    assert move(shelf, failover) == move(shelf, failover, back) == 0
    assert accounts_of(shelf) == {"Ona": "au"}
    stop(shelf, "au")
    assert move(shelf, failover, back) == 1
    row = shelf.job("Ona")
    assert (row.account, row.fallback_accounts) == ("kyc", "kyc,au")
    assert row.route == "route 1: every customer; taken over from au, which is stopped"


def test_each_row_goes_to_the_first_of_its_fallback_accounts_that_is_well(shelf, failover):
    add(shelf, customer("Ona"), fallback_accounts=("au", "us"))
    add(shelf, customer("Jonas"), fallback_accounts=("us", "au"))
    add(shelf, customer("Rasa"), fallback_accounts=("us",))
    add(shelf, customer("Petras"), fallback_accounts=())
    add(shelf, customer("Lina"), fallback_accounts=("aus", "us-au"))
    stop(shelf)
    both = ("au", "us", "aus")
    assert move(shelf, failover, takeover("au", well=both)) == 1
    assert move(shelf, failover, takeover("us", well=both)) == 2
    assert accounts_of(shelf) == {"Ona": "au", "Jonas": "us", "Rasa": "us", "Petras": "kyc", "Lina": "kyc"}


def test_rows_for_another_target_do_not_block_the_rest(shelf, failover):
    add_many(shelf, 2 * LEAST, fallback_accounts=("us", "au"))
    shelf.clock.advance(seconds=1)
    add(shelf, customer("Ona"))
    stop(shelf)
    slow = takeover("au", well=("au", "us"), limits=(Limit.parse("1/minute"),))
    assert move(shelf, failover, slow) == 1
    assert shelf.job("Ona").account == "au"


# The remaining rows of a batch.


def test_rows_that_can_still_move_are_counted_with_joined_rows(shelf, failover):
    first = add(shelf, customer("Ona"), customer("Jonas"))
    second = add(shelf, customer("Ona"), customer("Rasa", channel=Channel.NONE))
    third = add(shelf, customer("Petras"), fallback_accounts=())
    stop(shelf)
    later = shelf.clock() + timedelta(hours=2)
    shelf.set(Job, Job.customer_id == "Rasa", due_at=later)
    now = shelf.clock()
    assert remaining(shelf, failover, first) == (2, now)
    assert remaining(shelf, failover, second) == (2, now)
    assert remaining(shelf, failover, third) == (0, None)
    assert remaining(shelf, failover, first, takeover("us", well=("au", "us"))) == (0, None)
    shelf.set(Job, Job.customer_id == "Ona", state=JobState.HELD)
    assert remaining(shelf, failover, second) == (1, later)


# In parallel with other processes.


@pytest.mark.postgresql_alone
def test_rows_that_a_worker_is_claiming_are_skipped(shelf, failover, database):
    add(shelf, customer("Ona"), customer("Jonas"))
    stop(shelf)
    with database.write() as connection:
        connection.execute(sa.select(Job.id).where(Job.customer_id == "Ona").with_for_update())
        assert move(shelf, failover) == 1
    assert accounts_of(shelf) == {"Ona": "kyc", "Jonas": "au"}


def test_the_search_reads_indexes_and_no_whole_table(shelf, failover, database):
    add_many(shelf, 500, "D", fallback_accounts=())
    shelf.finish(*(shelf.got(opened) for opened in shelf.open(shelf.claim(500))))
    add_many(shelf, 300)
    stop(shelf)
    tidy(database, "job", "attempt", "session")
    with plans_of(database, "SELECT job.id, job.fallback_accounts") as plans:
        assert move(shelf, failover) == 300
    for plan in plans:
        for index in ("ix_job_backed", "ix_attempt_job_id", "uq_session_live"):
            assert re.search(index, plan), plan
        assert not re.search(r"SCAN|Seq Scan", plan), plan
    assert len(plans) >= 3
