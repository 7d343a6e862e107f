"""The commands on PostgreSQL: upgraded by hand, worked by `run` like any other worker."""

import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database import schema
from onboarding_worker.core.database.database import Database
from onboarding_worker.core.foundation.features import FEATURES
from tests.desk.desk import Desk, Ended, Played, customers
from tests.suite.databases import in_encoding
from tests.suite.of_features import needs
from tests.suite.some import some

VERSION_3 = 3 << 16  # of PostgreSQL's protocol, in a start-up packet


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


@pytest.fixture
def stranger(empty_url: str) -> Iterator[str]:
    """The URL of the empty database as a role that may log in, and no more: as on PostgreSQL 15 and newer."""
    server = sa.create_engine(empty_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {(role := f'stranger_{uuid4().hex}')} LOGIN")
        yield sa.make_url(empty_url).set(username=role).render_as_string(hide_password=False)
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")


def opening(desk: Desk, url: str) -> Iterator[Ended]:
    """What commands say that open this database, and `db copy --to` it; `doctor` last."""
    desk.environ["NEW"] = url
    yield desk.onboard("db", "copy", "--to", "env:NEW")
    over(desk, url)
    for command in (("db", "upgrade"), ("status",), ("import", desk.list_of(customers(1)))):
        yield desk.onboard(*command)
    if "doctor" in FEATURES.here:
        asked = desk.onboard("doctor", "--json")
        (found,) = (one["found"] for one in asked.facts["findings"] if one["what"] == "database")
        assert asked.code == 1
        yield Ended(2, "", f"{found}\n")


def test_a_role_that_may_make_no_tables_is_said_in_one_line_with_the_grant_and_that_helps(
    desk: Desk, stranger: str, empty_url: str
):
    role = sa.make_url(stranger).username
    grant = f"GRANT USAGE, CREATE ON SCHEMA public TO {role}"
    for ended in opening(desk, stranger):
        assert (ended.code, ended.out, len(ended.lines)) == (2, "", 1)
        assert f"`{grant}`" in ended.err
    with sa.create_engine(empty_url, poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql(grant)
    assert desk.onboard("db", "upgrade").code == 0


def test_who_may_use_no_schema_and_who_owns_no_table_are_told_so(desk: Desk, stranger: str, empty_url: str):
    over(desk, f"{stranger}?options=-c%20search_path%3Dnowhere")
    (line,) = desk.onboard("db", "upgrade").lines
    assert "any schema of its search_path" in line
    owner = Database(empty_url)
    schema.upgrade(owner, "0001")
    owner.change(sa.text(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {sa.make_url(stranger).username}"))
    owner.close()
    desk.secret("database", stranger)
    ended = desk.onboard("db", "upgrade")
    assert (ended.code, len(ended.lines)) == (2, 1)
    assert "the role that owns the tables" in ended.err


@pytest.mark.parametrize(
    ("change", "helps"),
    [
        ({"database": "nowhere"}, '`CREATE DATABASE "nowhere"`'),
        ({"username": "nobody_at_all"}, '`CREATE ROLE "nobody_at_all" LOGIN`'),
        ({"query": {"options": "-c default_transaction_read_only=on"}}, "takes writes"),
        ({"query": {"sslmode": "require"}}, "TLS"),  # the tests' server may have none
        ({"port": 1}, "a server that runs"),
    ],
    ids=["no database", "no role", "read only", "no TLS", "no server"],
)
def test_a_database_that_cannot_be_opened_is_one_line_with_what_to_do(
    desk: Desk, empty_url: str, change: dict[str, Any], helps: str
):
    url = sa.make_url(empty_url).set(**change)
    if "sslmode" in url.query and offers_tls(empty_url):
        pytest.skip("the tests' server offers TLS")
    for ended in opening(desk, url.render_as_string(hide_password=False)):
        assert (ended.code, ended.out, len(ended.lines)) == (2, "", 1)
        assert helps in ended.err


def offers_tls(url: str) -> bool:
    with sa.create_engine(url, poolclass=sa.NullPool).connect() as connection:
        return bool(connection.exec_driver_sql("SHOW ssl").scalar_one() == "on")


# What a server says to a log-in that it refuses: `pg_hba.conf` of the tests' server lets everybody in.
REFUSALS = {
    'password authentication failed for user "me"': ("28P01", "password"),
    'no pg_hba.conf entry for host "10.0.0.1", user "me", database "x", no encryption': ("28000", "wants TLS"),
}


@pytest.mark.parametrize("words", REFUSALS)
def test_a_server_that_refuses_the_log_in_is_one_line_with_what_to_do(desk: Desk, words: str):
    code, helps = REFUSALS[words]
    fields = "".join(f"{field}\0" for field in ("SFATAL", f"C{code}", f"M{words}")).encode() + b"\0"

    def refuse(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                with listening.accept()[0] as client:
                    while struct.unpack("!i", client.recv(1 << 16)[4:8])[0] != VERSION_3:
                        client.sendall(b"N")  # neither TLS nor GSSAPI
                    client.sendall(b"E" + struct.pack("!i", len(fields) + 4) + fields)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        Thread(target=refuse, args=(listening,), daemon=True).start()
        port = listening.getsockname()[1]
        for ended in opening(desk, f"postgresql+psycopg://me@127.0.0.1:{port}/x"):
            assert (ended.code, ended.out, len(ended.lines)) == (2, "", 1)
            assert words in ended.err
            assert helps in ended.err.partition(words)[2]
        listening.shutdown(socket.SHUT_RDWR)


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
