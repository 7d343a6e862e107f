"""Who has waited for the lock of a customer's row works with the row that leads by then: it may be another one."""

import threading
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Job, StableLink
from onboarding_worker.core.model.states import JobState
from onboarding_worker.core.rows import usage
from onboarding_worker.core.rows.cancellation import cancel_jobs
from onboarding_worker.features.stable_links.landing import Gone, LandingRules, Wait
from onboarding_worker.features.stable_links.store.landings import Landings, Outcome
from onboarding_worker.lists.store.admission import lock_customers
from onboarding_worker.plans.store.leadership import take_leads
from tests.stored.own_link import secret_of_link
from tests.stored.row_locks import wait_until_blocked, waiting
from tests.stored.shelf import customer
from tests.suite.of_features import needs

pytestmark = pytest.mark.postgresql_alone
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def secret(ona, keyring):
    """The secret part of Ona's link. Ona was invited, and her row of another list has joined that row."""
    ona.add(customer("Ona"))
    return secret_of_link(ona, keyring)


def leader_and_successor(shelf):
    return sorted(shelf.rows(Job), key=lambda job: job.id)


def not_me_while_cancelled(shelf, secret, keyring):
    """The visitor's "not me" waits until the first row is cancelled."""
    found = []
    stop = Landings(shelf.database, keyring, LandingRules(most=3, per_day=5)).stop
    with waiting(shelf.database, lambda: found.append(stop(secret, now=shelf.clock()))) as connection:
        cancel_jobs(connection, [leader_and_successor(shelf)[0].id], now=shelf.clock())
    assert found == [Outcome.STOPPED]


def test_a_row_that_was_cancelled_meanwhile_stays_cancelled_and_its_successor_is_held(ona, secret, keyring):
    not_me_while_cancelled(ona, secret, keyring)
    leader, successor = leader_and_successor(ona)
    assert (leader.state, leader.reason) == (JobState.CANCELLED, "cancelled")
    assert (successor.state, successor.reason, successor.leader_id) == (JobState.HELD, "not_me", None)


def test_a_row_that_was_cancelled_meanwhile_is_not_held_for_a_visitor(ona, keyring):
    not_me_while_cancelled(ona, secret_of_link(ona, keyring), keyring)
    assert [(job.state, job.reason) for job in ona.rows(Job)] == [(JobState.CANCELLED, "cancelled")]
    assert not ona.rows(StableLink)


def test_a_row_that_came_to_lead_meanwhile_cannot_be_claimed_while_a_visitor_asks_for_its_session(ona, secret, keyring):
    leader, successor = leader_and_successor(ona)
    ona.clock.advance(days=8)
    seen, now = [], ona.clock()
    ona.set(Job, Job.id == leader.id, state=JobState.WAITING, reason="new_link", due_at=now)
    landings = Landings(ona.database, keyring, LandingRules(most=3, per_day=5))
    visitor = threading.Thread(target=lambda: seen.append(landings.ask(secret, now=now)))
    with ona.database.write() as counts:
        usage.reissues_so_far(counts, ["kyc"], now.date())  # a sweep counts, and the visitor waits for it
        with ona.database.write() as connection:
            assert take_leads(connection, successor.batch_id, stopped_only=False, now=now) == (successor.row, 1)
            visitor.start()
            wait_until_blocked(ona.database, visitor)
        wait_until_blocked(ona.database, visitor)
        with ona.database.write() as claim:
            free = sa.select(Job.id).where(Job.id == successor.id).with_for_update(skip_locked=True)
            claimed = claim.execute(free).all()
    visitor.join()
    _, successor = leader_and_successor(ona)
    assert isinstance(seen[0].decision, Wait)
    assert not claimed
    assert (successor.state, successor.link_requested_at) == (JobState.WAITING, now)


@pytest.mark.parametrize(
    "change", [sa.update(StableLink).values(revoked_at=NOON), sa.delete(StableLink)], ids=["revoked", "erased"]
)
def test_a_visitor_of_a_link_that_was_taken_away_meanwhile_is_led_nowhere_and_asks_for_nothing(
    ona, secret, keyring, change
):
    ona.clock.advance(days=8)
    jobs, found = ona.rows(Job), []
    landings = Landings(ona.database, keyring, LandingRules(most=3, per_day=5))
    with waiting(ona.database, lambda: found.append(landings.ask(secret, now=ona.clock()))) as connection:
        lock_customers(connection, ["Ona"])
        connection.execute(change)
    assert [seen.decision for seen in found] == [Gone()]
    assert ona.rows(Job) == jobs


@needs("service_desk")
def test_the_desk_sees_the_row_that_leads_once_it_has_waited(ona, secret):
    from tests.features.service_desk.store.desks import desk_of

    leader, _ = leader_and_successor(ona)
    desk, found = desk_of(ona), []
    with waiting(ona.database, lambda: found.append(desk.new_link("Ona", now=ona.clock()))) as connection:
        cancel_jobs(connection, [leader.id], now=ona.clock())
    (refused,) = found
    assert refused.why == "a session is being asked for already, due 2026-11-20 12:01 UTC"  # for the successor
