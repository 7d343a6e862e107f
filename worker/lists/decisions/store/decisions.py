"""What a person decides about a batch: pause, resume or cancel it; retry failed rows; settle held rows.

A pause moves the batch's rows out of the priorities that workers claim, and a resume back: a paused batch of a million
rows costs other batches nothing so. Other decisions change each row. Both do so in chunks: no transaction is long, and
no statement has more parameters than a database allows. If a command is interrupted, the same command again finishes
the rest.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.job_ids import job_id, of_batch
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import Batch, InvitationRow, Job, PendingDetails
from onboarding_worker.core.database.tables.work import LEAD
from onboarding_worker.core.foundation.notation import written
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import (
    OPEN_INVITATIONS,
    OPEN_JOBS,
    PAUSED,
    PRIORITIES,
    InvitationState,
    JobState,
    PauseCause,
)
from onboarding_worker.core.rows import pending_details as pending
from onboarding_worker.core.rows.cancellation import cancel_open
from onboarding_worker.core.rows.message_rows import HELD_FIRST
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.lists.decisions.store.settlement import (
    Decided,
    Which,
    abandon,
    chosen,
    repeat,
    retry,
    rows_in,
    stay_held,
)
from onboarding_worker.lists.store.batches import CUT_OFF_AFTER, IS_CHANGING, IS_MARKED
from onboarding_worker.plans.store.leadership import take_leads
from onboarding_worker.plans.store.pilots import Pilots

CHUNK = 2000
Table = type[Job] | type[InvitationRow]
Rows = sa.Select[*tuple[Any, ...]]  # of one of these tables, with their ids
Changed = Callable[[int], None]  # gets the number of rows that each transaction has changed
_IS_PAUSED = Batch.pause_cause != ""
# All open rows, since reminders wait too. Failed ones too: one that is retried in a paused batch waits for the resume.
_OPEN_OR_FAILED = Job.state.in_([*OPEN_JOBS, JobState.FAILED])
_UNSENT = InvitationRow.state.in_((*OPEN_INVITATIONS, InvitationState.FAILED))
Settle = Callable[[sa.Connection, list[int]], Decided]  # settles the rows with these ids, in one transaction
ROWS_IN_REASON = 64  # characters: an entry has room for the verdict and a person's reason too
# Open jobs without a call in flight.
FREE = [state for state in OPEN_JOBS if state is not JobState.WORKING]
_NOT_PAUSED: dict[str, Any] = {"paused_at": None, "pause_cause": "", "pause_reason": ""}


class Verdict(StrEnum):
    REPEAT = "repeat"  # make the call again: it may be paid for, or arrive, a second time
    ABANDON = "abandon"  # give it up


class RepeatCost(NamedTuple):
    """The worst cost of repeating held rows: sessions by account, messages by channel. `stay`: held rows, by reason."""

    sessions: Mapping[str, int]
    messages: Mapping[str, int]
    stay: Mapping[Reason, int] = MappingProxyType({})


class Decisions:
    def __init__(
        self, database: Database, progress: Changed = lambda _rows: None, *, most_messages: int | None = None
    ) -> None:
        """`progress` gets how many rows and messages a decision has changed so far, after each transaction.
        `most_messages`: to each customer; None: no cap is known."""
        self._database, self._progress, self._most_messages = database, progress, most_messages
        self._pilots = Pilots(database)

    def with_progress(self, progress: Changed) -> "Decisions":
        return Decisions(self._database, progress, most_messages=self._most_messages)

    def _adding(self) -> Changed:
        done = 0

        def add(number: int) -> None:
            nonlocal done
            done += number
            self._progress(done)

        return add

    def pause(self, batch_id: int, *, by: str, why: str = "", now: datetime) -> Decided:
        """Claim nothing more of the batch; the rows that are opened are still called. A cancelled batch is not changed.
        `by` is the person who pauses it, `why` that person's reason, which all viewers see."""
        paused = self._pause(batch_id, PauseCause.PERSON, by=by, why=why, now=now)
        return paused + Decided(self._pilots.held_back(batch_id))

    def interrupt(self, batch_id: int, *, by: str, now: datetime) -> Decided:
        """Pause the batch because a person ended its `run`. A batch that is paused already stays as it is. Rows of
        other batches with the same customers lead from now on."""
        decided = self._pause(batch_id, PauseCause.INTERRUPT, by=by, now=now)
        joined = sa.select(Job.batch_id).join(LEAD, LEAD.id == Job.leader_id).join(Batch, Batch.id == Job.batch_id)
        joined = joined.where(LEAD.batch_id == batch_id, LEAD.state.in_(FREE), Batch.pause_cause == "")
        for other in self._database.rows(joined.distinct().order_by(Job.batch_id)):
            self.take_leads(other.batch_id, stopped_only=True, now=now)
        return decided

    def lift(self, batch_id: int, *, now: datetime) -> Decided:
        """Continue a batch that a person ended with Ctrl-C, or whose resume was cut off. Any other pause stays."""
        stopped = sa.or_(
            Batch.pause_cause == PauseCause.INTERRUPT.value, sa.and_(IS_CHANGING, Batch.cancelled_at.is_(None))
        )
        if self._mark(batch_id, stopped, noted=(now, "resumed"), **_NOT_PAUSED, changing_since=now) is None:
            return Decided(0)
        return self._go_on(batch_id, began=now, now=now)

    def resume(self, batch_id: int, *, now: datetime) -> Decided:
        """Continue a paused batch. Messages that come back are counted from zero again. After the verdict on a list's
        pilot, the rest of the list goes out too. Of a batch that is not paused, only what an interrupted resume left is
        done."""
        is_due = sa.and_(sa.or_(Batch.pause_cause != "", IS_CHANGING), Batch.cancelled_at.is_(None))
        values = _NOT_PAUSED | {"resumed_at": now, "changing_since": now}
        self._mark(batch_id, is_due, noted=(now, "resumed"), **values)
        rest = self._pilots.go_on(batch_id, now=now)
        return self._go_on(batch_id, began=now, now=now) + Decided(rest + self._pilots.held_back(batch_id))

    def finish_pauses(self, *, now: datetime) -> dict[int, str]:
        """Pause the rows of batches that are marked as paused; returns why, by batch. A batch marks itself
        (`rows.message_rows`), and a command may be killed between the mark and the last row. If this is
        interrupted, the next call finishes it. A batch that is resumed in the meantime continues."""
        marked = sa.select(Batch.id, Batch.pause_reason).where(IS_MARKED, Batch.cancelled_at.is_(None))
        batches = self._database.rows(marked.order_by(Batch.id))
        for batch in batches:
            self._finish_pause(batch.id, now=now)
        return {batch.id: batch.pause_reason for batch in batches}

    def finish_changes(self, *, now: datetime) -> list[int]:
        """Finish resumes and cancels whose command died between two of its transactions; returns their batches."""
        cut_off = sa.select(Batch.id, Batch.cancelled_at, Batch.changing_since).where(
            IS_CHANGING, Batch.changing_since <= now - CUT_OFF_AFTER
        )
        batches = self._database.rows(cut_off.order_by(Batch.id))
        for batch in batches:
            if batch.cancelled_at is not None:
                self._cancel_rows(batch.id, began=batch.changing_since, now=now)
            else:
                self._go_on(batch.id, began=batch.changing_since, now=now)
        return [batch.id for batch in batches]

    def take_leads(self, batch_id: int, *, stopped_only: bool, now: datetime) -> int:
        """Let rows of this batch lead in place of rows that no worker works; returns how many."""
        taken, after = 0, 0

        def chunk() -> tuple[int, int] | None:
            with self._database.write() as connection:
                return take_leads(connection, batch_id, after=after, stopped_only=stopped_only, now=now)

        while found := outlive_deadlocks(chunk):
            after = found[0]
            taken += found[1]
        return taken

    def cancel(self, batch_id: int, *, now: datetime) -> Decided:
        """End every job of the batch that has not ended, and say how many they are. A call in flight is finished, then
        its job ends. Open sessions stay open at their providers until they expire. If another list waits for a customer
        of this batch, the customer is served for that list from now on."""
        values = _NOT_PAUSED | {"cancelled_at": now, "changing_since": now}
        # Counted as the batch is marked: from then on workers end rows of it too, at their claims.
        rows = self._mark(batch_id, Batch.id == batch_id, noted=(now, "cancelled"), **values)
        self._cancel_rows(batch_id, began=now, now=now)
        return Decided(rows or 0)

    def _cancel_rows(self, batch_id: int, *, began: datetime, now: datetime) -> None:
        changed, after = self._adding(), 0
        while chunk := outlive_deadlocks(partial(self._cancel_chunk, batch_id, after, now=now)):
            after = chunk[0]
            changed(chunk[1])
        while outlive_deadlocks(partial(self._drop_details, batch_id, now=now)):
            pass
        # Messages in flight, and jobs whose call is looked up, end at their next claim, and rows of a paused batch
        # are never claimed.
        self._resume_rows(batch_id, changed)
        self._mark_through(batch_id, began)

    def count_reminders(self, batch_id: int) -> int:
        query = sa.select(sa.func.count()).where(
            InvitationRow.batch_id == batch_id,
            InvitationRow.state == bulk.fixed(InvitationState.WAITING),
            InvitationRow.kind != FIRST,
        )
        return int(self._database.value(query))

    def count(self, which: Which, state: JobState) -> int:
        """How many of these rows have failed, or are held."""
        query = sa.select(sa.func.count()).select_from(rows_in(which, state).subquery())
        return int(self._database.value(query))

    def repeat_cost(self, which: Which) -> RepeatCost:
        held = (Job.state == JobState.HELD, Job.leader_id.is_(None))
        calls = chosen(which, sa.select(Job.id, Job.account)).where(*held, ~sa.exists().where(HELD_FIRST))
        messages = chosen(which, sa.select(Job.id, InvitationRow.channel).join(Job, HELD_FIRST)).where(*held)
        with self._database.read() as connection:
            stay = stay_held(connection, which, self._most_messages)
            of_calls, of_messages = fetch(connection, calls), fetch(connection, messages)
        sessions = Counter(row.account for row in of_calls if row.id not in stay)
        second = Counter(row.channel for row in of_messages if row.id not in stay)
        return RepeatCost(sessions, second, Counter(stay.values()))

    def held_elsewhere(self, which: Which) -> dict[int, int]:
        """By batch, how many of these rows are held because they joined a held row of that other batch."""
        query = chosen(which, sa.select(LEAD.batch_id, sa.func.count().label("rows")).select_from(Job))
        query = query.join(LEAD, LEAD.id == Job.leader_id).where(Job.state.in_(OPEN_JOBS), LEAD.state == JobState.HELD)
        rows = self._database.rows(query.group_by(LEAD.batch_id).order_by(LEAD.batch_id))
        return {row.batch_id: row.rows for row in rows}

    def retry(self, which: Which, *, now: datetime) -> Decided:
        """Put failed jobs back to waiting, with zero attempts. A job joins if another job serves its customer, and is
        completed if its customer has finished elsewhere. A job that had joined a failed job is served on its own."""
        return self._each_chunk(which, JobState.FAILED, partial(retry, now=now), "", now=now)

    def resolve(self, which: Which, verdict: Verdict, *, now: datetime) -> Decided:
        settle = partial(abandon, now=now)
        if verdict is Verdict.REPEAT:
            settle = partial(repeat, which=which, most_messages=self._most_messages, now=now)
        return self._each_chunk(which, JobState.HELD, settle, verdict.value, now=now)

    def _each_chunk(self, which: Which, state: JobState, settle: Settle, reason: str, *, now: datetime) -> Decided:
        """Settle the rows, chunk by chunk. An import may create a customer's leading job at the same moment as a retry:
        then the retry looks again and joins."""
        changed, decided, after = self._adding(), Decided(0), 0

        def chunk() -> tuple[int, Decided] | None:
            query = rows_in(which, state).where(Job.id > job_id(which.batch_id, after)).order_by(Job.id).limit(CHUNK)
            with self._database.write() as connection:
                rows = fetch(connection, query)
                if not rows:
                    return None
                settled = settle(connection, [row.id for row in rows])
                _note(connection, which, settled.rows, reason, now)
                return rows[-1].row, settled

        while found := outlive_deadlocks(chunk, sa.exc.IntegrityError):
            after = found[0]
            decided += found[1]
            changed(found[1].rows)
        return decided

    def _pause(self, batch_id: int, cause: PauseCause, *, by: str, why: str = "", now: datetime) -> Decided:
        anew = cause is PauseCause.PERSON  # also where it is paused already
        did = "paused" if anew else "stopped with Ctrl-C"
        reason = f"{did} by {by}, {written(now)}{f': {why}' if why else ''}"  # for people
        done = f"{did}; {why}".removesuffix("; ")
        marks = sa.and_(Batch.cancelled_at.is_(None), sa.true() if anew else Batch.pause_cause == "")
        values = {"pause_cause": cause.value, "pause_reason": reason[:400]}
        if self._mark(batch_id, marks, noted=(now, done), **values) is None:
            return Decided(0)
        return Decided(self._finish_pause(batch_id, now=now))

    def _finish_pause(self, batch_id: int, *, now: datetime) -> int:
        """Move the rows of a batch that is marked as paused away, while it stays paused; returns how many of the jobs
        this holds back."""
        jobs = _of_jobs(batch_id).where(Job.priority.in_(PRIORITIES), _OPEN_OR_FAILED)
        messages = _of_messages(batch_id).where(InvitationRow.priority.in_(PRIORITIES), _UNSENT)
        still = sa.select(Batch.id).where(Batch.id == batch_id, _IS_PAUSED)
        move = partial(_move, self._database, still=still, by=+PAUSED, changed=self._adding())
        # Messages first, because they do the harm; again at the end, for messages that jobs added in the meantime.
        move(InvitationRow, messages)
        moved = move(Job, jobs)
        move(InvitationRow, messages)
        self._mark(batch_id, IS_MARKED, paused_at=now)
        return moved

    def _resume_rows(self, batch_id: int, changed: Changed) -> int:
        """Move the rows back while the batch is not paused; returns how many of the jobs the pause held back."""
        # All that a pause moved, whatever became of it since: a person may have a row that lapsed, or a message that
        # was returned, go on. A pause meanwhile has its own move, which takes no row back.
        paused = [priority + PAUSED for priority in PRIORITIES]
        still = sa.select(Batch.id).where(Batch.id == batch_id, ~_IS_PAUSED)
        move = partial(_move, self._database, still=still, by=-PAUSED, changed=changed)
        moved = move(Job, _of_jobs(batch_id).where(Job.priority.in_(paused)))
        move(InvitationRow, _of_messages(batch_id).where(InvitationRow.priority.in_(paused)))
        return moved

    def _go_on(self, batch_id: int, *, began: datetime, now: datetime) -> Decided:
        rows = self._resume_rows(batch_id, self._adding())
        self.take_leads(batch_id, stopped_only=True, now=now)
        self._mark_through(batch_id, began)
        jobs = sa.select(Job.account).where(of_batch(batch_id), Job.state == JobState.WAITING).distinct()
        messages = sa.select(InvitationRow.channel).where(
            InvitationRow.batch_id == batch_id, InvitationRow.state == InvitationState.WAITING
        )
        with self._database.read() as connection:
            accounts = frozenset(connection.execute(jobs).scalars())
            channels = frozenset(connection.execute(messages.distinct()).scalars())
        return Decided(rows, accounts, channels)

    def _mark_through(self, batch_id: int, began: datetime) -> None:
        """The resume or cancel that began then is through; one that began since keeps its mark, for the sweep."""
        self._mark(batch_id, Batch.changing_since == began, changing_since=None)

    def _mark(
        self,
        batch_id: int,
        condition: sa.ColumnElement[bool],
        *,
        noted: tuple[datetime, str] | None = None,
        **values: datetime | str | None,
    ) -> int | None:
        """Change the batch if the condition holds. Returns how many rows have not ended, if that is noted; None: the
        condition did not hold. `noted`: when and what, for the audit log, with the number of rows that have not ended.
        This is the decision; that the rows follow it, in transactions of their own, has no entries."""
        mark = sa.update(Batch).where(Batch.id == batch_id, condition).values(**values).returning(Batch.id)
        left = sa.select(sa.func.count()).select_from(Job).where(of_batch(batch_id), Job.state.in_(OPEN_JOBS))
        with self._database.write() as connection:
            # Counted first: the batch must not be locked for the time that this takes.
            rows = connection.execute(left).scalar_one() if noted is not None else 0
            held = connection.execute(mark).first() is not None
            if held and noted is not None:
                note(connection, f"batch {batch_id}", now=noted[0], count=rows, reason=noted[1])
            return rows if held else None

    def _cancel_chunk(self, batch_id: int, after: int, *, now: datetime) -> tuple[int, int] | None:
        """Cancel the next chunk. Returns the last row number and how many were cancelled; None: no rows are left."""
        query = sa.select(Job.id, Job.row).where(of_batch(batch_id, after=after), Job.state.in_(OPEN_JOBS))
        with self._database.write() as connection:
            chunk = fetch(connection, query.order_by(Job.id).limit(CHUNK))
            if not chunk:
                return None
            return chunk[-1].row, cancel_open(connection, [row.id for row in chunk], now=now)

    def _drop_details(self, batch_id: int, *, now: datetime) -> int:
        """Drop the next details of rows that had ended, and wait for the release that will not come."""
        waiting = sa.select(PendingDetails.job_id).where(of_batch(batch_id, id_=PendingDetails.job_id))
        with self._database.write() as connection:
            ids = list(connection.execute(waiting.order_by(PendingDetails.job_id).limit(CHUNK)).scalars())
            pending.drop(connection, ids, now=now)
        return len(ids)


def _note(connection: sa.Connection, which: Which, count: int, reason: str, now: datetime) -> None:
    if not count:
        return
    account = f" of {which.account}" if which.account is not None else ""
    rows = ""
    if which.rows is not None:
        # The reason has the list of several rows: `finding` looks the subject up as it is.
        rows = " rows" if which.rows.single is None else f" {which.rows.name}"
        reason = reason if which.rows.single is not None else f"{which.rows.short(most=ROWS_IN_REASON)}; {reason}"
    subject = f"batch {which.batch_id}{rows}{account}"
    note(connection, subject, now=now, count=count, reason=reason.removesuffix("; "))


def _of_jobs(batch_id: int) -> Rows:
    return sa.select(Job.id, Job.state, Job.channel).where(of_batch(batch_id))


def _of_messages(batch_id: int) -> Rows:
    return sa.select(InvitationRow.id).where(InvitationRow.batch_id == batch_id)


def _move(database: Database, table: Table, rows: Rows, *, still: sa.Select[int], by: int, changed: Changed) -> int:
    """Change these rows' priorities; returns how many jobs a pause holds back. Stops once `still` finds none."""
    chunk = rows.order_by(table.id).limit(CHUNK)
    counted, rest = 0, chunk
    while moved := outlive_deadlocks(partial(_move_chunk, database, table, rest, by, still)):
        counted += sum(map(_is_held_back, moved)) if table is Job else 0
        changed(len(moved))
        # From the last key, not from the start: skipping changed rows again for each chunk costs quadratic time.
        rest = chunk.where(table.id > moved[-1].id)
    return counted


def _is_held_back(job: sa.Row[Any]) -> bool:
    """Whether a pause holds the first invitation of an open job back, or its session if it wants no message."""
    out = job.state is JobState.INVITED or (job.state is JobState.ISSUED and job.channel is Channel.NONE)
    return not out and job.state in OPEN_JOBS


def _move_chunk(database: Database, table: Table, rows: Rows, by: int, still: sa.Select[int]) -> list[sa.Row[Any]]:
    with database.write() as connection:
        chunk = fetch(connection, rows.with_for_update())
        # The batch stays locked until the chunk is changed: a resume then sees every change. It is locked after the
        # rows, in the order in which results are written.
        if not chunk or not fetch(connection, still.with_for_update(read=True)):
            return []
        ids = [row.id for row in chunk]
        connection.execute(sa.update(table).values(priority=table.priority + by).where(table.id.in_(ids)))
        if by < 0 and table is Job:
            pending.let_go(connection, ids)
    return chunk
