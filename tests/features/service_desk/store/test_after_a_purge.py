"""What the desk finds, and does, after a batch was purged."""

import pytest

from onboarding_worker.features.service_desk.case import wanted
from onboarding_worker.features.service_desk.store.finding import Finder
from tests.features.privacy.store.test_purge import end, listed
from tests.features.service_desk.store.desks import desk_of
from tests.stored.shelf import customer, facts_about


@pytest.mark.both_databases
def test_what_a_customer_has_finished_is_found_and_shown_after_the_purge(shelf, purge):
    batch = listed(shelf, customer("Ona"))
    end(shelf, batch, result="approved")
    purge(batch)
    (found,) = Finder(shelf.database, shelf.keyring).find(wanted("Ona"))
    (job,) = facts_about(shelf).jobs
    for row in (*found.rows, job):
        assert (row.batch, row.row, row.purpose, row.state, row.result) == (
            batch,
            2,
            "onboarding",
            "completed",
            "approved",
        )
    assert job.purged


@pytest.mark.parametrize("purpose", [None, "onboarding"])
def test_the_desk_sends_nothing_to_a_customer_who_had_finished_before_the_purge(shelf, purge, purpose):
    batch = listed(shelf, customer("Ona"))
    end(shelf, batch, result="approved")
    purge(batch)
    refused = desk_of(shelf).new_link("Ona", purpose=purpose, now=shelf.clock())
    assert refused.why == "the customer has finished (approved)"
