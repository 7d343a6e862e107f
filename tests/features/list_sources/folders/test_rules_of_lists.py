"""The rules of `onboard import` hold for lists from a folder: known customers, reports that come back."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.tables import Audit, CustomerRow, Job, PendingDetails
from onboarding_worker.features.list_sources.place import LocalFolder
from tests.features.list_sources.folders.box import GOOD, HEADER, Box
from tests.simulated.events import person
from tests.web.site import THIRD, hash_of

REPORT = "row,customer_id,state,invitation,attempts,email\n"
UNCHANGED = "2,C-1,invited,sent,1,ona@example.org\n3,C-2,invited,sent,1,jonas@example.org\n"


@pytest.fixture
def world(make):
    return make(follow_up='corrected_address = "same-link"')


def sent_to(here: Box) -> list[str]:
    return sorted(message.to for message in here.world.senders["email"].messages)


async def test_a_report_that_is_put_into_the_folder_acts_on_exactly_the_changed_rows(box):
    here = box()
    here.put("list.csv", HEADER + GOOD)
    here.take()
    await here.world.work()
    here.put("mended.csv", REPORT + UNCHANGED)
    here.take()
    await here.world.work()
    assert sent_to(here) == ["jonas@example.org", "ona@example.org"]

    here.put("mended.csv", REPORT + UNCHANGED.replace("ona@", "mended@"))
    here.take()
    await here.world.work()
    assert sent_to(here) == ["jonas@example.org", "mended@example.org", "ona@example.org"]
    assert len(here.world.asked) == 2
    here.look(after=2)
    assert [line.split(",")[2] for line in here.beside("mended.csv.report.csv")[1:]] == ["known", "known"]
    assert "folder in" in {row.actor for row in here.world.rows(Audit) if row.subject == "customer C-1"}

    careful = box(approve=True)
    careful.put("other.csv", REPORT + UNCHANGED.replace("jonas@", "mended2@"))
    careful.take()
    assert careful.files["other.csv"][0] == "refused"
    await here.world.work()
    assert len(sent_to(here)) == 3


async def test_what_becomes_of_known_customers_is_the_configurations_rule(make, tmp_path):
    (tmp_path / "in").mkdir()
    here = Box(make(more='[import]\nknown = "skip"\n'), tmp_path / "in")
    here.put("list.csv", HEADER + GOOD)
    here.take()
    here.world.parts.decisions.cancel(1, now=here.world.clock())
    here.put("again.csv", HEADER + GOOD + "C-3,rasa@example.org\n")
    here.take()
    assert [row.customer_id for row in here.world.rows(Job, batch_id=2)] == ["C-3"]


async def test_a_list_that_no_person_has_approved_redirects_no_known_customers_messages(box):
    here = box()
    here.put("list.csv", HEADER + GOOD)
    here.take()
    known = person(here.world, "C-1").email
    careful = box(approve=True)
    careful.put("other.csv", HEADER + "C-1,attacker@example.net\n")
    careful.take()
    await here.world.work()
    assert person(here.world, "C-1").email == known
    assert "attacker@example.net" not in sent_to(here)
    assert [row.customer_id for row in here.world.rows(PendingDetails)] == ["C-1"]

    here.world.parts.decisions.cancel(2, now=here.world.clock())
    assert here.world.rows(PendingDetails) == []


class FullDisk(LocalFolder):
    """A folder on a disk without space."""

    def write(self, name, write):
        super().write(name, lambda out: self._full())

    def _full(self):
        raise OSError(28, "No space left on device")


async def test_on_a_full_disk_nothing_is_lost_and_both_files_are_written_later(box):
    here = box()
    full = FullDisk(here.folder)
    object.__setattr__(here.drop_box, "place", full)
    here.put("list.csv", HEADER + GOOD)
    here.put("odd.csv", "nonsense\n1\n")
    here.take()
    assert "list.csv.errors.csv cannot be written: No space left on device; it is tried again" in here.waits_for
    assert here.files["odd.csv"][1].endswith("odd.csv.errors.csv cannot be written: No space left on device")
    assert len(here.world.rows(Job)) == 2
    assert sorted(path.name for path in here.folder.iterdir()) == ["list.csv", "odd.csv"]

    object.__setattr__(here.drop_box, "place", here.place)
    here.look(after=70)
    assert here.files["list.csv"] == ("imported", "")
    object.__setattr__(here.drop_box, "place", full)
    here.world.parts.decisions.cancel(1, now=here.world.clock())
    here.look(after=2)
    assert "list.csv: batch 1; list.csv.report.csv cannot be written: No space left on device" in here.waits_for
    object.__setattr__(here.drop_box, "place", here.place)
    here.look(after=70)
    assert len(here.beside("list.csv.report.csv")) == 3
    assert len(here.world.rows(Job)) == 2


@pytest.mark.parametrize(("reaches", "taken"), [("all", ["C-1", "C-2"]), ("own", ["C-2"])])
async def test_a_row_waits_for_no_person_where_the_customers_sender_reaches_every_customer(
    make, tmp_path, reaches, taken
):
    (tmp_path / "in").mkdir()
    here = Box(make(more=f'[web.senders.crm]\nkeys = ["{hash_of(THIRD)}"]\ncustomers = "{reaches}"\n'), tmp_path / "in")
    here.put("list.csv", HEADER + GOOD.splitlines(keepends=True)[0])
    here.take()
    with here.world.parts.database.write() as connection:
        connection.execute(sa.update(CustomerRow).values(sender="crm"))
    here.put("again.csv", HEADER + GOOD)
    here.take()
    assert [row.customer_id for row in here.world.rows(Job, batch_id=2)] == taken
