"""What is FrankieOne's hosted page's alone: whom it is for, where its link may lead, and which spelling is called."""

import json
from dataclasses import replace

import pytest

from onboarding_testing.accounts import ENTITY, NOW, answer, company, customer, request
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.providers.frankieone_hosted import FrankieOneHosted
from tests.providers.accounts import frankie_hosted_account
from tests.providers.frankieone_answers import HOSTED_OPENED


def built(asked=None, **settings):
    return FrankieOneHosted(frankie_hosted_account(**settings)).build(asked or request())


def sent(asked=None, **settings):
    return json.loads(built(asked, **settings).body)


def opened(changes=None, asked=None, **settings) -> Session:
    provider = FrankieOneHosted(frankie_hosted_account(**settings))
    got = answer(200, {**HOSTED_OPENED, **(changes or {})})
    session = provider.read(got, asked or request(), issued_at=NOW, now=NOW)
    assert isinstance(session, Session)
    return session


def test_a_known_entity_is_named_by_its_id_and_an_unknown_customer_by_our_own():
    assert sent() == {"applicationRef": "c0ffee00aa11", "entityId": ENTITY, "sendSMS": False}
    new = request(entity_id="")
    assert sent(new) == {"applicationRef": "c0ffee00aa11", "customerRef": "C-88123", "sendSMS": False}
    assert sent(replace(new, entity_id=ENTITY))["entityId"] == ENTITY  # of an earlier answer


def test_consent_is_sent_only_if_the_line_has_it():
    assert "consent" not in sent(request(consent=False))
    assert sent(request(consent=True))["consent"] is True


def test_the_lines_parameters_win_over_the_accounts_and_none_makes_frankieone_text_the_customer():
    account = {"parameters": {"oneSDKFlowId": "idv"}, "unchecked": {"sendSMS": True}}

    assert sent(request({"oneSDKFlowId": "ocr_only"}), **account)["oneSDKFlowId"] == "ocr_only"
    assert sent(**account)["sendSMS"] is False


@pytest.mark.parametrize("spelling", ["hostedurl", "hostedUrl"])
def test_the_path_is_written_as_the_account_says(spelling):
    assert built(dialect=spelling).url == f"https://api.uat.frankie.one/v2/individuals/{spelling}"


def test_a_new_customers_session_is_known_by_the_entity_that_was_made():
    session = opened(asked=request(entity_id=""))

    assert session.reference == ENTITY
    assert session.references == {"entityId": ENTITY, "requestId": HOSTED_OPENED["requestId"]}


def test_only_people_are_served_and_their_parameters_are_checked():
    provider = FrankieOneHosted(frankie_hosted_account())

    assert [one.column for one in provider.refuses(company())] == ["kind"]
    given = {"frankieone-hosted": {"sendSMS": True, "successRedirectURL": "http://bank.example"}}
    assert {one.column for one in provider.refuses(customer(parameters=given))} == {
        "frankieone-hosted.sendSMS",
        "frankieone-hosted.successRedirectURL",
    }
