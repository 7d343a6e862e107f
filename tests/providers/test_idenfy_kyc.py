import base64
import json
from datetime import timedelta

import pytest

from tests.providers.accounts import API_KEY, API_SECRET, NOW, PlainSecret, customer, idenfy_account, request
from tests.providers.endpoints import IDENFY_OPENED, answer
from worker.core.customers.customers import CustomerKind, Person
from worker.core.model.endings import Kind, Problem
from worker.core.model.sessions import ExpirySource
from worker.providers.account import AccountUnusable
from worker.providers.idenfy_kyc import IdenfyKyc

DAY = timedelta(days=1)


def body(parameters=None, account=None, **fields):
    return json.loads(IdenfyKyc(idenfy_account(**(account or {}))).build(request(parameters, **fields)).body)


def opened(account=None, parameters=None, **answered):
    return IdenfyKyc(idenfy_account(**(account or {}))).read(
        answer(201, {**IDENFY_OPENED, **answered}), request(parameters), issued_at=NOW, now=NOW
    )


def test_the_request_is_what_the_page_asks_for():
    built = IdenfyKyc(idenfy_account()).build(request(locale="de"))

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
        assert IdenfyKyc(idenfy_account(base_url=base)).build(request()).url == f"{base.rstrip('/')}/api/v2/token"


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


def test_the_country_of_the_line_only_routes():
    assert "country" not in body(country="LT")
    assert body({"country": ["LT"]}, country="LT")["country"] == ["LT"]


def test_prefill_name_sends_the_name_alone():
    sent = body(account={"prefill": "name"})

    assert (sent["firstName"], sent["lastName"]) == ("Aoife", "Ní Bhriain")
    assert not {"dateOfBirth", "sex", "nationality", "address", "email", "phone"} & set(sent)


def test_prefill_all_sends_what_the_page_has_a_field_for():
    sent = body(account={"prefill": "all"})

    assert sent["dateOfBirth"] == "1994-07-19"
    assert (sent["sex"], sent["nationality"], sent["address"]) == ("F", "IE", "14 Pelham Street, Dublin")
    assert not {"email", "phone"} & set(sent)


def test_a_sex_that_is_neither_m_nor_f_is_not_sent():
    cases = {"m": "M", "F": "F", "X": None, "female": None, "": None}
    assert {sex: body(account={"prefill": "all"}, person=Person(sex=sex)).get("sex") for sex in cases} == cases


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


def test_a_session_is_asked_to_live_as_long_as_the_account_says_and_a_day_with_a_digit_string():
    cases = [
        ({}, {}, 604800),
        ({"lifetime": timedelta(hours=12)}, {}, 43200),
        ({"lifetime": None}, {}, None),
        ({}, {"expiryTime": 3600}, 3600),
        ({"parameters": {"expiryTime": 3600}}, {}, 3600),
        ({}, {"generateDigitString": True}, 86400),
        ({"lifetime": None}, {"generateDigitString": True}, 86400),
        ({"lifetime": timedelta(hours=12)}, {"generateDigitString": True}, 43200),
        ({"parameters": {"generateDigitString": True}}, {}, 86400),
        ({"parameters": {"generateDigitString": True}}, {"generateDigitString": False}, 604800),
    ]
    assert [
        (account, parameters, seconds, got)
        for account, parameters, seconds in cases
        if (got := body(parameters, account).get("expiryTime")) != seconds
    ] == []


def test_an_accounts_lifetime_is_what_its_sessions_are_asked_to_live():
    assert IdenfyKyc(idenfy_account()).lifetime == timedelta(days=7)
    assert IdenfyKyc(idenfy_account(lifetime=None)).lifetime == DAY
    assert IdenfyKyc(idenfy_account(parameters={"generateDigitString": True})).lifetime == DAY
    assert IdenfyKyc(idenfy_account(parameters={"expiryTime": 600})).lifetime == timedelta(minutes=10)


def test_an_expiry_is_a_duration_and_never_an_epoch():
    session = opened(expiryTime=int(NOW.timestamp()) + 3600)

    assert (session.expires_at, session.expiry_source) == (NOW + timedelta(days=7), ExpirySource.FALLBACK)


def test_without_a_readable_expiry_the_one_asked_for_counts(subtests):
    for seconds in [None, 0, -5, 2592001, 10**30, True, "600", 600.0, [600], {"s": 600}]:
        with subtests.test(seconds=seconds):
            session = opened(expiryTime=seconds)

            assert (session.expires_at, session.expiry_source) == (NOW + timedelta(days=7), ExpirySource.FALLBACK)


def test_what_the_line_asked_for_counts_before_what_the_account_asks_for():
    assert opened(parameters={"expiryTime": 60}, expiryTime=None).expires_at == NOW + timedelta(minutes=1)


def test_without_any_the_providers_own_default_counts():
    assert opened(account={"lifetime": None}, expiryTime=None).expires_at == NOW + DAY


def test_a_short_life_is_read_as_it_is():
    session = opened(expiryTime=1)

    assert (session.expires_at, session.expiry_source) == (NOW + timedelta(seconds=1), ExpirySource.ANSWER)


def test_a_link_elsewhere_is_replaced_by_the_documented_one(subtests):
    for redirect in [
        None,
        5,
        "",
        "http://ivs.idenfy.com/x",
        "https://evil.example/?authToken=T7hK2pWq9s",
        "javascript:alert(1)",
    ]:
        with subtests.test(redirect=redirect):
            session = opened(redirectUrl=redirect, authToken="a/b+c")

            assert session.link == "https://ivs.idenfy.com/api/v2/redirect?authToken=a%2Fb%2Bc"


def test_the_accounts_own_link_wins():
    account = {"link": "https://v.test/{reference}/{customer_id}?t={token}", "link_hosts": ("v.test",)}

    session = opened(account, authToken="a/b", customer_id="x")

    assert session.link == "https://v.test/a1c3e5f7-0000-11ee-8d55-123456789abc/C-88123?t=a%2Fb"


def test_a_token_that_no_link_can_hold_leaves_an_unknown_outcome():
    problem = opened(authToken="ü" * 4000, redirectUrl=None)

    assert problem == Problem(
        Kind.UNKNOWN,
        "HTTP 201: the authToken in the answer does not fit into a link",
        status=201,
        words="Token created successfully",
    )


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
            provider = IdenfyKyc(idenfy_account(prefill="all"))

            problems = provider.refuses(customer(person=person))

            assert [problem.column for problem in problems] == [column]
            assert problems[0].hint
            assert "J0hn" not in problems[0].problem


def test_names_that_are_not_sent_are_not_looked_at():
    assert IdenfyKyc(idenfy_account()).refuses(customer(person=Person(first_name="J0hn"))) == []


def test_a_name_that_the_line_replaces_is_not_looked_at():
    provider = IdenfyKyc(idenfy_account(prefill="name"))

    refused = provider.refuses(
        customer(person=Person(first_name="J0hn"), parameters={"idenfy-kyc": {"firstName": "John"}})
    )

    assert refused == []


def test_names_of_all_scripts_are_fine():
    cases = ["Anne-Marie", "O'Neill", "José María", "Łukasz", "李小龍", "Ólöf Arnalds", "Dr. Who"]
    assert [
        (name, got)
        for name in cases
        if (got := IdenfyKyc(idenfy_account(prefill="name")).refuses(customer(person=Person(first_name=name)))) != []
    ] == []


def test_what_the_endpoint_cannot_serve_is_named_by_its_column(subtests):
    for fields, column in [
        ({"external_ref": "x" * 41}, "external_ref"),
        ({"external_ref": "é"}, "external_ref"),
        ({"customer_id": "ü"}, "customer_id"),
        ({"kind": CustomerKind.COMPANY}, "kind"),
        ({"parameters": {"idenfy-kyc": {"checkLiveness": True}}}, "idenfy-kyc.checkLiveness"),
    ]:
        with subtests.test(fields=fields, column=column):
            provider = IdenfyKyc(idenfy_account(parameters={"autoFaceMatching": False}))

            assert [problem.column for problem in provider.refuses(customer(**fields))] == [column]


def test_parameters_of_other_providers_are_none_of_its_business():
    assert IdenfyKyc(idenfy_account()).refuses(customer(parameters={"frankieone-v2": {"country": "x"}})) == []


def test_both_secrets_are_read_again_even_when_the_first_has_changed():
    key, secret = PlainSecret("k1", ["k2"]), PlainSecret("s1", ["s2"])

    assert IdenfyKyc(idenfy_account(api_key=key, api_secret=secret)).reload_credentials()
    assert (key.reveal(), secret.reveal()) == ("k2", "s2")


def test_an_account_whose_sessions_could_not_be_opened_does_not_start(subtests):
    for settings, key in [
        ({"api_secret": None}, "api_secret"),
        ({"api_key": None}, "api_key"),
        ({"link_hosts": ("verify.example.com",)}, "link_hosts"),
        ({"link": "https://verify.example.com/start", "link_hosts": ("verify.example.com",)}, "link"),
        ({"link": "https://other.example.com/{token}", "link_hosts": ("verify.example.com",)}, "link"),
    ]:
        with subtests.test(settings=settings, key=key):
            with pytest.raises(AccountUnusable) as caught:
                IdenfyKyc(idenfy_account(**settings))

            assert caught.value.key == key
            assert str(caught.value).startswith(f"accounts.kyc-eu.{key}: ")
