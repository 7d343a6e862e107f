"""What people are alerted of: which conditions are so now, and which of them people know already.

One transaction decides and writes the message into the outbox, so that several processes and a restart tell nothing
twice, and a kill loses nothing.
"""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.domain.events.alerts import EVENT, WITHOUT_END, AlertKind, Condition, Remembered, as_data, decide, only
from worker.domain.limits.budgets import BudgetRule, BudgetState, lasting_outage_of
from worker.domain.limits.obstacles import obstacle_of
from worker.domain.model.audit import Point
from worker.domain.model.operation import BEAT_IS_MISSING_AFTER, TAKES_EVENTS, WORK
from worker.domain.model.states import InvitationState, JobState, PauseCause
from worker.foundation.ids import new_id
from worker.foundation.keyring import Keyring
from worker.store.audit.sealing import HEAD, Furthest, head_of
from worker.store.base import tally
from worker.store.base.database import Database, fetch
from worker.store.limits.budgets import all_states
from worker.store.operators import gauges
from worker.store.operators.counting import COUNTED, ROWS
from worker.store.operators.needs_a_person import other_accounts, other_channels, refused_by_queue, to_check
from worker.store.operators.processes import BEAT, GONE_AFTER, claim_timer, is_younger
from worker.store.operators.waiting import waiting_now
from worker.store.tables import AlertRow, Batch, Budget, Outbox, ProcessRow, Timer

LOOK_EVERY = timedelta(seconds=10)
LOOKED, TOLD = "alert", "alerted"  # timers
# Work that a worker would have begun long ago.
LATE = timedelta(seconds=30)
# The row that says since when alerts are on: batches from before are not reported as done.
ON = "on"


class Alerts:
    """Safe for threads and for several processes."""

    def __init__(
        self,
        database: Database,
        keyring: Keyring,
        *,
        accounts: Mapping[str, BudgetRule],
        channels: Mapping[str, BudgetRule],
        targets: Collection[str] = (),
        wanted: Mapping[str, Collection[str]],
        every: timedelta,
        event_queues: Collection[str] = (),
        furthest: Furthest | None = None,
    ) -> None:
        """`accounts` and `channels`: the rule by name. `targets`: those of outgoing events. `wanted`: the kinds
        by target of alerts. `every`: the shortest time between two messages. `event_queues`: those that senders publish
        events to. `furthest`: the end of the audit log as this process has seen it."""
        self._database, self._keyring = database, keyring
        self._accounts, self._channels = accounts, channels
        self._targets, self._wanted, self._every = targets, wanted, every
        self._event_queues, self._furthest = event_queues, furthest or Furthest()

    def look(self, *, now: datetime) -> bool:
        """Look what is so, and write a message for people if something has begun or is over. Whether one was written.

        Does nothing if a process has looked within `LOOK_EVERY`: of several processes one looks.
        """
        if is_younger(self._database, LOOKED, than=LOOK_EVERY, now=now):
            return False
        sealed_to = self._furthest.end
        with self._database.write() as connection:
            # The timer's row stays locked until the commit: another process waits here, and then finds that it is done.
            if not claim_timer(connection, LOOKED, older_than=LOOK_EVERY, now=now):
                return False
            known, is_on_since = self._known(connection, now=now)
            # What has no end stays known once it was sent, so that it is never new again.
            told = {one.condition.key for one in known if one.condition.kind in WITHOUT_END and one.fired_at}
            keys = {one.condition.key for one in known}
            current = self._conditions(connection, told, keys, since=is_on_since, now=now)
            current += self._of_the_audit_log(connection, sealed_to)
            last_told = connection.execute(sa.select(Timer.at).where(Timer.name == TOLD)).scalar()
            may_tell = last_told is None or last_told <= now - self._every
            open_ = [one for one in known if one.condition.key not in told]
            decided = decide(current, open_, may_tell=may_tell, now=now)
            if decided.seen:
                connection.execute(sa.insert(AlertRow), [_row(one, now) for one in decided.seen])
            if decided.fired:
                fired = sa.update(AlertRow).where(AlertRow.key.in_([one.key for one in decided.fired]))
                connection.execute(fired.values(fired_at=now))
                ended = [one.key for one in decided.fired if one.kind in WITHOUT_END]
                connection.execute(sa.update(AlertRow).where(AlertRow.key.in_(ended)).values(ended_at=now))
            if gone := [one.key for one in (*decided.over, *decided.forgotten)]:
                connection.execute(sa.delete(AlertRow).where(AlertRow.key.in_(gone)))
            if not decided.tells:
                return False
            claim_timer(connection, TOLD, older_than=timedelta(0), now=now)
            self._write(connection, as_data(decided.fired, decided.over, now=now), now=now)
            return True

    def firing(self) -> list[Remembered]:
        """What people were alerted of and is not over, the oldest first."""
        query = sa.select(AlertRow.__table__).where(AlertRow.fired_at.is_not(None), AlertRow.ended_at.is_(None))
        with self._database.read() as connection:
            return [_known(row) for row in fetch(connection, query.order_by(AlertRow.seen_at))]

    def _known(self, connection: sa.Connection, *, now: datetime) -> tuple[list[Remembered], datetime]:
        rows = fetch(connection, sa.select(AlertRow.__table__))
        on = next((row.seen_at for row in rows if row.kind == ON), None)
        if on is None:
            connection.execute(
                sa.insert(AlertRow).values(key=ON, kind=ON, name="", seen_at=now, fired_at=None, ended_at=None)
            )
        return [_known(row) for row in rows if row.kind in set(AlertKind)], on or now

    def _conditions(
        self,
        connection: sa.Connection,
        told: Collection[str],
        known: Collection[str],
        *,
        since: datetime,
        now: datetime,
    ) -> list[Condition]:
        found = [Condition(AlertKind.ACCOUNT, name) for name in self._stopped(connection, self._accounts)] + [
            Condition(AlertKind.SENDER, name) for name in self._stopped(connection, self._channels)
        ]
        found += [Condition(AlertKind.FAILING, name) for name in self._failing(connection, known, now=now)]
        absent = {*other_accounts(connection, self._accounts), *other_channels(connection, self._channels)}
        found += [Condition(AlertKind.NOT_CONFIGURED, name) for name in absent]
        paused = sa.select(Batch.id).where(Batch.pause_cause == PauseCause.ITSELF.value, Batch.cancelled_at.is_(None))
        found += [Condition(AlertKind.PAUSED, str(id_)) for id_ in connection.execute(paused).scalars()]
        found += [Condition(AlertKind.HELD, str(row.batch_id), row.rows) for row in fetch(connection, _HELD)]
        # A target's budget keeps how publishing to it goes: the breaker opens where several events failed in a row.
        opened = sa.select(Budget.name).where(Budget.name.in_(list(self._targets)), Budget.opened_at.is_not(None))
        found += [Condition(AlertKind.TARGET, name) for name in connection.execute(opened).scalars()]
        found += [Condition(AlertKind.REFUSED, queue) for queue in refused_by_queue(connection)]
        found += [Condition(AlertKind.WEBHOOKS)] if to_check(connection) else []
        found += self._done(connection, told, since=since)
        running = sa.select(ProcessRow.kind).where(ProcessRow.seen_at > now - GONE_AFTER)
        kinds = set(connection.execute(running).scalars())
        beat = connection.execute(sa.select(Timer.at).where(Timer.name == BEAT)).scalar()
        if "worker" in kinds and (beat is None or now - beat > BEAT_IS_MISSING_AFTER):
            found.append(Condition(AlertKind.BEAT))
        if self._event_queues and not kinds & TAKES_EVENTS:
            found.append(Condition(AlertKind.BUS))
        if not kinds & WORK and self._is_late(connection, now=now):
            found.append(Condition(AlertKind.NOBODY))
        return found

    def _of_the_audit_log(self, connection: sa.Connection, sealed_to: Point) -> list[Condition]:
        rows = fetch(connection, HEAD)
        head = head_of(rows[0], self._keyring) if rows else None
        is_good = head is not None and (head.signed or head.is_new)
        if head is None or not is_good or self._furthest.went_back(head.end, known=sealed_to):
            return [Condition(AlertKind.AUDIT)]
        return []

    def _stopped(self, connection: sa.Connection, rules: Mapping[str, BudgetRule]) -> list[str]:
        stopped = set(connection.execute(sa.select(Budget.name).where(Budget.stopped_at.is_not(None))).scalars())
        return [name for name, rule in rules.items() if rule.name in stopped]

    def _failing(self, connection: sa.Connection, known: Collection[str], *, now: datetime) -> list[str]:
        """The accounts and senders whose calls have failed for minutes, as `onboard status` names them; those that
        people know of, until a call succeeds."""
        opened = {name: state for name, state in all_states(connection).items() if state.opened_at is not None}
        found = []
        for name, rule in {**self._accounts, **self._channels}.items():
            if rule.name not in opened:
                continue
            first_due = gauges.first_due_job if name in self._accounts else gauges.first_due_message
            due = first_due(connection, name, now) is not None
            is_known = Condition(AlertKind.FAILING, name).key in known
            if is_known or lasting_outage_of(opened[rule.name], now=now, due=due):
                found.append(name)
        return found

    def _is_late(self, connection: sa.Connection, *, now: datetime) -> bool:
        """Whether work that could be done has waited for a while: not that of an account or sender that is stopped or
        paused, or whose limit is used up."""
        states = all_states(connection)
        obstacles = (
            obstacle_of(name, rule, states.get(rule.name, BudgetState()), now=now)
            for name, rule in {**self._accounts, **self._channels}.items()
        )
        shut = {one.name for one in obstacles if one is not None and one.is_shut}
        kept = waiting_now(connection).kept_by(shut) | shut
        due = [gauges.first_due_job(connection, name, now) for name in self._accounts.keys() - kept]
        due += [gauges.first_due_message(connection, name, now) for name in self._channels.keys() - kept]
        return any(at is not None and now - at > LATE for at in due)

    def _done(self, connection: sa.Connection, told: Collection[str], *, since: datetime) -> list[Condition]:
        """The lists that came since alerts are on, are imported, and have nothing left to send."""
        lists = sa.select(Batch.id).where(
            Batch.created_at >= since,
            Batch.imported_at.is_not(None),
            Batch.cancelled_at.is_(None),
            Batch.last_row.is_(None),
            Batch.purged_at.is_(None),
        )
        found = {id_: Condition(AlertKind.DONE, str(id_)) for id_ in connection.execute(lists).scalars()}
        found = {id_: one for id_, one in found.items() if one.key not in told}
        if not found:
            return []
        left = sa.select(COUNTED.batch_id).where(COUNTED.batch_id.in_(list(found)), _IS_LEFT)
        unfinished = set(connection.execute(left.group_by(COUNTED.batch_id).having(ROWS > 0)).scalars())
        return [one for id_, one in found.items() if id_ not in unfinished]

    def _write(self, connection: sa.Connection, data: Mapping[str, Any], *, now: datetime) -> None:
        event_id = new_id(now)
        rows = [
            {
                "event_id": event_id,
                "target": target,
                "kind": EVENT,
                "customer_id": "",  # of no customer: the alerts of a target are sent one after the other
                "data": part,
                "occurred_at": now,
                "due_at": now,
                "since": now,
                "attempts": 0,
                "detail": "",
            }
            for target, kinds in self._wanted.items()
            if (part := only(data, kinds)) is not None
        ]
        if rows:
            connection.execute(sa.insert(Outbox), rows)


def _row(one: Condition, now: datetime) -> dict[str, Any]:
    times = {"seen_at": now, "fired_at": None, "ended_at": None}
    return {"key": one.key, "kind": one.kind.value, "name": one.name, **times}


def _known(row: Any) -> Remembered:
    return Remembered(Condition(AlertKind(row.kind), row.name), row.seen_at, row.fired_at)


_HELD = (
    sa.select(COUNTED.batch_id, ROWS.label("rows"))
    .where(COUNTED.kind == tally.Kind.JOB.value, COUNTED.state == JobState.HELD.value)
    .group_by(COUNTED.batch_id)
    .having(ROWS > 0)
    .order_by(COUNTED.batch_id)
)
# A job that waits for its call, or a message that waits for its turn. An issued job's message is one of these.
_IS_LEFT = sa.or_(
    sa.and_(COUNTED.kind == tally.Kind.JOB.value, COUNTED.state.in_([JobState.WAITING.value, JobState.WORKING.value])),
    sa.and_(
        COUNTED.kind == tally.Kind.MESSAGE.value,
        COUNTED.state.in_([InvitationState.WAITING.value, InvitationState.WORKING.value]),
    ),
)
