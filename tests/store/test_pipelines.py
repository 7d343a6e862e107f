"""Statements that are answered with the next one: in their order, in one transaction, and no failure is lost."""

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
