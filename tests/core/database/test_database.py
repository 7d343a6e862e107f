"""Temporary failures of PostgreSQL, transactions of a worker that stands still or is interrupted, and deadlocks."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.outages import DEADLOCK_BACKOFF, outlive_deadlocks, reason
from onboarding_worker.core.database.postgresql_engine import (
    CONNECT_SECONDS,
    IDLE_IN_TRANSACTION_SECONDS,
    LOCK_SECONDS,
    SILENCE,
)
from tests.suite.databases import Databases, in_encoding
from tests.suite.waiting import ENDS_WITHIN

TEMPORARY = sa.exc.OperationalError


@pytest.fixture(scope="module")
def url(postgresql_databases: Databases) -> Iterator[str]:
    """A database with a table of two rows."""
    with postgresql_databases.lent() as made:
        opened = Database(made)
        with opened.write() as connection:
            connection.execute(sa.text("CREATE TABLE thing (id int PRIMARY KEY, secret text)"))
            connection.execute(sa.text("INSERT INTO thing VALUES (1, ''), (2, '')"))
        opened.close()
        yield made


@pytest.fixture
def open_database(url: str) -> Iterator[Callable[[], Database]]:
    made: list[Database] = []

    def make(more: str = "") -> Database:
        made.append(Database(url + more, connections=1))
        return made[-1]

    yield make
    for database in made:
        database.close()


def run(connection: sa.Connection, statement: str) -> sa.CursorResult:
    return connection.execute(sa.text(statement))


def setting(database: Database, name: str) -> str:
    with database.read() as connection:
        return connection.execute(sa.text("SELECT current_setting(:name)"), {"name": name}).scalar_one()


def change(connection: sa.Connection, row: int) -> None:
    connection.execute(sa.text("UPDATE thing SET secret = 'changed' WHERE id = :row"), {"row": row})


def test_a_worker_that_stands_still_holds_a_lock_for_less_time_than_other_transactions_wait_for_it(open_database):
    database = open_database()
    assert setting(database, "idle_in_transaction_session_timeout") == f"{IDLE_IN_TRANSACTION_SECONDS}s"
    assert setting(database, "lock_timeout") == f"{LOCK_SECONDS}s"
    assert IDLE_IN_TRANSACTION_SECONDS < LOCK_SECONDS
    assert setting(database, "statement_timeout") == "0"  # a report or a migration may take long


def test_sqlite_has_written_a_commit_to_the_disk_before_the_call_is_made(sqlite_url):
    """A power cut must not lose the attempt of a call that was made: the call would be made again."""
    database = Database(sqlite_url)
    for transaction in (database.read, database.write):
        with transaction() as connection:
            assert run(connection, "PRAGMA journal_mode").scalar_one() == "wal"
            assert run(connection, "PRAGMA synchronous").scalar_one() == 2  # FULL
    database.close()


def test_ctrl_c_in_a_statement_leaves_no_lock_behind_on_sqlite(sqlite_url):
    """SQLAlchemy closes the connection. A cursor that the traceback keeps would leave it its lock."""
    database, other = Database(sqlite_url), Database(sqlite_url)
    with database.write() as connection:
        run(connection, "CREATE TABLE thing (id int PRIMARY KEY)")
        run(connection, "INSERT INTO thing VALUES (1), (2)")

    def strike(_connection, _cursor, statement, *_more):
        if "RETURNING" in statement:
            raise KeyboardInterrupt

    sa.event.listen(database.engine, "after_cursor_execute", strike)
    with pytest.raises(KeyboardInterrupt) as struck, database.write() as connection:
        run(connection, "UPDATE thing SET id = id + 10 RETURNING id")
    with other.engine.connect().execution_options(onboarding_read=True) as connection:
        run(connection, "PRAGMA busy_timeout = 0")
        run(connection, "UPDATE thing SET id = id + 100")
        assert run(connection, "SELECT min(id) FROM thing").scalar_one() == 101
    assert struck.traceback  # kept until here
    database.close()
    other.close()


def test_a_silent_host_is_given_up_within_half_a_minute(open_database):
    with open_database().read() as connection:
        given = connection.connection.driver_connection.info.get_parameters()
    assert given["tcp_user_timeout"] == str(SILENCE["tcp_user_timeout"])
    assert given["connect_timeout"] == str(CONNECT_SECONDS)
    assert SILENCE["keepalives_idle"] + SILENCE["keepalives_interval"] * SILENCE["keepalives_count"] <= 30


def test_a_connection_setting_in_the_url_takes_precedence(open_database):
    with open_database("?tcp_user_timeout=5000").read() as connection:
        assert connection.connection.driver_connection.info.get_parameters()["tcp_user_timeout"] == "5000"


def test_a_transaction_that_stands_still_is_ended_as_a_temporary_failure(open_database):
    still, other = open_database(), open_database()
    with pytest.raises(TEMPORARY), still.write() as connection:  # noqa: PT012 -- the failure is of the second statement
        run(connection, "SET LOCAL idle_in_transaction_session_timeout = '20ms'")
        change(connection, 1)
        with other.write() as waiting:  # gets the row as soon as the server has ended the first transaction
            change(waiting, 1)
        change(connection, 2)
    with still.write() as connection:  # the next transaction gets a connection that works
        change(connection, 2)


def test_a_broken_connection_is_a_temporary_failure(open_database):
    cut, other = open_database(), open_database()
    with pytest.raises(TEMPORARY), cut.write() as connection:  # noqa: PT012
        number = run(connection, "SELECT pg_backend_pid()").scalar_one()
        with other.write() as killer:
            killer.execute(sa.text("SELECT pg_terminate_backend(:number)"), {"number": number})
        change(connection, 1)
    with cut.write() as connection:
        change(connection, 1)


def test_a_connection_that_was_closed_while_idle_is_replaced_without_a_failure(open_database, monkeypatch):
    monkeypatch.setattr("onboarding_worker.core.database.postgresql_engine.CHECK_AFTER_SECONDS", 0.0)
    cut, other = open_database(), open_database()
    with cut.read() as connection:
        number = run(connection, "SELECT pg_backend_pid()").scalar_one()
    with other.write() as killer:
        killer.execute(sa.text("SELECT pg_terminate_backend(:number)"), {"number": number})
    with cut.write() as connection:
        change(connection, 1)


def test_a_connection_that_was_just_used_is_not_pinged(open_database, monkeypatch):
    database, pinged = open_database(), []
    monkeypatch.setattr(database.engine.dialect, "do_ping", pinged.append)
    for _ in range(3):
        with database.read() as connection:
            run(connection, "SELECT 1")
    assert pinged == []
    monkeypatch.setattr("onboarding_worker.core.database.postgresql_engine.CHECK_AFTER_SECONDS", 0.0)
    with database.read() as connection:
        run(connection, "SELECT 1")
    assert len(pinged) == 1


def test_a_server_that_became_a_standby_is_a_temporary_failure(open_database):
    with pytest.raises(TEMPORARY), open_database().write() as connection:  # noqa: PT012
        run(connection, "SET TRANSACTION READ ONLY")  # as each transaction on a standby
        change(connection, 1)


def test_a_server_that_takes_no_writes_is_known_without_a_write(open_database):
    assert open_database().why_nothing_is_written() == ""
    standby = open_database("?options=-c%20default_transaction_read_only%3Don")
    assert standby.why_nothing_is_written() == "the database server is read-only, or a standby"


def test_the_server_removes_by_itself_what_rows_held_before(open_database):
    assert open_database().forget_erased() is True


def stay_read_only(database: Database, *, connections: int = 1) -> None:
    """Leave these connections in the pool as they are after a failover, whose server takes writes again."""
    with ExitStack() as exits:
        for _ in range(connections):
            run(exits.enter_context(database.read()), "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")


def test_after_a_write_was_refused_as_read_only_every_connection_of_the_pool_is_replaced(url):
    database = Database(url, connections=3)
    stay_read_only(database, connections=3)
    with pytest.raises(TEMPORARY), database.write() as connection:
        change(connection, 1)
    with database.write() as first, database.write() as second, database.write() as third:
        change(first, 1)
        change(second, 2)
        assert run(third, "SHOW transaction_read_only").scalar_one() == "off"
    database.close()


def test_who_looks_whether_the_server_takes_writes_is_not_told_for_ever_that_it_does_not(open_database):
    database = open_database()
    stay_read_only(database)
    assert database.why_nothing_is_written()
    assert database.why_nothing_is_written() == ""


def test_of_several_hosts_in_the_urls_own_place_the_one_that_takes_writes_is_used(url):
    several = sa.make_url(url).set(host="127.0.0.1,127.0.0.1")
    database = Database(several.render_as_string(hide_password=False))
    assert parameters(database)["target_session_attrs"] == "read-write"
    database.close()


@pytest.mark.parametrize("hosts", ["host=127.0.0.1:5432&host=127.0.0.1:1", "host=127.0.0.1,127.0.0.1"])
def test_of_several_hosts_the_one_that_takes_writes_is_used(url, hosts):
    names_hosts = sa.make_url(url).set(host=None, port=None).render_as_string(hide_password=False)
    database = Database(f"{names_hosts}?{hosts}")
    assert parameters(database)["target_session_attrs"] == "read-write"
    database.close()
    database = Database(f"{names_hosts}?{hosts}&target_session_attrs=any")
    assert "target_session_attrs" not in parameters(database)  # libpq leaves out what is its default
    database.close()


def test_one_host_is_used_also_while_it_takes_no_writes(open_database):
    assert "target_session_attrs" not in parameters(open_database())


def parameters(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return connection.connection.driver_connection.info.get_parameters()


@pytest.mark.parametrize("style", ["German", "SQL,%20DMY", "Postgres,%20MDY"])
def test_times_come_as_they_are_whatever_form_of_dates_the_server_has(open_database, style):
    database = open_database(f"?options=-c%20DateStyle%3D{style.replace('%20', '')}%20-c%20client_encoding%3DLATIN1")
    with database.read() as connection:
        row = run(connection, "SELECT timestamptz '2026-11-20 12:00Z', date '2026-03-04', 'Ő'").one()
    assert tuple(row) == (datetime(2026, 11, 20, 12, tzinfo=UTC), date(2026, 3, 4), "Ő")


def test_a_database_that_cannot_hold_every_name_is_named_with_its_encoding(url, open_database):
    assert open_database().why_it_holds_not_every_text() == ""
    for encoding in ("LATIN1", "SQL_ASCII"):
        with in_encoding(url, encoding) as other:
            database = Database(other)
            assert encoding in database.why_it_holds_not_every_text()
            database.close()


def test_a_pool_without_a_free_connection_is_a_temporary_failure(open_database):
    database = open_database()
    database.engine.pool._timeout = 0.01  # the default is half a minute
    with database.read(), pytest.raises(TEMPORARY), database.read():
        pass


def test_bad_data_is_no_temporary_failure_and_the_errors_text_does_not_repeat_it(open_database):
    with pytest.raises(sa.exc.IntegrityError) as caught, open_database().write() as connection:
        connection.execute(sa.text("INSERT INTO thing VALUES (:id, :secret)"), {"id": 1, "secret": "Quirin"})
    assert not isinstance(caught.value, TEMPORARY)
    assert "Quirin" not in str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT no_such_column FROM thing",
        "SELECT 1 FROM no_such_table",
        "SET LOCAL ROLE pg_monitor; SELECT secret FROM thing",  # a right that was taken away
        "SELECT no_such_function()",
    ],
)
def test_a_right_or_a_table_that_is_missing_is_an_outage(open_database, statement):
    with pytest.raises(TEMPORARY), open_database().write() as connection:
        run(connection, statement)


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_value_that_no_column_can_hold_is_no_outage(open_database, in_memory):
    database = Database("sqlite://") if in_memory else open_database()
    with pytest.raises(sa.exc.StatementError) as caught, database.write() as connection:
        connection.execute(sa.text("SELECT :value"), {"value": object()})
    database.close()
    assert not isinstance(caught.value, TEMPORARY)


def test_two_transactions_in_a_deadlock_both_succeed(open_database):
    """Each locks its own row and then the other's row. PostgreSQL ends one transaction, which is repeated."""
    databases = [open_database(), open_database()]
    both_hold_one = threading.Barrier(2, timeout=ENDS_WITHIN)
    tried = [0, 0]

    def swap(mine: int) -> None:
        first, second = (1, 2) if mine == 0 else (2, 1)

        def once() -> None:
            tried[mine] += 1
            with databases[mine].write() as connection:
                run(connection, "SET LOCAL deadlock_timeout = '10ms'")
                change(connection, first)
                if tried[mine] == 1:
                    both_hold_one.wait()
                change(connection, second)

        outlive_deadlocks(once)

    threads = [threading.Thread(target=swap, args=(mine,)) for mine in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(ENDS_WITHIN)
    assert sorted(tried) == [1, 2]


class Sacrificed(Exception):
    sqlstate = "40001"


def failing(times: int, orig: Exception) -> Callable[[], str]:
    left = [times]

    def transaction() -> str:
        if left[0]:
            left[0] -= 1
            raise TEMPORARY(None, None, orig)
        return "done"

    return transaction


def test_a_transaction_is_repeated_after_growing_pauses_and_not_for_ever():
    paused: list[float] = []
    done = outlive_deadlocks(failing(2, Sacrificed()), jitter=lambda: 0.5, pause=paused.append)
    assert (done, paused) == ("done", [0.05, 0.1])
    with pytest.raises(TEMPORARY):
        outlive_deadlocks(failing(3, Sacrificed()), backoff=replace(DEADLOCK_BACKOFF, attempts=3), pause=paused.append)
    pauses: list[float] = []
    assert outlive_deadlocks(failing(4, Sacrificed()), jitter=lambda: 1.0, pause=pauses.append) == "done"
    assert pauses == [0.1, 0.2, 0.4, 0.8]
    with pytest.raises(TEMPORARY):
        outlive_deadlocks(failing(5, Sacrificed()), jitter=lambda: 1.0, pause=pauses.append)


def test_a_transaction_that_another_one_has_beaten_is_repeated_at_once_and_not_for_ever():
    class Beaten(Exception):
        pass

    def beaten(times: int) -> list[int]:
        made: list[int] = []

        def transaction() -> list[int]:
            made.append(1)
            if len(made) <= times:
                raise Beaten
            return made

        return outlive_deadlocks(transaction, Beaten, pause=lambda _seconds: pytest.fail("it waits"))

    assert len(beaten(4)) == 5
    with pytest.raises(Beaten):
        beaten(5)


def test_a_transaction_that_may_have_been_committed_is_not_repeated():
    paused: list[float] = []
    with pytest.raises(TEMPORARY):
        outlive_deadlocks(failing(1, ConnectionError("server closed the connection")), pause=paused.append)
    assert paused == []


def test_a_statement_timeout_of_the_server_is_reported_with_what_to_do(open_database):
    database = open_database("?options=-c%20statement_timeout=50ms")
    with pytest.raises(sa.exc.OperationalError) as caught, database.read() as connection:
        run(connection, "SELECT pg_sleep(5)")
    told, _, does = reason(caught.value).partition(" (")
    assert told == "canceling statement due to statement timeout"
    assert does.startswith("statement_timeout is too short for this worker: `ALTER ROLE … SET statement_timeout = 0`")
