"""The part of the contract of adapters about look-ups: the list of a customer's sessions at the provider.

`onboarding_testing.provider_contract` has these tests among its own. They look at adapters whose `no_look_up` is "". An
adapter that calls an answer a list without sessions, and cannot be sure of it, has a paid session opened again.
"""

import json
from itertools import product

from onboarding_testing.accounts import AOIFE, API_KEY, API_SECRET, NOW, PlainSecret, shown_of
from onboarding_testing.provider_case import HTML, ProviderCase
from worker.core.model.endings import Kind, Problem
from worker.providers.contract import HttpAnswer, Listing

QUOTED = f"{AOIFE.first_name} {AOIFE.email} {API_KEY}"
UNREADABLE = (b"", b"\xff\x00", b"{", b"[" * 5000, b"null", b"5", HTML, b'{"x": 1e999}')
HOSTILE = (*UNREADABLE, b"[]", json.dumps({"message": QUOTED, "error": QUOTED, "status": QUOTED}).encode())
STATUSES = (200, 204, 301, 400, 401, 402, 403, 404, 429, 500, 502, 503, 999)


def listed(endpoint: ProviderCase, status: int, body: bytes) -> Listing | Problem:
    return endpoint.make().read_look_up(HttpAnswer(status, {}, body), endpoint.asked, now=NOW)


def test_a_list_is_asked_for_with_the_credential_in_its_headers_alone(real: ProviderCase) -> None:
    provider = real.make(api_key=PlainSecret(API_KEY, next_values=["key-new"]))
    if provider.no_look_up:
        return
    first, second = provider.look_up(real.asked, page=1), provider.look_up(real.asked, page=2)
    provider.reload_credentials()
    later = provider.look_up(real.asked, page=1)

    assert first is not None
    assert second is not None
    assert later is not None
    assert (first.url, first.body) != (second.url, second.body)
    assert later.headers != first.headers
    assert not [secret for secret in (API_KEY, API_SECRET) if secret in first.url + repr(first)]
    assert not [value for value in shown_of(AOIFE) if value in first.url]


def test_whatever_comes_as_a_list_is_a_page_or_a_problem_that_shows_nothing(real: ProviderCase) -> None:
    if real.make().no_look_up:
        return
    for status, body in product(STATUSES, HOSTILE):
        result = listed(real, status, body)

        if isinstance(result, Problem):
            assert result.kind is not Kind.UNKNOWN  # a look-up changes nothing at the provider
            assert not [value for value in (*shown_of(AOIFE), API_KEY) if value in f"{result.detail} {result.words}"]
        else:
            assert isinstance(result, Listing)
            assert status == 200


def test_a_list_that_cannot_be_read_is_asked_for_again(real: ProviderCase) -> None:
    if real.make().no_look_up:
        return
    for body in UNREADABLE:
        result = listed(real, 200, body)

        assert isinstance(result, Problem)
        assert result.kind is Kind.TRANSIENT


def test_an_account_that_may_not_list_goes_on_opening_sessions(real: ProviderCase) -> None:
    if real.make().no_look_up:
        return
    kinds = [result.kind for status in (403, 404) if isinstance(result := listed(real, status, b"{}"), Problem)]

    assert kinds == [Kind.BAD_INPUT, Kind.BAD_INPUT]
