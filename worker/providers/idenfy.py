"""iDenfy's credentials and error answers, which its KYC and KYB endpoints share (docs/providers/idenfy-kyc.md). Every
call may open one more session, and cost one more credit. The token of a lost answer cannot be fetched again. So a call
that may have been carried out and gave no session is UNKNOWN."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from onboarding_worker.adapters.bodies import BadAnswer, Unread, check_echo, fields_in, masked, refusal
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.core.model.sessions import ExpirySource, SessionRequest
from onboarding_worker.providers.account import AccountAdapter, basic, required_secret
from onboarding_worker.providers.values import Parameter

HOST = "https://ivs.idenfy.com"
LIMIT = "10000/hour"
PATHS = ("/api/v2", "/kyb")
KEYS = ("api_secret", "webhook_keys")
# Source: documentation.idenfy.com, kyc/id-error-messages and resources/error-messages. An identifier that is not here
# is UNKNOWN. iDenfy sends these with 400 as well as with their status, so the identifier is read before the status.
IDENTIFIERS = {
    "UNAUTHORIZED": Kind.AUTH,
    "AUTHENTICATION_FAILED": Kind.AUTH,
    # An option that the contract lacks, or an endpoint closed to this environment: every row would fail.
    "PERMISSIONS_ERROR": Kind.AUTH,
    "PARTNER_CONTRACT_ERROR": Kind.AUTH,
    "METHOD_NOT_ALLOWED": Kind.AUTH,
    "TOO_MANY_REQUESTS": Kind.RATE_LIMITED,
    "INTERNAL_ERROR": Kind.TRANSIENT,
    "BAD_VALUE": Kind.BAD_INPUT,
    "MISSING_VALUE": Kind.BAD_INPUT,
    "VALIDATION_ERROR": Kind.BAD_INPUT,
    "JSON_ERROR": Kind.BAD_INPUT,
    "ENCODING_ERROR": Kind.BAD_INPUT,
    "TOKEN_NOT_VALID": Kind.CONFLICT,
}
# What the identifiers that stop the account mean, for the person who is called.
MEANINGS = {
    "UNAUTHORIZED": "the credentials are refused",
    "AUTHENTICATION_FAILED": "the credentials are refused",
    "PERMISSIONS_ERROR": "no credit left, or no right to this call",
    "PARTNER_CONTRACT_ERROR": "the contract does not cover this call",
    "METHOD_NOT_ALLOWED": "base_url is wrong",
}
# The longest wait that iDenfy documents is that for its hourly quota (docs/providers/idenfy-kyc.md).
LONGEST_WAIT = timedelta(hours=1)
# These statuses come from a gateway, not from iDenfy: iDenfy may have carried out the request.
GATEWAY = frozenset({408, 502, 504})
STATUSES = {
    401: Kind.AUTH,
    402: Kind.OUT_OF_CREDIT,
    403: Kind.AUTH,
    404: Kind.AUTH,  # the configured address is wrong, for every row
    405: Kind.AUTH,
    409: Kind.CONFLICT,
    429: Kind.RATE_LIMITED,
    500: Kind.TRANSIENT,  # documented as worth repeating; at worst one spare credit
    503: Kind.TRANSIENT,
}
# The credit of a prepaid contract is used up. iDenfy sends this as PERMISSIONS_ERROR; it is not a rate limit.
NO_CREDIT = "Partner reached token limit"

# An answer with any of these fields is not an error, even if other fields are missing.
OPENED = ("identifier", "authToken", "tokenString")
# A session that its own answer marks as invalid: the call is made once more, then the row is refused.
INVALID, INVALID_TRIES = "the session in the answer is marked as not valid", 2
DAY = 24 * 60 * 60  # seconds
MOST_LIFETIME = 30 * DAY
_Lives = tuple[int, ExpirySource]  # seconds from just before the call, and how they are known


class IdenfyEndpoint(AccountAdapter):
    """What both endpoints have in common, for one account. Raises AccountUnusable if its settings make every session
    unusable: a secret is missing, or no link of it could be sent."""

    _parameters: Mapping[str, Parameter]  # those that we fill

    def __init__(self, account: AccountSettings, path: str, documented_link: str) -> None:
        key, secret = required_secret(account, "api_key"), required_secret(account, "api_secret")
        super().__init__(account, basic, key, secret, documented_link=documented_link)
        self._url = self._base_url + path

    def _ends(
        self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime, *kinds: object, lives: _Lives
    ) -> tuple[datetime, ExpirySource]:
        """When the session of an answer ends, and how that is known; `lives` counts where the answer names no usable
        end. Raises BadAnswer for a session that is not this request's, of none of these kinds, or over."""
        check_echo(found, "clientId", request.customer.customer_id)
        if found.get("isValid") is False:
            raise BadAnswer(INVALID)
        if isinstance(found.get("tokenType"), str) and found["tokenType"] not in kinds:
            raise BadAnswer("tokenType in the answer is not the one asked for")
        expires_at, source = utc_time(found.get("expiration")), ExpirySource.ANSWER
        # No session lives longer than MOST_LIFETIME. A later time is a mistake; one day allows for clocks that differ.
        if expires_at is None or expires_at - issued_at > timedelta(seconds=MOST_LIFETIME + DAY):
            seconds, source = lives
            expires_at = issued_at + timedelta(seconds=seconds)
        if expires_at <= issued_at:
            raise BadAnswer("the session in the answer has already expired")
        return expires_at, source

    def problem(self, answer: HttpAnswer, unread: Unread, request: SessionRequest, now: datetime) -> Problem:
        if unread.reason == INVALID:
            detail = f"HTTP {answer.status}: {INVALID}"
            return Problem(Kind.TRANSIENT, detail, status=answer.status, most_attempts=INVALID_TRIES)
        found = unread.found
        given = found.get("identifier")
        identifier = given if isinstance(given, str) else ""
        message = _message(found)
        kind = _kind(answer.status, identifier, message)
        meaning = MEANINGS.get(identifier, "") if kind is Kind.AUTH else ""
        if kind is Kind.OUT_OF_CREDIT:
            meaning = "no credit is left"
        known = identifier if identifier in IDENTIFIERS else None
        said = message if known or not identifier else f"{identifier}: {message}"
        details = (meaning, unread.reason, fields_in(message, self._names))
        words = masked(said, request, secrets=self.secrets)
        return refusal(
            *(answer, kind),
            code=known,
            details=details,
            words=words,
            longest_wait=LONGEST_WAIT,
            now=now,
            undocumented=bool(identifier) and known is None,
        )


def _kind(status: int, identifier: str, message: str) -> Kind:
    """The Kind of an answer without a usable session (docs/providers/idenfy-kyc.md)."""
    if 200 <= status < 300 or status in GATEWAY:
        return Kind.UNKNOWN
    if 300 <= status < 400:
        return Kind.AUTH  # the address is wrong; the credential is never sent after a redirect
    unnamed = not identifier and status not in STATUSES
    if message.startswith(NO_CREDIT) and (identifier == "PERMISSIONS_ERROR" or unnamed):
        return Kind.OUT_OF_CREDIT
    if identifier in IDENTIFIERS:
        return IDENTIFIERS[identifier]
    if status in STATUSES:
        return STATUSES[status]
    return Kind.BAD_INPUT if 400 <= status < 500 else Kind.UNKNOWN


def _message(found: Mapping[str, Any]) -> str:
    """The message. It may be an object with `detail`; the framework's `{"field": ["text"]}` becomes one line."""
    message = found.get("message")
    if isinstance(message, Mapping):
        message = message.get("detail")
    if isinstance(message, str):
        return message
    if any(field in found for field in OPENED):
        return ""
    texts = ((field, value[0] if isinstance(value, list) and value else value) for field, value in found.items())
    return "; ".join(f"{field}: {value}" for field, value in texts if isinstance(value, str))
