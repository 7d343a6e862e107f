"""Messages: what of a flush is special to them, and what becomes of those that are released."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from worker.core.database.database import Database
from worker.core.foundation.keyring import Keyring
from worker.core.lifecycle.store.stale_links import has_stale_link, replace_sessions
from worker.core.limits.rate_adaptation import Stretch
from worker.core.limits.store.claims import Leased
from worker.core.limits.store.flush import Rows
from worker.core.messages.store import gates, message_cap_check
from worker.core.messages.store.handovers import InviteResult, OpenedInvitation, open_handovers
from worker.core.messages.store.message_context import LEASES, ClaimedInvitation, InvitationPolicy
from worker.core.messages.store.record_results import record_results
from worker.core.model.states import InvitationState
from worker.core.unknown.store.settlement import hold_messages


class Invitations(Rows[InvitationPolicy, ClaimedInvitation, OpenedInvitation, InviteResult]):
    """The messages. One whose session has ended, or whose job or batch was cancelled, becomes superseded: its link
    would be of no use. A job whose link has become too old goes back for a new session.
    """

    def __init__(self, database: Database, keyring: Keyring, *, jitter: Callable[[], float] = random.random) -> None:
        super().__init__(database, LEASES, jitter=jitter)
        self._keyring = keyring

    def record(
        self,
        connection: sa.Connection,
        policy: InvitationPolicy,
        results: Sequence[InviteResult],
        *,
        now: datetime,
        stretch: Stretch | None,
    ) -> set[str]:
        record_results(connection, self._keyring, policy, results, now=now, stretch=stretch)
        return set()

    def takes_places(self, policy: InvitationPolicy, rows: Sequence[sa.Row[Any]]) -> bool:
        return bool(rows) and (message_cap_check.is_capped(policy) or any(row.planned for row in rows))

    def passed(
        self,
        connection: sa.Connection,
        policy: InvitationPolicy,
        rows: Sequence[sa.Row[Any]],
        _leased: Leased,
        *,
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
            replace_sessions(connection, policy, stale, now=now)
            message_cap_check.take_back(connection, policy, stale)
            replaced = {item.id for item in stale}
            items = [item for item in items if item.id not in replaced]
        return open_handovers(connection, policy, items, now=now)

    def set_aside(self, connection: sa.Connection, kinds: Mapping[Any, str], *, now: datetime) -> None:
        hold_messages(connection, kinds, states=(InvitationState.WAITING,), now=now)

    def uncount(
        self,
        connection: sa.Connection,
        policy: InvitationPolicy,
        items: Sequence[ClaimedInvitation],
        _calls: int,
        *,
        now: datetime,
    ) -> None:
        message_cap_check.take_back(connection, policy, items)
