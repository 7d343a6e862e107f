"""Jobs as they are worked: claimed, with the customer and batch that a session is requested from; and the result."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from worker.core.customers.customers import Channel
from worker.core.customers.store import pending_details as pending
from worker.core.customers.store.suppressions import ANY_SUPPRESSED
from worker.core.database import bulk
from worker.core.database.leases import Leases
from worker.core.database.tables import Attempt, Batch, CustomerRow, Job, SessionRow
from worker.core.lifecycle.reissue import ahead_at
from worker.core.lifecycle.store.own_links import StableLinks
from worker.core.limits.credits import ONE_DAY
from worker.core.limits.store.claims import ClaimPolicy
from worker.core.limits.store.flush import CallResult, Claimed
from worker.core.model.sessions import APPLICANT_ID, SessionRequest
from worker.core.model.states import BATCH, JobState
from worker.core.unknown.store import unknown_outcomes


@dataclass(frozen=True, kw_only=True)
class JobPolicy(ClaimPolicy):
    """How one account's jobs are claimed and their results stored. Durations in real time."""

    account: str
    provider: str
    reissue_at: Callable[[datetime], datetime]  # the adapter's: from the old session's expiry
    lifetime: timedelta | None = None  # of the account's links; None: the vendor decides
    max_age: timedelta = timedelta(0)  # how old a link may be when it is sent, on the route with the strictest floor
    reminds: bool = False  # reminders follow a text that the provider sends itself; False: we send no texts
    on_click: StableLinks | None = None  # messages with our own links go out, and customers ask for the sessions
    any_age: bool = False  # messages have our own links: the age of a session's link does not matter

    @property
    def claims_for(self) -> str:
        return self.account

    def early_at(self, issued_at: datetime, expires_at: datetime) -> datetime | None:
        """When a link that its customer has not used is replaced before its end; None: it is not."""
        if not self.contact.ahead:
            return None
        return ahead_at(self.contact, issued_at, expires_at, self.reissue_at(expires_at))


@dataclass(repr=False)
class ClaimedJob(Claimed):
    """A job under our lease. `session_id`: of the session that a new one replaces."""

    id: int
    purpose: str
    channel: Channel
    floor: timedelta  # the freshness floor so far; a new session gets the floor of the routes as they are then
    request: SessionRequest
    asks_about: str | None = None  # the reference of the session to look up; make no new call
    link_requested_at: datetime | None = None  # the customer stands at the stable link, and waits for the session
    invite_at: datetime | None = None  # until then the customer is in the app, and needs the link there
    traceparent: str | None = None  # of the span that took the job in
    ended: bool = False  # the job ended during its call: the call is looked up, and nothing follows for the job

    @property
    def day_of_credit(self) -> date | None:
        return self.call_before.date() - ONE_DAY if self.call_before is not None else None

    @property
    def looks_up(self) -> bool:
        """True if the provider's list is read for it: no session is asked for, and no credit is spent."""
        return self.unknown_call is not None or self.asks_about is not None

    @property
    def reconciles(self) -> uuid.UUID | None:
        """The attempt that is looked up; its own id: a session is."""
        return self.attempt_id if self.unknown_call is None else self.unknown_call.attempt_id


IssueResult = CallResult[ClaimedJob]

# Whether its customer has, or had, any session: of a list of new customers none has one, and nothing more is asked.
_HAD_SESSION = (
    sa.select(sa.literal_column("1"))
    .select_from(SessionRow)
    .where(SessionRow.customer_id == Job.customer_id, SessionRow.purpose == Job.purpose)
    .limit(1)
    .correlate(Job)
    .scalar_subquery()
)
# The provider's reference of the session that the job asks about.
_ASKS_ABOUT = (
    sa.select(SessionRow.reference)
    .where(SessionRow.id == Job.session_id, Job.needs_status_check)
    .correlate(Job)
    .scalar_subquery()
)
# The vendor's id of the customer in the session that is replaced, at the same account. The account is no condition:
# PostgreSQL, while it takes the table for small, would read all sessions of an account by its index, for each row.
_APPLICANT = (
    sa.select(sa.case((SessionRow.account == Job.account, SessionRow.references[APPLICANT_ID].as_string())))
    .where(SessionRow.id == Job.session_id)
    .correlate(Job)
    .scalar_subquery()
)
# What a claim returns. Not all columns: converting unused columns cost more than the query.
_WORKED_FROM = (
    Job.id,
    Job.batch_id,
    Job.row,
    Job.customer_id,
    Job.purpose,
    Job.channel,
    Job.template,
    Job.brand,
    Job.entity_id,
    Job.consent,
    Job.encrypted.label("line"),
    Job.floor_seconds,
    Job.due_at,
    Job.priority,
    Job.lease_until,
    Job.fence,
    Job.attempts,
    Job.reissues,
    Job.session_id,
    Job.unknown_attempt,
    Job.needs_status_check,
    Job.reason,
    Job.invite_at,
    Job.link_requested_at,
    Job.traceparent,
    CustomerRow.kind,
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    CustomerRow.encrypted.label("person"),
    sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).label("cancelled_at"),
    Batch.planned,
    _HAD_SESSION.label("had_session"),
    ANY_SUPPRESSED.label("any_suppressed"),
    pending.ANY.label("any_pending"),
    _ASKS_ABOUT.label("asks_about"),
    _APPLICANT.label("applicant_id"),
)


class _JobLeases(Leases[int]):
    """Claims ended jobs too, whose calls are to be looked up: they share the account's permits and budget."""

    def claim(
        self, connection: sa.Connection, of: str, priority: int, most: int, *, unknown_only: bool = False, **how: Any
    ) -> list[Any]:
        rows = super().claim(connection, of, priority, most, unknown_only=unknown_only, **how)
        if priority == BATCH and len(rows) < most:
            rows += self.read(connection, unknown_outcomes.claim(connection, of, most - len(rows), **how))
        return rows

    def is_due(self, connection: sa.Connection, of: str, *, unknown: bool, **how: Any) -> bool:
        if super().is_due(connection, of, unknown=unknown, **how):
            return True
        return unknown and bool(connection.execute(sa.select(unknown_outcomes.due(of, **how))).scalar())


LEASES: Leases[int] = _JobLeases(
    Job,
    JobState,
    of=Job.account,
    conditions=(Job.leader_id.is_(None),),
    worked_from=_WORKED_FROM,
    joined=(CustomerRow.customer_id == Job.customer_id,),
    changes=("changed_at",),
    attempts=(
        bulk.among(Attempt.job_id, "ids"),
        Attempt.invitation_id.is_(None),
        Attempt.fence == sa.select(Job.fence).where(Job.id == Attempt.job_id).scalar_subquery(),
    ),
)
