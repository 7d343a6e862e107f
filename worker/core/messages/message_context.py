"""Message contexts: the session, customer and job that an invitation is written from, decrypted for its dispatcher."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.claim.claims import ClaimPolicy
from onboarding_worker.core.claim.flush import CallResult, Claimed, Flush
from onboarding_worker.core.claim.leases import Leases
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.tables import Attempt, Batch, CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.database.tables.columns import aliased
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.states import LATE, InvitationState
from onboarding_worker.core.rows.message_rows import CUSTOMER
from onboarding_worker.core.rows.own_links import OwnLink, StableLinks
from onboarding_worker.core.rows.suppressions import ANY_SUPPRESSED
from onboarding_worker.core.rules.contact import REACHED, Invitation, Wording


@dataclass(frozen=True, kw_only=True)
class InvitationPolicy(ClaimPolicy):
    """How one channel's invitations are claimed and their results stored."""

    channel: str
    # From when an account may open another session, by the account and the expiry of the session before.
    reissue_at: Callable[[str, datetime], datetime] = lambda _account, expires_at: expires_at
    stable: StableLinks | None = None  # messages carry our own links; None: the sessions'

    @property
    def claims_for(self) -> str:
        return self.channel


@dataclass(repr=False)
class ClaimedInvitation(Claimed, Invitation):
    """An invitation under our lease. `at`: when it was opened; of a repeat, when the first hand-over was that may have
    arrived."""

    id: uuid.UUID
    session_id: uuid.UUID
    kind: str
    leased: Any  # the row that it was read from
    issued_at: datetime
    floor: timedelta
    unknown_handovers: int = 0  # earlier ones of this message whose outcome stays unknown
    lost_handovers: int = 0  # earlier ones that the sender reported as lost
    traceparent: str | None = None  # of the span that took the job in
    ended: bool = False  # the provider has ended the session: the link must not be sent, whatever its expiry
    own_link: OwnLink | None = None  # instead of its session's: it is never too old to be sent
    given_away: bool = False  # an address that was corrected has its session's link

    @property
    def earlier_handovers(self) -> int:
        """Those that count as messages, with this one."""
        return self.unknown_handovers + self.lost_handovers

    def use_own_link(self, link: OwnLink) -> None:
        """Carry our own link. One that is older than the message's session is the link that the customer has."""
        self.own_link, self.expires_at, self.ended = link, link.ends_at, False
        self.opening = replace(self.opening, link=link.address)
        if link.made_at < self.issued_at and self.wording is Wording.NEW_LINK:
            self.wording = Wording.INVITATION


InviteResult = CallResult[ClaimedInvitation]
MessageClaim = Flush[InvitationPolicy]


_EARLIER = aliased(SessionRow)
_REACHED_BEFORE = sa.exists().where(
    _EARLIER.customer_id == SessionRow.customer_id,
    _EARLIER.purpose == SessionRow.purpose,
    _EARLIER.id != SessionRow.id,
    _EARLIER.past.is_(False),
    sa.exists().where(
        (_OF_EARLIER := aliased(InvitationRow)).session_id == _EARLIER.id,
        _OF_EARLIER.state.in_([bulk.fixed(state) for state in sorted(REACHED)]),
    ),
)
_REFUSED = aliased(SessionRow)
# The codes for which the customer of a message's session was refused before, who is asked once more; NULL: was not.
REFUSED_FOR = (
    sa.select(_REFUSED.reasons)
    .where(_REFUSED.id == Job.refused_session, _REFUSED.id != InvitationRow.session_id)
    .scalar_subquery()
    .label("refused_for")
)
_OTHER_SESSION, _OTHER = aliased(SessionRow), aliased(InvitationRow)
_ALONE = ~sa.exists().where(
    _OTHER_SESSION.customer_id == SessionRow.customer_id,
    _OTHER.session_id == _OTHER_SESSION.id,
    _OTHER.id != InvitationRow.id,
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
    InvitationRow.lost_handovers,
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
    REFUSED_FOR,
    _ALONE.label("alone"),  # the only message of its customer
    ANY_SUPPRESSED.label("any_suppressed"),
)
JOINED = (
    SessionRow.id == InvitationRow.session_id,
    CustomerRow.customer_id == SessionRow.customer_id,
    Job.id == InvitationRow.job_id,
)


def first_handovers(connection: sa.Connection, items: Sequence[ClaimedInvitation]) -> dict[uuid.UUID, datetime]:
    """When the first hand-over of each of these messages was recorded that may have arrived.

    The repeat has the same Message-ID, so it gets the same Date: a relay or a mailbox that compares both sees one mail.
    """
    query = (
        sa.select(Attempt.invitation_id, sa.func.min(Attempt.opened_at).label("first_at"))
        .where(
            Attempt.job_id.in_([item.job_id for item in items]),
            Attempt.invitation_id.in_([item.id for item in items]),
            Attempt.outcome.in_([Kind.UNKNOWN.value, LATE]),
        )
        .group_by(Attempt.invitation_id)
    )
    return {row.invitation_id: row.first_at for row in connection.execute(query)}


_MESSAGES = sa.select(InvitationRow.job_id).where(bulk.among(InvitationRow.id, "ids"))
LEASES: Leases[uuid.UUID] = Leases(
    InvitationRow,
    InvitationState,
    of=InvitationRow.channel,
    free=InvitationRow.unknown_attempt.is_not(None),
    worked_from=WORKED_FROM,
    joined=JOINED,
    attempts=(
        Attempt.job_id.in_(_MESSAGES),
        bulk.among(Attempt.invitation_id, "ids"),
        Attempt.fence
        == sa.select(InvitationRow.fence).where(InvitationRow.id == Attempt.invitation_id).scalar_subquery(),
    ),
)
