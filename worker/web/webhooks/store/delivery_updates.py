"""Processes stored webhooks of senders: reads their delivery updates and applies them."""

import uuid
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa

from worker.core.foundation.keyring import Keyring
from worker.core.messages.contact import ContactPolicy
from worker.core.model.channels import is_mail
from worker.core.model.endings import Backoff
from worker.core.model.states import WebhookState
from worker.core.model.wakeups import WakeUp
from worker.senders.delivery_reports import DeliveryStatus, DeliveryUpdate, Stop
from worker.web.webhooks.store.delivery_reports import Applied, Delivered, Reported, deliver_all
from worker.web.webhooks.store.results import SENDER, WebhookResult, read_given
from worker.web.webhooks.store.webhooks import KeptWebhook

# The reference of a text message is known moments after the hand-over, or minutes after it where the answer was lost
# and reconciled. A mail has an id of ours before it leaves: an update with an unknown id is not about our mail.
UNMATCHED_BACKOFF = Backoff.steps(3, 15, 60, 5 * 60, 20 * 60)
# While the message is being handed over: the result of the hand-over is written first.
HAND_OVER_BACKOFF = Backoff(first=timedelta(seconds=3), most=timedelta(seconds=3 * 2**6))


class DeliveryUpdates:
    """Applies senders' delivery updates."""

    def __init__(self, keyring: Keyring, policy: Callable[[], ContactPolicy]) -> None:
        self._keyring = keyring
        self._policy = policy

    def __call__(
        self, connection: sa.Connection, webhooks: Sequence[KeptWebhook], due: set[WakeUp], now: datetime
    ) -> dict[uuid.UUID, WebhookResult]:
        updates = [
            (one, DeliveryUpdate(**read_given(one.update, status=DeliveryStatus, stop=Stop)))
            for one in sorted(webhooks, key=lambda one: (one.received_at, one.id))
        ]
        reported = [Reported(one.source, update, one.received_at, one.attempts > 0) for one, update in updates]
        delivered = deliver_all(connection, self._keyring, self._policy(), reported, now=now)
        due.update(WakeUp.invite(one.channel) for one in delivered if one.channel is not None)
        return {one.id: _result(one, update, done) for (one, update), done in zip(updates, delivered, strict=True)}


def _result(one: KeptWebhook, update: DeliveryUpdate, delivered: Delivered) -> WebhookResult:
    match delivered.applied:
        case Applied.LATER:
            wait = HAND_OVER_BACKOFF.after(one.attempts + 1)
            return WebhookResult(WebhookState.WAITING, "the message is being sent", again_after=wait)
        case Applied.UNKNOWN:
            wait = UNMATCHED_BACKOFF.after(one.attempts + 1) if not is_mail(one.source.removeprefix(SENDER)) else None
            state = WebhookState.IGNORED if wait is None else WebhookState.WAITING
            said, customers = _said(update, delivered), delivered.customers
            return WebhookResult(
                state, "no message here matches it", again_after=wait, changed=said, customers=customers
            )
        case Applied.APPLIED:
            changed = ", ".join(filter(None, [update.status and update.status.value, _said(update, delivered)]))
            found, customers = delivered.invitation_id, delivered.customers
            return WebhookResult(WebhookState.APPLIED, invitation_id=found, changed=changed, customers=customers)
        case Applied.NOTHING_NEW:
            return WebhookResult(WebhookState.IGNORED, invitation_id=delivered.invitation_id)


def _said(update: DeliveryUpdate, delivered: Delivered) -> str:
    """What an update changed of an address, for the audit log; empty: nothing."""
    if not delivered.address:
        return ""
    return update.stop.value if update.stop is not None else "may get messages again"
