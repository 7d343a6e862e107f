"""The commands on PostgreSQL: upgraded by hand, worked by `run` like any other worker."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from tests.desk.desk import Desk, Played, customers
from tests.suite.databases import in_encoding
from tests.suite.of_features import needs
from tests.suite.some import some


@pytest.fixture
def empty_url(make_postgresql: Callable[[], str]) -> str:
    """A database without a table."""
    return make_postgresql()


@pytest.fixture
def bare_pg(desk: Desk, empty_url: str) -> Desk:
    return over(desk, empty_url)


def over(desk: Desk, url: str) -> Desk:
    desk.secret("database", url)
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    return desk


@pytest.fixture
def pg(desk: Desk, empty_postgresql_url: str) -> Desk:
    return over(desk, empty_postgresql_url)


def test_a_database_that_is_not_up_to_date_is_exit_2_with_the_command_to_run(bare_pg: Desk, played: Played):
    listed = bare_pg.list_of(customers(1))
    for command in (("run", listed), ("import", listed), ("check", listed), ("status",), ("report", "1")):
        ended = bare_pg.onboard(*command)
        assert (ended.code, ended.out) == (2, "")
        (line,) = ended.lines
        assert "onboard db upgrade" in line
    assert played.calls() == []


def test_upgrading_makes_the_tables_and_the_second_time_does_nothing(bare_pg: Desk, empty_url: str):
    first, second = (bare_pg.onboard("db", "upgrade") for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert "was empty" in first.out
    assert "was" not in second.out
    engine = sa.create_engine(empty_url, poolclass=sa.NullPool)
    assert {"batch", "job", "session", "alembic_version"} <= set(sa.inspect(engine).get_table_names())


def test_a_database_with_a_table_of_another_program_is_left_alone(bare_pg: Desk, empty_url: str):
    engine = sa.create_engine(empty_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE customer (id INTEGER)"))
    for command in (("db", "upgrade"), ("status",)):
        ended = bare_pg.onboard(*command)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("the database has a table of another program (customer): make another one")
    assert sa.inspect(engine).get_table_names() == ["customer"]


@needs("doctor")
def test_a_database_that_cannot_hold_every_name_is_refused_before_it_has_a_table(desk: Desk, empty_url: str):
    encoding = "SQL_ASCII"
    with in_encoding(empty_url, encoding) as url:
        over(desk, url)
        for command in (("db", "upgrade"), ("status",), ("check", desk.list_of(customers(1)))):
            ended = desk.onboard(*command)
            assert ended.code == 2, command
            assert encoding in ended.err
        asked = desk.onboard("doctor")
        assert asked.code == 1
        assert encoding in asked.out
        database = Database(url)
        with database.read() as connection:
            assert sa.inspect(connection).get_table_names() == []
        database.close()


def test_run_invites_everybody_once_and_goes_on_with_the_same_list(pg: Desk, played: Played):
    listed = pg.list_of([*customers(30, au=10), {"customer_id": "bad", "email": "nobody"}])
    ended = pg.onboard("run", listed, "--json")
    assert ended.code == 1
    assert (ended.facts["rows"]["invited"], ended.facts["rows"]["rejected"]) == (30, 1)
    again = pg.onboard("run", listed, "--json")
    assert again.facts["batch"] == ended.facts["batch"]
    assert set(played.opened.values()) == {1}
    assert all(sum(ids.values()) == 1 for ids in some(played.message_ids.values()))
    lines = pg.onboard("report", "latest", "--with-links").table
    assert [line["row"] for line in lines] == [str(row) for row in range(2, 33)]
    assert sum(bool(line["link"]) for line in lines) == 30


def test_two_processes_share_one_batch(pg: Desk, played: Played):
    listed = pg.list_of(customers(60, au=20))
    assert pg.onboard("import", listed).code == 0
    processes = [pg.start("run", listed, "--json") for _ in range(2)]
    for ended in some([pg.end(process) for process in processes]):
        assert ended.code == 0
        assert ended.facts["rows"]["invited"] == 60
    assert set(played.opened.values()) == {1}
    assert len(played.sandbox.mailbox) == 60


def test_the_password_is_never_shown(desk: Desk):
    desk.secret("database", "postgresql+psycopg://somebody:s3cret-word@127.0.0.1:1/onboarding")
    desk.change('url = "sqlite:///onboarding.db"', 'url = { file = "secrets/database" }')
    for command in (("status",), ("db", "upgrade")):
        ended = desk.onboard(*command, "--log-level", "debug")
        assert ended.code == 2
        assert "s3cret-word" not in ended.out + ended.err


def test_a_statement_timeout_of_the_server_ends_a_command_with_what_to_do(pg: Desk, empty_postgresql_url: str):
    pg.secret("database", f"{empty_postgresql_url}?options=-c%20statement_timeout=200ms")
    engine = sa.create_engine(empty_postgresql_url)
    with engine.begin() as another:  # in whose way the command is
        another.exec_driver_sql("LOCK TABLE batch")
        ended = pg.onboard("status")
    engine.dispose()
    assert ended.code == 2
    assert "`ALTER ROLE … SET statement_timeout = 0`, then start it again" in ended.err
