import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.providers.accounts import NOW, company, company_request, customer, kyb_account
from tests.providers.endpoints import KYB_OPENED, answer
from worker.core.model.endings import Kind, Problem
from worker.core.model.sessions import ExpirySource, Session
from worker.providers.account import AccountUnusable
from worker.providers.idenfy_kyb import IdenfyKyb

UUID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


def body(parameters=None, account=None, **fields):
    return json.loads(IdenfyKyb(kyb_account(**(account or {}))).build(company_request(parameters, **fields)).body)


def opened(account=None, parameters=None, **answered):
    return IdenfyKyb(kyb_account(**(account or {}))).read(
        answer(201, {**KYB_OPENED, **answered}), company_request(parameters), issued_at=NOW, now=NOW
    )


def test_the_least_request_names_its_kind_its_client_and_its_lifetime():
    built = IdenfyKyb(kyb_account(base_url="https://ivs.idenfy.com/")).build(company_request())

    assert (built.method, built.url) == ("POST", "https://ivs.idenfy.com/kyb/tokens/")
    assert json.loads(built.body) == {
        "tokenType": "FORM",
        "clientId": "ORG-7710",
        "lifetime": 604800,
        "externalRef": "c0ffee00aa11",
    }


def test_the_lifetime_is_always_sent():
    cases = [
        ({"lifetime": timedelta(hours=12)}, {}, 43200),
        ({"lifetime": None}, {}, 604800),
        ({}, {"lifetime": 3600}, 3600),
        ({"parameters": {"lifetime": 60}}, {}, 60),
    ]
    assert [
        (account, got)
        for account, parameters, seconds in cases
        if (got := body(parameters, account)["lifetime"]) != seconds
    ] == []


def test_the_locale_is_sent_where_the_form_has_the_language():
    cases = {"lt-LT": "lt", "pt-BR": "pt", "sv": None, "zh-TW": None, "nb": None, "": None}
    assert {locale: body(locale=locale).get("locale") for locale in cases} == cases


def test_each_form_of_a_customer_has_a_reference_of_its_own():
    """The answer has no id of the form: only ours tells the forms apart, in the provider's list and in ours."""
    provider = IdenfyKyb(kyb_account())
    requests = [replace(company_request(), external_ref="x" * 40, serial=one) for one in ("", ".2", "-2", "-2.3")]
    sent = [json.loads(provider.build(request).body)["externalRef"] for request in requests]
    assert sent[0] == "x" * 40
    assert (len(set(sent)), {len(one) for one in sent}) == (4, {40})


def test_tags_are_the_lines_and_the_accounts_each_once():
    assert body(account={"parameters": {"tags": ["bank", "q3"]}}, tags=("q3", "vip"))["tags"] == ["bank", "q3", "vip"]
    assert body({"tags": ["mine"]}, {"parameters": {"tags": ["bank"]}}, tags=("vip",))["tags"] == ["mine", "vip"]
    assert "tags" not in body()


def test_parameters_are_sent_and_never_another_client_or_another_kind():
    unchecked = {"new": 1, "clientId": "someone-else", "tokenType": "GOV1"}

    sent = body({"flow": UUID, "questionnaire": None}, {"unchecked": unchecked})

    assert (sent["flow"], sent["questionnaire"], sent["new"]) == (UUID, None, 1)
    assert (sent["clientId"], sent["tokenType"]) == ("ORG-7710", "FORM")


def test_the_link_is_the_forms_with_the_token_quoted():
    assert opened(tokenString="a/b+c").link == "https://kyb.ui.idenfy.com/welcome?authToken=a%2Fb%2Bc"


def test_the_accounts_own_link_wins():
    account = {"link": "https://kyb.example.com/{token}", "link_hosts": ("kyb.example.com",)}

    assert opened(account).link == f"https://kyb.example.com/{KYB_OPENED['tokenString']}"


@pytest.mark.parametrize(
    ("answered", "reference", "references"),
    [
        ({}, "8f1d0b7c2e5a4c0f9a", {"externalRef": "8f1d0b7c2e5a4c0f9a", "clientId": "ORG-7710"}),
        ({"externalRef": None}, "c0ffee00aa11", {"externalRef": "c0ffee00aa11", "clientId": "ORG-7710"}),
        (
            {"companyId": "cmp-5"},
            "8f1d0b7c2e5a4c0f9a",
            {"externalRef": "8f1d0b7c2e5a4c0f9a", "companyId": "cmp-5", "clientId": "ORG-7710"},
        ),
    ],
)
def test_the_references_are_kept_by_their_own_names(answered, reference, references):
    session = opened(**answered)

    assert (session.reference, dict(session.references)) == (reference, references)


def test_without_a_readable_expiry_the_lifetime_that_was_sent_counts(subtests):
    for expiration in [None, "soon", 1795161600, "2026-11-21", "2030-01-01T00:00:00Z"]:
        with subtests.test(expiration=expiration):
            session = opened(parameters={"lifetime": 7200}, expiration=expiration)

            assert (session.expires_at, session.expiry_source) == (NOW + timedelta(hours=2), ExpirySource.FALLBACK)


def test_a_form_that_is_not_valid_is_asked_for_once_more_and_no_further():
    problem = opened(isValid=False)

    assert isinstance(problem, Problem)
    assert (problem.kind, problem.most_attempts) == (Kind.TRANSIENT, 2)


def test_an_answer_that_does_not_say_whether_it_is_valid_is():
    assert isinstance(opened(isValid=None, isActive=False), Session)


def test_a_message_that_is_an_object_and_errors_by_field_are_both_shown():
    provider = IdenfyKyb(kyb_account())
    error = {"identifier": "AUTHENTICATION_FAILED", "message": {"detail": "Bad key.", "completed": False}}
    fields = {"flow": ["Must be a valid UUID."], "tags": ["Too many."]}

    def read(status, body):
        return provider.read(answer(status, body), company_request(), issued_at=NOW, now=NOW)

    assert (read(401, error).kind, read(401, error).detail) == (
        Kind.AUTH,
        "HTTP 401 AUTHENTICATION_FAILED: the credentials are refused",
    )
    assert read(401, error).words == "Bad key."
    assert read(400, fields).kind is Kind.BAD_INPUT
    assert "flow: Must be a valid UUID.; tags: Too many." in read(400, fields).words
    assert read(400, fields).detail == "HTTP 400: it mentions flow, tags"


@pytest.mark.parametrize("status", [301, 404])
def test_a_missing_slash_is_a_mistake_in_the_address_and_stops_the_account(status):
    problem = IdenfyKyb(kyb_account()).read(answer(status), company_request(), issued_at=NOW, now=NOW)

    assert problem.kind is Kind.AUTH


def test_people_are_refused():
    (problem,) = IdenfyKyb(kyb_account()).refuses(customer())

    assert (problem.column, problem.problem) == ("kind", "this account verifies companies, not people")


def test_what_the_endpoint_cannot_serve_is_named_by_its_column(subtests):
    cases = [
        ({"tags": ("x" * 33,)}, "tags"),
        ({"tags": ("a,b",)}, "tags"),
        ({"tags": ("a", "b", "c", "d", "e")}, "tags"),
        ({"external_ref": "x" * 41}, "external_ref"),
        ({"parameters": {"idenfy-kyb": {"flow": "x"}}}, "idenfy-kyb.flow"),
        ({"parameters": {"idenfy-kyb": {"tags": ["a,b"]}}}, "idenfy-kyb.tags"),
    ]
    for fields, column in cases:
        with subtests.test(fields=fields):
            provider = IdenfyKyb(kyb_account(parameters={"tags": ["bank"]}))

            assert [problem.column for problem in provider.refuses(company(**fields))] == [column]


def test_five_tags_in_all_are_fine():
    assert IdenfyKyb(kyb_account(parameters={"tags": ["a"]})).refuses(company(tags=("a", "b", "c", "d", "e"))) == []


@pytest.mark.parametrize(
    ("settings", "key"),
    [({"api_secret": None}, "api_secret"), ({"link_hosts": ("ivs.idenfy.com",)}, "link_hosts")],
)
def test_an_account_whose_forms_could_not_be_opened_does_not_start(settings, key):
    with pytest.raises(AccountUnusable) as caught:
        IdenfyKyb(kyb_account(**settings))

    assert caught.value.key == key
