"""Which errors of the database pass by themselves, and which are the fault of a row."""

import sqlite3

import pytest
import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.outages import LOST, is_outage, leave_lost_servers, naming_outages, reason


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


# What a database says, with its SQLSTATE if the driver has one; and what of our own words stands behind it.
AT = 'connection failed: connection to server at "127.0.0.1", port 5432 failed: '
SAID = [
    ("57014", "storniere Anfrage wegen Zeitüberschreitung der Anfrage", "SET statement_timeout = 0"),
    ("25P04", "terminating connection due to transaction timeout", "SET transaction_timeout = 0"),
    ("57014", "canceling statement due to user request", ""),  # a person
    ("55P03", "canceling statement due to lock timeout", ""),  # ours
    ("42501", "keine Berechtigung für Tabelle job", "`onboard db grant`"),
    ("42501", "must be owner of table job", "the role that owns the tables"),
    ("25006", "cannot execute INSERT in a read-only transaction", "takes writes"),
    (None, f"{AT}session is read-only", "takes writes"),
    (None, f'{AT}FATAL:  database "x y" does not exist', '`CREATE DATABASE "x y"`'),
    (None, f'{AT}FATAL:  role "me" does not exist', '`CREATE ROLE "me" LOGIN`'),
    (None, f'{AT}FATAL:  role "me" is not permitted to log in', '`ALTER ROLE "me" LOGIN`'),
    (None, f'{AT}FATAL:  permission denied for database "x"', '`GRANT CONNECT ON DATABASE "x"'),
    (None, f'{AT}FATAL:  password authentication failed for user "me"', "password"),
    (None, f"{AT}fe_sendauth: no password supplied", "password"),
    (None, f'{AT}FATAL:  no pg_hba.conf entry for host "::1", user "me", database "x", no encryption', "wants TLS"),
    (None, f'{AT}FATAL:  no pg_hba.conf entry for host "::1", user "me", database "x", SSL encryption', "pg_hba.conf"),
    (None, f"{AT}server does not support SSL, but SSL was required", "TLS"),
    (None, f"{AT}SSL error: certificate verify failed", "[database] ca"),
    (None, f"{AT}FATAL:  sorry, too many clients already", "max_connections"),
    (None, f"{AT}Connection refused", "a server that runs"),
    (None, f'{AT}FATAL:  Datenbank "x" existiert nicht', "a server that runs"),  # in the server's own language
    (None, "unable to open database file", "database.url: "),
    (None, "the database has not answered for 5 s", ""),
]


@pytest.mark.parametrize(("code", "words", "helps"), SAID)
def test_what_a_database_says_is_followed_by_what_to_do_if_that_is_known(code, words, helps):
    error = Exception(f"{words}\n\tand a second line")
    error.sqlstate = code
    told = reason(sa.exc.OperationalError(None, None, error))
    assert told.startswith(words)
    assert helps in told.removeprefix(words)
    assert (told == words) == (helps == "")
    assert "\n" not in told


def test_an_error_without_words_has_its_kind():
    assert reason(sa.exc.OperationalError(None, None, Exception())) == "OperationalError"
