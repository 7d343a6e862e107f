"""Links that must not be sent when their messages are due: too old, or given away. Their jobs wait for new sessions."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from onboarding_worker.core.budgets import budgets
from onboarding_worker.core.database import bulk
from onboarding_worker.core.database.database import fetch
from onboarding_worker.core.database.tables import InvitationRow, Job
from onboarding_worker.core.messages.message_context import ClaimedInvitation, InvitationPolicy
from onboarding_worker.core.model.reasons import Reason
from onboarding_worker.core.model.states import InvitationState, JobState
from onboarding_worker.core.rows.usage import sessions_of
from onboarding_worker.core.rules.contact import FIRST
from onboarding_worker.core.rules.reissue import replace_at


def replace_sessions(
    connection: sa.Connection, policy: InvitationPolicy, stale: Sequence[ClaimedInvitation], *, now: datetime
) -> None:
    """Move the jobs of these invitations, which this transaction has claimed, back to waiting for a new session.

    When the cap on sessions is used up, the job lapses instead: a queue longer than a link's life must not buy sessions
    for ever.
    """
    budgets.end_probe(connection, policy.rule, stale)
    # A reminder with a stale link is not sent; its job stays as it is.
    firsts = [item for item in stale if item.kind == FIRST]
    due = {
        item.job_id: replace_at(
            allowed_from=policy.reissue_at(item.leased.account, item.expires_at),
            issued_at=item.issued_at,
            expires_at=item.expires_at,
            spacing=timedelta(0) if item.given_away else policy.contact.spacing,
            reported_over=item.ended,
            reissues=item.leased.reissues,
            now=now,
        )
        for item in firsts
    }
    given_away = {item.job_id for item in firsts if item.given_away}
    sessions = [item.session_id for item in firsts]
    over = {"state": InvitationState.SUPERSEDED, "lease_until": None, "reason": Reason.STALE_LINK}
    # Waiting reminders stay: a reminder repeats a link that was sent, and is checked when it is due.
    first = InvitationRow.session_id.in_(sessions) & (InvitationRow.kind == FIRST)
    corrected = [item.id for item in stale if item.given_away]
    if corrected:
        values = over | {"reason": Reason.ADDRESS_CORRECTED}
        connection.execute(sa.update(InvitationRow).where(InvitationRow.id.in_(corrected)).values(values))
    ids = [item.id for item in stale if not item.given_away]
    stale_rows = InvitationRow.id.in_(ids) | (first & (InvitationRow.state == InvitationState.WAITING))
    connection.execute(sa.update(InvitationRow).where(stale_rows).values(over))
    # A job that has another session by now is left out: its message on another channel was stale earlier.
    which = (Job.id.in_(due), Job.state == JobState.ISSUED, Job.session_id.in_(sessions))
    query = sa.select(Job.id, Job.customer_id, Job.purpose).where(*which).order_by(Job.id)
    jobs = fetch(connection, query.with_for_update())
    had = sessions_of(connection, [row.customer_id for row in jobs])
    moves = []
    for row in jobs:
        detail, reason = "the link was too old to send when the message was due", Reason.STALE_LINK
        if row.id in given_away:
            detail, reason = "its link may have left for an address that was corrected", Reason.SESSION_ENDS_FIRST
        is_spent = had[row.customer_id, row.purpose] > policy.contact.caps.reissues
        moves.append(
            {
                "job_id": row.id,
                "new_state": JobState.LAPSED if is_spent else JobState.WAITING,
                "new_due_at": None if is_spent else max(due[row.id], now),
                "new_attempts": 0,
                "new_reason": Reason.REISSUES_SPENT if is_spent else reason,
                "new_detail": f"{detail}, and no more sessions are allowed for the customer" if is_spent else detail,
                "new_changed_at": now,
            }
        )
    if moves:
        by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
        names = ("state", "due_at", "attempts", "reason", "detail", "changed_at")
        connection.execute(by_id.values(bulk.new(*names)), moves)
