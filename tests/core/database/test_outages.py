"""Which errors of the database pass by themselves, and which are the fault of a row."""

import sqlite3

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.outages import LOST, is_outage, leave_lost_servers, naming_outages


class Coded(Exception):
    def __init__(self, sqlstate=None, sqlite_errorcode=None):
        self.sqlstate, self.sqlite_errorcode = sqlstate, sqlite_errorcode


def of(kind, orig=None, **more):
    return kind("SELECT", {"name": "Quirin"}, orig or Coded(), hide_parameters=True, **more)


ERRORS = [
    (sa.exc.TimeoutError("no connection of the pool is free"), True),
    (sa.exc.DisconnectionError(), True),
    (of(sa.exc.OperationalError), True),
    (of(sa.exc.InterfaceError), True),
    (of(sa.exc.InternalError), True),
    (of(sa.exc.NotSupportedError), True),
    (sa.exc.InternalError(None, None, None), True),  # no driver has said anything
    (of(sa.exc.DataError, Coded("22001")), False),
    (of(sa.exc.IntegrityError, Coded("23505")), False),
    (of(sa.exc.ProgrammingError, Coded("42P01")), True),  # a table is missing
    (of(sa.exc.ProgrammingError, Coded(sqlite_errorcode=1)), True),
    (of(sa.exc.ProgrammingError), False),  # the driver has no form for a value
    (of(sa.exc.ProgrammingError, connection_invalidated=True), True),
    (sa.exc.ArgumentError("a slip of ours"), False),
    (sa.exc.StatementError("a naive time", "SELECT", {}, Coded()), False),
]


def case(value):
    return type(value).__name__ if isinstance(value, Exception) else str(value)


@pytest.mark.parametrize(("error", "passes"), ERRORS, ids=case)
def test_only_what_a_row_is_to_blame_for_is_no_outage(error, passes):
    assert is_outage(error) is passes

    def fails():
        with naming_outages():
            raise error

    with pytest.raises(sa.exc.SQLAlchemyError) as caught:
        fails()
    assert isinstance(caught.value, sa.exc.OperationalError) is passes
    if isinstance(error, sa.exc.OperationalError) or not passes:
        assert caught.value is error
    else:
        assert caught.value.orig is (getattr(error, "orig", None) or error)
        assert "Quirin" not in str(caught.value)


@pytest.mark.parametrize("code", [*sorted(LOST), "55P03", None])
def test_the_connections_of_a_lost_server_are_replaced_and_those_of_no_other(tmp_path, code):
    database = Database(f"sqlite:///{tmp_path / 'lost.db'}")
    leave_lost_servers(database.engine)

    def broken(*_):
        error = sqlite3.OperationalError("the server says so")
        error.sqlstate = code
        raise error

    connected = []
    sa.event.listen(database.engine, "connect", lambda *_: connected.append(1))
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    sa.event.listen(database.engine, "do_execute", broken)
    with pytest.raises(sa.exc.OperationalError), database.engine.connect() as connection:
        connection.exec_driver_sql("SELECT 1")
    sa.event.remove(database.engine, "do_execute", broken)
    with database.read() as connection:
        connection.exec_driver_sql("SELECT 1")
    assert len(connected) == (2 if code in LOST else 1)
    database.close()
