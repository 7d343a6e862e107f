"""Moves unopened stable links to another account: from then on each leads to a session of that account.

Nothing is bought by the move. The row of an unbought session takes the place of the present one; the customer buys the
next session by coming. A result that still comes for the session before is one for a superseded session.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.domain.model.customers import Customer
from worker.domain.model.sessions import ExpirySource
from worker.domain.model.states import LIVE_SESSIONS, JobState, SessionState
from worker.domain.verification.reissue import SETTLES
from worker.foundation.ids import new_ids
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.audit.entries import note
from worker.store.base import bulk
from worker.store.base.database import Database, fetch
from worker.store.base.encrypted_values import ERASED, Erased
from worker.store.base.job_ids import of_batch
from worker.store.base.keys_of_customers import readable
from worker.store.base.outages import outlive_deadlocks
from worker.store.issuing.job_context import LEASES, decrypted, values_of
from worker.store.onboarding.admission import lock_customers
from worker.store.tables import Batch, Job, SessionRow, StableLink

CHUNK = 500
# A visitor who was led to a session may be in it for so long, also one whose visit does not count as opening it.
MAY_BE_INSIDE = timedelta(hours=1)
Fits = Callable[[Customer], bool]


@dataclass(frozen=True)
class Move:
    """From which account to which; `provider`: of the new one. `batch_id` None: the rows of all batches.

    `fits`: whether the new account can serve a customer.
    """

    source: str
    target: str
    provider: str
    fits: Fits
    batch_id: int | None = None


@dataclass(frozen=True)
class Moved:
    """How many links were moved, or would be; of them, those whose customers had a session that lives: it was paid for,
    and is given up. `refused`: the new account cannot serve the customer, so the link stays."""

    links: int = 0
    given_up: int = 0
    refused: int = 0

    def __add__(self, other: "Moved") -> "Moved":
        return Moved(self.links + other.links, self.given_up + other.given_up, self.refused + other.refused)


class Moves:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database, self._keyring = database, keyring

    def count(self, move: Move, *, now: datetime) -> Moved:
        """What the move would do."""
        total, after = Moved(), 0
        while True:
            with self._database.read() as connection:
                rows = _unopened(connection, move, after=after, now=now)
                total += _counted(rows, self._fitting(connection, move, rows), now=now)
            if len(rows) < CHUNK:
                return total
            after = rows[-1].id

    def move(self, move: Move, *, now: datetime) -> Moved:
        """Move the links, in chunks, each with its entry in the audit log. Moved links are not found again: after an
        interruption the same command goes on."""
        total, after = Moved(), 0
        while True:
            moved, last = outlive_deadlocks(partial(self._chunk, move, after=after, now=now))
            total += moved
            if last is None:
                return total
            after = last

    def _chunk(self, move: Move, *, after: int, now: datetime) -> tuple[Moved, int | None]:
        with self._database.write() as connection:
            found = _unopened(connection, move, after=after, now=now)
            if not found:
                return Moved(), None
            lock_customers(connection, [row.customer_id for row in found])
            ids = [row.id for row in found]
            locked = sa.select(Job.id).where(Job.id.in_(ids)).order_by(Job.id)
            fetch(connection, locked.with_for_update(key_share=True))
            sessions = sa.select(SessionRow.id).where(SessionRow.id.in_([row.session_id for row in found]))
            fetch(connection, sessions.order_by(SessionRow.id).with_for_update(key_share=True))
            # Read again under the locks: a customer may have come meanwhile, or a webhook.
            still = {row.id: row for row in _unopened(connection, move, after=after, only=ids, now=now)}
            rows = [still[id_] for id_ in ids if id_ in still]
            fitting = self._fitting(connection, move, rows)
            moved = _counted(rows, fitting, now=now)
            _write(connection, move, [row for row in rows if row.id in fitting], now=now)
            if moved.links:
                subject = f"account {move.source}" if move.batch_id is None else f"batch {move.batch_id}"
                why = f"unopened links of {move.source} moved to {move.target}; {moved.given_up} sessions given up"
                note(connection, subject, now=now, count=moved.links, reason=why)
            return moved, ids[-1] if len(found) == CHUNK else None

    def _fitting(self, connection: sa.Connection, move: Move, rows: Sequence[Any]) -> set[int]:
        """The jobs whose customers the new account can serve."""
        contexts = LEASES.read(connection, [row.id for row in rows])
        keyring = readable(connection, self._keyring, values_of(contexts))
        return {row.id for row in contexts if self._fits(keyring, move, row)}

    def _fits(self, keyring: Keyring, move: Move, row: Any) -> bool:
        try:
            job = decrypted(keyring, row, None, provider=move.provider, session_id=None)
        except (CannotDecrypt, Erased):
            return False
        return move.fits(job.request.customer)


def _unopened(
    connection: sa.Connection, move: Move, *, after: int, only: Sequence[int] | None = None, now: datetime
) -> list[Any]:
    """The next invited rows of the account whose links nobody has opened, as far as is known."""
    untouched = sa.or_(
        SessionRow.state.in_([SessionState.UNBOUGHT, SessionState.EXPIRED]),
        sa.and_(SessionRow.state == SessionState.WAITING, SessionRow.update_rank == 0),
    )
    query = (
        sa.select(
            Job.id,
            Job.customer_id,
            Job.purpose,
            Job.session_id,
            Job.fallback_accounts,
            SessionRow.state,
            SessionRow.expires_at,
            StableLink.ends_at,
        )
        .join(Batch, Batch.id == Job.batch_id)
        .join(SessionRow, SessionRow.id == Job.session_id)
        .join(
            StableLink,
            sa.and_(StableLink.customer_id == Job.customer_id, StableLink.purpose == Job.purpose),
        )
        .where(
            Job.id > after,
            Job.account == move.source,
            Job.state == JobState.INVITED,
            Job.joins.is_(None),
            Job.unknown_attempt.is_(None),
            sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).is_(None),
            SessionRow.result == "",
            untouched,
            StableLink.opened_at.is_(None),
            StableLink.revoked_at.is_(None),
            StableLink.ends_at > now,
            sa.or_(StableLink.visited_at.is_(None), StableLink.visited_at <= now - MAY_BE_INSIDE),
        )
    )
    if move.batch_id is not None:
        query = query.where(of_batch(move.batch_id))
    if only is not None:
        query = query.where(Job.id.in_(only))
    return fetch(connection, query.order_by(Job.id).limit(CHUNK))


def _counted(rows: Sequence[Any], fitting: set[int], *, now: datetime) -> Moved:
    lives = sum(row.id in fitting and row.state in LIVE_SESSIONS and row.expires_at > now for row in rows)
    return Moved(len(fitting), lives, len(rows) - len(fitting))


def _write(connection: sa.Connection, move: Move, rows: Sequence[Any], *, now: datetime) -> None:
    unbought = [row for row in rows if row.state is SessionState.UNBOUGHT]
    bought = [row for row in rows if row.state is not SessionState.UNBOUGHT]
    at_target = sa.update(SessionRow).where(SessionRow.id.in_([row.session_id for row in unbought]))
    connection.execute(at_target.values(account=move.target))
    over = sa.update(SessionRow).where(SessionRow.id.in_([row.session_id for row in bought]))
    superseded = sa.case(
        (SessionRow.state == SessionState.WAITING, SessionState.SUPERSEDED.value), else_=SessionRow.state
    )
    connection.execute(over.values(state=sa.type_coerce(superseded, sa.String()), check_at=None))
    places = dict(zip((row.id for row in bought), new_ids(now, len(bought)), strict=True))
    bulk.add(connection, SessionRow, [_place(move, row, places[row.id], now=now) for row in bought])
    _TO_TARGET.run(
        connection,
        [
            {
                "job_id": row.id,
                "new_account": move.target,
                "new_route": f"moved from {move.source}",
                "new_session_id": places.get(row.id, row.session_id),
                "new_fallback": _without(row.fallback_accounts, move),
                "at": now,
            }
            for row in rows
        ],
    )


def _without(accounts: str, move: Move) -> str:
    """The fallback accounts: neither the one that serves now, nor the one that a person has left."""
    return ",".join(name for name in accounts.split(",") if name and name not in (move.source, move.target))


def _place(move: Move, row: Any, place: uuid.UUID, *, now: datetime) -> Mapping[str, Any]:
    """The row of an unbought session in place of this row's session."""
    return {
        "id": place,
        "customer_id": row.customer_id,
        "purpose": row.purpose,
        "job_id": row.id,
        "account": move.target,
        "reference": "",
        "references": {},
        "vendor": "",
        "encrypted": ERASED,
        "sms_sent": False,
        "state": SessionState.UNBOUGHT,
        "issued_at": now,
        "expires_at": row.ends_at,
        "expiry_source": ExpirySource.FALLBACK,
        "replaces": row.session_id,
        "check_at": row.ends_at + SETTLES,
        "company_id": "",
        "token_digest": None,
    }


_TO_TARGET = bulk.Change(
    Job.id,
    {
        "account": sa.bindparam("new_account"),
        "route": sa.bindparam("new_route"),
        "session_id": sa.bindparam("new_session_id"),
        "fallback_accounts": sa.bindparam("new_fallback"),
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)
