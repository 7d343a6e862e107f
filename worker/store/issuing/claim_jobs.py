"""Claims of jobs: reserve calls from the account's budget and lease as many due jobs, in one transaction."""

import random
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.domain.contact.address_cap import AddressCap
from worker.domain.contact.contact_times import Hours
from worker.domain.contact.send_decision import Later
from worker.domain.limits.budgets import BudgetRule, credits_left, grant
from worker.domain.limits.concurrency import ASK_AGAIN, ROWS_PER_PERMIT
from worker.domain.limits.event_share import share_out
from worker.domain.limits.rate_limits import claim_again_at
from worker.domain.model.customers import Channel, Customer, Person, invitation_channels
from worker.domain.model.reasons import Reason
from worker.domain.model.reconciliation import UnknownCall
from worker.domain.model.sessions import SessionRequest
from worker.domain.model.states import JobState
from worker.foundation.keyring import CannotDecrypt, Keyring
from worker.store.attempts.unknown_outcomes import calls_to_reconcile
from worker.store.base import bulk
from worker.store.base.database import Database, fetch
from worker.store.base.encrypted_values import Erased, decrypt_line, decrypt_person
from worker.store.base.leases import Leases
from worker.store.base.priorities import BATCH, EVENT, PRIORITIES
from worker.store.base.row_by_row import Chunk, row_by_row
from worker.store.issuing import deferral, unreachable
from worker.store.issuing.sender_backlog import Backlogs, Rooms
from worker.store.limits import budgets
from worker.store.limits.concurrency import Permits
from worker.store.onboarding import in_review, sessions
from worker.store.onboarding.cancellation import cancel_jobs
from worker.store.onboarding.held_rows import hold_jobs
from worker.store.outbox.outbox import add_job_events
from worker.store.tables import Attempt, Batch, CustomerRow, Job, SessionRow

# The public names of this module.
__all__ = ["ClaimedJob", "ClaimedJobs", "JobPolicy", "Jobs"]


@dataclass(frozen=True)
class JobPolicy:
    """How one account's jobs are claimed and their results stored. Durations in real time; `owner`: the process."""

    account: str
    provider: str
    rule: BudgetRule
    lease: timedelta
    owner: str
    horizon: timedelta  # how far ahead calls are reserved
    reissue_at: Callable[[datetime], datetime]  # the adapter's: from the old session's expiry
    # From the lease's end until a call with an unknown outcome may be looked up; None: it is never looked up.
    reconcile_after: timedelta | None = None
    # Where it is never looked up: how long a session that the request may have opened can live; None: it is held.
    orphan_life: Callable[[SessionRequest], timedelta | None] = lambda _: None
    ahead: timedelta = timedelta(0)  # added to the horizon for events, which then swap slots with batches' rows
    alone: timedelta | None = None  # the horizon while no other dispatcher has permits of the account; None: the same
    hours: Hours = field(default_factory=Hours)
    lifetime: timedelta | None = None  # of the account's links; None: the vendor decides
    # The senders of the account's messages, by channel.
    senders: Mapping[str, BudgetRule] = field(default_factory=dict)
    max_age: timedelta = timedelta(0)  # how old a link may be when it is sent, on the route with the strictest floor
    reminders: tuple[timedelta, ...] = ()  # after a text that the provider sends itself; empty if we send no texts
    address_cap: AddressCap | None = None  # None: an address may get any number of messages
    fallback: str | None = None  # the channel that replaces a channel on which messages bounced
    only_batch: int | None = None  # claim only rows of this batch; None: of all batches

    def horizon_of(self, *, alone: bool) -> timedelta:
        return self.alone if alone and self.alone is not None else self.horizon

    @property
    def permit_owner(self) -> str:
        """The owner of permits. It names the account too: several accounts of one process may share a budget."""
        return f"{self.owner} {self.account}"


@dataclass(frozen=True, repr=False)
class ClaimedJob:
    """A job under our lease. `slot` is the earliest time of its call; None: the account has no limit."""

    id: int
    batch_id: int
    fence: int
    attempts: int
    priority: int
    purpose: str
    channel: Channel
    due_at: datetime  # restored if no call is made, so that the job keeps its position in the order of claims
    lease_until: datetime
    slot: datetime | None
    probe: bool  # the single call that goes first after a pause
    session_id: uuid.UUID | None  # the session that a new one replaces
    floor: timedelta  # the freshness floor so far; a new session gets the floor of the routes as they are then
    request: SessionRequest
    unknown_call: UnknownCall | None = None  # look up this call; make no new call
    asks: str | None = None  # the reference of the session to look up; make no new call

    @property
    def looks_up(self) -> bool:
        """True if the provider's list is read for it: no session is asked for, and no credit is spent."""
        return self.unknown_call is not None or self.asks is not None

    @property
    def is_event(self) -> bool:
        return self.priority == EVENT


@dataclass(frozen=True)
class ClaimedJobs:
    """The claimed jobs. `again_at`: when to claim again; None: nothing is due, or a person must act."""

    jobs: list[ClaimedJob]
    again_at: datetime | None = None
    permits: int | None = None  # calls that may be in flight from now on
    # Some jobs adopted sessions that are already live: these channels may have invitations due.
    adopted_channels: frozenset[str] = frozenset()


_Closed = tuple[sa.Row[Any], dict[str, Any]]  # a claimed row that is not worked, and its new values


class Jobs:
    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        self._database = database
        self._keyring = keyring
        self._jitter = jitter
        self._permits = Permits()
        self._backlogs = Backlogs()

    def claim(
        self,
        policy: JobPolicy,
        *,
        most: int,
        now: datetime,
        busy: int = 0,
        events: int = 0,
        on_claim: Callable[[sa.Connection, list[ClaimedJob]], None] = lambda _connection, _jobs: None,
    ) -> ClaimedJobs:
        """Lease up to `most` due jobs whose calls fit into the policy's horizon, and of events up to `events`.

        The budget's row is locked meanwhile, so exactly the claimed calls are reserved. A job whose customer already
        has a live session adopts this session without a call. `busy` is the number of calls in flight. `on_claim` runs
        with the jobs in the same transaction.
        """

        def work(connection: sa.Connection, chunk: Chunk) -> tuple[ClaimedJobs, list[_Closed], bool]:
            permits = self._permits.hold(
                connection, policy.rule, policy.permit_owner, lease=policy.lease, busy=busy, now=now
            )
            if permits is not None and permits < max(busy, 1):
                return ClaimedJobs([], again_at=now + ASK_AGAIN, permits=permits), [], False
            room = ROWS_PER_PERMIT * permits if permits is not None else max(most, events)
            most_rows, most_events = min(most, room), min(events, room)
            state, lanes = budgets.read_with_senders(connection, policy.rule, policy.senders)
            horizon = policy.horizon_of(alone=self._permits.alone(policy.rule, policy.permit_owner))
            reach: dict[str, Any] = {"horizon": horizon, "ahead": policy.ahead, "probe_for": policy.lease}
            state = budgets.believed(
                connection, policy.rule, state, now=now, reach=horizon + policy.ahead, lease=policy.lease
            )
            granted = grant(state, policy.rule, most=max(most_rows, most_events), now=now, **reach)
            capped = not granted.slots.count and credits_left(state, policy.rule) == 0
            if capped and _is_due(connection, policy, Job.unknown_attempt.is_not(None), now=now):
                # A look-up costs no credit, and may find that a credit was not spent.
                rule = replace(policy.rule, credits=None)
                granted = grant(state, rule, most=max(most_rows, most_events), now=now, **reach)
            if not granted.slots.count:
                if capped and _is_due(connection, policy, Job.unknown_attempt.is_(None), now=now):
                    budgets.stop_at_cap(connection, policy.rule, now=now)
                return ClaimedJobs([], again_at=granted.again_at, permits=permits), [], False
            shared = share_out(
                granted.slots.count,
                self._jitter(),
                soon=min(granted.slots.until(now + horizon), most_rows),
                events=lambda most: _claim(connection, policy, EVENT, most, unknown_only=capped, now=now),
                batches=lambda most: _claim(connection, policy, BATCH, most, unknown_only=capped, now=now),
            )
            rows = chunk.of(shared.rows)
            job_context = _job_context(connection, [row.id for row in rows])
            cancelled = [row.id for row in rows if job_context[row.id].cancelled_at is not None]
            if cancelled:
                cancel_jobs(connection, cancelled, now=now)
                rows = [row for row in rows if job_context[row.id].cancelled_at is None]
            # A row that only asks about its session neither adopts one nor needs room for a message.
            with_session = [row for row in rows if job_context[row.id].live_session is not None and not row.asks]
            live = sessions.live(connection, [(row.customer_id, row.purpose) for row in with_session], now=now)
            due = [
                row
                for row in rows
                if row.asks
                or not (session := live.get((row.customer_id, row.purpose)))
                or not sessions.adopt(connection, row, session, reissue_at=policy.reissue_at, now=now)
            ]
            reviewed = in_review.release_reviewed(connection, [row for row in due if not row.asks], now=now)
            due = [row for row in due if row.id not in reviewed]
            concerned = [
                row
                for row in due
                if job_context[row.id].any_suppressed and not row.asks and unreachable.may_end(row, now=now)
            ]
            people = self._people(concerned, job_context)
            no_address = unreachable.unreachable(connection, self._keyring, concerned, people, fallback=policy.fallback)
            unreachable.end(connection, due, no_address, now=now)
            due = [row for row in due if row.id not in no_address]
            rooms = self._backlogs.rooms(connection, lanes, max_age=policy.max_age, now=now)
            later = self._later(policy, due, job_context, rooms, now=now)
            if policy.address_cap is not None:
                left = [row for row in due if row.id not in later and deferral.may_wait(row, now=now)]
                people |= self._people([row for row in left if row.customer_id not in people], job_context)
                later |= deferral.without_place(connection, self._keyring, policy.address_cap, left, people, now=now)
            deferral.defer(connection, later, now=now)
            if shared.more:
                full = {row.channel: why for row in due if (why := later.get(row.id)) and row.priority == BATCH}
                no_room = {channel: why for channel, why in full.items() if why.reason == Reason.WAITS_FOR_SENDER}
                deferral.defer_unclaimed(connection, policy.account, no_room, now=now)
            due = [row for row in due if row.id not in later]
            current = {key: session.id for key, session in live.items()}
            budgets.reserve(connection, policy.rule, state, granted, len(due), now=now, probe_for=policy.lease)
            unknown_calls = calls_to_reconcile(connection, due, now=now)
            asks = _references(connection, [row.session_id for row in due if row.asks])
            slots = granted.slots
            jobs: list[ClaimedJob] = []
            closed: list[_Closed] = []
            for index, row in enumerate(due):
                slot = slots.at(index) if slots.interval else None
                session_id = current.get((row.customer_id, row.purpose), row.session_id)
                try:
                    person, context = people.get(row.customer_id), job_context[row.id]
                    job = self._job(row, context, person, policy.provider, slot=slot, session_id=session_id)
                    unknown_call = unknown_calls.get(row.id)
                    about = asks.get(row.session_id, "") if row.asks and unknown_call is None else None
                    jobs.append(replace(job, probe=granted.probe, unknown_call=unknown_call, asks=about))
                except CannotDecrypt as error:
                    closed.append((row, _CANNOT_DECRYPT | {"detail": str(error)[:400]}))
                except Erased as error:
                    closed.append((row, _ERASED | {"detail": str(error)}))
            on_claim(connection, jobs)
            free_from = slots.at(len(due)) if slots.interval else now
            again_at = claim_again_at(free_from, horizon=horizon, now=now) if shared.more else None
            stayed = {row.id for row in due} | later.keys() | no_address.keys() | reviewed
            moved_on = [row for row in rows if row.id not in stayed]
            adopted = {channel for row in moved_on for channel in invitation_channels(row.channel)}
            claimed = ClaimedJobs(jobs, again_at=again_at, permits=permits, adopted_channels=frozenset(adopted))
            return claimed, closed, granted.probe

        set_aside = partial(hold_jobs, states=(JobState.WAITING,), now=now)
        claimed, closed, probe = row_by_row(self._database, f"claim for {policy.account}", work, set_aside)
        if closed:
            self._close(policy, closed, probe=probe, now=now)
        return claimed

    def _people(self, rows: Sequence[sa.Row[Any]], job_context: Mapping[int, sa.Row[Any]]) -> dict[str, Person]:
        """The persons of these jobs. A person that cannot be decrypted is left out: `claim` then ends or holds the
        job."""
        people: dict[str, Person] = {}
        for row in rows:
            with suppress(CannotDecrypt, Erased):
                people[row.customer_id] = decrypt_person(self._keyring, row.customer_id, job_context[row.id].encrypted)
        return people

    def _later(
        self,
        policy: JobPolicy,
        rows: Sequence[sa.Row[Any]],
        job_context: Mapping[int, sa.Row[Any]],
        rooms: Rooms,
        *,
        now: datetime,
    ) -> dict[int, Later]:
        """The claimed jobs whose calls must not be made yet, with their new due times."""
        later = deferral.quiet(
            self._keyring, policy.hours, rows, job_context, lifetime=policy.lifetime, rooms=rooms, now=now
        )
        return later | deferral.without_room([row for row in rows if row.id not in later], rooms, now=now)

    def make_waiting_jobs_due(self, *, now: datetime) -> None:
        """Make all jobs that wait for a sender due now."""
        after: int | None = 0
        while after is not None:
            # In chunks: there may be a million jobs, and dispatchers must be able to claim meanwhile.
            with self._database.write() as connection:
                after = deferral.make_due(connection, after, now=now)

    def make_snoozed_due(self, names: Collection[str], *, now: datetime) -> None:
        """Make the rows of these accounts and channels due now that only wait for the end of a pause."""
        with self._database.write() as connection:
            deferral.make_snoozed_due(connection, names, now=now)

    def release_permits(self, policy: JobPolicy) -> None:
        """Release the account's permits: no further call is made."""
        with self._database.write() as connection:
            self._permits.give_back(connection, policy.rule, policy.permit_owner)

    def _close(self, policy: JobPolicy, closed: Sequence[_Closed], *, probe: bool, now: datetime) -> None:
        """Hold rows that no key decrypts, and end erased rows. Neither may block other rows."""
        with self._database.write() as connection:
            if probe:
                budgets.end_probe(connection, policy.rule)  # no call is made, so no call can end the probe
            ours = LEASES.still_ours(connection, [(row.id, row.fence) for row, _ in closed])
            for row, why in closed:
                if row.id in ours:
                    ended = {"lease_until": None, "due_at": None, "changed_at": now}
                    connection.execute(sa.update(Job).where(Job.id == row.id).values(why | ended))
            add_job_events(connection, ours, now=now)

    def release(
        self, rule: BudgetRule, jobs: Iterable[ClaimedJob], *, now: datetime, within: sa.Connection | None = None
    ) -> None:
        """Release jobs for which no call was made. The jobs are due as before, and nothing is counted."""
        jobs = list(jobs)
        with self._database.write(within) as connection:
            if any(job.probe for job in jobs):
                budgets.end_probe(connection, rule)
            unmade = LEASES.give_back(connection, [(job.id, job.fence, job.lease_until) for job in jobs], now=now)
            budgets.give_back(connection, rule, [job.slot for job in jobs])
            budgets.refund_credits(connection, rule, unmade)

    def hold(self, rule: BudgetRule, jobs: Sequence[ClaimedJob], kind: str, *, now: datetime) -> None:
        """Hold jobs for which no attempt can be written, under their leases. `kind` names the exception."""
        with self._database.write() as connection:
            if any(job.probe for job in jobs):
                budgets.end_probe(connection, rule)
            ours = LEASES.still_ours(connection, [(job.id, job.fence) for job in jobs])
            hold_jobs(connection, dict.fromkeys(ours, kind), states=(JobState.WORKING,), now=now)
            budgets.give_back(connection, rule, [job.slot for job in jobs])

    def _job(
        self,
        row: sa.Row[Any],
        person: sa.Row[Any],
        decrypted: Person | None,
        provider: str,
        *,
        slot: datetime | None,
        session_id: uuid.UUID | None,
    ) -> ClaimedJob:
        line = decrypt_line(self._keyring, row.batch_id, row.row, row.encrypted)
        customer = Customer(
            customer_id=row.customer_id,
            kind=person.kind,
            purpose=row.purpose,
            person=decrypted or decrypt_person(self._keyring, row.customer_id, person.encrypted),
            country=person.country,
            locale=person.locale,
            timezone=person.timezone,
            channel=row.channel,
            entity_id=row.entity_id,
            external_ref=line.external_ref,
            tags=line.tags,
            template=row.template,
            consent=row.consent,
            parameters=line.parameters,
        )
        request = SessionRequest(
            customer=customer,
            external_ref=line.external_ref or str(row.id),
            serial=_serial(row),
            entity_id=row.entity_id,
            parameters=line.parameters.get(provider, {}),
        )
        return ClaimedJob(
            id=row.id,
            batch_id=row.batch_id,
            fence=row.fence,
            attempts=row.attempts,
            priority=row.priority,
            purpose=row.purpose,
            channel=row.channel,
            due_at=row.due_at,
            lease_until=row.lease_until,
            slot=slot,
            probe=False,
            session_id=session_id,
            floor=timedelta(seconds=row.floor_seconds),
            request=request,
        )


def _serial(row: sa.Row[Any]) -> str:
    """Which of the customer's sessions is asked for, and with which call: "" for the first call for the first."""
    number = row.reissues + 1 + (row.session_id is not None)  # a reissue is counted once it is there
    return (f"-{number}" if number > 1 else "") + (f".{row.attempts + 1}" if row.attempts else "")


_CANNOT_DECRYPT: dict[str, Any] = {"state": JobState.HELD, "reason": Reason.CANNOT_DECRYPT}
_ERASED: dict[str, Any] = {"state": JobState.FAILED, "reason": Reason.ERASED}


# The columns that a claim returns. Not all columns: converting unused columns cost more than the query.
_WORKED_FROM = (
    Job.id,
    Job.batch_id,
    Job.row,
    Job.customer_id,
    Job.purpose,
    Job.channel,
    Job.template,
    Job.entity_id,
    Job.consent,
    Job.encrypted,
    Job.floor_seconds,
    Job.due_at,
    Job.priority,
    Job.lease_until,
    Job.fence,
    Job.attempts,
    Job.reissues,
    Job.session_id,
    Job.unknown_attempt,
    Job.asks,
    Job.invite_at,
)


LEASES: Leases[int, int] = Leases(
    Job,
    JobState,
    of=Job.account,
    conditions=(Job.joins.is_(None),),
    worked_from=_WORKED_FROM,
    rereads=Job.priority,  # the batch may have been paused since the claim
    changes=("changed_at",),
    attempts=(
        bulk.among(Attempt.job_id, "ids"),
        Attempt.invitation_id.is_(None),
        Attempt.fence == sa.select(Job.fence).where(Job.id == Attempt.job_id).scalar_subquery(),
    ),
)


def _claim(
    connection: sa.Connection, policy: JobPolicy, priority: int, most: int, *, unknown_only: bool, now: datetime
) -> list[sa.Row[Any]]:
    return LEASES.claim(
        connection,
        policy.account,
        priority,
        most,
        lease=policy.lease,
        owner=policy.owner,
        now=now,
        only_batch=policy.only_batch,
        unknown_only=unknown_only,
    )


def _is_due(connection: sa.Connection, policy: JobPolicy, which: sa.ColumnElement[bool], *, now: datetime) -> bool:
    ours = () if policy.only_batch is None else (Job.batch_id == policy.only_batch,)
    return LEASES.is_due(connection, policy.account, Job.priority.in_(PRIORITIES), *ours, which, now=now)


_JOB_CONTEXT = (
    sa.select(
        Job.id,
        CustomerRow.kind,
        CustomerRow.country,
        CustomerRow.locale,
        CustomerRow.timezone,
        CustomerRow.encrypted,
        sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).label("cancelled_at"),
        sessions.LIVE_SESSION.label("live_session"),
        unreachable.ANY_SUPPRESSED.label("any_suppressed"),
    )
    .join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
    .join(Batch, Batch.id == Job.batch_id)
    .where(bulk.among(Job.id, "ids"))
)


def _references(connection: sa.Connection, session_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, str]:
    """The providers' references of these sessions."""
    if not session_ids:
        return {}
    query = sa.select(SessionRow.id, SessionRow.reference).where(SessionRow.id.in_(session_ids))
    return {row.id: row.reference for row in fetch(connection, query)}


def _job_context(connection: sa.Connection, ids: Sequence[int]) -> dict[int, sa.Row[Any]]:
    """By job: the customer, the cancellation, the live session, and whether any address at all is suppressed."""
    return {row.id: row for row in fetch(connection, _JOB_CONTEXT, {"ids": bulk.keys(ids)})} if ids else {}
