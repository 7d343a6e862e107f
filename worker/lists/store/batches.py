"""Batches: one for each list, and one for each day's events (UTC). `added_lines` adds the lines of a list."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.bulk import insert
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.job_ids import of_batch
from onboarding_worker.core.database.outages import TRIES, outlive_deadlocks
from onboarding_worker.core.database.tables import Batch, Job, SkippedLine
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.states import PauseCause
from onboarding_worker.plans.store import plans
from onboarding_worker.plans.store.plans import Plan, Planned

DAILY_TRIES = 10
DAILY = "events-"  # how the names of daily batches begin
# Of one transaction. It has some 15 statements, however many lines it adds. On SQLite all other writers wait for it.
LINES_AT_ONCE, LINES_ALONE = 3000, 1000
# A resume or a cancel that is not through after this time was cut off. It may change a million rows.
CUT_OFF_AFTER = timedelta(minutes=5)
# Marked as paused, and not all rows are paused yet.
IS_MARKED = sa.and_(Batch.pause_cause != "", Batch.paused_at.is_(None))
IS_CHANGING = sa.and_(Batch.changing_since.is_not(None), Batch.pause_cause == "")
STDIN = "stdin"  # the name of a batch whose list came over standard input
_NUMBER = (
    sa.update(Batch)
    .where(Batch.digest == sa.bindparam("of_day"), Batch.cancelled_at.is_(None), Batch.purged_at.is_(None))
    .values(last_row=sa.func.coalesce(Batch.last_row, 0) + sa.bindparam("count_", type_=sa.Integer()))
    .returning(Batch.id, Batch.last_row, Batch.pause_cause)
)


class BatchFacts(NamedTuple):
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
    planned: bool = False  # it has a plan (`plans`)
    changing_since: datetime | None = None  # when a resume or a cancel began that is not through
    last_row: int | None = None  # of a day's batch, the last row number that is taken; None: it is a list's

    @property
    def has_list(self) -> bool:
        """Whether a file's name says which list could be run again."""
        return self.last_row is None and self.name != STDIN

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


class Batches:
    def __init__(self, database: Database, keyring: Keyring, *, wide: Collection[str]) -> None:
        """`wide`: the senders of events that reach every customer: see `known_customers.refuses_lists`."""
        self.database = database
        self.keyring = keyring
        self.wide = frozenset(wide)
        self.are_elsewhere = not database.is_sqlite  # another process does the database's work
        # How many lines of a list one transaction adds. After a kill, at most these are added again.
        self.lines_at_once = LINES_AT_ONCE if self.are_elsewhere else LINES_ALONE

    def find(self, which: str) -> BatchFacts | None:
        """The batch with this id, a day's batch by its name, or the newest batch for `latest`. No list has a name of
        its own: the same file comes again next month."""
        query = sa.select(*BATCH_FACTS).order_by(Batch.id.desc()).limit(1)
        if which.isdecimal() and len(which) <= 18:
            query = query.where(Batch.id == int(which))
        elif which != "latest":
            query = query.where(Batch.name == which, Batch.last_row.is_not(None))
        return next(iter(self._found(query)), None)

    def of_content(self, digest: str) -> BatchFacts | None:
        query = sa.select(*BATCH_FACTS).where(Batch.digest == digest).order_by(Batch.generation.desc()).limit(1)
        return next(iter(self._found(query)), None)

    def all(self) -> list[BatchFacts]:
        """All batches, the newest first."""
        return self._found(sa.select(*BATCH_FACTS).order_by(Batch.id.desc()))

    def _found(self, query: sa.Select[*tuple[Any, ...]]) -> list[BatchFacts]:
        return [BatchFacts(**row._asdict()) for row in self.database.rows(query)]

    def open(
        self, *, name: str, digest: str, again: bool, now: datetime, plan: Plan | None = None, hold: str = ""
    ) -> tuple[BatchFacts, bool]:
        """The batch of the list with this digest, and whether the batch is new. `again` always makes a new batch.
        `plan`: how the batch goes out; None: at once, or as planned when it was made. `hold`: why a new batch is paused
        until a person resumes it; empty: it is not. Raises plans.PlanRefused if the batch was made with another plan,
        and where a new one would have a deadline that is over."""
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
        with self.database.write() as connection:
            rows = fetch(connection, _SAME_LIST, {"digest_": digest})
            if rows and not again:
                if plan is not None:
                    plans.refuse_another(connection, rows[0].id, plan)
                return made_of(BatchFacts, rows[0]), False
            if plan is not None:
                plans.refuse_over(plan, now=now)
            values = {"name": name[:255], "digest": digest, "created_at": now, "planned": plan is not None}
            values["generation"] = rows[0].generation + 1 if rows else 1
            if hold:
                values |= {"pause_cause": PauseCause.PERSON.value, "pause_reason": hold[:400], "paused_at": now}
            made = connection.execute(_NEW_BATCH, values).one()
            if plan is not None:
                plans.add(connection, made.id, plan)
            reason = "its import began" if plan is None else f"its import began: {plan.in_words}"
            note(connection, f"batch {made.id}", now=now, reason=reason)
        return BatchFacts(**made._asdict()), True

    def plan(self, batch: BatchFacts) -> Planned | None:
        """How the batch goes out; None: at once, all of it."""
        if not batch.planned:
            return None
        with self.database.read() as connection:
            return plans.find(connection, batch.id)

    def last_row(self, batch_id: int) -> int:
        """The last imported row. Lines are imported in order, so an interrupted import continues after this row."""
        with self.database.read() as connection:
            added = sa.select(Job.row).where(of_batch(batch_id)).order_by(Job.id.desc()).limit(1)
            skipped = sa.select(sa.func.max(SkippedLine.row)).where(SkippedLine.batch_id == batch_id)
            return max(connection.execute(query).scalar() or 0 for query in (added, skipped))


BATCH_FACTS = tuple(getattr(Batch, name) for name in BatchFacts._fields)
_SAME_LIST = sa.select(*BATCH_FACTS, Batch.generation).where(Batch.digest == sa.bindparam("digest_"))
_SAME_LIST = _SAME_LIST.order_by(Batch.generation.desc()).limit(1)
_NEW_BATCH = sa.insert(Batch).returning(*BATCH_FACTS)


class DailyRows(NamedTuple):
    """Reserved row numbers of a batch, beginning with `first`."""

    batch_id: int
    first: int
    paused: bool


def next_rows(connection: sa.Connection, count: int, *, now: datetime, named: str = DAILY) -> DailyRows:
    """Reserve `count` row numbers of today's batch. The first call of a day creates the batch. `named`: how its name
    begins. A batch that was cancelled or is being purged gets no more rows, because neither was meant for later
    customers: the rows go into the batch's next generation. The batch stays locked until the transaction ends, so call
    this late."""
    # Cannot equal the digest of a list, which has 64 digits.
    digest = f"{named}{now.astimezone(UTC):%Y-%m-%d}"
    for _ in range(DAILY_TRIES):
        row = connection.execute(_NUMBER, {"of_day": digest, "count_": count}).first()
        if row is not None and row.last_row is not None:
            return DailyRows(row.id, row.last_row - count + 1, row.pause_cause != "")
        _make(connection, digest, now=now)
    raise RuntimeError("the daily batch could not be created: each new batch was cancelled at once")


def _make(connection: sa.Connection, digest: str, *, now: datetime) -> None:
    newest = sa.select(sa.func.max(Batch.generation)).where(Batch.digest == digest)
    generation = (connection.execute(newest).scalar() or 0) + 1
    values = {
        "name": digest if generation == 1 else f"{digest}-{generation}",
        "digest": digest,
        "generation": generation,
        "created_at": now,
        "imported_at": now,  # no import was cut off; the batch can be over although more rows may come
        "last_row": 0,
    }
    # Another transaction may create the same batch at this moment: its batch is used then.
    connection.execute(insert(Batch, connection.dialect.name).values(values).on_conflict_do_nothing())
