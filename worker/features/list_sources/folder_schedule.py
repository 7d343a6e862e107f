"""Each folder of [[intake]], where it is: whether it can be read, for `onboard doctor`; and when it is looked into, in
threads, since an import may take minutes."""

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import sqlalchemy as sa

from worker.cli.feature_checks import FeatureCheck, Finding, failure, ok, warning
from worker.core.foundation.clock import monotonic
from worker.core.foundation.notation import counted
from worker.core.foundation.outage_log import Outage
from worker.features.list_sources.drop_box import DropBox
from worker.features.list_sources.place import Away, LocalFolder, Place
from worker.features.list_sources.remote_folders import S3Folder, SftpFolder
from worker.features.list_sources.settings import Intake, Remote
from worker.lists.known_customers import KnownRule
from worker.settings.problems import SettingsError
from worker.wiring.background import Looks, Work, Working
from worker.wiring.container import Parts


def place_of(folder: Intake) -> Place:
    """The folder, as the drop box uses it. Opens no connection."""
    if not isinstance(folder.folder, Remote):
        return LocalFolder(folder.folder, folder.mode)
    return (S3Folder if folder.folder.scheme == "s3" else SftpFolder)(folder, folder.folder)


def check(parts: Parts) -> Iterator[Finding]:
    """Each folder of [[intake]] can be read from here."""
    for folder in parts.settings.tables(Intake):
        what = f"folder {folder.known_as}"
        try:
            found = place_of(folder).found(now=parts.clock())
        except Away as error:
            yield failure(what, f"cannot be read: {error}", "docs/features/list_sources.md")
        except SettingsError as error:
            yield warning(what, f"not asked: {'; '.join(error.problems)}", "run it where the credentials are set")
        else:
            lists = counted(len(found.stamps), "list")
            more = f", and {counted(len(found.odd), 'file')} that cannot be taken" if found.odd else ""
            yield ok(what, f"can be read; it holds {lists}{more}")


CHECK = FeatureCheck(check)


log = logging.getLogger(__name__)
END_SECONDS = 30.0  # a chunk of an import is through by then; after a kill its batch goes on


def _look(boxes: Sequence[DropBox], outages: Mapping[str, Outage]) -> None:
    for box in boxes:
        name = box.folder.known_as
        try:
            box.look()
        except sa.exc.OperationalError:
            return  # the work logs it
        except Exception as error:
            why = f"looking into the folder {name} ended with {type(error).__name__}"
            outages[name].lasts(why, monotonic())
        else:
            outages[name].over(f"the folder {name} is looked into again")


class FolderSchedule(Working):
    """Looks into each folder at its times. The folders of this machine have one thread, and are looked into one after
    the other; each other folder has its own, since its server may be slow or away."""

    def __init__(self, boxes: Sequence[DropBox], ends: threading.Event) -> None:
        """`ends` is what the boxes stop by."""
        far = [[box] for box in boxes if isinstance(box.folder.folder, Remote)]
        here = [box for box in boxes if not isinstance(box.folder.folder, Remote)]
        outages = {box.folder.known_as: Outage(log, logging.WARNING) for box in boxes}
        self._ends = ends
        self._lanes = [
            Looks(
                "folders", partial(_look, each, outages), each[0].folder.looks_every.total_seconds(), ends, END_SECONDS
            )
            for each in (here, *far)
            if each
        ]

    @classmethod
    def of(cls, parts: Parts) -> "FolderSchedule | None":
        """None without folders."""
        ends = threading.Event()
        boxes = [
            DropBox(
                folder=folder,
                place=place_of(folder),
                parts=parts,
                intake=parts.intake,
                owner=parts.owner[:80],
                rule=KnownRule(parts.settings.import_.known),
                stopping=ends.is_set,
            )
            for folder in parts.settings.tables(Intake)
        ]
        return cls(boxes, ends) if boxes else None

    def step(self) -> None:
        for lane in self._lanes:
            lane.step()

    def close(self) -> None:
        """End all after the present chunks of their imports."""
        self._ends.set()
        until = monotonic() + END_SECONDS
        for lane in self._lanes:
            lane.join(max(0.0, until - monotonic()))


WORK = Work(FolderSchedule.of, in_run=False)
