"""Copies a SQLite database into a PostgreSQL database, table by table in the order of the keys, and compares both.

The copy has no state of its own: what is in the target is copied, so a killed copy goes on behind its last row. Until
the copy is whole, the target's revision is `schema.COPYING`, which no process works on. Meanwhile the source is locked
for writers. Both stay stopped: a person goes on, in one of them.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.core.database.tables import Audit, AuditHead, Budget, EmergencyStop, Timer
from onboarding_worker.lists.decisions.store.emergency_stop import EmergencyStops, stop_there

PAGE = 1000  # rows of a transaction
# What `db upgrade` and `db grant` write into a database that holds nothing else.
_OF_UPGRADES = Audit.action.in_(["db upgrade", "db grant"])
# A command that only reads writes these, and the migration the head.
_OF_COMMANDS = {table.__tablename__ for table in (AuditHead, Budget, Timer)}
_SEQUENCES = sa.table("sqlite_sequence", sa.column("name", sa.String), sa.column("seq", sa.Integer))


class CannotCopy(Exception):
    """Nothing more is copied; the text says why, and what to do."""


class Copied(NamedTuple):
    """A table, how many rows it has, and the digest of all of them."""

    table: str
    rows: int
    digest: str


def rows_of(source: Database) -> int:
    """How many rows there are to copy. Raises CannotCopy for rows that this installation does not know."""
    known = {table.name for table in all_tables()} | {schema.VERSION.name}
    with source.read() as connection:
        for name in sorted(set(sa.inspect(connection).get_table_names()) - known):
            if connection.execute(sa.select(sa.literal(1)).select_from(sa.table(name)).limit(1)).first() is not None:
                raise CannotCopy(f"the table {name} is of a feature that is not installed: install it for the copy")
        counts = (sa.select(sa.func.count()).select_from(table) for table in all_tables())
        return sum(connection.execute(count).scalar_one() for count in counts)


def prepare(target: Database) -> None:
    """Give an empty target this release's schema. Raises CannotCopy for one that holds anything else, and as
    `schema.upgrade`."""
    at = schema.current(target)
    if at == schema.COPYING:
        return
    if at is not None and at not in schema.known():
        raise CannotCopy(f"--to: {schema.why_not_ready(target)}")
    with target.read() as connection:
        tables = sa.inspect(connection).get_table_names()
        if at is None and tables:
            raise CannotCopy(f"--to: the database holds tables of another program, such as {tables[0]}: make a new one")
        if found := _held(connection, set(tables)):
            raise CannotCopy(f"--to: the database holds other data, in the table {found}: make a new one")
    schema.upgrade(target)


def _held(connection: sa.Connection, tables: set[str]) -> str:
    """The first table with rows of an installation; "": there is none."""
    for table in all_tables():
        if table.name in tables - _OF_COMMANDS:
            query = sa.select(sa.literal(1)).select_from(table).limit(1)
            if connection.execute(query.where(~_OF_UPGRADES) if table is Audit.__table__ else query).first():
                return str(table.name)
    return ""


def is_whole(source: Database, target: Database) -> bool:
    """Whether the target is this source's whole copy, and nothing has gone on in either of them."""
    if schema.current(target) != schema.newest():
        return False
    with source.read() as ours, target.read() as theirs:
        stop = stop_there(ours)
        return stop is not None and stop == stop_there(theirs)


def stop_source(source: Database, *, by: str, place: str, now: datetime) -> None:
    """Stop everything on the source, for good as far as this copy goes. An earlier stop is named in the reason."""
    stops, why = EmergencyStops(source), f"copied to {place}"
    there = stops.find()
    if there is None or not there.reason.startswith(why):
        before = f"; before, {there.in_words}" if there is not None else ""
        stops.stop(by=by, reason=why + before, now=now, anew=True)


def copy(
    source: Database,
    target: Database,
    *,
    afresh: bool,
    check: Callable[[], None],
    copied: Callable[[int], None],
    compared: Callable[[int], None],
) -> list[Copied]:
    """Copy what the target lacks, compare all rows, and let the target be used. The source is stopped.

    `check` is called once no process can write to the source, and before the target may be used. `afresh`: what an
    earlier copy has left in the target is removed. `copied` and `compared` get the number of rows so far. Raises
    CannotCopy, sqlalchemy.exc.OperationalError.
    """
    with source.write() as ours:  # the lock
        check()
        _begin(ours, target, afresh=afresh)
        _fill(ours, target, copied)
        found = _compare(ours, target, compared)
        check()
        _end(ours, target)
    return found


def _begin(ours: sa.Connection, target: Database, *, afresh: bool) -> None:
    """Let no process use the target. Its triggers rest: what they would write is copied too."""
    tables = all_tables()
    with target.write() as theirs:
        at = theirs.execute(sa.select(schema.VERSION.c.version_num).with_for_update()).scalar_one()
        if at == schema.COPYING and not afresh:
            if stop_there(theirs) == stop_there(ours):
                return
            raise CannotCopy(
                "--to: the database holds a part of another copy, or the source has gone on since: to remove that part"
                " and begin again, give --afresh"
            )
        if at != schema.COPYING and (found := _held(theirs, {table.name for table in tables})):
            raise CannotCopy(f"--to: the database holds other data, in the table {found}: make a new one")
        for table in tables:
            _alter(theirs, table, "DISABLE")
        for table in reversed(tables):
            theirs.execute(sa.delete(table))
        stop = EmergencyStop.__table__
        theirs.execute(sa.insert(stop), [dict(row) for row in ours.execute(sa.select(stop)).mappings()])
        theirs.execute(sa.update(schema.VERSION).values(version_num=schema.COPYING))


def _alter(connection: sa.Connection, table: sa.Table, does: str) -> None:
    name = connection.dialect.identifier_preparer.format_table(table)
    connection.exec_driver_sql(f"ALTER TABLE {name} {does} TRIGGER USER")


def _fill(ours: sa.Connection, target: Database, copied: Callable[[int], None]) -> None:
    done = 0
    for table in all_tables():
        with target.read() as theirs:
            key = list(table.primary_key)
            last = theirs.execute(sa.select(*key).order_by(*(one.desc() for one in key)).limit(1)).first()
            done += theirs.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for page in _pages(ours, table, last):
            try:
                with target.write() as theirs:
                    theirs.execute(sa.insert(table), [dict(row) for row in page])
            except (sa.exc.DataError, sa.exc.IntegrityError) as error:
                state = getattr(error.orig, "sqlstate", None)
                raise CannotCopy(f"PostgreSQL refuses a row of the table {table.name} (SQLSTATE {state})") from None
            done += len(page)
            copied(done)


def _pages(
    connection: sa.Connection, table: sa.Table, last: Sequence[Any] | None = None
) -> Iterator[Sequence[sa.RowMapping]]:
    """The table's rows behind this primary key, in the order of the keys."""
    key = list(table.primary_key)
    query = sa.select(table).order_by(*key).limit(PAGE)
    types = [one.type for one in key]
    while True:
        behind = sa.tuple_(*key) > sa.tuple_(*last, types=types) if last is not None else sa.true()
        page = connection.execute(query.where(behind)).mappings().all()
        if page:
            yield page
        if len(page) < PAGE:
            return
        last = tuple(page[-1][one] for one in key)


def _compare(ours: sa.Connection, target: Database, compared: Callable[[int], None]) -> list[Copied]:
    """Count and hash all rows of both. Raises CannotCopy with the tables that differ."""
    found, differ, done = [], [], 0
    for table in all_tables():
        one = _digest(ours, table, compared, before=done)
        with target.read() as theirs:
            if _digest(theirs, table) != one:
                differ.append(table.name)
        done += one.rows
        found.append(one)
    if differ:
        what = f"the copy differs in the tables {', '.join(differ)}: the source has changed since the copy began"
        raise CannotCopy(f"{what}; to begin again, give --afresh")
    return found


def _digest(
    connection: sa.Connection, table: sa.Table, compared: Callable[[int], None] = lambda _: None, *, before: int = 0
) -> Copied:
    digest, rows = sha256(), 0
    for page in _pages(connection, table):
        # As values of Python: times are aware UTC, and JSON is read, whatever each database stores.
        digest.update(orjson.dumps([tuple(row.values()) for row in page], default=bytes.hex))
        rows += len(page)
        compared(before + rows)
    return Copied(table.name, rows, digest.hexdigest())


def _end(ours: sa.Connection, target: Database) -> None:
    """Numbers go on behind those of the source, also behind those of rows that are gone; and the target may be used."""
    used = {row.name: row.seq for row in ours.execute(sa.select(_SEQUENCES))}
    with target.write() as theirs:
        for table in all_tables():
            numbered = table.autoincrement_column
            if numbered is not None:
                last = ours.execute(sa.select(sa.func.max(numbered))).scalar() or 0
                sequence = sa.func.pg_get_serial_sequence(table.name, numbered.name)
                theirs.execute(sa.select(sa.func.setval(sequence, max(last, used.get(table.name, 0)) + 1, False)))
            _alter(theirs, table, "ENABLE")
        theirs.execute(sa.update(schema.VERSION).values(version_num=schema.newest()))
