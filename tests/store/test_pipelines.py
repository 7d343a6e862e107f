"""Statements that are answered with the next one: in their order, in one transaction, and no failure is lost."""

import select
from contextlib import closing, suppress

import pytest
import sqlalchemy as sa

from worker.store.database import Database
from worker.store.pipelines import LATER

INSERT = sa.text("INSERT INTO thing VALUES (:id)")


@pytest.fixture
def database(make_postgresql):
    made = Database(make_postgresql())
    with made.write() as connection:
        connection.execute(sa.text("CREATE TABLE thing (id integer PRIMARY KEY)"))
    yield made
    made.close()


def add(connection, number):
    connection.execute(INSERT, {"id": number}, execution_options=LATER)


def things(connection):
    return list(connection.execute(sa.text("SELECT id FROM thing ORDER BY id")).scalars())


def test_what_is_answered_later_is_there_for_the_next_statement_and_committed_with_it(database):
    with database.write() as connection:
        add(connection, 1)
        assert things(connection) == [1]
        add(connection, 2)
    with database.read() as connection:
        assert things(connection) == [1, 2]


@pytest.mark.parametrize("asked", [True, False], ids=["by the next statement", "by the commit"])
def test_what_fails_later_is_raised_and_nothing_of_the_transaction_is_kept(database, asked):
    with pytest.raises(sa.exc.IntegrityError) as caught, database.write() as connection:  # noqa: PT012
        add(connection, 1)
        add(connection, 1)
        if asked:
            things(connection)
    assert caught.value.orig.sqlstate == "23505"
    with database.write() as connection:  # the same connection: it is as good as before
        assert things(connection) == []
        add(connection, 1)


def answered(connection):
    """Wait until the server has said something that nobody has read."""
    assert select.select([connection.connection.driver_connection.pgconn.socket], [], [], 10)[0]


FOLLOWING = {
    "a query": things,
    "another later": lambda connection: add(connection, 2),
    "several": lambda connection: [add(connection, 2), add(connection, 3), things(connection)],
    "a savepoint": lambda connection: connection.begin_nested(),
    "many rows": lambda connection: connection.execute(INSERT, [{"id": 5}, {"id": 6}]),
    "the commit": lambda connection: None,
}


@pytest.mark.parametrize("follow", FOLLOWING.values(), ids=FOLLOWING)
def test_what_has_failed_before_the_next_statement_is_sent_is_raised_as_what_it_is(database, follow):
    with pytest.raises(sa.exc.IntegrityError) as caught, database.write() as connection:  # noqa: PT012
        add(connection, 1)
        things(connection)
        add(connection, 1)
        answered(connection)
        follow(connection)
    assert caught.value.orig.sqlstate == "23505"
    for _ in range(2):
        with database.write() as connection:
            assert things(connection) == []


def test_an_exception_of_our_own_is_not_replaced_by_what_failed_before_it(database):
    with pytest.raises(ZeroDivisionError), database.write() as connection:  # noqa: PT012
        add(connection, 1)
        add(connection, 1)
        raise ZeroDivisionError
    with database.write() as connection:
        assert things(connection) == []


def test_of_a_savepoint_that_is_rolled_back_nothing_is_kept_and_the_rest_is(database):
    with database.write() as connection:
        add(connection, 1)
        with pytest.raises(sa.exc.IntegrityError), connection.begin_nested():  # noqa: PT012
            add(connection, 2)
            things(connection)
            add(connection, 1)
            answered(connection)
            add(connection, 3)
        add(connection, 4)
        assert things(connection) == [1, 4]


def test_a_process_that_stands_still_behind_one_is_ended_by_the_server(database):
    soon = sa.text("SET idle_in_transaction_session_timeout = '20ms'")
    let_go = False
    address = database.engine.url.render_as_string(hide_password=False)
    with closing(Database(address)) as other, suppress(sa.exc.OperationalError), database.write() as connection:
        add(connection, 1)
        things(connection)  # it is there, and locked
        connection.execute(soon, execution_options=LATER)
        with other.write() as waiting:
            waiting.execute(sa.text("SET LOCAL lock_timeout = '5s'"))
            waiting.execute(INSERT, {"id": 1})
            let_go = True
    assert let_go


def test_an_exception_between_them_takes_back_what_was_not_answered_yet(database):
    with pytest.raises(ZeroDivisionError), database.write() as connection:  # noqa: PT012
        add(connection, 1)
        raise ZeroDivisionError
    with database.read() as connection:
        assert things(connection) == []


def test_a_connection_that_was_cut_in_between_passes(database):
    other = Database(database.engine.url.render_as_string(hide_password=False))
    with pytest.raises(sa.exc.OperationalError), database.write() as connection:  # noqa: PT012
        number = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
        with other.write() as killer:
            killer.execute(sa.text("SELECT pg_terminate_backend(:number)"), {"number": number})
        add(connection, 1)
    other.close()
    with database.read() as connection:
        assert things(connection) == []


def test_begin_and_what_is_answered_later_cost_no_round_trip_of_their_own(database, monkeypatch):
    waited = []
    with database.write() as connection:
        pipeline = connection.connection.driver_connection._pipeline
        sync = pipeline.sync
        monkeypatch.setattr(pipeline, "sync", lambda: waited.append(sync()))
        add(connection, 1)
        add(connection, 2)
        things(connection)
        add(connection, 3)
    assert len(waited) == 1
