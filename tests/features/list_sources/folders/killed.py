"""Kills the process of a folder at each of its steps: `python -m tests.features.list_sources.folders.killed DIRECTORY`.

Each try starts in a copy of DIRECTORY, in a process of its own. A step is a commit, or a file that is opened to write,
renamed or removed. The process kills itself right before step 1, 2, 3 … until a try ends by itself. After each kill the
work is done again to its end. Standard output has a JSON object for each try: what is there afterwards.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.tables import Batch, Job, SkippedLine
from onboarding_worker.core.foundation.clock import ProcessClock
from onboarding_worker.core.foundation.garbage import tune_gc
from onboarding_worker.features.list_sources import drop_box
from onboarding_worker.features.list_sources.drop_box import place_of
from onboarding_worker.features.list_sources.settings import Intake
from onboarding_worker.features.list_sources.store.dropped_files import DroppedFiles
from onboarding_worker.lists.store import batches
from onboarding_worker.settings.load import load
from onboarding_worker.wiring.opening import opened
from tests.simulated.statements import STATEMENTS

LINES_AT_ONCE = 3
WRITING = ("open", "os.rename", "os.remove")


def parts_of(directory: Path) -> Any:
    return opened(load(directory / "onboarding.toml"))


def stored(parts: Any) -> dict[str, Any]:
    with parts.database.read() as connection:
        batches = connection.execute(sa.select(Batch.id, Batch.imported_at)).all()
        jobs = connection.execute(sa.select(Job.row, Job.customer_id).order_by(Job.row)).all()
        skipped = connection.execute(sa.select(SkippedLine.row).order_by(SkippedLine.row)).scalars().all()
    return {
        "batches": len(batches),
        "complete": sum(one.imported_at is not None for one in batches),
        "jobs": [list(row) for row in jobs],
        "skipped": list(skipped),
    }


def take_from(parts: Any, directory: Path) -> None:
    """Look into the folder until its list is imported, and has ended; each try is a day after the one before."""
    runs = sum(1 for _ in directory.glob("run-*"))
    (directory / f"run-{runs}").mkdir()
    now = ProcessClock()() + timedelta(days=1 + runs)

    def clock() -> datetime:
        return now

    parts.clock = parts.database_clock = clock
    (folder,) = parts.settings.tables(Intake)
    box = drop_box.DropBox(folder=folder, place=place_of(folder), parts=parts, owner=f"run {runs}")
    for _ in range(3):
        box.look()
        now += timedelta(minutes=1)
        batch = parts.batches.find("latest")
        if batch is not None and batch.imported_at is not None and batch.cancelled_at is None:
            parts.decisions.cancel(batch.id, now=now)


def taken(parts: Any, directory: Path) -> dict[str, Any]:
    folder = directory / "in"
    beside = {path.name: path.read_text() for path in folder.iterdir() if not path.name.startswith(".")}
    rows = [[one.name, one.state.value, one.reported, one.owner] for one in DroppedFiles(parts.database).all(["in"])]
    return stored(parts) | {"files": rows, "beside": beside}


def kill_before(step: int, directory: Path) -> None:
    """Kill this process right before its `step`th step."""
    left = step

    def one_step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in WRITING or not str(arguments[0]).startswith(str(directory)):
            return
        if event != "open" or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_CREAT)):
            one_step()

    sa.event.listen(sa.engine.Engine, "commit", lambda _connection: one_step())
    sys.addaudithook(watch)


def child(work: Callable[[], Any]) -> int:
    """Do the work in a process of its own; its wait status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def try_each(template: Path) -> None:
    def at(number: int) -> Path:
        return Path(shutil.copytree(template, template.with_name(f"{template.name}-{number}"), symlinks=True))

    with parts_of(at(0)) as parts:
        take_from(parts, at(-1))  # loads what the children need
    tune_gc()
    step, killed = 0, True
    while killed:
        step += 1
        directory = at(step)

        def die(directory: Path = directory, step: int = step) -> None:
            with parts_of(directory) as parts:
                kill_before(step, directory)
                take_from(parts, directory)

        status = child(die)
        killed = os.WIFSIGNALED(status)
        assert killed or status == 0, f"step {step} ended with {status}"
        with parts_of(directory) as parts:
            before = taken(parts, directory)
            take_from(parts, directory)
            tried = {"killed": killed, "before": before, **taken(parts, directory)}
        sys.stdout.write(json.dumps(tried) + "\n")
        sys.stdout.flush()


def share_statements(connection: sa.Connection) -> None:
    connection.execution_options(compiled_cache=STATEMENTS)


if __name__ == "__main__":
    batches.LINES_ALONE = LINES_AT_ONCE
    # Each try opens a database of its own, whose statements would be compiled anew: longer than all else that it does.
    sa.event.listen(sa.Engine, "engine_connect", share_statements)
    try_each(Path(sys.argv[1]))
