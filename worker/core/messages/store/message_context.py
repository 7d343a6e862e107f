"""Message contexts: the session, customer and job that an invitation is written from, decrypted for its dispatcher."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import aliased

from worker.core.customers.customers import Customer
from worker.core.customers.store.suppressions import ANY_SUPPRESSED
from worker.core.database import bulk
from worker.core.database.encrypted_values import decrypt_opening, decrypt_person
from worker.core.database.leases import Leases
from worker.core.database.priorities import BATCH, EVENT
from worker.core.database.tables import Attempt, Batch, CustomerRow, InvitationRow, Job, SessionRow
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.reissue import is_kept_back
from worker.core.lifecycle.store.own_links import StableLinks
from worker.core.limits.store.claims import ClaimPolicy
from worker.core.messages.quiet_hours import message_at
from worker.core.messages.wording import REACHED, Wording, is_resend, wording_of
from worker.core.model.sessions import Opening
from worker.core.model.states import InvitationState, SessionState
from worker.core.unknown.reconciliation import UnknownCall
from worker.core.work.store.sessions import FIRST


@dataclass(frozen=True, kw_only=True)
class InvitationPolicy(ClaimPolicy):
    """How one channel's invitations are claimed and their results stored."""

    channel: str
    # From when an account may open another session, by the account and the expiry of the session before.
    reissue_at: Callable[[str, datetime], datetime] = lambda _account, expires_at: expires_at
    repeatable: bool = False  # whether a hand-over may be repeated if its outcome is unknown
    stable: StableLinks | None = None  # messages carry our own links; None: the sessions'

    @property
    def claims_for(self) -> str:
        return self.channel


@dataclass(repr=False)  # not frozen: see `customers.customers`
class ClaimedInvitation:
    """An invitation under our lease, with all that its text needs: personal and secret, so no repr."""

    id: uuid.UUID
    session_id: uuid.UUID
    job_id: int
    batch_id: int
    kind: str
    fence: int
    attempts: int
    due_at: datetime  # restored when the invitation is not handed over: it must not lose its place in the queue
    lease_until: datetime
    probe: bool  # True for the single hand-over that tests the sender after a pause
    account: str  # the provider account that opened its session
    customer: Customer
    link: str
    opening: Opening
    issued_at: datetime
    expires_at: datetime
    floor: timedelta
    unknown_call: UnknownCall | None = None  # set: reconcile this earlier hand-over instead of handing the message over
    priority: int = BATCH
    wording: Wording = Wording.INVITATION
    reissues: int = 0  # the job's sessions after the first
    unknown_handovers: int = 0  # earlier ones of this message whose outcome stays unknown
    traceparent: str | None = None  # of the span that took the job in
    ended: bool = False  # the provider has ended the session: the link must not be sent, whatever its expiry
    stable: bool = False  # its link is our own, which is never too old to be sent
    given_away: bool = False  # an address that was corrected has its session's link

    @property
    def is_event(self) -> bool:
        return self.priority == EVENT

    def use_own_link(self, address: str, ends_at: datetime, *, made_at: datetime) -> None:
        """Carry our own link, which leads to a session until `ends_at`. One that is older than the message's session is
        the link that the customer has."""
        self.link, self.expires_at, self.stable, self.ended = address, ends_at, True, False
        self.opening = replace(self.opening, link=address)
        if made_at < self.issued_at and self.wording is Wording.NEW_LINK:
            self.wording = Wording.INVITATION


@dataclass(frozen=True, repr=False)
class Candidate:
    """A message that may be about to leave, and the claimed row that it was decrypted from."""

    item: ClaimedInvitation
    row: Any


@dataclass(frozen=True)
class MessageClaim:
    """What the gates of one claim share."""

    connection: sa.Connection
    keyring: Keyring
    policy: InvitationPolicy
    now: datetime


def leaves_at(policy: InvitationPolicy, item: ClaimedInvitation, now: datetime) -> datetime:
    """When it is not quiet where the message goes: `now` or later."""
    hours, channel = policy.contact.hours, policy.channel
    return message_at(channel, hours.zones(item.customer, (channel,)), hours.quiet, invite_at=None, now=now)


_EARLIER = aliased(SessionRow)
_REACHED_BEFORE = sa.exists().where(
    _EARLIER.customer_id == SessionRow.customer_id,
    _EARLIER.purpose == SessionRow.purpose,
    _EARLIER.id != SessionRow.id,
    sa.exists().where(
        (_OF_EARLIER := aliased(InvitationRow)).session_id == _EARLIER.id,
        _OF_EARLIER.state.in_([bulk.fixed(state) for state in sorted(REACHED)]),
    ),
)
_OTHER_SESSION, _OTHER = aliased(SessionRow), aliased(InvitationRow)
_ALONE = ~sa.exists().where(
    _OTHER_SESSION.customer_id == SessionRow.customer_id,
    _OTHER.session_id == _OTHER_SESSION.id,
    _OTHER.id != InvitationRow.id,
)
# What `customer_of` reads.
CUSTOMER = (
    CustomerRow.customer_id,
    CustomerRow.kind.label("customer_kind"),
    CustomerRow.encrypted.label("person"),
    CustomerRow.country,
    CustomerRow.locale,
    CustomerRow.timezone,
    Job.purpose,
    Job.channel.label("job_channel"),
    Job.template,
)
# What a claim returns.
WORKED_FROM = (
    InvitationRow.id,
    InvitationRow.session_id,
    InvitationRow.job_id,
    InvitationRow.batch_id,
    InvitationRow.channel,
    InvitationRow.kind,
    InvitationRow.state,
    InvitationRow.due_at,
    InvitationRow.priority,
    InvitationRow.lease_until,
    InvitationRow.fence,
    InvitationRow.attempts,
    InvitationRow.unknown_attempt,
    InvitationRow.unknown_handovers,
    SessionRow.encrypted.label("session"),
    SessionRow.state.label("session_state"),
    SessionRow.result,
    SessionRow.issued_at,
    SessionRow.expires_at,
    SessionRow.replaces,
    SessionRow.account,
    SessionRow.vendor,
    SessionRow.given_away,
    SessionRow.same_link,
    *CUSTOMER,
    Job.state.label("job_state"),
    Job.reason.label("job_reason"),
    Job.session_id.label("job_session_id"),
    Job.reissues,
    Job.floor_seconds,
    Job.traceparent,
    sa.func.coalesce(Batch.cancelled_at, Job.cancelled_at).label("cancelled_at"),
    Batch.planned,
    _REACHED_BEFORE.label("reached_before"),
    _ALONE.label("alone"),  # the only message of its customer
    ANY_SUPPRESSED.label("any_suppressed"),
)
JOINED = (
    SessionRow.id == InvitationRow.session_id,
    CustomerRow.customer_id == SessionRow.customer_id,
    Job.id == InvitationRow.job_id,
)


def values_of(rows: Sequence[Any]) -> Iterator[bytes | None]:
    for row in rows:
        yield row.person
        yield row.session


def customer_of(keyring: Keyring, row: Any) -> Customer:
    """The customer of a message's row. Raises keyring.CannotDecrypt, encrypted_values.Erased."""
    return Customer(
        customer_id=row.customer_id,
        kind=row.customer_kind,
        purpose=row.purpose,
        person=decrypt_person(keyring, row.customer_id, row.person),
        country=row.country,
        locale=row.locale,
        timezone=row.timezone,
        channel=row.job_channel,
        template=row.template,
    )


def decrypted(keyring: Keyring, row: Any, unknown_call: UnknownCall | None) -> ClaimedInvitation:
    """The message of a claimed row.

    Raises keyring.CannotDecrypt, encrypted_values.Erased.
    """
    customer = customer_of(keyring, row)
    opening = Opening("")
    if row.session_state is not SessionState.UNBOUGHT:
        opening = decrypt_opening(keyring, row.session_id, row.session, vendor=row.vendor)
    return ClaimedInvitation(
        id=row.id,
        session_id=row.session_id,
        job_id=row.job_id,
        batch_id=row.batch_id,
        kind=row.kind,
        fence=row.fence,
        attempts=row.attempts,
        due_at=row.due_at,
        lease_until=row.lease_until,
        probe=False,
        account=row.account,
        customer=customer,
        link=opening.link,
        opening=opening,
        issued_at=row.issued_at,
        expires_at=row.expires_at,
        floor=timedelta(seconds=row.floor_seconds),
        unknown_call=unknown_call,
        priority=row.priority,
        wording=wording_of(first=row.kind == FIRST or is_resend(row.kind), reached_before=row.reached_before),
        reissues=row.reissues,
        unknown_handovers=row.unknown_handovers,
        traceparent=row.traceparent,
        ended=row.session_state is SessionState.EXPIRED,
        given_away=is_kept_back(row.given_away, same_link=row.same_link, channel=row.channel),
    )


_MESSAGES = sa.select(InvitationRow.job_id).where(bulk.among(InvitationRow.id, "ids"))
LEASES: Leases[uuid.UUID] = Leases(
    InvitationRow,
    InvitationState,
    of=InvitationRow.channel,
    worked_from=WORKED_FROM,
    joined=JOINED,
    attempts=(
        Attempt.job_id.in_(_MESSAGES),
        bulk.among(Attempt.invitation_id, "ids"),
        Attempt.fence
        == sa.select(InvitationRow.fence).where(InvitationRow.id == Attempt.invitation_id).scalar_subquery(),
    ),
)
