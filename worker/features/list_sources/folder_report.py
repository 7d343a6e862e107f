"""What the folders of [[intake]] wait for, as `status`, `doctor` and the dashboard show it."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from worker.cli.feature_checks import FeatureCheck, Finding, failure, ok, warning
from worker.core.database.database import Database
from worker.core.foundation.plural import counted
from worker.features.list_sources.dropped_files import DroppedFile, FileState, waits_for
from worker.features.list_sources.local_folder import LocalFolder
from worker.features.list_sources.place import Away, Place
from worker.features.list_sources.s3_folder import S3Folder
from worker.features.list_sources.settings import Intake, Remote
from worker.features.list_sources.sftp_folder import SftpFolder
from worker.features.list_sources.store.dropped_files import DroppedFiles
from worker.reporting.standings import SourceReports
from worker.reporting.waits import Wait
from worker.settings.problems import SettingsError
from worker.wiring.container import Parts

SHOWN = 20  # files of a folder: those that need a person first


@dataclass(frozen=True)
class FolderReport:
    """One folder and its files. `away`: why it cannot be read; empty: it can, or no process has looked yet."""

    name: str
    path: str
    files: Sequence[DroppedFile]
    away: str

    @property
    def is_importing(self) -> bool:
        """Whether the import of one of its lists has begun and not ended."""
        return any(one.state is FileState.TAKEN for one in self.files)

    @property
    def in_words(self) -> str:
        """What the folder waits for."""
        if self.away:
            return self.away
        open_ = [one for one in self.files if one.state is not FileState.REFUSED and one.reported != "finished"]
        refused = sum(one.state is FileState.REFUSED for one in self.files)
        words = [f"{counted(refused, 'refused file')}"] if refused else []
        words += [f"{one.name}: {waits_for(one)}" for one in open_[:1]]
        words += [f"and {counted(len(open_) - 1, 'more file')}"] if len(open_) > 1 else []
        return ", ".join(words) or "waits for a file"

    def facts(self) -> dict[str, Any]:
        """As `status --json` prints it."""
        return {
            "folder": self.name,
            "path": self.path,
            "waits_for": self.in_words,
            "files": [
                {
                    "name": one.name,
                    "state": one.state.value,
                    "batch": one.batch_id,
                    "waits_for": waits_for(one),
                }
                for one in sorted(self.files, key=lambda one: (one.state is not FileState.REFUSED, one.name))[:SHOWN]
            ],
        }

    def _file(self, name: str) -> str:
        """As a command names it."""
        return f"{self.path}/{quote(name)}" if "://" in self.path else str(Path(self.path) / name)

    def attention(self) -> list[Wait]:
        """What needs a person: a folder that cannot be read, and each refused file."""
        if self.away:
            return [Wait("folder", self.name, self.away, "onboard status")]
        return [
            Wait(
                "list",
                f"{self.name}/{one.name}",
                f"refused: {one.reason}",
                f"onboard check {shlex.quote(self._file(one.name))}",
            )
            for one in self.files
            if one.state is FileState.REFUSED
        ][:SHOWN]


def folder_reports(folders: Sequence[Intake], database: Database) -> list[FolderReport]:
    """The configured folders, with what was last seen in them."""
    if not folders:
        return []
    found = DroppedFiles(database).all([folder.known_as for folder in folders])
    return [
        FolderReport(
            folder.known_as,
            str(folder.folder),
            [one for one in found if one.folder == folder.known_as and one.name],
            next((one.reason for one in found if one.folder == folder.known_as and not one.name), ""),
        )
        for folder in folders
    ]


REPORTS = SourceReports(lambda settings, database: folder_reports(settings.tables(Intake), database))


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
