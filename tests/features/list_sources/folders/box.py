"""A folder, and a process that looks into it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from onboarding_worker.features.list_sources.drop_box import DropBox, place_of
from onboarding_worker.features.list_sources.folder_report import standing
from onboarding_worker.features.list_sources.settings import Intake
from onboarding_worker.features.list_sources.store.dropped_files import DroppedFiles
from onboarding_worker.reporting.standings import Standing

HEADER = "customer_id,email\n"
GOOD = "C-1,ona@example.org\nC-2,jonas@example.org\n"
BAD = "C-3,nobody\n"


def in_thread(step):
    """The step's result, made in a thread without an event loop, as in a worker."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(step).result()


class Box:
    """A folder, and a process that looks into it. `at`: its address, if it is served from `folder` by a server."""

    def __init__(self, world, folder: Path, owner: str = "one", at: str = "", **options) -> None:
        self.world, self.folder = world, folder
        self.settings = Intake(folder=at or folder, name="in", **options)
        self.place = place_of(self.settings)
        self.drop_box = DropBox(folder=self.settings, place=self.place, parts=world.parts, owner=owner)

    def look(self, *, after: float = 0.0) -> None:
        self.world.clock.advance(seconds=after)
        in_thread(self.drop_box.look)

    def take(self) -> None:
        """See what is there, and take it once it has not changed for a while."""
        self.look()
        self.look(after=11)

    def put(self, name: str, text: str) -> Path:
        (self.folder / name).write_text(text)
        return self.folder / name

    def beside(self, name: str) -> list[str]:
        return (self.folder / name).read_text().splitlines()

    @property
    def files(self) -> dict[str, tuple[str, str]]:
        return {one.name: (one.state.value, one.reason) for one in DroppedFiles(self.world.parts.database).all(["in"])}

    @property
    def report(self) -> Standing:
        of_this_folder: Any = SimpleNamespace(tables=lambda _model: (self.settings,))
        return standing(of_this_folder, self.world.parts.database)

    @property
    def waits_for(self) -> str:
        return self.report.facts["intake"][0]["waits_for"]
