"""What a visitor of a stable link finds, the session that a customer asks for there, and the end of a link that is for
another person. A visit reads. A press is one transaction under the customer's lock, decided by what is stored at that
moment: of two presses at once, in one web process or in two, the second finds that the first has asked."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import Act, note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import Erased, decrypt_link
from onboarding_worker.core.database.job_ids import AS_THEY_CAME
from onboarding_worker.core.database.outages import outlive_deadlocks
from onboarding_worker.core.database.tables import Attempt, Batch, CustomerRow, Job, SessionRow, StableLink
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import (
    EVENT,
    LIVE_SESSIONS,
    OPEN_JOBS,
    PRIORITIES,
    UNISSUED_JOBS,
    JobState,
    Result,
    SessionState,
)
from onboarding_worker.core.model.wakeups import WakeUp
from onboarding_worker.core.rows import usage
from onboarding_worker.core.rows.cancellation import change_jobs, leave_session, lock_unsent, waiting_again
from onboarding_worker.core.rows.in_review import OTHER_IN_REVIEW
from onboarding_worker.core.rows.own_links import digests_of
from onboarding_worker.core.rows.row_by_row import end_sessions, hold_back
from onboarding_worker.core.rules.reconciliation import OrphanRule
from onboarding_worker.events.store.event_status import LinkStatus
from onboarding_worker.features.stable_links.landing import (
    Asks,
    Buy,
    Decision,
    Facts,
    Gone,
    LandingRules,
    Lead,
    Press,
    SessionAtLanding,
    Wait,
    at_landing,
)
from onboarding_worker.lists.store.admission import lock_customers, lock_serving
from onboarding_worker.reporting.store.outlook import settled_by

# A visit is noted again only after so long.
NOTED_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True, repr=False)
class Seen:
    """What the visitor gets. `link`: the session's, if the visitor is led there; secret, so no repr. `is_noted`: that a
    visitor was led to this session is noted already, a moment ago; `is_opened`: that the link was opened."""

    decision: Decision
    link_id: uuid.UUID | None = None
    account: str = ""
    job_id: int | None = None
    session_id: uuid.UUID | None = None
    link: str = ""
    locale: str = ""
    template: str = ""
    brand: str = ""
    kind: str = "individual"
    is_noted: bool = False
    is_opened: bool = False
    due: tuple[WakeUp, ...] = ()


GONE = Seen(Gone())


class Outcome(StrEnum):
    STOPPED = "stopped"
    MOMENT = "moment"  # a call for the customer is being made: ask again in a moment
    GONE = "gone"  # there is no such link


class Landings:
    def __init__(self, database: Database, keyring: Keyring, rules: LandingRules) -> None:
        self._database, self._keyring, self._rules = database, keyring, rules

    def see(self, secret: str, *, now: datetime) -> Seen:
        """What a visitor finds who asks for nothing."""
        digests = digests_of(self._keyring, secret)
        if not digests:
            return GONE
        with self._database.read() as connection:
            link = _link(connection, digests)
            return GONE if link is None else self._seen(connection, link, asks=None, now=now)[0]

    def ask(self, secret: str, *, by: Asks = Asks.PRESS, now: datetime) -> Seen:
        """What a visitor gets who may buy a session: it is asked for here, if it is needed. `by`: what asks."""
        digests = digests_of(self._keyring, secret)
        if not digests:
            return GONE
        return outlive_deadlocks(partial(self._ask, digests, by, now=now))

    def visited(self, seen: Seen, *, opened: bool, now: datetime) -> None:
        """Note that a visitor was led to the session, and, if the visit counts, that the link was opened."""
        opens, leads = opened and not seen.is_opened, isinstance(seen.decision, Lead) and not seen.is_noted
        if seen.link_id is None or not (opens or leads):
            return
        of_link = sa.update(StableLink).where(StableLink.id == seen.link_id)
        with self._database.write() as connection:
            if opens:
                connection.execute(of_link.where(StableLink.opened_at.is_(None)).values(opened_at=now))
            if leads:
                news = sa.or_(
                    StableLink.visited_session.is_(None),
                    StableLink.visited_session != seen.session_id,
                    StableLink.visited_at < now - NOTED_AGAIN,
                )
                connection.execute(of_link.where(news).values(visited_at=now, visited_session=seen.session_id))

    def ready(self, wanted: Sequence[tuple[int, str]]) -> dict[int, LinkStatus]:
        """The jobs of these that are not on their way any more: their visitors look again."""
        ids = {job_id for job_id, _ in wanted}
        rows = self._database.rows(sa.select(Job.id, Job.state, Job.reason).where(Job.id.in_(ids)))
        return {row.id: LinkStatus(row.state, row.reason, row.state not in UNISSUED_JOBS) for row in rows}

    def stop(self, secret: str, *, now: datetime) -> Outcome:
        """The link is for another person: hold the customer's row, end its session, its messages and its link, until a
        person has decided. The link is removed, not marked: who has it is not the customer, and a later message to the
        right address makes another one."""
        digests = digests_of(self._keyring, secret)
        return outlive_deadlocks(partial(self._stop, digests, now=now)) if digests else Outcome.GONE

    def _ask(self, digests: tuple[str, ...], by: Asks, *, now: datetime) -> Seen:
        with self._database.write() as connection:
            found = _link(connection, digests)
            if found is None:
                return GONE
            lock_customers(connection, [found.customer_id])
            link = _link(connection, digests)  # read again under the lock: it may have been revoked, or erased
            if link is None:
                return GONE
            # The customer's job and its session, in this order, as the check of ended sessions locks them.
            job = lock_serving(connection, lambda: _job(connection, link.customer_id, link.purpose))
            if job is not None and job.session_id is not None:
                locked = sa.select(SessionRow.id).where(SessionRow.id == job.session_id)
                fetch(connection, locked.with_for_update(key_share=True))
            seen, row = self._seen(connection, link, asks=by, now=now)
            if not isinstance(seen.decision, Buy) or row is None:
                return seen
            _buy(connection, row, seen.decision, now=now)
            act = Act("customer", by.value)
            note(connection, f"customer {link.customer_id}", now=now, reason=f"session at {row.account}", act=act)
            return replace(seen, decision=Wait(), due=(WakeUp.issue(row.account),))

    def _stop(self, digests: tuple[str, ...], *, now: datetime) -> Outcome:
        query = sa.select(StableLink).where(StableLink.digest.in_(digests))
        with self._database.write() as connection:
            found = fetch(connection, query)
            if not found:
                return Outcome.GONE
            link = found[0]
            lock_customers(connection, [link.customer_id])
            if not fetch(connection, query.where(StableLink.revoked_at.is_(None))):
                return Outcome.GONE
            of_customer = (Job.customer_id == link.customer_id, Job.purpose == link.purpose)
            leads = (*of_customer, Job.state.in_(OPEN_JOBS), Job.leader_id.is_(None))
            lock_unsent(connection, sa.select(Job.id).where(*leads))
            jobs = sa.select(Job.id, Job.state, Job.session_id).where(*leads)
            job = lock_serving(connection, lambda: connection.execute(jobs).first())
            if job is not None and job.state is JobState.WORKING:
                return Outcome.MOMENT
            if job is not None:
                hold_back(connection, [job], Reason.NOT_ME, now=now)
            else:  # a later row for the customer would go on with what a cancelled one has left
                of_link = (SessionRow.customer_id == link.customer_id, SessionRow.purpose == link.purpose)
                end_sessions(connection, *of_link)
            connection.execute(sa.delete(StableLink).where(StableLink.id == link.id))
            act = Act("customer", "link.not-me")
            note(connection, f"customer {link.customer_id}", now=now, reason="the link is for another person", act=act)
        return Outcome.STOPPED

    def _seen(self, connection: sa.Connection, link: Any, *, asks: Asks | None, now: datetime) -> tuple[Seen, Any]:
        job = _job(connection, link.customer_id, link.purpose)
        if job is None or link.revoked_at is not None or link.person is None:
            return GONE, None
        facts = self._facts(connection, link, job, now=now)
        decision = at_landing(self._rules, facts, asks=asks, now=now)
        if isinstance(decision, Buy | Press):  # only there do the counts decide; most visitors are led on
            # Locked before the decision: other visitors may be buying at the same moment.
            locks = isinstance(decision, Buy) and decision.replaces
            facts = replace(
                facts,
                sessions=usage.sessions_of(connection, [link.customer_id])[link.customer_id, link.purpose],
                # While it is locked, no other transaction counts a reissue of the account.
                reissued_today=usage.reissues_today(connection, job.account, lock=locks, now=now),
            )
            decision = at_landing(self._rules, facts, asks=asks, now=now)
        secret = ""
        if isinstance(decision, Lead):
            try:
                secret = decrypt_link(self._keyring, job.session_id, job.session_encrypted)
            except Erased:
                return GONE, job
        seen = Seen(decision, link.id, job.session_account or job.account, job.id, job.session_id, secret)
        seen = replace(seen, locale=link.locale, template=job.template, brand=job.brand, kind=link.kind)
        noted = link.visited_session == job.session_id and link.visited_at is not None
        is_noted = noted and link.visited_at >= now - NOTED_AGAIN
        return replace(seen, is_noted=is_noted, is_opened=link.opened_at is not None), job

    def _facts(self, connection: sa.Connection, link: Any, job: Any, *, now: datetime) -> Facts:
        session = None
        if job.session_state is not None:
            allowed_from = self._rules.allowed_from.get(job.session_account)
            session = SessionAtLanding(
                state=job.session_state,
                expires_at=job.expires_at,
                allowed_from=allowed_from(job.expires_at) if allowed_from else job.expires_at,
                in_review=job.session_result == Result.REVIEW or job.in_review_before,
                visited=link.visited_session == job.session_id,
            )
        return Facts(
            ends_at=link.ends_at,
            # A row that had finished before its batch was cancelled stays finished.
            job=JobState.CANCELLED if job.over_at is not None and job.state is not JobState.COMPLETED else job.state,
            reason=job.reason,
            link_requested_at=job.link_requested_at,
            outcome_unknown=job.unknown_attempt is not None,
            settled_by=settled_by(job, self._rules.orphans.get(job.account, OrphanRule()), now=now),
            paused=job.priority not in PRIORITIES,
            session=session,
            asked_again=job.refused_session not in (None, job.session_id),
        )


def _link(connection: sa.Connection, digests: tuple[str, ...]) -> Any:
    found = fetch(connection, _LINK.where(StableLink.digest.in_(digests)))
    return found[0] if found else None


def _job(connection: sa.Connection, customer_id: str, purpose: str) -> Any:
    """The job that serves the customer: the open one, or the last that ended and was not skipped."""
    own = _JOBS.where(Job.customer_id == customer_id, Job.purpose == purpose)
    rows = fetch(connection, own.order_by(*AS_THEY_CAME))
    rows = [row for row in rows if row.reason != Reason.ALREADY_FINISHED] or rows
    open_ = [row for row in rows if row.state in OPEN_JOBS]
    return (open_ or rows or [None])[-1]


def _buy(connection: sa.Connection, job: Any, decision: Buy, *, now: datetime) -> None:
    """Let the job wait for a session, due now and ahead of lists; no message follows."""
    values = waiting_again(now) | {"reason": Reason.PRESSED, "link_requested_at": now, "waits": 0}
    values["priority"] = EVENT  # a paused job buys nothing (`at_landing`)
    if job.session_state is SessionState.DEFERRED:
        values["session_id"] = job.replaces  # a row that was moved had another session before
    change_jobs(connection, [job.id], values)
    if job.session_id is not None:
        ends_as = SessionState.EXPIRED if job.session_state in LIVE_SESSIONS else None
        leave_session(connection, job.session_id, ends_as=ends_as, now=now)
    if decision.replaces:
        today = now.astimezone(UTC).date()
        usage.reissues_so_far(connection, [job.account], today)  # not locked yet where it looked like a first one
        usage.count_reissues(connection, {job.account: 1}, today)


_LINK = sa.select(
    *StableLink.__table__.columns, CustomerRow.encrypted.label("person"), CustomerRow.locale, CustomerRow.kind
).join(CustomerRow, CustomerRow.customer_id == StableLink.customer_id)
_JOBS = (
    sa.select(
        Job.__table__,
        sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).label("over_at"),
        *(SessionRow.state.label("session_state"), SessionRow.account.label("session_account")),
        *(SessionRow.result.label("session_result"), SessionRow.encrypted.label("session_encrypted")),
        *(SessionRow.expires_at, SessionRow.replaces),
        *(OTHER_IN_REVIEW.label("in_review_before"), Attempt.opened_at.label("called_at")),
    )
    .join(Batch, Batch.id == Job.batch_id)
    .join(SessionRow, SessionRow.id == Job.session_id, isouter=True)
    .join(Attempt, Attempt.id == Job.unknown_attempt, isouter=True)
    .where(Job.leader_id.is_(None))
)
