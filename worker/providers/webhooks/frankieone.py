"""Reads FrankieOne's webhooks, of both its API families and in all three editions of their names; and JSON Web Tokens
with an RSA signature (RFC 7515, 7518, 7519), verified with the account's public keys.

The webhooks carry no verdict: at most they announce that results are there. No event reports that a link was opened or
has expired; our own clock decides that a link has expired. Facts: docs/reference/webhooks.md.

Of tokens only three algorithms are accepted: not `none`, and no HMAC, whose "secret" would be the public key itself.
PyJWT verifies the signature. Its `decode` is not used: it reads the clock itself, its rules for JSON and times are
looser, and it refuses tokens that are good for us (docs/decisions/0005-dependencies.md).
"""

import base64
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, Any

from onboarding_worker.adapters.bodies import BadAnswer, json_object, optional_text
from onboarding_worker.core.model.refusals import code_in_words
from onboarding_worker.core.model.states import Result, SessionState
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.webhooks import contract
from onboarding_worker.providers.webhooks.contract import Key, SessionUpdate, matches

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

LONGEST = 8192  # characters; a signature of 4,096 bits takes 683
LEAST_BITS = 2048
LEEWAY = timedelta(minutes=1)  # for clocks that differ
# The first part is a JSON object: it starts with `{`, then a quote or white space. Checking that is needed because a
# host name (in `Host` and in headers of proxies) and a version have three parts too.
FORM = re.compile(
    r"(?:[Bb][Ee][Aa][Rr][Ee][Rr]\s+)?(e[wy][A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII
)
SUCCESSES = ("SUCCESS", "COMPLETED")
LONGEST_LIFE = timedelta(days=1)  # how far ahead a token's `exp` may be
CANDIDATES = 3  # the most headers that are tried as the token
CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ULID = re.compile(rf"[{CROCKFORD}]{{26}}")


# PyJWT and what it needs of cryptography are imported in the two functions that use them: each process has the adapters
# of its accounts, and few read tokens.


@cache
def _algorithms() -> "Mapping[str, RSAAlgorithm]":
    from jwt.algorithms import RSAAlgorithm

    hashes = {"RS256": RSAAlgorithm.SHA256, "RS384": RSAAlgorithm.SHA384, "RS512": RSAAlgorithm.SHA512}
    return {name: RSAAlgorithm(hash_) for name, hash_ in hashes.items()}


def public_key(pem: str) -> "rsa.RSAPublicKey":
    """The key in the PEM text. Raises ValueError if it is not a good RSA public key; the error shows no part of it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    try:
        key = serialization.load_pem_public_key(pem.encode())
    except Exception:  # cryptography raises several exceptions, some with the PEM text in them
        raise ValueError("expected a public key in PEM form (-----BEGIN PUBLIC KEY-----)") from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise ValueError("expected an RSA key")
    if key.key_size < LEAST_BITS:
        raise ValueError(f"expected a key of at least {LEAST_BITS} bits")
    return key


def may_be_token(value: str) -> bool:
    """True if a header's value may be a token: three parts of base64url, the first of them a JSON object, with or
    without `Bearer` before it."""
    return len(value) <= LONGEST and FORM.fullmatch(value.strip()) is not None


def token_refusal(
    token: str,
    keys: "Iterable[rsa.RSAPublicKey]",
    *,
    now: datetime,
    audience: str = "",
    longest_life: timedelta | None = None,
) -> str:
    """Why the token is refused; "" if any of the keys verifies it, and it says what is wanted. Never raises, and names
    no value. `now` is aware UTC. `exp` and `nbf` are checked if they are there. An empty `audience`: any, or none.
    `longest_life`: how far ahead its `exp` may be; a token without `exp` would be good for ever. None: it may."""
    parts = FORM.fullmatch(token.strip()) if len(token) <= LONGEST else None
    if parts is None:
        return "it is not a JSON Web Token"
    try:
        head, claims = (json_object(_bytes(part)) for part in parts.group(1, 2))
        signed, given = f"{parts[1]}.{parts[2]}".encode(), _bytes(parts[3])
    except (BadAnswer, ValueError):
        return "it is not a JSON Web Token"
    name = head.get("alg")
    algorithm = _algorithms().get(name) if isinstance(name, str) else None
    if algorithm is None or "crit" in head:
        return "its algorithm is not one of RS256, RS384 and RS512"
    if not any(algorithm.verify(signed, key, given) for key in keys):
        return "no key of the account verifies its signature"
    if reason := _untimely(claims, now):
        return reason
    if longest_life is not None:
        if "exp" not in claims:
            return "it has no exp, so it would be good for ever"
        if claims["exp"] > (now + longest_life).timestamp():
            return "it is good for too long"
    audiences = claims.get("aud")
    if audience and audience not in (audiences if isinstance(audiences, list) else [audiences]):
        return "its audience is not jwt_audience"
    return ""


def _untimely(claims: Mapping[str, Any], now: datetime) -> str:
    """Why `exp` or `nbf` refuses the token; "" if neither does. A time that is not readable refuses it too."""
    seconds, leeway = now.timestamp(), LEEWAY.total_seconds()
    for name, late in (("exp", True), ("nbf", False)):
        if name not in claims:
            continue
        given = claims[name]
        if isinstance(given, bool) or not isinstance(given, int | float):
            return f"its {name} is not a time"
        if late and given <= seconds - leeway:
            return "it has expired"
        if not late and given > seconds + leeway:
            return "it is not valid yet"
    return ""


def _bytes(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


@dataclass(frozen=True)
class Effect:
    """The meaning of an event: `state` and `result` if it succeeded; `failed`, `note` and `alert` if it failed."""

    state: SessionState | None = None
    result: Result | None = None
    failed: SessionState | None = None
    note: str = ""
    alert: bool = False


UNKNOWN = Effect(note="nothing that concerns a session")
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
    token signed with FrankieOne's key. If both are configured, both are required. If there are several secrets or keys,
    one match is enough."""

    def __init__(self, account: contract.WebhookSettings) -> None:
        self._secrets = account.webhook_secret
        self._audience = account.jwt_audience or ""
        try:
            self._keys = [public_key(key.reveal()) for key in account.jwt_key]
        except ValueError as error:
            raise AccountUnusable(account.name, "jwt_key", str(error)) from None
        if not self._secrets and not self._keys:
            raise AccountUnusable(account.name, "webhook_secret", "webhook_secret or jwt_key is needed for webhooks")

    def refuses(self, delivery: contract.Delivery, *, now: datetime) -> str:
        return "it is too large" if len(delivery.body) > contract.LARGEST else self.refuses_unread(delivery, now=now)

    def refuses_unread(self, delivery: contract.Delivery, *, now: datetime) -> str:
        """As `refuses`: the body is not signed, so only the address and the headers count."""
        if self._secrets:
            given = delivery.path[0] if delivery.path else ""
            # Every secret is compared, so that the duration does not reveal which one matched.
            if not any([contract.same(given, secret.reveal()) for secret in self._secrets]):
                return "the address does not have the account's secret"
        if not self._keys:
            return ""
        # The token's header is not documented, so every header is read: only FrankieOne can sign a good token.
        tokens = dict.fromkeys(value for value in delivery.headers.values() if may_be_token(value))
        refusals = [
            token_refusal(token, self._keys, now=now, audience=self._audience, longest_life=LONGEST_LIFE)
            for token in islice(tokens, CANDIDATES)
        ]
        return "" if "" in refusals else next(iter(refusals), "it has no token")

    def read(self, delivery: contract.Delivery) -> SessionUpdate | contract.Unreadable:
        try:
            content = contract.json_content(delivery.body)
        except BadAnswer as error:
            # After any error but 400, FrankieOne sends the webhook again, up to fifty times.
            return contract.Unreadable(str(error), status=400)
        name = optional_text(content, "function", most=64)
        plain = "".join(character for character in name.upper() if character.isalnum())
        effect = EFFECTS.get(plain, UNKNOWN)
        succeeded = contract.upper_text(content, "functionResult") in SUCCESSES and plain not in ERRORS
        return SessionUpdate(
            name if re.fullmatch(r"[A-Za-z0-9_.]{1,64}", name) else "unnamed",
            match=matches(content, ("entityId", Key.ENTITY_ID), ("entityCustomerReference", Key.CUSTOMER_REFERENCE)),
            state=effect.state if succeeded else effect.failed,
            final=succeeded and effect.state is SessionState.COMPLETED,
            result=effect.result if succeeded else None,
            happened_at=requested_at(optional_text(content, "requestId", most=64)),
            note="" if succeeded and effect is not UNKNOWN else effect.note,
            alert=effect.alert and not succeeded,
            reasons=code_in_words(optional_text(content, "message", most=64)) if effect.state is not None else (),
        )


def requested_at(request_id: str) -> datetime | None:
    """The time of the request that the event is about, from the ULID's first ten characters; None if it is no ULID.
    Events carry no time of their own. The request's time is the nearest one, and is never later than the event."""
    if not ULID.fullmatch(request_id):
        return None
    digits = (CROCKFORD.index(character) for character in reversed(request_id[:10]))
    milliseconds = sum(digit << 5 * position for position, digit in enumerate(digits))
    try:
        return contract.plausible(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds))
    except OverflowError:
        return None
