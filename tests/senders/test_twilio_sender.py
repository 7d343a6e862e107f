"""The SMS sender: its requests to Twilio, and one test for each row of providers.md 8.2."""

import base64
import json
from datetime import timedelta
from itertools import product

import pytest

from onboarding_sandbox import Fault, Sandbox, SandboxOptions
from onboarding_worker.core.model.endings import Cancel, Kind, Problem, RetryPolicy, ending_for
from onboarding_worker.core.model.http_messages import HttpAnswer
from onboarding_worker.http.client import Http
from onboarding_worker.senders.contract import Receipt
from onboarding_worker.senders.twilio_answers import TEXTS
from tests.senders.far_side import ACCOUNT, NOW, SERVICE, TAKEN, FakeCaller, Token, error, sms_sender

HOURS = timedelta(hours=1)
LINK = "https://verify.example.com/s?t=t0k3n"


@pytest.fixture
def text(message):
    """Makes text messages to an invented number."""
    return lambda **fields: message(**{"to": "+37060000001", "text": f"Example Bank: {LINK}", **fields})


async def answered(text, *answers, **settings):
    """The sender's result after these answers to its first message."""
    return await sms_sender(FakeCaller(answers), **settings).send(text())


async def test_a_message_goes_out_as_the_documented_form(text):
    http = FakeCaller()

    receipt = await sms_sender(http, timeout=timedelta(seconds=7)).send(text())

    (request,) = http.requests
    assert receipt == Receipt("SM0123")
    assert http.timeouts == [timedelta(seconds=7)]
    assert request.method == "POST"
    assert request.url == f"https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert request.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert (
        base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")) == f"{ACCOUNT}:sandbox-token".encode()
    )
    assert http.forms == [{"To": "+37060000001", "From": "+15005550006", "Body": f"Example Bank: {LINK}"}]


async def test_a_messaging_service_is_named_as_one(text):
    http = FakeCaller()

    await sms_sender(http, from_=SERVICE).send(text())

    assert (http.forms[0]["MessagingServiceSid"], "From" in http.forms[0]) == (SERVICE, False)


@pytest.mark.parametrize("name", ["Example", "MG Motors"])
async def test_a_senders_name_is_a_from(text, name):
    http = FakeCaller()

    await sms_sender(http, from_=name).send(text())

    assert http.forms[0]["From"] == name


async def test_another_base_url_keeps_its_path(text):
    http = FakeCaller()

    await sms_sender(http, base_url="http://127.0.0.1:9200/twilio/").send(text())

    assert http.requests[0].url.startswith("http://127.0.0.1:9200/twilio/2010-04-01/Accounts/AC")


async def test_the_request_names_the_callback_for_deliveries(text):
    http = FakeCaller()

    await sms_sender(http, callback="https://onboard.example.com/callbacks/sms").send(text())

    assert http.forms[0]["StatusCallback"] == "https://onboard.example.com/callbacks/sms"


async def test_a_text_that_waits_at_twilio_ends_with_its_link_and_within_twilios_bounds(text, subtests):
    cases = [
        (timedelta(hours=1, milliseconds=900), "3600"),
        (timedelta(days=7), "36000"),
        (timedelta(milliseconds=5), "1"),
        (None, None),
    ]
    for life, seconds in cases:
        with subtests.test(life=life):
            http = FakeCaller()

            await sms_sender(http).send(text(valid_for=life))

            assert http.forms[0].get("ValidityPeriod") == seconds


async def test_the_text_goes_out_whole_with_its_link(text, subtests):
    for body in [f"Žinutė 😀 {LINK}", f"{{€}}\n{LINK}&a=b+c%20d", "x" * 2000 + LINK]:
        with subtests.test(body=body):
            http = FakeCaller()

            await sms_sender(http).send(text(text=body))

            assert http.forms[0]["Body"] == body


LIMITED = [20429, 21611, 14107, 63017, 63038, 30022, 30023, 30027]
SET_UP = [20003, 20005, 10001, 21212, 21267, 21603, 21606, 21659, 21660, 21661, 21608, 21701, 21702, 21704, 21705]
SET_UP += [30002, 30032, 30033, 30034, 30035, 30037, 30038, 30044]
NUMBER = [21408, 21617, 21703, 21211, 21265, 21614, 21635, 21612, 21217, 21610]
NUMBER += [30004, 30005, 30006, 30007, 30008, 30018, 30024]
LATER = [30001, 30003, 30017, 30020, 30021, 30036, 30410, 30450]


async def test_a_code_has_its_kind_whatever_the_status(text, subtests):
    cases = [
        *((code, Kind.RATE_LIMITED) for code in LIMITED),
        *((code, Kind.AUTH) for code in SET_UP),
        *((code, Kind.BAD_INPUT) for code in NUMBER),
        *((code, Kind.TRANSIENT) for code in LATER),
    ]
    for status, (code, kind) in product([400, 401, 429, 500], cases):
        with subtests.test(status=status, code=code, kind=kind):
            problem = await answered(text, error(status, code, "some words"))

            assert (problem.kind, problem.code, problem.status) == (kind, str(code), status)
            assert problem.words == "some words"
            assert "some words" not in problem.detail


def test_no_code_of_the_table_is_without_a_test():
    assert set(TEXTS) == {*LIMITED, *SET_UP, *NUMBER, *LATER}


async def test_without_a_known_code_the_status_decides(text, subtests):
    cases = [
        (429, Kind.RATE_LIMITED),
        (401, Kind.AUTH),
        (403, Kind.AUTH),
        (404, Kind.AUTH),
        (307, Kind.AUTH),
        (402, Kind.OUT_OF_CREDIT),
        (400, Kind.BAD_INPUT),
        (408, Kind.UNKNOWN),
        (500, Kind.UNKNOWN),
        (502, Kind.UNKNOWN),
        (503, Kind.UNKNOWN),
        (504, Kind.UNKNOWN),
    ]
    for status, kind in cases:
        with subtests.test(status=status):
            for answer in (error(status, 99999), error(status)):
                assert (await answered(text, answer)).kind is kind


async def test_an_answer_of_another_form_is_classified_too(text):
    cases = [
        (HttpAnswer(201, {}, b""), Kind.UNKNOWN),
        (HttpAnswer(201, {}, b"<html>"), Kind.UNKNOWN),
        (HttpAnswer(201, {}, b'{"sid": null}'), Kind.UNKNOWN),
        (HttpAnswer(201, {}, b'{"sid": "<script>"}'), Kind.UNKNOWN),
        (HttpAnswer(200, {}, b"[]"), Kind.UNKNOWN),
        (HttpAnswer(503, {}, b"<html>down</html>"), Kind.UNKNOWN),
        (HttpAnswer(429, {}, b"<html>slow down</html>"), Kind.RATE_LIMITED),
        (HttpAnswer(400, {}, b"<html>no</html>"), Kind.TRANSIENT),
        (HttpAnswer(400, {}, b'{"code": "21211", "message": 5}'), Kind.BAD_INPUT),
        (HttpAnswer(400, {}, b'{"code": true}'), Kind.BAD_INPUT),
    ]
    assert [(answer, got) for answer, kind in cases if (got := (await answered(text, answer)).kind) is not kind] == []


async def test_a_rate_limit_waits_as_long_as_it_says(text):
    cases = [
        (error(429, 20429, **{"retry-after": "7"}), timedelta(seconds=7)),
        (error(429, 20429, **{"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}), timedelta(seconds=30)),
        (error(429, 20429, **{"retry-after": "99999999"}), timedelta(hours=2)),
        (error(429, 20429, **{"retry-after": "soon"}), None),
        (error(429), None),
        (error(429, 63038, **{"retry-after": "7"}), timedelta(seconds=7)),
        (error(400, 21211, **{"retry-after": "7"}), None),
    ]
    assert [
        (answer, got) for answer, wait in cases if (got := (await answered(text, answer)).retry_after) != wait
    ] == []


async def test_the_daily_cap_is_asked_again_after_hours_not_seconds(text):
    assert HOURS <= (await answered(text, error(400, 63038))).retry_after <= 24 * HOURS


async def test_a_number_that_has_opted_out_ends_with_that_reason_and_its_code(text):
    problem = await answered(text, error(400, 21610, "Attempt to send to unsubscribed recipient +37060000001"))

    ending = ending_for(problem, attempt=1, repeatable=True, policy=RetryPolicy(), resume_at=NOW, now=NOW, jitter=0.5)
    assert isinstance(ending, Cancel)
    assert "opted out" in ending.detail
    assert problem.code == "21610"


async def test_an_account_that_twilio_has_suspended_stops_texts_before_any_session_is_bought(subtests):
    for status, stops in [("active", False), ("suspended", True), ("closed", True), (None, False), ({}, False)]:
        with subtests.test(status=status):
            shown = HttpAnswer(200, {}, json.dumps({"sid": ACCOUNT, "status": status}).encode())

            problem = await sms_sender(FakeCaller([shown])).preflight()

            found = problem and (problem.kind, problem.concerns_account, problem.detail)
            assert found == ((Kind.AUTH, True, f"Twilio: the account is {status}") if stops else None)


REFUSED, LISTED = error(403, 20003), HttpAnswer(200, {}, b'{"messages": []}')
SHOWN, SUSPENDED = (HttpAnswer(200, {}, json.dumps({"status": status}).encode()) for status in ("active", "suspended"))


async def test_an_api_key_that_may_not_see_the_account_is_tried_with_a_page_of_its_messages(subtests):
    for key, answers, stops in [
        ("SK1", [SHOWN], False),
        ("SK1", [SUSPENDED], True),
        ("SK1", [REFUSED, LISTED], False),
        ("SK1", [error(401, 20003), LISTED], False),
        ("SK1", [REFUSED, REFUSED], True),
        ("", [REFUSED], True),
    ]:
        with subtests.test(key=key, answers=[answer.status for answer in answers]):
            http = FakeCaller(answers)

            problem = await sms_sender(http, key=key).preflight()

            assert (problem is not None and problem.concerns_account, len(http.requests)) == (stops, len(answers))
            logins = {base64.b64decode(one.headers["Authorization"][6:]).decode() for one in http.requests}
            assert {login.partition(":")[0] for login in logins} == {key or ACCOUNT}


@pytest.mark.parametrize("status", [404, 405])
async def test_an_account_whose_page_is_not_there_warns_and_texts_go_out(status, caplog):
    assert await sms_sender(FakeCaller([error(status, 20404)])).preflight() is None
    assert [record.levelname for record in caplog.records] == ["WARNING"]


async def test_a_token_replaced_in_its_file_is_tried_once_before_the_channel_stops(text):
    http = FakeCaller([error(401, 20003), TAKEN])

    answer = await sms_sender(http, token=Token("old", next_="new")).send(text())

    logins = [base64.b64decode(request.headers["Authorization"][6:]).decode() for request in http.requests]
    assert isinstance(answer, Receipt)
    assert logins == [f"{ACCOUNT}:old", f"{ACCOUNT}:new"]


@pytest.mark.parametrize(
    ("answer", "token"), [(error(401, 20003), Token()), (error(400, 21606), Token("old", next_="new"))]
)
async def test_no_second_call_is_made_with_the_same_token_or_for_another_reason(text, answer, token):
    http = FakeCaller([answer])

    problem = await sms_sender(http, token=token).send(text())

    assert (problem.kind, len(http.requests)) == (Kind.AUTH, 1)


async def test_neither_number_link_nor_token_shows_in_a_problem(text):
    quoted = f"The 'To' number +37060000001 (37060000001) is not valid, body {LINK}, user +370 600 00001 " + "x " * 400

    problem = await answered(text, error(400, 21211, quoted))

    for secret in ("37060000001", "370 600", "t0k3n", "verify.example.com", "sandbox-token"):
        assert secret not in repr(problem) + problem.words
    assert "is not valid" in problem.words
    assert len(problem.words) < 220
    assert problem.detail == "Twilio HTTP 400 21211"


async def test_closing_closes_the_connections():
    http = FakeCaller()

    await sms_sender(http).close()

    assert http.closed == 1


# Against the sandbox, which reads Twilio's pages for itself.


async def test_a_message_arrives_as_it_was_written(text):
    async with Sandbox(SandboxOptions(clock=lambda: NOW)) as sandbox:
        sender = sms_sender(Http(), base_url=f"{sandbox.url}/twilio")
        receipt = await sender.send(text(text=f"Žinutė: {LINK}", valid_for=timedelta(hours=5)))
        await sender.close()

    (arrived,) = sandbox.texts
    assert receipt == Receipt(arrived.sid)
    assert (arrived.body, arrived.validity) == (f"Žinutė: {LINK}", 18_000)


async def test_what_the_sandbox_refuses_has_its_kind(text, subtests):
    cases = [
        ({"to": "+15005550001"}, Kind.BAD_INPUT, "21211"),
        ({"to": "+15005550002"}, Kind.BAD_INPUT, "21612"),
        ({"to": "+15005550003"}, Kind.BAD_INPUT, "21408"),
        ({"to": "+15005550004"}, Kind.BAD_INPUT, "21610"),
        ({"to": "+15005550009"}, Kind.BAD_INPUT, "21614"),
        ({"text": "x" * 1601}, Kind.BAD_INPUT, "21617"),
        ({"from_": "+15005550007"}, Kind.AUTH, "21606"),
        ({"from_": "+15005550008"}, Kind.RATE_LIMITED, "21611"),
        ({"token": Token("wrong")}, Kind.AUTH, "20003"),
    ]
    for changes, kind, code in cases:
        with subtests.test(changes=changes):
            fields = {name: value for name, value in changes.items() if name in ("to", "text")}
            settings = {name: value for name, value in changes.items() if name not in fields}
            async with Sandbox() as sandbox:
                sender = sms_sender(Http(), base_url=f"{sandbox.url}/twilio", **settings)
                problem = await sender.send(text(**fields))
                await sender.close()

            assert (problem.kind, problem.code) == (kind, code)


async def test_faults_on_the_way_are_classified_and_bounded(text, subtests):
    cases = [
        ("429", Kind.RATE_LIMITED, 0),
        ("500", Kind.UNKNOWN, 0),
        ("drop-before", Kind.UNKNOWN, 0),
        ("drop-after", Kind.UNKNOWN, 1),
        ("half-body", Kind.UNKNOWN, 1),
        ("html", Kind.UNKNOWN, 0),
        ("huge", Kind.UNKNOWN, 0),
        ("redirect", Kind.AUTH, 0),
        ("hang", Kind.UNKNOWN, 0),
    ]
    for fault, kind, taken in cases:
        with subtests.test(fault=fault):
            async with Sandbox(SandboxOptions(faults=(Fault(fault, 1.0, "twilio"),))) as sandbox:
                patience = timedelta(milliseconds=200) if fault == "hang" else timedelta(seconds=20)
                sender = sms_sender(Http(), base_url=f"{sandbox.url}/twilio", timeout=patience)
                problem = await sender.send(text())
                await sender.close()
                received = len(sandbox.log)

            assert isinstance(problem, Problem)
            assert (problem.kind, len(sandbox.texts), received) == (kind, taken, 1)


async def test_a_port_without_a_listener_is_unreachable(text):
    sender = sms_sender(Http(), base_url="http://127.0.0.1:1")

    problem = await sender.send(text())
    await sender.close()

    assert problem.unreachable
