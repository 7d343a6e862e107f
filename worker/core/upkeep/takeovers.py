"""Moves rows of an account that cannot work to the next account of their route, as many as it can do soon.

Which accounts may take over rows from which, by the routes and by the state of their budgets: `taker` decides which
one. `room` decides how much of a list may have moved when the first account is back; the sweep decides when.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache, partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.budgets.budgets import Budgets
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.job_ids import IS_LIVE
from onboarding_worker.core.database.tables import Attempt, Job, SessionRow
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.sessions import default_floor
from onboarding_worker.core.model.states import LATE, PRIORITIES, JobState, SessionState
from onboarding_worker.core.rows.row_by_row import Chunk, hold_jobs, row_by_row
from onboarding_worker.core.rules.budgets import BudgetRule, BudgetState, calls_left, credits_left, interval, is_stopped
from onboarding_worker.core.rules.limits import offer

# Rows move in chunks that an account can work in this time. If the first account is back within seconds, it still has
# most of its rows, and a slow second account has not received a million.
SOON = timedelta(seconds=10)
# At least this many rows, however slow the account is; and at most CHUNK where its pace is unknown.
LEAST = 10
CHUNK = 500
_MANY = 1_000_000  # more calls than any account makes in SOON
ROUTE_LENGTH = 200  # the column's
_TAKEN_OVER = "; taken over from "
# Chunks per tick, each in its own transaction: the target gets its wake-up only after them.
CHUNKS = 4
# Outcomes of calls after which a session is, or may be, open at the account: no other account may open one for the row.
OPENS = (Kind.UNKNOWN.value, LATE, Kind.CONFLICT.value)
_Follower = aliased(Job)
# True if the last session cannot be used any more: by the provider's update, or by its expiry. Which rows wait for that
# end, or were refused and are asked once more, is no matter: none of them has a session that opens.
_HAS_ENDED = sa.exists().where(
    SessionRow.id == Job.session_id,
    sa.or_(
        SessionRow.state.in_([SessionState.EXPIRED, SessionState.COMPLETED, SessionState.FAILED]),
        SessionRow.expires_at <= sa.bindparam("now"),
    ),
)


def trouble(state: BudgetState) -> str:
    """Why other accounts take over the account's rows, in words; empty while it works. A pause is no trouble: it ends
    by itself, and rows wait for it. Refused credentials and a lack of credit are stops."""
    if state.stopped_at is not None:
        return "is stopped"
    return "has its breaker open" if state.opened_at is not None else ""


def may_take_over(state: BudgetState, rule: BudgetRule) -> bool:
    """Whether the account may take over rows: it has no trouble, and its cap on credits allows a call."""
    return not trouble(state) and credits_left(state, rule) != 0


def taker(account: str, fallback_accounts: str, well: Collection[str]) -> str | None:
    """Which account takes the row over from `account`: the most preferred one of `well`; None if there is none."""
    return next((other for other in fallback_accounts.split(",") if other != account and other in well), None)


def fallback_accounts_after(account: str, fallback_accounts: str) -> str:
    """The row's fallback accounts after a takeover: all of them, so that their order is not lost. The first account of
    a row is the most preferred one, and its own fallback accounts do not name it."""
    return fallback_accounts if account in fallback_accounts.split(",") else f"{account},{fallback_accounts}"


def room(state: BudgetState, rule: BudgetRule, *, due: int, now: datetime) -> int:
    """How many more rows the account may take over, with `due` rows waiting there already. The calls that its limits,
    or the limit found, allow in SOON, less `due`; never more than its credits. An account that is paused for longer
    takes over none: the rows may as well wait where they are."""
    paused_until = state.blocked_until or now
    if paused_until > now + SOON:
        return 0
    begins_at = max(now, paused_until, state.next_at or now)
    most = CHUNK
    if interval(state, rule):
        found = state.pace.interval
        slots = offer(rule.limits, next_at=begins_at, most=_MANY, now=now, horizon=SOON, found=found)
        most = max(slots.count, LEAST)
    left = calls_left(state, rule, now=now)
    return max((most if left is None else min(most, left)) - due, 0)


def keeps_one(state: BudgetState, *, now: datetime) -> bool:
    """Whether the account keeps its last row: the probe, which finds out whether it is back, needs a customer. An
    account that is stopped for a person has no probe. A probe that is in flight needs no row, and for one that is due
    in minutes no customer waits: all rows move, and the account's next row makes the probe when it is due."""
    in_flight = state.probe_until is not None and state.probe_until > now
    soon = now + SOON
    return not is_stopped(state, now=soon) and not in_flight and (state.blocked_until or now) <= soon


def route_after_takeover(route: str, source: str, why: str) -> str:
    """The row's route text with the account that had the row last, and why it has it no more."""
    added = f"{_TAKEN_OVER}{source}, which {why}"
    return route.partition(_TAKEN_OVER)[0][: ROUTE_LENGTH - len(added)] + added


class Takeover(NamedTuple):
    """Rows of `source` that may move to `target`. `well` are all accounts that could take over rows: one of them may
    be preferred. `sharing` are the accounts that share the target's budget, itself included."""

    source: str
    source_budget: str
    target: str
    rule: BudgetRule  # the target's
    floor: timedelta  # the freshness floor of the target's links where the row's route sets none
    sharing: tuple[str, ...]
    well: tuple[str, ...]

    @property
    def others(self) -> list[str]:
        """The accounts that a row may prefer to the target."""
        return [name for name in self.well if name not in (self.source, self.target)]

    @property
    def values(self) -> dict[str, str]:
        others = {f"other_{number}": f",{name}," for number, name in enumerate(self.others)}
        return {"source": self.source, "target": f",{self.target},", **others}


def _may_go(is_sqlite: bool, others: int) -> list[sa.ColumnElement[bool] | sa.TextClause]:
    """True for a row that waits at the source, has no session there, and prefers the target of all well accounts. The
    same decision as `taker`, but in SQL: rows for another target must not fill the chunk. The parameters are
    `Takeover.values`."""
    position = sa.func.instr if is_sqlite else sa.func.strpos

    names = ("target", *(f"other_{number}" for number in range(others)))
    accounts = "," + Job.fallback_accounts + ","
    target, *preferred = (position(accounts, sa.bindparam(name, type_=sa.String)) for name in names)
    return [
        Job.account == sa.bindparam("source"),
        Job.state == bulk.fixed(JobState.WAITING),  # as in ix_job_backed
        Job.leader_id.is_(None),
        sa.or_(Job.session_id.is_(None), sa.and_(Job.entity_id == "", _HAS_ENDED)),
        Job.unknown_attempt.is_(None),
        Job.needs_status_check.is_(False),  # only the account that opened a session can be asked about it
        Job.reason != bulk.fixed(Reason.RIGHT_MISSING),  # what it may not say to one account leads to no other one
        sa.text("job.fallback_accounts <> ''"),
        target > 0,
        *(sa.or_(other == 0, other > target) for other in preferred),
    ]


_CALLED = sa.exists().where(Attempt.job_id == Job.id, Attempt.invitation_id.is_(None), Attempt.closed_at.is_(None))
_BOUND = sa.exists().where(
    Attempt.job_id == Job.id,
    Attempt.invitation_id.is_(None),
    # A transient failure of a repeatable call only shows that a repetition at the same account does no harm.
    sa.or_(Attempt.outcome.in_(OPENS), sa.and_(Attempt.outcome == Kind.TRANSIENT.value, Attempt.repeatable)),
    # Only with status 503 does every provider state that it has not accepted the request.
    sa.or_(Attempt.status.is_(None), Attempt.status != 503),
)
# The expiry is read row by row through the unique index: as a condition on sessions, with statistics from before a
# list, the database would search all live sessions.
_expires_at = (
    sa.select(SessionRow.expires_at)
    .where(SessionRow.customer_id == Job.customer_id, SessionRow.purpose == Job.purpose, IS_LIVE)
    .scalar_subquery()
)
_LIVE = sa.func.coalesce(_expires_at > sa.bindparam("now"), sa.false(), type_=sa.Boolean())
# True if no call for the row can have opened a session anywhere, and its customer has no session that opens. Strict:
# anything uncertain binds the row to the account that was called, even if an operator later decides that the call may
# be repeated. A live session belongs to an account too, and only that account knows when to replace it.
_UNBOUND = (~_CALLED, ~_BOUND, ~_LIVE)


# The sweep asks each second for each pair of accounts while one of them is stopped: a built statement costs a
# millisecond.
@lru_cache(maxsize=64)
def _next_rows(is_sqlite: bool, others: int, lock: bool) -> sa.Select[*tuple[Any, ...]]:
    query = (
        sa.select(Job.id, Job.fallback_accounts, Job.route)
        .where(
            *_may_go(is_sqlite, others),
            Job.priority == sa.bindparam("priority"),
            Job.due_at <= sa.bindparam("soon"),
            *_UNBOUND,
        )
        .order_by(Job.due_at, Job.id)
        .limit(sa.bindparam("most"))
    )
    return query.with_for_update(of=Job, skip_locked=True) if lock else query


_STILL_UNBOUND = sa.select(Job.id).where(Job.id.in_(sa.bindparam("ids", expanding=True)), *_UNBOUND)


def _moved(what: Takeover, why: str, *, now: datetime) -> dict[str, Any]:
    return {
        "account": what.target,
        "fallback_accounts": sa.bindparam("new_fallback_accounts"),
        "route": sa.bindparam("new_route"),
        "floor_seconds": sa.func.coalesce(Job.freshness_seconds, int(what.floor.total_seconds())),
        # The reason until the target is called: the failure of the last call no longer explains why the row waits.
        "reason": Reason.TAKEN_OVER,
        "detail": f"taken over from {what.source}, which {why}",
        "changed_at": now,
    }


@dataclass(frozen=True, kw_only=True)
class Takeovers:
    """Which accounts may take over rows from which, and the moves."""

    routes: Sequence[Sequence[str]]  # the accounts of each, in order of preference
    rules: Mapping[str, BudgetRule]  # by account
    lifetimes: Mapping[str, timedelta | None]  # how long links live, by account
    database: Database

    def possible(self, states: Mapping[str, BudgetState] | None = None) -> list[Takeover]:
        """The takeovers that may happen now. `states` by budget; read from the database where it is None."""
        # By account, those that a route names next to it: these may take over its rows where a row names them. Both
        # must name the account: a row names those that could serve its customer when the row was imported, and the
        # routes of now are what the operator wants now.
        pairs = {
            name: dict.fromkeys(other for route in self.routes if name in route for other in route if other != name)
            for name in self.rules
        }
        if not any(pairs.values()):
            return []  # the usual case: it costs no query
        states = Budgets(self.database).all() if states is None else states
        now = {name: states.get(rule.name, BudgetState()) for name, rule in self.rules.items()}
        well = tuple(name for name, rule in self.rules.items() if may_take_over(now[name], rule))
        return [
            Takeover(
                source=source,
                source_budget=self.rules[source].name,
                target=target,
                rule=self.rules[target],
                floor=default_floor(self.lifetimes[target]),
                sharing=self.rules[target].names,
                well=well,
            )
            for source, targets in pairs.items()
            if trouble(now[source])
            for target in targets
            if target in well
        ]

    def move(self, what: Takeover, *, now: datetime) -> int:
        """Move as many rows as the target can do soon, in chunks; returns how many rows moved. A row that may have a
        session at the source stays: a row with a call in flight or an unknown outcome, one that asks about its session,
        and one that replaces a session that has not ended. An entity that the source has created for the customer also
        binds the row."""
        moved = 0
        with self.database.read() as connection:
            # Usually nothing is due; this check needs no lock.
            if not any(self._due(connection, what, priority, 1, now=now) for priority in PRIORITIES):
                return 0
        for _ in range(CHUNKS):
            chunk = self._chunk(what, now=now)
            moved += chunk
            if chunk < CHUNK:
                break
        return moved

    def count(self, what: Takeover, batch_id: int, *, now: datetime) -> int:
        """How many rows of a batch, or rows that the batch's rows have joined, may move to the target at some time."""
        query = sa.select(sa.func.count()).where(*self._of_batch(what, batch_id), Job.priority.in_(PRIORITIES))
        return int(self.database.value(query, {**what.values, "now": now}))

    def first_due(self, what: Takeover, batch_id: int, *, now: datetime) -> datetime | None:
        """When the first of the rows that `count` counts is due; None: there is none."""
        first = sa.select(Job.due_at).where(*self._of_batch(what, batch_id)).order_by(Job.due_at).limit(1)
        given = {**what.values, "now": now}
        with self.database.read() as connection:
            each = [connection.execute(first.where(Job.priority == one), given).scalar() for one in PRIORITIES]
        return min(filter(None, each), default=None)

    def _of_batch(self, what: Takeover, batch_id: int) -> list[sa.ColumnElement[bool] | sa.TextClause]:
        follows = sa.exists().where(_Follower.leader_id == Job.id, _Follower.batch_id == batch_id)
        may_go = _may_go(self.database.is_sqlite, len(what.others))
        return [*may_go, *_UNBOUND, sa.or_(Job.batch_id == batch_id, follows)]

    def _chunk(self, what: Takeover, *, now: datetime) -> int:
        def work(connection: sa.Connection, chunk: Chunk) -> int:
            # The lock keeps a second timer from using the same room again, and keeps the account's state as it was
            # read. A dispatcher that records results waits for this lock; this transaction skips the rows it holds.
            source = budgets.read(connection, what.source_budget, lock=True)
            target = budgets.read(connection, what.rule.name)
            why = trouble(source)
            if not why or not may_take_over(target, what.rule):
                return 0
            most = min(room(target, what.rule, due=self._due_at_target(connection, what, now=now), now=now), CHUNK)
            rows: list[sa.Row[Any]] = []
            for priority in PRIORITIES:
                if len(rows) < most:
                    rows += self._due(connection, what, priority, most - len(rows), now=now, lock=True)
            rows = chunk.of(rows)
            if rows and len(rows) < most and keeps_one(source, now=now):
                rows.pop()
            # Checked again under the locks: a call that began and ended between the query and the lock is not in the
            # query's result.
            ids = {"ids": [row.id for row in rows], "now": now}
            free = set(connection.execute(_STILL_UNBOUND, ids).scalars()) if rows else set()
            moves = [
                {
                    "job_id": row.id,
                    "new_fallback_accounts": fallback_accounts_after(what.source, row.fallback_accounts),
                    "new_route": route_after_takeover(row.route, what.source, why),
                }
                for row in rows
                if row.id in free and taker(what.source, row.fallback_accounts, what.well) == what.target
            ]
            if moves:
                by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
                connection.execute(by_id.values(_moved(what, why, now=now)), moves)
            return len(moves)

        set_aside = partial(hold_jobs, states=(JobState.WAITING,), now=now)
        return row_by_row(self.database, f"takeover by {what.target}", work, set_aside)

    def _due(
        self, connection: sa.Connection, what: Takeover, priority: int, most: int, *, now: datetime, lock: bool = False
    ) -> list[Any]:
        """The next rows of the source that may move to the target, in the order in which they are due."""
        query = _next_rows(self.database.is_sqlite, len(what.others), lock)
        soon = now + SOON
        return fetch(connection, query, {**what.values, "priority": priority, "soon": soon, "now": now, "most": most})

    def _due_at_target(self, connection: sa.Connection, what: Takeover, *, now: datetime) -> int:
        """How many rows the target's budget must do soon; counted only as far as it makes a difference."""
        most = room(budgets.read(connection, what.rule.name), what.rule, due=0, now=now)
        soon = sa.select(sa.literal(1)).where(
            Job.account.in_(what.sharing),
            Job.priority.in_(PRIORITIES),
            Job.state == bulk.fixed(JobState.WAITING),
            Job.leader_id.is_(None),
            Job.due_at <= now + SOON,
        )
        return connection.execute(sa.select(sa.func.count()).select_from(soon.limit(most).subquery())).scalar_one()
