"""The limits that the sandbox enforces by itself, and how long its answers take."""

from datetime import timedelta
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from onboarding_sandbox import Latency, RateLimit, SandboxOptions
from onboarding_sandbox.faults import wait_of
from tests.sandbox.customers import FRANKIEONE, KYC, basic

TENTH = aiohttp.ClientTimeout(total=0.1)


async def statuses(caller, count: int) -> list[int]:
    return [(await caller.idenfy())[0] for _ in range(count)]


async def test_a_bucket_holds_one_seconds_rate(start, clock):
    caller = await start(limits=(RateLimit.parse("5/second"),))
    assert await statuses(caller, 7) == [201] * 5 + [429] * 2

    clock.forward(milliseconds=400)
    assert await statuses(caller, 3) == [201, 201, 429]

    clock.forward(minutes=10)
    assert await statuses(caller, 6) == [201] * 5 + [429]


async def test_calls_at_an_even_pace_are_all_accepted(start, clock):
    caller = await start(limits=(RateLimit.parse("3/second"),))
    for _ in range(30):
        assert (await caller.idenfy())[0] == 201
        clock.forward(seconds=1 / 3, microseconds=1)


async def test_of_an_hourly_limit_the_calls_of_the_last_hour_are_counted(start, clock):
    caller = await start(limits=(RateLimit.parse("3/hour"),))
    assert await statuses(caller, 1) == [201]
    clock.forward(minutes=40)
    assert await statuses(caller, 3) == [201, 201, 429]
    clock.forward(minutes=20)
    assert await statuses(caller, 2) == [201, 429]
    clock.forward(minutes=40)
    assert await statuses(caller, 3) == [201, 201, 429]


async def test_a_call_refused_by_a_limit_is_in_the_log_without_a_fault(start):
    caller = await start(limits=(RateLimit.parse("1/second"),))
    await caller.idenfy()
    _, headers, body = await caller.idenfy({"clientId": "c-7"})
    assert body["identifier"] == "TOO_MANY_REQUESTS"
    assert headers["Retry-After"] == "1"
    entry = caller.sandbox.log[-1]
    assert (entry["status"], entry["fault"], entry["processed"], entry["client"]) == (429, None, False, "c-7")


async def test_the_strictest_of_several_limits_counts(start, clock):
    caller = await start(limits=(RateLimit.parse("10/second"), RateLimit.parse("60/minute")))
    assert await statuses(caller, 2) == [201, 429]
    # A call that one limit refuses is not counted by the other.
    clock.forward(seconds=1)
    assert await statuses(caller, 1) == [201]


async def test_endpoints_of_one_provider_share_its_limit(start):
    caller = await start(limits=(RateLimit.parse("2/second"),))
    assert (await caller.idenfy())[0] == 201
    assert (await caller.listing())[0] == 200
    assert (await caller.listing())[0] == 429
    assert (await caller.frankieone())[0] == 200


async def test_a_limit_can_be_one_endpoints(start):
    caller = await start(limits=(RateLimit.parse("frankieone-v2=1/second"),))
    assert await statuses(caller, 3) == [201] * 3
    assert [(await caller.frankieone())[0] for _ in range(2)] == [200, 429]


async def test_each_credential_has_a_bucket_of_its_own(start):
    caller = await start(limits=(RateLimit.parse("1/second"),))
    child = {"X-Frankie-CustomerChildID": "22222222-2222-4222-8222-222222222222"}
    assert (await caller.frankieone())[0] == 200
    assert (await caller.frankieone(headers={**FRANKIEONE, **child}))[0] == 200
    assert (await caller.frankieone())[0] == 429


async def test_calls_with_wrong_credentials_use_no_slot(start):
    caller = await start(limits=(RateLimit.parse("1/second"),))
    assert [(await caller.idenfy(login="a:b"))[0] for _ in range(3)] == [401] * 3
    assert (await caller.idenfy())[0] == 201


async def refusal(start, style: str) -> str | None:
    caller = await start(limits=(RateLimit.parse("1/minute"),), limit_retry_after=style)
    await caller.idenfy()
    _, headers, _ = await caller.idenfy()
    return headers.get("Retry-After")


async def test_a_refusal_has_a_retry_after_in_seconds(start):
    assert await refusal(start, "seconds") == "60"


async def test_a_refusal_can_have_a_retry_after_as_a_date_that_is_not_too_early(start, clock):
    value = await refusal(start, "date")
    assert timedelta(seconds=60) <= parsedate_to_datetime(value) - clock.now <= timedelta(seconds=62)


async def test_a_refusal_can_have_garbage_or_no_retry_after(start):
    assert not (await refusal(start, "garbage")).isdigit()
    assert await refusal(start, "none") is None


def test_another_style_is_refused():
    with pytest.raises(ValueError, match="seconds, date"):
        SandboxOptions(limit_retry_after="sometimes")


def test_an_invalid_limit_is_refused_with_what_is_expected(subtests):
    for text in ["", "50", "0/second", "5/fortnight", "-1/second", "smtp=5/second", "x=1/second"]:
        with subtests.test(text=text), pytest.raises(ValueError, match=r"expected a limit like|the endpoint is one of"):
            RateLimit.parse(text)


def test_a_latency_is_read_from_its_text():
    cases = {
        "80ms": Latency(timedelta(milliseconds=80)),
        "1.5s": Latency(timedelta(seconds=1.5)),
        "idenfy-kyc=8s": Latency(timedelta(seconds=8), "idenfy-kyc"),
    }
    assert {text: Latency.parse(text) for text in cases} == cases


def test_an_invalid_latency_is_refused_with_what_is_expected(subtests):
    for text in ["", "80", "fast", "-1s", "idenfy=8s"]:
        with subtests.test(text=text), pytest.raises(ValueError, match=r"expected a time like|the endpoint is one of"):
            Latency.parse(text)


def test_an_endpoints_own_latency_wins_over_the_general_one():
    latencies = (Latency.parse("idenfy-kyc=8s"), Latency.parse("80ms"))
    assert wait_of("idenfy-kyc", latencies) == 8
    assert wait_of("frankieone-v2", latencies) == 0.08
    assert wait_of("smtp", latencies) == 0


async def test_a_slow_answer_is_in_the_log_while_it_is_awaited(start):
    caller = await start(latencies=(Latency.parse("idenfy-kyc=60s"),))
    with pytest.raises(TimeoutError):
        # Long enough for the request to arrive, far too short for its answer.
        await caller.ask("POST", KYC, headers=basic(), data=b"{}", timeout=TENTH)
    (entry,) = caller.sandbox.log
    assert (entry["status"], entry["processed"]) == (None, False)
    assert (await caller.frankieone())[0] == 200
