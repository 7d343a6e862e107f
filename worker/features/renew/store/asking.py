"""Asks customers again whose approvals end: a new job of the same purpose for each, in the batch of the day.

The jobs wait under the limits of their accounts and senders, as all jobs do. At most `per_day` are added in a day,
those of the oldest approvals first: so a pause of months is caught up with in days. Each process looks each minute.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.bulk import rows_of
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import Erased, read_person
from onboarding_worker.core.database.job_ids import AS_THEY_CAME, Key, job_id
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import CustomerRow, Inbox, Job, SessionRow
from onboarding_worker.core.foundation.keyring import CannotDecrypt
from onboarding_worker.core.model.customers import Person, invitation_channels
from onboarding_worker.core.model.incoming import EventKind
from onboarding_worker.core.model.states import BATCH, OPEN_JOBS, PAUSED, JobState
from onboarding_worker.core.rows.suppressions import reachable
from onboarding_worker.core.rules.contact import writable
from onboarding_worker.features.renew.section import Renew
from onboarding_worker.features.renew.store import renewals
from onboarding_worker.lists.decisions.store.emergency_stop import stop_there
from onboarding_worker.lists.importing.intake import made_of_another
from onboarding_worker.lists.lines import AcceptedLine
from onboarding_worker.lists.store.admission import lock_customers
from onboarding_worker.lists.store.batches import next_rows
from onboarding_worker.lists.store.new_rows import as_it_was, erased_among, job_values, new_jobs
from onboarding_worker.reporting.store.look import Looked
from onboarding_worker.wiring.background import Ticks
from onboarding_worker.wiring.container import Parts

log = logging.getLogger(__name__)
CHUNK = 200
LOOK_EVERY = 60.0  # seconds, in each process
RENEWALS = "renewals-"  # how the names of the batches begin
AGAIN = {
    "being_asked": timedelta(days=1),
    "suppressed": timedelta(days=30),
    "no_route": timedelta(days=7),
    "no_key": timedelta(days=7),
}


class Renewing:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._rules = parts.settings.section(Renew)

    def ask(self, *, now: datetime) -> int:
        """Ask a chunk of those who are due; returns how many were looked at."""
        with self._parts.database.read() as connection:
            if stop_there(connection) is not None:
                return 0
            most = min(CHUNK, self._rules.per_day - renewals.asked_today(connection, now=now))
            keys = renewals.due(connection, self._rules, most=most, now=now) if most > 0 else []
        if keys:
            asked = outlive_deadlocks(partial(self._ask, keys, now=now))
            log.info("renewals: %d customers looked at, %d asked again", len(keys), asked)
        return len(keys)

    def _ask(self, keys: Collection[Key], *, now: datetime) -> int:
        with self._parts.database.write() as connection:
            lock_customers(connection, {customer_id for customer_id, _ in keys})
            # As a webhook locks them, which keeps an approval: sessions before approvals.
            of_keys = sa.tuple_(SessionRow.customer_id, SessionRow.purpose).in_(sorted(keys))
            locked = sa.select(SessionRow.id).where(of_keys).order_by(SessionRow.id).with_for_update(key_share=True)
            fetch(connection, locked)
            due = renewals.still_due(connection, self._rules, keys, now=now)
            changes: dict[Key, dict[str, Any]] = {}
            lines: list[AcceptedLine] = []
            facts = _Known(self._parts, connection, due, now)
            for row in due:
                found = facts.line_or_why(row)
                if isinstance(found, AcceptedLine):
                    lines.append(found)
                else:
                    then = {"next_at": now + AGAIN[found]} if found in AGAIN else {"over_at": now}
                    changes[row.customer_id, row.purpose] = {"why": found, **then}
            changes |= self._add(connection, lines, now=now)
            renewals.write(connection, changes)
        return len(lines)

    def _add(self, connection: sa.Connection, lines: list[AcceptedLine], *, now: datetime) -> dict[Key, dict[str, Any]]:
        if not lines:
            return {}
        numbers = next_rows(connection, len(lines), now=now, named=RENEWALS)
        lines = [replace(line, row=row) for row, line in enumerate(lines, numbers.first)]
        values = job_values(self._parts.keyring, numbers.batch_id, lines)
        priority = BATCH + PAUSED if numbers.paused else BATCH
        new = new_jobs(values, {}, priority=priority, now=now)
        bulk.add(connection, Job, rows_of(new))
        keys = {(line.customer.customer_id, line.customer.purpose): line.row for line in lines}
        of_keys = sa.tuple_(SessionRow.customer_id, SessionRow.purpose).in_(sorted(keys))
        connection.execute(sa.update(SessionRow).where(of_keys).values(past=True))
        return {key: {"why": "", "over_at": now, "job_id": job_id(numbers.batch_id, row)} for key, row in keys.items()}


class _Known:
    """What is known of the customers of some renewals, under their locks."""

    def __init__(self, parts: Parts, connection: sa.Connection, due: Collection[Any], now: datetime) -> None:
        self._parts, self._now = parts, now
        ids = sorted({row.customer_id for row in due})
        rows = fetch(connection, sa.select(CustomerRow.__table__).where(CustomerRow.customer_id.in_(ids)))
        self._customers = {row.customer_id: row for row in rows}
        self._erased = erased_among(connection, parts.keyring, ids)
        people: dict[str, Person] = {}
        for row in rows:
            with suppress(CannotDecrypt, Erased):
                people[row.customer_id] = read_person(parts.keyring, row.customer_id, row.encrypted)
        past = sa.select(SessionRow.id).where(SessionRow.id.in_({row.session_id for row in due}), SessionRow.past)
        self._of_another = set(connection.execute(past).scalars())
        self._ways = reachable(connection, parts.keyring, people)
        jobs = sa.select(Job.__table__).where(Job.customer_id.in_(ids), Job.leader_id.is_(None))
        self._jobs: dict[Key, list[Any]] = {}
        for row in fetch(connection, jobs.order_by(*AS_THEY_CAME)):
            self._jobs.setdefault((row.customer_id, row.purpose), []).append(row)
        ends = sa.select(Inbox.customer_id, Inbox.purpose, Inbox.occurred_at).where(
            Inbox.customer_id.in_(ids), Inbox.kind == EventKind.CANCELLED
        )
        ended = fetch(connection, ends.order_by(Inbox.occurred_at))
        self._ends = {(row.customer_id, row.purpose): row.occurred_at for row in ended}

    def line_or_why(self, row: Any) -> AcceptedLine | str:
        """The line of a new job, with a row number to be given; or why there is none."""
        key = row.customer_id, row.purpose
        jobs, customer = self._jobs.get(key, []), self._customers.get(row.customer_id)
        if any(job.state in OPEN_JOBS for job in jobs):
            return "being_asked"
        if row.customer_id in self._erased:
            return "erased"
        if row.session_id in self._of_another:
            return "another_person"
        if self._was_cancelled(row, jobs):
            return "cancelled"
        job = _asked_by(row, jobs)
        if customer is None or job is None:
            return "details_gone"
        try:
            renewed, origin = as_it_was(self._parts.keyring, job, customer)
        except CannotDecrypt:
            return "no_key"
        except Erased:
            return "details_gone"
        channels, ways = invitation_channels(job.channel), self._ways.get(row.customer_id, {})
        if channels and not writable(channels, self._parts.contact.fallbacks, ways):
            return "suppressed" if ways else "details_gone"
        return made_of_another(self._parts.intake, renewed, origin, route=job.route) or "no_route"

    def _was_cancelled(self, row: Any, jobs: Sequence[Any]) -> bool:
        """By an event since the last request, or with its row; the customer may have finished after that."""
        ended = self._ends.get((row.customer_id, row.purpose))
        since = min([row.approved_at, *(job.created_at for job in jobs[-1:])])
        cancelled = [job for job in jobs if job.state is JobState.CANCELLED and job.created_at >= since]
        return bool(cancelled) or (ended is not None and ended >= since)


def _asked_by(row: Any, jobs: Sequence[Any]) -> Any | None:
    """The row in which the customer was approved: a later one was never worked. If it is purged, the last one."""
    return next((job for job in reversed(jobs) if job.session_id == row.session_id), jobs[-1] if jobs else None)


def swept(parts: Parts) -> Callable[[Looked], None]:
    if not parts.settings.section(Renew).on:
        return lambda _looked: None
    renewing, ticks = Renewing(parts), Ticks(LOOK_EVERY)

    def renew(_looked: Looked) -> None:
        if ticks.begin(parts.clock().timestamp()):  # no real seconds: a trial plays days in one
            renewing.ask(now=parts.database_clock())

    return renew
