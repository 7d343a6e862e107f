"""Looks into the folders of [[intake]] from time to time, in a thread of its own: an import may take minutes."""

import logging
import threading
from collections.abc import Sequence

import sqlalchemy as sa

from worker.engine.intake import Intake
from worker.engine.reporting.batch_report import Reporting
from worker.engine.stores import Stores
from worker.foundation.clock import monotonic
from worker.foundation.outage_log import Outage
from worker.inbound.folders.drop_box import DropBox
from worker.runtime.ticks import Ticks
from worker.settings import Settings

log = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
END_SECONDS = 30.0  # a chunk of an import is through by then; after a kill its batch goes on


class FolderSchedule:
    """Looks once at a time. Without folders it does nothing."""

    def __init__(self, boxes: Sequence[DropBox], ends: threading.Event) -> None:
        """`ends` is what the boxes stop by."""
        self._boxes, self._ends = boxes, ends
        self._ticks = Ticks(LOOK_SECONDS)
        self._thread: threading.Thread | None = None
        self._outage = Outage(log, logging.WARNING)

    @classmethod
    def of(
        cls, settings: Settings, stores: Stores, *, intake: Intake, reporting: Reporting, owner: str
    ) -> "FolderSchedule":
        ends = threading.Event()
        boxes = [
            DropBox(
                folder=folder,
                intake=intake,
                database=stores.database,
                keyring=stores.keyring,
                reporting=reporting,
                facts=stores.facts,
                owner=owner[:80],
                lease=settings.worker.lease,
                ignore=frozenset(settings.import_.ignore),
                dates=settings.import_.dates,
                sheet=settings.import_.sheet,
                stopping=ends.is_set,
            )
            for folder in settings.intake
        ]
        return cls(boxes, ends)

    def step(self) -> None:
        """Begin to look, if it is time. Returns at once."""
        if not self._boxes or self._ends.is_set() or (self._thread is not None and self._thread.is_alive()):
            return
        if self._ticks.begin(monotonic()):
            self._thread = threading.Thread(target=self._look, name="folders", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        for box in self._boxes:
            try:
                box.look()
            except sa.exc.OperationalError:
                return  # the work logs it
            except Exception as error:
                name = box.folder.known_as
                self._outage.lasts(f"looking into the folder {name} ended with {type(error).__name__}", monotonic())
            else:
                self._outage.over("the folders are looked into again")

    def close(self) -> None:
        """End after the present chunk of an import."""
        self._ends.set()
        if self._thread is not None:
            self._thread.join(END_SECONDS)
