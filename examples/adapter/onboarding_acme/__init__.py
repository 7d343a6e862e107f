"""The adapter of an invented provider, Acme IDV: POST /v1/sessions opens a session and charges it.

It shows what every adapter has: the request, the reading of each answer, and `ENDPOINT` with all that the worker must
know. Copy it, and replace each table by your provider's documents.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from onboarding_worker.adapters.bodies import (
    LONGEST_TOKEN,
    BadAnswer,
    Unread,
    json_body,
    masked,
    merged,
    optional_text,
    refusal,
    text,
)
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.foundation.notation import utc_time
from onboarding_worker.core.model.customers import Customer, CustomerKind, FieldProblem
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import ExpirySource, Session, SessionRequest
from onboarding_worker.providers.account import NO_COMPANIES, https_link, required_secret
from onboarding_worker.providers.contract import (
    AccountAdapter,
    Endpoint,
    HttpAnswer,
    HttpRequest,
    LifetimeAsked,
    ProviderFacts,
    Table,
)
from onboarding_worker.providers.parameters import by_name, check_parameters
from onboarding_worker.providers.parameters.effects import Effect, effects
from onboarding_worker.providers.values import Parameter, Type

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
# What each can do to the check, by Acme's page: rows set only what is plain.
EFFECTS = effects(
    (Effect.PLAIN, "ttl", "how long the link lives"),
    (Effect.PLAIN, "customer", "our id of the customer"),
    (Effect.WEAKENS, "flow", "the steps that the customer goes through"),
)


class AcmeIdv(AccountAdapter):
    """One account's sessions. Raises AccountUnusable if a secret is missing, or no link can be made from `link`."""

    no_look_up = "Acme documents no list of its sessions"

    def __init__(self, account: AccountSettings) -> None:
        super().__init__(account, _headers, required_secret(account, "api_key"))

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        if customer.kind is CustomerKind.COMPANY:
            return [NO_COMPANIES]
        given = customer.parameters.get(PROVIDER, {})
        return check_parameters(PROVIDER, merged(self._account.parameters, given)) if given else []

    def build(self, request: SessionRequest) -> HttpRequest:
        ours: dict[str, Any] = {"customer": request.customer.customer_id}
        if self._account.lifetime is not None:
            ours["ttl"] = int(self._account.lifetime.total_seconds())
        fields = merged(ours, self._account.parameters, request.parameters, self._account.unchecked)
        return HttpRequest("POST", self._base_url + PATH, self.headers(), json_body(fields))

    def session_in(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        token = text(found, "session", most=LONGEST_TOKEN)
        link, expires_at = https_link(found.get("link"), self._account.link_hosts), utc_time(found.get("expires_at"))
        if link is None or token not in link:
            raise BadAnswer("link in the answer may not be sent")
        if expires_at is None:
            raise BadAnswer("expires_at in the answer is not a time")
        return self.made(
            request,
            "session",
            token,
            reference=text(found, "id", most=100),
            ends=(expires_at, ExpirySource.ANSWER),
            references={},
            link=None if self._account.link else link,  # a page of the company's own wins over Acme's
        )

    def problem(self, answer: HttpAnswer, unread: Unread, request: SessionRequest, now: datetime) -> Problem:
        code = optional_text(unread.found, "code", most=64)
        known = code in CODES
        # The provider's words are kept apart, masked. The reason is our own text, and names no value.
        words = masked(optional_text(unread.found, "title"), request, secrets=self.secrets)
        return refusal(
            answer,
            CODES[code] if known else _kind(answer.status),
            code=code if known else None,
            details=(unread.reason,),
            words=words,
            longest_wait=LONGEST_WAIT,
            now=now,
        )


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
    parameters=(Table(by_name(*PARAMETERS), EFFECTS),),
)
