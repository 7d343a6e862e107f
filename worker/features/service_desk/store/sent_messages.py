"""The messages that have left to a customer, with what their words were made from. The words themselves are not stored.
They would be most of the database, and each would be one more copy of a name and a link. A message is made again from
its template, whose digest was stored as it left."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database, fetch
from onboarding_worker.core.database.encrypted_values import Erased, context_of_person, decrypt_opening, of_our_shape
from onboarding_worker.core.database.tables import CustomerRow, InvitationRow, Job, SessionRow
from onboarding_worker.core.foundation.keyring import Keyring
from onboarding_worker.core.messages.message_context import REFUSED_FOR
from onboarding_worker.core.model.channels import address_of
from onboarding_worker.core.model.customers import Customer
from onboarding_worker.core.model.refusals import advice_of, of_stored
from onboarding_worker.core.model.sessions import Opening
from onboarding_worker.core.rows.message_rows import CUSTOMER, customer_of
from onboarding_worker.core.rules.contact import FIRST, Wording, is_resend
from onboarding_worker.core.rules.contracts import Message
from onboarding_worker.providers.values import masked_opening

MOST = 10


@dataclass(frozen=True, repr=False)
class SentMessage:
    """A message that has left. Personal, so no repr. `opening` is masked; None: the session's values were removed.
    `template` is the digest of the files that it was made from; "" where it is not known. `text`: its words, made
    again; None: `problem` says why not."""

    channel: str
    state: str
    sent_at: datetime
    expires_at: datetime
    wording: Wording
    template: str
    customer: Customer
    opening: Opening | None
    advice: str = ""
    text: Message | None = None
    problem: str = ""

    @property
    def to(self) -> str:
        """The customer's present address."""
        return address_of(self.customer.person, self.channel)


def sent_messages(database: Database, keyring: Keyring, customer_id: str, *, now: datetime) -> list[SentMessage]:
    """The newest messages; none for a customer who was erased. The audit log says who read them. Raises
    keyring.CannotDecrypt."""
    with database.write() as connection:
        rows = fetch(connection, _SENT.where(SessionRow.customer_id == customer_id).limit(MOST))
        try:
            with of_our_shape(context_of_person(customer_id)):
                messages = [_read(keyring, row) for row in rows]
        except Erased:
            return []
        note(connection, f"customer {customer_id}", now=now, count=len(messages), reason="messages shown")
    return messages


_SENT = (
    sa.select(
        *(InvitationRow.channel.label("sent_on"), InvitationRow.template.label("digest"), REFUSED_FOR),
        *(InvitationRow.kind, InvitationRow.state, InvitationRow.sent_at, InvitationRow.new_link),
        *(SessionRow.id.label("session_id"), SessionRow.encrypted.label("session")),
        *(SessionRow.vendor, SessionRow.expires_at, *CUSTOMER),
    )
    .select_from(InvitationRow)
    .join(SessionRow, SessionRow.id == InvitationRow.session_id)
    .join(CustomerRow, CustomerRow.customer_id == SessionRow.customer_id)
    .join(Job, Job.id == InvitationRow.job_id)
    .where(InvitationRow.sent_at.is_not(None))
    .order_by(InvitationRow.sent_at.desc(), InvitationRow.id.desc())
)


def _read(keyring: Keyring, row: Any) -> SentMessage:
    """Raises encrypted_values.Erased if the customer was erased."""
    customer = customer_of(keyring, row)
    try:
        opening = masked_opening(decrypt_opening(keyring, row.session_id, row.session, vendor=row.vendor))
    except Erased:  # a day after the link has ended
        opening = None
    first = row.kind == FIRST or is_resend(row.kind)
    new_link = Wording.NEW_LINK if row.refused_for is None else Wording.TRY_AGAIN
    words = (new_link if row.new_link else Wording.INVITATION) if first else Wording.REMINDER
    advice = advice_of(of_stored(row.refused_for or ""))
    of_sent = (row.sent_on, str(row.state), row.sent_at, row.expires_at, words, row.digest)
    return SentMessage(*of_sent, customer, opening, advice)
