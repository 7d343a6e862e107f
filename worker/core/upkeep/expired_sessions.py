"""Checks sessions that ended unused when they are due, and replaces them or leaves their customers alone.

`reissue.decide` decides about each session; this module gives it the rows and stores its decisions, in chunks. A chunk
is one transaction: a process that is killed has changed nothing, and of two sweeps in parallel the second finds that
the first has moved its rows.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import astuple, dataclass, field
from datetime import datetime, timedelta
from functools import partial
from operator import add
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import Database, fetch, known
from onboarding_worker.core.database.encrypted_values import Erased, decrypt_person
from onboarding_worker.core.database.facts import SessionsExpired, happened
from onboarding_worker.core.database.job_ids import among_keys, rows_of
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import CustomerRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.channels import Address
from onboarding_worker.core.model.customers import Person, invitation_channels
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.refusals import asks_again, of_stored
from onboarding_worker.core.model.sessions import ExpirySource, max_age_of
from onboarding_worker.core.model.states import (
    BATCH,
    EVENT,
    LIVE_SESSIONS,
    OPEN_JOBS,
    PAUSED,
    JobState,
    Result,
    SessionState,
)
from onboarding_worker.core.rows import usage
from onboarding_worker.core.rows.in_review import others_in_review
from onboarding_worker.core.rows.own_links import ends_of
from onboarding_worker.core.rows.row_by_row import Chunk, hold_jobs, row_by_row
from onboarding_worker.core.rows.suppressions import reachable
from onboarding_worker.core.rules.contact import ContactPolicy, writable
from onboarding_worker.core.rules.given_links import SameLink, kinds_of
from onboarding_worker.core.rules.limits import day_of
from onboarding_worker.core.rules.reissue import (
    SETTLES,
    Ask,
    Decision,
    Lapsed,
    Leave,
    Reissue,
    Rest,
    SessionFacts,
    Stands,
    Wait,
    decide,
)
from onboarding_worker.core.upkeep.sent_again import send_again

CHUNK = 500
# Chunks per tick: the timer sends wake-ups for other due work only after them.
CHUNKS = 4
# How often a session is looked at whose message is to leave with our own link.
LOOKED_AT_AGAIN = timedelta(days=1)


@dataclass(frozen=True)
class ExpiryPolicy:
    """The rules of the configuration and the adapters. `lifetimes` and `reissue_at` are by account; an account that was
    removed from the configuration is in neither."""

    contact: ContactPolicy
    lifetimes: Mapping[str, timedelta | None] = field(default_factory=dict)
    reissue_at: Mapping[str, Callable[[datetime], datetime]] = field(default_factory=dict)
    # The accounts whose provider lists its sessions, and those of them that can be asked now.
    lists: Collection[str] = ()
    can_ask: Callable[[], Collection[str]] = tuple
    stable: bool = False  # customers have our own links: a session is replaced when the customer comes


@dataclass(frozen=True)
class ExpiryCounts:
    """How many due sessions were checked: replaced, their jobs lapsed, left as they are (`unchanged`), or put off to
    tomorrow by their account's daily cap; or asked for at the provider first."""

    reissued: int = 0
    lapsed: int = 0
    unchanged: int = 0
    postponed: int = 0
    asked: int = 0

    @property
    def sessions(self) -> int:
        return sum(astuple(self))

    def __add__(self, other: "ExpiryCounts") -> "ExpiryCounts":
        return ExpiryCounts(*map(add, astuple(self), astuple(other)))


def check(database: Database, keyring: Keyring, policy: ExpiryPolicy, *, now: datetime) -> ExpiryCounts:
    """Check the due sessions, a few chunks at most; the rest stays due for the next call."""
    total = ExpiryCounts()
    # Usually nothing is due; this check needs no lock.
    if not database.rows(_DUE, {"now": now, "most": 1}):
        return total
    for _ in range(CHUNKS):
        counts = outlive_deadlocks(partial(_check_chunk, database, keyring, policy, now=now))
        total += counts
        if counts.sessions < CHUNK:
            break
    return total


def _check_chunk(database: Database, keyring: Keyring, policy: ExpiryPolicy, *, now: datetime) -> ExpiryCounts:
    def work(connection: sa.Connection, chunk: Chunk) -> ExpiryCounts:
        due = fetch(connection, _DUE, {"now": now, "most": CHUNK})
        if not due:
            return ExpiryCounts()
        served = {(row.customer_id, row.purpose) for row in due}
        # The leading job, not the job that the session was opened for: another list's job may have reused it.
        # Jobs are locked before sessions, as a dispatcher does when it records issued sessions.
        leaders = {(row.customer_id, row.purpose): row for row in rows_of(connection, _LEADING, served)}
        ids = {"ids": bulk.keys(row.id for row in due), "now": now}
        # Read again under the locks: another sweep, or a webhook, may have been faster.
        rows = chunk.of(fetch(connection, _SESSIONS, ids))
        sessions = _Chunk(connection, keyring, policy, now)
        # A job that has another session by now has no say about this session.
        current = [
            (row, known(job))
            for row in rows
            if (job := leaders.get((row.customer_id, row.purpose))) is not None and job.session_id == row.id
        ]
        return sessions.write(rows, sessions.decide(current))

    return row_by_row(database, "check of sessions", work, partial(_set_aside, now=now))


def _set_aside(connection: sa.Connection, kinds: Mapping[Any, str], *, now: datetime) -> None:
    """Hold the jobs of sessions that cannot be checked, and check these sessions no more."""
    jobs = sa.select(Job.id, Job.session_id).where(Job.session_id.in_(kinds), Job.leader_id.is_(None))
    by_job = {row.id: kinds[row.session_id] for row in fetch(connection, jobs.order_by(Job.id))}
    hold_jobs(connection, by_job, states=(JobState.ISSUED, JobState.INVITED), now=now)
    connection.execute(sa.update(SessionRow).where(SessionRow.id.in_(kinds)).values(check_at=None))


@dataclass
class _Chunk:
    connection: sa.Connection
    keyring: Keyring
    policy: ExpiryPolicy
    now: datetime

    def decide(self, current: list[tuple[Any, Any]]) -> dict[Any, tuple[Any, Decision]]:
        """For each session, its job and the decision about both."""
        if not current:
            return {}
        customer_ids = {row.customer_id for row, _ in current}
        customers = {
            row.customer_id: row for row in fetch(self.connection, _CUSTOMERS, {"customers": bulk.keys(customer_ids)})
        }
        sessions = usage.sessions_of(self.connection, customer_ids)
        messages = usage.messages_of(self.connection, customer_ids)
        people = {customer_id: _person(self.keyring, row) for customer_id, row in customers.items()}
        reached = reachable(self.connection, self.keyring, people)
        fallbacks = self.policy.contact.fallbacks
        can_ask, hours = set(self.policy.can_ask()), self.policy.contact.hours
        keys = [(row.customer_id, row.purpose) for row, _ in current]
        links = ends_of(self.connection, keys) if self.policy.stable else {}
        reviewed = others_in_review(self.connection, {row.id for row, _ in current})
        today = day_of(self.now)
        accounts = {job.account for _, job in current if job.state is JobState.INVITED}
        so_far = Counter(usage.reissues_so_far(self.connection, accounts, today))
        before = Counter(so_far)
        decided: dict[Any, tuple[Any, Decision]] = {}
        for row, job in current:
            customer, person = customers[row.customer_id], people[row.customer_id]
            channels, ways = invitation_channels(job.channel), reached[row.customer_id]
            given_away = bool(row.given_away) and not row.same_link
            # Of a session that was given away the new address has had no link, not our own either.
            link_until = self._link_until(job, None if given_away else links.get((row.customer_id, row.purpose)))
            by_adapter = self.policy.reissue_at.get(row.account)
            facts = SessionFacts(
                job=job.state,
                session=row.state,
                issued_at=row.issued_at,
                expires_at=row.expires_at,
                allowed_from=by_adapter(row.expires_at) if by_adapter else row.expires_at,
                # If nothing is known here, the dispatcher that claims the job records why.
                channels=writable(channels, fallbacks, ways) if ways else channels,
                zones=hours.zones_of(timezone=customer.timezone, phone=person.phone, country=customer.country),
                reissues=sessions[row.customer_id, row.purpose] - 1,
                messages=messages[row.customer_id].all,
                max_age=max_age_of(self.policy.lifetimes.get(job.account), floor=timedelta(seconds=job.floor_seconds)),
                reissued_today=so_far[job.account],
                outcome_unknown=job.unknown_attempt is not None,
                in_review=row.result == Result.REVIEW,
                in_review_before=row.id in reviewed,
                # The session's own account lists it, even if another would open the next.
                lists=row.account == job.account and row.account in self.policy.lists,
                can_ask=row.account == job.account and row.account in can_ask,
                asked_at=row.asked_at,
                end_is_theirs=row.expiry_source is ExpirySource.ANSWER,
                erased=customer.encrypted is None,
                link_until=link_until,
                given_away=given_away,
                refused=job.refused_session == row.id,
                may_ask_again=asks_again(of_stored(row.reasons), self.policy.contact.refused_for),
                asked_again=job.refused_session not in (None, row.id),
            )
            decision = decide(self.policy.contact, facts, self.now)
            so_far[job.account] += isinstance(decision, Reissue)
            decided[row.id] = (job, decision)
        usage.count_reissues(self.connection, so_far - before, today)
        return decided

    def write(self, rows: list[Any], decided: Mapping[Any, tuple[Any, Decision]]) -> ExpiryCounts:
        changes, jobs, ended, refused = [], [], [], []
        same: dict[Any, tuple[Address, ...]] = {}
        replaced = asked = 0
        nothing: tuple[Any, Decision | None] = (None, None)
        for row in rows:
            job, decision = decided.get(row.id, nothing)
            ahead = isinstance(decision, Reissue) and decision.ahead
            over = isinstance(decision, Reissue | Lapsed | Rest | Stands) or self._ended_unused(row, decision)
            # One never began, and one has its verdict.
            over = over and not ahead and row.state not in (SessionState.DEFERRED, SessionState.FAILED)
            still_opens = isinstance(decision, Reissue) and decision.still_opens
            if over and not still_opens and row.state is not SessionState.EXPIRED:
                ended.append(row.id)
            ends_as = SessionState.SUPERSEDED if still_opens else SessionState.EXPIRED
            check_at = decision.until if isinstance(decision, Wait | Rest) else None
            if isinstance(decision, SameLink):
                same[row.id] = kinds_of(row.given_away)
            if ahead or row.id in same:  # one that is replaced is the live one until the new one is recorded
                check_at = row.expires_at + SETTLES
            change = {"session_id": row.id, "new_state": ends_as if over else row.state, "new_check_at": check_at}
            changes.append(change | {"new_same_link": row.same_link or row.id in same})
            if isinstance(decision, Reissue):
                jobs.append(_waits_again(job, decision))
                replaced += 1
            elif isinstance(decision, Lapsed):
                kept = {"new_detail": decision.detail, "new_attempts": job.attempts}
                jobs.append(_moved(job, JobState.LAPSED, None, decision.reason, **kept))
            elif isinstance(decision, Stands) and job is not None:
                refused.append({"job_id": job.id})
            elif isinstance(decision, Ask):
                jobs.append(_moved(job, JobState.WAITING, self.now, Reason.STATUS_CHECK, new_needs_status_check=True))
                asked += 1
        # The jobs' reminders stay: they are superseded when they are due, and need no lock here.
        _MOVE_JOBS.run(self.connection, jobs, at=self.now)
        _REFUSED.run(self.connection, refused, at=self.now)
        _MOVE_SESSIONS.run(self.connection, changes)
        send_again(self.connection, same, due_at=self.now, now=self.now)
        happened(self.connection, SessionsExpired(ended), now=self.now)
        postponed = sum(isinstance(one, Wait) and one.why is Reason.DAY_CAP for _, one in decided.values())
        lapsed = len(jobs) - replaced - asked
        return ExpiryCounts(replaced, lapsed, len(rows) - len(jobs) - postponed, postponed, asked)

    def _ended_unused(self, row: Any, decision: Decision | None) -> bool:
        """True if the customer is left alone and the link has ended: this session needs no further check."""
        left_alone = decision is None or decision == Leave(Reason.ERASED)
        unused = row.state in LIVE_SESSIONS and row.result != Result.REVIEW
        return left_alone and unused and row.expires_at + SETTLES <= self.now

    def _link_until(self, job: Any, ends_at: datetime | None) -> datetime | None:
        """Until when the customer's own link leads on. The first message makes the link, or puts its end off: before
        that message has left, this looks again."""
        message_follows = job.state is JobState.ISSUED and invitation_channels(job.channel)
        if not (self.policy.stable and message_follows):
            return ends_at
        return max(ends_at or self.now, self.now + LOOKED_AT_AGAIN)


def _person(keyring: Keyring, customer: Any) -> Person:
    """The person; empty if it was erased or no key decrypts it: the job is held for that when it is claimed."""
    try:
        return decrypt_person(keyring, customer.customer_id, customer.encrypted)
    except (CannotDecrypt, Erased):
        return Person()


def _waits_again(job: Any, decision: Reissue) -> dict[str, Any]:
    # A customer in the app waits for an event's first link, not for this one: new sign-ups go first.
    priority = job.priority + BATCH - EVENT if job.priority in (EVENT, EVENT + PAUSED) else job.priority
    if job.refused_session == job.session_id:
        reason = Reason.ASKED_AGAIN
    elif decision.still_opens:
        reason = Reason.ADDRESS_CORRECTED
    else:
        reason = Reason.LINK_ENDS_SOON if decision.ahead else Reason.SESSION_EXPIRED
    return _moved(job, JobState.WAITING, decision.due_at, reason, new_priority=priority)


def _moved(job: Any, state: JobState, due_at: datetime | None, reason: Reason, **others: Any) -> dict[str, Any]:
    """The job's new values for `_MOVE_JOBS`. `others` replace the usual ones."""
    moved = {"job_id": job.id, "new_state": state, "new_due_at": due_at, "new_reason": reason, "new_detail": ""}
    return moved | {"new_priority": job.priority, "new_attempts": 0, "new_needs_status_check": False} | others


_DUE = (
    sa.select(SessionRow.id, SessionRow.customer_id, SessionRow.purpose)
    .where(SessionRow.check_at <= sa.bindparam("now"))
    .order_by(SessionRow.check_at, SessionRow.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
)
_LEADING = (
    sa.select(
        Job.id,
        Job.customer_id,
        Job.purpose,
        Job.account,
        Job.channel,
        Job.floor_seconds,
        Job.state,
        Job.priority,
        Job.attempts,
        Job.session_id,
        Job.unknown_attempt,
        Job.refused_session,
    )
    .where(*among_keys(Job), Job.leader_id.is_(None), Job.state.in_([bulk.fixed(state) for state in OPEN_JOBS]))
    .order_by(Job.id)
    .with_for_update(key_share=True)
)
_SESSIONS = (
    sa.select(
        SessionRow.id,
        SessionRow.customer_id,
        SessionRow.purpose,
        SessionRow.account,
        SessionRow.state,
        SessionRow.result,
        SessionRow.reasons,
        SessionRow.issued_at,
        SessionRow.expires_at,
        SessionRow.expiry_source,
        SessionRow.asked_at,
        SessionRow.given_away,
        SessionRow.same_link,
    )
    .where(bulk.among(SessionRow.id, "ids"), SessionRow.check_at <= sa.bindparam("now"))
    .order_by(SessionRow.id)
    .with_for_update(key_share=True)
)
_CUSTOMERS = sa.select(CustomerRow.customer_id, CustomerRow.timezone, CustomerRow.country, CustomerRow.encrypted).where(
    bulk.among(CustomerRow.customer_id, "customers")
)
_MOVE_JOBS = bulk.Change(
    Job.id,
    bulk.new("state", "due_at", "priority", "attempts", "reason", "detail", "needs_status_check")
    | {"link_requested_at": None, "changed_at": sa.bindparam("at")},
    by="job_id",
)
# The customer was refused, and that stays.
_REFUSED = bulk.Change(
    Job.id,
    {
        "state": JobState.COMPLETED,
        "result": Result.DENIED.value,
        "session_id": Job.refused_session,
        "due_at": None,
        "reason": "",
        "detail": "",
        "changed_at": sa.bindparam("at"),
    },
    by="job_id",
)
_MOVE_SESSIONS = bulk.Change(SessionRow.id, bulk.new("state", "check_at", "same_link"), by="session_id")
