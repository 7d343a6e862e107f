"""A person who is erased while a list that names that person waits: the approval invites everybody else."""

import pytest

from onboarding_worker.core.database.tables import CustomerRow, Job, SkippedLine
from onboarding_worker.features.privacy.store.subject_requests import SubjectRequests
from tests.features.dashboard.conftest import rows
from tests.features.uploads.conftest import GOOD, do, give


@pytest.mark.parametrize("after", ["it came", "its check", "its approval"])
async def test_who_is_erased_is_not_invited_by_a_list_that_waits(site, ona, look, clock, after):
    requests = SubjectRequests(site.parts.database, site.parts.keyring)

    def erased_if(at: str) -> None:
        if after == at:
            assert requests.uploaded() == [1]
            requests.erase("C-1", reason="", forget_suppressed=False, now=clock())

    await give(ona, GOOD)
    erased_if("it came")
    look(site)
    erased_if("its check")
    await do(ona, "approve-list")
    erased_if("its approval")
    look(site)

    assert rows(site, Job.customer_id) == rows(site, CustomerRow.customer_id) == [("C-2",)]
    assert (2, "C-1") in rows(site, SkippedLine.row, SkippedLine.customer_id)
