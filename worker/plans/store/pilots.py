"""The pilot of a list: its rows are released first, and the rest when the verdict is taken or a person resumes.

Until then the rest is held back by its priority, which no claim asks for. So whatever dies, and however many workers
there are, no customer of the rest gets a session before the verdict; what follows for a customer of the pilot (another
call, a new link, a reminder) is not counted, since it is of the same row.

The sweep does all of it, in steps that can be cut off anywhere and are made again: choose the last row, release the
pilot, look at the numbers every few seconds, take the verdict once, release the rest.
"""

import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.job_ids import of_batch
from onboarding_worker.core.database.outages import is_outage, outlive_deadlocks
from onboarding_worker.core.database.tables import Batch, BatchPlan, InvitationRow, Job
from onboarding_worker.core.database.tables.work import LEAD, STATE
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import (
    ENDED_JOBS,
    HELD_BACK,
    PAUSED,
    PRIORITIES,
    REACHED_JOBS,
    UNISSUED_JOBS,
    InvitationState,
    JobState,
    PauseCause,
)
from onboarding_worker.core.rows.pending_details import let_go
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.plans.pilot import PilotNumbers, Verdict, in_words, judge, parse_condition, pilot_size
from onboarding_worker.plans.store import plans
from onboarding_worker.plans.store.leadership import take_all
from onboarding_worker.plans.store.plans import Planned

log = logging.getLogger(__name__)

CHUNK = 2000
LOOK_EVERY = timedelta(seconds=5)
RETRY_AFTER = timedelta(minutes=1)  # after a release of rows that broke off
ACT = Act("schedule", "pilot")
MET, NOT_MET, PERSON = "met", "not_met", "person"
_HELD_BACK = [priority + HELD_BACK for priority in PRIORITIES]
_WAITS = (Job.state == JobState.WAITING, Job.priority.in_(_HELD_BACK))
_OVER = [*ENDED_JOBS, JobState.HELD]


class Pilots:
    def __init__(self, database: Database) -> None:
        self._database = database

    def step(self, *, now: datetime) -> dict[int, Verdict]:
        """Go on with each pilot that is due; returns the verdicts that were taken, by batch. A pilot that raises by
        itself, such as by a condition that this release cannot read, does not pass, so that a person decides about its
        rest; the others go on. Raises the database's outages."""
        due = sa.select(BatchPlan.batch_id).where(BatchPlan.check_at <= now).order_by(BatchPlan.batch_id)
        found = {row.batch_id: self._alone(row.batch_id, now=now) for row in self._database.rows(due)}
        return {batch_id: verdict for batch_id, verdict in found.items() if verdict is not None}

    def go_on(self, batch_id: int, *, now: datetime) -> int:
        """A person has resumed the batch: after a verdict, the rest goes out. Returns how many rows that are."""
        refused = (BatchPlan.batch_id == batch_id, BatchPlan.verdict == NOT_MET)
        with self._database.write() as connection:
            go = sa.update(BatchPlan).where(*refused).values(verdict=PERSON, check_at=now)
            if connection.execute(go.returning(BatchPlan.batch_id)).first() is None:
                return 0
        return self._release_rest(batch_id)

    def numbers(self, planned: Planned) -> PilotNumbers:
        """The pilot's customers now."""
        with self._database.read() as connection:
            return _numbers(connection, planned)

    def verdict_by(self, batch_id: int, *, now: datetime) -> datetime | None:
        """When the verdict on a batch's pilot is taken at the latest, if it is waited for now; None: it is not, as in a
        batch that is paused."""
        with self._database.read() as connection:
            planned = plans.find(connection, batch_id)
            paused = connection.execute(sa.select(Batch.pause_cause).where(Batch.id == batch_id)).scalar()
            due = sa.select(BatchPlan.check_at).where(BatchPlan.batch_id == batch_id, BatchPlan.last_row.is_(None))
            looks_at = connection.execute(due).scalar()
        if planned is None or paused or (looks_at is not None and looks_at > now + LOOK_EVERY):
            return None
        return latest_verdict(planned, now=now)

    def _alone(self, batch_id: int, *, now: datetime) -> Verdict | None:
        try:
            return self._step(batch_id, now=now)
        except Exception as error:
            if isinstance(error, sa.exc.SQLAlchemyError) and is_outage(error):
                raise
            kind = type(error).__name__  # its text may have a value
            log.error("batch %d: its pilot fails with %s", batch_id, kind, extra={"batch": batch_id})
        with self._database.write() as connection:
            # The plan is not read: it may be what is broken.
            connection.execute(_of(batch_id).values(check_at=now + RETRY_AFTER))
            paused, cancelled_at = _locked(connection, batch_id)
            if cancelled_at is not None:
                connection.execute(_of(batch_id).values(check_at=None))
                return None
            if paused:  # as in `_judge`: a person who resumes it does not know this verdict
                return None
            not_met = {"verdict": NOT_MET, "verdict_at": now, "check_at": None}
            no_verdict = _of(batch_id).where(BatchPlan.verdict == "").values(not_met)
            if connection.execute(no_verdict.returning(BatchPlan.batch_id)).first() is None:
                return None
            verdict = Verdict(False, f"the pilot cannot be judged ({kind})")
            _pause(connection, batch_id, verdict, now=now)
        return verdict

    def _step(self, batch_id: int, *, now: datetime) -> Verdict | None:
        with self._database.read() as connection:
            planned = plans.find(connection, batch_id)
        if planned is None:
            return None
        if planned.verdict in (MET, PERSON):
            self._release_rest(batch_id)
            return None
        if planned.last_row is None:
            planned = self.choose(batch_id, now=now)
            if planned is None or planned.last_row is None:
                return None
        if planned.released_at is None:
            self._release(batch_id, Job.row <= planned.last_row, Job.leader_id.is_(None))
            self._set(batch_id, released_at=now)
        verdict = self._judge(batch_id, now=now)
        if verdict is not None and verdict.met:
            self._release_rest(batch_id)
        return verdict

    def choose(self, batch_id: int, *, alone: bool = False, now: datetime) -> Planned | None:
        """Choose the pilot: the first rows that wait for a session. `alone`: also those that wait for rows of other
        lists, which no worker works: they lead from now on. While none of the pilot leads, and rows wait for another
        list, nothing is chosen: they may lead later."""
        with self._database.write() as connection:
            planned = plans.find(connection, batch_id, lock=True)
            if planned is None or not planned.plan.first or planned.last_row is not None:
                return planned
            waiting = (of_batch(batch_id), *_WAITS, STATE.in_(UNISSUED_JOBS))
            leads = Job.leader_id.is_(None)
            which = sa.true() if alone and not _locked(connection, batch_id)[0] else leads
            jobs = sa.join(Job, LEAD, LEAD.id == Job.leader_id, isouter=True)
            count = sa.select(sa.func.count()).select_from(jobs).where(*waiting)
            rows = connection.execute(count.where(which)).scalar_one()
            size = pilot_size(planned.plan.first, rows) if rows else 0
            nth = sa.select(Job.row).select_from(jobs).where(*waiting, which).order_by(Job.id).offset(max(size - 1, 0))
            last_row = connection.execute(nth.limit(1)).scalar() or 0
            if which is not leads:
                take_all(connection, batch_id, pilot=last_row, stopped_only=False, now=now)
            pilot_leads = connection.execute(count.where(leads, Job.row <= last_row)).scalar_one()
            if not pilot_leads and connection.execute(count).scalar_one():
                connection.execute(_of(batch_id).values(check_at=now + RETRY_AFTER))
                return None
            connection.execute(_of(batch_id).values(last_row=last_row, check_at=now))
            reason = f"the pilot has {size:,} of {rows:,} rows, up to row {last_row}"
            note(connection, f"batch {batch_id}", now=now, count=size, reason=reason, act=ACT)
            return plans.find(connection, batch_id)

    def _judge(self, batch_id: int, *, now: datetime) -> Verdict | None:
        """Look at the numbers, and take the verdict if it is time: once, since the plan is locked."""
        with self._database.write() as connection:
            planned = plans.find(connection, batch_id, lock=True)
            paused, cancelled_at = _locked(connection, batch_id)
            if planned is None or planned.verdict:
                return None
            if cancelled_at is not None:
                connection.execute(_of(batch_id).values(check_at=None))
                return None
            pilot = _numbers(connection, planned)
            if planned.last_row and not pilot.size:  # its customers are served for other lists by now: choose others
                connection.execute(_of(batch_id).values(last_row=None, released_at=None, check_at=now))
                return None
            sent_at = planned.sent_at or (None if pilot.unsent else now)
            changed: dict[str, Any] = {"sent_at": sent_at, "check_at": now + LOOK_EVERY}
            verdict = None
            # A batch that a person paused gets its verdict when it goes on: its customers could not finish meanwhile.
            if not paused and not pilot.size:
                verdict = Verdict(True, "no row waits for a session, so nothing is held back")
            elif not paused:
                condition = parse_condition(planned.plan.condition) if planned.plan.condition else None
                verdict = judge(condition, pilot, sent_at=sent_at, now=now)
            if verdict is not None:
                numbers = f"of {pilot.size:,}: {in_words(pilot)}"[:400] if pilot.size else verdict.why
                words = MET if verdict.met else NOT_MET
                check_at = now if verdict.met else None
                changed |= {"verdict": words, "verdict_at": now, "numbers": numbers, "check_at": check_at}
                if verdict.met:
                    note(connection, f"batch {batch_id}", now=now, count=pilot.size, reason=verdict.why, act=ACT)
                else:
                    _pause(connection, batch_id, verdict, now=now, size=pilot.size)
            connection.execute(_of(batch_id).values(changed))
        return verdict

    def held_back(self, batch_id: int) -> int:
        """How many rows behind the pilot wait for its verdict, or for a person after it."""
        with self._database.read() as connection:
            plan = plans.find(connection, batch_id)
            if plan is None or not plan.holds_back:
                return 0
            return connection.execute(sa.select(sa.func.count()).where(of_batch(batch_id), *_WAITS)).scalar_one()

    def _release_rest(self, batch_id: int) -> int:
        rows = self._release(batch_id)
        self._set(batch_id, check_at=None)
        return rows

    def _release(self, batch_id: int, *which: sa.ColumnElement[bool]) -> int:
        """Give rows that are held back their priority, in chunks; returns how many. In a paused batch they pause."""
        after, released = 0, 0
        while chunk := outlive_deadlocks(partial(self._release_chunk, batch_id, after, which)):
            after = chunk[0]
            released += chunk[1]
        return released

    def _release_chunk(
        self, batch_id: int, after: int, which: tuple[sa.ColumnElement[bool], ...]
    ) -> tuple[int, int] | None:
        held_back = (of_batch(batch_id, after=after), Job.priority.in_(_HELD_BACK), *which)
        chunk = sa.select(Job.id, Job.row).where(*held_back).order_by(Job.id).limit(CHUNK)
        with self._database.write() as connection:
            rows = fetch(connection, chunk.with_for_update())
            if not rows:
                return None
            # The batch stays locked until the chunk is changed: a pause sees every change, or is seen here.
            paused = sa.select(Batch.pause_cause != "").where(Batch.id == batch_id).with_for_update(read=True)
            is_paused, ids = connection.execute(paused).scalar_one(), [row.id for row in rows]
            change = sa.update(Job).where(Job.id.in_(ids))
            connection.execute(change.values(priority=Job.priority + (PAUSED if is_paused else 0) - HELD_BACK))
            if not is_paused:
                let_go(connection, ids)
        return rows[-1].row, len(rows)

    def _set(self, batch_id: int, **values: datetime | None) -> None:
        self._database.change(_of(batch_id).values(values))


def _pause(connection: sa.Connection, batch_id: int, verdict: Verdict, *, now: datetime, size: int = 0) -> None:
    """Mark the batch as paused by its pilot, until a person resumes it."""
    note(connection, f"batch {batch_id}", now=now, count=size, reason=verdict.why, act=ACT)
    pause = sa.update(Batch).where(Batch.id == batch_id)
    connection.execute(pause.values(pause_cause=PauseCause.ITSELF.value, pause_reason=verdict.why[:400]))


def latest_verdict(planned: Planned, *, now: datetime) -> datetime | None:
    """When the verdict is taken at the latest; before the pilot has left, when it is looked at next. None: no verdict
    is waited for."""
    if not planned.plan.first or planned.verdict:
        return None
    if planned.sent_at is None or not planned.plan.condition:
        return now + LOOK_EVERY
    return planned.sent_at + parse_condition(planned.plan.condition).within


def _locked(connection: sa.Connection, batch_id: int) -> sa.Row[str, datetime | None]:
    """Lock the batch, after its plan; returns the cause of its pause, and when it was cancelled."""
    batch = sa.select(Batch.pause_cause, Batch.cancelled_at).where(Batch.id == batch_id)
    return connection.execute(batch.with_for_update(key_share=True)).one()


def _of(batch_id: int) -> sa.Update:
    return sa.update(BatchPlan).where(BatchPlan.batch_id == batch_id)


def _numbers(connection: sa.Connection, planned: Planned) -> PilotNumbers:
    # Customers who had finished before are no customers of the pilot; those of other lists' rows neither.
    pilot = (
        of_batch(planned.batch_id),
        Job.row <= (planned.last_row or 0),
        Job.leader_id.is_(None),
        Job.reason != Reason.ALREADY_FINISHED,
        Job.priority < HELD_BACK,
    )
    numbers: dict[str, int] = {}
    size = unsent = over = 0
    jobs = sa.select(Job.state, Job.channel, Job.result, sa.func.count().label("rows")).where(*pilot)
    for row in fetch(connection, jobs.group_by(Job.state, Job.channel, Job.result)):
        size += row.rows
        over += row.rows if row.state in _OVER else 0
        waits = row.state in UNISSUED_JOBS
        unsent += row.rows if waits or (row.state is JobState.ISSUED and row.channel is not Channel.NONE) else 0
        for name, is_one in (
            # The link of a customer without a channel is only issued.
            ("sent", row.channel is Channel.NONE and row.state in (JobState.ISSUED, *REACHED_JOBS)),
            ("finished", row.state is JobState.COMPLETED),
            ("held", row.state is JobState.HELD),
            ("failed", row.state is JobState.FAILED),
            (row.result, row.state is JobState.COMPLETED),
        ):
            numbers[name] = numbers.get(name, 0) + (row.rows if is_one else 0)
    # A message that left stays so, whatever becomes of its row.
    messages = {
        "sent": InvitationRow.sent_at.is_not(None),
        "delivered": InvitationRow.state == InvitationState.DELIVERED,
        "bounced": InvitationRow.state == InvitationState.BOUNCED,
    }
    for name, counts in messages.items():
        had = sa.select(sa.func.count(Job.id.distinct())).join(InvitationRow, InvitationRow.job_id == Job.id)
        had = had.where(*pilot, InvitationRow.kind == FIRST, counts)
        numbers[name] = numbers.get(name, 0) + connection.execute(had).scalar_one()
    return PilotNumbers(size, unsent, size - over, numbers)
