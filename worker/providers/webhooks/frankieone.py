"""Reads FrankieOne's webhooks, of both its API families and in all three editions of their names.

The webhooks carry no verdict: at most they announce that results are there. No event reports that a link was opened
or has expired; our own clock decides that a link has expired. Facts: docs/reference/webhooks.md.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice

from worker.core.model.refusals import code_in_words
from worker.core.model.states import Result, SessionState
from worker.providers.account import AccountUnusable
from worker.providers.bodies import BadAnswer, optional_text
from worker.providers.webhooks import jwt
from worker.providers.webhooks.contract import (
    LARGEST,
    Delivery,
    Key,
    SessionUpdate,
    Unreadable,
    WebhookSettings,
    json_content,
    matches,
    plausible,
    same,
    upper_text,
)

SUCCESSES = ("SUCCESS", "COMPLETED")
LONGEST_LIFE = timedelta(days=1)  # how far ahead a token's `exp` may be
CANDIDATES = 3  # the most headers that are tried as the token
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID = re.compile(rf"[{CROCKFORD}]{{26}}")


@dataclass(frozen=True)
class Effect:
    """The meaning of an event: `state` and `result` if it succeeded; `failed`, `note` and `alert` if it failed."""

    state: SessionState | None = None
    result: Result | None = None
    failed: SessionState | None = None
    note: str = ""
    alert: bool = False


OUR_CALL = Effect(note="our own call failed at the provider")  # the call's own answer reported it already
READ = Effect(SessionState.STARTED, failed=SessionState.STARTED, note="the documents could not be read at the provider")
RESULTS = Effect(
    SessionState.COMPLETED,
    Result.UNKNOWN,
    # The provider failed to fetch the results; the customer did not fail.
    failed=SessionState.STARTED,
    note="the provider could not fetch its results",
    alert=True,
)
# A failed workflow is no verdict on the customer: the results would have to be fetched.
WORKFLOW = Effect(SessionState.COMPLETED, Result.UNKNOWN, note="the provider's workflow failed", alert=True)

# The keys are names without case and punctuation: one edition has TOKEN_REQUESTED, another TokenRequested.
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
    """One account's webhooks. Raises AccountUnusable if no setting could prove that a webhook is the provider's.

    FrankieOne does not sign bodies. So the address that its support registers ends in a secret, or requests carry a
    token signed with FrankieOne's key. If both are configured, both are required. If there are several secrets or
    keys, one match is enough.
    """

    def __init__(self, account: WebhookSettings) -> None:
        self._secrets = account.webhook_secret
        self._audience = account.jwt_audience or ""
        try:
            self._keys = [jwt.public_key(key.reveal()) for key in account.jwt_key]
        except ValueError as error:
            raise AccountUnusable(account.name, "jwt_key", str(error)) from None
        if not self._secrets and not self._keys:
            raise AccountUnusable(account.name, "webhook_secret", "webhook_secret or jwt_key is needed for webhooks")

    def refuses(self, delivery: Delivery, *, now: datetime) -> str:
        return "it is too large" if len(delivery.body) > LARGEST else self.refuses_unread(delivery, now=now)

    def refuses_unread(self, delivery: Delivery, *, now: datetime) -> str:
        """As `refuses`: the body is not signed, so only the address and the headers count."""
        if self._secrets:
            given = delivery.path[0] if delivery.path else ""
            # Every secret is compared, so that the duration does not reveal which one matched.
            if not any([same(given, secret.reveal()) for secret in self._secrets]):
                return "the address does not have the account's secret"
        return self._refuses_token(delivery, now) if self._keys else ""

    def _refuses_token(self, delivery: Delivery, now: datetime) -> str:
        """Why the token is refused; "" if it is good. The header's name is not documented, so every header is read:
        only FrankieOne can sign a good token."""
        tokens = dict.fromkeys(value for value in delivery.headers.values() if jwt.may_be_token(value))
        refusals = [
            jwt.refusal(token, self._keys, now=now, audience=self._audience, longest_life=LONGEST_LIFE)
            for token in islice(tokens, CANDIDATES)
        ]
        return "" if "" in refusals else next(iter(refusals), "it has no token")

    def read(self, delivery: Delivery) -> SessionUpdate | Unreadable:
        try:
            content = json_content(delivery.body)
        except BadAnswer as error:
            # After any error but 400, FrankieOne sends the webhook again, up to fifty times.
            return Unreadable(str(error), status=400)
        name = optional_text(content, "function", most=64)
        plain = "".join(character for character in name.upper() if character.isalnum())
        effect = EFFECTS.get(plain, Effect())
        succeeded = upper_text(content, "functionResult") in SUCCESSES and plain not in ERRORS
        known = plain in EFFECTS
        return SessionUpdate(
            name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "unnamed",
            match=matches(content, ("entityId", Key.ENTITY_ID), ("entityCustomerReference", Key.CUSTOMER_REFERENCE)),
            state=effect.state if succeeded else effect.failed,
            final=succeeded and effect.state is SessionState.COMPLETED,
            result=effect.result if succeeded else None,
            happened_at=requested_at(optional_text(content, "requestId", most=64)),
            note=("" if succeeded else effect.note) if known else "nothing that concerns a session",
            alert=effect.alert and not succeeded,
            reasons=code_in_words(optional_text(content, "message", most=64)) if effect.state is not None else (),
        )


def requested_at(request_id: str) -> datetime | None:
    """The time of the request that the event is about, from the ULID's first ten characters; None if it is no ULID.

    Events carry no time of their own. The request's time is the nearest one, and is never later than the event.
    """
    if not ULID.fullmatch(request_id):
        return None
    digits = (CROCKFORD.index(character) for character in reversed(request_id[:10]))
    milliseconds = sum(digit << 5 * position for position, digit in enumerate(digits))
    try:
        return plausible(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None
