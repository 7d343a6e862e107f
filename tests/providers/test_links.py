import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_worker.providers.account import LONGEST_LINK, Links, https_link, template_problem

HOSTS = ("ivs.idenfy.com", "verify.example.com:8443", "127.0.0.1", "localhost", "::1")
LINKS = Links("https://ivs.idenfy.com/{token}", HOSTS)


def test_a_link_to_an_allowed_host_may_be_sent(subtests):
    cases = [
        "https://ivs.idenfy.com/api/v2/redirect?authToken=T7hK2pWq9s",
        "https://IVS.idenfy.com/x",
        "https://ivs.idenfy.com:444/x",
        "https://verify.example.com:8443/start#token=a%2Fb",
        "http://127.0.0.1:9200/start",
        "http://localhost/start",
        "http://[::1]:9200/start",
    ]
    for link in cases:
        with subtests.test(link=link):
            assert https_link(link, HOSTS) == link
            assert LINKS.given(link) == link


def test_any_other_link_is_refused(subtests):
    for link in [
        None,
        5,
        "",
        "example1.com",
        "//ivs.idenfy.com/x",
        "http://ivs.idenfy.com/x",
        "javascript:alert(1)",
        "https://",
        "https:///x",
        "https://evil.example/x",
        "https://ivs.idenfy.com.evil.example/x",
        "https://ivs.idenfy.com@evil.example/x",
        "https://user@ivs.idenfy.com/x",
        "https://evil.example\\@ivs.idenfy.com/x",
        "https://evil.example#@ivs.idenfy.com/x",
        "https://ivs.idenfy.com\t.evil.example/",
        "https://ivs.idenfy.com/a b",
        "https://ivs.idenfy.com/\u202e",
        "https://ivs.idenfу.com/x",
        "https://ivs.idenfy.com:port/x",
        "https://ivs.idenfy.com:99999/x",
        "https://[::1/x",
        "https://::1/x",
        "https://verify.example.com/other-port",
        'https://ivs.idenfy.com/"onclick',
        "https://ivs.idenfy.com/<b>",
        "https://ivs.idenfy.com/\n",
        "https://ivs.idenfy.com/" + "a" * LONGEST_LINK,
    ]:
        with subtests.test(link=link):
            assert https_link(link, HOSTS) is None
            assert LINKS.given(link) is None


def test_a_template_is_filled_with_quoted_values():
    template = "https://v.test/{reference}?c={customer_id}#t={token}&{other}"

    link = Links(template, ["v.test"]).made({"token": "a/b+c&d=e", "customer_id": "C 1", "reference": "{token}"})

    assert link == "https://v.test/%7Btoken%7D?c=C%201#t=a%2Fb%2Bc%26d%3De&{other}"


def test_a_template_that_could_not_be_used_is_found_before_any_call(subtests):
    for template, problem in [
        ("https://v.test/start", "same link"),
        ("https://{customer_id}.v.test/start", "placeholder in its host"),
        ("https://other.test/{token}", "link_hosts"),
        ("http://v.test/{token}", "https"),
        ("https://v.test/{token}{{x}}", "link_hosts"),
    ]:
        with subtests.test(template=template, problem=problem):
            assert problem in template_problem(template, ["v.test"])


@pytest.mark.parametrize(
    "template", ["https://v.test/{token}", "https://v.test/{customer_id}", "http://localhost:1/{token}"]
)
def test_a_usable_template_has_no_problem(template):
    assert template_problem(template, ["v.test", "localhost"]) is None


@given(token=st.text(max_size=200))
def test_no_token_leads_a_template_to_another_host(token):
    link = Links("https://v.test/start?t={token}", ["v.test"]).made(
        {"token": token.encode("utf-8", "replace").decode()}
    )

    assert https_link(link, ["v.test"]) == link


def test_a_template_gives_no_link_that_is_too_long():
    assert Links("https://v.test/{token}", ["v.test"]).made({"token": "a" * LONGEST_LINK}) is None


def test_a_link_may_name_what_the_answer_has_besides_the_token():
    template = "https://v.example.com/{provider}#token={token}&sdk={vendor.sdkToken}&code={digits}&x={vendor.none}"
    values = {"token": "t t", "provider": "OCR Labs", "vendor.sdkToken": "a/b", "digits": "0123"}
    assert template_problem(template, ["v.example.com"]) is None
    made = Links(template, ["v.example.com"]).made(values)
    assert made == "https://v.example.com/OCR%20Labs#token=t%20t&sdk=a%2Fb&code=0123&x="


def test_a_link_that_only_names_the_vendor_is_every_customers():
    assert template_problem("https://v.example.com/{provider}", ["v.example.com"])
