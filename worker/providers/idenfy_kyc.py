"""iDenfy KYC, flat form (seed S4): POST /api/v2/token. Facts: docs/providers/idenfy-kyc.md, providers.md 5.

Every call may open, and cost, one more session, and a lost answer's token cannot be fetched again: whatever
may have been carried out and gave no session is UNKNOWN.
"""

import base64
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from worker.customers import Customer, CustomerKind, FieldProblem, Person
from worker.endings import Kind, Problem
from worker.providers.account import AccountSettings, AccountUnusable, required_secret
from worker.providers.answers import LONGEST_TOKEN, BadAnswer, json_object, optional_text, retry_after, text
from worker.providers.bodies import json_body, merged
from worker.providers.contract import Broken, HttpAnswer, HttpRequest
from worker.providers.links import filled, https_link, template_problem
from worker.providers.masking import masked
from worker.providers.parameters import check_parameters, parameters_of
from worker.providers.parameters.idenfy_kyc import DEFAULT_LIFETIME, LOCALES, MOST_LIFETIME
from worker.sessions import ExpirySource, Session, SessionRequest

PROVIDER = "idenfy-kyc"
PATH = "/api/v2/token"
# Where a customer opens a session; not in the seed, used by the provider's documentation and many clients.
REDIRECT = "https://ivs.idenfy.com/api/v2/redirect?authToken={token}"

# Sent with 400 as well as with the fitting status, so the identifier is read before the status.
IDENTIFIERS = {
    "UNAUTHORIZED": Kind.AUTH,
    "AUTHENTICATION_FAILED": Kind.AUTH,
    # An option that the contract lacks, or an endpoint closed to this environment: every row has the same.
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
# A gateway's words, not iDenfy's: the request behind it may have been carried out.
GATEWAY = frozenset({408, 502, 504})
STATUSES = {
    401: Kind.AUTH,
    402: Kind.OUT_OF_CREDIT,
    403: Kind.AUTH,
    404: Kind.AUTH,  # the address is wrong, for every row
    405: Kind.AUTH,
    409: Kind.CONFLICT,
    429: Kind.RATE_LIMITED,
    500: Kind.TRANSIENT,  # documented as worth repeating; at worst one spare credit
    503: Kind.TRANSIENT,
}
# The credit of a prepaid contract is used up; sent as PERMISSIONS_ERROR, and no rate limit.
NO_CREDIT = "Partner reached token limit"

# Documented parameter, and the column that fills it with `prefill`.
NAMES = {"firstName": "first_name", "lastName": "last_name"}
COLUMNS = NAMES | {
    "dateOfBirth": "date_of_birth",
    "sex": "sex",
    "nationality": "nationality",
    "address": "address",
}


class IdenfyKyc:
    """One account's KYC sessions. Raises AccountUnusable for settings with which no session could be used."""

    def __init__(self, account: AccountSettings) -> None:
        self._account = account
        self._key = required_secret(account, "api_key")
        self._secret = required_secret(account, "api_secret")
        self._url = account.base_url.rstrip("/") + PATH
        self._link = account.link or REDIRECT
        if problem := template_problem(self._link, account.link_hosts):
            raise AccountUnusable(account.name, "link" if account.link else "link_hosts", f"{self._link} {problem}")

    @property
    def lifetime(self) -> timedelta | None:
        return timedelta(seconds=self._lifetime(self._account.parameters) or DEFAULT_LIFETIME)

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        if customer.kind is CustomerKind.COMPANY:
            return [FieldProblem("kind", "this account verifies people, not companies", "route companies elsewhere")]
        own = parameters_of(PROVIDER)
        given = customer.parameters.get(PROVIDER, {})
        checks = [("customer_id", "clientId", customer.customer_id)]
        if customer.external_ref:
            checks.append(("external_ref", "externalRef", customer.external_ref))
        prefilled = self._prefill(customer.person)
        checks += [(COLUMNS[name], name, value) for name, value in prefilled.items() if name not in given]
        problems = [
            FieldProblem(column, f"{problem} (iDenfy's {name})", _hint(name))
            for column, name, value in checks
            if (problem := own[name].problem(value))
        ]
        if given:
            problems += check_parameters(PROVIDER, merged(self._account.parameters, given))
        return problems

    def build(self, request: SessionRequest) -> HttpRequest:
        given = merged(self._account.parameters, request.parameters)
        customer = request.customer
        ours: dict[str, Any] = {
            "tokenType": "IDENTIFICATION",
            "externalRef": request.external_ref,
            "locale": _locale(customer.locale),
            "expiryTime": self._lifetime(given),
            **self._prefill(customer.person),
        }
        fields = merged({name: value for name, value in ours.items() if value}, given, self._account.unchecked)
        # Not to be overridden: sessions, look-ups and duplicate checks go by it.
        fields["clientId"] = customer.customer_id
        return HttpRequest("POST", self._url, self._headers(), json_body(fields))

    def read(
        self, answer: HttpAnswer, request: SessionRequest, *, issued_at: datetime, now: datetime
    ) -> Session | Problem:
        try:
            found = json_object(answer.body)
        except BadAnswer as error:
            return self._problem(answer, {}, request, now, said=str(error))
        if not 200 <= answer.status < 300:
            return self._problem(answer, found, request, now)
        try:
            return self._session(found, request, issued_at)
        except BadAnswer as error:  # its text names the field, never its value
            return self._problem(answer, found, request, now, said=str(error))

    def broken(self, failure: Broken, request: SessionRequest) -> Problem:
        return Problem(Kind.UNKNOWN if failure.sent else Kind.TRANSIENT, failure.detail)

    def repeatable(self, request: SessionRequest) -> bool:
        return False

    def reissue_at(self, expires_at: datetime) -> datetime:
        # Asked to wait for the old session's end: before it, a new one costs a credit or is a conflict.
        return expires_at

    def reload_credentials(self) -> bool:
        changed = [self._key.reload(), self._secret.reload()]
        return any(changed)

    def _headers(self) -> dict[str, str]:
        pair = f"{self._key.reveal()}:{self._secret.reveal()}".encode()
        return {
            "Authorization": "Basic " + base64.b64encode(pair).decode("ascii"),
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def _prefill(self, person: Person) -> dict[str, str]:
        """What the configuration lets us send of a person, where it is known."""
        sex = person.sex.upper()
        values = {
            "firstName": person.first_name,
            "lastName": person.last_name,
            "dateOfBirth": person.date_of_birth.isoformat() if person.date_of_birth else "",
            "sex": sex if sex in ("M", "F") else "",  # the field has no third value
            "nationality": person.nationality,
            "address": person.address,
        }
        allowed = {"none": frozenset[str](), "name": NAMES.keys(), "all": COLUMNS.keys()}[self._account.prefill]
        return {name: value for name, value in values.items() if value and name in allowed}

    def _lifetime(self, given: Mapping[str, Any]) -> int | None:
        """Seconds to ask for; None leaves it to the provider's own default."""
        if isinstance(given.get("expiryTime"), int):
            return int(given["expiryTime"])
        asked = self._account.lifetime
        seconds = int(asked.total_seconds()) if asked else None
        if given.get("generateDigitString") is True:
            return min(seconds or DEFAULT_LIFETIME, DEFAULT_LIFETIME)
        return seconds

    def _session(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        token = text(found, "authToken", most=LONGEST_TOKEN)
        reference = text(found, "scanRef")
        # A duration, never an epoch. It is counted from before the call, which errs early.
        seconds, source = found.get("expiryTime"), ExpirySource.ANSWER
        if isinstance(seconds, bool) or not isinstance(seconds, int) or not 1 <= seconds <= MOST_LIFETIME:
            asked = self._lifetime(merged(self._account.parameters, request.parameters))
            seconds, source = asked or DEFAULT_LIFETIME, ExpirySource.FALLBACK
        values = {"token": token, "customer_id": request.customer.customer_id, "reference": reference}
        link = None if self._account.link else https_link(found.get("redirectUrl"), self._account.link_hosts)
        link = link or https_link(filled(self._link, values), self._account.link_hosts)
        if link is None:  # only a token so long that no link can hold it
            raise BadAnswer("no link can be made with the authToken in the answer")
        return Session(
            token=token,
            link=link,
            reference=reference,
            expires_at=issued_at + timedelta(seconds=seconds),
            expiry_source=source,
            references={"scanRef": reference},
            digit_string=optional_text(found, "digitString", most=16),
        )

    def _problem(
        self, answer: HttpAnswer, found: Mapping[str, Any], request: SessionRequest, now: datetime, said: str = ""
    ) -> Problem:
        given = found.get("identifier")
        identifier = given if isinstance(given, str) else ""
        message = _message(found)
        kind = _kind(answer.status, identifier, message)
        secrets = (self._key.reveal(), self._secret.reveal())
        code = _code(identifier, masked(identifier, request, secrets=secrets))
        detail = f"HTTP {answer.status}" + (f" {code}" if code else "")
        told = "; ".join(part for part in (said, masked(message, request, secrets=secrets)) if part)
        return Problem(
            kind,
            f"{detail}: {told}" if told else detail,
            code=code,
            status=answer.status,
            retry_after=retry_after(answer.headers, now) if kind in (Kind.RATE_LIMITED, Kind.TRANSIENT) else None,
        )


def _kind(status: int, identifier: str, message: str) -> Kind:
    """What an answer without a usable session was (providers.md 0.3 and 5.6)."""
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


def _code(identifier: str, safe: str) -> str | None:
    """The identifier, if it is one: not whatever an answer has put in its place."""
    known = identifier in IDENTIFIERS
    return identifier if known or (identifier == safe and re.fullmatch(r"[A-Z][A-Z0-9_]{1,63}", identifier)) else None


def _message(found: Mapping[str, Any]) -> str:
    """The message, which may be an object with `detail`; or the framework's `{"field": ["text"]}` on one line."""
    message = found.get("message")
    if isinstance(message, Mapping):
        message = message.get("detail")
    if isinstance(message, str):
        return message
    if "identifier" in found or "authToken" in found:
        return ""
    texts = ((field, value[0] if isinstance(value, list) and value else value) for field, value in found.items())
    return "; ".join(f"{field}: {value}" for field, value in texts if isinstance(value, str))


def _locale(locale: str) -> str:
    """The provider's code of the language; "" where it has none, and would show English anyway."""
    language, *rest = locale.lower().replace("_", "-").split("-")
    if language == "zh" and {"tw", "hant", "hk"} & set(rest):
        return "zh_tw"
    language = "no" if language in ("nb", "nn") else language
    return language if language in LOCALES else ""


def _hint(name: str) -> str:
    if name in NAMES:
        return 'correct the name, or leave it out: with prefill = "none" no name is sent'
    return "correct it, or leave it out"
