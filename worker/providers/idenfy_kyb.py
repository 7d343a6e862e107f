"""iDenfy KYB: POST /kyb/tokens/, the form in which a company enters its data. Its parameters are those of the page
"Generate KYB form token". Facts: docs/providers/idenfy-kyb.md. Each call creates another token, and iDenfy has no list
in which a lost token could be found. So a call that may have been carried out and gave no session is UNKNOWN."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from onboarding_worker.adapters.bodies import LONGEST_TOKEN, json_body, merged, optional_text, text
from onboarding_worker.adapters.settings import AccountSettings
from onboarding_worker.core.model.customers import Customer, CustomerKind, FieldProblem
from onboarding_worker.core.model.sessions import ExpirySource, Session, SessionRequest
from onboarding_worker.providers.contract import Endpoint, HttpRequest, LifetimeAsked, ProviderFacts, Table
from onboarding_worker.providers.idenfy import HOST, KEYS, LIMIT, MOST_LIFETIME, PATHS, IdenfyEndpoint
from onboarding_worker.providers.parameters import by_name, check_parameters, documented_parameters
from onboarding_worker.providers.parameters.effects import Effect, effects
from onboarding_worker.providers.values import UUID, Parameter, Type, language_of, wrong_ours
from onboarding_worker.providers.webhooks.idenfy import IdenfyKybWebhooks

PROVIDER = "idenfy-kyb"
PATH = "/kyb/tokens/"  # without the slash at its end, iDenfy redirects
# The form's address. It is not in the seed; the provider's own plugin for shops uses it.
WELCOME = "https://kyb.ui.idenfy.com/welcome?authToken={token}"
TOKEN_TYPE = "FORM"  # noqa: S105  # the only kind whose body is documented
DEFAULT_LIFETIME = 7 * 24 * 60 * 60
LONGEST_REFERENCE = 40  # of externalRef
LOCALES = ("en", "es", "fr", "ru", "de", "it", "pl", "lt", "lv", "et", "cs", "ro", "hu", "ja", "bg", "nl", "pt")
LANGUAGE = "the language of locale, if it is one of these"
REFERENCE = "column external_ref, else the job's id; with -2 for the second session, and so on"


def _uuid(name: str) -> Parameter:
    return Parameter(name, Type.TEXT, pattern=UUID, shape="a uuid", nullable=True)


def _list(name: str, most: int, **more: Any) -> Parameter:
    return Parameter(name, Type.LIST, 1, most, pattern=r"[^,]+", shape="without a comma", **more)


PARAMETERS = (
    Parameter(
        "tokenType",
        Type.CHOICE,
        choices=("FORM", "GOV1", "GOV2"),
        default="required",
        # The page documents no body for the other two.
        instead="it is always FORM, the only kind that leads to a page for the customer",
    ),
    Parameter("clientId", Type.TEXT, 1, 100, instead="it is filled from the column customer_id"),
    Parameter(
        "lifetime", Type.INTEGER, 0, MOST_LIFETIME, warn_below=60, default="3600", filled="the account's lifetime"
    ),
    Parameter("externalRef", Type.TEXT, None, 40, nullable=True, filled=REFERENCE),
    Parameter("locale", Type.CHOICE, choices=LOCALES, default="by the client's IP address", filled=LANGUAGE),
    _uuid("flow"),
    _uuid("theme"),
    Parameter(
        "questionnaire", Type.TEXT, 1, nullable=True, null="no questionnaire", default="the KYB settings' questionnaire"
    ),
    Parameter("questionnaireRequired", Type.BOOLEAN, default="true"),
    _list("tags", 32, items=5, default="none", filled="column tags, added to the given tags"),
    _list("scanRefs", 40, nullable=True),
)
# What each can do to the check, by the page.
EFFECTS = effects(
    (Effect.PLAIN, "tokenType clientId externalRef tags", "names of ours"),
    (Effect.PLAIN, "lifetime", "how long the link lives"),
    (Effect.PLAIN, "locale theme", "what the customer sees"),
    (Effect.WEAKENS, "flow", "the KYB flow to use: which steps there are"),
    (Effect.WEAKENS, "questionnaire questionnaireRequired", "null for none; if the session should have one"),
    (Effect.WEAKENS, "scanRefs", "identifications that count for the company (the page says nothing of it)"),
)


def warnings(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameter and warning for each value that iDenfy ignores, according to the page."""
    if values.get("questionnaire") is not None and values.get("flow") is not None:
        yield "questionnaire", "is ignored with flow, which has a questionnaire of its own"


class IdenfyKyb(IdenfyEndpoint):
    """One account's KYB forms. Raises AccountUnusable if its settings make every session unusable."""

    no_look_up = "iDenfy lists no form tokens"

    def __init__(self, account: AccountSettings) -> None:
        super().__init__(account, PATH, WELCOME)
        self._parameters = documented_parameters(PROVIDER, ("clientId", "externalRef", "tags"))

    def refuses(self, customer: Customer) -> list[FieldProblem]:
        if customer.kind is not CustomerKind.COMPANY:
            return [FieldProblem("kind", "this account verifies companies, not people", "route people elsewhere")]
        given = merged(self._account.parameters, customer.parameters.get(PROVIDER, {}))
        ours: list[tuple[str, str, Any]] = [("customer_id", "clientId", customer.customer_id)]
        if customer.external_ref:
            ours.append(("external_ref", "externalRef", customer.external_ref))
        if customer.tags:
            ours.append(("tags", "tags", self._tags(given, customer)))
        of_row = check_parameters(PROVIDER, given) if PROVIDER in customer.parameters else []
        return wrong_ours(ours, self._parameters, "iDenfy's") + of_row

    def build(self, request: SessionRequest) -> HttpRequest:
        given = merged(self._account.parameters, request.parameters)
        ours: dict[str, Any] = {"externalRef": _own_reference(request)}
        ours["locale"] = language_of(request.customer.locale, LOCALES)
        fields = merged({name: value for name, value in ours.items() if value}, given)
        if tags := self._tags(given, request.customer):
            fields["tags"] = tags
        fields["lifetime"] = self._lifetime(request)
        fields = merged(fields, self._account.unchecked)
        # Not overridable: the kind of form, and the customer that it belongs to.
        fields |= {"tokenType": TOKEN_TYPE, "clientId": request.customer.customer_id}
        return HttpRequest("POST", self._url, self.headers(), json_body(fields))

    def _tags(self, given: Mapping[str, Any], customer: Customer) -> list[str]:
        """The tags of the parameter and of the line, without duplicates."""
        named = given.get("tags")
        return list(dict.fromkeys([*(named if isinstance(named, list | tuple) else ()), *customer.tags]))

    def _lifetime(self, request: SessionRequest) -> int:
        """Seconds to ask for. Always sent: the provider's default of one hour is too short for a link in an email."""
        asked = self.lifetime_with(request.parameters)
        return DEFAULT_LIFETIME if asked is None else int(asked.total_seconds())

    def session_in(self, found: Mapping[str, Any], request: SessionRequest, issued_at: datetime) -> Session:
        token = text(found, "tokenString", most=LONGEST_TOKEN)
        lives = self._lifetime(request) or DEFAULT_LIFETIME, ExpirySource.FALLBACK
        ends = self._ends(found, request, issued_at, TOKEN_TYPE, lives=lives)
        references = {name: optional_text(found, name) for name in ("externalRef", "companyId", "clientId")}
        # The answer has no id of the form. Webhooks return our own reference. An erasure finds it by its name.
        references["externalRef"] = references["externalRef"] or _own_reference(request)
        reference = references["externalRef"] or references["companyId"] or request.customer.customer_id
        return self.made(request, "tokenString", token, reference=reference, ends=ends, references=references)


def _own_reference(request: SessionRequest) -> str:
    """Our reference of the form, the only one that it has: it must differ from that of the customer's other forms."""
    room = LONGEST_REFERENCE - len(request.serial)
    return request.external_ref[:room] + request.serial if request.external_ref else ""


ENDPOINT = Endpoint(
    facts=ProviderFacts(
        opens_early=True,  # a form's token cannot be extended, and iDenfy always gives another one
        host=HOST,
        limit=LIMIT,
        paths=PATHS,
        link_hosts=("kyb.ui.idenfy.com",),
        keys=KEYS,
        needs={"api_secret": ""},
        lifetime=timedelta(days=7),
        # The adapter always asks: the provider's own hour is too short for a link in an email.
        lifetimes={"": LifetimeAsked("lifetime", unasked=timedelta(days=7))},
    ),
    adapter=IdenfyKyb,
    parameters=(Table(by_name(*PARAMETERS), EFFECTS, warnings=warnings),),
    webhooks=IdenfyKybWebhooks,
)
