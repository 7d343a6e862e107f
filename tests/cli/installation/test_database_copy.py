"""`onboard db copy`: from SQLite to PostgreSQL, killed at any moment, with nothing bought or sent again."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.schema import all_tables
from onboarding_worker.core.database.tables import Batch
from onboarding_worker.wiring.store import database_copy
from tests.conftest import NOON
from tests.desk.desk import Desk, Ended, Played, customers


class Killed(Exception):
    pass


@pytest.fixture
def empty_url(make_postgresql: Callable[[], str]) -> str:
    """A database without a table."""
    return make_postgresql()


@pytest.fixture
def both(desk: Desk, played: Played, empty_url: str) -> Iterator[tuple[Database, Database]]:
    """The database of a batch that was sent, and one without a table."""
    assert desk.onboard("run", desk.list_of(customers(3, au=1))).code == 0
    assert desk.onboard("suppress", "x@example.com").code == 0
    databases = Database(f"sqlite:///{desk.path}/onboarding.db"), Database(empty_url)
    yield databases
    for database in databases:
        database.close()


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.read() as connection:
        return {
            table.name: [
                dict(row) for row in connection.execute(sa.select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in all_tables()
        }


def is_killed(source: Database, target: Database) -> bool:
    """Whether a copy that ends after its first page had a page left."""

    def end(_rows: int) -> None:
        raise Killed

    try:
        database_copy.copy(source, target, afresh=False, check=lambda: None, copied=end, compared=lambda _: None)
    except Killed:
        return True
    return False


def copied(desk: Desk, url: str, *options: str) -> Ended:
    return desk.onboard("db", "copy", "--to", url, *options)


def moved(desk: Desk, url: str) -> None:
    desk.secret("database", url)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')


def test_the_copy_is_equal_and_stopped_and_after_the_switch_nothing_is_done_again(
    desk: Desk, played: Played, both: tuple[Database, Database], empty_url: str
):
    before, calls = rows(both[0]), len(played.calls())

    first, again = copied(desk, empty_url), copied(desk, empty_url)

    assert (first.code, again.code) == (0, 0)
    assert rows(both[0]) == rows(both[1])
    changed = {name for name, found in rows(both[1]).items() if found != before[name]}
    assert changed == {"emergency_stop", "audit"}
    assert desk.onboard("run", "customers.csv").code != 0  # on the old one
    moved(desk, empty_url)
    assert desk.onboard("status").code == 0
    assert desk.onboard("resume", "--all").code == 0
    assert desk.onboard("run", "customers.csv").code == 0
    assert {entry["subject"] for entry in desk.audited("db copy")} == {"everything"}
    assert len(played.calls()) == calls
    assert {len(ids) for ids in played.message_ids.values()} == {1}
    assert desk.onboard("import", desk.list_of(customers(5), "more.csv")).code == 0  # numbers go on behind those copied
    with both[1].read() as connection:
        assert connection.execute(sa.select(sa.func.max(Batch.id))).scalar_one() == 2


def test_a_copy_that_is_killed_after_each_page_goes_on_and_is_refused_by_all_until_it_is_whole(
    desk: Desk, both: tuple[Database, Database], empty_url: str
):
    source, target = both
    database_copy.prepare(target)
    database_copy.stop_source(source, by="anna", place="new", now=NOON)
    tables = {name for name, found in rows(source).items() if found}
    kills = 0

    while is_killed(source, target):
        kills += 1
        if kills == 1:
            moved(desk, empty_url)
            for command in (("status",), ("run", "customers.csv"), ("db", "upgrade")):
                ended = desk.onboard(*command)
                assert ended.code == 2
                assert "onboard db copy" in ended.err

    assert kills == len(tables - {"emergency_stop"})
    assert rows(source) == rows(target)
    assert desk.onboard("status").code == 0


def test_a_source_that_went_on_after_a_part_was_copied_is_copied_afresh(
    desk: Desk, both: tuple[Database, Database], empty_url: str
):
    database_copy.prepare(both[1])
    database_copy.stop_source(both[0], by="anna", place="new", now=NOON)
    assert is_killed(*both)
    assert desk.onboard("resume", "--all").code == 0
    assert desk.onboard("suppress", "y@example.com").code == 0

    refused, afresh = copied(desk, empty_url), copied(desk, empty_url, "--afresh")

    assert (refused.code, afresh.code) == (2, 0)
    assert "--afresh" in refused.err
    assert rows(both[0]) == rows(both[1])


def test_what_cannot_be_copied_is_refused_before_anything_is_stopped(
    desk: Desk, both: tuple[Database, Database], empty_url: str, monkeypatch: pytest.MonkeyPatch
):
    gone = sa.make_url(empty_url).set(password="hunter2", database="gone").render_as_string(hide_password=False)
    monkeypatch.setenv("NEW_DATABASE", gone)
    unreachable, unset = copied(desk, "env:NEW_DATABASE"), copied(desk, "env:NO_DATABASE")
    now = datetime.now(UTC).replace(tzinfo=None)  # noqa: TID251 -- what a process that runs has written
    desk.sql("INSERT INTO process VALUES ('a', 'up', 'here', 7, '1', NULL, '', ?, ?)", str(now), str(now))
    worked = copied(desk, empty_url)
    desk.sql("DELETE FROM process")
    with both[1].engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE theirs (id integer)")
    of_others = copied(desk, empty_url)

    assert [ended.code for ended in (unreachable, unset, worked, of_others)] == [2, 2, 2, 2]
    assert "hunter2" not in unreachable.out + unreachable.err
    assert "process 7" in worked.err
    assert "theirs" in of_others.err
    assert rows(both[0])["emergency_stop"] == []


def test_a_database_of_another_installation_is_never_written_to(
    desk: Desk, both: tuple[Database, Database], empty_url: str
):
    assert copied(desk, empty_url).code == 0
    assert desk.onboard("resume", "--all").code == 0
    theirs = rows(both[1])

    for options in ((), ("--afresh",)):
        assert copied(desk, empty_url, *options).code == 2

    assert rows(both[1]) == theirs
