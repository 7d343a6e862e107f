"""Claim invitations: reserve hand-overs from the sender's budget and lease as many due invitations."""

import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import sqlalchemy as sa

from worker.domain.limits.budgets import BudgetRule
from worker.domain.model.reasons import Reason
from worker.domain.model.states import InvitationState, JobState
from worker.foundation.keyring import Keyring
from worker.store.base import bulk
from worker.store.base.database import Database, fetch
from worker.store.base.leases import Leases
from worker.store.base.row_by_row import Chunk, row_by_row
from worker.store.limits import budgets
from worker.store.limits.claims import Claims
from worker.store.messages import gates
from worker.store.messages.message_context import JOINED, WORKED_FROM, ClaimedInvitation, InvitationPolicy
from worker.store.onboarding.held_rows import hold_messages
from worker.store.onboarding.sessions import FIRST
from worker.store.onboarding.usage import sessions_of
from worker.store.tables import Attempt, InvitationRow, Job


@dataclass(frozen=True)
class ClaimedInvitations:
    """The claimed invitations. `again_at`: when more may be due; None: nothing is due, or a person must act.

    `slots`: the reserved times of their hand-overs, one for each; none if the sender has no limit.
    """

    invitations: list[ClaimedInvitation]
    again_at: datetime | None = None
    permits: int | None = None  # hand-overs that may be in flight from now on
    slots: tuple[datetime, ...] = ()


class Invitations:
    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        self._database = database
        self._keyring = keyring
        self._claims = Claims(LEASES, jitter=jitter)

    def claim(
        self,
        policy: InvitationPolicy,
        *,
        most: int,
        now: datetime,
        busy: int = 0,
        events: int = 0,
        lead: timedelta = timedelta(0),
        on_claim: Callable[[sa.Connection, list[ClaimedInvitation]], None] = lambda _connection, _claimed: None,
    ) -> ClaimedInvitations:
        """Lease up to `most` due invitations, up to `events` of events, that may be sent within the policy's horizon.

        An invitation whose session has ended, or whose job or batch was cancelled, becomes superseded: its link would
        be of no use. `busy` is the number of hand-overs in flight. No slot is earlier than `lead` from now.
        """

        def work(connection: sa.Connection, chunk: Chunk) -> ClaimedInvitations:
            leased = self._claims.lease(connection, policy, most=most, events=events, busy=busy, lead=lead, now=now)
            found = gates.passed(connection, self._keyring, policy, chunk.of(leased.rows), now=now)
            again_at = leased.reserve(connection, len(found), now=now)
            claimed = [replace(item, probe=True) for item in found] if leased.granted.probe else found
            slots = leased.slots(len(claimed))
            on_claim(connection, claimed)
            return ClaimedInvitations(claimed, again_at, leased.permits, slots)

        set_aside = partial(hold_messages, states=(InvitationState.WAITING,), now=now)
        return row_by_row(self._database, f"claim for {policy.channel}", work, set_aside)

    def release_permits(self, policy: InvitationPolicy) -> None:
        """Release the sender's permits: this dispatcher hands nothing more over."""
        with self._database.write() as connection:
            self._claims.release_permits(connection, policy)

    def release(
        self,
        rule: BudgetRule,
        invitations: Iterable[ClaimedInvitation],
        unused: Sequence[datetime] = (),
        *,
        now: datetime,
        within: sa.Connection | None = None,
    ) -> None:
        """Release invitations that were not handed over, and unused slots: they keep their due time, and no attempt is
        counted."""
        invitations = list(invitations)
        with self._database.write(within) as connection:
            if any(item.probe for item in invitations):
                budgets.end_probe(connection, rule)
            leases = [(item.id, item.fence, item.lease_until) for item in invitations]
            LEASES.give_back(connection, leases, now=now)
            budgets.give_back(connection, rule, unused)

    def hold(self, rule: BudgetRule, invitations: Sequence[ClaimedInvitation], kind: str, *, now: datetime) -> None:
        """Hold invitations for which no attempt can be written, under their leases. `kind` names the exception."""
        with self._database.write() as connection:
            if any(item.probe for item in invitations):
                budgets.end_probe(connection, rule)
            ours = LEASES.still_ours(connection, [(item.id, item.fence) for item in invitations])
            hold_messages(connection, dict.fromkeys(ours, kind), states=(InvitationState.WORKING,), now=now)

    def replace(
        self,
        policy: InvitationPolicy,
        stale: Sequence[tuple[ClaimedInvitation, datetime]],
        *,
        now: datetime,
        within: sa.Connection | None = None,
    ) -> None:
        """Move the jobs of invitations with stale links back to waiting for a new session.

        `stale` pairs each invitation with the time at which a new session makes sense. When the cap on sessions is
        used up, the job lapses instead: a queue longer than a link's life must not buy sessions for ever.
        """
        with self._database.write(within) as connection:
            if any(item.probe for item, _ in stale):
                budgets.end_probe(connection, policy.rule)
            ours = LEASES.still_ours(connection, [(item.id, item.fence) for item, _ in stale])
            if not ours:
                return
            # A reminder with a stale link is not sent; its job stays as it is.
            firsts = [(item, due_at) for item, due_at in stale if item.id in ours and item.kind == FIRST]
            due = {ours[item.id]: due_at for item, due_at in firsts}
            sessions = [item.session_id for item, _ in firsts]
            over = {"state": InvitationState.SUPERSEDED, "lease_until": None, "reason": Reason.STALE_LINK}
            # Waiting reminders stay: a reminder repeats a link that was sent, and is checked when it is due.
            first = InvitationRow.session_id.in_(sessions) & (InvitationRow.kind == FIRST)
            stale_rows = InvitationRow.id.in_(list(ours)) | (first & (InvitationRow.state == InvitationState.WAITING))
            connection.execute(sa.update(InvitationRow).where(stale_rows).values(over))
            query = sa.select(Job.id, Job.customer_id, Job.purpose)
            # A job that has another session by now is left out: its message on another channel was stale earlier.
            query = query.where(Job.id.in_(due), Job.state == JobState.ISSUED, Job.session_id.in_(sessions))
            query = query.order_by(Job.id)
            jobs = fetch(connection, query.with_for_update())
            had = sessions_of(connection, [row.customer_id for row in jobs])
            moves = [
                _wait_for_session(
                    row.id,
                    max(due[row.id], now),
                    spent=had[row.customer_id, row.purpose] > policy.most_reissues,
                    now=now,
                )
                for row in jobs
            ]
            if moves:
                by_id = sa.update(Job).where(Job.id == sa.bindparam("job_id"))
                names = ("state", "due_at", "attempts", "reason", "detail", "changed_at")
                connection.execute(by_id.values({name: sa.bindparam(f"new_{name}") for name in names}), moves)


_MESSAGES = sa.select(InvitationRow.job_id).where(bulk.among(InvitationRow.id, "ids"))
LEASES: Leases[uuid.UUID, int] = Leases(
    InvitationRow,
    InvitationState,
    of=InvitationRow.channel,
    worked_from=WORKED_FROM,
    joined=JOINED,
    rereads=InvitationRow.job_id,  # read again: a job of another list may have adopted the session since the claim
    attempts=(
        Attempt.job_id.in_(_MESSAGES),
        bulk.among(Attempt.invitation_id, "ids"),
        Attempt.fence
        == sa.select(InvitationRow.fence).where(InvitationRow.id == Attempt.invitation_id).scalar_subquery(),
    ),
)


def _wait_for_session(job_id: int, due_at: datetime, *, spent: bool, now: datetime) -> dict[str, Any]:
    detail = "the link was too old to send when the message was due"
    return {
        "job_id": job_id,
        "new_state": JobState.LAPSED if spent else JobState.WAITING,
        "new_due_at": None if spent else due_at,
        "new_attempts": 0,
        "new_reason": Reason.REISSUES_SPENT if spent else Reason.STALE_LINK,
        "new_detail": f"{detail}, and no more sessions are allowed for the customer" if spent else detail,
        "new_changed_at": now,
    }
