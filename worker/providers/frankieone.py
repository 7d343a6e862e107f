"""The shared part of FrankieOne's three endpoints: credentials, reading an answer, the session, errors. Facts:
docs/providers/frankieone-v2.md and frankieone-v1.md."""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from onboarding_worker.adapters import bodies
from onboarding_worker.adapters.bodies import BadAnswer, optional_text, text
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.foundation.clock import EPOCH
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.core.model.customers import Customer, CustomerKind, FieldProblem
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.core.model.sessions import APPLICANT_ID, ExpirySource, Session, SessionRequest
from onboarding_worker.providers.account import NO_COMPANIES, AccountAdapter, AccountUnusable, required_secret
from onboarding_worker.providers.facts import ProviderFacts
from onboarding_worker.providers.parameters import check_parameters

# The samples have a stray comma ("API-0400,") and three digits ("SYS-500"): the rest of the text is ignored.
ERROR_CODE = re.compile(r"([A-Z]{2,16})-(\d{3,4})")
# The parts of FrankieOne that an error's code begins with. Source: docs.frankieone.com, "API Error Codes" and "Errors".
# Of any other the meaning is UNKNOWN.
PREFIXES = frozenset({"ADMIN", "API", "AUTH", "CHECK", "CODE", "CORE", "DOC", "ENT", "SYS", "VAL"})
# The vendor decides how long a token lives, and does not document it. If the guess is too short, we only ask
# again, which costs nothing; if it is too long, we send a dead link.
FALLBACK_LIFETIME = timedelta(hours=1)
# A later expiry is a mistake, or a vendor's way of writing "never".
LONGEST_LIFETIME = timedelta(days=366)
# FrankieOne documents no wait (docs/reference/limits.md). Our own longest pause after a 429 is the most.
LONGEST_WAIT = timedelta(minutes=10)
LONGEST_VENDOR_VALUE = 4096
REFUSED = "the credentials are refused"  # what the codes AUTH-… mean
KEYS = ("customer_id", "customer_child_id", "channel", "jwt_key", "jwt_audience", "webhook_secret")
# docs/decisions/0007-adapters-are-pure.md
NO_LINK = 'FrankieOne documents no link for a token; without a page of your own use provider = "frankieone-hosted"'
# FrankieOne documents no limit: five calls a second is our own choice.
FACTS = ProviderFacts(
    host="https://api.frankie.one",
    limit="5/second",
    paths=("/v2", "/idv"),
    keys=KEYS,
    needs={
        "customer_id": "",
        "link": f"{NO_LINK}, or give the address of your own page, which starts the vendor's SDK:"
        ' "https://verify.example.com/start#token={token}"',
    },
    answers=("provider", "vendor"),
)


class FrankieEndpoint(AccountAdapter):
    """What the three endpoints share, for one account. Raises AccountUnusable if no session would be usable."""

    def __init__(self, account: AccountSettings, *, links_are_given: bool = False) -> None:
        """`links_are_given`: the answers have a link, so that the account needs none."""
        key, customer_id = required_secret(account, "api_key"), required_secret(account, "customer_id")
        if account.link is None and not links_are_given:
            raise AccountUnusable(account.name, "link", f"{NO_LINK}, or set the page that starts the vendor's SDK")
        super().__init__(account, self._headers, key, customer_id, account.customer_child_id)
        page = urlsplit(account.link or "")
        # A link leads to a web page: its SDK's token is valid for this domain alone.
        self._referrer = f"{page.scheme}://{page.netloc}" if page.netloc else ""

    def _headers(self, key: str, customer_id: str, child_id: str) -> Mapping[str, str]:
        headers = {
            "api_key": key,
            "X-Frankie-CustomerID": customer_id,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        if self._account.customer_child_id is not None:
            headers["X-Frankie-CustomerChildID"] = child_id
        if self._account.channel:
            headers["X-Frankie-Channel"] = self._account.channel
        return headers

    def repeatable(self, request: SessionRequest) -> bool:
        return True

    def _filled(self, request: SessionRequest) -> dict[str, Any]:
        """What we fill in the body for a vendor's SDK; the account's and the row's parameters win."""
        ours = {"referrer": self._referrer, "relayState": request.external_ref, APPLICANT_ID: request.applicant_id}
        return {name: value for name, value in ours.items() if value}

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        """What is wrong with the customer for any of the endpoints: a company, or a parameter of the row."""
        if customer.kind is CustomerKind.COMPANY:
            return [NO_COMPANIES]
        provider = self._account.provider
        given = customer.parameters.get(provider, {})
        return check_parameters(provider, bodies.merged(self._account.parameters, given)) if given else []

    def _of_token(
        self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime, *, reference: str, entity_id: str
    ) -> Session:
        """The session in an answer with a vendor's token. Raises BadAnswer, which names the field, never its value."""
        token = text(found, "token", most=bodies.LONGEST_TOKEN)
        vendor = optional_text(found, "provider")
        vendor_parameters = _vendor_parameters(found.get("vendorParameters"))
        ids = {name: optional_text(found, name) for name in (APPLICANT_ID, "requestId")}
        return self.made(
            request,
            "token",
            token,
            reference=reference,
            ends=expiry(found.get("tokenExpiry"), issued_at),
            references={"entityId": entity_id, **ids},
            placeholders={"provider": vendor, **{f"vendor.{name}": text for name, text in vendor_parameters.items()}},
            vendor=vendor,
            vendor_parameters=vendor_parameters,
            # The two API families spell the name differently.
            sms_sent=found.get("smsSent") is True or found.get("sms_sent") is True,
        )

    def problem(self, answer: HttpAnswer, unread: bodies.Unread, request: SessionRequest, now: datetime) -> Problem:
        found, reason = unread.found, unread.reason
        given = found.get("errorCode")
        parsed = ERROR_CODE.match(given) if isinstance(given, str) else None
        prefix, number = (parsed[1], int(parsed[2])) if parsed else ("", None)
        kind = _kind(answer.status, prefix, number, repeatable=self.repeatable(request))
        secrets = self.secrets
        code = parsed[0] if parsed and bodies.masked(parsed[0], request, secrets=secrets) == parsed[0] else None
        if kind is Kind.BAD_INPUT and (answer.status == 404 or (prefix, number) == ("VAL", 404)):
            reason = "entity not found"
        message = _message(found)
        meaning = REFUSED if code and kind is Kind.AUTH else ""
        details = (meaning, reason, bodies.fields_in(message, self._names))
        words = bodies.masked(message, request, secrets=secrets)
        return bodies.refusal(
            *(answer, kind),
            code=code,
            details=details,
            words=words,
            longest_wait=LONGEST_WAIT,
            now=now,
            undocumented=bool(prefix) and prefix not in PREFIXES,
        )


def expiry(given: object, issued_at: datetime) -> tuple[datetime, ExpirySource]:
    """When the session of an answer ends, and how that is known."""
    expires_at = utc_time(given)
    if expires_at is None or expires_at - issued_at > LONGEST_LIFETIME:
        return issued_at + FALLBACK_LIFETIME, ExpirySource.FALLBACK
    return max(expires_at, EPOCH), ExpirySource.ANSWER  # a date of the year 1 has expired too, and breaks arithmetic


def _kind(status: int, prefix: str, number: int | None, *, repeatable: bool) -> Kind:
    """The Kind of an answer without a usable session (docs/providers/frankieone-v2.md)."""
    if 300 <= status < 400:
        return Kind.AUTH  # the address is wrong; the credential is never sent after a redirect
    # Read first: the 401's own AUTH-0002 has a number of the "temporary" range.
    if status == 401 or prefix == "AUTH":
        return Kind.AUTH
    match status:
        case 403 | 404:  # without a code a 404 is not about an entity: the configured address is wrong, for every row
            return Kind.BAD_INPUT if prefix else Kind.AUTH
        case 405:
            return Kind.AUTH
        case 409:
            return Kind.CONFLICT
        case 429:
            return Kind.RATE_LIMITED
        case 503:
            return Kind.TRANSIENT  # refused before anything was carried out
    if 400 <= status < 500 and status != 408:
        return Kind.CONFLICT if (prefix, number) == ("VAL", 409) else Kind.BAD_INPUT
    # 408, 5xx, a 2xx without a token, or no valid status: the call may have been carried out.
    return Kind.TRANSIENT if repeatable else Kind.UNKNOWN


def entity_id_of(request: SessionRequest) -> str:
    return request.entity_id or request.customer.entity_id


def check_entity(given: object, sent: str) -> None:
    """Raise BadAnswer unless the answer has the entityId that was sent: else it is about another customer. An id is the
    same in upper and lower case."""
    if not isinstance(given, str) or given.casefold() != sent.casefold():
        raise BadAnswer("entityId in the answer is not the one that was sent")


def _message(found: Mapping[str, Any]) -> str:
    """errorMsg with its issues and their locations: "Multiple Errors (VALIDATE-entityId: must be a uuid)"."""
    message = found.get("errorMsg")
    # The name in the second API family, and the name in the first.
    lists = [found.get(name) for name in ("details", "issues")]
    details = next((given for given in lists if isinstance(given, list) and given), [])
    issues = []
    for issue in details[:5]:
        if isinstance(issue, Mapping):
            parts = (issue.get("issueLocation"), issue.get("issue"))
            issues.append(": ".join(part for part in parts if isinstance(part, str) and part))
    shown = "; ".join(issue for issue in issues if issue)
    return (message if isinstance(message, str) else "") + (f" ({shown})" if shown else "")


def _vendor_parameters(value: object) -> dict[str, str]:
    """The vendor's parameters. Documented as strings: other types are kept as JSON, and too long ones dropped."""
    if not isinstance(value, Mapping):
        return {}
    texts = {name: inner if isinstance(inner, str) else json.dumps(inner) for name, inner in value.items()}
    return {name: inner for name, inner in texts.items() if len(inner) <= LONGEST_VENDOR_VALUE}
