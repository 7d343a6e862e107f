"""A folder, and a process that looks into it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worker.features.list_sources.drop_box import DropBox, place_of
from worker.features.list_sources.folder_report import folder_reports
from worker.features.list_sources.settings import Intake
from worker.features.list_sources.store.dropped_files import DroppedFiles
from worker.lists.known_customers import KnownRule

HEADER = "customer_id,email\n"
GOOD = "C-1,ona@example.org\nC-2,jonas@example.org\n"
BAD = "C-3,none\n"


def in_thread(step):
    """The step's result, made in a thread without an event loop, as in a worker."""
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(step).result()


class Box:
    """A folder, and a process that looks into it. `at`: its address, if it is served from `folder` by a server."""

    def __init__(
        self, world, folder: Path, owner: str = "one", rule: KnownRule = KnownRule.REFRESH, at: str = "", **options
    ) -> None:
        self.world, self.folder = world, folder
        self.settings = Intake(folder=at or folder, name="in", **options)
        self.place = place_of(self.settings)
        parts = world.parts
        self.drop_box = DropBox(
            folder=self.settings,
            place=self.place,
            parts=parts,
            intake=parts.intake,
            owner=owner,
            rule=rule,
        )

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
    def waits_for(self) -> str:
        (report,) = folder_reports([self.settings], self.world.parts.database)
        return report.in_words
