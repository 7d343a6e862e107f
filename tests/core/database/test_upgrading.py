"""An upgrade while workers of the previous release run: they can still write, and no transaction waits long."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database

BEFORE = "0001"  # the revision of the previous release
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@pytest.fixture
def database(make_postgresql: Callable[[], str]) -> Iterator[Database]:
    """A database at the revision of the previous release."""
    opened = Database(make_postgresql(), connections=4)
    schema.upgrade(opened, BEFORE)
    yield opened
    opened.close()


class OldRelease:
    """Writes and reads like the previous release: with the columns that it knows, each of them named."""

    def __init__(self, database: Database) -> None:
        known = sa.MetaData()
        known.reflect(database.engine)
        self._tables = [table for table in known.sorted_tables if table.name != "alembic_version"]
        self._made = 1  # the number of the audit log's head, which is always there

    def work(self, connection: sa.Connection) -> None:
        """Insert a row into each table, read it, and change it."""
        self._made += 1
        for table in self._tables:
            values = {column.name: self._value(column) for column in table.columns}
            connection.execute(sa.insert(table), values)
            keys = [column == values[column.name] for column in table.primary_key]
            assert connection.execute(sa.select(table).where(*keys).with_for_update()).one()
            if table.name != "audit":  # its rows cannot be changed
                connection.execute(sa.update(table).where(*keys).values(values))

    def _value(self, column: sa.Column[Any]) -> Any:
        if column.nullable and not column.foreign_keys:
            return None
        kind = column.type.python_type
        made: dict[type, Any] = {
            int: self._made,
            float: 0.0,
            str: str(self._made),
            bytes: b"encrypted",
            bool: False,
            date: NOON.date(),
            datetime: NOON,
            uuid.UUID: uuid.UUID(int=self._made),
            object: [],  # JSON
        }
        return made[kind]

    def rows(self, database: Database) -> dict[str, int]:
        with database.read() as connection:
            return {
                table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
                for table in self._tables
                if table.name != "audit_head"  # which has one row more
            }


def test_a_worker_of_the_previous_release_goes_on_during_the_upgrade(database: Database, next_release: Path):
    old = OldRelease(database)
    with database.write() as connection:
        old.work(connection)
    tries = 0
    with database.engine.connect() as begun_before:
        old.work(begun_before)

        def between_two_tries(seconds: float) -> None:
            nonlocal tries
            tries += 1
            with database.write() as connection:  # the upgrade blocks no other transaction
                connection.execute(sa.text("SET LOCAL lock_timeout = '1ms'"))
                old.work(connection)
            old.work(begun_before)
            begun_before.commit()

        schema.upgrade(database, pause=between_two_tries, migrations=next_release)
    assert tries == 1
    assert schema.current(database) == schema.newest(next_release) != BEFORE
    with database.write() as connection:
        old.work(connection)
    assert set(old.rows(database).values()) == {5}


def test_an_upgrade_that_is_blocked_by_a_transaction_reports_it_and_changes_nothing(database, next_release):
    with database.engine.connect() as long_one:
        OldRelease(database).work(long_one)
        with pytest.raises(schema.TableInUse, match="pg_stat_activity"):
            schema.upgrade(database, tries=1, migrations=next_release)
    assert schema.current(database) == BEFORE
    schema.upgrade(database, migrations=next_release)
    assert schema.current(database) == schema.newest(next_release)


def test_two_upgrades_at_once_go_one_after_the_other(database, next_release):
    with database.engine.connect() as other:
        other.execute(sa.select(sa.func.pg_advisory_lock(schema.ONE_AT_A_TIME)))
        other.commit()  # the lock belongs to the connection; an open transaction would block the upgrade by itself
        with pytest.raises(schema.TableInUse):
            schema.upgrade(database, tries=1, migrations=next_release)
        assert schema.current(database) == BEFORE
        other.execute(sa.select(sa.func.pg_advisory_unlock(schema.ONE_AT_A_TIME)))
        other.commit()
        schema.upgrade(database, migrations=next_release)
    assert schema.current(database) == schema.newest(next_release)
