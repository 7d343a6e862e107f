"""A migration that is cut off, after whichever statement, is done by running the upgrade again."""

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from textwrap import dedent

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from tests.core.database.downgrading import downgrade

# As the sixth migration once was: its columns are committed before its index is built.
MIXED = """
    import sqlalchemy as sa
    from alembic import op

    revision, down_revision = "9000", "{newest}"

    def upgrade():
        op.add_column("attempt", sa.Column("mixed", sa.String(16), nullable=True))
        with op.get_context().autocommit_block():
            op.create_index("ix_attempt_mixed", "attempt", ["mixed"], postgresql_concurrently=True)

    def downgrade():
        op.drop_column("attempt", "mixed")
"""


class CutOff(Exception):
    pass


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'one.db'}"
    make: Callable[[], str] = request.getfixturevalue("make_postgresql")
    return make()


def shape(database: Database) -> set[str]:
    """All that a migration makes: tables, columns, indexes and whether they are valid, and the revision."""
    query = (
        "SELECT coalesce(sql, name) FROM sqlite_master WHERE tbl_name != 'alembic_version'"
        if database.is_sqlite
        else "SELECT attrelid::regclass || ' ' || attname || ' ' || coalesce(indisvalid::text, '') FROM pg_attribute"
        " JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_index ON indexrelid = attrelid"
        " WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND NOT attisdropped"
        " AND relname NOT LIKE 'alembic_version%'"
    )
    with database.read() as connection:
        return {*connection.execute(sa.text(query)).scalars(), str(schema.current(database))}


def cut_off(url: str, revision: str, migrations: Path, after: int) -> bool:
    """Upgrade over a connection that breaks after so many statements. Returns whether the upgrade was over before."""
    database = Database(url)
    left = [after]

    def count(connection: sa.Connection, *_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            if not database.is_sqlite:  # SQLite rolls back when its file is closed
                connection.connection.driver_connection.close()
            raise CutOff

    sa.event.listen(database.engine, "after_cursor_execute", count)
    try:
        schema.upgrade(database, revision, migrations=migrations)
    except (CutOff, sa.exc.SQLAlchemyError):
        return False
    finally:
        database.engine.dispose()
    return True


def cuts(url: str, revision: str, migrations: Path) -> Iterator[tuple[int, set[str], set[str]]]:
    """Cut this migration off after its statements, and make it at the end. Yields the statement, and the shape that it
    should have and has once the upgrade was run again, where the cut has changed anything."""
    with closing(Database(url)) as database:
        yield from _cuts(database, url, revision, migrations)
        schema.upgrade(database, revision, migrations=migrations)


def _cuts(database: Database, url: str, revision: str, migrations: Path) -> Iterator[tuple[int, set[str], set[str]]]:
    before = schema.current(database)
    statements: list[str] = []
    count = lambda _connection, _cursor, statement, *_: statements.append(statement)  # noqa: E731
    sa.event.listen(database.engine, "after_cursor_execute", count)
    schema.upgrade(database, revision, migrations=migrations)
    sa.event.remove(database.engine, "after_cursor_execute", count)
    whole = shape(database)
    downgrade(database, before or "base", migrations=migrations)
    untouched = shape(database)
    assert statements
    # The first migration makes all tables, in one transaction: not each of its statements needs a cut.
    for after in range(len(statements), 0, -(len(statements) // 2 if before is None else 2)):
        over = cut_off(url, revision, migrations, after)
        assert not over or after == len(statements)  # the table of revisions exists already
        if shape(database) != untouched:
            schema.upgrade(database, revision, migrations=migrations)
            yield after, whole, shape(database)
            downgrade(database, before or "base", migrations=migrations)


def test_every_migration_is_done_by_a_second_run_wherever_the_first_was_cut_off(url, next_release):
    revisions = list(ScriptDirectory(str(next_release)).walk_revisions())
    assert revisions
    for revision in reversed(revisions):
        for statement, expected, found in cuts(url, revision.revision, next_release):
            assert found == expected, f"{revision.revision}, cut off after statement {statement}"


def test_a_migration_that_mixes_the_two_kinds_is_found(make_postgresql, next_release):
    """Its second run finds the column that the first has added."""
    url = make_postgresql()
    newest = schema.newest(next_release)
    (next_release / "versions" / "9000_mixed.py").write_text(dedent(MIXED.format(newest=newest)))
    schema.upgrade(database := Database(url), newest, migrations=next_release)
    database.close()
    with pytest.raises(sa.exc.OperationalError, match="already exists"):
        list(cuts(url, "9000", next_release))


def test_an_index_is_built_behind_a_transaction_that_is_longer_than_the_lock_timeout(make_postgresql, next_release):
    """PostgreSQL waits for every older transaction, which need not touch the table. It does not give up, and blocks no
    other."""
    database = Database(make_postgresql())
    schema.upgrade(database, f"{int(schema.newest()) + 1:04}", migrations=next_release)
    timeouts = []

    def note(connection: sa.Connection, _cursor: object, statement: str, *_: object) -> None:
        if "CONCURRENTLY" in statement:
            timeouts.append(connection.exec_driver_sql("SHOW lock_timeout").scalar_one())

    sa.event.listen(database.engine, "before_cursor_execute", note)
    schema.upgrade(database, migrations=next_release)
    database.close()
    assert set(timeouts) == {"0"}
