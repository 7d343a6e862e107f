"""The contract of every provider adapter (worker/providers/contract.py), as a suite for pytest.

A test module of the adapter's own imports all of it, and names its cases:

    from onboarding_testing.provider_contract import *
    CASES = {"acme-idv": ProviderCase(...)}
"""

import json
from collections.abc import Mapping
from datetime import UTC, timedelta
from functools import lru_cache
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onboarding_testing.accounts import (
    AOIFE,
    API_KEY,
    API_SECRET,
    HTML,
    NOW,
    Bad,
    PlainSecret,
    ProviderCase,
    answer,
    opened,
    problem_in,
    read,
    shown_of,
)
from onboarding_testing.configured_adapters import *  # noqa: F403
from onboarding_worker.core.foundation.clock import EPOCH
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import ExpirySource, Session
from onboarding_worker.providers.contract import Broken, HttpAnswer, endpoint_of
from onboarding_worker.providers.facts import ProviderFacts, facts_of
from onboarding_worker.providers.parameters import check_parameters


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test with each of the module's CASES. A test that takes `real` runs without the fakes: their answers are
    what their test wants."""
    cases: Mapping[str, ProviderCase] = metafunc.module.CASES
    names = metafunc.fixturenames
    if "real" in names:
        found_real = {name: case for name, case in cases.items() if case.of_provider}
        metafunc.parametrize("real", found_real.values(), ids=found_real)
    elif "endpoint" in names:
        metafunc.parametrize("endpoint", cases.values(), ids=cases)


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


def test_the_endpoint_says_what_its_accounts_may_have(real: ProviderCase) -> None:
    found, facts = endpoint_of(real.provider), facts_of(real.provider)

    assert found is not None
    assert isinstance(facts, ProviderFacts)
    assert facts.host.startswith("https://")
    assert found.parameters
    assert all(table.parameters for table in found.parameters)
    assert {asks.parameter for asks in facts.lifetimes.values()} <= {n for t in found.parameters for n in t.parameters}
    assert check_parameters(real.provider, {"no_such_parameter_": 1})


def test_an_opened_session_has_token_reference_and_a_link_that_may_be_sent(endpoint: ProviderCase) -> None:
    session = opened(endpoint)

    assert (session.token, session.reference) == (endpoint.token, endpoint.reference)
    assert urlsplit(session.link).scheme == "https"
    assert endpoint.token in session.link


def test_a_sessions_expiry_is_counted_from_before_the_call_and_aware_utc(endpoint: ProviderCase) -> None:
    session = opened(endpoint)

    assert session.expires_at == NOW + endpoint.lives
    assert session.expires_at.tzinfo is UTC
    assert session.expiry_source is ExpirySource.ANSWER


def test_neither_token_nor_link_are_in_what_is_logged_of_a_session(endpoint: ProviderCase) -> None:
    session = opened(endpoint)

    assert session.token not in repr(session)
    assert session.link not in repr(session)


def test_a_bad_answer_becomes_a_problem_of_its_kind_with_the_providers_code_in_clear_and_its_words_apart(
    endpoint: ProviderCase, subtests: pytest.Subtests
) -> None:
    for what, bad in endpoint.bad.items():
        with subtests.test(what):
            problem = problem_in(endpoint, bad.answer)

            assert problem.kind is bad.kind
            assert problem.status == bad.answer.status
            assert str(bad.answer.status) in problem.detail or not endpoint.of_provider
            assert problem.code == bad.code or bad.code is None
            assert (bad.code or "") in problem.detail
            # Our own words: what is wrong with an answer that should have a session, or what its code means.
            ours = 200 <= bad.answer.status < 300 or bad.detail == "entity not found"
            assert bad.detail in (problem.detail if ours else problem.words)
            assert ours or not bad.detail or bad.detail not in problem.detail + repr(problem)


def test_a_refusal_by_a_firewall_on_the_way_may_be_about_this_row_and_the_providers_own_is_not(
    real: ProviderCase, subtests: pytest.Subtests
) -> None:
    """Either has the status 403 and no code: the provider writes a JSON object, and a firewall a page of its own."""
    own = {"message": "Partner inactive.", "errorMsg": "Forbidden"}
    for firewalls, body in ((True, HTML), (True, b""), (True, b"[]"), (True, b"Forbidden"), (False, own), (False, {})):
        with subtests.test(body=body):
            problem = problem_in(real, answer(403, body))
            assert (problem.kind, problem.unclear, problem.undocumented) == (Kind.AUTH, firewalls, False)
    for status, body in ((401, HTML), (405, HTML), (401, own), (429, HTML), (503, HTML)):
        with subtests.test(status=status):
            assert not problem_in(real, answer(status, body)).unclear


def test_no_form_of_a_customers_data_gets_from_a_message_into_the_detail(real: ProviderCase) -> None:
    for form, status in product(FORMS, (400, 401, 402, 409, 500)):
        said = f"Invalid value for firstName: {form}"
        for body in (
            {"identifier": "BAD_VALUE", "message": said},
            {"identifier": form, "message": said},
            {"identifier": "BAD_VALUE", "message": {"detail": said}},
            {"error": said, "code": form, "title": said},
            {form: [said]},
            {"errorCode": f"API-0400 {form}", "errorMsg": said, "issues": [{"issue": said, "issueLocation": form}]},
        ):
            problem = problem_in(real, HttpAnswer(status, {}, json.dumps(body).encode()))

            assert form.lower() not in f"{problem} {problem.detail} {problem.code}".lower()


def test_a_providers_words_are_kept_without_the_customers_values_and_the_secrets(real: ProviderCase) -> None:
    """They are stored, and shown to the operator."""
    said = f"Invalid value {AOIFE.first_name} {AOIFE.email} for the key {API_KEY}"
    for body in (
        {"identifier": "BAD_VALUE", "message": said},
        {"code": "x", "title": said, "detail": said, "error": said},
        {"errorCode": "API-0400", "errorMsg": said, "issues": [{"issue": said, "issueLocation": said}]},
    ):
        words = problem_in(real, answer(400, body)).words

        assert not [value for value in (*shown_of(AOIFE), API_KEY) if value in words]


def test_a_call_that_was_not_sent_has_surely_not_been_made(endpoint: ProviderCase) -> None:
    problem = endpoint.make().broken(Broken(sent=False, detail="connection refused"), endpoint.asked)

    assert problem == Problem(Kind.TRANSIENT, "connection refused")


def test_a_call_that_broke_after_it_was_sent_is_what_the_endpoint_says(endpoint: ProviderCase) -> None:
    problem = endpoint.make().broken(Broken(sent=True, detail="answer cut off"), endpoint.asked)

    assert problem == Problem(endpoint.broken_after_sending, "answer cut off")


def test_an_endpoint_says_whether_its_request_may_be_repeated(endpoint: ProviderCase) -> None:
    assert endpoint.make().repeatable(endpoint.asked) is endpoint.repeatable


def test_a_new_session_is_asked_for_when_that_makes_sense(endpoint: ProviderCase) -> None:
    """After the old session has ended, or at any time; "any time" is a time in the past."""
    earliest = endpoint.make().reissue_at(NOW + timedelta(days=7))

    assert earliest == (EPOCH if endpoint.reissued_early else NOW + timedelta(days=7))


def test_an_endpoint_that_lists_nothing_says_why(endpoint: ProviderCase) -> None:
    provider = endpoint.make()
    built = provider.look_up(endpoint.asked, page=1)

    assert (built is None) == bool(provider.no_look_up)
    if built is None:
        result = provider.read_look_up(answer(200, {}), endpoint.asked, now=NOW)
        assert isinstance(result, Problem)
        assert (result.kind, result.detail) == (Kind.BAD_INPUT, provider.no_look_up)


def test_a_rate_limit_says_how_long_to_wait(endpoint: ProviderCase) -> None:
    waits = {"2": timedelta(seconds=2), "Fri, 20 Nov 2026 08:01:01 GMT": timedelta(minutes=1), "soon": None}
    for header, wait in waits.items():
        problem = problem_in(endpoint, answer(429, {}, retry_after=header))

        assert (problem.kind, problem.retry_after) == (Kind.RATE_LIMITED, wait)


def test_no_longer_wait_is_kept_than_the_provider_documents(endpoint: ProviderCase) -> None:
    for header in ("3600000", "Fri, 20 Nov 2099 08:01:01 GMT"):
        problem = problem_in(endpoint, answer(429, {}, retry_after=header))

        assert problem.retry_after is not None
        assert timedelta(0) < problem.retry_after <= timedelta(hours=1)


def test_a_customer_that_can_be_served_is_not_refused(endpoint: ProviderCase) -> None:
    assert endpoint.make().refuses(endpoint.asked.customer) == []


def test_the_same_request_is_built_each_time(endpoint: ProviderCase) -> None:
    provider = endpoint.make()

    assert provider.build(endpoint.asked) == provider.build(endpoint.asked)


def test_the_credential_is_in_the_headers_alone_and_in_no_repr(endpoint: ProviderCase) -> None:
    provider = endpoint.make()
    built = provider.build(endpoint.asked)

    for secret in (API_KEY, API_SECRET):
        assert secret not in built.url
        assert secret.encode() not in built.body
        assert secret not in repr(built) + repr(provider)


def test_nothing_personal_is_sent_unless_the_configuration_says_so(endpoint: ProviderCase) -> None:
    sent = endpoint.make().build(endpoint.asked).body.decode()

    assert not [value for value in shown_of(AOIFE) if value in sent]


def test_credentials_read_again_are_used_for_the_next_call(endpoint: ProviderCase) -> None:
    changing = PlainSecret(API_KEY, next_values=["key-new"])
    provider = endpoint.make(api_key=changing)
    before = provider.build(endpoint.asked)

    assert provider.reload_credentials() is True
    assert provider.reload_credentials() is False
    if dict(before.headers):  # a fake sends none
        assert provider.build(endpoint.asked).headers != before.headers


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
STATUS = (
    st.sampled_from([200, 201, 204, 301, 400, 401, 402, 403, 404, 409, 422, 429, 500, 502, 503, 504, 999])
    | st.integers()
)


@lru_cache(maxsize=64)
def any_answer(opened_body: bytes) -> st.SearchStrategy[HttpAnswer]:
    """Answers of any kind, among them most of the one that opens a session, with a few fields spoilt."""
    whole: dict[str, Any] = json.loads(opened_body)
    fields = st.sampled_from(["identifier", "message", "errorCode", "errorMsg", "details", "issues", *sorted(whole)])
    values = (
        JSON
        | st.sampled_from(sorted(shown_of(AOIFE)))
        | st.sampled_from(
            ["BAD_VALUE", "API-0400", "AUTH-0001", "MARIA-0400", "T7hK2pWq9s", "https://ivs.idenfy.com/x"]
        )
        | st.lists(st.dictionaries(fields, st.sampled_from(sorted(shown_of(AOIFE))) | JSON, max_size=3), max_size=3)
    )
    nearly = st.builds(lambda spoilt: {**whole, **spoilt}, st.dictionaries(fields, values, max_size=3))
    objects = st.dictionaries(fields, values, max_size=8)
    return st.builds(
        HttpAnswer,
        status=STATUS,
        headers=st.dictionaries(st.just("retry-after"), st.text(max_size=30)),
        body=st.binary(max_size=200) | (JSON | objects | nearly).map(lambda value: answer(0, value).body),
    )


@given(data=st.data())
def test_whatever_a_provider_sends_it_is_a_session_with_all_it_needs_or_a_problem_that_shows_nothing(
    endpoint: ProviderCase, data: st.DataObject
) -> None:
    got = data.draw(any_answer(endpoint.opened.body))
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


@given(message=st.text(max_size=100), personal=st.sampled_from(sorted(shown_of(AOIFE))), status=STATUS)
def test_a_provider_that_quotes_the_customer_is_not_quoted(
    endpoint: ProviderCase, message: str, personal: str, status: int
) -> None:
    quoted = f"{message}{personal}{message} {API_KEY}"
    issues = [{"issue": quoted, "issueLocation": quoted}]
    body = {"message": quoted, "errorMsg": quoted, "identifier": personal, "errorCode": personal, "issues": issues}
    body |= {"error": quoted, "code": personal, "title": quoted, "detail": quoted}

    problem = problem_in(endpoint, answer(status, body))

    shown = f"{problem.detail} {problem.code}"
    assert not [value for value in shown_of(AOIFE) if value in shown]
    assert API_KEY not in shown


def test_a_link_to_a_strange_host_or_without_tls_is_never_what_a_customer_gets(real: ProviderCase) -> None:
    """Each text of the answer in turn, and all of them, are such an address: with the session's own token, so that
    nothing but its host or its scheme tells."""
    whole = json.loads(real.opened.body)
    texts = [name for name, value in whole.items() if isinstance(value, str)]
    host = urlsplit(opened(real).link).netloc
    for strange in (f"https://phishing.example/verify?t={real.token}", f"http://{host}/verify?t={real.token}"):
        for changed in (*([name] for name in texts), texts):
            body = {**whole, **dict.fromkeys(changed, strange)}
            result = read(real, answer(real.opened.status, body))

            if isinstance(result, Session):
                assert urlsplit(result.link).hostname != "phishing.example"
                assert urlsplit(result.link).scheme == "https"


NO_TEXTS: tuple[Any, ...] = ({"value": "t"}, ["t"], None, "", " ", "a\nb", "x" * 5000)


def test_a_token_of_the_wrong_type_opens_no_session(real: ProviderCase) -> None:
    for token in (12345, True, *NO_TEXTS):
        whole = json.loads(real.opened.body)
        spoilt = {name: token if value == real.token else value for name, value in whole.items()}

        problem = problem_in(real, answer(real.opened.status, spoilt))

        assert (token, problem.kind) == (token, real.broken_after_sending)
        assert len(problem.detail) < 500


def test_a_reference_of_the_wrong_type_is_no_reference(real: ProviderCase) -> None:
    """Webhooks and look-ups find the session by it, and people see it."""
    for reference in NO_TEXTS:
        whole = _replaced(json.loads(real.opened.body), real.reference, reference)
        result = read(real, answer(real.opened.status, whole))

        assert isinstance(result, Problem) or (result.reference.strip() and result.reference != str(reference))


def test_an_end_that_the_answer_does_not_name_is_said_to_be_a_guess(real: ProviderCase) -> None:
    """Each field of the answer is left out in turn."""
    whole = json.loads(real.opened.body)
    for name in whole:
        result = read(real, answer(real.opened.status, {key: value for key, value in whole.items() if key != name}))

        if isinstance(result, Session) and result.expires_at != opened(real).expires_at:
            assert result.expiry_source is ExpirySource.FALLBACK


def _replaced(value: Any, old: str, new: Any) -> Any:
    """`value` from JSON with `new` in each place of the text `old`."""
    if isinstance(value, dict):
        return {name: _replaced(inner, old, new) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, old, new) for inner in value]
    return new if value == old else value


# Everything that a module of tests needs with one import.
__all__ = [
    "Bad",
    "ProviderCase",
    "answer",
    "pytest_generate_tests",
    *[name for name in dir() if name.startswith("test_")],
]
