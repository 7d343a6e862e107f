"""iDenfy KYC in the form of its OpenAPI document: the nested request, and the reading of its answers."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from onboarding_testing.accounts import NOW, customer, request
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.model.endings import Kind
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.providers.account import AccountUnusable
from tests.providers.endpoints import KYC, OPENAPI

DAY = timedelta(days=1)
body, opened = OPENAPI.body, OPENAPI.read


def test_the_least_request_is_what_the_document_asks_for():
    built = OPENAPI.make().build(request(locale="de-AT"))

    assert built.url == "https://ivs.idenfy.com/api/v2/token"
    assert json.loads(built.body) == {
        "clientId": "C-88123",
        "tokenType": "IDENTIFICATION",
        "externalRef": "c0ffee00aa11",
        "lifetime": 604800,
        "locale": "de",
    }


def test_prefill_is_nested_under_client():
    assert body(account={"prefill": "name"})["client"] == {"name": "Aoife", "surname": "Ní Bhriain"}
    sent = body(account={"prefill": "all"})
    assert sent["client"] == {
        "name": "Aoife",
        "surname": "Ní Bhriain",
        "dateOfBirth": "1994-07-19",
        "sex": "F",
        "nationality": "IE",
    }
    assert sent["address"] == "14 Pelham Street, Dublin"
    assert "client" not in body(account={"prefill": "all"}, person=Person())


def test_what_is_given_wins_field_by_field_inside_an_object():
    sent = body({"client.name": "Eva"}, {"prefill": "name", "parameters": {"client": {"nationality": "LT"}}})

    assert sent["client"] == {"name": "Eva", "surname": "Ní Bhriain", "nationality": "LT"}


def test_a_client_of_null_is_sent_as_null():
    assert body({"client": None}, {"prefill": "name"})["client"] is None


def test_settings_and_urls_are_nested():
    sent = body({"settings.verifyEmail": True, "urls.webhookUrl": "https://hooks.shop.test/x"})

    assert (sent["settings"], sent["urls"]) == ({"verifyEmail": True}, {"webhookUrl": "https://hooks.shop.test/x"})


def test_the_expiry_is_a_time():
    session = opened(expiration="2026-11-21T10:00:00+02:00")

    assert (session.expires_at, session.expiry_source) == (datetime(2026, 11, 21, 8, tzinfo=UTC), ExpirySource.ANSWER)


@pytest.mark.parametrize("adapter", [KYC, OPENAPI], ids=["narrative", "openapi"])
def test_an_account_of_either_form_reads_the_answers_of_both(adapter):
    for answers, field in [(KYC, "authToken"), (OPENAPI, "tokenString")]:
        session = adapter.make().read(answers.opens, request(), issued_at=NOW, now=NOW)

        assert isinstance(session, Session)
        assert session.token == answers.opened[field]
        assert session.expiry_source is ExpirySource.ANSWER


def test_of_two_tokens_the_current_editions_counts():
    assert opened(authToken="T7hK2pWq9s", sessionUrl=None).token == "T7hK2pWq9s"
    assert opened(authToken=None).token == OPENAPI.opened["tokenString"]
    assert opened(authToken="").token == OPENAPI.opened["tokenString"]


def test_of_two_expiries_the_time_counts():
    assert opened(expiryTime=60).expires_at == NOW + 2 * DAY
    assert opened(expiryTime=60, expiration=None).expires_at == NOW + timedelta(minutes=1)


def test_a_document_only_session_is_right_where_it_was_asked_for():
    assert isinstance(opened(asked=request({"tokenType": "DOCUMENT"}), tokenType="DOCUMENT"), Session)
    assert opened(tokenType="DOCUMENT").kind is Kind.UNKNOWN


def test_the_narrative_form_refuses_this_ones_columns():
    (problem,) = KYC.make().refuses(customer(parameters={"idenfy-kyc": {"settings": {"verifyEmail": True}}}))

    assert problem.column == "idenfy-kyc.settings.verifyEmail"
    assert problem.problem.endswith("the nearest is verifyEmail")


def test_a_prefilled_name_that_the_line_replaces_is_not_looked_at():
    provider = OPENAPI.make(prefill="name")
    given = {"idenfy-kyc": {"client": {"name": "John"}}}

    assert provider.refuses(customer(person=Person(first_name="x" * 101), parameters=given)) == []


@pytest.mark.parametrize(
    ("adapter", "parameters", "reason"),
    [
        (OPENAPI, {"firstName": "Eva"}, "firstName is not known to the openapi form of idenfy-kyc"),
        (OPENAPI, {"checkAml": True}, "checkAml is not known to the openapi form of idenfy-kyc"),
        (KYC, {"settings": {"verifyEmail": True}}, "settings.verifyEmail is not known to the narrative form"),
    ],
)
def test_an_account_with_the_other_forms_parameters_does_not_start(adapter, parameters, reason):
    with pytest.raises(AccountUnusable) as caught:
        adapter.make(parameters=parameters)

    assert caught.value.key == "parameters"
    assert caught.value.problem.startswith(reason)
