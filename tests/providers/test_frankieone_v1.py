import json
from datetime import timedelta

import pytest

from onboarding_testing.accounts import ENTITY, NOW, customer, request
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import SessionRequest
from onboarding_worker.providers.account import AccountUnusable
from onboarding_worker.providers.contract import Broken
from onboarding_worker.providers.frankieone import FACTS
from tests.providers.endpoints import V1, V1_OPENED, V2, answer
from tests.providers.frankieone_answers import NOT_SENT

body, opened = V1.body, V1.read
NEW = request(entity_id="")
REFERENCE = {"kvpKey": "customer_reference", "kvpValue": "C-88123", "kvpType": "id.external"}
CONSENT = {"kvpKey": "consent.general", "kvpValue": "true", "kvpType": "general.bool"}


def test_the_least_request_names_the_customer_by_our_own_id_alone():
    built = V1.make().build(request(entity_id=""))

    assert (built.method, built.url) == ("POST", "https://api.uat.frankie.one/idv/v2/idvalidate/token")
    assert json.loads(built.body) == {
        "referrer": "https://verify.example.com",
        "relayState": "c0ffee00aa11",
        "entity": {"entityType": "INDIVIDUAL", "extraData": [REFERENCE]},
    }


def test_the_page_and_the_applicant_are_filled_and_a_parameter_wins():
    again = request(applicant_id="91be")
    sent = json.loads(V1.make().build(again).body)
    assert (sent["referrer"], sent["applicantId"]) == ("https://verify.example.com", "91be")
    assert body({"referrer": "https://id.example.org"})["referrer"] == "https://id.example.org"


def test_the_customer_is_mapped_into_the_entity():
    assert body(account={"prefill": "all"}, entity_id="")["entity"] == {
        "entityType": "INDIVIDUAL",
        "name": {"givenName": "Aoife", "familyName": "Ní Bhriain"},
        "dateOfBirth": {"dateOfBirth": "1994-07-19"},
        "gender": "F",
        "addresses": [{"addressType": "RESIDENTIAL1", "longForm": "14 Pelham Street, Dublin"}],
        "extraData": [REFERENCE],
    }


def test_prefill_name_sends_the_name_alone():
    entity = body(account={"prefill": "name"}, entity_id="")["entity"]

    assert entity["name"] == {"givenName": "Aoife", "familyName": "Ní Bhriain"}
    assert not {"dateOfBirth", "gender", "addresses"} & set(entity)


def test_email_and_phone_have_no_field_in_the_model():
    sent = json.dumps(body(account={"prefill": "all"}))

    assert "example.org" not in sent
    assert "353" not in sent


def test_what_is_not_known_of_a_person_is_left_out():
    assert set(body(account={"prefill": "all"}, person=Person(), entity_id="")["entity"]) == {"entityType", "extraData"}


def test_an_entity_that_is_known_is_always_named():
    earlier = "00000000-0000-4000-8000-000000000001"

    sent = V1.make().build(SessionRequest(customer(), "ref", entity_id=earlier)).body

    assert json.loads(sent)["entity"]["entityId"] == earlier
    assert body()["entity"]["entityId"] == ENTITY


@pytest.mark.parametrize("consent", [None, False])
def test_consent_is_not_sent_for_a_customer_who_has_not_given_it(consent):
    sent = body(consent=consent)

    assert "consent" not in sent
    assert sent["entity"]["extraData"] == [REFERENCE]


def test_consent_that_the_line_carries_is_sent_in_both_places():
    sent = body(consent=True)

    assert sent["consent"] is True
    assert sent["entity"]["extraData"] == [REFERENCE, CONSENT]


def test_what_is_given_wins_field_by_field_and_extra_data_is_added():
    own = {"kvpKey": "branch", "kvpValue": "12", "kvpType": "general.string"}
    account = {"prefill": "all", "parameters": {"entity": {"entityProfile": "safe_harbour", "extraData": [own]}}}

    sent = body({"entity.name.middleName": "M.", "entity.gender": "U", "country": "AUS"}, account)

    assert sent["country"] == "AUS"
    assert sent["entity"]["name"] == {"givenName": "Aoife", "familyName": "Ní Bhriain", "middleName": "M."}
    assert (sent["entity"]["gender"], sent["entity"]["entityProfile"]) == ("U", "safe_harbour")
    assert sent["entity"]["extraData"] == [REFERENCE, own]


def test_the_accounts_own_values_are_not_changed_by_a_request():
    parameters = {"entity": {"name": {"honourific": "Dr"}, "extraData": []}}
    provider = V1.make(parameters=parameters, prefill="all")

    provider.build(request())

    assert parameters == {"entity": {"name": {"honourific": "Dr"}, "extraData": []}}


def test_the_entity_in_the_answer_is_the_reference_and_kept_by_its_name():
    session = opened(asked=NEW)

    assert session.reference == V1_OPENED["entity"]["entityId"]
    assert session.references == {"entityId": V1_OPENED["entity"]["entityId"], "applicantId": "91be"}
    assert (session.vendor, session.vendor_parameters) == ("OCRLabs", {"tokenURL": "example1.com"})


def test_the_entity_that_was_sent_must_come_back():
    for entity in (None, {}, {"entityId": ""}, {"entityId": 5}, [ENTITY], "x", {"entityId": ENTITY[:-1] + "8"}):
        got = opened(entity=entity)

        assert isinstance(got, Problem), entity
        assert (got.kind, got.detail) == (Kind.TRANSIENT, f"HTTP 200: {NOT_SENT}")
    assert opened(entity={"entityId": ENTITY.upper()}).reference == ENTITY.upper()


def test_without_any_entity_the_applicant_is_the_reference():
    session = opened(asked=NEW, entity=None)

    assert (session.reference, session.references) == ("91be", {"applicantId": "91be"})


def test_a_text_message_that_frankieone_sent_itself_is_read_in_either_spelling():
    cases = [
        ({"sms_sent": True}, True),
        ({"sms_sent": False, "smsSent": True}, True),
        ({"sms_sent": False}, False),
        ({"sms_sent": "true"}, False),
        ({"sms_sent": None}, False),
    ]
    assert [(answered, got) for answered, sent in cases if (got := opened(**answered).sms_sent) is not sent] == []


def test_an_expiry_that_has_passed_stays_what_it_is():
    assert opened(tokenExpiry="2026-11-19T08:00:00Z").expires_at == NOW - timedelta(days=1)


def test_only_a_call_for_a_known_entity_may_be_repeated():
    provider = V1.make()
    known, new = request(), request(entity_id="")
    after_outcomes = SessionRequest(new.customer, "ref", entity_id=ENTITY)

    assert [provider.repeatable(one) for one in (known, new, after_outcomes)] == [True, False, True]
    cut = Broken(sent=True, detail="answer cut off")
    assert [provider.broken(cut, one).kind for one in (known, new)] == [Kind.TRANSIENT, Kind.UNKNOWN]


@pytest.mark.parametrize("field", ["issues", "details"])
def test_issues_are_shown_whatever_they_are_called(field):
    body = {"errorCode": "API-0400,", "errorMsg": "Bad", field: [{"issue": "too short", "issueLocation": "entity"}]}

    problem = V1.make().read(answer(400, body), request(), issued_at=NOW, now=NOW)

    assert (problem.detail, problem.words) == ("HTTP 400 API-0400: it mentions entity", "Bad (entity: too short)")


def test_neither_an_entity_nor_its_data_are_needed_for_a_call():
    assert V1.make().refuses(customer(entity_id="", person=Person())) == []


@pytest.mark.parametrize("adapter", [V1, V2], ids=["v1", "v2"])
def test_an_account_without_a_page_is_shown_the_way_that_needs_none(adapter):
    with pytest.raises(AccountUnusable) as caught:
        adapter.make(link=None)

    assert 'use provider = "frankieone-hosted"' in caught.value.problem
    assert 'use provider = "frankieone-hosted"' in FACTS.needs["link"]  # what a configuration without it is answered
