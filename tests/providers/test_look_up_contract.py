"""Every endpoint lists a customer's sessions, or has the reason why a lost answer cannot be reconciled."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_testing.accounts import AOIFE, API_KEY, API_SECRET, HTML, NOW, PlainSecret, answer, request, shown_of
from onboarding_testing.fakes import FakeProvider
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.providers.contract import HttpAnswer, Listed, Listing
from tests.providers.endpoints import CASES, KYC, OPENAPI

LISTS = {
    "idenfy-kyc": KYC.make,
    "idenfy-kyc-openapi": OPENAPI.make,
    "fake": lambda **settings: FakeProvider(lists=True),
}
listing_ones = pytest.mark.parametrize("make", LISTS.values(), ids=LISTS)
dialects = pytest.mark.parametrize("make", [LISTS["idenfy-kyc"], LISTS["idenfy-kyc-openapi"]], ids=["flat", "openapi"])
ENTRY = {"scanRef": "7b0d2f6e-9c51", "status": "ACTIVE", "suspected": False}


def page(*entries, following=None, **more):
    return answer(200, {"count": len(entries), "next": following, "previous": None, "results": list(entries), **more})


def read(make, got):
    return make().read_look_up(got, request(), now=NOW)


def test_those_that_document_no_listing_are_not_asked():
    cases = ["idenfy-kyb", "frankieone-v1", "frankieone-v2", "frankieone-hosted"]
    assert [name for name in cases if not CASES[name].make().no_look_up] == []


@listing_ones
def test_a_look_up_asks_for_nothing_new(make):
    built = make().look_up(request(), page=2)
    assert (built.method, built.body) == ("GET", b"")
    assert "page=2" in built.url
    assert "Content-Type" not in built.headers


@dialects
def test_the_customer_is_looked_for_by_the_id_that_sessions_were_asked_for_with(make):
    built = make(base_url="https://ivs.idenfy.com/").look_up(request(customer_id="C 1&page=9"), page=1)
    assert built.url == "https://ivs.idenfy.com/kyc/identifications/?clientId=C+1%26page%3D9&page=1&perPage=100"


@dialects
def test_a_replaced_credential_is_used_for_the_next_page(make):
    provider = make(api_key=PlainSecret(API_KEY, next_values=["key-new"]))
    before = provider.look_up(request(), page=1).headers
    provider.reload_credentials()
    assert provider.look_up(request(), page=1).headers != before


@dialects
def test_the_credential_is_in_the_headers_alone(make):
    built = make().look_up(request(), page=1)
    assert not [secret for secret in (API_KEY, API_SECRET) if secret in built.url + repr(built)]
    assert not [value for value in shown_of(AOIFE) if value in built.url]


# Reading a page.


@dialects
def test_a_page_has_its_sessions_and_says_whether_another_follows(make):
    assert read(make, page()) == Listing()
    assert read(make, page(ENTRY)) == Listing((Listed("7b0d2f6e-9c51", "ACTIVE"),))
    assert read(make, page(ENTRY, following="https://elsewhere.example/?page=2")).more is True


@dialects
def test_what_is_not_surely_the_whole_page_is_asked_for_again(make):
    cases = [
        {},
        [],
        {"results": None, "next": None},
        {"results": [ENTRY]},
        {"results": [{"status": "ACTIVE"}], "next": None},
        {"results": [{"scanRef": 5}], "next": None},
        {"results": ["7b0d2f6e"], "next": None},
    ]
    assert [(body, got) for body in cases if (got := read(make, answer(200, body)).kind) is not Kind.TRANSIENT] == []


@dialects
def test_a_status_that_is_no_word_is_not_shown(make):
    assert read(make, page({**ENTRY, "status": AOIFE.first_name})).entries[0].status == "status not readable"


@dialects
def test_a_bad_answer_is_a_problem_of_its_kind(make):
    cases = [
        (answer(401), Kind.AUTH),
        (answer(400, {"identifier": "UNAUTHORIZED", "message": "no"}), Kind.AUTH),
        (answer(402), Kind.OUT_OF_CREDIT),
        (answer(429, {}, retry_after="2"), Kind.RATE_LIMITED),
        (answer(400, {"identifier": "TOO_MANY_REQUESTS", "message": "no"}), Kind.RATE_LIMITED),
        (answer(500), Kind.TRANSIENT),
        (answer(502), Kind.TRANSIENT),
        (answer(200, HTML), Kind.TRANSIENT),
        # An account that may not list can still open sessions, so it must not stop.
        (answer(403), Kind.BAD_INPUT),
        (answer(404), Kind.BAD_INPUT),
        (answer(405), Kind.BAD_INPUT),
        (answer(301), Kind.BAD_INPUT),
        (answer(400, {"identifier": "PERMISSIONS_ERROR", "message": "not in the contract"}), Kind.BAD_INPUT),
    ]
    assert [(got, found) for got, kind in cases if (found := read(make, got).kind) is not kind] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from(sorted(shown_of(AOIFE))),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["results", "next", "scanRef", "status", "message", "x"]), inner, max_size=5)
    ),
    max_leaves=12,
)


@listing_ones
@given(status=st.sampled_from([200, 201, 301, 400, 401, 404, 429, 500, 502, 999]), body=JSON)
def test_whatever_is_sent_it_is_a_page_or_a_problem_that_shows_nothing(make, status, body):
    result = read(make, HttpAnswer(status, {}, json.dumps(body).encode()))
    if isinstance(result, Problem):
        assert not [value for value in shown_of(AOIFE) if value in result.detail]
    else:
        assert status == 200
