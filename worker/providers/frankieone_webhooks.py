"""What FrankieOne's webhooks say, of both its API families and in all three editions of their names (providers.md 7.4).

They carry no verdict: that results are there is the most they say. Nor is there an event for a link that was opened
or has expired; for that our own clock has to do.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from worker.domain.model.states import SessionState
from worker.domain.verification.session_updates import Key, Result, SessionUpdate
from worker.providers import jwt
from worker.providers.account import AccountUnusable
from worker.providers.answers import BadAnswer, optional_text
from worker.providers.webhooks import (
    LARGEST,
    Delivery,
    Unreadable,
    WebhookSettings,
    json_said,
    matches,
    plausible,
    same,
    word,
)

SUCCESSES = ("SUCCESS", "COMPLETED")
CANDIDATES = 3  # headers that may be the token and are tried
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID = re.compile(rf"[{CROCKFORD}]{{26}}")


@dataclass(frozen=True)
class Effect:
    """What an event means where it succeeded, and what is noted where it failed."""

    state: SessionState | None = None
    result: Result | None = None
    failed: SessionState | None = None
    note: str = ""
    alert: bool = False


OUR_CALL = Effect(note="our own call failed at the provider")  # the call's answer has said so already
READ = Effect(SessionState.STARTED, failed=SessionState.STARTED, note="the documents could not be read at the provider")
RESULTS = Effect(
    SessionState.COMPLETED,
    Result.UNKNOWN,
    # The provider failed to fetch them: the customer did not.
    failed=SessionState.STARTED,
    note="the provider could not fetch its results",
    alert=True,
)
# A workflow that broke says nothing of the customer: its results would have to be fetched.
WORKFLOW = Effect(SessionState.COMPLETED, Result.UNKNOWN, note="the provider's workflow failed", alert=True)

# By the name without case and signs: TOKEN_REQUESTED and TokenRequested are of different editions.
EFFECTS = {
    "TOKENREQUESTED": OUR_CALL,
    "IDVTOKENREQUESTED": OUR_CALL,
    "TOKENERROR": OUR_CALL,
    "ONBURLGENERATED": OUR_CALL,
    "ONBTOKENREQUESTED": OUR_CALL,
    "OCRPROCESSED": READ,
    "IDVOCRPROCESSING": READ,
    "OCRERROR": READ,
    "RESULTSRETRIEVED": RESULTS,
    "IDVRESULTSRETRIEVED": RESULTS,
    "RESULTSERROR": RESULTS,
    "WORKFLOWCOMPLETE": WORKFLOW,
    "WORKFLOWERROR": WORKFLOW,
}
ERRORS = ("TOKENERROR", "OCRERROR", "RESULTSERROR", "WORKFLOWERROR")


class FrankieOneWebhooks:
    """One account's webhooks. Raises AccountUnusable where nothing would tell the provider's from anybody's.

    FrankieOne does not sign bodies. So the address that support registers ends in a secret, or requests carry a token
    signed with a key of theirs; where both are configured, both are asked for. Of several secrets, or keys, any will
    do.
    """

    def __init__(self, account: WebhookSettings) -> None:
        self._secrets = account.webhook_secret
        try:
            self._keys = [jwt.public_key(key.reveal()) for key in account.jwt_key]
        except ValueError as error:
            raise AccountUnusable(account.name, "jwt_key", str(error)) from None
        if not self._secrets and not self._keys:
            raise AccountUnusable(account.name, "webhook_secret", "needed to take webhooks, or jwt_key")

    def refuses(self, delivery: Delivery, *, now: datetime) -> str:
        return "it is too large" if len(delivery.body) > LARGEST else self.refuses_unread(delivery, now=now)

    def refuses_unread(self, delivery: Delivery, *, now: datetime) -> str:
        """Nothing of the body is signed: what the address and the headers say is all."""
        if self._secrets:
            given = delivery.path[0] if delivery.path else ""
            # Each is tried, so that the time taken does not say which one it was.
            if not any([same(given, secret.reveal()) for secret in self._secrets]):
                return "the address does not have the account's secret"
        return self._refuses_token(delivery, now) if self._keys else ""

    def _refuses_token(self, delivery: Delivery, now: datetime) -> str:
        """The header's name is not documented: whichever it is, only FrankieOne can sign what is in it."""
        tokens = list(dict.fromkeys(value for value in delivery.headers.values() if jwt.looks_like_one(value)))[
            :CANDIDATES
        ]
        refusals = [jwt.refusal(token, self._keys, now=now) for token in tokens]
        return "" if "" in refusals else next(iter(refusals), "it has no token")

    def read(self, delivery: Delivery) -> SessionUpdate | Unreadable:
        try:
            said = json_said(delivery.body)
        except BadAnswer as error:
            # Anything but 400 would have it sent again, up to fifty times.
            return Unreadable(str(error), status=400)
        name = optional_text(said, "function", most=64)
        plain = "".join(letter for letter in name.upper() if letter.isalnum())
        effect = EFFECTS.get(plain, Effect())
        succeeded = word(said, "functionResult") in SUCCESSES and plain not in ERRORS
        known = plain in EFFECTS
        return SessionUpdate(
            name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "unnamed",
            match=matches(said, ("entityId", Key.ENTITY_ID), ("entityCustomerReference", Key.CUSTOMER_REFERENCE)),
            state=effect.state if succeeded else effect.failed,
            final=succeeded and effect.state is SessionState.COMPLETED,
            result=effect.result if succeeded else None,
            happened_at=requested_at(optional_text(said, "requestId", most=64)),
            note=("" if succeeded else effect.note) if known else "nothing that concerns a session",
            alert=effect.alert and not succeeded,
        )


def requested_at(request_id: str) -> datetime | None:
    """When the request was made that the event is about: a ULID begins with it, in milliseconds. None for others.

    No event has a time of its own. It is as near as one comes, and earlier than the event, never later.
    """
    if not ULID.fullmatch(request_id):
        return None
    milliseconds = sum(CROCKFORD.index(letter) << 5 * place for place, letter in enumerate(reversed(request_id[:10])))
    try:
        return plausible(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None
