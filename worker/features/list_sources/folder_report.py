"""What the folders of [[intake]] wait for, as `status` and the dashboard show it."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from worker.core.database.database import Database
from worker.core.foundation.notation import counted
from worker.features.list_sources.dropped_files import DroppedFile, FileState, waits_for
from worker.features.list_sources.settings import Intake
from worker.features.list_sources.store.dropped_files import DroppedFiles
from worker.reporting.standings import SourceReports
from worker.reporting.waits import Wait

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
