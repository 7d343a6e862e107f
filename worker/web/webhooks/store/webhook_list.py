"""Webhooks for operators: lists them, has them processed again, and removes old ones."""

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from onboarding_worker.core.database.audit_entries import note
from onboarding_worker.core.database.database import Database, made_of
from onboarding_worker.core.database.encrypted_values import context_of_webhook
from onboarding_worker.core.database.tables import SessionRow, Webhook
from onboarding_worker.core.database.tables.types import word_of
from onboarding_worker.core.foundation.keyring import CannotDecrypt, Keyring
from onboarding_worker.core.model.incoming import ACCOUNT
from onboarding_worker.core.model.states import LISTED_WEBHOOKS, WebhookState
from onboarding_worker.providers.webhooks.contract import Key
from onboarding_worker.reporting.store.waiting import IS_LISTED
from onboarding_worker.web.webhooks.store.webhooks import UNMATCHED, session_update

CHUNK = 1000
# How much of an id is shown: enough to find it in the provider's dashboard.
SHOWN = 4
RETRIED = (WebhookState.UNKNOWN, WebhookState.BROKEN)


@dataclass(frozen=True)
class Listed:
    """A webhook that an operator should see. `ids` are the ids in it, masked; none where they are no longer stored.
    `customer` is the customer of the session that the webhook matched, if any."""

    id: uuid.UUID
    source: str
    event: str
    state: WebhookState
    received_at: datetime
    due_at: datetime | None
    attempts: int
    customer: str | None
    ids: tuple[str, ...]
    detail: str


class WebhookList:
    def __init__(self, database: Database, keyring: Keyring) -> None:
        self._database = database
        self._keyring = keyring

    def count(self) -> dict[WebhookState, int]:
        """How many webhooks are in each listed state."""
        query = sa.select(Webhook.state, sa.func.count().label("rows")).where(IS_LISTED).group_by(Webhook.state)
        found = {row.state: row.rows for row in self._database.rows(query)}
        return {state: found.get(state.value, 0) for state in LISTED_WEBHOOKS}

    def waiting(self) -> tuple[int, int]:
        """How many webhooks are not processed yet; and how many of them name a session that is not known here."""
        unmatched = sa.func.count(sa.case((Webhook.detail == UNMATCHED, 1)))
        query = sa.select(sa.func.count(), unmatched).where(Webhook.due_at.is_not(None))
        number, of_them = self._database.first(query)
        return number, of_them

    def newest(self, states: Sequence[WebhookState], *, most: int) -> list[Listed]:
        """The newest webhooks in these states, at most `most`."""
        query = (
            sa.select(Webhook.__table__, SessionRow.customer_id)
            .join(SessionRow, SessionRow.id == Webhook.session_id, isouter=True)
            .where(Webhook.state.in_([state.value for state in states]))
        )
        if set(states) <= set(LISTED_WEBHOOKS):
            query = query.where(IS_LISTED)
        rows = self._database.rows(query.order_by(Webhook.received_at.desc(), Webhook.id.desc()).limit(most))
        return [
            made_of(
                Listed,
                row,
                state=word_of(WebhookState, row.state),
                ids=self._ids(row.id, row.source, row.encrypted),
                customer=row.customer_id,
            )
            for row in rows
        ]

    def _ids(self, id_: uuid.UUID, source: str, encrypted: bytes | None) -> tuple[str, ...]:
        if not encrypted or not source.startswith(ACCOUNT):
            return ()
        try:
            update = session_update(self._keyring.decrypt(encrypted, context=context_of_webhook(id_)))
        except (CannotDecrypt, KeyError, TypeError, ValueError):  # or a newer release has stored it
            return ()
        return tuple(f"{key.value} {masked(value)}" for key, value in update.match if key is not Key.TOKEN)

    def retry(self, *, id_: uuid.UUID | None, now: datetime) -> int:
        """Make unmatched and broken webhooks due again, all or one; returns how many. A contradicted webhook is retried
        only by its id: the operator has looked at the provider and vouches for it."""
        kept = sa.update(Webhook).where(
            IS_LISTED, Webhook.state.in_([state.value for state in RETRIED]), Webhook.encrypted.is_not(None)
        )
        if id_ is not None:
            kept = kept.where(Webhook.id == id_)
        again = {"state": WebhookState.WAITING.value, "due_at": now, "attempts": 0, "detail": ""}
        with self._database.write() as connection:
            vouched = self._vouch(connection, id_, again) if id_ is not None else 0
            rows = vouched + connection.execute(kept.values(again)).rowcount
            if rows:
                which = "webhooks" if id_ is None else f"webhook {id_}"
                note(connection, which, now=now, count=rows, reason="vouched for" if vouched else "to be applied again")
            return rows

    def _vouch(self, connection: sa.Connection, id_: uuid.UUID, again: dict[str, Any]) -> int:
        contradicted = sa.select(Webhook.encrypted).where(
            Webhook.id == id_, Webhook.state == WebhookState.ALERT.value, Webhook.encrypted.is_not(None)
        )
        encrypted = connection.execute(contradicted.with_for_update()).scalar()
        if encrypted is None:
            return 0
        update = self._keyring.decrypt(encrypted, context=context_of_webhook(id_)) | {"vouched": True}
        kept = again | {"encrypted": self._keyring.encrypt(update, context=context_of_webhook(id_))}
        return connection.execute(sa.update(Webhook).where(Webhook.id == id_).values(kept)).rowcount

    def done(self, ids: Collection[uuid.UUID], *, now: datetime) -> int:
        """A person has looked at these listed webhooks: they are listed no more. Returns how many were listed."""
        seen = sa.update(Webhook).where(IS_LISTED, Webhook.id.in_(ids)).values(state=WebhookState.SEEN.value)
        with self._database.write() as connection:
            found = list(connection.execute(seen.returning(Webhook.id)).scalars())
            for id_ in found:
                note(connection, f"webhook {id_}", now=now)
            return len(found)

    def remove(self, *, since: datetime) -> int:
        """Remove the next webhooks that were received until `since`; returns how many."""
        ids = sa.select(Webhook.id).where(Webhook.received_at <= since).order_by(Webhook.received_at).limit(CHUNK)
        return self._database.change(sa.delete(Webhook).where(Webhook.id.in_(ids)))


def masked(value: str) -> str:
    """The ends of an id; less than half of a short id."""
    ends = min(SHOWN, len(value) // 4)
    return f"{value[:ends]}…{value[-ends:]}" if ends else "…"
