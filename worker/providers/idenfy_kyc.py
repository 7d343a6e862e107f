"""iDenfy KYC: POST /api/v2/token, in either of its two documented forms (seeds S4 and S3).

The account's dialect decides the form of a request; answers of both forms are read. Facts:
docs/providers/idenfy-kyc.md. Every call may open one more session, and cost one more credit.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from onboarding_worker.adapters import bodies
from onboarding_worker.adapters.bodies import BadAnswer, optional_text, text
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.model.customers import Customer, CustomerKind, FieldProblem, Person
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import ExpirySource, Session, SessionRequest
from onboarding_worker.providers.account import NO_COMPANIES, AccountUnusable
from onboarding_worker.providers.contract import (
    Endpoint,
    HttpAnswer,
    HttpRequest,
    LifetimeAsked,
    Listed,
    Listing,
    ProviderFacts,
    Table,
)
from onboarding_worker.providers.facts import asked_lifetime, lifetime_parameter
from onboarding_worker.providers.idenfy import HOST, KEYS, LIMIT, PATHS, IdenfyEndpoint
from onboarding_worker.providers.parameters import (
    by_name,
    check_parameters,
    documented_parameters,
    idenfy_kyc,
    unknown_parameter,
)
from onboarding_worker.providers.parameters.idenfy_kyc import DEFAULT_LIFETIME, LOCALES, MOST_LIFETIME
from onboarding_worker.providers.values import language_of, wrong_ours
from onboarding_worker.providers.webhooks.idenfy import IdenfyKycWebhooks, meaning

PROVIDER = "idenfy-kyc"
PATH = "/api/v2/token"
# The list of a client's verifications. It has no tokens and no times; the page size is the documented one.
LISTING = "/kyc/identifications/"
PAGE_SIZE = 100
REFUSED_CREDENTIALS = ("UNAUTHORIZED", "AUTHENTICATION_FAILED")
# The address that opens a session. It is not in the seeds; the provider's documentation and many clients use it.
REDIRECT = "https://ivs.idenfy.com/api/v2/redirect?authToken={token}"
TOKEN_TYPE = "IDENTIFICATION"  # noqa: S105  # document and selfie, the stricter of the two kinds


# The column that fills each parameter, under the narrative form's name.
NAMES = {"firstName": "first_name", "lastName": "last_name"}
PERSONAL = {**NAMES, "dateOfBirth": "date_of_birth", "sex": "sex", "nationality": "nationality", "address": "address"}
_COMPANY = CustomerKind.COMPANY  # found once: it is asked for each row of a list
NAME_HINT = 'correct the name, or leave it out: with prefill = "none" no name is sent'
RENAMED: Mapping[str, Mapping[str, str]] = {"narrative": {}, "openapi": idenfy_kyc.RENAMED}


class IdenfyKyc(IdenfyEndpoint):
    """One account's KYC sessions. Raises AccountUnusable if its settings make every session unusable."""

    no_look_up = ""

    def __init__(self, account: AccountSettings) -> None:
        super().__init__(account, PATH, REDIRECT)
        renamed = RENAMED[account.dialect]
        self._names_filled = {renamed.get(name, name): column for name, column in NAMES.items()}
        self._filled = {renamed.get(name, name): column for name, column in PERSONAL.items()}
        self._listing = self._base_url + LISTING
        self._asked = self._asked_with({})
        self._refuse_the_other_form()
        ours = ("clientId", "externalRef", *self._filled)
        self._parameters = documented_parameters(PROVIDER, ours, account.dialect)
        self._hints = dict.fromkeys(self._names_filled, NAME_HINT)

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        if customer.kind is _COMPANY:
            return [NO_COMPANIES]
        given = customer.parameters.get(PROVIDER, {})
        checks = [("customer_id", "clientId", customer.customer_id)]
        if customer.external_ref:
            checks.append(("external_ref", "externalRef", customer.external_ref))
        if prefilled := self._prefill(customer.person):
            checks += [
                (self._filled[name], name, value) for name, value in prefilled.items() if not bodies.holds(given, name)
            ]
        problems = wrong_ours(checks, self._parameters, "iDenfy's", self._hints)
        if given:
            problems += check_parameters(
                PROVIDER, bodies.merged(self._account.parameters, given), self._account.dialect
            )
        return problems

    def build(self, request: SessionRequest) -> HttpRequest:
        given = bodies.merged(self._account.parameters, request.parameters)
        customer = request.customer
        ours: dict[str, Any] = {
            "tokenType": TOKEN_TYPE,
            "externalRef": request.external_ref,
            # Without a known language iDenfy shows English.
            "locale": language_of(customer.locale, LOCALES),
            **(self._asked_with(request.parameters) if request.parameters else self._asked),
            **self._prefill(customer.person),
        }
        fields = bodies.merged({name: value for name, value in ours.items() if value}, given, self._account.unchecked)
        # Not overridable: sessions, look-ups and duplicate checks use it.
        fields["clientId"] = customer.customer_id
        return HttpRequest("POST", self._url, self.headers(), bodies.json_body(fields))

    def look_up(self, request: SessionRequest, *, page: int) -> HttpRequest | None:
        query = urlencode({"clientId": request.customer.customer_id, "page": page, "perPage": PAGE_SIZE})
        headers = {name: value for name, value in self.headers().items() if name != "Content-Type"}
        return HttpRequest("GET", f"{self._listing}?{query}", headers)

    def read_look_up(self, answer: HttpAnswer, request: SessionRequest, *, now: datetime) -> Listing | Problem:
        read = bodies.read_from(answer, _listing, good=(200,))
        if isinstance(read, bodies.Unread):
            return _look_up_problem(self.problem(answer, read, request, now))
        return read

    def adopted(self, request: SessionRequest, *, token: str, reference: str, expires_at: datetime) -> Session | str:
        found = {"authToken": token, "scanRef": reference, "expiration": expires_at.isoformat()}
        try:
            return self.session_in(found, request, expires_at - timedelta(seconds=1))
        except BadAnswer as error:
            return str(error)

    def _refuse_the_other_form(self) -> None:
        """Raise AccountUnusable for parameters of the other form: iDenfy would ignore or refuse them in every row."""
        dialect = self._account.dialect
        found = check_parameters(PROVIDER, self._account.parameters, dialect)
        names = [problem.column.partition(".")[2] for problem in found]
        foreign = [name for name in names if unknown_parameter(PROVIDER, name) is None]
        reasons = [f"{name} {reason}" for name in foreign if (reason := unknown_parameter(PROVIDER, name, dialect))]
        if reasons:
            raise AccountUnusable(self._account.name, "parameters", "; ".join(reasons))

    def _asked_with(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """The lifetime that a request with these parameters names, under the form's name for it."""
        return {lifetime_parameter(self._account): _seconds(asked_lifetime(self._account, parameters))}

    def _prefill(self, person: Person) -> dict[str, str]:
        """The person's known fields that the configuration allows us to send, by documented name."""
        if self._account.prefill == "none":
            return {}
        sex = person.sex.upper()
        values = {
            "first_name": person.first_name,
            "last_name": person.last_name,
            "date_of_birth": person.date_of_birth.isoformat() if person.date_of_birth else "",
            "sex": sex if sex in ("M", "F") else "",  # the documented values
            "nationality": person.nationality,
            "address": person.address,
        }
        wanted = self._names_filled if self._account.prefill == "name" else self._filled
        return {name: values[column] for name, column in wanted.items() if values[column]}

    def session_in(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        # authToken first: an answer with both fields comes from the current edition, the narrative form.
        field = "authToken" if found.get("authToken") or not found.get("tokenString") else "tokenString"
        token = text(found, field, most=bodies.LONGEST_TOKEN)
        reference = text(found, "scanRef")
        # A parameter may ask for another.
        asked = bodies.merged(self._account.parameters, request.parameters, self._account.unchecked).get("tokenType")
        given = found.get("expiryTime")
        lives = _seconds(self.lifetime_with(request.parameters)) or DEFAULT_LIFETIME, ExpirySource.FALLBACK
        if isinstance(given, int) and not isinstance(given, bool) and 1 <= given <= MOST_LIFETIME:
            lives = given, ExpirySource.ANSWER  # a duration, never an epoch
        ends = self._ends(found, request, issued_at, TOKEN_TYPE, asked, lives=lives)
        digits = optional_text(found, "digitString", most=16)
        link = None
        if not self._account.link:
            link = self._links.given(found.get("sessionUrl")) or self._links.given(found.get("redirectUrl"))
        return self.made(
            request,
            field,
            token,
            reference=reference,
            ends=ends,
            references={"scanRef": reference},
            link=link,
            placeholders={"digits": digits},
            digit_string=digits,
        )


def _seconds(asked: timedelta | None) -> int | None:
    """None leaves the lifetime to the provider's default."""
    return None if asked is None else int(asked.total_seconds())


def _listing(found: Mapping[str, Any]) -> Listing:
    """The sessions on one page. Raises BadAnswer if an entry may be missing: its session would be paid for again."""
    results = found.get("results")
    if not isinstance(results, list) or not all(isinstance(entry, Mapping) for entry in results):
        raise BadAnswer("results in the answer is not a list of objects")
    if "next" not in found:
        raise BadAnswer("the answer has no field next, so the last page is not known")
    entries = []
    for entry in results:
        status = entry.get("status")
        known = isinstance(status, str) and re.fullmatch(r"[A-Z][A-Z_-]{0,31}", status)
        shown = str(status) if known else "status not readable"
        state, result = meaning(shown)
        entries.append(Listed(text(entry, "scanRef", most=100), shown, state, result.value if result else ""))
    return Listing(tuple(entries), more=found["next"] is not None)


def _look_up_problem(problem: Problem) -> Problem:
    """The Problem of a look-up. An account that may not list can still open sessions, so that is not an AUTH."""
    if problem.kind is Kind.AUTH and problem.status != 401 and problem.code not in REFUSED_CREDENTIALS:
        return replace(problem, kind=Kind.BAD_INPUT)
    # A look-up changes nothing at the provider, so its outcome is never unknown.
    return replace(problem, kind=Kind.TRANSIENT) if problem.kind is Kind.UNKNOWN else problem


# With a digit string iDenfy accepts no lifetime above one day.
_DAY = timedelta(days=1)
_DIGITS = "generateDigitString"
ENDPOINT = Endpoint(
    # Not `opens_early`: a call before the old session's end costs a credit or is a conflict.
    facts=ProviderFacts(
        host=HOST,
        limit=LIMIT,
        paths=PATHS,
        link_hosts=("ivs.idenfy.com", "ui.idenfy.com"),
        keys=(*KEYS, "dialect"),
        needs={"api_secret": ""},
        answers=("digits",),
        dialects=("narrative", "openapi"),
        lifetime=timedelta(days=7),
        lifetimes={
            "narrative": LifetimeAsked("expiryTime", _DAY, shortened_by=_DIGITS, shortened_to=_DAY),
            "openapi": LifetimeAsked("lifetime", _DAY, shortened_by=_DIGITS, shortened_to=_DAY),
        },
    ),
    adapter=IdenfyKyc,
    parameters=(
        Table(
            by_name(*idenfy_kyc.PARAMETERS),
            idenfy_kyc.EFFECTS,
            idenfy_kyc.contradictions,
            idenfy_kyc.warnings,
            dialect="narrative",
            renamed={theirs: ours for ours, theirs in idenfy_kyc.RENAMED.items()},
        ),
        Table(
            by_name(*idenfy_kyc.OPENAPI),
            idenfy_kyc.OPENAPI_EFFECTS,
            idenfy_kyc.openapi_contradictions,
            dialect="openapi",
            renamed=idenfy_kyc.RENAMED,
        ),
    ),
    webhooks=IdenfyKycWebhooks,
)
