"""How a batch goes out, where not at once: a pilot first, from a time on, at a pace. A row for each such batch."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.budgets.batch_pace import planned_at
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.job_ids import of_batch
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import Batch, BatchPlan, Job, PendingDetails
from onboarding_worker.core.foundation.notation import counted, written
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import JobState

FIRST_ROW = 2  # of a list with a header
CHUNK = 2000
_DUE = bulk.Change(Job.id, bulk.new("due_at"), by="job_id")


@dataclass(frozen=True)
class Plan:
    """What a person asked for. `first`: the pilot's rows, as 100 or 2%; `condition`: when the rest goes out."""

    first: str = ""
    condition: str = ""
    start_at: datetime | None = None
    per_hour: int | None = None
    deadline: datetime | None = None
    most_credits: int | None = None

    @property
    def in_words(self) -> str:
        """For people and the audit log."""
        rest = f"if {self.condition}" if self.condition else "when a person resumes"
        parts = (
            self.first and f"the first {self.first}, the rest {rest}",
            self.start_at and f"not before {written(self.start_at)}",
            None if self.per_hour is None else f"at most {self.per_hour:,} first invitations an hour",
            None if self.most_credits is None else f"at most {counted(self.most_credits, 'credit')}",
            self.deadline and f"by {written(self.deadline)}, the rows first whose hours end first",
        )
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class Planned:
    """A batch's plan, and how far it is."""

    plan: Plan
    batch_id: int
    last_row: int | None
    released_at: datetime | None
    sent_at: datetime | None
    verdict: str
    verdict_at: datetime | None
    numbers: str
    # When the pace lets another session be asked for, and another first message leave; None: it has let none yet.
    issue_next_at: datetime | None
    send_next_at: datetime | None

    @property
    def holds_back(self) -> bool:
        """Whether the rows behind the pilot wait for the verdict, or for a person after it."""
        return bool(self.plan.first) and self.verdict in ("", "not_met")


class PlanRefused(Exception):
    """No batch is made with this plan, or it was made with another one; the text says why."""


def add(connection: sa.Connection, batch_id: int, plan: Plan) -> None:
    values = vars(plan) | {"batch_id": batch_id, "verdict": "", "numbers": ""}
    connection.execute(sa.insert(BatchPlan).values(values))


def find(connection: sa.Connection, batch_id: int, *, lock: bool = False) -> Planned | None:
    query = sa.select(BatchPlan.__table__).where(BatchPlan.batch_id == batch_id)
    row = connection.execute(query.with_for_update() if lock else query).first()
    return None if row is None else planned(row)


def planned(row: Any) -> Planned:
    return made_of(Planned, row, plan=made_of(Plan, row))


def refuse_another(connection: sa.Connection, batch_id: int, plan: Plan) -> None:
    """Raises PlanRefused unless the batch was made with this plan."""
    found = find(connection, batch_id)
    if found is None or found.plan != plan:
        without = "without --first, --start-at, --per-hour, --most-credits and --deadline"
        made = found.plan.in_words if found is not None else without
        raise PlanRefused(
            f"batch {batch_id} of this list was made {made}; run it without these options, or with --again;"
            f" `onboard resume {batch_id}` with --most-credits N changes how much it may cost"
        )


def refuse_over(plan: Plan, *, now: datetime) -> None:
    """Raises PlanRefused if nothing could be sent by the plan's deadline."""
    if plan.deadline is not None and plan.deadline <= now:
        raise PlanRefused(f"--deadline {written(plan.deadline)} is over: give a later time, or none")


def bring_forward(database: Database, batch_id: int, start_at: datetime, *, now: datetime) -> datetime:
    """Let the batch start at this time, before the one that was planned; returns when it starts. Its rows keep their
    pace. If this is cut off, the same call again moves the rest. Raises PlanRefused."""
    with database.write() as connection:
        found = find(connection, batch_id, lock=True)
        plan = found.plan if found is not None else Plan()
        if plan.start_at is None:
            raise PlanRefused(f"batch {batch_id} was imported without --start-at")
        if plan.deadline is not None:
            has = f"batch {batch_id} has a --deadline, and each of its rows a time of its own"
            raise PlanRefused(f"{has}: cancel it, and run its list --again")
        if start_at > max(plan.start_at, now):
            instead = f"give an earlier time; `onboard pause {batch_id}` holds it for longer"
            raise PlanRefused(f"batch {batch_id} starts at {written(plan.start_at)}: {instead}")
        begins_at = min(plan.start_at, start_at)
        if begins_at < plan.start_at:
            connection.execute(sa.update(BatchPlan).where(BatchPlan.batch_id == batch_id).values(start_at=begins_at))
            note(connection, f"batch {batch_id}", now=now, reason=f"starts at {written(begins_at)}")
        theirs = (of_batch(batch_id, id_=PendingDetails.job_id), PendingDetails.due_at > begins_at)
        connection.execute(sa.update(PendingDetails).where(*theirs).values(due_at=begins_at))
    _bring(database, batch_id, Reason.PLANNED, begins_at, plan.per_hour)
    return begins_at


def set_most_credits(database: Database, batch_id: int, most: int, *, now: datetime) -> None:
    """Let the batch cost at most so many credits in all. Its rows that waited for more are due now; if this is cut
    off, the same call again makes the rest due."""
    with database.write() as connection:
        # The batch first: a process that has read that it has no plan waits here.
        connection.execute(sa.update(Batch).where(Batch.id == batch_id).values(planned=True))
        if find(connection, batch_id, lock=True) is None:
            add(connection, batch_id, Plan())
        connection.execute(sa.update(BatchPlan).where(BatchPlan.batch_id == batch_id).values(most_credits=most))
        note(connection, f"batch {batch_id}", now=now, reason=f"at most {counted(most, 'credit')}")
    _bring(database, batch_id, Reason.CREDITS_SPENT, now)


def _bring(database: Database, batch_id: int, reason: Reason, begins_at: datetime, per_hour: int | None = None) -> None:
    """Let the batch's rows that wait for this reason be due from this time on, at this pace; None: all of them then."""
    waiting = (Job.state == JobState.WAITING, Job.reason == reason, Job.due_at > begins_at)

    def chunk(after: int) -> int | None:
        """The last row of the chunk; None: there is none."""
        query = sa.select(Job.id, Job.row, Job.due_at).where(of_batch(batch_id, after=after), *waiting)
        with database.write() as connection:
            rows = fetch(connection, query.order_by(Job.id).limit(CHUNK).with_for_update())
            earlier: list[bulk.Row] = []
            for row in rows:
                at = planned_at(per_hour, begins_at, row.row - FIRST_ROW) if per_hour is not None else begins_at
                if at < row.due_at:
                    earlier.append({"job_id": row.id, "new_due_at": at})
            _DUE.run(connection, earlier)
        return rows[-1].row if rows else None

    after = 0
    while last := outlive_deadlocks(partial(chunk, after)):
        after = last


def begin(connection: sa.Connection, batch_id: int, *, now: datetime) -> None:
    """The import is complete: the sweep chooses the pilot's rows, if there is a pilot."""
    pilot = sa.update(BatchPlan).where(BatchPlan.batch_id == batch_id, BatchPlan.first != "")
    connection.execute(pilot.where(BatchPlan.verdict == "").values(check_at=now))


def goes_at(plan: Plan, row: int, *, since: datetime) -> datetime:
    """When a row that was imported then goes by the plan: not before the start, and as far apart as the pace."""
    begins_at = max(plan.start_at or since, since)
    if plan.per_hour is None or plan.deadline is not None:  # the plan for the deadline has counted with the pace
        return begins_at
    return planned_at(plan.per_hour, begins_at, row - FIRST_ROW)


def spread(plan: Plan, jobs: bulk.Columns, *, now: datetime) -> None:
    """Set the times of new rows as planned."""
    for place, row in enumerate(jobs["row"]):
        if jobs["state"][place] is not JobState.WAITING or jobs["leader_id"][place] is not None:
            continue
        at = goes_at(plan, row, since=now)
        if at > jobs["due_at"][place]:
            jobs["due_at"][place], jobs["reason"][place] = at, Reason.PLANNED
