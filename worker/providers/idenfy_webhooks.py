"""iDenfy's signature and event names, which its KYC and KYB webhooks share (providers.md 7.2).

The signature is lower-case hex HMAC-SHA256 over the raw body. It says nothing of time, so a copy of a genuine webhook
is genuine for ever: what was taken is not taken again, and late news changes nothing that is newer.
"""

import hashlib
import hmac
import re

from worker.domain.verification.session_updates import SessionUpdate
from worker.providers.account import AccountUnusable
from worker.providers.answers import BadAnswer
from worker.providers.webhooks import LARGEST, Delivery, Unreadable, WebhookSettings, same

SIGNATURE = "idenfy-signature"
EVENT_TYPE = "idenfy-event-type"
LONGEST_NAME = 64
FORM = re.compile(r"[0-9a-f]{64}")


class SignedByIdenfy:
    """Whether a webhook is iDenfy's. Each notification has a key of its own in the dashboard: any of ours will do.

    Raises AccountUnusable without a key: then anybody could say that a customer was approved.
    """

    def __init__(self, account: WebhookSettings) -> None:
        if not account.webhook_keys:
            raise AccountUnusable(account.name, "webhook_keys", "needed to take webhooks: the key set at iDenfy")
        self._keys = account.webhook_keys

    def refuses_unread(self, delivery: Delivery) -> str:
        given = delivery.headers.get(SIGNATURE, "")
        if not given:
            return "it is not signed"
        return "" if FORM.fullmatch(given) else "its signature is of no key of the account"

    def refuses(self, delivery: Delivery) -> str:
        if why := self.refuses_unread(delivery):
            return why
        given = delivery.headers[SIGNATURE]
        if len(delivery.body) > LARGEST:
            return "it is too large"
        # Each key is tried, so that the time taken does not say which one it was.
        fits = [same(given, signature(key.reveal(), delivery.body)) for key in self._keys]
        return "" if any(fits) else "its signature is of no key of the account"


def signature(key: str, body: bytes) -> str:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest()


def event_name(delivery: Delivery) -> str:
    """The event's name as the current specification writes it; "" where there is none.

    The documentation's prose says "ID VERIFICATION AUTO FINISHED", other places write FINISH and CANCELED.
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
    """An event that is none of this endpoint's, or that says nothing of the session."""
    return SessionUpdate(event or "unnamed", note="nothing that concerns a session")


def unreadable(error: BadAnswer) -> Unreadable:
    # Anything but a 2xx would have it sent again and again, and it would be no better.
    return Unreadable(str(error))
