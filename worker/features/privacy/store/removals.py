"""What retention removes, in chunks; safe to repeat.

Erased are the person, the personal data in jobs' lines, and the links and tokens of sessions, of customers whose jobs
are all over. The rest identifies no person: the list owner's id, states, times, and the providers' references. What is
kept for a time alone goes too: links that open nothing any more, events of the inbox, places of addresses.

A batch that is over is purged: its rows go; its totals stay, and so do the facts that other rows need. A row of its own
records that a customer has finished. A row of another batch that joined a purged row, or got its session, inherits its
values. Calls with an unknown outcome are so old that no session of theirs can still be live (see `admission`).
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.audit_entries import RETENTION, Act, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.fast import tally
from onboarding_worker.core.database.job_ids import NEWEST_FIRST, as_they_came, of_batch
from onboarding_worker.core.database.tables import (
    AddressPlace,
    Attempt,
    Batch,
    BounceCount,
    CustomerRow,
    Finished,
    Inbox,
    InvitationRow,
    Job,
    PendingDetails,
    SessionRow,
    SkippedLine,
    StableLink,
)
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.database.tables.work import LEAD, served_by
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import (
    ENDED_JOBS,
    LATE,
    LIVE_SESSIONS,
    OPEN_INVITATIONS,
    InvitationState,
    JobState,
    Result,
)
from onboarding_worker.core.rows.calls_in_doubt import UNKNOWN_FOR
from onboarding_worker.core.rows.message_rows import move_messages
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.events.store.event_customers import erase, erase_updates
from onboarding_worker.lists.store.admission import OF_PRESENT_PERSON
from onboarding_worker.reporting.store.counts import BatchCounts, totals_of

CHUNK = 500  # customers, or rows of a batch
SESSIONS_AT_ONCE, EVENTS_AT_ONCE, PLACES_AT_ONCE = 500, 1000, 5000
ERASES = Act(RETENTION, "customer.erased")
Place = tuple[datetime, str]  # a customer's place in the order of the search


def over(job: Any, *, since: datetime) -> sa.ColumnElement[bool]:
    """True if nothing has happened to a job after `since`, and nothing will without a person. Either the job has ended,
    or its link was handed out, which is all that its list asked for, and has expired. While the provider reviews what
    the customer has submitted, its verdict is to come, and may have to be asked for."""
    goes_on = sa.or_(SessionRow.expires_at > since, SessionRow.result == Result.REVIEW)
    session = sa.exists().where(SessionRow.id == job.session_id, goes_on)
    out = sa.or_(job.state == JobState.INVITED, sa.and_(job.state == JobState.ISSUED, job.channel == Channel.NONE))
    return sa.and_(job.changed_at <= since, sa.or_(job.state.in_(ENDED_JOBS), sa.and_(out, ~session)))


def erase_next(database: Database, *, after: Place | None, since: datetime, now: datetime) -> tuple[int, Place | None]:
    """Erase the next customers who were in no list after `since` and whose jobs are all over. A customer with a job
    that is not over, or with a session that still opens, keeps all data. Returns how many were erased, and where the
    next chunk starts; None: the search is complete."""
    kept = sa.select(CustomerRow.customer_id, CustomerRow.changed_at).where(
        CustomerRow.encrypted.is_not(None), CustomerRow.changed_at <= since
    )
    if after is not None:
        at, customer_id = after
        beyond = sa.and_(CustomerRow.changed_at == at, CustomerRow.customer_id > customer_id)
        kept = kept.where(CustomerRow.changed_at >= at, sa.or_(CustomerRow.changed_at > at, beyond))
    kept = kept.order_by(CustomerRow.changed_at, CustomerRow.customer_id).limit(CHUNK)
    # Joined jobs are left out: the job that they joined belongs to the same customer.
    job = aliased(Job)
    own = job.customer_id == CustomerRow.customer_id
    going = sa.exists().where(own, job.leader_id.is_(None), ~over(job, since=since))
    opens = sa.exists().where(SessionRow.job_id == job.id, SessionRow.expires_at > now).where(own)
    with database.write() as connection:
        # Locked, as an import and a retry lock customers: a transaction that reopens a customer's job has either
        # committed, and the next statement sees it, or waits for this one and then finds the person erased.
        rows = fetch(connection, kept.with_for_update(skip_locked=True))
        if not rows:
            return 0, None
        these = sa.select(CustomerRow.customer_id).where(CustomerRow.customer_id.in_([row.customer_id for row in rows]))
        ids = list(connection.execute(these.where(~going, ~opens)).scalars())
        erase(connection, ids, now=now)
        erase_updates(connection, ids, until=now)
        if ids:
            note(connection, "customers whose time is over", now=now, count=len(ids), act=ERASES)
    last = rows[-1]
    return len(ids), (last.changed_at, last.customer_id)


# A look-up of an open message may search for its link.
_NEEDED = sa.exists().where(InvitationRow.session_id == SessionRow.id, InvitationRow.state.in_(OPEN_INVITATIONS))


def drop_links(database: Database, *, since: datetime) -> int:
    """Drop the tokens and links of the next sessions that expired until `since`: they are still secrets. Returns how
    many. References and the hash of a token stay: late events of the provider name the session by them."""
    # Spelled exactly as in the index.
    expired = sa.select(SessionRow.id).where(sa.text("length(encrypted) > 0"), SessionRow.expires_at <= since, ~_NEEDED)
    ids = expired.order_by(SessionRow.expires_at).limit(SESSIONS_AT_ONCE)
    with database.write() as connection:
        found = list(connection.execute(ids.with_for_update(skip_locked=True, of=SessionRow)).scalars())
        if found:
            connection.execute(sa.update(SessionRow).where(SessionRow.id.in_(found)).values(encrypted=ERASED))
    return len(found)


def remove_old(database: Database, *, updates: datetime, events: datetime, places: datetime) -> int:
    """Erase the stored columns of the next updates that were received until `updates`, and remove the next events that
    were received until `events` and the next places that were taken until `places`. Returns how many these are."""
    # Spelled exactly as in the index.
    kept = sa.select(Inbox.id).where(sa.text("length(encrypted) > 0"), Inbox.received_at <= updates)
    kept = kept.order_by(Inbox.received_at).limit(EVENTS_AT_ONCE)
    old = sa.select(Inbox.id).where(Inbox.received_at <= events).order_by(Inbox.received_at).limit(EVENTS_AT_ONCE)
    taken = sa.select(AddressPlace.digest, AddressPlace.number).where(AddressPlace.taken_at <= places)
    taken = taken.order_by(AddressPlace.taken_at).limit(PLACES_AT_ONCE)
    changes = (
        sa.update(Inbox).where(Inbox.id.in_(kept)).values(encrypted=ERASED),
        sa.delete(Inbox).where(Inbox.id.in_(old)),
        sa.delete(AddressPlace).where(sa.tuple_(AddressPlace.digest, AddressPlace.number).in_(taken)),
    )
    return sum(map(database.change, changes))


class Purging:
    def __init__(self, database: Database) -> None:
        self._database = database

    def why_not(self, batch_id: int, *, since: datetime, now: datetime) -> str | None:
        """Why a batch cannot be purged: something happened after `since`, or may still happen; None: it can."""
        batch = sa.select(Batch).where(Batch.id == batch_id)
        rows = sa.select(Job.row).join(LEAD, LEAD.id == Job.leader_id, isouter=True).where(of_batch(batch_id))
        with self._database.read() as connection:
            (row,) = fetch(connection, batch)
            ended_at = row.cancelled_at or row.imported_at
            if row.purged_at is not None:
                return "it was purged"
            if ended_at is None:
                return "its import was cut off"
            if ended_at > since:
                return "it is not old enough"
            for condition, words in _kept_by(since, now):
                found = connection.execute(rows.where(condition).limit(1)).scalar()
                if found is not None:
                    return f"row {found} {words}"
        return None

    def candidate(self, *, after: int, since: datetime) -> int | None:
        """The next batch, by number, that is old enough; None: there is no other."""
        ended_at = sa.func.coalesce(Batch.cancelled_at, Batch.imported_at)
        query = sa.select(Batch.id).where(Batch.id > after, Batch.purged_at.is_(None), ended_at <= since)
        found: int | None = self._database.value(query.order_by(Batch.id).limit(1))
        return found

    def begin(self, batch_id: int, counts: BatchCounts, *, now: datetime, act: Act | None = None) -> bool:
        """Mark the batch as purged and store its totals. False: another process has done so. `act`: who purges it, for
        the audit log; None: the running command."""
        mark = sa.update(Batch).where(Batch.id == batch_id, Batch.purged_at.is_(None)).returning(Batch.id)
        with self._database.write() as connection:
            values = {"purged_at": now, "totals": totals_of(counts)}
            begun = connection.execute(mark.values(values)).first() is not None
            connection.execute(sa.delete(BounceCount).where(BounceCount.batch_id == batch_id))
            if begun:
                rows = sum(counts.jobs.values())
                note(connection, f"batch {batch_id}", now=now, count=rows, reason="purged", act=act)
            return begun

    def under_way(self) -> list[int]:
        """The batches whose purge has begun and that still have rows."""
        left = sa.or_(sa.exists().where(of_batch(Batch.id)), sa.exists().where(SkippedLine.batch_id == Batch.id))
        query = sa.select(Batch.id).where(Batch.purged_at.is_not(None), left).order_by(Batch.id)
        return [row.id for row in self._database.rows(query)]

    def chunk(self, batch_id: int, *, now: datetime) -> int:
        """Remove the next rows of a batch whose purge has begun; returns how many. 0: no row is left that may go now. A
        row that was put back to waiting after the purge began, or whose leading job was, stays until it is over."""
        with self._database.write() as connection:
            if connection.execute(sa.select(Batch.purged_at).where(Batch.id == batch_id)).scalar_one() is None:
                raise ValueError(f"the purge of batch {batch_id} has not begun")
            ids = _next_to_go(connection, batch_id, now=now)
            if ids:
                _inherit(connection, ids)
                _keep_finished(connection, ids)
                _remove(connection, ids)
                return len(ids)
            skipped = sa.select(SkippedLine.row).where(SkippedLine.batch_id == batch_id).limit(CHUNK)
            rows = list(connection.execute(skipped).scalars())
            gone = sa.delete(SkippedLine).where(SkippedLine.batch_id == batch_id, SkippedLine.row.in_(rows))
            return connection.execute(gone).rowcount if rows else 0


def _next_to_go(connection: sa.Connection, batch_id: int, *, now: datetime) -> list[int]:
    """The first jobs of the batch whose rows may go, locked; empty: there is none. They are locked first, and then
    asked about: a leading job of another batch, or a call, may have come in between. So each question is about a few
    rows, and PostgreSQL does not answer it for the whole batch at once."""
    after = 0
    while True:
        jobs = sa.select(Job.id, Job.row).where(of_batch(batch_id, after=after)).order_by(Job.id)
        rows = fetch(connection, jobs.limit(CHUNK).with_for_update(skip_locked=True))
        if not rows:
            return []
        these = sa.select(Job.id).join(LEAD, LEAD.id == Job.leader_id, isouter=True)
        these = these.where(Job.id.in_([row.id for row in rows]))
        ids = list(connection.execute(these.where(*(~condition for condition, _ in _kept_by(now, now)))).scalars())
        if ids:
            return ids
        after = rows[-1].row


def _kept_by(since: datetime, now: datetime) -> list[tuple[sa.ColumnElement[bool], str]]:
    """What keeps a job from being removed, each in words. It, or the job that it joined, must be over since `since`."""
    is_over = sa.or_(
        sa.and_(Job.leader_id.is_(None), over(Job, since=since)),
        sa.and_(Job.leader_id.is_not(None), over(LEAD, since=since)),
    )
    live = (SessionRow.state.in_(LIVE_SESSIONS), SessionRow.expires_at > now)
    unknown_outcome = sa.exists().where(  # it may have opened a session that is still live
        Attempt.job_id == Job.id,
        Attempt.invitation_id.is_(None),
        sa.or_(Attempt.outcome.is_(None), Attempt.outcome.in_((Kind.UNKNOWN.value, LATE))),
        Attempt.opened_at > now - UNKNOWN_FOR,
    )
    # A message that would go with the job: its result is counted first.
    under_way = InvitationRow.state == bulk.fixed(InvitationState.WORKING)
    of_job = sa.select(InvitationRow.job_id).where(under_way)
    of_session = sa.select(SessionRow.job_id).join(InvitationRow, InvitationRow.session_id == SessionRow.id)
    return [
        (~is_over, "is not over"),
        (sa.exists().where(SessionRow.job_id == Job.id, *live), "has a session that still opens"),
        (unknown_outcome, "has a call of the last 30 days whose outcome is unknown"),
        (Job.id.in_(sa.union(of_job, of_session.where(under_way))), "has a message that is being sent"),
    ]


# The values that a row of another batch got from the row it joined, and must hold itself once that row is gone.
_INHERITED = (
    *("state", "account", "route", "brand", "result", "reason", "detail"),
    *("session_id", "attempts", "reissues", "changed_at"),
)


def _inherit(connection: sa.Connection, ids: Collection[int]) -> None:
    """Let the first job that joined one of these jobs replace it, and the rest join that first job."""
    columns = (Job.id, Job.leader_id, Job.created_at, Job.batch_id, Job.row)
    query = sa.select(*columns).where(Job.leader_id.in_(ids), Job.id.not_in(ids)).order_by(Job.id)
    successors: dict[int, int] = {}
    whys: dict[int, str] = {}
    followers: dict[int, int] = {}
    for row in as_they_came(fetch(connection, query.with_for_update())):
        if successors.setdefault(row.leader_id, row.id) != row.id:
            followers[row.id] = successors[row.leader_id]
        else:
            whys[row.id] = served_by(row.batch_id, row.row)
    if successors:
        leaders = sa.select(Job.id, *(getattr(Job, name) for name in _INHERITED)).where(Job.id.in_(successors))
        values = {row.id: {name: getattr(row, name) for name in _INHERITED} for row in fetch(connection, leaders)}
        # Only one job may lead, and the purged leading job still exists.
        connection.execute(sa.update(Job).where(Job.id.in_(successors)).values(state=JobState.CANCELLED))
        for before, successor in successors.items():
            inherited = values[before] | {"leader_id": None, "due_at": None}
            connection.execute(sa.update(Job).where(Job.id == successor).values(inherited))
        for job_id, successor in followers.items():
            leads = {"leader_id": successor, "detail": whys[successor]}
            connection.execute(sa.update(Job).where(Job.id == job_id).values(leads))
    _pass_sessions_on(connection, ids)


def _pass_sessions_on(connection: sa.Connection, ids: Collection[int]) -> None:
    """Move sessions that a job of another batch uses, and their messages, to that job. A message stays in the purged
    batch, whose totals have counted it: the other batch counts none that it has not sent."""
    query = (
        sa.select(SessionRow.id, SessionRow.job_id, Job.id.label("successor"))
        .join(Job, sa.and_(Job.customer_id == SessionRow.customer_id, Job.session_id == SessionRow.id))
        .where(SessionRow.job_id.in_(ids), Job.id.not_in(ids))
        .order_by(*NEWEST_FIRST)  # the first of several jobs comes last and so gets the session
    )
    for row in fetch(connection, query):
        connection.execute(sa.update(SessionRow).where(SessionRow.id == row.id).values(job_id=row.successor))
        theirs = sa.and_(InvitationRow.session_id == row.id, InvitationRow.job_id == row.job_id)
        move_messages(connection, theirs, row.successor, batch_id=None)


def _keep_finished(connection: sa.Connection, ids: Collection[int]) -> None:
    columns = (Job.customer_id, Job.purpose, Job.result, Job.batch_id, Job.row)
    led = (Job.id.in_(ids), Job.leader_id.is_(None), Job.state == JobState.COMPLETED, OF_PRESENT_PERSON)
    finished = sa.select(*columns).where(*led)
    rows: list[dict[str, Any]] = [row._asdict() for row in fetch(connection, finished.order_by(Job.customer_id))]
    if rows:
        connection.execute(bulk.insert(Finished, connection.dialect.name).on_conflict_do_nothing(), rows)


def _remove(connection: sa.Connection, ids: Collection[int]) -> None:
    sessions = list(connection.execute(sa.select(SessionRow.id).where(SessionRow.job_id.in_(ids))).scalars())
    messages = sa.or_(InvitationRow.job_id.in_(ids), InvitationRow.session_id.in_(sessions))
    _count_out(connection, messages)
    connection.execute(sa.delete(InvitationRow).where(messages))
    connection.execute(sa.delete(SessionRow).where(SessionRow.id.in_(sessions)))
    connection.execute(sa.delete(Attempt).where(Attempt.job_id.in_(ids)))
    owned = list(connection.execute(sa.select(Job.customer_id).where(Job.id.in_(ids)).distinct()).scalars())
    connection.execute(sa.delete(PendingDetails).where(PendingDetails.job_id.in_(ids)))
    connection.execute(sa.delete(Job).where(Job.id.in_(ids)))
    serves = sa.exists().where(Job.customer_id == StableLink.customer_id, Job.purpose == StableLink.purpose)
    connection.execute(sa.delete(StableLink).where(StableLink.customer_id.in_(owned), ~serves))


def _count_out(connection: sa.Connection, messages: sa.ColumnElement[bool]) -> None:
    """Count those of these messages no more that are in batches which are not purged. A session may have passed to
    another batch, and a message that it replaced or that was over stayed behind: it goes with its session. A purged
    batch keeps its totals."""
    columns = (InvitationRow.batch_id, InvitationRow.state, InvitationRow.channel, InvitationRow.reason)
    purged = sa.select(Batch.id).where(Batch.purged_at.is_not(None))
    query = sa.select(*columns).where(messages, InvitationRow.kind == FIRST, InvitationRow.batch_id.not_in(purged))
    for row in fetch(connection, query.order_by(InvitationRow.id).with_for_update()):
        tally.of(connection).add(tally.message(row.batch_id, row.state.value, row.channel, row.reason), -1)
