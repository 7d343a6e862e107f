"""A folder that lists are taken from: what is taken, when, and what appears next to it."""

import os
import stat

import pytest

from onboarding_worker.core.database.tables import Audit, Job
from onboarding_worker.features.list_sources import drop_box
from onboarding_worker.features.list_sources.dropped_files import FileState
from onboarding_worker.features.list_sources.place import MOST_FILES, UNSEEN
from onboarding_worker.features.list_sources.store.dropped_files import DroppedFiles
from tests.features.list_sources.folders.box import BAD, GOOD, HEADER


async def test_a_file_is_taken_when_it_has_stopped_growing_and_reported_when_sent_and_ended(box):
    here = box()
    file = here.put("list.csv", HEADER + GOOD)
    here.look()
    file.write_text(HEADER + GOOD + BAD)
    here.look(after=11)
    assert here.waits_for == "list.csv: taken when it has not changed for 10 s"
    assert here.world.parts.batches.all() == []

    here.look(after=11)
    assert [row.customer_id for row in here.world.rows(Job)] == ["C-1", "C-2"]
    assert [line.partition(",")[0] for line in here.beside("list.csv.errors.csv")] == ["row", "4"]
    assert here.waits_for == "list.csv: batch 1 is imported; a report follows when it is sent"
    assert here.beside("list.csv.errors.csv")[1].endswith(BAD.strip())  # to be mended
    assert not (here.folder / "list.csv.report.csv").exists()

    await here.world.work()
    here.look(after=2)
    assert [line.split(",")[2] for line in here.beside("list.csv.report.csv")[1:]] == ["invited", "invited", "rejected"]
    here.world.parts.decisions.cancel(1, now=here.world.clock())
    here.look(after=2)
    assert [line.split(",")[2] for line in here.beside("list.csv.report.csv")[1:]] == ["cancelled"] * 2 + ["rejected"]
    written = [here.folder / f"list.csv.{name}.csv" for name in ("errors", "report")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert {row.actor for row in here.world.rows(Audit) if row.action == "intake"} == {"folder in"}
    assert here.waits_for == "waits for a file"

    os.utime(file)
    here.take()
    assert here.files["list.csv"] == ("imported", "")  # though its batch was cancelled

    file.unlink()
    here.look(after=2)
    assert here.files == {}


async def test_a_touched_file_is_the_same_list_another_content_is_another_and_another_name_is_not(box):
    here = box()
    file = here.put("list.csv", HEADER + GOOD)
    here.take()
    os.utime(file)
    here.put("copy.csv", HEADER + GOOD)
    here.take()
    assert [batch.id for batch in here.world.parts.batches.all()] == [1]
    assert here.files["copy.csv"] == ("imported", "the same list as list.csv")

    file.write_text(HEADER + "C-9,rasa@example.org\n")
    here.take()
    assert [batch.name for batch in here.world.parts.batches.all()] == ["list.csv", "list.csv"]


async def test_what_is_no_list_is_left_alone_or_refused_by_name_and_nothing_else_waits_for_it(box, monkeypatch):
    monkeypatch.setattr(drop_box, "LARGEST_MIB", 1)
    here = box()
    outside = here.folder.parent / "passwords.csv"
    outside.write_text(HEADER + "C-7,secret@example.org\n")
    (here.folder / "link.csv").symlink_to(outside)
    os.mkfifo(here.folder / "pipe.csv")
    (here.folder / "archive").mkdir()
    for name in (".hidden.csv", "~$book.xlsx", "up.csv.part", "UP.CSV.TMP", "old.csv~", "x.report.csv", "x.errors.csv"):
        here.put(name, HEADER + GOOD)
    here.put("large.csv", HEADER + GOOD + "\n" * (1 << 20))
    here.put("odd.csv", "nonsense\n1\n")
    here.put("good.csv", HEADER + GOOD)
    here.take()
    assert {name: state for name, (state, _) in here.files.items()} == {
        "link.csv": "refused",
        "pipe.csv": "refused",
        "large.csv": "refused",
        "odd.csv": "refused",
        "good.csv": "imported",
    }
    assert here.waits_for.startswith("4 refused files, good.csv: ")
    assert "links are not followed" in here.beside("link.csv.errors.csv")[1]
    assert "largest" in here.files["large.csv"][1]
    assert [need.name for need in here.report.attention] == ["in/large.csv", "in/link.csv", "in/odd.csv", "in/pipe.csv"]

    (here.folder / "link.csv").unlink()
    here.put("link.csv", HEADER + "C-8,rasa@example.org\n")
    here.put("odd.csv", HEADER + "C-9,rasa@example.org\n")
    here.take()
    assert [here.files[name][0] for name in ("link.csv", "odd.csv")] == ["imported", "imported"]


@pytest.mark.parametrize(
    "name", ["a\u00a0list.csv", "a\nlist.csv", "a\x1b[31m list.csv", "\u202ea list.csv", "a list\udcff.csv"]
)
async def test_a_list_whose_name_cannot_be_seen_is_refused_by_a_name_that_can(box, name):
    here = box()
    here.put("a list.csv", HEADER + GOOD)
    here.put(name, HEADER + "C-8,rasa@example.org\n")
    here.take()
    (refused,) = here.files.keys() - {"a list.csv"}
    assert refused.isprintable()
    assert here.files[refused] == ("refused", UNSEEN)
    assert here.files["a list.csv"][0] == "imported"
    assert UNSEEN in here.beside(f"{refused}.errors.csv")[1]
    assert [need.name for need in here.report.attention] == [f"in/{refused}"]


async def test_a_folder_that_vanishes_is_named_and_goes_on_when_it_is_back(box):
    here = box()
    here.put("list.csv", HEADER + GOOD)
    here.look()
    here.folder.rename(here.folder.with_name("elsewhere"))
    here.look(after=20)
    here.look(after=20)
    assert here.waits_for == "the folder cannot be read: No such file or directory"
    here.folder.with_name("elsewhere").rename(here.folder)
    here.take()
    assert (here.files["list.csv"][0], len(here.world.rows(Job))) == ("imported", 2)


async def test_a_folder_with_too_many_lists_is_not_worked_and_says_so(box):
    here = box()
    for number in range(MOST_FILES):
        (here.folder / f"{number}.csv").touch()
    here.look()
    assert here.waits_for == "the folder holds more than 10,000 lists: move away those that have ended"
    assert here.files == {"": ("away", here.waits_for)}


async def test_a_report_that_cannot_be_written_is_written_later_and_the_reason_is_shown(box):
    here = box()
    here.put("list.csv", HEADER + GOOD)
    here.take()
    (here.folder / "list.csv.report.csv").mkdir()
    here.world.parts.decisions.cancel(1, now=here.world.clock())
    here.look(after=2)
    assert here.waits_for == "list.csv: batch 1; list.csv.report.csv cannot be written: Is a directory"
    (here.folder / "list.csv.report.csv").rmdir()
    here.look(after=70)
    assert len(here.beside("list.csv.report.csv")) == 3
    assert here.files["list.csv"] == ("imported", "")
    assert [name for name in os.listdir(here.folder) if name.startswith(".")] == []


async def test_the_folders_settings_hold_for_its_lists(box):
    here = box(approve=True, per_hour=60, locale="lt", country="LT")
    here.put("list.csv", "customer_id,email,locale\nC-1,ona@example.org,\nC-2,jonas@example.org,de\n")
    here.take()
    batch = here.world.parts.batches.find("latest")
    assert batch.is_paused
    assert batch.pause_reason.startswith("waits for approval: it came by the folder in")
    await here.world.work()
    assert here.world.asked == []
    here.world.parts.decisions.resume(batch.id, now=here.world.clock())
    await here.world.work()
    assert here.world.parts.batches.plan(batch).plan.per_hour == 60
    assert len(here.world.asked) == 1

    strict = box(strict=True)
    strict.put("bad.csv", HEADER + "C-5,x@example.org\n" + BAD)
    strict.take()
    assert strict.files["bad.csv"][0] == "refused"
    assert [line.split(",")[:2] for line in strict.beside("bad.csv.errors.csv")[1:]] == [["3", "email"]]


@pytest.mark.both_databases
async def test_one_of_several_processes_takes_a_file_and_another_one_after_its_death(box):
    first, second = box(owner="first"), box(owner="second")
    world = first.world
    first.put("list.csv", HEADER + GOOD)
    first.look()
    world.clock.advance(seconds=11)
    files, now = DroppedFiles(world.parts.database), world.clock()
    (seen,) = files.all(["in"])
    until = now + world.parts.settings.worker.lease
    assert [files.take(seen, owner=owner, until=until, now=now) for owner in ("first", "second")] == [True, False]

    assert first.report.is_importing  # so `status` does not call the batch cut off
    second.look(after=5)  # the first one is dead, and its lease has not ended
    assert world.rows(Job) == []
    second.look(after=120)
    assert (second.files["list.csv"][0], len(world.rows(Job))) == ("imported", 2)
    assert not files.done(seen, owner="first", state=FileState.REFUSED)  # it only stood still


async def test_a_file_that_ends_each_process_is_refused_after_some_tries(box):
    here = box()
    here.put("bomb.csv", HEADER + GOOD)
    here.look()
    for _ in range(3):
        here.world.clock.advance(seconds=120)
        files = DroppedFiles(here.world.parts.database)
        (seen,) = files.all(["in"])
        now = here.world.clock()
        assert files.take(seen, owner="gone", until=now, now=now)
    here.look(after=120)
    assert here.files["bomb.csv"][0] == "refused"
    assert here.world.rows(Job) == []
