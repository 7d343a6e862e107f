"""The files in folders that lists are taken from, and the refused lines of their lists. One statement decides which
process takes a file."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import DroppedFile as Row
from onboarding_worker.core.database.tables import SkippedLine
from onboarding_worker.core.model.customers import FieldProblem
from onboarding_worker.features.list_sources.dropped_files import DroppedFile, FileState
from onboarding_worker.lists.lines import same_customer
from onboarding_worker.lists.store.taken import FREE, TakenLists

_COLUMNS = [getattr(Row, field.name) for field in fields(DroppedFile)]


class DroppedFiles(TakenLists[DroppedFile]):
    def __init__(self, database: Database) -> None:
        super().__init__(database, Row, lambda file: _is(file.folder, file.name))

    def all(self, folders: Collection[str]) -> list[DroppedFile]:
        """The files of these folders, by name."""
        query = sa.select(*_COLUMNS).where(Row.folder.in_(sorted(folders))).order_by(Row.folder, Row.name)
        rows = self._database.rows(query)
        return [DroppedFile(**(row._asdict() | {"state": FileState(row.state)})) for row in rows]

    def seen(self, folder: str, stamps: dict[str, str], known: Sequence[DroppedFile], *, now: datetime) -> None:
        """Write down what was seen in the folder: new files, changed files, and files that are gone. A file that a
        process works on stays as it is until that process is done. The row of a file that is gone stays while its batch
        has a report to come."""
        before = {one.name for one in known}
        free = {one.name: one for one in known if not (one.owner and one.until is not None and one.until > now)}
        new = [name for name in stamps if name not in before]
        changed = [name for name, stamp in stamps.items() if name in free and free[name].stamp != stamp]
        gone = [
            name
            for name, one in free.items()
            if name not in stamps and (one.state is not FileState.IMPORTED or one.reported == "finished")
        ]
        if not (new or changed or gone):
            return
        with self._database.write() as connection:
            if new:
                rows = [_new(folder, name, stamps[name], now) for name in new]
                new_rows = insert(Row, connection.dialect.name)
                connection.execute(new_rows.on_conflict_do_nothing(), rows)  # another process may be first
            for name in changed:
                same = (*_is(folder, name), Row.stamp == free[name].stamp)
                again = sa.update(Row).where(*same, self._not_taken(now))
                values = {"stamp": stamps[name], "seen_at": now, "state": FileState.WAITING, "reason": "", "tries": 0}
                connection.execute(again.values(**values, **FREE))
            for name in gone:
                connection.execute(sa.delete(Row).where(*_is(folder, name), self._not_taken(now)))

    def take(self, file: DroppedFile, *, owner: str, until: datetime, now: datetime) -> bool:
        """Take the file, to import it or to write its report; whether this process has it now."""
        more: dict[str, Any] = {}
        if file.state is not FileState.IMPORTED:
            more = {"state": FileState.TAKEN, "tries": Row.tries + 1, "reason": ""}
        waits = (Row.stamp == file.stamp, Row.state == file.state)
        return self._taken(file, *waits, now=now, owner=owner, until=until, **more)

    def done(self, file: DroppedFile, *, owner: str, state: FileState, **values: Any) -> bool:
        """Write what became of a file that this process has; False: another process has taken it meanwhile."""
        return self._write(file, owner, state=state, **(FREE | values))

    def put_off(self, file: DroppedFile, *, owner: str, reason: str, until: datetime) -> bool:
        """Release the file, to be tried again at `until`."""
        back = FileState.IMPORTED if file.state is FileState.IMPORTED else FileState.WAITING
        return self._write(file, owner, state=back, reason=reason[:400], until=until, owner="")

    def away(self, folder: str, reason: str, *, now: datetime) -> None:
        """The folder cannot be read; an empty reason: it can."""
        with self._database.write() as connection:
            connection.execute(sa.delete(Row).where(*_is(folder, "")))
            if reason:
                away = {"state": FileState.AWAY, "reason": reason[:400]}
                connection.execute(sa.insert(Row).values(_new(folder, "", "", now) | away))


def _is(folder: str, name: str) -> tuple[sa.ColumnElement[bool], ...]:
    return Row.folder == folder, Row.name == name


def _new(folder: str, name: str, stamp: str, now: datetime) -> dict[str, Any]:
    empty = {"reason": "", "digest": "", "batch_id": None, "reported": "", "tries": 0, **FREE}
    return {"folder": folder, "name": name, "stamp": stamp, "seen_at": now, "state": FileState.WAITING, **empty}


def problems_of_batch(database: Database, batch_id: int) -> Iterator[tuple[int, FieldProblem]]:
    """The problems of the batch's refused lines, by row; of a duplicate, which row has the customer too."""
    query = sa.select(SkippedLine.row, SkippedLine.duplicate_of, SkippedLine.problems)
    for line in database.in_order(query.where(SkippedLine.batch_id == batch_id), SkippedLine.row, chunk=1000):
        if line.duplicate_of is not None:
            yield line.row, same_customer(line.duplicate_of)
        yield from ((line.row, FieldProblem(**problem)) for problem in line.problems)
