"""The adapter of an invented provider, Acme IDV: POST /v1/sessions opens a session and charges it.

It shows what every adapter has: the request, the reading of each answer, and `ENDPOINT` with all that the worker must
know. Copy it, and replace each table by your provider's documents.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from worker.core.customers.customers import Customer, CustomerKind, FieldProblem
from worker.core.foundation.notation import utc_time
from worker.core.model.endings import Kind, Problem
from worker.core.model.sessions import ExpirySource, Session, SessionRequest
from worker.providers.account import (
    AccountSettings,
    AccountUnusable,
    Credentials,
    Links,
    https_link,
    required_secret,
    template_problem,
)
from worker.providers.bodies import (
    LONGEST_TOKEN,
    BadAnswer,
    json_body,
    json_object,
    masked,
    merged,
    optional_text,
    refusal,
    text,
)
from worker.providers.contract import (
    Broken,
    Endpoint,
    HttpAnswer,
    HttpRequest,
    LifetimeAsked,
    NoLookUp,
    ProviderFacts,
    Table,
)
from worker.providers.facts import lifetime_of
from worker.providers.parameters import by_name, check_parameters
from worker.providers.parameters.spec import Parameter, Type

PROVIDER = "acme-idv"
PATH = "/v1/sessions"
LONGEST_WAIT = timedelta(minutes=5)  # the longest that Acme documents
CODES = {"key_invalid": Kind.AUTH, "balance_empty": Kind.OUT_OF_CREDIT, "session_open": Kind.CONFLICT}
STATUSES = {
    401: Kind.AUTH,
    402: Kind.OUT_OF_CREDIT,
    403: Kind.AUTH,
    404: Kind.AUTH,  # the configured address is wrong, for every row
    409: Kind.CONFLICT,
    429: Kind.RATE_LIMITED,
    503: Kind.TRANSIENT,  # refused before anything was carried out
}
PARAMETERS = (
    Parameter("ttl", Type.INTEGER, 60, 2_592_000, filled="the account's lifetime"),
    Parameter("flow", Type.TEXT, 1, 64, default="the account's"),
    Parameter("customer", Type.TEXT, instead="it is filled from the column customer_id"),
)


class AcmeIdv(NoLookUp):
    """One account's sessions. Raises AccountUnusable if a secret is missing, or no link can be made from `link`."""

    no_look_up = "Acme documents no list of its sessions"

    def __init__(self, account: AccountSettings) -> None:
        self._account = account
        self._credentials = Credentials(_headers, required_secret(account, "api_key"))
        self._url = account.base_url.rstrip("/") + PATH
        if account.link and (problem := template_problem(account.link, account.link_hosts)):
            raise AccountUnusable(account.name, "link", f"{account.link} {problem}")
        self._own_links = Links(account.link, account.link_hosts) if account.link else None

    @property
    def lifetime(self) -> timedelta | None:
        return lifetime_of(self._account)

    def lifetime_with(self, parameters: Mapping[str, Any]) -> timedelta | None:
        return lifetime_of(self._account, parameters)

    @property
    def may_return_earlier(self) -> bool:
        return False

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        if customer.kind is CustomerKind.COMPANY:
            return [FieldProblem("kind", "this account verifies people, not companies", "route companies elsewhere")]
        given = customer.parameters.get(PROVIDER, {})
        return check_parameters(PROVIDER, merged(self._account.parameters, given)) if given else []

    def build(self, request: SessionRequest) -> HttpRequest:
        ours: dict[str, Any] = {"customer": request.customer.customer_id}
        if self._account.lifetime is not None:
            ours["ttl"] = int(self._account.lifetime.total_seconds())
        fields = merged(ours, self._account.parameters, request.parameters, self._account.unchecked)
        return HttpRequest("POST", self._url, self._credentials.headers(), json_body(fields))

    def read(
        self, answer: HttpAnswer, request: SessionRequest, *, issued_at: datetime, now: datetime
    ) -> Session | Problem:
        try:
            found = json_object(answer.body)
        except BadAnswer as error:
            return self._problem(answer, {}, request, now, str(error))
        if not 200 <= answer.status < 300:
            return self._problem(answer, found, request, now)
        try:
            return self._session(found, request)
        except BadAnswer as error:  # its text names the field, never its value
            return self._problem(answer, found, request, now, str(error))

    def _session(self, found: Mapping[str, Any], request: SessionRequest) -> Session:
        token = text(found, "session", most=LONGEST_TOKEN)
        link, expires_at = https_link(found.get("link"), self._account.link_hosts), utc_time(found.get("expires_at"))
        if link is None or token not in link:
            raise BadAnswer("link in the answer may not be sent")
        if expires_at is None:
            raise BadAnswer("expires_at in the answer is not a time")
        reference = text(found, "id", most=100)
        if self._own_links is not None:  # a page of the company's own: it wins over Acme's
            values = {"token": token, "customer_id": request.customer.customer_id, "reference": reference}
            link = self._own_links.made(values)
            if link is None:
                raise BadAnswer("the token in the answer does not fit into a link")
        return Session(
            token=token, link=link, reference=reference, expires_at=expires_at, expiry_source=ExpirySource.ANSWER
        )

    def _problem(
        self, answer: HttpAnswer, found: Mapping[str, Any], request: SessionRequest, now: datetime, reason: str = ""
    ) -> Problem:
        """`reason` is our own text, and names no value. The provider's words are kept apart, masked."""
        code = optional_text(found, "code", most=64)
        known = code in CODES
        kind = CODES[code] if known else _kind(answer.status)
        words = masked(optional_text(found, "title"), request, secrets=self._credentials.values)
        return refusal(
            answer,
            kind,
            code=code if known else None,
            details=(reason,),
            words=words,
            longest_wait=LONGEST_WAIT,
            now=now,
        )

    def broken(self, failure: Broken, request: SessionRequest) -> Problem:
        return Problem(Kind.UNKNOWN if failure.sent else Kind.TRANSIENT, failure.detail)

    def repeatable(self, request: SessionRequest) -> bool:
        return False  # each call opens, and charges, another session

    def reissue_at(self, expires_at: datetime) -> datetime:
        return expires_at  # before it, Acme answers 409

    def reload_credentials(self) -> bool:
        return self._credentials.reload()


def _headers(key: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Accept": "application/json"}


def _kind(status: int) -> Kind:
    """The Kind of an answer without a known code."""
    if 300 <= status < 400:
        return Kind.AUTH  # the address is wrong; the credential is never sent after a redirect
    if status in STATUSES:
        return STATUSES[status]
    if 400 <= status < 500 and status != 408:
        return Kind.BAD_INPUT
    return Kind.UNKNOWN  # it may have been carried out


ENDPOINT = Endpoint(
    facts=ProviderFacts(
        host="https://api.acme-idv.example",
        limit="10/second",
        paths=("/v1",),
        link_hosts=("verify.acme-idv.example",),
        lifetime=timedelta(days=7),
        lifetimes={"": LifetimeAsked("ttl", unasked=timedelta(days=1))},
    ),
    adapter=AcmeIdv,
    parameters=(Table(by_name(*PARAMETERS)),),
)
