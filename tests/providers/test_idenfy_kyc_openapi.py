"""iDenfy KYC in the form of its OpenAPI document: the nested request, and the reading of its answers."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from tests.providers.accounts import NOW, customer, idenfy_account, openapi_account, request
from tests.providers.endpoints import IDENFY_OPENED, OPENAPI_OPENED, answer
from worker.core.customers.customers import CustomerKind, Person
from worker.core.model.endings import Kind, Problem
from worker.core.model.sessions import ExpirySource, Session
from worker.providers.account import AccountUnusable
from worker.providers.idenfy_kyc import IdenfyKyc

DAY = timedelta(days=1)


def body(parameters=None, account=None, **fields):
    return json.loads(IdenfyKyc(openapi_account(**(account or {}))).build(request(parameters, **fields)).body)


def opened(account=None, parameters=None, **answered):
    return IdenfyKyc(openapi_account(**(account or {}))).read(
        answer(201, {**OPENAPI_OPENED, **answered}), request(parameters), issued_at=NOW, now=NOW
    )


def test_the_least_request_is_what_the_document_asks_for():
    built = IdenfyKyc(openapi_account()).build(request(locale="de-AT"))

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


@pytest.mark.parametrize(
    ("account", "parameters", "seconds"),
    [({}, {}, 604800), ({}, {"lifetime": 3600}, 3600), ({}, {"generateDigitString": True}, 86400)],
)
def test_the_lifetime_has_this_forms_name(account, parameters, seconds):
    sent = body(parameters, account)

    assert sent["lifetime"] == seconds
    assert "expiryTime" not in sent


def test_the_expiry_is_a_time():
    session = opened(expiration="2026-11-21T10:00:00+02:00")

    assert (session.expires_at, session.expiry_source) == (datetime(2026, 11, 21, 8, tzinfo=UTC), ExpirySource.ANSWER)


def test_without_a_readable_expiry_the_one_asked_for_counts(subtests):
    for expiration in [None, "", "tomorrow", 1795161600, "2026-11-21", "9999-12-31T00:00:00Z"]:
        with subtests.test(expiration=expiration):
            session = opened(parameters={"lifetime": 3600}, expiration=expiration)

            assert (session.expires_at, session.expiry_source) == (NOW + timedelta(hours=1), ExpirySource.FALLBACK)


def test_an_answer_without_an_expiry_and_a_request_without_a_lifetime_leave_a_day():
    session = opened({"lifetime": None}, expiration=None)

    assert (session.expires_at, session.expiry_source) == (NOW + DAY, ExpirySource.FALLBACK)


@pytest.mark.parametrize("account", [idenfy_account(), openapi_account()], ids=["narrative", "openapi"])
def test_an_account_of_either_form_reads_the_answers_of_both(account):
    for body, token in [(IDENFY_OPENED, IDENFY_OPENED["authToken"]), (OPENAPI_OPENED, OPENAPI_OPENED["tokenString"])]:
        session = IdenfyKyc(account).read(answer(201, body), request(), issued_at=NOW, now=NOW)

        assert isinstance(session, Session)
        assert session.token == token
        assert session.expiry_source is ExpirySource.ANSWER


def test_of_two_tokens_the_current_editions_counts():
    assert opened(authToken="T7hK2pWq9s", sessionUrl=None).token == "T7hK2pWq9s"
    assert opened(authToken=None).token == OPENAPI_OPENED["tokenString"]
    assert opened(authToken="").token == OPENAPI_OPENED["tokenString"]


def test_of_two_expiries_the_time_counts():
    assert opened(expiryTime=60).expires_at == NOW + 2 * DAY
    assert opened(expiryTime=60, expiration=None).expires_at == NOW + timedelta(minutes=1)


def test_the_link_is_the_first_that_may_be_sent():
    cases = [
        ("https://ivs.idenfy.com/a", "https://ivs.idenfy.com/b", "https://ivs.idenfy.com/a"),
        (None, "https://ivs.idenfy.com/b", "https://ivs.idenfy.com/b"),
        ("http://ivs.idenfy.com/a", "https://ivs.idenfy.com/b", "https://ivs.idenfy.com/b"),
        ("https://strange.example/a", None, "https://ivs.idenfy.com/api/v2/redirect?authToken=qL8vX2mNqL8vX2mNqL8v"),
    ]
    assert [
        (session_url, got)
        for session_url, redirect_url, link in cases
        if (got := opened(sessionUrl=session_url, redirectUrl=redirect_url).link) != link
    ] == []


def test_a_session_that_is_not_valid_is_asked_for_once_more_and_no_further():
    problem = opened(isValid=False)

    assert isinstance(problem, Problem)
    assert (problem.kind, problem.most_attempts) == (Kind.TRANSIENT, 2)


def test_a_document_only_session_is_right_where_it_was_asked_for():
    assert isinstance(opened(parameters={"tokenType": "DOCUMENT"}, tokenType="DOCUMENT"), Session)
    assert opened(tokenType="DOCUMENT").kind is Kind.UNKNOWN


def test_what_this_form_cannot_serve_is_named_by_its_column(subtests):
    for fields, column in [
        ({"parameters": {"idenfy-kyc": {"firstName": "Eva"}}}, "idenfy-kyc.firstName"),
        ({"parameters": {"idenfy-kyc": {"client": {"name": "x" * 101}}}}, "idenfy-kyc.client.name"),
        ({"external_ref": "x" * 41}, "external_ref"),
        ({"person": Person(first_name="x" * 101)}, "first_name"),
        ({"kind": CustomerKind.COMPANY}, "kind"),
    ]:
        with subtests.test(fields=fields, column=column):
            problems = IdenfyKyc(openapi_account(prefill="name")).refuses(customer(**fields))

            assert [problem.column for problem in problems] == [column]


def test_the_narrative_form_refuses_this_ones_columns():
    (problem,) = IdenfyKyc(idenfy_account()).refuses(
        customer(parameters={"idenfy-kyc": {"settings": {"verifyEmail": True}}})
    )

    assert problem.column == "idenfy-kyc.settings.verifyEmail"
    assert problem.problem.endswith("the nearest is verifyEmail")


def test_a_prefilled_name_that_the_line_replaces_is_not_looked_at():
    provider = IdenfyKyc(openapi_account(prefill="name"))
    given = {"idenfy-kyc": {"client": {"name": "John"}}}

    assert provider.refuses(customer(person=Person(first_name="x" * 101), parameters=given)) == []


@pytest.mark.parametrize(
    ("account", "parameters", "reason"),
    [
        (openapi_account, {"firstName": "Eva"}, "firstName is not known to the openapi form of idenfy-kyc"),
        (openapi_account, {"checkAml": True}, "checkAml is not known to the openapi form of idenfy-kyc"),
        (
            idenfy_account,
            {"settings": {"verifyEmail": True}},
            "settings.verifyEmail is not known to the narrative form",
        ),
    ],
)
def test_an_account_with_the_other_forms_parameters_does_not_start(account, parameters, reason):
    with pytest.raises(AccountUnusable) as caught:
        IdenfyKyc(account(parameters=parameters))

    assert caught.value.key == "parameters"
    assert caught.value.problem.startswith(reason)


def test_an_accounts_lifetime_is_what_its_sessions_are_asked_to_live():
    assert IdenfyKyc(openapi_account()).lifetime == timedelta(days=7)
    assert IdenfyKyc(openapi_account(parameters={"lifetime": 600})).lifetime == timedelta(minutes=10)
