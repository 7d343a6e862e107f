"""The permits of an account over all workers: never more than its concurrency, all of them used, none lost for good."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from onboarding_worker.core.claim import leases as permits
from onboarding_worker.core.claim.leases import Permits
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.tables import Batch, Permit
from onboarding_worker.core.rules.budgets import FLUSH_MARGIN
from tests.core.database.test_bulk import row_of
from tests.stored.row_locks import wait_until_blocked
from tests.stored.shelf import customer
from tests.stored.statements import statements
from tests.stored.steps import InvitationSteps, JobSteps
from tests.suite.waiting import ENDS_WITHIN

pytestmark = pytest.mark.both_databases

LEASE = timedelta(seconds=60)


def hold(shelf, worker, owner, *, busy=0, cap=10):
    rule = replace(shelf.policy.rule, concurrency=cap)
    with shelf.database.write() as connection:
        held = worker.hold(connection, rule, owner, lease=LEASE, busy=busy, now=shelf.clock())
    return held.use


def ask(shelf, worker, owner, **how):
    """As `hold`, once the remembered permits are old enough to be read again."""
    shelf.clock.advance(seconds=0.2)
    return hold(shelf, worker, owner, **how)


def test_two_workers_share_what_one_of_them_gives_up(shelf):
    one, two = Permits(), Permits()
    assert hold(shelf, one, "a") == 8
    assert ask(shelf, one, "a", busy=8) == 10
    assert hold(shelf, two, "b") == 0
    assert ask(shelf, one, "a", busy=7) == 5  # it makes no new call until five calls are in flight
    assert ask(shelf, two, "b") == 3  # seven calls of "a" are still in flight
    assert ask(shelf, one, "a", busy=5) == 5
    assert ask(shelf, two, "b", busy=3) == 5
    assert permits.in_use(shelf.database, now=shelf.clock()) == {"kyc": 10}
    last = max(row.until for row in shelf.rows(Permit))
    assert permits.in_use(shelf.database, now=last) == {}  # they end then


def test_while_nothing_changes_nothing_is_locked_or_written_and_mostly_not_even_read(shelf):
    one = Permits()
    hold(shelf, one, "a")
    with statements(shelf.database) as seen:
        hold(shelf, one, "a", busy=4)
    assert [text for text in seen if "permit" in text] == []
    shelf.clock.advance(seconds=1)
    with statements(shelf.database) as seen:
        hold(shelf, one, "a", busy=4)
    assert [text.split()[0] for text in seen if "permit" in text or "budget" in text] == ["SELECT"]
    assert not any("FOR UPDATE" in text for text in seen)


def rolled_back(shelf, worker, owner, *, by_its_commit=False, meanwhile=lambda: None):
    """As `hold`, in a transaction that is rolled back, as PostgreSQL does after a deadlock.

    `by_its_commit`: PostgreSQL answers there that a statement failed for whose answer nothing waited.
    """
    with shelf.database.write() as connection:
        worker.hold(connection, shelf.policy.rule, owner, lease=LEASE, busy=0, now=shelf.clock())
        meanwhile()
        if by_its_commit:
            bulk.add(connection, Batch, [row_of(900, "one"), row_of(900, "another")])
        else:
            raise ZeroDivisionError


@pytest.mark.parametrize("by_its_commit", [False, True])
def test_permits_of_a_transaction_that_was_rolled_back_are_read_again_when_it_is_repeated(shelf, by_its_commit):
    """Otherwise the other workers, which do not see these permits, would use them as well."""
    one, other = Permits(), Permits()
    with pytest.raises((ZeroDivisionError, sa.exc.IntegrityError)):
        rolled_back(shelf, one, "a", by_its_commit=by_its_commit)
    assert shelf.rows(Permit) == []
    granted = hold(shelf, one, "a") + hold(shelf, other, "b")
    assert permits.in_use(shelf.database, now=shelf.clock()) == {"kyc": granted}


@pytest.mark.postgresql_alone
def test_another_flush_of_the_process_waits_for_permits_that_are_not_committed_yet(shelf):
    one, other, second = Permits(), Permits(), []
    thread = threading.Thread(target=lambda: second.append(hold(shelf, one, "a")))

    def meanwhile() -> None:
        thread.start()
        wait_until_blocked(shelf.database, thread)

    with pytest.raises(ZeroDivisionError):
        rolled_back(shelf, one, "a", meanwhile=meanwhile)
    thread.join(ENDS_WITHIN)
    granted = second[0] + hold(shelf, other, "b")
    assert permits.in_use(shelf.database, now=shelf.clock()) == {"kyc": granted}


def test_permits_from_before_a_rollback_are_released_at_the_end(shelf):
    one = Permits()
    hold(shelf, one, "a")
    shelf.clock.advance(seconds=30)
    with pytest.raises(ZeroDivisionError):
        rolled_back(shelf, one, "a")
    with shelf.database.write() as connection:
        one.release(connection, shelf.policy.rule, "a")
    assert shelf.rows(Permit) == []


def test_a_permit_outlasts_every_call_of_a_row_that_is_claimed_under_it(shelf):
    one = Permits()
    hold(shelf, one, "a")
    for _ in range(20):
        shelf.clock.advance(seconds=1)
        hold(shelf, one, "a", busy=4)
        assert shelf.row(Permit, owner="a").until >= shelf.clock() + LEASE - FLUSH_MARGIN


def test_the_permits_of_a_dead_worker_are_free_when_their_time_is_over(shelf):
    dead, other = Permits(), Permits()
    hold(shelf, dead, "dead")
    ask(shelf, dead, "dead", busy=8)
    assert hold(shelf, other, "b") == 0
    shelf.clock.advance(seconds=61)
    assert hold(shelf, other, "b") == 8
    assert ask(shelf, other, "b", busy=8) == 10
    assert [row.owner for row in shelf.rows(Permit)] == ["b"]


def test_permits_that_a_dispatcher_releases_are_free_for_other_dispatchers_at_once(shelf):
    jobs, other = JobSteps(shelf.database, shelf.keyring), Permits()
    policy = shelf.ruled(concurrency=10)
    shelf.add(customer("Ona"))
    assert len(jobs.claim(policy, most=10, now=shelf.clock()).jobs) == 1
    assert hold(shelf, other, "b") == 2
    jobs.release_permits(policy)
    assert ask(shelf, other, "b", busy=2) == 8


def test_a_worker_without_permits_claims_nothing_and_asks_again_soon(shelf):
    rule = replace(shelf.policy.rule, concurrency=4)
    hold(shelf, Permits(), "other", cap=4)
    shelf.add(customer("Ona"))
    claimed = shelf.jobs.claim(replace(shelf.policy, rule=rule), most=10, now=shelf.clock())
    assert (claimed.jobs, claimed.permits) == ([], 0)
    assert shelf.clock() < claimed.again_at < shelf.clock() + timedelta(seconds=1)


def test_text_messages_share_their_permits_and_emails_have_permits_for_each_process(shelf):
    messages = InvitationSteps(shelf.database, shelf.keyring)
    text = replace(shelf.on("sms"), rule=replace(shelf.on("sms").rule, concurrency=10, each_process=False))
    assert messages.claim(text, most=5, now=shelf.clock()).permits == 8
    assert messages.claim(shelf.message_policy, most=5, now=shelf.clock()).permits is None
    assert {row.budget for row in shelf.rows(Permit)} == {"sender/sms"}
    messages.release_permits(text)
    messages.release_permits(shelf.message_policy)
    assert shelf.rows(Permit) == []


def test_where_no_other_process_can_be_working_all_permits_are_cleared(shelf):
    hold(shelf, Permits(), "dead")
    permits.clear(shelf.database)
    assert shelf.rows(Permit) == []


@pytest.mark.postgresql_alone
def test_workers_that_ask_at_once_never_hold_more_than_all_permits_and_come_to_hold_all(shelf):
    """Each worker is a thread with its own connections. Time advances when all workers have asked once more."""
    workers, cap = 5, 23
    totals, uses = [], {}
    lock = threading.Lock()

    def note():
        with lock:
            totals.append(sum(row.permits for row in shelf.rows(Permit)))
        shelf.clock.advance(seconds=0.2)

    barrier = threading.Barrier(workers, action=note)

    def work(owner):
        mine, busy = Permits(), 0
        for _ in range(12):
            use = hold(shelf, mine, owner, busy=busy, cap=cap)
            busy = use if use >= busy else max(use, busy - 3)  # calls end little by little
            uses[owner] = use
            barrier.wait(ENDS_WITHIN)

    with ThreadPoolExecutor(workers) as threads:
        list(threads.map(work, "abcde"))
    assert max(totals) <= cap
    assert sum(uses.values()) == totals[-1] == cap
    assert sorted(uses.values()) == [4, 4, 5, 5, 5]
