"""What status says of lists in the browser: whether a person is needed, or a process imports one."""

from datetime import timedelta

from onboarding_worker.features.uploads.store.uploads import Uploads, undecided
from tests.features.uploads.conftest import do, needs


async def test_a_list_whose_import_a_process_has_is_not_cut_off(site, ona, look, checked, clock):
    await do(ona, "approve-list")
    (one,) = undecided(site.parts.database)
    site.parts.batches.open(name=one.name, digest=one.digest, again=False, now=clock())
    assert needs(site) == [("batch", "1 (people.csv)")]
    uploads = Uploads(site.parts.database, site.parts.keyring)
    uploads.take(one, owner="worker-1", until=clock() + timedelta(seconds=30), now=clock())
    assert needs(site) == []
    uploads.refuse(undecided(site.parts.database)[0], owner="worker-1", why="it never ended")
    assert needs(site) == [("upload", "1 (people.csv)"), ("batch", "1 (people.csv)")]
