"""iDenfy's signature and event names, which its KYC and KYB webhooks share, and what its statuses mean
(docs/reference/webhooks.md).

The signature is lower-case hex HMAC-SHA256 over the raw body. It covers no time, so a copy of a genuine webhook stays
genuine for ever. So the same webhook is stored only once, and an older update does not change newer data.
"""

import hashlib
import hmac
import re
from datetime import datetime

from worker.core.lifecycle.session_updates import Result, SessionUpdate
from worker.core.model.states import SessionState
from worker.providers.account import AccountUnusable
from worker.providers.answers import BadAnswer
from worker.providers.webhooks.contract import LARGEST, Delivery, Unreadable, WebhookSettings, same

SIGNATURE = "idenfy-signature"
EVENT_TYPE = "idenfy-event-type"
LONGEST_NAME = 64
FORM = re.compile(r"[0-9a-f]{64}")

VERDICTS = {
    "APPROVED": (SessionState.COMPLETED, Result.APPROVED),
    "SUSPECTED": (SessionState.COMPLETED, Result.SUSPECTED),
    "DENIED": (SessionState.FAILED, Result.DENIED),
}
EXPIRIES = ("EXPIRED", "EXPIRED-DELETED")
GONE = ("DELETED", "ARCHIVED")
REVIEWING = "REVIEWING"


class SignedByIdenfy:
    """Webhooks that iDenfy has signed. Its dashboard has one key for each notification: any of ours may match.

    Raises AccountUnusable without a key: then anyone could report a customer as approved.
    """

    def __init__(self, account: WebhookSettings) -> None:
        if not account.webhook_keys:
            raise AccountUnusable(account.name, "webhook_keys", "needed for webhooks: the key that is set at iDenfy")
        self._keys = account.webhook_keys

    def refuses_unread(self, delivery: Delivery, *, now: datetime) -> str:
        given = delivery.headers.get(SIGNATURE, "")
        if not given:
            return "it is not signed"
        return "" if FORM.fullmatch(given) else "no key of the account verifies its signature"

    def refuses(self, delivery: Delivery, *, now: datetime) -> str:
        if reason := self.refuses_unread(delivery, now=now):
            return reason
        given = delivery.headers[SIGNATURE]
        if len(delivery.body) > LARGEST:
            return "it is too large"
        # Every key is tried, so that the duration does not reveal which one matched.
        verified = [same(given, signature(key.reveal(), delivery.body)) for key in self._keys]
        return "" if any(verified) else "no key of the account verifies its signature"


def signature(key: str, body: bytes) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def event_name(delivery: Delivery) -> str:
    """The event's name as the current specification writes it; "" if there is none.

    The documentation's prose has "ID VERIFICATION AUTO FINISHED"; other pages have FINISH and CANCELED.
    """
    given = "_".join(delivery.headers.get(EVENT_TYPE, "")[: 2 * LONGEST_NAME].upper().split())
    name = "_".join(part for part in given.replace("-", "_").split("_") if part)
    if name.startswith("ID_VERIFICATION"):
        name = "IDENTIFICATION" + name.removeprefix("ID_VERIFICATION")
    if name.endswith("_FINISH"):
        name += "ED"
    if name.endswith("_CANCELED"):
        name = name.removesuffix("_CANCELED") + "_CANCELLED"
    return name if name.isascii() and name.replace("_", "").isalnum() and len(name) <= LONGEST_NAME else ""


def nothing_new(event: str) -> SessionUpdate:
    """The update for an event that is not this endpoint's, or does not concern the session."""
    return SessionUpdate(event or "unnamed", note="nothing that concerns a session")


def unreadable(error: BadAnswer) -> Unreadable:
    # Without a 2xx iDenfy would send it again and again, and it would still be unreadable.
    return Unreadable(str(error))


def meaning(status: str) -> tuple[SessionState | None, Result | None]:
    """The session's state and result; (None, None) where the status says nothing new: it is open, or not known."""
    if status in VERDICTS:
        return VERDICTS[status]
    if status in EXPIRIES:
        return SessionState.EXPIRED, None
    if status in GONE:
        return SessionState.FAILED, None
    return (SessionState.STARTED, Result.REVIEW) if status == REVIEWING else (None, None)
