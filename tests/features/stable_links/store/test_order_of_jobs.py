"""The page is about the job that came last, whatever its batch."""

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.model.states import JobState
from onboarding_worker.features.stable_links.store import landings
from tests.lists.store.test_order_of_jobs import ONA, events, late, listed

__all__ = ["events", "late", "listed"]


def test_the_page_shows_a_customer_the_newest_job(shelf, late):
    shelf.set(Job, Job.id == late, state=JobState.COMPLETED, due_at=None, result="approved")
    with shelf.database.read() as connection:
        assert landings._job(connection, *ONA).id == late
