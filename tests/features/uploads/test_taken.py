"""Which process has a list of the browser, and what it may write about it."""

import pytest

from onboarding_worker.core.database.audit_entries import note_alone
from onboarding_worker.features.uploads.store.uploads import PROBLEMS, Uploads, undecided
from onboarding_worker.features.uploads.uploaded import How
from onboarding_worker.lists.store.taken import Ending
from tests.features.uploads.conftest import GOOD, give


async def test_others_write_while_the_file_of_problems_is_made(site, ona, clock):
    await give(ona, GOOD)
    uploads = Uploads(site.parts.database, site.parts.keyring)
    (one,) = undecided(site.parts.database)
    assert uploads.take(one, owner="worker-1", until=clock(), now=clock())

    def problems():
        for part in (b"row,column\n", b"4,email\n"):
            note_alone(site.parts.database, "uploaded list 1", now=clock(), reason="shown")
            yield part

    uploads.checked(one, owner="worker-1", how=How(), found={}, problems=problems())

    assert b"".join(uploads.content(one.id, PROBLEMS)) == b"row,column\n4,email\n"


async def test_a_process_that_lost_a_list_writes_nothing_about_it(site, ona, clock):
    await give(ona, GOOD)
    uploads = Uploads(site.parts.database, site.parts.keyring)
    (one,) = undecided(site.parts.database)
    assert uploads.take(one, owner="worker-1", until=clock(), now=clock())
    assert uploads.take(one, owner="worker-2", until=clock(), now=clock())

    with pytest.raises(Ending):
        uploads.checked(one, owner="worker-1", how=How(), found={}, problems=iter([b"4,email\n"]))
    with pytest.raises(Ending):
        uploads.imported(one, owner="worker-1", batch_id=1, now=clock())

    assert (undecided(site.parts.database)[0].state, list(uploads.content(one.id, PROBLEMS))) == ("arrived", [])
