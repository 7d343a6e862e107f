"""The contract of every adapter (worker/providers/contract.py), over every endpoint and the shipped fake."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.providers.accounts import AOIFE, API_KEY, API_SECRET, NOW, PlainSecret, shown_of
from tests.providers.endpoints import (
    ANSWERS,
    ENDPOINTS,
    FRANKIE_OPENED,
    IDENFY_OPENED,
    KYB_OPENED,
    OPENAPI_OPENED,
    V1_OPENED,
    Endpoint,
    answer,
)
from worker.domain.model.endings import Kind, Problem
from worker.domain.model.sessions import ExpirySource, Session
from worker.providers import frankieone, frankieone_v1, frankieone_v2, idenfy, idenfy_kyb, idenfy_kyc
from worker.providers.contract import Broken, HttpAnswer

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
endpoints = pytest.mark.parametrize("endpoint", ENDPOINTS.values(), ids=ENDPOINTS)


# How servers write "José O'Núñez-García, born 5 June 1987": what a list of masked values does not know.
FORMS = (
    r"Jos\u00e9 O'N\u00fa\u00f1ez",
    "O&#x27;N&uacute;&ntilde;ez-Garc&iacute;a",
    "Jos%C3%A9",
    "ONUNEZ<GARCIA<<JOSE",
    "Jose O'Nunez-Garcia",
    "06/05/1987",
    "5 June 1987",
    "GARCIA",
)


def read(endpoint: Endpoint, got: HttpAnswer, **settings):
    return endpoint.make(**settings).read(got, endpoint.asked, issued_at=NOW, now=NOW + timedelta(seconds=1))


@endpoints
def test_an_opened_session_has_token_reference_and_a_link_that_may_be_sent(endpoint):
    session = read(endpoint, endpoint.opened)

    assert isinstance(session, Session)
    assert (session.token, session.reference) == (endpoint.token, endpoint.reference)
    assert urlsplit(session.link).scheme == "https"
    assert endpoint.token in session.link


@endpoints
def test_a_sessions_expiry_is_counted_from_before_the_call_and_aware_utc(endpoint):
    session = read(endpoint, endpoint.opened)

    assert session.expires_at == NOW + endpoint.lives
    assert session.expires_at.tzinfo is UTC
    assert session.expiry_source is ExpirySource.ANSWER


@endpoints
def test_neither_token_nor_link_are_in_what_is_logged_of_a_session(endpoint):
    session = read(endpoint, endpoint.opened)

    assert session.token not in repr(session)
    assert session.link not in repr(session)


@pytest.mark.parametrize(("name", "case"), ANSWERS)
def test_a_bad_answer_becomes_a_problem_of_its_kind(name, case):
    bad = ENDPOINTS[name].bad[case]

    problem = read(ENDPOINTS[name], bad.answer)

    assert isinstance(problem, Problem)
    assert problem.kind is bad.kind
    assert problem.status == bad.answer.status
    assert str(bad.answer.status) in problem.detail or "fake" in name


@pytest.mark.parametrize(
    ("name", "case"), [(n, c) for n, c in ANSWERS if ENDPOINTS[n].bad[c].code or ENDPOINTS[n].bad[c].detail]
)
def test_the_providers_code_is_kept_in_clear_and_its_words_apart(name, case):
    bad = ENDPOINTS[name].bad[case]

    problem = read(ENDPOINTS[name], bad.answer)

    assert problem.code == bad.code or bad.code is None
    assert (bad.code or "") in problem.detail
    # Our own words: what is wrong with an answer that should have a session, or what its code means.
    ours = 200 <= bad.answer.status < 300 or bad.detail == "entity not found"
    assert bad.detail in (problem.detail if ours else problem.words)
    assert ours or not bad.detail or bad.detail not in problem.detail + repr(problem)


@pytest.mark.parametrize("name", [name for name in ENDPOINTS if name != "fake"])
@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_customers_data_gets_from_a_message_into_the_detail(name, form):
    said = f"Invalid value for firstName: {form}"
    for body in (
        {"identifier": "BAD_VALUE", "message": said},
        {"identifier": form, "message": said},
        {"identifier": "BAD_VALUE", "message": {"detail": said}},
        {form: [said]},
        {"errorCode": f"API-0400 {form}", "errorMsg": said, "issues": [{"issue": said, "issueLocation": form}]},
    ):
        for status in (400, 401, 402, 409, 500):
            problem = read(ENDPOINTS[name], HttpAnswer(status, {}, json.dumps(body).encode()))

            assert isinstance(problem, Problem)
            assert form.lower() not in f"{problem} {problem.detail} {problem.code}".lower()


@pytest.mark.parametrize("identifier", [*idenfy.IDENTIFIERS])
def test_every_identifier_that_idenfy_documents_has_its_own_answer_in_the_table(identifier):
    codes = {bad.code for bad in ENDPOINTS["idenfy-kyc"].bad.values()}
    bodies = b"".join(bad.answer.body for bad in ENDPOINTS["idenfy-kyc"].bad.values())

    assert identifier in codes or f'"{identifier}"'.encode() in bodies


@endpoints
def test_a_call_that_was_not_sent_has_surely_not_been_made(endpoint):
    problem = endpoint.make().broken(Broken(sent=False, detail="connection refused"), endpoint.asked)

    assert problem == Problem(Kind.TRANSIENT, "connection refused")


@endpoints
def test_a_call_that_broke_after_it_was_sent_is_what_the_endpoint_says(endpoint):
    problem = endpoint.make().broken(Broken(sent=True, detail="answer cut off"), endpoint.asked)

    assert problem == Problem(endpoint.broken_after_sending, "answer cut off")


@endpoints
def test_an_endpoint_says_whether_its_request_may_be_repeated(endpoint):
    assert endpoint.make().repeatable(endpoint.asked) is endpoint.repeatable


@endpoints
def test_a_new_session_is_asked_for_when_that_makes_sense(endpoint):
    """After the old session has ended, or at any time; "any time" is a time in the past."""
    earliest = endpoint.make().reissue_at(NOW + timedelta(days=7))

    assert earliest == (EPOCH if endpoint.reissued_early else NOW + timedelta(days=7))


@endpoints
@pytest.mark.parametrize(
    ("header", "wait"),
    [("2", timedelta(seconds=2)), ("Fri, 20 Nov 2026 08:01:01 GMT", timedelta(minutes=1)), ("soon", None)],
)
def test_a_rate_limit_says_how_long_to_wait(endpoint, header, wait):
    problem = read(endpoint, answer(429, {}, retry_after=header))

    assert (problem.kind, problem.retry_after) == (Kind.RATE_LIMITED, wait)


@endpoints
@pytest.mark.parametrize("header", ["3600000", "Fri, 20 Nov 2099 08:01:01 GMT"])
def test_no_longer_wait_is_kept_than_the_provider_documents(endpoint, header):
    problem = read(endpoint, answer(429, {}, retry_after=header))

    assert timedelta(0) < problem.retry_after <= timedelta(hours=1)


@endpoints
def test_a_customer_that_can_be_served_is_not_refused(endpoint):
    assert endpoint.make().refuses(endpoint.asked.customer) == []


@endpoints
def test_the_same_request_is_built_each_time(endpoint):
    provider = endpoint.make()

    assert provider.build(endpoint.asked) == provider.build(endpoint.asked)


@endpoints
def test_the_credential_is_in_the_headers_alone_and_in_no_repr(endpoint):
    provider = endpoint.make()
    built = provider.build(endpoint.asked)

    for secret in (API_KEY, API_SECRET):
        assert secret not in built.url
        assert secret.encode() not in built.body
        assert secret not in repr(built) + repr(provider)


@endpoints
def test_nothing_personal_is_sent_unless_the_configuration_says_so(endpoint):
    sent = endpoint.make().build(endpoint.asked).body.decode()

    assert not [value for value in shown_of(AOIFE) if value in sent]


@endpoints
def test_credentials_read_again_are_used_for_the_next_call(endpoint):
    changing = PlainSecret(API_KEY, next_values=["key-new"])
    provider = endpoint.make(api_key=changing)
    before = provider.build(endpoint.asked)

    assert provider.reload_credentials() is True
    assert provider.reload_credentials() is False
    if dict(before.headers):  # the fake sends none
        assert provider.build(endpoint.asked).headers != before.headers


@pytest.mark.parametrize("module", [idenfy, idenfy_kyc, idenfy_kyb, frankieone, frankieone_v1, frankieone_v2])
def test_adapters_keep_the_network_out(module):
    assert not {"aiohttp", "asyncio"} & set(vars(module))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
OPENED = (IDENFY_OPENED, OPENAPI_OPENED, KYB_OPENED, FRANKIE_OPENED, V1_OPENED)
NAMES = {name for opened in OPENED for name in opened}
FIELDS = st.sampled_from(["identifier", "message", "errorCode", "errorMsg", "details", "issues", *sorted(NAMES)])
VALUES = (
    JSON
    | st.sampled_from(sorted(shown_of(AOIFE)))
    | st.sampled_from(["BAD_VALUE", "API-0400", "AUTH-0001", "MARIA-0400", "T7hK2pWq9s", "https://ivs.idenfy.com/x"])
    | st.lists(st.dictionaries(FIELDS, st.sampled_from(sorted(shown_of(AOIFE))) | JSON, max_size=3), max_size=3)
)
STATUS = (
    st.sampled_from([200, 201, 204, 301, 400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503, 504, 999])
    | st.integers()
)
OBJECTS = st.dictionaries(FIELDS, VALUES, max_size=8)
# Most of an answer that opens a session, with a few fields spoilt.
NEARLY_OPENED = st.builds(
    lambda opened, spoilt: {**opened, **spoilt},
    st.sampled_from(OPENED),
    st.dictionaries(FIELDS, VALUES, max_size=3),
)
ANY_ANSWER = st.builds(
    HttpAnswer,
    status=STATUS,
    headers=st.dictionaries(st.just("retry-after"), st.text(max_size=30)),
    body=st.binary(max_size=200) | (JSON | OBJECTS | NEARLY_OPENED).map(lambda value: answer(0, value).body),
)


@endpoints
@given(got=ANY_ANSWER)
def test_whatever_a_provider_sends_it_is_a_session_with_all_it_needs_or_a_problem_that_shows_nothing(endpoint, got):
    result = read(endpoint, got)

    if isinstance(result, Session):
        assert result.token
        assert result.reference
        assert result.link.startswith("https://")
        assert result.expires_at.utcoffset() == timedelta(0)
        assert 200 <= got.status < 300
    else:
        assert isinstance(result, Problem)
        assert result.retry_after is None or timedelta(0) < result.retry_after <= timedelta(days=1)
        shown = f"{result.detail} {result.code}"
        assert not [value for value in shown_of(AOIFE) if value in shown]
        assert not [value for value in (API_KEY, API_SECRET) if value in shown]
        assert shown.isprintable()


@endpoints
@given(message=st.text(max_size=100), personal=st.sampled_from(sorted(shown_of(AOIFE))), status=STATUS)
def test_a_provider_that_quotes_the_customer_is_not_quoted(endpoint, message, personal, status):
    quoted = f"{message}{personal}{message} {API_KEY}"
    issues = [{"issue": quoted, "issueLocation": quoted}]
    body = {"message": quoted, "errorMsg": quoted, "identifier": personal, "errorCode": personal, "issues": issues}

    problem = read(endpoint, answer(status, body))

    assert isinstance(problem, Problem)
    shown = f"{problem.detail} {problem.code}"
    assert not [value for value in shown_of(AOIFE) if value in shown]
    assert API_KEY not in shown
