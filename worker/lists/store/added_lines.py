"""Adds lines of a list to its batch, in one transaction: their customers, their jobs, and the refused lines."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.bulk import Columns, picked, rows_of
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.facts import STOPPED, JobsStopped, happened
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.job_ids import ROWS, Key, job_id, of_batch
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import Batch, CustomerRow, Job, SkippedLine
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.customers import Customer, FieldProblem
from onboarding_worker.core.model.states import HELD_BACK, PAUSED
from onboarding_worker.core.rows.erased_jobs import PERSON_GONE
from onboarding_worker.core.rows.pending_details import keep
from onboarding_worker.lists.known_customers import (
    ANOTHER_PERSON,
    AS_USUAL,
    IS_CALLED,
    WAS_ERASED,
    Becomes,
    KnownChoices,
    KnownRule,
    decide,
    owned_by,
    refuses_lists,
    standing_of,
)
from onboarding_worker.lists.lines import RefusedLine
from onboarding_worker.lists.store.admission import admit, being_called, following, left_out, lock_customers, take
from onboarding_worker.lists.store.batches import Batches
from onboarding_worker.lists.store.new_rows import (
    CANCELLED,
    Chunk,
    bring_back,
    customer_values,
    erased_among,
    new_jobs,
    opened,
    refusal_row,
)
from onboarding_worker.lists.store.refreshed import (
    KnownLine,
    beside,
    filled,
    has_links,
    refresh,
    still_lacking,
    with_their_address,
)
from onboarding_worker.plans.store import plans
from onboarding_worker.plans.store.leadership import take_all

_LOCK_BATCH = (
    sa.select(Batch.pause_cause != "", Batch.cancelled_at, Batch.planned, Batch.generation, Batch.digest)
    .where(Batch.id == sa.bindparam("batch"))
    .with_for_update(key_share=True)
)
_FIRST: sa.BindParameter[int] = sa.bindparam("first")
_LAST: sa.BindParameter[int] = sa.bindparam("last")
_ADDED = sa.select(Job.row).where(Job.id.between(_FIRST, _LAST))
_OF_SAME_FILE = (
    sa.select(Job.row, Job.customer_id, Job.purpose, Job.state, Job.batch_id)
    .join(Batch, Job.id.between(Batch.id * ROWS + _FIRST, Batch.id * ROWS + _LAST))
    .where(Batch.digest == sa.bindparam("digest"), Batch.id < sa.bindparam("batch"))
)
_SKIPPED = sa.select(SkippedLine.row).where(
    SkippedLine.batch_id == sa.bindparam("batch"), SkippedLine.row.between(_FIRST, _LAST)
)


class ErasedMeanwhile(Exception):
    """A customer was erased while a line of this customer was being added. The next try refuses the line."""


def add_lines(
    batches: Batches,
    batch_id: int,
    chunk: Chunk,
    *,
    priority: int,
    now: datetime,
    choices: KnownChoices = AS_USUAL,
    traced: Mapping[int, str] | None = None,
    added: Callable[[sa.Connection, Sequence[int]], None] | None = None,
) -> "Adding":
    """Add the next lines of a list, all or none. Lines that are imported already are skipped.

    `choices` say what becomes of known customers (`lists.store.admission`). If an open job is of a list that was
    stopped with Ctrl-C, the new job leads in its place. `traced`: the `traceparent` of the lines that are traced, by
    row. `added` is called with the ids of the lines' jobs, in the transaction that has added them.
    """

    def add() -> Adding:
        with batches.database.write() as connection:
            adding = Adding(connection, batches.keyring, batch_id, chunk, [*chunk.refused], choices, batches.wide, now)
            adding.add(priority=priority, traced=traced or {})
            if added is not None:
                added(connection, chunk.jobs["id"])
            return adding

    # Another transaction has added a job of the same customer meanwhile: the next try joins that job.
    return outlive_deadlocks(add, sa.exc.IntegrityError, ErasedMeanwhile)


def all_added(batches: Batches, batch_id: int, *, planned: bool = True, now: datetime) -> None:
    """Record that the last line of the list is imported. `planned` False: the batch has no plan."""
    with batches.database.write() as connection:
        if planned:
            plans.begin(connection, batch_id, now=now)  # before the batch: a verdict on its pilot locks them so too
        connection.execute(sa.update(Batch).where(Batch.id == batch_id).values(imported_at=now))
        rows = sa.select(sa.func.count()).select_from(Job).where(of_batch(batch_id))
        count = connection.execute(rows).scalar_one()
        note(connection, f"batch {batch_id}", now=now, count=count, reason="imported")


@dataclass
class Adding:
    """Lines of a list that are added in one transaction: those that are left to become rows, and all that become
    `skipped` lines. What is found here: those that are `refused` now, of customers who were erased on request, of
    another person than the one who has the id, or without a value that their messages need; those that were `changed`,
    because their customers' addresses were; and `warnings` by row. For the rest see `add_lines`."""

    connection: sa.Connection
    keyring: Keyring
    batch_id: int
    lines: Chunk
    skipped: list[RefusedLine]
    choices: KnownChoices
    wide: Collection[str]
    now: datetime
    refused: list[RefusedLine] = field(default_factory=list)
    changed: list[KnownLine] = field(default_factory=list)
    warnings: Sequence[tuple[int, FieldProblem]] = ()

    def add(self, *, priority: int, traced: Mapping[int, str]) -> None:
        """Raises ErasedMeanwhile, and IntegrityError if another transaction has added a job of a customer meanwhile."""
        connection, keyring, batch_id, now = self.connection, self.keyring, self.batch_id, self.now
        # The lock blocks `pause` and `cancel`: they change all rows that they see, and this import must see their
        # change of the batch. It also blocks another import of the same list, which may have been faster.
        batch = connection.execute(_LOCK_BATCH, {"batch": batch_id}).one()
        paused, cancelled_at, planned, generation, digest = batch
        gone = cancelled_at is not None
        plan = plans.find(connection, batch_id) if planned else None
        rows = [*self.lines.jobs["row"], *(line.row for line in self.skipped)]
        if imported := _imported_rows(connection, batch_id, rows):
            self.lines = self.lines.without(imported)
            self.skipped = [line for line in self.skipped if line.row not in imported]
        if generation > 1 and self.lines:
            self._leave_out_read_otherwise(digest)
        if erased := erased_among(connection, keyring, set(self.lines.jobs["customer_id"])):
            self._refuse_erased(erased)
        if self.lines.lacks:
            self._refuse_lacking()
        if self.lines:
            if plan is not None and plan.holds_back:
                priority += HELD_BACK
            elif paused:
                priority += PAUSED
            new = _new_customers(keyring, self.lines.customers, gone=gone, now=now)
            known = bulk.add_missing(connection, CustomerRow, new, key="customer_id")
            if known:
                lock_customers(connection, known)
            # Now their rows are locked: an erasure is over, and seen, or waits for this transaction.
            if erased_among(connection, keyring, set(self.lines.jobs["customer_id"])):
                raise ErasedMeanwhile
            if len(known) < len(new["customer_id"]) and has_links(connection, now=now):
                people = (self.lines.customers[name] for name in ("customer_id", "email_digest", "phone_digest"))
                each = (one for one in zip(self.lines.jobs["row"], *people, strict=True) if one[1] not in known)
                self.warnings = with_their_address(connection, each, now=now)
            starts_at = plan.plan.start_at if plan is not None else None
            released = priority < PAUSED and (starts_at is None or starts_at <= now)
            found: list[KnownLine] = []
            followed: Mapping[Key, Mapping[str, Any]] = {}
            if known:  # a customer who was added just now has nothing stored, and cannot have been served
                found, followed = self._of_known_customers(known, gone=gone, released=released)
            lines = self.lines
            if not released and not gone:
                due_at = starts_at if priority < PAUSED else None
                waiting = {one.given.customer_id for one in found}
                added = set(lines.customers["customer_id"]) - known
                keep(connection, lines.jobs["id"], lines.customers, waiting=waiting, new=added, due_at=due_at, now=now)
            self.changed = [one for one in found if one.changed]
            jobs = new_jobs(lines.jobs, followed, priority=priority, now=now)
            if plan is not None:
                plans.spread(plan.plan, jobs, now=now)
            if gone:
                jobs |= {name: [value] * len(lines) for name, value in CANCELLED.items()}
                rows_ = zip(jobs["customer_id"], jobs["encrypted"], strict=True)
                jobs["encrypted"] = [line if line is None or one in known else ERASED for one, line in rows_]
            if traced:
                jobs["traceparent"] = [traced.get(row) for row in jobs["row"]]
            _add_jobs(connection, batch_id, jobs, paused=paused, now=now)
        if self.skipped:
            bulk.add(connection, SkippedLine, [refusal_row(batch_id, line) for line in self.skipped])

    def _refuse(self, found: Sequence[RefusedLine]) -> None:
        self._leave_out(found)
        self.refused += found

    def _leave_out(self, found: Collection[RefusedLine]) -> None:
        if found:
            self.lines = self.lines.without({line.row for line in found})
            self.skipped += found

    def _leave_out_read_otherwise(self, digest: str) -> None:
        """Leave out the rows that an earlier import of the same file has taken as another customer, or for another
        purpose, who is served or has finished, or was erased: their cells were read otherwise, by an older release or
        with other options. The person is the same."""
        keys = dict(zip(self.lines.jobs["row"], self.lines.keys, strict=True))
        of = {"digest": digest, "batch": self.batch_id, "first": min(keys), "last": max(keys)}
        taken = [one for one in fetch(self.connection, _OF_SAME_FILE, of) if one[1:3] != keys.get(one.row, one[1:3])]
        ids = () if self.choices.allow_erased else {one.customer_id for one in taken}
        gone = erased_among(self.connection, self.keyring, ids)
        found: dict[int, RefusedLine] = {}
        for one in taken:
            becomes = decide(self.choices.rule, standing_of([one.state])).becomes
            if one.customer_id in gone or becomes in (Becomes.JOINS, Becomes.FINISHED):
                why = f"{one.customer_id}, {one.purpose} in batch {one.batch_id} of the same file; left out"
                found[one.row] = RefusedLine(one.row, keys[one.row][0], known=why)
        self._leave_out(found.values())

    def _refuse_erased(self, erased: Collection[str]) -> None:
        """Refuse the lines of customers who were erased on request, unless these are brought back."""
        if self.choices.allow_erased:
            bring_back(self.connection, self.keyring, erased)
            self._note_each(erased, "brought back after an erasure")
            return
        each = zip(self.lines.jobs["row"], self.lines.jobs["customer_id"], strict=True)
        self._refuse([RefusedLine(row, one, (WAS_ERASED,)) for row, one in each if one in erased])

    def _refuse_lacking(self) -> None:
        """Refuse the lines without a column for messages that they need, unless their customers have it stored. No
        lock: a stored value is replaced, and is gone only with the customer."""
        lines, lacks = self.lines, self.lines.lacks
        mine = lines.opened_at(self.keyring, [place for place, row in enumerate(lines.jobs["row"]) if row in lacks])
        known = {one.row: one for one in beside(self.connection, self.keyring, mine, now=self.now)}
        found = ((row, customer, still_lacking(lacks[row], known.get(row), self.wide)) for row, customer in mine)
        self._refuse([RefusedLine(row, customer.customer_id, still) for row, customer, still in found if still])

    def _of_known_customers(
        self, known: Collection[str], *, gone: bool, released: bool
    ) -> tuple[list[KnownLine], Mapping[Key, Mapping[str, Any]]]:
        """Decide about the lines of customers who are known, and give these their details. Returns the lines whose
        details count, and what a row gets that follows another one. `gone`: the batch was cancelled. `released`: its
        rows go out now."""
        connection, rule = self.connection, self.choices.rule
        places = [place for place, one in enumerate(self.lines.jobs["customer_id"]) if one in known]
        mine = self.lines.opened_at(self.keyring, places)
        # They are locked: another import may bring them too.
        found = beside(connection, self.keyring, mine, now=self.now)
        theirs = [one for one in found if refuses_lists(one.owner, self.wide)]
        taken = theirs if self.choices.take_over and not gone else []
        owners = {one.given.customer_id: (one.owner, one.row) for one in taken}
        take(connection, owners, batch_id=self.batch_id, now=self.now)
        # Nothing stays of what their sender has said: it may be of somebody else.
        rows = {one.row for one in taken}
        found = [replace(one, person=None) if one.row in rows else one for one in found]
        owned = [] if taken else [one.refused(owned_by(one.owner)) for one in theirs]
        rows = {line.row for line in owned}
        others = [
            one
            for one in found
            # Which of two unreleased rows of an id is right is not known yet.
            if one.row not in rows and (one.is_another or (not released and one.is_another_than(one.unreleased)))
        ]
        self._refuse(another := [*owned, *self._of_another(others, gone=gone)])
        rows = {line.row for line in another}
        found = [one for one in found if one.row not in rows]
        # They lead, whatever became of the rows of the person who had the id.
        new = {one.given.customer_id for one in others if one.row not in rows}
        keys = {key for key in self.lines.keys if key[0] in known and key[0] not in new}
        followed = following(connection, keys, now=self.now, rule=rule) if keys else {}
        out = left_out(connection, keys - followed.keys(), rule=rule)
        if out:
            each = zip(self.lines.jobs["row"], self.lines.keys, strict=True)
            self._leave_out([RefusedLine(row, key[0], known=out[key]) for row, key in each if key in out])
        if rule is KnownRule.SKIP:  # the details stay, if there are any, unless the customer is invited after all
            leading = new | {customer_id for customer_id, _ in keys - followed.keys() - out.keys()}
            found = [one for one in found if one.given.customer_id in leading or one.unreleased]
        # A person has said whose the customers are who are taken over, and who has an id: that does not wait.
        at_once = {*owners, *(() if gone else new)}
        now_given = [one for one in found if one.given.customer_id in at_once]
        refresh(connection, self.keyring, now_given, batch_id=self.batch_id, now=self.now)
        found = [] if gone else [one for one in found if one.given.customer_id not in at_once]
        if released:
            refresh(connection, self.keyring, found, batch_id=self.batch_id, now=self.now)
        return found, followed

    def _of_another(self, another: Sequence[KnownLine], *, gone: bool) -> list[RefusedLine]:
        """These lines of another person than the one who has the id, unless they take it over."""
        if not self.choices.another_person:
            return [one.refused(ANOTHER_PERSON) for one in another]
        ids = {one.given.customer_id for one in another}
        called = being_called(self.connection, ids, now=self.now)
        self._note_each(ids - called, "another person took over this id")
        if not gone:
            admit(self.connection, ids - called, now=self.now)
        return [one.refused(IS_CALLED) for one in another if one.given.customer_id in called]

    def _note_each(self, customer_ids: Collection[str], reason: str) -> None:
        for customer_id in sorted(customer_ids):
            note(self.connection, f"customer {customer_id}", now=self.now, reason=reason)


def _add_jobs(connection: sa.Connection, batch_id: int, jobs: Columns, *, paused: bool, now: datetime) -> None:
    """Add the jobs, with what they count, publish and take over."""
    count = len(jobs["row"])
    counts = tally.counts_in_bulk(count)
    jobs["counted"] = [counts] * count
    bulk.add_columns(connection, Job, jobs)
    if counts:
        tally.count_new_jobs(connection, jobs)
    if stopped := [id_ for id_, state in zip(jobs["id"], jobs["state"], strict=True) if state in STOPPED]:
        happened(connection, JobsStopped(stopped), now=now)
    joined = [row for row, leader in zip(jobs["row"], jobs["leader_id"], strict=True) if leader is not None]
    if joined and not paused:
        take_all(connection, batch_id, after=min(joined) - 1, now=now)


def _new_customers(keyring: Keyring, customers: Columns, *, gone: bool, now: datetime) -> Columns:
    """The customers' rows, in the order that is the same everywhere: two imports of the same customers cannot deadlock.

    Of a customer's lines each adds what it says. The details of a list count as true at the time of its import. `gone`:
    they have gone already, with the batch, which was cancelled.
    """
    ids = customers["customer_id"]
    last = {customer_id: place for place, customer_id in enumerate(ids)}
    times = [now] * len(last)
    rows = picked(customers, [last[customer_id] for customer_id in sorted(last)])
    if len(last) < len(ids):
        place = {customer_id: at for at, customer_id in enumerate(rows["customer_id"])}
        for customer_id, values in _of_several_lines(keyring, customers).items():
            for name, (value,) in values.items():
                rows[name][place[customer_id]] = value
    rows = {**rows, "details_at": times, "created_at": times, "changed_at": times}
    none = PERSON_GONE | {"details_at": None} if gone else {}
    return rows | {name: [value] * len(last) for name, value in none.items()}


def _of_several_lines(keyring: Keyring, customers: Columns) -> dict[str, Columns]:
    """What the lines of each customer who has several say together."""
    several = Counter(customers["customer_id"])
    places = [place for place, one in enumerate(customers["customer_id"]) if several[one] > 1]
    said: dict[str, Customer] = {}
    for given in (opened(keyring, values) for values in rows_of(picked(customers, places))):
        before = said.get(given.customer_id)
        said[given.customer_id] = given if before is None else filled(given, before.person, before)
    return {customer_id: customer_values(keyring, [customer]) for customer_id, customer in said.items()}


def _imported_rows(connection: sa.Connection, batch_id: int, rows: Sequence[int]) -> set[int]:
    if not rows:
        return set()
    first, last = min(rows), max(rows)
    ids = {"first": job_id(batch_id, first), "last": job_id(batch_id, last)}
    added = connection.execute(_ADDED, ids).scalars()
    skipped = connection.execute(_SKIPPED, {"batch": batch_id, "first": first, "last": last}).scalars()
    return {*added, *skipped}
