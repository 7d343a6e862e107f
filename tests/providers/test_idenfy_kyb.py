import json
from dataclasses import replace

import pytest

from onboarding_testing.accounts import NOW, company, company_request, customer
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.sessions import Session
from tests.providers.endpoints import KYB, answer

body, opened = KYB.body, KYB.read
UUID = "3c90c3cc-0d44-4b50-8888-8dd25736052a"


def test_the_least_request_names_its_kind_its_client_and_its_lifetime():
    built = KYB.make(base_url="https://ivs.idenfy.com/").build(company_request())

    assert (built.method, built.url) == ("POST", "https://ivs.idenfy.com/kyb/tokens/")
    assert json.loads(built.body) == {
        "tokenType": "FORM",
        "clientId": "ORG-7710",
        "lifetime": 604800,
        "externalRef": "c0ffee00aa11",
    }


def test_the_locale_is_sent_where_the_form_has_the_language():
    cases = {"lt-LT": "lt", "pt-BR": "pt", "sv": None, "zh-TW": None, "nb": None, "": None}
    assert {locale: body(locale=locale).get("locale") for locale in cases} == cases


def test_each_form_of_a_customer_has_a_reference_of_its_own():
    """The answer has no id of the form: only ours tells the forms apart, in the provider's list and in ours."""
    provider = KYB.make()
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


def test_an_answer_that_does_not_say_whether_it_is_valid_is():
    assert isinstance(opened(isValid=None, isActive=False), Session)


def test_a_message_that_is_an_object_and_errors_by_field_are_both_shown():
    provider = KYB.make()
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
    problem = KYB.make().read(answer(status), company_request(), issued_at=NOW, now=NOW)

    assert problem.kind is Kind.AUTH


def test_people_are_refused():
    (problem,) = KYB.make().refuses(customer())

    assert (problem.column, problem.problem) == ("kind", "this account verifies companies, not people")


def test_five_tags_in_all_are_fine():
    assert KYB.make(parameters={"tags": ["a"]}).refuses(company(tags=("a", "b", "c", "d", "e"))) == []
