"""Erases the personal data that belongs to jobs; the rest of their rows stays: ids, states, times. Also what a call has
brought meanwhile for a customer who was erased.
"""

from collections import Counter
from collections.abc import Collection

import sqlalchemy as sa

from onboarding_worker.core.database.encrypted_values import ERASED
from onboarding_worker.core.database.tables import (
    Attempt,
    CustomerRow,
    InvitationRow,
    Job,
    Outbox,
    PendingDetails,
    SessionRow,
    Webhook,
)
from onboarding_worker.core.model.sessions import EXTERNAL_REF
from onboarding_worker.core.model.states import SessionState

# What is left of a customer whose details are gone.
PERSON_GONE = {"encrypted": None, "email_digest": None, "phone_digest": None} | dict.fromkeys(
    ("country", "locale", "timezone"), ""
)


def erase_jobs(connection: sa.Connection, ids: Collection[int]) -> Counter[str]:
    """Erase the personal data of these jobs' lines, their sessions' links and why those were refused, what was said
    about their calls, and the copies of webhooks about them."""
    # Jobs before their sessions. Only those that hold data, and NULL is none: each updated job row costs writes to six
    # indexes.
    lines = sa.update(Job).where(Job.id.in_(ids), Job.encrypted != ERASED)
    values = connection.execute(lines.values(encrypted=ERASED)).rowcount
    sessions = sa.select(SessionRow.id).where(SessionRow.job_id.in_(ids))
    messages = sa.select(InvitationRow.id).where(InvitationRow.job_id.in_(ids))
    links = sa.update(SessionRow).where(SessionRow.job_id.in_(ids), SessionRow.encrypted != ERASED)
    reasons = sa.update(SessionRow).where(SessionRow.job_id.in_(ids), SessionRow.reasons != "")
    # Their own links are gone: a later list must not take their messages for its own.
    deferred = sa.update(SessionRow).where(SessionRow.job_id.in_(ids), SessionRow.state == SessionState.DEFERRED)
    connection.execute(deferred.values(check_at=None))
    words = sa.update(Attempt).where(Attempt.job_id.in_(ids), Attempt.encrypted.is_not(None))
    copies = sa.update(Webhook).where(
        # One that is still to be applied holds a state and a time, and is emptied as soon as it is applied.
        Webhook.due_at.is_(None),
        Webhook.encrypted.is_not(None),
        sa.or_(Webhook.session_id.in_(sessions), Webhook.invitation_id.in_(messages)),
    )
    waiting = sa.delete(PendingDetails).where(PendingDetails.job_id.in_(ids)).returning(PendingDetails.encrypted)
    _forget_external_refs(connection, ids)
    return Counter(
        {
            "links and tokens": connection.execute(links.values(encrypted=ERASED)).rowcount,
            "reasons of refusals": connection.execute(reasons.values(reasons="")).rowcount,
            "words of providers and senders": connection.execute(words.values(encrypted=None)).rowcount,
            "copies of webhooks": connection.execute(copies.values(encrypted=None)).rowcount,
            # A mark that the customer's own are not released holds none.
            "details that waited": sum(one is not None for one in connection.execute(waiting).scalars()),
            "values of lists": values,
        }
    )


def _forget_external_refs(connection: sa.Connection, ids: Collection[int]) -> None:
    """Where a provider names a session by the list's external_ref, put the number of the job in its place, by which
    webhooks find the session too. So do events that are not published yet."""
    columns = (SessionRow.id, SessionRow.job_id, SessionRow.customer_id, SessionRow.reference, SessionRow.references)
    for row in connection.execute(sa.select(*columns).where(SessionRow.job_id.in_(ids))).all():
        if EXTERNAL_REF not in row.references:
            continue
        kept = {name: value for name, value in row.references.items() if name != EXTERNAL_REF}
        named = row.reference == row.references[EXTERNAL_REF]
        values = {"references": kept, "reference": str(row.job_id) if named else row.reference}
        connection.execute(sa.update(SessionRow).where(SessionRow.id == row.id).values(values))
        waiting = sa.select(Outbox.id, Outbox.data).where(Outbox.customer_id == row.customer_id).order_by(Outbox.id)
        for event in connection.execute(waiting).all() if named else ():
            if event.data.get("session") == row.reference:
                renamed = sa.update(Outbox).where(Outbox.id == event.id)
                connection.execute(renamed.values(data=event.data | {"session": str(row.job_id)}))


def erase_again(connection: sa.Connection, job_ids: Collection[int]) -> None:
    """Erase what a call has brought for customers who were erased while it was on its way."""
    erased = sa.select(Job.id, Job.customer_id).join(CustomerRow, CustomerRow.customer_id == Job.customer_id)
    erased = erased.where(Job.id.in_(job_ids), CustomerRow.encrypted.is_(None))
    if rows := connection.execute(erased).all():
        erase_jobs(connection, [row.id for row in rows])
