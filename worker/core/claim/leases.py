"""What a dispatcher holds until a time: leases, the right to work a row, and permits, the right to have a call in
flight. What a killed worker held is free once its time has run out.

Jobs and invitations have leases. Each claim raises the row's fence. Before a dispatcher writes under a lease, it checks
that the row still has the fence of its claim: a dispatcher that stood still for longer than its lease must not
overwrite the results of the next one.

Permits say how many calls each dispatcher may have in flight, so that all together never exceed the account's
concurrency. `share` decides; the permits of each budget are rows, one for each dispatcher, written under the lock on
the budget's row. When more dispatchers share the account, a dispatcher opens no call until it is down to its new share.
Its calls in flight stay counted as its own until they end. No dispatcher holds many more permits than it uses: a
dispatcher that waits for one slow call must not delay the customers of the other dispatchers. Mostly nothing changes. A
check then costs one short query a few times a second, and no lock.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import THERE_IS, Database, fetch
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.fast.unanswered import UNANSWERED
from onboarding_worker.core.database.tables import Attempt, Batch, InvitationRow, Job, Permit
from onboarding_worker.core.database.tables.types import DETAIL_LENGTH
from onboarding_worker.core.model.endings import Later, NotNow
from onboarding_worker.core.model.states import BATCH, EVENT, NOT_SENT, PRIORITIES, InvitationState, JobState
from onboarding_worker.core.rules.budgets import BudgetRule

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
        free: sa.ColumnElement[bool],
        conditions: Sequence[sa.ColumnElement[bool]] = (),
        changes: Sequence[str] = (),
        attempts: Sequence[sa.ColumnElement[bool]],
        ended: Callable[..., Sequence[sa.ColumnElement[bool]]] = lambda *_: (),
    ) -> None:
        """`of` is the column that claims select rows by: the account or the channel. `free` is true of a row whose call
        costs no credit. `conditions` hold for all claims.

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
        which = {
            (free_only, one_batch): [*([free] if free_only else []), *([of_batch] if one_batch else [])]
            for free_only in (False, True)
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
            key: sa.select(sa.exists().where(*batch_due, *those, *([] if key[0] else [~free])))
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
            model.id, bulk.new("state", "due_at", "reason", "detail") | {"lease_until": None} | changed, by="row_id"
        )
        self._release = sa.update(model).where(chosen, model.state == states.WORKING).values(released | changed)
        # Attempts whose commit was not acknowledged because the database became unreachable: no call was made.
        self._unmade = (
            sa.update(Attempt)
            .where(*attempts, Attempt.closed_at.is_(None))
            .values(closed_at=sa.bindparam("now"), outcome=NOT_SENT)
        )

    def is_due(self, connection: sa.Connection, of: str, *, free: bool, only_batch: int | None, now: datetime) -> bool:
        """True if a row of this account or channel is due whose call costs no credit, or one whose call costs one.

        `only_batch` as for `claim`.
        """
        given: dict[str, Any] = {"of_": of, "now": now}
        if only_batch is not None:
            given["batch"] = only_batch
        one_batch = only_batch is not None
        asked = [self._is_due[free, one_batch]]
        if free and self._ended_is_due:
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
        free_only: bool = False,
    ) -> list[Any]:
        """Lease up to `most` due rows, the oldest first. Rows that another transaction has locked are skipped.

        `only_batch`: only rows of this batch; None: of all batches. Behind the rows of batches come those that have
        ended: they share the account's permits and budget.
        """
        given: dict[str, Any] = {"of_": of, "most": most, "owner": owner, "now": now, "until": now + lease}
        if only_batch is not None:
            given["batch"] = only_batch
        which, due = (free_only, only_batch is not None), given | {"priority_": priority}
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
            move["new_detail"] = why.detail[:DETAIL_LENGTH]
            if isinstance(why, Later):
                move |= {"new_state": self.states.WAITING, "new_due_at": why.due_at}
            else:
                move |= {"new_state": why.state, "new_due_at": why.at}
            moves.append(move)
        self._keep_back.run(connection, moves)

    def release_opened(
        self, connection: sa.Connection, leases: Sequence[tuple[Id, int, datetime]], *, now: datetime
    ) -> set[Id]:
        """Release rows for which no call was made, and close their attempts. Returns the ids of those that were under
        these leases.

        The end of the lease is compared as well as the fence. If the commit of a claim was not acknowledged, the claim
        may be lost: another dispatcher may then have claimed the row with the same fence, and may be calling now.
        """
        rows = fetch(connection, self._worked, {"ids": bulk.keys([each[0] for each in leases])})
        held = {(row.id, row.fence, row.lease_until) for row in rows}
        ours = {lease[0] for lease in leases if lease in held}
        if ours:
            given = {"ids": bulk.keys(sorted(ours)), "now": now}
            connection.execute(self._release, given)
            connection.execute(self._unmade, given)
        return ours


# The most rows claimed at once: more would wait in the worker until their leases end, if the calls become slow.
MOST_PER_PERMIT = 60
ASK_AGAIN = timedelta(milliseconds=200)  # how soon a dispatcher reads the permits of the other dispatchers again
# How old a dispatcher's permits may become before it renews them. A call for a row claimed then ends this long before
# that row's lease ends (`FLUSH_MARGIN`), so no other dispatcher gets its permit while the call is in flight.
RENEW_AFTER = timedelta(seconds=5)
# A dispatcher begins with a fourth of all permits, at least this many, and doubles them when it nearly uses them all.
BEGINS_WITH = 8
# With more dispatchers than permits, each dispatcher has a turn: all accounts that share a budget must go on.
TURN = timedelta(seconds=5)
_DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)


class Share(NamedTuple):
    """`use` bounds the calls in flight before another call is opened; `keep` permits count as the owner's.

    `alone`: no other dispatcher holds permits.
    """

    use: int
    keep: int
    alone: bool = False


def share(cap: int, held: Iterable[Any], owner: str, *, busy: int, now: datetime) -> Share:
    """The share of `cap` permits for `owner`, which has `busy` calls in flight.

    `held`: the permits of each dispatcher, with its `owner`; they end at `until` unless it renews them.
    """
    live = {item.owner: item.permits for item in held if item.until > now}
    mine = live.pop(owner, 0)
    free = cap - sum(live.values())
    owners = sorted([*live, owner])
    each, rest = divmod(cap, len(owners))
    turn = (now - _DAY_ONE) // TURN if each == 0 else 0
    fair = each + ((owners.index(owner) + turn) % len(owners) < rest)
    wanted = least = min(max(-(-cap // 4), BEGINS_WITH), cap)
    if mine >= least:
        wanted = 2 * mine if 4 * busy >= 3 * mine else max(mine // 2, least) if 4 * busy < mine else mine
    use = max(min(fair, wanted, free), 0)
    return Share(use, max(use, min(busy, mine)), alone=not live)


_REMOVE_OLD = sa.delete(Permit).where(
    Permit.budget == sa.bindparam("budget_"),
    sa.or_(Permit.owner == sa.bindparam("owner_"), Permit.until <= sa.bindparam("now")),
)
_ADD = sa.insert(Permit)
_HELD = sa.select(Permit.owner, Permit.permits, Permit.until).where(Permit.budget == sa.bindparam("budget_"))


class Permits:
    """The permits of this process's dispatchers, remembered between two reads of the table."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[Share, datetime]] = {}

    def is_new(self, rule: BudgetRule, owner: str) -> bool:
        """Whether the dispatcher has no permits yet, so that `hold` writes some."""
        return not rule.each_process and (rule.name, owner) not in self._known

    def hold(
        self, connection: sa.Connection, rule: BudgetRule, owner: str, *, lease: timedelta, busy: int, now: datetime
    ) -> Share | None:
        """The share of `owner`, which has `busy` calls in flight now. Renews or changes its permits.

        None if each process has its own permits.
        """
        if rule.each_process:
            return None
        known = self._known.get((rule.name, owner))
        if known is not None and known[1] <= now < known[1] + ASK_AGAIN:
            return known[0]
        while True:
            held = fetch(connection, _HELD, {"budget_": rule.name})
            granted = share(rule.concurrency, held, owner, busy=busy, now=now)
            mine = next((item for item in held if item.owner == owner), None)
            is_kept = mine is not None and mine.permits == granted.keep and mine.until - now > lease - RENEW_AFTER
            if is_kept or budgets.is_locked(connection, rule.name):
                break
            budgets.read(connection, rule.name, lock=True)  # and once more under the lock
        if not is_kept:
            given = {"budget_": rule.name, "owner_": owner, "now": now}
            connection.execute(_REMOVE_OLD, given, execution_options=UNANSWERED)
            row = {"budget": rule.name, "owner": owner, "permits": granted.keep, "until": now + lease}
            connection.execute(_ADD, row, execution_options=UNANSWERED)
            # Outdated until the commit: a repeat after a rollback must read the table, and so must another flush.
            self._known[rule.name, owner] = (granted, now - ASK_AGAIN)
            committed = {(rule.name, owner): (granted, now)}
            tally.of(connection).committed.append(lambda: self._known.update(committed))
        else:
            self._known[rule.name, owner] = (granted, now)
        return granted

    def release(self, connection: sa.Connection, rule: BudgetRule, owner: str) -> None:
        """Release all permits of a dispatcher that has ended."""
        if self._known.pop((rule.name, owner), None) is not None:
            connection.execute(sa.delete(Permit).where(Permit.budget == rule.name, Permit.owner == owner))


def clear(database: Database) -> None:
    """Remove all permits. Only for when no other process can be working."""
    database.change(sa.delete(Permit))


def in_use(database: Database, *, now: datetime) -> Mapping[str, int]:
    """The number of permits in use now, by budget."""
    query = sa.select(Permit.budget, sa.func.sum(Permit.permits).label("permits")).where(Permit.until > now)
    return {row.budget: row.permits for row in database.rows(query.group_by(Permit.budget))}
