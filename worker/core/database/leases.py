"""Leases: the right to work a row until a time. Jobs and invitations have leases.

Each claim raises the row's fence. Before a dispatcher writes under a lease, it checks that the row still has the fence
of its claim: a dispatcher that stood still for longer than its lease must not overwrite the results of the next one.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from worker.core.database import bulk
from worker.core.database.database import THERE_IS, fetch
from worker.core.database.fast.unanswered import UNANSWERED
from worker.core.database.tables import Attempt, Batch, InvitationRow, Job
from worker.core.database.tables.types import DETAIL_LENGTH
from worker.core.model.endings import Later, NotNow
from worker.core.model.states import BATCH, EVENT, NOT_SENT, PRIORITIES, InvitationState, JobState

Id = TypeVar("Id")
_IN_ORDER = attrgetter("due_at", "id")


class Leases(Generic[Id]):
    def __init__(
        self,
        model: type[Job] | type[InvitationRow],
        states: type[JobState] | type[InvitationState],
        *,
        of: sa.Column[str],
        worked_from: Sequence[Any],
        joined: Sequence[sa.ColumnElement[bool]],
        conditions: Sequence[sa.ColumnElement[bool]] = (),
        changes: Sequence[str] = (),
        attempts: Sequence[sa.ColumnElement[bool]],
        ended: Callable[..., Sequence[sa.ColumnElement[bool]]] = lambda *_: (),
    ) -> None:
        """`of` is the column that claims select rows by: the account or the channel. `conditions` hold for all claims.

        `worked_from` are the columns that a claim returns, of the row, of its batch and of the rows that `joined` joins
        to it: all that its work needs, so that each is read once. `changes` are the columns with the time of the last
        change.
        `attempts` are the conditions that find the attempts of the rows whose ids are given. `ended(of, now, batch)`
        are those of rows that have ended, and whose calls are to be looked up: they keep their state.
        """
        of_batch = model.batch_id == sa.bindparam("batch")
        due = (
            of == sa.bindparam("of_"),
            model.state == bulk.fixed(states.WAITING),
            *conditions,
            model.due_at <= sa.bindparam("now"),
        )
        oldest = (
            sa.select(model.id)
            .where(*due, model.priority == sa.bindparam("priority_"))
            .order_by(model.due_at, model.id)
            .limit(sa.bindparam("most", type_=sa.Integer()))
            .with_for_update(skip_locked=True)
        )
        self.states = states
        # The sum keeps PostgreSQL from finding the rows by their batch. It plans so for a small table, and keeps the
        # plan until the next ANALYZE: each claim read all messages of the batch.
        joined = (*joined, Batch.id == model.batch_id + 0)
        leased: dict[str, Any] = {
            "lease_until": sa.bindparam("until"),
            "lease_owner": sa.bindparam("owner"),
            "fence": model.fence + 1,
        }
        changed: dict[str, Any] = {name: sa.bindparam("now") for name in changes}
        unknown = model.unknown_attempt.is_not(None)
        which = {
            (unknown_only, one_batch): [*([unknown] if unknown_only else []), *([of_batch] if one_batch else [])]
            for unknown_only in (False, True)
            for one_batch in (False, True)
        }
        leases = {
            key: sa.update(model)
            .where(bulk.within(model.id, oldest.where(*those)))
            .values({"state": states.WORKING} | leased | changed)
            for key, those in which.items()
        }
        self._claims = {key: lease.where(*joined).returning(*worked_from) for key, lease in leases.items()}
        # SQLite returns no column of another table.
        self._leases = {key: lease.returning(model.id) for key, lease in leases.items()}
        self._worked_from = sa.select(*worked_from).where(bulk.among(model.id, "ids"), *joined)
        # A part of another query: batches have no events for hours, and a claim that finds none costs a round trip.
        self.event_is_due = THERE_IS.where(*due, model.priority == EVENT)
        batch_due = (*due, model.priority.in_(PRIORITIES))
        self._is_due = {
            key: sa.select(sa.exists().where(*batch_due, *those, *([] if key[0] else [~unknown])))
            for key, those in which.items()
        }
        self._claims_of_ended: dict[bool, sa.UpdateBase] = {}
        self._ended_is_due: dict[bool, sa.Select[Any]] = {}
        for one_batch in (False, True):
            over = ended(sa.bindparam("of_"), sa.bindparam("now"), sa.bindparam("batch") if one_batch else None)
            if not over:
                break
            first = sa.select(model.id).where(*over).order_by(model.lease_until, model.id)
            first = first.limit(sa.bindparam("most", type_=sa.Integer())).with_for_update(skip_locked=True)
            those_first = sa.update(model).where(model.id.in_(first.scalar_subquery()))
            self._claims_of_ended[one_batch] = those_first.values(leased).returning(model.id)
            self._ended_is_due[one_batch] = sa.select(sa.exists().where(*over))
        chosen = bulk.among(model.id, "ids")
        worked = sa.select(model.id, model.fence, model.lease_until).where(chosen, model.state == states.WORKING)
        self._worked = worked.order_by(model.id).with_for_update(key_share=True)
        released: dict[str, Any] = {"state": states.WAITING, "lease_until": None}
        self._keep_back = bulk.Change(
            model.id,
            bulk.new("state", "due_at", "reason", "detail") | {"lease_until": None} | changed,
            by="row_id",
        )
        self._release = sa.update(model).where(chosen, model.state == states.WORKING).values(released | changed)
        # Attempts whose commit was not acknowledged because the database became unreachable: no call was made.
        self._unmade = (
            sa.update(Attempt)
            .where(*attempts, Attempt.closed_at.is_(None))
            .values(closed_at=sa.bindparam("now"), outcome=NOT_SENT)
            .returning(Attempt.reconciles)
        )

    def is_due(
        self, connection: sa.Connection, of: str, *, unknown: bool, only_batch: int | None, now: datetime
    ) -> bool:
        """True if a row of this account or channel is due whose call has an unknown outcome, or one that has none.

        `only_batch` as for `claim`.
        """
        given: dict[str, Any] = {"of_": of, "now": now}
        if only_batch is not None:
            given["batch"] = only_batch
        one_batch = only_batch is not None
        asked = [self._is_due[unknown, one_batch]]
        if unknown and self._ended_is_due:
            asked.append(self._ended_is_due[one_batch])
        return any(connection.execute(question, given).scalar() for question in asked)

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
        only_batch: int | None = None,
        unknown_only: bool = False,
    ) -> list[Any]:
        """Lease up to `most` due rows, the oldest first. Rows that another transaction has locked are skipped.

        `only_batch`: only rows of this batch; None: of all batches. Behind the rows of batches come those that have
        ended: they share the account's permits and budget.
        """
        given: dict[str, Any] = {"of_": of, "most": most, "owner": owner, "now": now, "until": now + lease}
        if only_batch is not None:
            given["batch"] = only_batch
        which, due = (unknown_only, only_batch is not None), given | {"priority_": priority}
        if connection.dialect.name == "sqlite":
            rows = self.read(connection, [row.id for row in fetch(connection, self._leases[which], due)])
        else:
            rows = fetch(connection, self._claims[which], due)
        rows.sort(key=_IN_ORDER)
        if self._claims_of_ended and priority == BATCH and len(rows) < most:
            left = given | {"most": most - len(rows)}
            ended = connection.execute(self._claims_of_ended[only_batch is not None], left).scalars()
            rows += self.read(connection, list(ended))
        return rows

    def read(self, connection: sa.Connection, ids: Sequence[Id]) -> list[Any]:
        """The claimed rows with these ids, as `claim` returns them, in any order."""
        return fetch(connection, self._worked_from, {"ids": bulk.keys(ids)}) if ids else []

    def release_leased(self, connection: sa.Connection, ids: Sequence[Id], *, now: datetime) -> None:
        """Release rows that this transaction has leased, and for which nothing else is written."""
        if ids:
            given = {"ids": bulk.keys(ids), "now": now}
            connection.execute(self._release, given, execution_options=UNANSWERED)

    def keep_back(self, connection: sa.Connection, stay: Mapping[Id, NotNow], *, now: datetime) -> None:
        """Release leased rows that are not worked now, each with what becomes of it. Nothing is counted."""
        moves = []
        for id_, why in stay.items():
            move: dict[str, Any] = {"row_id": id_, "now": now, "new_reason": why.reason}
            if isinstance(why, Later):
                move |= {"new_state": self.states.WAITING, "new_due_at": why.due_at, "new_detail": ""}
            else:
                move |= {"new_state": why.state, "new_due_at": why.at, "new_detail": why.detail[:DETAIL_LENGTH]}
            moves.append(move)
        self._keep_back.run(connection, moves)

    def release_opened(
        self, connection: sa.Connection, leases: Sequence[tuple[Id, int, datetime]], *, now: datetime
    ) -> tuple[set[Id], int]:
        """Release rows for which no call was made, and close their attempts. Returns the ids of those that were under
        these leases, and how many calls (not look-ups) were written down for them.

        The end of the lease is compared as well as the fence. If the commit of a claim was not acknowledged, the claim
        may be lost: another dispatcher may then have claimed the row with the same fence, and may be calling now.
        """
        rows = fetch(connection, self._worked, {"ids": bulk.keys([each[0] for each in leases])})
        held = {(row.id, row.fence, row.lease_until) for row in rows}
        ours = {lease[0] for lease in leases if lease in held}
        if not ours:
            return ours, 0
        given = {"ids": bulk.keys(sorted(ours)), "now": now}
        connection.execute(self._release, given)
        return ours, sum(row.reconciles is None for row in fetch(connection, self._unmade, given))
