"""A database that is a file: its owner's alone, read while it is written, and what is left in it."""

import os
import shutil
import sqlite3
import stat
from datetime import timedelta
from itertools import islice
from pathlib import Path

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database, is_there


@pytest.fixture
def made():
    opened = []

    def make(url):
        opened.append(Database(url))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


@pytest.fixture(autouse=True)
def usual_umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def use(database):
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE thing (id INTEGER PRIMARY KEY, name TEXT)")


def test_its_files_are_its_owners_alone_wherever_a_link_leads(made, tmp_path):
    (tmp_path / "link.db").symlink_to(tmp_path / "elsewhere.db")
    for name in ("own.db", "link.db"):
        use(made(f"sqlite:///{tmp_path / name}"))
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert (tmp_path / "elsewhere.db").exists()


@pytest.mark.parametrize(
    ("url", "files"),
    [("sqlite://", set()), ("sqlite:///:memory:", set()), ("sqlite:///file:own.db?uri=true", {"own.db"})],
)
def test_only_the_file_that_is_named_is_made(made, tmp_path, monkeypatch, url, files):
    monkeypatch.chdir(tmp_path)
    database = made(url)
    use(database)
    database.close()  # the last connection removes SQLite's other files
    assert {path.name for path in tmp_path.iterdir()} == files


def test_whether_a_database_is_there(tmp_path):
    (tmp_path / "there.db").touch()
    cases = {
        f"sqlite:///{tmp_path / 'there.db'}": True,
        f"sqlite:///{tmp_path / 'gone.db'}": False,
        "sqlite://": True,
        "postgresql+psycopg://nobody@127.0.0.1:1/gone.db": True,
    }
    assert {url: is_there(url) for url in cases} == cases


def test_who_reads_waits_for_no_writer_and_writers_wait_for_each_other(made, tmp_path):
    database = made(f"sqlite:///{tmp_path / 'own.db'}")
    use(database)
    other = sqlite3.connect(tmp_path / "own.db", timeout=0, isolation_level=None)
    with database.write() as connection:
        connection.exec_driver_sql("SELECT 1")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        with database.read() as reading:
            assert reading.exec_driver_sql("SELECT count(*) FROM thing").scalar_one() == 0
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()


def test_each_connection_keeps_references_and_overwrites_what_is_removed(made, tmp_path):
    with made(f"sqlite:///{tmp_path / 'own.db'}").read() as connection:
        on = [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("foreign_keys", "secure_delete")]
    assert on == [1, 1]


def test_what_was_erased_is_gone_from_the_log_once_no_one_reads_it(made, tmp_path):
    database = made(f"sqlite:///{tmp_path / 'own.db'}")
    database.need_not_last()
    use(database)
    log = Path(f"{tmp_path / 'own.db'}-wal")
    with database.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM thing")
        other = made(f"sqlite:///{tmp_path / 'own.db'}")
        with other.write() as writing:
            writing.exec_driver_sql("PRAGMA busy_timeout = 0")
            writing.exec_driver_sql("INSERT INTO thing VALUES (1, 'Ona')")
        assert other.forget_erased() is False
    assert log.stat().st_size > 0
    assert database.forget_erased() is True
    assert log.stat().st_size == 0


@pytest.mark.parametrize(
    ("where", "free", "is_full"),
    [("file", 10 * 2**20 - 1, True), ("file", 10 * 2**20, False), ("memory", 0, False), ("named memory", 0, False)],
)
def test_a_full_disk_is_known_without_a_write(made, tmp_path, monkeypatch, where, free, is_full):
    urls = {"file": f"sqlite:///{tmp_path / 'own.db'}", "memory": "sqlite://", "named memory": "sqlite:///:memory:"}
    database = made(urls[where])
    asked = []
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: asked.append(path) or usage)
    assert bool(database.why_nothing_is_written()) is is_full
    assert asked == ([tmp_path.resolve()] if where == "file" else [])


def test_it_holds_every_text_has_no_time_of_its_own_and_waits_as_long_as_it_must(made, clock):
    database = made("sqlite://")
    assert database.why_it_holds_not_every_text() == ""
    database.trust_its_time(clock)
    assert database.has_own_time is False
    database.give_up_after(timedelta(seconds=1))
    assert database.value(sa.text("SELECT 1")) == 1


def test_one_statement_s_rows_first_row_value_and_number_of_changes(made, tmp_path):
    database = made(f"sqlite:///{tmp_path / 'own.db'}")
    use(database)
    thing = sa.table("thing", sa.column("id", sa.Integer), sa.column("name", sa.Text))
    in_order = sa.select(thing.c.id, thing.c.name).order_by(thing.c.id)
    assert (database.rows(in_order), database.first(in_order), database.value(in_order)) == ([], None, None)
    assert database.change(thing.insert(), [{"id": number, "name": str(number)} for number in range(5)]) == 5
    assert database.change(thing.update().where(thing.c.id > 2).values(name="x")) == 2
    above = in_order.where(thing.c.id >= sa.bindparam("least"))
    assert [row.name for row in database.rows(above, {"least": 2})] == ["2", "x", "x"]
    assert database.first(above, {"least": 1}).id == database.value(above, {"least": 1}) == 1


@pytest.mark.parametrize("chunk", [1, 2, 5, 6])
@pytest.mark.parametrize("after", [None, -1, 2, 4])
def test_rows_are_read_in_order_a_chunk_at_a_time_and_behind_one(made, tmp_path, chunk, after):
    database = made(f"sqlite:///{tmp_path / 'own.db'}")
    use(database)
    thing = sa.table("thing", sa.column("id", sa.Integer), sa.column("name", sa.Text))
    database.change(thing.insert(), [{"id": number, "name": ""} for number in (3, 1, 4, 0, 2)])
    read = database.in_order(sa.select(thing.c.id), thing.c.id, chunk=chunk, after=after)
    assert [row.id for row in islice(read, 9)] == [number for number in range(5) if after is None or number > after]
