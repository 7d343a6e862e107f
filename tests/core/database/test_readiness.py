"""What a database must be before this release works on it, and what is said of one that is not."""

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation import shipped
from onboarding_worker.core.foundation.features import FEATURES, Features
from tests.suite.databases import in_encoding


@pytest.fixture
def fresh(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'fresh.db'}")
    yield database
    database.close()


def make(database, *names):
    with database.write() as connection:
        for name in names:
            connection.exec_driver_sql(f"CREATE TABLE {name} (id INTEGER)")


def at_revision(database, revision):
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")
        connection.exec_driver_sql("DELETE FROM alembic_version")
        connection.execute(sa.insert(schema.VERSION).values(version_num=revision))


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["zebra"], ""),
        (["job"], "a table of another program (job)"),
        (["zebra", "session", "job"], "tables of another program (job, session)"),
    ],
)
def test_tables_of_another_program_with_our_names_are_said_and_left_alone(fresh, names, said):
    make(fresh, *names)
    found = schema.tables_of_others(fresh)
    assert bool(found) == bool(said)
    assert said in found
    if said:
        assert schema.why_not_ready(fresh) == found
        with pytest.raises(schema.NotMigrated, match="of another program"):
            schema.upgrade(fresh)
        assert schema.current(fresh) is None
    else:
        assert "is empty" in schema.why_not_ready(fresh)
    assert schema.outdated(fresh) is None


def test_a_database_that_was_migrated_has_no_tables_of_others(fresh):
    make(fresh, "job")
    at_revision(fresh, "0001")
    assert schema.tables_of_others(fresh) == ""
    assert "at revision 0001: run `onboard db upgrade`" in schema.why_not_ready(fresh)
    assert schema.outdated(fresh) is None


def test_a_copy_that_is_not_whole_is_not_said_to_be_of_a_newer_release(fresh):
    at_revision(fresh, schema.COPYING)
    assert "copy" in schema.why_not_ready(fresh)
    assert "newer" not in schema.why_not_ready(fresh)
    assert schema.outdated(fresh) == schema.why_not_ready(fresh)


def test_a_database_that_cannot_hold_every_name_is_not_ready_and_not_migrated(postgresql_url):
    with in_encoding(postgresql_url, "LATIN1") as url:
        database = Database(url)
        assert schema.why_not_ready(database) == database.why_it_holds_not_every_text()
        with pytest.raises(schema.NotMigrated, match="LATIN1"):
            schema.upgrade(database)
        assert schema.current(database) is None
        database.close()


@pytest.fixture
def made(fresh):
    schema.make_unmigrated(fresh)
    return fresh


WAITS = (
    "INSERT INTO outbox (event_id, target, kind, customer_id, data, occurred_at, due_at, since, attempts, detail)"
    " VALUES ('{:032x}', 'bus', 'kind', 'C-1', '{{}}', '{} 12:00', {}, '2026-11-20', 0, '')"
)


@pytest.mark.parametrize(
    ("occurred_on", "due_at", "is_served"),
    [("2026-11-20", "'2026-11-20'", True), ("2026-11-20", "NULL", False), ("9026-11-20", "'2026-11-20'", False)],
)
def test_without_a_feature_that_must_go_on_serving_the_database_is_not_ready(
    made, monkeypatch, occurred_on, due_at, is_served
):
    with made.write() as connection:
        connection.exec_driver_sql(WAITS.format(1, occurred_on, due_at))
    assert schema.why_not_ready(made) is None or FEATURES.here.keys() < shipped.SERVES.keys()
    monkeypatch.setattr(schema, "FEATURES", Features("tests.core.foundation"))  # has none
    why = schema.why_not_ready(made)
    assert (why is not None) is is_served
    assert why is None or why.startswith("outbox: ")


def test_an_installation_without_migrations_says_so(tmp_path):
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "notes.py").touch()
    assert schema.known(tmp_path) == frozenset()
    with pytest.raises(RuntimeError, match="no migrations"):
        schema.newest(tmp_path)


def test_what_was_not_caused_by_a_lock_is_raised_at_once(fresh, tmp_path):
    make(fresh, "zebra")
    fresh.close()
    read_only = Database(f"sqlite:///file:{tmp_path / 'fresh.db'}?mode=ro&uri=true")
    with pytest.raises(sa.exc.OperationalError):
        schema.upgrade(read_only, pause=lambda _seconds: pytest.fail("it is tried again"))
    read_only.close()


def test_a_lack_is_said_with_and_without_the_words_of_the_database():
    why = schema.NotReady("the database cannot be used", "refused")
    assert (str(why), why.what, why.why) == (
        "the database cannot be used: refused",
        "the database cannot be used",
        "refused",
    )
    assert str(schema.NotReady("the database is empty")) == "the database is empty"


def test_a_table_comes_behind_those_that_its_rows_refer_to():
    names = [table.name for table in schema.all_tables()]
    for table in schema.all_tables():
        assert all(names.index(key.column.table.name) < names.index(table.name) for key in table.foreign_keys)
    assert {table.name for table in schema.all_metadata().sorted_tables} == set(names)
