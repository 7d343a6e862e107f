"""The sandbox's Twilio: as strict as the real one, with its texts."""

from urllib.parse import urlencode

import aiohttp
import pytest

from onboarding_sandbox import Fault, Latency, RateLimit
from onboarding_sandbox.faults import wait_of
from tests.sandbox.customers import basic

ACCOUNT = "AC00000000000000000000000000000001"
SERVICE = "MG00000000000000000000000000000001"
PATH = f"/twilio/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
TEXT = {"To": "+37060000001", "From": "+15005550006", "Body": "Example Bank: https://verify.example.com/s?t=t0k3n"}


LOGIN = f"{ACCOUNT}:sandbox-token"


async def post(caller, *, path: str = PATH, login: str = LOGIN, raw=None, **changes):
    fields = {name: value for name, value in {**TEXT, **changes}.items() if value is not None}
    headers = {**basic(login), "Content-Type": "application/x-www-form-urlencoded"}
    return await caller.ask("POST", path, headers=headers, data=urlencode(fields) if raw is None else raw)


async def listed(caller, **query: str):
    params = {name.replace("_", ">"): value for name, value in query.items()}
    return await caller.ask("GET", PATH, headers=basic(LOGIN), params=params)


async def test_a_text_is_accepted_and_shown_with_its_content(caller):
    status, _, said = await post(caller, ValidityPeriod="3600", StatusCallback="https://example.com/callbacks/sms")

    (text,) = caller.sandbox.texts
    assert (status, said["status"], said["error_code"]) == (201, "queued", None)
    assert (said["sid"], said["body"], said["to"]) == (text.sid, TEXT["Body"], TEXT["To"])
    assert (text.to, text.sender, text.body) == (TEXT["To"], TEXT["From"], TEXT["Body"])
    assert (text.validity, text.callback) == (3600, "https://example.com/callbacks/sms")
    assert said["date_created"] == "Fri, 20 Nov 2026 12:00:00 +0000"


async def test_an_accepted_text_is_in_the_log_and_under_texts(caller):
    _, _, said = await post(caller)
    await post(caller, To="+37060000002")

    _, _, shown = await caller.ask("GET", "/_sandbox/texts", params={"to": "+37060000001"})
    (entry, _) = caller.sandbox.log
    assert [(text["n"], text["sid"], text["segments"]) for text in shown] == [(1, said["sid"], 1)]
    assert (entry["endpoint"], entry["status"], entry["processed"]) == ("twilio", 201, True)
    assert (entry["client"], entry["reference"]) == ("+37060000001", said["sid"])


async def test_the_page_for_people_shows_a_text_as_text(caller):
    await post(caller, Body="<script>1</script>")

    _, _, page = await caller.ask("GET", "/")

    assert "&lt;script&gt;1" in page
    assert "1 text messages" in page


async def test_a_messaging_service_accepts_and_chooses_the_number_later(caller):
    status, _, said = await post(caller, From=None, MessagingServiceSid=SERVICE)

    assert (status, said["status"]) == (201, "accepted")
    assert (said["from"], said["messaging_service_sid"], said["num_segments"]) == (None, SERVICE, "0")


async def test_an_error_is_refused_with_its_code(caller, subtests):
    for changes, code in [
        ({"To": None}, 21604),
        ({"To": "060000001"}, 21211),
        ({"To": "+15005550001"}, 21211),
        ({"To": "+15005550002"}, 21612),
        ({"To": "+15005550003"}, 21408),
        ({"To": "+15005550004"}, 21610),
        ({"To": "+15005550009"}, 21614),
        ({"From": None}, 21603),
        ({"From": "+15005550007"}, 21606),
        ({"From": "+15005550008"}, 21611),
        ({"From": "+37069999999"}, 21606),
        ({"From": None, "MessagingServiceSid": "MG" + "9" * 32}, 21701),
        ({"Body": None}, 21602),
        ({"Body": ""}, 21602),
        ({"Body": "x" * 1601}, 21617),
        ({"ValidityPeriod": "0"}, 21624),
        ({"ValidityPeriod": "36001"}, 21624),
        ({"ValidityPeriod": "soon"}, 21624),
        ({"Boddy": "a slip"}, 20001),
    ]:
        with subtests.test(changes=changes, code=code):
            status, _, said = await post(caller, **changes)

            assert (status, said["status"], said["code"]) == (400, 400, code)
            assert said["more_info"].endswith(f"/{code}")
            assert len(caller.sandbox.texts) == 0


@pytest.mark.parametrize("raw", [b'{"To": "+37060000001"}', b"To=+370&To=+371", b"Body=%ff", b"\xff"])
async def test_a_body_that_is_no_form_is_refused(caller, raw):
    status, _, said = await post(caller, raw=raw)

    assert (status, said["code"]) == (400, 20001)


async def test_1600_characters_are_accepted(caller):
    status, _, said = await post(caller, Body="x" * 1600)

    assert (status, said["num_segments"]) == (201, "11")


@pytest.mark.parametrize("login", [f"{ACCOUNT}:wrong", "AC1:sandbox-token", ""])
async def test_a_wrong_login_is_20003(caller, login):
    status, _, said = await post(caller, login=login)

    assert (status, said["code"], said["message"]) == (401, 20003, "Authenticate")


async def test_another_accounts_address_is_not_found(caller):
    status, _, said = await post(caller, path=PATH.replace(ACCOUNT, "AC2"))

    assert (status, said["code"]) == (404, 20404)


async def test_a_number_that_has_opted_out_is_21610(start):
    caller = await start(twilio_opted_out=frozenset({"+37060000001"}))

    _, _, said = await post(caller)

    assert said["code"] == 21610


async def test_the_listing_finds_a_numbers_texts_newest_first(caller, clock):
    first = (await post(caller))[2]["sid"]
    clock.forward(hours=1)
    second = (await post(caller))[2]["sid"]
    await post(caller, To="+37060000002")

    status, _, said = await listed(caller, To="+37060000001")

    assert (status, [one["sid"] for one in said["messages"]]) == (200, [second, first])
    assert {one["status"] for one in said["messages"]} == {"delivered"}
    assert said["next_page_uri"] is None


async def test_the_listing_selects_by_days_and_times(caller, clock):
    await post(caller)
    clock.forward(days=1)
    late = (await post(caller))[2]["sid"]

    (_, _, day), (_, _, since) = (
        await listed(caller, DateSent="2026-11-21"),
        await listed(caller, DateSent_="2026-11-20T12:00:01Z"),
    )

    assert [one["sid"] for one in day["messages"]] == [one["sid"] for one in since["messages"]] == [late]


async def test_the_listing_comes_in_pages(caller):
    for _ in range(3):
        await post(caller)

    _, _, first = await listed(caller, PageSize="2")
    _, _, last = await caller.ask("GET", "/twilio" + first["next_page_uri"], headers=basic(LOGIN))

    assert (len(first["messages"]), len(last["messages"]), last["next_page_uri"]) == (2, 1, None)


@pytest.mark.parametrize("query", [{"PageSize": "many"}, {"PageSize": "0"}, {"DateSent": "yesterday"}])
async def test_a_listing_that_cannot_be_read_is_refused(caller, query):
    await post(caller)

    status, _, said = await listed(caller, **query)

    assert (status, said["code"]) == (400, 20001)


async def test_another_method_is_refused(caller):
    status, headers, _ = await caller.ask("DELETE", PATH, headers=basic(LOGIN))

    assert (status, headers["Allow"]) == (405, "POST")


async def test_faults_that_name_it_concern_it_and_those_that_name_nothing_do_not(start):
    spared = await start(faults=(Fault("500", 1.0),))
    struck = await start(faults=(Fault("500", 1.0, "twilio"),))

    assert (await post(spared))[0] == 201
    assert (await post(struck))[0] == 500
    assert (await spared.idenfy())[0] == 500
    assert (len(spared.sandbox.texts), len(struck.sandbox.texts)) == (1, 0)


async def test_a_text_that_was_accepted_before_the_connection_broke_is_kept(start):
    caller = await start(faults=(Fault("half-body", 1.0, "twilio"),))

    with pytest.raises(aiohttp.ClientPayloadError):
        await post(caller)

    assert len(caller.sandbox.texts) == 1


async def test_limits_that_name_it_are_enforced_with_20429(start):
    caller = await start(limits=(RateLimit(1, "twilio"),))

    answers = [await post(caller) for _ in range(2)]

    assert [status for status, _, _ in answers] == [201, 429]
    assert (answers[1][1]["Retry-After"], answers[1][2]["code"]) == ("1", 20429)


async def test_a_limit_that_names_nothing_is_the_identity_providers(start):
    caller = await start(limits=(RateLimit(1),))

    assert [(await post(caller))[0] for _ in range(3)] == [201, 201, 201]


def test_a_latency_that_names_nothing_is_the_identity_providers():
    general = (Latency.parse("80ms"),)

    assert wait_of("twilio", general) == 0
    assert wait_of("twilio", (*general, Latency.parse("twilio=1s"))) == 1


def test_idenfys_quota_is_not_twilios():
    with pytest.raises(ValueError, match="iDenfy's"):
        Fault.parse("400-too-many:1,endpoint=twilio")


async def test_a_reset_forgets_the_texts(caller):
    await post(caller)

    await caller.ask("POST", "/_sandbox/reset")

    assert len(caller.sandbox.texts) == 0
