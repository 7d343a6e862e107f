"""What the folders of [[intake]] wait for, as `status` and the dashboard show it."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.notation import counted
from onboarding_worker.features.list_sources.dropped_files import DroppedFile, FileState, waits_for
from onboarding_worker.features.list_sources.settings import Intake
from onboarding_worker.features.list_sources.store.dropped_files import DroppedFiles
from onboarding_worker.reporting.standings import NOTHING_TO_SAY, Standing, Standings
from onboarding_worker.reporting.waits import Wait
from onboarding_worker.settings.model import Settings

SHOWN = 20  # files of a folder: those that need a person first


def standing(settings: Settings, database: Database, *_: object) -> Standing:
    """The configured folders, with what was last seen in them."""
    folders = settings.tables(Intake)
    if not folders:
        return NOTHING_TO_SAY
    seen = DroppedFiles(database).all([folder.known_as for folder in folders])
    lines, facts, attention = list[str](), list[dict[str, Any]](), list[Wait]()
    for folder in folders:
        name, path = folder.known_as, str(folder.folder)
        files = [one for one in seen if one.folder == name and one.name]
        # Why the folder cannot be read; empty: it can, or no process has looked yet.
        away = next((one.reason for one in seen if one.folder == name and not one.name), "")
        refused_first = sorted(files, key=lambda one: (one.state is not FileState.REFUSED, one.name))
        shown = [
            {"name": one.name, "state": one.state.value, "batch": one.batch_id, "waits_for": waits_for(one)}
            for one in refused_first[:SHOWN]
        ]
        waits = away or _in_words(files)
        lines.append(f"folder {name}: {waits}")
        facts.append({"folder": name, "path": path, "waits_for": waits, "files": shown})
        attention += _attention(name, path, files, away)
    # A list's import that was killed goes on by itself.
    taken = any(one.name and one.state is FileState.TAKEN for one in seen)
    return Standing(lines, {"intake": facts}, attention, is_importing=taken)


STANDINGS = Standings(standing)


def _in_words(files: Sequence[DroppedFile]) -> str:
    open_ = [one for one in files if one.state is not FileState.REFUSED and one.reported != "finished"]
    refused = sum(one.state is FileState.REFUSED for one in files)
    words = [f"{counted(refused, 'refused file')}"] if refused else []
    words += [f"{one.name}: {waits_for(one)}" for one in open_[:1]]
    words += [f"and {counted(len(open_) - 1, 'more file')}"] if len(open_) > 1 else []
    return ", ".join(words) or "waits for a file"


def _attention(name: str, path: str, files: Sequence[DroppedFile], away: str) -> list[Wait]:
    """What needs a person: a folder that cannot be read, and each refused file."""
    if away:
        return [Wait("folder", name, away, "onboard status")]
    refused = [one for one in files if one.state is FileState.REFUSED][:SHOWN]
    # As a command names them.
    commands = [f"{path}/{quote(one.name)}" if "://" in path else str(Path(path) / one.name) for one in refused]
    return [
        Wait("list", f"{name}/{one.name}", f"refused: {one.reason}", f"onboard check {shlex.quote(command)}")
        for one, command in zip(refused, commands, strict=True)
    ]
