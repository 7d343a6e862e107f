"""Triggers that record each change of state that must be published, so that a test finds a fact that is not told."""

import sys
from collections import Counter
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.database import Database
from onboarding_worker.core.database.tables import Outbox
from onboarding_worker.events.cloudevents import Happened
from onboarding_worker.features.outbox.store.outbox import Subscriptions

# A row that replaces a purged leader (`purge`) gets the leader's state, which was published for the leader already.
INHERITS = "(OLD.leader_id IS NOT NULL AND OLD.state = 'cancelled')"
_SEES = {
    "job AFTER UPDATE OF state": (
        f"NEW.state IN ('failed', 'held') AND NEW.state <> OLD.state AND NOT {INHERITS}",
        "NEW.id, 'job.' || NEW.state",
    ),
    "job AFTER INSERT": ("NEW.state IN ('failed', 'held')", "NEW.id, 'job.' || NEW.state"),
    "session AFTER INSERT": ("NEW.state = 'waiting'", "NEW.job_id, 'session.issued'"),
    "session AFTER UPDATE OF state": (
        "NEW.state IN ('expired', 'completed') AND NEW.state <> OLD.state",
        # By its session: the job is that of the row that uses the session by then.
        "NEW.reference, 'session.' || NEW.state",
    ),
    "invitation AFTER INSERT": ("NEW.state = 'sent'", "NEW.job_id, 'invitation.sent'"),
    "invitation AFTER UPDATE OF state": (
        "NEW.state = 'sent' AND NEW.state <> OLD.state",
        "NEW.job_id, 'invitation.sent'",
    ),
}


_OF_SESSIONS = {Happened.SESSION_COMPLETED, Happened.SESSION_EXPIRED}
_CHANGES = sa.text("SELECT * FROM witness")
_EVENTS = sa.select(Outbox.data, Outbox.kind)


def _by_the_store() -> bool:
    """True if the running statement is the store's. A test's own statements need no event."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith("onboarding_worker."):
            return True
        frame = frame.f_back
    return False


class Witness:
    """Only for SQLite: both databases run the same statements. Make it before the first connection to the database."""

    # Every test of the store runs with a target that is subscribed to all events.
    observer = Subscriptions({"bus": frozenset(Happened)}, {"kyc": "idenfy-kyc"})

    @staticmethod
    def add(database: Database) -> None:
        """Into a SQLite database: the triggers, and the table that they write to."""
        with database.write() as connection:
            connection.exec_driver_sql("CREATE TABLE witness (what, kind TEXT)")
            for number, (on, (condition, values)) in enumerate(_SEES.items()):
                table, _, event = on.partition(" ")
                sees = f"{event} ON {table} WHEN {condition} AND by_the_store()"
                does = f"BEGIN INSERT INTO witness VALUES ({values}); END"  # noqa: S608 -- words of ours
                connection.exec_driver_sql(f"CREATE TRIGGER witness_{number} {sees} {does}")

    def __init__(self, database: Database) -> None:
        self._database = database

        @sa.event.listens_for(database.engine, "connect")
        def prepare(connection: Any, _record: Any) -> None:
            connection.create_function("by_the_store", 0, _by_the_store)

    def untold(self) -> Counter[tuple[Any, str]]:
        """The changes without an outbox event, counted by job or session, and kind."""
        with self._database.read() as connection:
            changes = Counter((row.what, row.kind) for row in connection.execute(_CHANGES))
            rows = connection.execute(_EVENTS)
            events = Counter((_of(row), row.kind) for row in rows)
        return changes - events


def _of(event: Any) -> Any:
    return event.data["session" if event.kind in _OF_SESSIONS else "job_id"]
