"""The adapters' requests, and their reading of the answers, checked against recorded calls."""

import base64
import json
from datetime import timedelta

import pytest
import yaml

from onboarding_testing.accounts import API_KEY, API_SECRET, ENTITY, NOW
from onboarding_worker.core.model.endings import Problem
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.http.client import Http, open_http_session
from onboarding_worker.providers.contract import Broken, HttpAnswer, Listed, Listing
from tests.providers.accounts import FRANKIE_CUSTOMER
from tests.providers.recording import CASES, CASSETTES, SCRUBBED, SCRUBBED_FIELDS, Case, scrubbed, tape
from tests.suite.some import some

LONG = timedelta(seconds=10)
FILES = sorted(CASSETTES.rglob("*.yaml"))


async def replayed(case: Case, **settings) -> HttpAnswer | Broken:
    """The answer to the last of the case's calls. A request that differs from the recorded one gives Broken."""
    provider = case.provider(**settings)
    async with open_http_session() as session:
        with tape().use_cassette(str(case.path), allow_playback_repeats=False):
            for built in case.requests(provider, case.asked):
                got = await Http(session).call(built, timeout=LONG)
    return got


async def test_a_recorded_call_is_made_again_byte_by_byte_and_read_as_it_was(subtests):
    for case in CASES:
        with subtests.test(case=f"{case.endpoint}/{case.name}"):
            got = await replayed(case)

            assert isinstance(got, HttpAnswer), got
            if case.look_up:
                result = case.provider().read_look_up(got, case.asked, now=NOW)
            else:
                result = case.provider().read(got, case.asked, issued_at=NOW, now=NOW)
            if case.look_up and case.kind is None:
                assert result == Listing((Listed(SCRUBBED, "ACTIVE"),) * case.calls)
            elif case.kind is None:
                assert isinstance(result, Session)
                assert result.token.endswith(SCRUBBED)
            else:
                assert isinstance(result, Problem)
                assert result.kind is case.kind


async def test_a_cassette_replays_for_any_host_and_port():
    idenfy = next(case for case in CASES if case.endpoint == "idenfy-kyc")
    frankie = next(case for case in CASES if case.endpoint == "frankieone-v2")

    assert isinstance(await replayed(idenfy, base_url="http://127.0.0.1:5555/idenfy"), HttpAnswer)
    assert isinstance(await replayed(frankie, base_url="https://api.frankie.one"), HttpAnswer)


@pytest.mark.parametrize(
    "changed",
    [{"lifetime": timedelta(days=1)}, {"parameters": {"checkAml": True}}, {"base_url": "https://ivs.idenfy.com/x"}],
)
async def test_a_request_that_is_not_the_recorded_one_is_noticed(changed):
    assert isinstance(await replayed(CASES[0], **changed), Broken)


async def test_a_header_that_was_not_recorded_is_noticed():
    frankie = next(case for case in CASES if case.endpoint == "frankieone-v2")

    assert isinstance(await replayed(frankie, channel="portal"), Broken)


def test_every_cassette_belongs_to_a_case_and_every_case_has_one():
    assert sorted(case.path for case in CASES) == FILES


def test_a_cassette_says_what_it_was_recorded_from_and_holds_no_secret(subtests):
    assert FILES
    for path in FILES:
        with subtests.test(case=f"{path.parent.name}/{path.stem}"):
            text = path.read_text()
            basic = [base64.b64encode(f"{key}:{secret}".encode()).decode() for key, secret in PAIRS]

            assert text.startswith("# Recorded from ")
            assert not [secret for secret in SECRETS | set(basic) if secret in text]
            for call in some(yaml.safe_load(text)["interactions"]):
                headers = {name.lower(): value for name, value in call["request"]["headers"].items()}
                assert {"authorization", "api_key"} & set(headers)
                for name in ("authorization", "api_key", "x-frankie-customerid"):
                    assert headers.get(name, SCRUBBED) in (SCRUBBED, [SCRUBBED])
                assert "127.0.0.1" not in call["request"]["uri"]
                assert "set-cookie" not in {name.lower() for name in call["response"]["headers"]}
                _holds_no_secret(call["response"]["body"]["string"])


PAIRS = [("sandbox-key", "sandbox-secret"), ("not-the-key", "sandbox-secret"), (API_KEY, API_SECRET)]
SECRETS = {secret for pair in PAIRS for secret in pair} | {FRANKIE_CUSTOMER}


def _holds_no_secret(body: str | bytes) -> None:
    try:
        found = json.loads(body)
    except ValueError:
        return
    for name in SCRUBBED_FIELDS & set(found):
        value = found[name]
        assert value in (None, SCRUBBED, ENTITY) or value.endswith(f"={SCRUBBED}"), name


@pytest.mark.parametrize("wrap", [lambda b: b, json.dumps, lambda b: json.dumps(b).encode(), lambda b: [b]])
def test_scrubbing_accepts_every_form_of_body(wrap):
    body = {"authToken": "tk-1", "more": [{"token": "tk-2"}], "expiryTime": 5, "digitString": None}

    shown = str(scrubbed(wrap(body)))

    assert "tk-" not in shown
    assert "expiryTime" in shown


def test_scrubbing_leaves_alone_what_holds_nothing():
    assert [(body, got) for body in [None, b"", "", b"<html>", 5] if (got := scrubbed(body)) != body] == []
