"""The SMS sender's requests, and its reading of the answers, checked against recorded calls."""

import base64

import yaml

from onboarding_worker.core.model.endings import Problem
from onboarding_worker.http.client import Http
from onboarding_worker.senders.contract import Receipt
from tests.senders.far_side import NOW, sms_sender
from tests.senders.record import message_of
from tests.senders.tape import CASES, CASSETTES, LINK, PUBLIC_ACCOUNT, SCRUBBED, tape
from tests.suite.some import some

FILES = sorted(CASSETTES.rglob("*.yaml"))


async def replayed(case, message=None, **settings):
    """The sender's answer to the recorded one. A request other than the recorded one breaks."""
    sender = sms_sender(Http(), **{"from_": case.from_, **settings})
    with tape().use_cassette(str(case.path), allow_playback_repeats=False):
        answer = await sender.send(message or message_of(case))
        if case.look_up:
            found = await sender.look_up(case.to, LINK, since=NOW, known=frozenset())
            assert found == answer  # the same sid
    await sender.close()
    return answer


async def test_a_recorded_call_is_made_again_byte_by_byte_and_read_as_it_was(subtests):
    for case in CASES:
        with subtests.test(case=case.name):
            answer = await replayed(case)

            if case.kind is None:
                assert isinstance(answer, Receipt)
                assert answer.reference.startswith("SM")
            else:
                assert isinstance(answer, Problem)
                assert answer.kind is case.kind


async def test_a_cassette_replays_for_any_host():
    assert isinstance(await replayed(CASES[0], base_url="http://127.0.0.1:5555/twilio"), Receipt)


async def test_a_request_that_is_not_the_recorded_one_is_noticed():
    answer = await replayed(CASES[0], message_of(CASES[2]))

    assert isinstance(answer, Problem)


def test_every_cassette_belongs_to_a_case_and_every_case_has_one():
    assert sorted(case.path for case in CASES) == FILES


def test_a_cassette_says_what_it_was_recorded_from_and_holds_no_secret(subtests):
    assert FILES
    for path in FILES:
        with subtests.test(case=path.stem):
            text = path.read_text()
            login = base64.b64encode(f"{PUBLIC_ACCOUNT}:sandbox-token".encode()).decode()

            assert text.startswith("# Recorded from ")
            for secret in ("sandbox-token", "not-the-token", login[:40], "127.0.0.1"):
                assert secret not in text
            for call in some(yaml.safe_load(text)["interactions"]):
                headers = {name.lower(): value for name, value in call["request"]["headers"].items()}
                assert headers["authorization"] in (SCRUBBED, [SCRUBBED])
