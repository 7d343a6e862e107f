"""Which failures of the database pass by themselves: deadlocks, and outages."""

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from onboarding_worker.core.foundation.connection_failures import certificate_help
from onboarding_worker.core.model.endings import Backoff

T = TypeVar("T")

# PostgreSQL rolled back one of several transactions so that the other transactions could go on.
SACRIFICED = frozenset({"40001", "40P01"})  # serialization failure, deadlock
TRIES = 5  # others may be first a few times, but not for ever
DEADLOCK_BACKOFF = Backoff(first=timedelta(seconds=0.1), most=timedelta(seconds=1), attempts=5)
# The server takes no writes, or ends: after a failover another one does the work. Its connections may stay open and
# read-only for ever. No transaction of ours is meant to be read-only and writes.
LOST = frozenset({"25006", "57P01", "57P02", "57P03"})  # read only, shut down by a person, after a crash, starting up
DISK_FULL = "53100"
# The settings of a server that end our statements, by SQLSTATE: the words of the server may be in any language.
CANCELLED = "57014"  # SQLSTATE: by a statement_timeout, or by a person
LIMITS = {CANCELLED: "statement_timeout", "25P04": "transaction_timeout"}
BY_A_PERSON = "user request"  # pg_cancel_backend has the SQLSTATE of statement_timeout

# What to do, by what a database says behind its SQLSTATE, the first that matches. A refused log-in comes without its
# SQLSTATE, so it is known by its words; of a server that speaks another language the last line is left.
HELP = {
    "unable to open database file": (
        "database.url: its directory must exist and be writable, because SQLite keeps other files in it"
    ),
    "attempt to write a readonly database": "database.url: the file and its directory must be writable",
    "database or disk is full": "database.url: its disk is full",
    "disk I/O error": "database.url: its disk is full, or fails",
    "file is not a database": "database.url: it names a file that is not a SQLite database, or a damaged one",
    "^25006|session is read-only": "let its URL name the server that takes writes, as a role that may write",
    "must be owner": "run it as the role that owns the tables",
    "^42501": "`onboard db grant`, run as the role that owns the tables, gives another one its rights",
    'database ("[^"]+") does not exist': r"`CREATE DATABASE \1` makes it, or its URL must name another one",
    'role ("[^"]+") does not exist': r"`CREATE ROLE \1 LOGIN` makes it, or its URL must name another one",
    'role ("[^"]+") is not permitted to log in': r"`ALTER ROLE \1 LOGIN` lets it, or its URL must name another one",
    'permission denied for database ("[^"]+")': r"`GRANT CONNECT ON DATABASE \1 TO …` lets its role in",
    "authentication failed|no password supplied": "its URL must have the role's name and password",
    "no pg_hba.conf entry.*no encryption": (
        "if the server wants TLS, take `sslmode` out of its URL; else its pg_hba.conf must let this role in from here"
    ),
    "no pg_hba.conf entry": "its pg_hba.conf must let this role in from here",
    "does not support SSL": "let it offer TLS, as its URL or [database] asks",
    "too many (clients|connections)|connection slots are reserved": (
        "end connections that are not used (`pg_stat_activity` has them), or raise max_connections"
    ),
    "^ (connection|failed to resolve)": "its URL must name a server that runs and can be reached",
}


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
    """The first line of the database's or driver's message, for people, and what to do if that is known.

    It names the server and holds no values.
    """
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    text = str(cause).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    state = getattr(cause, "sqlstate", None) or ""
    if (limit := LIMITS.get(state)) and BY_A_PERSON not in first:
        helps = f"{limit} is too short for this worker: `ALTER ROLE … SET {limit} = 0`, then start it again"
    else:
        found = ((re.search(words, f"{state} {first}"), helps) for words, helps in HELP.items())
        helps = certificate_help(first, "database") or next((match.expand(one) for match, one in found if match), "")
    return f"{first} ({helps})" if helps else first


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
