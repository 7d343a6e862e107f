"""Messages: what of a flush is special to them, and what becomes of those that are released or have a stale link."""

import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.domain.limits.budgets import BudgetRule
from worker.domain.limits.measured_pace import Stretch
from worker.domain.model.reasons import Reason
from worker.domain.model.sessions import is_stale
from worker.domain.model.states import InvitationState, JobState
from worker.domain.verification.reissue import replace_at
from worker.foundation.clock import Clock
from worker.foundation.keyring import Keyring
from worker.store.base.database import Database, fetch
from worker.store.limits import budgets
from worker.store.limits.claims import Claims, Room
from worker.store.limits.flush import Flushed, flush
from worker.store.messages import gates
from worker.store.messages.message_context import LEASES, ClaimedInvitation, InvitationPolicy
from worker.store.messages.record_results import Handovers, InviteResult, OpenedInvitation
from worker.store.onboarding.held_rows import hold_messages
from worker.store.onboarding.sessions import FIRST
from worker.store.onboarding.usage import sessions_of
from worker.store.tables import InvitationRow, Job


class Invitations:
    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        self._database = database
        self._keyring = keyring
        self._handovers = Handovers(database, keyring)
        self._claims = Claims(LEASES, jitter=jitter)

    @property
    def database_time(self) -> Callable[[], datetime] | None:
        """The database's time, a blocking call; None: leases are not checked by it."""
        return self._database.now if self._database.has_own_time else None

    def flush(
        self,
        policy: InvitationPolicy,
        results: Sequence[InviteResult],
        room: Room | None,
        *,
        clock: Clock,
        stretch: Stretch | None = None,
        unused: Sequence[datetime] = (),
    ) -> Flushed[OpenedInvitation]:
        """Write these results, and claim and open due messages as `store.limits.flush` says.

        A message whose session has ended, or whose job or batch was cancelled, becomes superseded: its link would be of
        no use. A row whose link has become too old goes back for a new session.
        """
        return flush(
            self._database, self._claims, self, policy, results, room, clock=clock, stretch=stretch, unused=unused
        )

    def record(
        self,
        connection: sa.Connection,
        policy: InvitationPolicy,
        results: Sequence[InviteResult],
        *,
        now: datetime,
        stretch: Stretch | None,
    ) -> set[str]:
        self._handovers.finish(policy, results, now=now, within=connection, stretch=stretch)
        return set()

    def passed(
        self,
        connection: sa.Connection,
        policy: InvitationPolicy,
        rows: Sequence[sa.Row[Any]],
        *,
        more: bool,
        now: datetime,
    ) -> tuple[list[ClaimedInvitation], frozenset[str]]:
        return gates.passed(connection, self._keyring, policy, rows, now=now), frozenset()

    def open(
        self,
        connection: sa.Connection,
        policy: InvitationPolicy,
        items: Sequence[ClaimedInvitation],
        *,
        now: datetime,
    ) -> list[OpenedInvitation]:
        # A row with an unknown outcome is reconciled first: the message may have been sent while its link was fresh.
        stale = [item for item in items if item.unknown_call is None and has_stale_link(item, now)]
        if stale:
            due = [(item, _reissue_at(policy, item, now)) for item in stale]
            self.replace(policy, due, now=now, within=connection)
            replaced = {item.id for item in stale}
            items = [item for item in items if item.id not in replaced]
        return self._handovers.open(
            policy, items, repeatable=policy.repeatable, now=now, within=connection, granted=True
        )

    def set_aside(self, connection: sa.Connection, kinds: Mapping[Any, str], *, now: datetime) -> None:
        hold_messages(connection, kinds, states=(InvitationState.WAITING,), now=now)

    def release_permits(self, policy: InvitationPolicy) -> None:
        """Release the sender's permits: this dispatcher hands nothing more over."""
        with self._database.write() as connection:
            self._claims.release_permits(connection, policy)

    def release(
        self,
        rule: BudgetRule,
        invitations: Collection[ClaimedInvitation],
        *,
        now: datetime,
        within: sa.Connection | None = None,
    ) -> None:
        """Release invitations that were not handed over: they keep their due time, and no attempt is counted."""
        with self._database.write(within) as connection:
            if any(item.probe for item in invitations):
                budgets.end_probe(connection, rule)
            leases = [(item.id, item.fence, item.lease_until) for item in invitations]
            LEASES.give_back(connection, leases, now=now)

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


def has_stale_link(item: ClaimedInvitation, now: datetime) -> bool:
    """Whether the message's link is too old to be sent, or its session is over."""
    return item.ended or is_stale(item.expires_at, floor=item.floor, now=now)


def _reissue_at(policy: InvitationPolicy, item: ClaimedInvitation, now: datetime) -> datetime:
    return replace_at(
        allowed_from=policy.reissue_at(item.account, item.expires_at),
        issued_at=item.issued_at,
        expires_at=item.expires_at,
        spacing=policy.spacing,
        reported_over=item.ended,
        reissues=item.reissues,
        now=now,
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
