"""Of several jobs of a customer, the desk reads the newest."""

import pytest

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.states import JobState
from onboarding_worker.features.service_desk.store import cases
from onboarding_worker.features.service_desk.store.cases import Place, stored_customers
from onboarding_worker.features.service_desk.store.finding import Finder
from onboarding_worker.lists.known_customers import KnownRule, standing_of
from onboarding_worker.lists.store.admission import left_out
from onboarding_worker.reporting.store.ledger import jobs_of
from tests.lists.store.test_order_of_jobs import ONA


def test_the_desk_acts_on_the_newest_job(shelf, late):
    shelf.set(Job, Job.id == late, state=JobState.LAPSED, due_at=None)
    with shelf.database.read() as connection:
        assert cases._serving(jobs_of(connection, ["Ona"])["Ona"]).id == late


def test_a_history_ends_with_the_newest_job(shelf, late, events, listed):
    found = Finder(shelf.database, shelf.keyring).history("Ona")
    assert [(job.batch, job.row) for job in found.facts.jobs] == [(listed, 2), (events, 7)]


@pytest.mark.both_databases
def test_a_returned_line_and_a_line_that_is_left_out_name_the_newest_job(shelf, late, events):
    shelf.set(Job, Job.id == late, state=JobState.LAPSED, due_at=None)
    places = stored_customers(shelf.database, shelf.keyring, ["Ona"])["Ona"].places
    assert places == {"onboarding": Place(standing_of([JobState.LAPSED]), events, 7)}
    with shelf.database.read() as connection:
        assert left_out(connection, [ONA], rule=KnownRule.SKIP) == {ONA: f"lapsed in batch {events}, row 7; left out"}
