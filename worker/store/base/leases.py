"""Leases: the right to work a row until a time, for jobs and invitations alike.

Each taking raises the row's fence. Whoever writes under a lease asks first whether the row is still his, under the
fence that he took it with: one who was stopped for longer than his lease must not overwrite his successor.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import InstrumentedAttribute

from worker.domain.model.states import InvitationState, JobState
from worker.store.base import bulk
from worker.store.base.database import fetch
from worker.store.tables import Attempt, InvitationRow, Job

# An attempt given back before its call was made: certainly not carried out.
NOT_SENT = "not_sent"
Id = TypeVar("Id")
Kept = TypeVar("Kept")


class Leases(Generic[Id, Kept]):
    """The leases of one kind of row."""

    def __init__(
        self,
        model: type[Job] | type[InvitationRow],
        states: type[JobState] | type[InvitationState],
        *,
        of: InstrumentedAttribute[str],
        worked_from: Sequence[Any],
        rereads: InstrumentedAttribute[Kept],
        conditions: Sequence[sa.ColumnElement[bool]] = (),
        changes: Sequence[str] = (),
        attempts: Sequence[sa.ColumnElement[bool]],
    ) -> None:
        """`of` says whose rows they are, an account's or a channel's, and `conditions` which of them are ever taken.

        `worked_from` are the columns that a claim returns; `rereads` is what `still_ours` reads again; `changes` are
        the columns with the time of the last change; `attempts` tells the attempts of the rows whose ids are given.
        """
        self._due = (
            of == sa.bindparam("of_"),
            model.state == bulk.fixed(states.WAITING),
            *conditions,
            model.due_at <= sa.bindparam("now"),
        )
        self._model = model
        claimed: dict[str, Any] = {
            "state": states.WORKING,
            "lease_until": sa.bindparam("until"),
            "lease_owner": sa.bindparam("owner"),
            "fence": model.fence + 1,
        }
        changed: dict[str, Any] = {name: sa.bindparam("now") for name in changes}
        self._claims = {
            unknown_only: sa.update(model)
            .where(
                bulk.within(model.id, self._first(model.unknown_attempt.is_not(None) if unknown_only else sa.true()))
            )
            .values(claimed | changed)
            .returning(*worked_from)
            for unknown_only in (False, True)
        }
        chosen = bulk.among(model.id, "ids")
        columns = (model.id, model.fence, model.state, model.lease_until, rereads.label("kept"))
        locked = sa.select(*columns).where(chosen)
        self._locked = locked.order_by(model.id).with_for_update(key_share=True)
        self._working = states.WORKING
        free: dict[str, Any] = {"state": states.WAITING, "lease_until": None}
        self._frees = sa.update(model).where(chosen).values(free | changed)
        # Attempts whose writing was not acknowledged, because the database went away: their calls were not made.
        self._unmade = (
            sa.update(Attempt)
            .where(*attempts, Attempt.closed_at.is_(None))
            .values(closed_at=sa.bindparam("now"), outcome=NOT_SENT)
            .returning(Attempt.reconciles)
        )

    def _first(self, which: sa.ColumnElement[bool]) -> sa.Select[Any]:
        model = self._model
        due = sa.select(model.id).where(*self._due, model.priority == sa.bindparam("priority_"), which)
        most = sa.bindparam("most", type_=sa.Integer())
        return due.order_by(model.due_at, model.id).limit(most).with_for_update(skip_locked=True)

    def is_due(self, connection: sa.Connection, of: str, *conditions: sa.ColumnElement[bool], now: datetime) -> bool:
        """Whether any row of theirs is due of which the conditions hold."""
        query = sa.select(sa.exists().where(*self._due, *conditions))
        return bool(connection.execute(query, {"of_": of, "now": now}).scalar())

    def claim(
        self,
        connection: sa.Connection,
        of: str,
        priority: int,
        most: int,
        *,
        lease: timedelta,
        owner: str,
        now: datetime,
        unknown_only: bool = False,
    ) -> list[sa.Row[Any]]:
        """Lease up to `most` of the rows that are due, the oldest first; rows that others hold are passed by."""
        given = {"of_": of, "priority_": priority, "most": most, "owner": owner, "now": now, "until": now + lease}
        rows = fetch(connection, self._claims[unknown_only], given)
        return sorted(rows, key=lambda row: (row.due_at, row.id))

    def still_ours(self, connection: sa.Connection, leases: Sequence[tuple[Id, int]]) -> dict[Id, Kept]:
        """Of these (row, fence) the rows that nobody has taken since, with what is kept of them; locked."""
        rows = self._leased(connection, [row_id for row_id, _ in leases])
        held = {(row.id, row.fence): row.kept for row in rows}
        return {row_id: held[row_id, fence] for row_id, fence in leases if (row_id, fence) in held}

    def _leased(self, connection: sa.Connection, ids: Sequence[Id]) -> list[sa.Row[Any]]:
        rows = fetch(connection, self._locked, {"ids": bulk.keys(ids)})
        return [row for row in rows if row.state is self._working]

    def give_back(self, connection: sa.Connection, leases: Sequence[tuple[Id, int, datetime]], *, now: datetime) -> int:
        """Let go of rows that no call was made for; how many calls, look-ups apart, had been written down for them.

        By the lease's end as well as the fence: where nobody knows whether a claim was committed, it may not be,
        and somebody else may have taken the row under the same fence since, and be calling.
        """
        held = {(row.id, row.fence, row.lease_until) for row in self._leased(connection, [one[0] for one in leases])}
        ours = [lease[0] for lease in leases if lease in held]
        if not ours:
            return 0
        given = {"ids": bulk.keys(ours), "now": now}
        connection.execute(self._frees, given)
        return sum(row.reconciles is None for row in fetch(connection, self._unmade, given))
