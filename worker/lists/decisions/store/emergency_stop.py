"""Stops everything at once, and goes on: a row that each claim and each running process asks for. A batch, an account
or a sender that is paused or stopped meanwhile, or was before, stays so: only this row goes. What strangers send
(events, webhooks) is stored and applied all the same, and waits as rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import WIDTHS, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.tables import Attempt, EmergencyStop, InvitationRow, Job, Timer
from onboarding_worker.core.foundation.notation import printable, written
from onboarding_worker.core.model.states import InvitationState, JobState

EVERYTHING = "everything"  # the subject of its audit entries
JOURNAL = "the journal"  # it stops an older copy of the database, see `reporting.store.restored`
ACCEPTED = "accepted"  # the timer of a person's word that such a copy goes on


@dataclass(frozen=True)
class Stopped:
    """Everything is stopped: since when, by whom and why. `reason` may be empty."""

    at: datetime
    by: str
    reason: str

    @property
    def in_words(self) -> str:
        return f"everything was stopped by {self.by}, {written(self.at)}{f': {self.reason}' if self.reason else ''}"

    def as_facts(self) -> dict[str, str]:
        return {"at": written(self.at), "by": self.by, "reason": self.reason}


class EmergencyStops:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self) -> Stopped | None:
        """Who stopped everything, when and why; None: nothing is stopped."""
        with self._database.read() as connection:
            return stop_there(connection)

    def stop(self, *, by: str, reason: str, now: datetime, anew: bool = False) -> Stopped:
        """Stop everything. If it is stopped already, the first stop stays, with its reason. Returns the one that holds.
        `anew`: this stop takes the place of an earlier one. After the commit no transaction claims a row. Processes
        that are making calls learn of it within a second (`wiring.runner`)."""
        who, why = printable(by, WIDTHS["actor"]), printable(reason, WIDTHS["reason"])
        values = {"id": 1, "at": now, "by": who, "reason": why}
        with self._database.write() as connection:
            if anew:
                connection.execute(sa.delete(EmergencyStop))
            stop = bulk.insert(EmergencyStop, connection.dialect.name).values(values).on_conflict_do_nothing()
            if connection.execute(stop.returning(EmergencyStop.id)).first() is not None:
                note(connection, EVERYTHING, now=now, reason=reason or "stopped")
            found = stop_there(connection)
        return found or Stopped(now, by, reason)

    def go_on(self, *, now: datetime) -> Stopped | None:
        """Go on with what the stop stopped. Returns the stop that ended; None: there was none."""
        with self._database.write() as connection:
            found = stop_there(connection, lock=True)
            if found is not None:
                connection.execute(sa.delete(EmergencyStop))
                note(connection, EVERYTHING, now=now, reason="resumed")
                if found.by == JOURNAL:
                    accepted = {"name": ACCEPTED, "at": max(now, found.at)}
                    timer = bulk.insert(Timer, connection.dialect.name).values(accepted)
                    connection.execute(timer.on_conflict_do_update(index_elements=["name"], set_=accepted))
        return found

    def in_flight(self, *, now: datetime) -> Mapping[str, int]:
        """How many calls may be in flight now, by account and channel: they end, and their results are written."""
        of_job = sa.and_(Attempt.job_id == Job.id, Attempt.invitation_id.is_(None))
        of_message = sa.and_(Attempt.job_id == InvitationRow.job_id, Attempt.invitation_id == InvitationRow.id)
        queries = (
            _in_flight(Job, Job.account, of_job, JobState.WORKING, now),
            _in_flight(InvitationRow, InvitationRow.channel, of_message, InvitationState.WORKING, now),
        )
        with self._database.read() as connection:
            return {row.name: row.calls for query in queries for row in fetch(connection, query)}


def _in_flight(
    row: type[Job] | type[InvitationRow],
    name: sa.ColumnElement[str],
    its_attempt: sa.ColumnElement[bool],
    working: JobState | InvitationState,
    now: datetime,
) -> sa.Select[str, int]:
    return (
        sa.select(name.label("name"), sa.func.count().label("calls"))
        .join(Attempt, sa.and_(its_attempt, Attempt.fence == row.fence))
        .where(row.state == bulk.fixed(working), row.lease_until > now, Attempt.closed_at.is_(None))
        .group_by(name)
    )


def stop_there(connection: sa.Connection, *, lock: bool = False) -> Stopped | None:
    """As `EmergencyStops.find`, in a transaction."""
    query = sa.select(EmergencyStop.at, EmergencyStop.by, EmergencyStop.reason)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else Stopped(row.at, row.by, row.reason)
