"""What has happened to customers: the sessions of one in order, with the result of each, why the next one was opened,
and the cost; and all who were invited by a time and have not finished, with each message that they were sent."""

import uuid
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database, fetch, made_of
from onboarding_worker.core.database.encrypted_values import ERASED, decrypt_words
from onboarding_worker.core.database.job_ids import AS_THEY_CAME, of_batch
from onboarding_worker.core.database.tables import Attempt, Batch, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.work import ACCOUNT, DETAIL, DUE_AT, LEAD, REASON, RESULT, STATE
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.customers import Channel
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.refusals import of_stored
from onboarding_worker.core.model.states import (
    BATCH,
    ENDED_JOBS,
    LIVE_SESSIONS,
    OPEN_JOBS,
    PRIORITIES,
    InvitationState,
    JobState,
    Result,
    SessionState,
)
from onboarding_worker.core.rows.in_review import OTHER_IN_REVIEW
from onboarding_worker.core.rows.usage import messages_of
from onboarding_worker.core.rows.verdicts import verdict_of, verdict_of_row, verdicts_of
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.lists.store.admission import finished_in_purged
from onboarding_worker.reporting.store.counting import of_job
from onboarding_worker.reporting.store.spending import CALL, COSTS, LOST
from onboarding_worker.reporting.waits import Place

CHUNK = 500
# A customer whose list was cancelled was not asked any more; one in review has done what was asked.
_UNFINISHED = [state for state in JobState if state not in (JobState.COMPLETED, JobState.CANCELLED)]
_SHOWN = [state for state in InvitationState if state is not InvitationState.SUPERSEDED]
_FIRST_LEFT = (
    sa.select(sa.func.min(InvitationRow.sent_at))
    .where(sa.or_(*of_job(Job)), InvitationRow.kind == FIRST, InvitationRow.sent_at.is_not(None))
    .scalar_subquery()
)
_IN_REVIEW = sa.exists().where(
    SessionRow.id == Job.session_id, sa.or_(SessionRow.result == Result.REVIEW.value, OTHER_IN_REVIEW)
)


def place_in_words(row: int, batch: int) -> str:
    return f"row {row} of batch {batch}"


class MessageFacts(NamedTuple):
    """A message with a session's link. `unknown_handovers`: those whose outcome stays unknown; each counts. `in_doubt`:
    it may have left; nobody knows. `over_at`: when the row that has its session ended; None: it has not, or has another
    session now."""

    channel: str
    kind: str
    state: InvitationState
    reason: str
    due_at: datetime | None
    sent_at: datetime | None
    unknown_handovers: int
    created_at: datetime
    id: uuid.UUID | None = None
    new_link: bool = False
    delivery_at: datetime | None = None
    detail: str = ""
    in_doubt: bool = False
    waits_in: Place = Place()
    over_at: datetime | None = None
    brand: str = ""


class SessionFacts(NamedTuple):
    """A session. `because`: why it was opened, which is how the session before it ended. `update_at`: when the
    provider's last update was made. `replaced_at`: when the session that replaces it was opened. `called`: a call of
    ours is stored that may have opened it; another tool's session has none. `given_away`: the kinds of address that
    were corrected since its link went there; `same_link`: it goes to the new address all the same. `asked_at`: when the
    provider was asked about it. `is_readable`: its link is kept. `in_review_before`: an earlier one is being reviewed.
    """

    id: uuid.UUID
    purpose: str
    account: str
    reference: str
    state: SessionState
    result: str
    because: Reason
    issued_at: datetime
    expires_at: datetime
    check_at: datetime | None
    reasons: tuple[str, ...]
    messages: Sequence[MessageFacts] = ()
    verdict: str = ""  # whether the result is what a webhook has said
    update_at: datetime | None = None
    replaced_at: datetime | None = None
    called: bool = True
    given_away: str = ""
    same_link: bool = False
    may_follow: bool = False  # another, at its end: a row that has not ended has it
    sendable: bool = False  # its row has not ended, and asks for no other session
    asked_at: datetime | None = None
    is_readable: bool = True
    in_review_before: bool = False

    @property
    def is_given_away(self) -> bool:
        """Its link went to an address that was corrected since, and is not to go to the new one."""
        return bool(self.given_away) and not self.same_link

    def works(self, now: datetime) -> bool:
        """Whether what the customer has leads to a session: of a deferred one, our own link does."""
        return self.state in LIVE_SESSIONS | {SessionState.DEFERRED} and self.expires_at > now


class JobFacts(NamedTuple):
    """A job of the customer, of the batch `name`. A joined one has the `state`, the `account` and the reason of its
    leader, and the place of it. `purged`: all that is left of it. `in_doubt`: it is not known what its call did, which
    was made at `called_at`. `needs_status_check`: it is due for a look-up of its session. `over_at`: when it was
    cancelled, alone or with its batch. `link_requested_at`: when the customer has asked for the session at our own
    link, so that no message follows."""

    batch: int
    row: int
    purpose: str
    state: JobState
    result: str
    reason: str
    detail: str
    account: str
    due_at: datetime | None
    joined: bool
    purged: bool = False
    brand: str = ""
    verdict: str = ""
    id: int = 0
    name: str = ""
    is_listed: bool = True
    channel: Channel = Channel.NONE
    own_account: str = ""
    lead_batch: int | None = None
    lead_row: int | None = None
    session_id: uuid.UUID | None = None
    created_at: datetime | None = None
    changed_at: datetime | None = None
    cancelled_at: datetime | None = None
    waits_in: Place = Place()
    in_doubt: bool = False
    called_at: datetime | None = None
    needs_status_check: bool = False
    over_at: datetime | None = None
    floor_seconds: int = 0
    priority: int = BATCH
    pause_cause: str = ""
    paused_at: datetime | None = None
    link_requested_at: datetime | None = None
    entity_id: str = ""

    @property
    def place(self) -> str:
        return place_in_words(self.row, self.batch)

    @property
    def is_paused(self) -> bool:
        return bool(self.pause_cause) or self.priority not in PRIORITIES

    @property
    def is_being_paused(self) -> bool:
        """Not all rows of its batch are paused yet: a message that is added now may be paused too."""
        return bool(self.pause_cause) and self.paused_at is None


class CustomerFacts(NamedTuple):
    """A customer, without personal data, tokens and links. `credits`: by account, calls that cost one, or may have;
    `lost_calls`: those that brought no session that is used. `messages`: how many count against the cap."""

    customer_id: str
    erased: bool
    jobs: list[JobFacts]
    sessions: list[SessionFacts]
    credits: dict[str, int]
    lost_calls: dict[str, int]
    messages: int


@dataclass(frozen=True, repr=False)
class Words:
    """What a provider or sender said about a call. Personal, so no repr. `words` None: no key decrypts them."""

    at: datetime
    account: str
    outcome: str
    status: int | None
    code: str | None
    words: str | None


def words_about(database: Database, keyring: Keyring, customer_id: str, *, now: datetime) -> list[Words]:
    """What providers and senders said about calls for this customer. Their disclosure goes into the audit log."""
    query = sa.select(Attempt.__table__).join(Job, Job.id == Attempt.job_id).order_by(Attempt.opened_at, Attempt.id)
    query = query.where(Job.customer_id == customer_id, Attempt.encrypted.is_not(None))
    with database.write() as connection:
        rows = fetch(connection, query)
        found = [made_of(Words, row, at=row.closed_at, words=_words(keyring, row)) for row in rows]
        note(connection, f"customer {customer_id}", now=now, count=len(found), reason="provider's words shown")
    return found


def facts_of(connection: sa.Connection, keyring: Keyring, customer_id: str) -> CustomerFacts | None:
    """The facts of a customer; None: no customer with that id was imported."""
    calls = sa.select(Attempt.account, sa.func.count().label("all"), LOST).join(Job, Job.id == Attempt.job_id)
    calls = calls.where(Job.customer_id == customer_id, CALL, COSTS)
    calls = calls.group_by(Attempt.account).order_by(Attempt.account)
    query = sa.select(CustomerRow.encrypted.is_(None)).where(CustomerRow.customer_id == customer_id)
    erased = connection.execute(query).scalar()
    if erased is None:
        return None
    spent = fetch(connection, calls)
    verdicts = verdicts_of(connection, keyring, [customer_id])
    jobs = [
        job._replace(verdict=verdict_of_row(verdicts, customer_id, job).value)
        for job in jobs_of(connection, [customer_id]).get(customer_id, ())
    ]
    return CustomerFacts(
        customer_id=customer_id,
        erased=erased,
        jobs=jobs,
        sessions=sessions_of(connection, keyring, customer_id, jobs),
        credits={row.account: row.all for row in spent},
        lost_calls={row.account: row.lost for row in spent if row.lost},
        messages=messages_of(connection, [customer_id])[customer_id].all,
    )


def _words(keyring: Keyring, row: Any) -> str | None:
    try:
        return decrypt_words(keyring, row.id, row.encrypted)
    except CannotDecrypt:
        return None


def jobs_of(connection: sa.Connection, customer_ids: Collection[str]) -> dict[str, list[JobFacts]]:
    """The jobs of these customers by their ids, as they came; first those that went with their batches."""
    query = (
        sa.select(
            *(Job.id, Job.customer_id, Job.batch_id.label("batch"), Job.row, Job.purpose, STATE.label("state")),
            *(RESULT.label("result"), ACCOUNT.label("account"), Job.account.label("own_account")),
            *(DUE_AT.label("due_at"), REASON.label("reason"), DETAIL.label("detail")),
            *(Job.channel, Job.session_id, Job.created_at, Job.changed_at, Job.cancelled_at, Job.needs_status_check),
            *(LEAD.batch_id.label("lead_batch"), LEAD.row.label("lead_row"), Job.unknown_attempt),
            *(Job.floor_seconds, Job.link_requested_at, Job.entity_id, Batch.pause_cause, Batch.paused_at),
            sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).label("over_at"),
            *(sa.func.coalesce(LEAD.brand, Job.brand).label("brand"), Job.priority, Batch.pause_reason, Batch.name),
            *(Batch.last_row.is_(None).label("is_listed"), Job.fallback_accounts, Attempt.opened_at.label("called_at")),
        )
        .join(Batch, Batch.id == Job.batch_id)
        .join(LEAD, LEAD.id == Job.leader_id, isouter=True)
        .join(Attempt, Attempt.id == Job.unknown_attempt, isouter=True)
        .where(Job.customer_id.in_(customer_ids))
        .order_by(*AS_THEY_CAME)
    )
    found: dict[str, list[JobFacts]] = {}
    end = JobState.COMPLETED
    for row in finished_in_purged(connection, customer_ids):
        one = JobFacts(row.batch_id, row.row, row.purpose, end, row.result, "", "", "", None, joined=False, purged=True)
        found.setdefault(row.customer_id, []).append(one)
    for row in fetch(connection, query):
        in_doubt = row.unknown_attempt is not None
        others = bool(row.fallback_accounts) and not in_doubt
        job = made_of(
            JobFacts,
            row,
            joined=row.lead_batch is not None,
            in_doubt=in_doubt,
            waits_in=Place.of(row.batch, row.pause_reason, row.priority, others=others),
        )
        found.setdefault(row.customer_id, []).append(job)
    return found


# A session may follow, or be sent, as long as such a row has it.
_SENDABLE = (JobState.ISSUED, JobState.INVITED, JobState.FAILED)


def sessions_of(
    connection: sa.Connection, keyring: Keyring, customer_id: str, jobs: Sequence[JobFacts]
) -> list[SessionFacts]:
    calls = (Attempt.job_id == SessionRow.job_id, CALL, Attempt.opened_at <= SessionRow.issued_at)
    called = sa.exists().where(*calls).label("called")
    query = sa.select(SessionRow.__table__, called, OTHER_IN_REVIEW.label("in_review_before"))
    query = query.where(SessionRow.customer_id == customer_id)
    rows = fetch(connection, query.order_by(SessionRow.issued_at, SessionRow.id))
    messages = _messages(connection, [row.id for row in rows])
    by_id = {row.id: row for row in rows}
    replaced_at = {row.replaces: row.issued_at for row in reversed(rows)}
    # The sweep replaces the session of an open leading row only: a cancelled row, or an erased customer, has none.
    open_ = {job.session_id for job in jobs if not job.joined and job.state in OPEN_JOBS}
    sendable = {job.session_id for job in jobs if not job.joined and job.state in _SENDABLE and not job.cancelled_at}
    return [
        made_of(
            SessionFacts,
            row,
            because=_because(row, by_id.get(row.replaces), messages.get(row.replaces, ())),
            reasons=of_stored(row.reasons),
            verdict=verdict_of(keyring, row).value,
            messages=messages.get(row.id, []),
            replaced_at=replaced_at.get(row.id),
            may_follow=row.check_at is not None and row.id in open_,
            sendable=row.id in sendable,
            is_readable=row.state is SessionState.DEFERRED or bytes(row.encrypted) != ERASED,
        )
        for row in rows
    ]


def _because(row: sa.Row[Any], before: sa.Row[Any] | None, messages: Sequence[MessageFacts]) -> Reason:
    """Why a session was opened. Not stored: the state and the messages of the one that it replaces show it."""
    if not row.replaces:
        return Reason.FIRST_SESSION
    if any(one.reason == Reason.STALE_LINK for one in messages) and not any(one.sent_at for one in messages):
        return Reason.STALE_LINK
    if before is not None and before.state is SessionState.FAILED and before.result == Result.DENIED:
        return Reason.ASKED_AGAIN
    ended = before is None or before.state is not SessionState.SUPERSEDED  # None: purged with its batch
    return Reason.SESSION_EXPIRED if ended else Reason.SESSION_SUPERSEDED


def _messages(connection: sa.Connection, sessions: Sequence[uuid.UUID]) -> dict[uuid.UUID, list[MessageFacts]]:
    its_row = sa.and_(Job.id == InvitationRow.job_id, Job.session_id == InvitationRow.session_id)
    query = (
        sa.select(
            *(InvitationRow.__table__, Batch.pause_reason, Job.changed_at.label("over_at")),
            sa.select(LEAD.brand).where(LEAD.id == InvitationRow.job_id).scalar_subquery().label("brand"),
        )
        .join(Batch, Batch.id == InvitationRow.batch_id)
        .join(Job, sa.and_(its_row, Job.state.in_(ENDED_JOBS)), isouter=True)
        .where(InvitationRow.session_id.in_(sessions))
    )
    found: dict[uuid.UUID, list[MessageFacts]] = {}
    for row in fetch(connection, query.order_by(InvitationRow.channel, InvitationRow.kind)) if sessions else ():
        message = made_of(
            MessageFacts,
            row,
            in_doubt=row.unknown_attempt is not None,
            waits_in=Place.of(row.batch_id, row.pause_reason, row.priority),
        )
        found.setdefault(row.session_id, []).append(message)
    return found


class Message(NamedTuple):
    """A message: when it left, or is due; and what is known of it. `reason`: why it did not leave."""

    at: datetime | None
    channel: str
    kind: str
    state: str
    reason: str


class Nonresponder(NamedTuple):
    """A customer who has not finished. `invited_at`: when the first invitation left."""

    batch_id: int
    row: int
    customer_id: str
    purpose: str
    state: str
    account: str
    invited_at: datetime
    messages: Sequence[Message]


def nonresponders(database: Database, *, by: datetime, batch_id: int | None = None) -> Iterator[Nonresponder]:
    """Those who were invited by this time, in the order of their batches and rows. They are read in chunks. Customers
    in review have submitted and are left out, and so are rows that joined another list's row."""
    invited_at = _FIRST_LEFT.label("invited_at")
    unfinished = (
        sa.select(Job.id, Job.batch_id, Job.row, Job.customer_id, Job.purpose, Job.state, Job.account, invited_at)
        .where(Job.leader_id.is_(None), Job.state.in_(_UNFINISHED), ~_IN_REVIEW, invited_at <= by)
        .order_by(Job.id)
        .limit(CHUNK)
    )
    if batch_id is not None:
        unfinished = unfinished.where(of_batch(batch_id))
    after = 0
    while True:
        with database.read() as connection:
            jobs = fetch(connection, unfinished.where(Job.id > after))
            messages = _messages_of_jobs(connection, [job.id for job in jobs])
        for job in jobs:
            yield made_of(Nonresponder, job, state=str(job.state), messages=messages[job.id])
        if not jobs:
            return
        after = jobs[-1].id


def _messages_of_jobs(connection: sa.Connection, jobs: Sequence[int]) -> dict[int, list[Message]]:
    found: dict[int, list[Message]] = {job: [] for job in jobs}
    at = sa.func.coalesce(InvitationRow.sent_at, InvitationRow.due_at)
    columns = (InvitationRow.channel, InvitationRow.kind, InvitationRow.state, InvitationRow.reason)
    query = sa.select(Job.id.label("job_id"), at.label("at"), *columns).join(InvitationRow, sa.or_(*of_job(Job)))
    query = query.where(Job.id.in_(jobs), InvitationRow.state.in_(_SHOWN)).order_by(Job.id, at, InvitationRow.id)
    for row in fetch(connection, query) if jobs else []:
        found[row.job_id].append(Message(row.at, row.channel, row.kind, str(row.state), row.reason))
    return found
