"""The entries of the audit log: what one is, and the one way in, always in the transaction of what it tells."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database.fast.unanswered import UNANSWERED
from onboarding_worker.core.database.tables import Audit
from onboarding_worker.core.foundation.notation import printable

if TYPE_CHECKING:
    from onboarding_worker.core.database.database import Database

# An execution option of all connections: who does what on them, an `Act`.
ACT = "onboarding_act"
RETENTION = "retention"  # the actor where the configuration acts, and no person
# The widths of the columns. What is longer is cut off.
WIDTHS = {"actor": 200, "action": 64, "subject": 200, "reason": 200}


class Act(NamedTuple):
    """Who does something, and what: a command by its words, or an event by its type. `reason`: why, in the words of the
    person who does it; "" if no one was asked."""

    actor: str
    action: str
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """Who did what to whom. `at` is aware. `count`: how many rows or things it was done to.

    An entry stays when a customer is erased. So it holds the customer's id at most: no name, address, token or link,
    and no text that a stranger or a provider has written.
    """

    at: datetime
    actor: str
    action: str
    subject: str
    count: int = 1
    reason: str = ""


def note(
    connection: sa.Connection, subject: str, *, now: datetime, count: int = 1, reason: str = "", act: Act | None = None
) -> None:
    """Add an entry. `act`: who does what; None: as the connection's database says, which is the running command's."""
    act = act or connection.get_execution_options()[ACT]
    why = "; ".join(filter(None, (reason, act.reason)))  # what the change was, and why it was made
    note_all(connection, [Entry(now, act.actor, act.action, subject, count, why)])


def note_alone(database: "Database", subject: str, *, now: datetime, count: int = 1, reason: str) -> None:
    """Add an entry in its own transaction: before something is shown, or is done outside of the database."""
    with database.write() as connection:
        note(connection, subject, now=now, count=count, reason=reason)


def note_all(connection: sa.Connection, entries: Sequence[Entry]) -> None:
    """Add entries, without a lock: many transactions do so at the same time.

    The connection may be a caller's own, of another engine than ours (`runtime.python_api`): so this is no COPY.
    """
    rows = [
        vars(entry) | {name: printable(getattr(entry, name), most) for name, most in WIDTHS.items()}
        for entry in entries
    ]
    if len(rows) == 1:  # as nearly always: its answer is not waited for
        connection.execute(_ADD, rows[0], execution_options=UNANSWERED)
    elif rows:
        connection.execute(_ADD, rows)


_ADD = sa.insert(Audit).inline()  # no one asks for the entries' ids
