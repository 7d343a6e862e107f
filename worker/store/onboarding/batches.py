"""Batches: one for each list. The list's lines become jobs and skipped lines."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.domain.model.known_customers import Known
from worker.domain.model.pauses import PauseCause
from worker.foundation.keyring import Keyring
from worker.store.audit.entries import note
from worker.store.base import bulk, tally
from worker.store.base.columns import Columns, picked, rows_of
from worker.store.base.database import Database, fetch, outlive_deadlocks
from worker.store.base.keys_of_customers import kept, writable
from worker.store.base.loading import load_missing
from worker.store.base.priorities import HELD_BACK, PAUSED
from worker.store.onboarding import plans
from worker.store.onboarding.admission import following, left_out, lock_customers
from worker.store.onboarding.leadership import take_all
from worker.store.onboarding.new_rows import (
    CANCELLED,
    AcceptedLine,
    RefusedLine,
    erased_line,
    new_jobs,
    refusal_row,
)
from worker.store.onboarding.plans import Plan, Planned
from worker.store.onboarding.refreshed import refresh
from worker.store.onboarding.sealed_lines import Lines, SealedLines, customers_of, numbers_of, seal, without
from worker.store.onboarding.tombstones import bring_back, erased_among
from worker.store.outbox.outbox import PUBLISHED_STATES, add_row_events
from worker.store.tables import Batch, CustomerRow, Job, SkippedLine

# Other imports of the same customers may be first in the unique index a few times, but not for ever.
TRIES = 5
STDIN = "stdin"  # the name of a batch whose list came over standard input


@dataclass(frozen=True)
class BatchFacts:
    """The current values of a batch. `imported_at` None: the import was cut off or is still running."""

    id: int
    name: str
    created_at: datetime
    imported_at: datetime | None
    paused_at: datetime | None
    cancelled_at: datetime | None
    purged_at: datetime | None = None  # when the purge of its rows began; its totals stay
    pause_cause: str = ""  # a PauseCause, also while its rows are still being paused; empty: not paused
    pause_reason: str = ""  # who paused it and when, or why it paused itself
    planned: bool = False  # it has a plan (`store.onboarding.plans`)

    @property
    def is_paused(self) -> bool:
        return bool(self.pause_cause)

    @property
    def paused_itself(self) -> bool:
        return self.pause_cause == PauseCause.ITSELF

    @property
    def is_stopped(self) -> bool:
        """Whether a person ended the `run` of this batch with Ctrl-C."""
        return self.pause_cause == PauseCause.INTERRUPT


class ErasedMeanwhile(Exception):
    """A customer was erased while a line of this customer was being added. The next try refuses the line."""


class Batches:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    @property
    def are_elsewhere(self) -> bool:
        """Whether another process does the database's work."""
        return not self._database.is_sqlite

    def find(self, which: str) -> BatchFacts | None:
        """The batch with this id, or the newest batch for `latest`."""
        query = sa.select(*BATCH_FACTS).order_by(Batch.id.desc()).limit(1)
        if which != "latest":
            if not which.isdecimal() or len(which) > 18:
                return None
            query = query.where(Batch.id == int(which))
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return BatchFacts(**row._asdict()) if row else None

    def of_content(self, digest: str) -> BatchFacts | None:
        """The newest batch of the list with this digest, if it has one."""
        query = sa.select(*BATCH_FACTS).where(Batch.digest == digest).order_by(Batch.generation.desc()).limit(1)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return BatchFacts(**row._asdict()) if row else None

    def all(self) -> list[BatchFacts]:
        """All batches, the newest first."""
        with self._database.read() as connection:
            rows = fetch(connection, sa.select(*BATCH_FACTS).order_by(Batch.id.desc()))
        return [BatchFacts(**row._asdict()) for row in rows]

    def open(
        self, *, name: str, digest: str, again: bool, now: datetime, plan: Plan | None = None, hold: str = ""
    ) -> tuple[BatchFacts, bool]:
        """The batch of the list with this digest, and whether the batch is new. `again` always makes a new batch.

        `plan`: how the batch goes out; None: at once, or as planned when it was made. `hold`: why a new batch is paused
        until a person resumes it; empty: it is not. Raises plans.PlanRefused if the batch was made with another plan,
        and where a new one would have a deadline that is over.
        """
        for _ in range(TRIES):
            try:
                opening = partial(self._open, name=name, digest=digest, again=again, now=now, plan=plan, hold=hold)
                return outlive_deadlocks(opening)
            except sa.exc.IntegrityError:
                continue  # another import of the same list was first: the next try returns its batch
        raise RuntimeError("the batch could not be created: other imports of the same list were first each time")

    def _open(
        self, *, name: str, digest: str, again: bool, now: datetime, plan: Plan | None, hold: str
    ) -> tuple[BatchFacts, bool]:
        with self._database.write() as connection:
            query = sa.select(*BATCH_FACTS, Batch.generation).where(Batch.digest == digest)
            rows = fetch(connection, query.order_by(Batch.generation.desc()).limit(1))
            if rows and not again:
                if plan is not None:
                    plans.refuse_another(connection, rows[0].id, plan)
                facts = {name: value for name, value in rows[0]._asdict().items() if name != "generation"}
                return BatchFacts(**facts), False
            if plan is not None:
                plans.refuse_over(plan, now=now)
            values = {
                "name": name[:255],
                "digest": digest,
                "generation": rows[0].generation + 1 if rows else 1,
                "created_at": now,
                "planned": plan is not None,
            }
            if hold:
                values |= {"pause_cause": PauseCause.PERSON.value, "pause_reason": hold[:400], "paused_at": now}
            made = connection.execute(sa.insert(Batch).values(values).returning(*BATCH_FACTS)).one()
            batch_id = made.id
            if plan is not None:
                plans.add(connection, batch_id, plan)
            reason = "its import began" if plan is None else f"its import began: {plan.in_words}"
            note(connection, f"batch {batch_id}", now=now, reason=reason)
        return BatchFacts(**made._asdict()), True

    def plan(self, batch: BatchFacts) -> Planned | None:
        """How the batch goes out; None: at once, all of it."""
        if not batch.planned:
            return None
        with self._database.read() as connection:
            return plans.find(connection, batch.id)

    def erased(self, customer_ids: Sequence[str]) -> set[str]:
        """Those of these customers who were erased on request."""
        with self._database.read() as connection:
            return set(erased_among(connection, self._keyring, set(customer_ids)))

    def last_row(self, batch_id: int) -> int:
        """The last imported row. Lines are imported in order, so an interrupted import continues after this row."""
        with self._database.read() as connection:
            last = [
                connection.execute(sa.select(sa.func.max(table.row)).where(table.batch_id == batch_id)).scalar()
                for table in (Job, SkippedLine)
            ]
        return max(last[0] or 0, last[1] or 0)

    def imported(self, batch_id: int, *, now: datetime) -> None:
        """Record that the last line is imported."""
        with self._database.write() as connection:
            connection.execute(sa.update(Batch).where(Batch.id == batch_id).values(imported_at=now))
            plans.begin(connection, batch_id, now=now)
            rows = sa.select(sa.func.count()).select_from(Job).where(Job.batch_id == batch_id)
            count = connection.execute(rows).scalar_one()
            note(connection, f"batch {batch_id}", now=now, count=count, reason="imported")

    def sealer(self, batch_id: int) -> Callable[[Sequence[AcceptedLine]], Lines]:
        """What seals lines of this batch before they are added. It uses no connection, so a child process may call it.

        With `customer_keys` lines stay as they are: the keys are found within the transaction that adds them.
        """
        keyring = self._keyring
        return lambda lines: lines if keyring.customer_keys else seal(keyring, batch_id, lines)

    def add(
        self,
        batch_id: int,
        accepted: Lines,
        refused: Sequence[RefusedLine],
        *,
        priority: int,
        now: datetime,
        allow_erased: bool = False,
        traced: Mapping[int, str] | None = None,
        rule: Known = Known.REFRESH,
    ) -> list[RefusedLine]:
        """Add the next lines of a list, all or none. Lines that are imported already are skipped; those that `sealer`
        has not sealed are sealed here.

        Lines of customers who were erased on request are refused, and returned; with `allow_erased` they bring these
        customers back. `traced`: the `traceparent` of the lines that are traced, by row.

        `rule`: what becomes of customers who are known. By default, if a customer has an open job of another list, the
        new job joins that job: it has no call and no message of its own. If that list was stopped with Ctrl-C, the new
        job leads instead. If the customer has finished for this purpose, the job is completed at once. If a call for
        the customer has an unknown outcome, the job is held.
        """
        for attempt in range(TRIES):
            try:
                return outlive_deadlocks(
                    partial(
                        self._add,
                        batch_id,
                        accepted,
                        refused,
                        priority=priority,
                        now=now,
                        allow_erased=allow_erased,
                        traced=traced,
                        rule=rule,
                    )
                )
            except (sa.exc.IntegrityError, ErasedMeanwhile):
                # Another transaction has added a job of the same customer meanwhile: the next try joins that job.
                if attempt == TRIES - 1:
                    raise
        return []

    def _add(
        self,
        batch_id: int,
        accepted: Lines,
        refused: Sequence[RefusedLine],
        *,
        priority: int,
        now: datetime,
        allow_erased: bool,
        traced: Mapping[int, str] | None,
        rule: Known,
    ) -> list[RefusedLine]:
        with self._database.write() as connection:
            # The lock blocks `pause` and `cancel`: they change all rows that they see, and this import must see their
            # change of the batch. It also blocks another import of the same list, which may have been faster.
            batch = sa.select(Batch.pause_cause != "", Batch.cancelled_at, Batch.planned).where(Batch.id == batch_id)
            paused, cancelled_at, planned = connection.execute(batch.with_for_update(key_share=True)).one()
            plan = plans.find(connection, batch_id) if planned else None
            numbers = [*numbers_of(accepted), *(line.row for line in refused)]
            imported = _imported_rows(connection, batch_id, numbers)
            accepted = without(accepted, imported)
            refused = [line for line in refused if line.row not in imported]
            erased = self._erased_lines(connection, accepted, allow_erased=allow_erased, now=now)
            accepted = without(accepted, {line.row for line in erased})
            refused = [*refused, *erased]
            if plan is not None and plan.holds_back:
                priority += HELD_BACK
            elif paused:
                priority += PAUSED
            if accepted:
                customer_ids = set(customers_of(accepted))
                keyring = writable(connection, self._keyring, customer_ids, now=now)
                lines = accepted if isinstance(accepted, SealedLines) else seal(keyring, batch_id, accepted)
                known = load_missing(
                    connection, CustomerRow, _new_customers(lines.customers, now=now), key="customer_id"
                )
                if rule is Known.SKIP:  # their details stay, unless they are invited after all
                    lock_customers(connection, known)
                else:
                    refresh(connection, keyring, _of(lines.customers, known), now=now)
                # Now their rows are locked: an erasure is over, and seen, or waits for this transaction.
                if erased_among(connection, self._keyring, customer_ids) or not kept(connection, keyring):
                    raise ErasedMeanwhile
                # A customer who was added just now cannot have been served: only for the others is this asked.
                keys = {key for key in lines.keys if key[0] in known} if known else set()
                followed = following(connection, keys, now=now, rule=rule) if keys else {}
                left = left_out(connection, keys - followed.keys(), rule=rule)
                if left:
                    numbered = list(zip(lines.jobs["row"], lines.keys, strict=True))
                    out = [RefusedLine(row, key[0], known=left[key]) for row, key in numbered if key in left]
                    refused = [*refused, *out]
                    lines = lines.at([place for place, (_, key) in enumerate(numbered) if key not in left])
                if rule is Known.SKIP:
                    leading = {customer_id for customer_id, _ in keys - followed.keys() - left.keys()}
                    refresh(connection, keyring, _of(lines.customers, leading), now=now)
                jobs = new_jobs(
                    lines.jobs,
                    followed,
                    priority=priority,
                    now=now,
                    quiet_until=lines.quiet_until,
                    planned_at=lines.planned_at,
                )
                if plan is not None:
                    plans.spread(plan, jobs, now=now)
                if cancelled_at is not None:
                    jobs |= {name: [value] * len(lines) for name, value in CANCELLED.items()}
                if traced:
                    jobs["traceparent"] = [traced.get(row) for row in jobs["row"]]
                counts = tally.pays(len(lines))
                jobs["counted"] = [counts] * len(lines)
                bulk.add_columns(connection, Job, jobs)
                if counts:
                    tally.count_new_jobs(connection, jobs)
                stopped = [
                    row for row, state in zip(jobs["row"], jobs["state"], strict=True) if state in PUBLISHED_STATES
                ]
                add_row_events(connection, batch_id, stopped, now=now)
                joined = [row for row, leader in zip(jobs["row"], jobs["joins"], strict=True) if leader is not None]
                if joined and not paused:
                    take_all(connection, batch_id, after=min(joined) - 1, now=now)
            bulk.add(connection, SkippedLine, [refusal_row(batch_id, line) for line in refused])
            return erased

    def _erased_lines(
        self, connection: sa.Connection, accepted: Lines, *, allow_erased: bool, now: datetime
    ) -> list[RefusedLine]:
        """The lines of customers who were erased on request, refused. `allow_erased`: bring these customers back."""
        erased = erased_among(connection, self._keyring, set(customers_of(accepted)))
        if erased and allow_erased:
            bring_back(connection, self._keyring, erased)
            for customer_id in sorted(erased):
                note(connection, f"customer {customer_id}", now=now, reason="brought back after an erasure")
            return []
        lines = zip(numbers_of(accepted), customers_of(accepted), strict=True)
        return [erased_line(row, one) for row, one in lines if one in erased] if erased else []


BATCH_FACTS = (
    Batch.id,
    Batch.name,
    Batch.created_at,
    Batch.imported_at,
    Batch.paused_at,
    Batch.cancelled_at,
    Batch.purged_at,
    Batch.pause_cause,
    Batch.pause_reason,
    Batch.planned,
)


def _new_customers(customers: Columns, *, now: datetime) -> Columns:
    """The customers' rows, in the order that is the same everywhere: two imports of the same customers cannot deadlock.

    Of a customer's lines the last one counts. The details of a list count as true at the time of its import.
    """
    last = {customer_id: place for place, customer_id in enumerate(customers["customer_id"])}
    times = [now] * len(last)
    rows = picked(customers, [last[customer_id] for customer_id in sorted(last)])
    return {**rows, "details_at": times, "created_at": times, "changed_at": times}


def _of(customers: Columns, ids: Collection[str]) -> list[dict[str, Any]]:
    """The rows of those customers who have these ids."""
    return rows_of(picked(customers, [place for place, one in enumerate(customers["customer_id"]) if one in ids]))


def _imported_rows(connection: sa.Connection, batch_id: int, rows: Sequence[int]) -> set[int]:
    """Those of these rows of the list that are imported already."""
    if not rows:
        return set()
    return {
        row
        for table in (Job, SkippedLine)
        for row in connection.execute(
            sa.select(table.row).where(table.batch_id == batch_id, table.row.between(min(rows), max(rows)))
        ).scalars()
    }
