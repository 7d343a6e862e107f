"""Statements on their way to PostgreSQL that nobody waits for: they are answered together with the next one.

A transaction of ten statements took twelve round trips, in each of which its thread gave the interpreter up and had
to get it back. The connection stays in libpq's pipeline mode. Each statement is waited for as before, but for BEGIN and
those that are run with `LATER`: nothing is read of these, and what fails in one is raised by the next statement, or by
the commit. They are carried out in their order, in the same transaction.

Behind each the server is told that nothing more comes for now. Else it would take a process that stands still there for
one whose statement is running, and never end its transaction for its idleness.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event

# The execution options of a statement of which nothing is read, not even how many rows it changed.
LATER: Mapping[str, Any] = {"onboarding_later": True}

# Of what is left of a transaction's answers: one does, two where the first finds what has failed.
_READS = 5


def send_together(engine: sa.Engine) -> None:
    """Have this engine's connections answer what is run with `LATER` together with what comes next.

    Register it behind whatever else is done to a new connection.
    """
    if not psycopg.Pipeline.is_supported():  # a libpq before 14
        return
    event.listen(engine, "connect", _begin)
    event.listen(engine, "begin", _begin_transaction)
    event.listen(engine, "after_cursor_execute", _wait)
    event.listen(engine, "rollback", _forget)
    event.listen(engine, "rollback_savepoint", _forget_since)


def is_alive(connection: Any) -> None:
    """Ask the server; raises the driver's error where it does not answer."""
    if connection._pipeline is None:
        connection.execute("")
        connection.rollback()
    else:
        connection._pipeline.sync()


def _begin(connection: Any, _record: Any) -> None:
    # For as long as the connection lives: the driver's own way to leave costs a round trip, and waits for a server that
    # may be gone. Its own BEGIN would be waited for.
    connection.autocommit = True
    connection._pipeline = psycopg.Pipeline(connection)
    connection._pipeline.__enter__()


def _begin_transaction(connection: sa.Connection) -> None:
    # A migration may want statements outside of transactions, after which the driver begins them itself.
    outside = connection.get_execution_options().get("isolation_level") == "AUTOCOMMIT"
    if not outside and connection.connection.driver_connection.autocommit:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN", execution_options=LATER)


def _wait(_connection: Any, cursor: Any, statement: str, _given: Any, context: Any, _many: bool) -> None:
    connection = cursor.connection
    if "onboarding_later" not in context.execution_options:
        connection._pipeline.sync()
    elif statement != "BEGIN":  # which holds nothing that others might want
        with connection.lock:
            connection._pipeline._enqueue_sync()
            connection.wait(connection._pipeline._communicate_gen())


def _forget(connection: sa.Connection) -> None:
    """Read what is left of the answers to a transaction that is given up.

    Once one has failed, all that was sent behind it has failed too. The driver would raise that in the rollback, in
    place of what the first was, by which others tell a deadlock, or bad data, from a database that is away.
    """
    if connection.invalidated or connection.closed:
        return
    driver: Any = connection.connection.driver_connection
    for _ in range(_READS):
        if driver.closed or not driver._pipeline.result_queue:
            return
        with suppress(psycopg.Error):
            driver._pipeline.sync()


def _forget_since(connection: sa.Connection, _name: str, _context: None) -> None:
    _forget(connection)
