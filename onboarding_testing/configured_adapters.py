"""Two parts of the contract of adapters: the adapter makes the documented call, as the account's settings say; and
look-ups, in the list of a customer's sessions at the provider.

`onboarding_testing.provider_contract` has these tests among its own. An adapter that reads no settings would open paid
sessions at the production host for an account of a test environment, and send customers to another page. The tests of
look-ups take adapters whose `no_look_up` is "". An adapter that calls an answer a list without sessions, and cannot be
sure of it, has a paid session opened again.
"""

import json
from dataclasses import replace
from datetime import timedelta
from itertools import product
from urllib.parse import parse_qsl, quote, urlsplit

from onboarding_testing.accounts import (
    AOIFE,
    API_KEY,
    API_SECRET,
    HTML,
    NOW,
    PlainSecret,
    ProviderCase,
    opened,
    read,
    shown_of,
)
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import HttpAnswer, HttpRequest, Listing
from onboarding_worker.providers.facts import facts_of


def sent(request: HttpRequest) -> dict[str, str]:
    """The fields of a request's body, JSON or a form's, as texts."""
    if request.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded"):
        return dict(parse_qsl(request.body.decode()))
    fields = json.loads(request.body)
    assert isinstance(fields, dict)
    return {name: str(value) for name, value in fields.items()}


def test_every_request_goes_to_the_address_that_the_configuration_names(real: ProviderCase) -> None:
    """An account of a test environment, or of the sandbox, opens nothing at the production host."""
    provider = real.make(base_url="https://test.example.org/idv")
    built, listed = provider.build(real.asked), provider.look_up(real.asked, page=1)

    assert built.url.startswith("https://test.example.org/idv/")
    assert listed is None or listed.url.startswith("https://test.example.org/idv/")


def test_the_call_is_the_one_of_the_providers_page(real: ProviderCase) -> None:
    """Another method or path is refused in every row, or does something else at the provider."""
    built = real.make(base_url="https://test.example.org").build(real.asked)

    assert real.call, 'write the method and the path of the page into the case: call="POST /v1/sessions"'
    assert f"{built.method} {urlsplit(built.url).path}" == real.call


def test_the_look_up_is_the_one_of_the_providers_page(real: ProviderCase) -> None:
    built = real.make(base_url="https://test.example.org").look_up(real.asked, page=1)

    assert ("" if built is None else f"{built.method} {urlsplit(built.url).path}") == real.listing


def test_a_body_comes_with_its_type(real: ProviderCase) -> None:
    built = real.make().build(real.asked)

    assert built.headers.get("Content-Type", "").startswith(("application/json", "application/x-www-form-urlencoded"))


def test_two_customers_are_two_requests(real: ProviderCase) -> None:
    """Otherwise the second customer is sent to the session of the first."""
    entity_id = real.asked.entity_id and "0d9a1c33-5f04-4b7e-9f6b-5f1a7c0d2e11"
    another = replace(real.asked.customer, customer_id="C-90001", entity_id=entity_id)
    provider = real.make()

    assert provider.build(replace(real.asked, customer=another, entity_id=entity_id)) != provider.build(real.asked)


def test_the_parameters_of_the_account_and_of_the_row_are_sent(real: ProviderCase) -> None:
    provider = real.make(parameters={"zz_of": "the account", "zz_default": "kept"}, unchecked={"zz_new": "as it is"})
    fields = sent(provider.build(replace(real.asked, parameters={**real.asked.parameters, "zz_of": "the row"})))

    assert (fields["zz_of"], fields["zz_default"], fields["zz_new"]) == ("the row", "kept", "as it is")


def test_a_row_with_a_parameter_that_the_provider_does_not_have_is_refused(real: ProviderCase) -> None:
    spoilt = replace(real.asked.customer, parameters={real.provider: {"no_such_parameter_": 1}})

    assert real.make().refuses(spoilt)


def test_the_lifetime_of_the_account_or_of_the_row_is_what_the_request_asks_for(real: ProviderCase) -> None:
    """The worker counts on `lifetime`: it refuses a freshness floor that is not below it."""
    facts = facts_of(real.provider)
    assert facts is not None
    provider = real.make(lifetime=timedelta(days=2))
    asked = {asks.parameter for asks in facts.lifetimes.values()} & sent(provider.build(real.asked)).keys()

    assert len(asked) == bool(facts.lifetimes)
    for name in asked:
        assert sent(provider.build(real.asked))[name] == "172800"
        assert provider.lifetime == provider.lifetime_with({}) == timedelta(days=2)
        assert provider.lifetime_with({name: 3600}) == timedelta(hours=1)


def test_the_configuration_names_the_hosts_of_links(real: ProviderCase) -> None:
    """An account may have a host of its own. A host that is not named is refused, a documented one too."""
    host = urlsplit(opened(real).link).netloc
    moved = replace(real.opened, body=real.opened.body.replace(host.encode(), b"verify.example.org"))
    session = read(real, moved, link_hosts=(host, "verify.example.org"))

    assert isinstance(session, Session)
    assert urlsplit(session.link).netloc in {host, "verify.example.org"}
    try:
        elsewhere: Session | Problem | None = read(real, real.opened, link_hosts=("verify.example.org",))
    except AccountUnusable:  # its links are made from a template, which is judged at the start
        elsewhere = None
    assert not isinstance(elsewhere, Session)


def test_a_link_of_the_configuration_is_what_a_customer_gets(real: ProviderCase) -> None:
    """`link` may be set for every account, and wins: a page of the company's own, which knows the session."""
    hosts = (urlsplit(opened(real).link).netloc, "start.example.org")
    session = read(real, real.opened, link="https://start.example.org/?t={token}&c={customer_id}", link_hosts=hosts)

    assert isinstance(session, Session)
    customer_id = real.asked.customer.customer_id
    assert session.link == f"https://start.example.org/?t={quote(real.token, safe='')}&c={customer_id}"


QUOTED = f"{AOIFE.first_name} {AOIFE.email} {API_KEY}"
UNREADABLE = (b"", b"\xff\x00", b"{", b"[" * 5000, b"null", b"5", HTML, b'{"x": 1e999}')
HOSTILE = (*UNREADABLE, b"[]", json.dumps({"message": QUOTED, "error": QUOTED, "status": QUOTED}).encode())
STATUSES = (200, 204, 301, 400, 401, 402, 403, 404, 429, 500, 502, 503, 999)


def listed(endpoint: ProviderCase, status: int, body: bytes) -> Listing | Problem:
    return endpoint.make().read_look_up(HttpAnswer(status, {}, body), endpoint.asked, now=NOW)


def test_a_list_is_asked_for_with_the_credential_in_its_headers_alone(real: ProviderCase) -> None:
    provider = real.make(api_key=PlainSecret(API_KEY, next_values=["key-new"]))
    if provider.no_look_up:
        return
    first, second = provider.look_up(real.asked, page=1), provider.look_up(real.asked, page=2)
    provider.reload_credentials()
    later = provider.look_up(real.asked, page=1)

    assert first is not None
    assert second is not None
    assert later is not None
    assert (first.url, first.body) != (second.url, second.body)
    assert later.headers != first.headers
    assert not [secret for secret in (API_KEY, API_SECRET) if secret in first.url + repr(first)]
    assert not [value for value in shown_of(AOIFE) if value in first.url]


def test_whatever_comes_as_a_list_is_a_page_or_a_problem_that_shows_nothing(real: ProviderCase) -> None:
    if real.make().no_look_up:
        return
    for status, body in product(STATUSES, HOSTILE):
        result = listed(real, status, body)

        if isinstance(result, Problem):
            assert result.kind is not Kind.UNKNOWN  # a look-up changes nothing at the provider
            assert not [value for value in (*shown_of(AOIFE), API_KEY) if value in f"{result.detail} {result.words}"]
        else:
            assert isinstance(result, Listing)
            assert status == 200


def test_a_list_that_cannot_be_read_is_asked_for_again(real: ProviderCase) -> None:
    if real.make().no_look_up:
        return
    for body in UNREADABLE:
        result = listed(real, 200, body)

        assert isinstance(result, Problem)
        assert result.kind is Kind.TRANSIENT


def test_an_account_that_may_not_list_goes_on_opening_sessions(real: ProviderCase) -> None:
    if real.make().no_look_up:
        return
    kinds = [result.kind for status in (403, 404) if isinstance(result := listed(real, status, b"{}"), Problem)]

    assert kinds == [Kind.BAD_INPUT, Kind.BAD_INPUT]
