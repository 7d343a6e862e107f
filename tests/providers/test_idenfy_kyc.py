import base64
import json
from datetime import timedelta

from onboarding_testing.accounts import API_KEY, API_SECRET, NOW, customer, request
from onboarding_worker.core.model.customers import Person
from onboarding_worker.core.model.sessions import ExpirySource
from tests.providers.endpoints import KYC

body, opened = KYC.body, KYC.read


def test_the_request_is_what_the_page_asks_for():
    built = KYC.make().build(request(locale="de"))

    assert (built.method, built.url) == ("POST", "https://ivs.idenfy.com/api/v2/token")
    assert built.headers["Content-Type"] == "application/json"
    scheme, _, pair = built.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair).decode()) == ("Basic", f"{API_KEY}:{API_SECRET}")
    assert json.loads(built.body) == {
        "clientId": "C-88123",
        "tokenType": "IDENTIFICATION",
        "externalRef": "c0ffee00aa11",
        "expiryTime": 604800,
        "locale": "de",
    }


def test_the_path_follows_the_base_url_with_or_without_a_slash():
    for base in ("http://127.0.0.1:9200/idenfy", "http://127.0.0.1:9200/idenfy/"):
        assert KYC.make(base_url=base).build(request()).url == f"{base.rstrip('/')}/api/v2/token"


def test_the_locale_is_sent_where_the_provider_has_the_language():
    cases = {
        "de": "de",
        "pt-BR": "pt",
        "nb-NO": "no",
        "zh-TW": "zh_tw",
        "zh-Hant-HK": "zh_tw",
        "zh-CN": "zh",
        "ko": "ko",
        "ko-KR": "ko",
        "sw": None,
        "xx-YY": None,
        "": None,
    }
    assert {locale: body(locale=locale).get("locale") for locale in cases} == cases


def test_prefill_name_sends_the_name_alone():
    sent = body(account={"prefill": "name"})

    assert (sent["firstName"], sent["lastName"]) == ("Aoife", "Ní Bhriain")
    assert not {"dateOfBirth", "sex", "nationality", "address", "email", "phone"} & set(sent)


def test_prefill_all_sends_what_the_page_has_a_field_for():
    sent = body(account={"prefill": "all"})

    assert sent["dateOfBirth"] == "1994-07-19"
    assert (sent["sex"], sent["nationality"], sent["address"]) == ("F", "IE", "14 Pelham Street, Dublin")
    assert not {"email", "phone"} & set(sent)


def test_what_is_not_known_of_a_person_is_left_out():
    assert set(body(account={"prefill": "all"}, person=Person())) == {
        "clientId",
        "tokenType",
        "externalRef",
        "expiryTime",
    }


def test_the_lines_parameters_win_over_the_accounts_and_both_over_what_we_fill():
    account = {"prefill": "name", "parameters": {"sessionLength": 600, "checkAml": True, "locale": "lt"}}

    sent = body({"sessionLength": 1200, "firstName": "Eva", "tokenType": "DOCUMENT"}, account, locale="de")

    assert (sent["sessionLength"], sent["checkAml"], sent["locale"]) == (1200, True, "lt")
    assert (sent["firstName"], sent["lastName"], sent["tokenType"]) == ("Eva", "Ní Bhriain", "DOCUMENT")


def test_false_and_null_are_values_that_are_sent():
    sent = body({"checkAml": False, "questionnaire": None})

    assert sent["checkAml"] is False
    assert sent["questionnaire"] is None


def test_dotted_parameters_are_sent_nested():
    assert body({"additionalData.utility.town": "Kaunas"})["additionalData"] == {"utility": {"town": "Kaunas"}}


def test_unchecked_parameters_are_sent_as_they_are_but_never_another_client():
    sent = body(account={"unchecked": {"theme": "b6c0e7c2", "clientId": "someone-else"}})

    assert (sent["theme"], sent["clientId"]) == ("b6c0e7c2", "C-88123")


def test_a_short_life_is_read_as_it_is():
    session = opened(expiryTime=1)

    assert (session.expires_at, session.expiry_source) == (NOW + timedelta(seconds=1), ExpirySource.ANSWER)


def test_a_digit_string_is_kept_whatever_its_length_on_the_page():
    assert opened(digitString="4823657").digit_string == "4823657"
    assert opened(digitString="89567412").digit_string == "89567412"
    assert opened().digit_string == ""


def test_the_providers_reference_is_kept_by_its_own_name():
    assert opened().references == {"scanRef": "a1c3e5f7-0000-11ee-8d55-123456789abc"}


def test_a_value_that_would_be_prefilled_and_refused_is_found_before_the_call(subtests):
    for person, column in [
        (Person(first_name="J0hn"), "first_name"),
        (Person(last_name="Smith (Jr)"), "last_name"),
        (Person(first_name="x" * 101), "first_name"),
        (Person(address="x" * 256), "address"),
        (Person(nationality="LTU"), "nationality"),
    ]:
        with subtests.test(person=person, column=column):
            provider = KYC.make(prefill="all")

            problems = provider.refuses(customer(person=person))

            assert [problem.column for problem in problems] == [column]
            assert problems[0].hint
            assert "J0hn" not in problems[0].problem


def test_names_that_are_not_sent_are_not_looked_at():
    assert KYC.make().refuses(customer(person=Person(first_name="J0hn"))) == []


def test_a_name_that_the_line_replaces_is_not_looked_at():
    provider = KYC.make(prefill="name")

    refused = provider.refuses(
        customer(person=Person(first_name="J0hn"), parameters={"idenfy-kyc": {"firstName": "John"}})
    )

    assert refused == []


def test_names_of_all_scripts_are_fine():
    cases = ["Anne-Marie", "O'Neill", "José María", "Łukasz", "李小龍", "Ólöf Arnalds", "Dr. Who"]
    provider = KYC.make(prefill="name")
    assert [name for name in cases if provider.refuses(customer(person=Person(first_name=name)))] == []


def test_parameters_of_other_providers_are_none_of_its_business():
    assert KYC.make().refuses(customer(parameters={"frankieone-v2": {"country": "x"}})) == []
