"""Which failures of the database pass by themselves: deadlocks, and outages."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from onboarding_worker.core.model.endings import Backoff

T = TypeVar("T")

# PostgreSQL rolled back one of several transactions so that the other transactions could go on.
SACRIFICED = frozenset({"40001", "40P01"})  # serialization failure, deadlock
TRIES = 5  # others may be first a few times, but not for ever
DEADLOCK_BACKOFF = Backoff(first=timedelta(seconds=0.1), most=timedelta(seconds=1), attempts=5)
# The server takes no writes, or ends: after a failover another one does the work. Its connections may stay open and
# read-only for ever. No transaction of ours is meant to be read-only and writes.
LOST = frozenset({"25006", "57P01", "57P02", "57P03"})  # read only, shut down by a person, after a crash, starting up
# The settings of a server that end our statements, by SQLSTATE: the words of the server may be in any language.
CANCELLED = "57014"  # SQLSTATE: by a statement_timeout, or by a person
LIMITS = {CANCELLED: "statement_timeout", "25P04": "transaction_timeout"}
BY_A_PERSON = "user request"  # pg_cancel_backend has the SQLSTATE of statement_timeout


def outlive_deadlocks(
    transaction: Callable[[], T],
    *conflicts: type[Exception],
    backoff: Backoff = DEADLOCK_BACKOFF,
    jitter: Callable[[], float] = random.random,
    pause: Callable[[float], None] = time.sleep,
) -> T:
    """Run one transaction, and repeat it if PostgreSQL rolled it back because of a deadlock.

    All effects of the function must be in this one transaction, and all its decisions must use what it reads there.
    Raises the last failure once `backoff` has no attempt left. `pause` gets seconds. It is repeated at once, a few
    times, if another transaction was first, which `conflicts` say.
    """
    failures = 0
    again = TRIES
    while True:
        try:
            return transaction()
        except conflicts:
            again -= 1
            if not again:
                raise
            continue
        except sa.exc.DBAPIError as error:
            failures += 1
            # Each transaction waits for a different time. Otherwise the same two transactions would deadlock again.
            wait = backoff.after(failures, jitter())
            if getattr(error.orig, "sqlstate", None) not in SACRIFICED or wait is None:
                raise
        pause(wait.total_seconds())


def reason(error: sa.exc.SQLAlchemyError) -> str:
    """The first line of the database's or driver's message, for people, and what to do about a limit of the server.

    It names the server and holds no values.
    """
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    text = str(cause).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    limit = LIMITS.get(getattr(cause, "sqlstate", ""))
    if limit is None or BY_A_PERSON in first:
        return first
    return f"{first} ({limit} is too short for this worker: `ALTER ROLE … SET {limit} = 0`, then start it again)"


def leave_lost_servers(engine: sa.Engine) -> None:
    """Replace all connections of the pool, each before its next use, once the server of one of them is lost."""

    def judge(context: sa.engine.ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) in LOST:
            context.is_disconnect = True

    event.listen(engine, "handle_error", judge)


def is_outage(error: sa.exc.SQLAlchemyError) -> bool:
    """Whether the failure is the database's own, so that the same statement may succeed later.

    Only a refused value is the row's fault: it does not fit its column, or breaks a rule of its table. All else that a
    database says passes, or a person mends it: it is away, it has become a standby, a right, a table or a column is
    missing. A row must never be refused for that.
    """
    match error:
        case sa.exc.TimeoutError() | sa.exc.DisconnectionError():  # all connections of the pool are in use, or broken
            return True
        case sa.exc.DataError() | sa.exc.IntegrityError():
            return False
        case sa.exc.ProgrammingError() if not error.connection_invalidated:
            # Without a code of the database the driver says this: it has no form for the type of a value.
            return any(getattr(error.orig, code, None) for code in ("sqlstate", "sqlite_errorcode"))
        case _:
            return isinstance(error, sa.exc.DBAPIError)


@contextmanager
def naming_outages() -> Iterator[None]:
    """Raise outages as `sqlalchemy.exc.OperationalError`, see `database.Database`."""
    try:
        yield
    except sa.exc.OperationalError:
        raise
    except sa.exc.SQLAlchemyError as error:
        if not is_outage(error):
            raise
        what = error.orig if isinstance(error, sa.exc.DBAPIError) else error
        raise sa.exc.OperationalError(None, None, what or error, hide_parameters=True) from None
