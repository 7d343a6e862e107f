"""The steps of a flush one by one: rows are claimed here and opened later, which the store does in one transaction."""

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.claim.claims import Room
from onboarding_worker.core.claim.flush import Flush, Flushed
from onboarding_worker.core.messages.claim_invitations import Invitations
from onboarding_worker.core.work.store.claim_jobs import Jobs

OnClaim = Callable[[sa.Connection, Sequence[Any]], None]


@dataclass(frozen=True)
class Claimed:
    jobs: list[Any]
    again_at: datetime | None
    permits: int | None
    reused_channels: frozenset[str]
    slots: tuple[datetime, ...]

    @property
    def invitations(self) -> list[Any]:
        return self.jobs


def claimed(
    store: Any,
    policy: Any,
    *,
    most: int,
    now: datetime,
    busy: int = 0,
    events: int = 0,
    lead: timedelta = timedelta(0),
    on_claim: OnClaim = lambda _connection, _items: None,
) -> Claimed:
    def unopened(flush: Flush[Any], items: Sequence[Any]) -> Sequence[Any]:
        on_claim(flush.connection, items)
        return items

    store = copy(store)  # several threads claim through it at once
    store.open = unopened
    found: Flushed[Any] = store.flush(policy, [], Room(most, events, busy, lead, store.horizon), clock=lambda: now)
    return Claimed(list(found.opened), found.again_at, found.permits, found.channels, tuple(found.slots))


class JobSteps(Jobs):
    horizon = timedelta(milliseconds=100)

    def claim(self, policy: Any, **how: Any) -> Claimed:
        return claimed(self, policy, **how)


class InvitationSteps(Invitations):
    horizon = timedelta(milliseconds=100)

    def claim(self, policy: Any, **how: Any) -> Claimed:
        return claimed(self, policy, **how)
