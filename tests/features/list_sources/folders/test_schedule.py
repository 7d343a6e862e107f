"""The folders are looked into in a thread, while `up` or a worker runs."""

import threading

from onboarding_worker.core.database.tables import Job
from onboarding_worker.core.foundation.clock import monotonic
from onboarding_worker.features.list_sources.drop_box import DropBox, FolderSchedule
from onboarding_worker.wiring.background import Ticks


def until_it_has_looked(schedule):
    schedule.step()
    ends = monotonic() + 60
    while any(thread.name == "folders" for thread in threading.enumerate()):
        assert monotonic() < ends


async def test_a_list_that_is_put_into_a_folder_is_taken_by_the_process(make, tmp_path):
    (tmp_path / "in").mkdir()
    world = make(more='[[intake]]\nfolder = "in"')
    (tmp_path / "in" / "list.csv").write_text("customer_id,email\nC-1,ona@example.org\n")
    for _ in range(2):
        until_it_has_looked(FolderSchedule.of(world.parts))
        world.clock.advance(seconds=11)
    assert [row.customer_id for row in world.rows(Job)] == ["C-1"]


async def test_without_folders_nothing_is_started(make):
    assert FolderSchedule.of(make().parts) is None


async def test_a_folder_that_fails_is_logged_once_though_another_one_is_looked_into(
    make, tmp_path, monkeypatch, caplog
):
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
    world = make(more="".join(f'[[intake]]\nfolder = "{name}"\nname = "{name}"\n' for name in ("bad", "good")))
    schedule = FolderSchedule.of(world.parts)
    look = DropBox.look

    def fails(box):
        if box.folder.known_as == "bad":
            raise KeyError
        look(box)

    monkeypatch.setattr(DropBox, "look", fails)
    monkeypatch.setattr(Ticks, "begin", lambda _ticks, _now: True)
    with caplog.at_level("WARNING"):
        for _ in range(3):
            until_it_has_looked(schedule)
    assert [record.levelname for record in caplog.records if "bad" in record.getMessage()] == ["WARNING"]
