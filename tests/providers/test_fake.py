import asyncio
from datetime import timedelta

from onboarding_testing.accounts import NOW, request
from onboarding_testing.fakes import HANG, FakeHttp, FakeProvider
from onboarding_worker.core.model.endings import Kind, Problem
from onboarding_worker.core.model.sessions import Session
from onboarding_worker.providers.contract import Broken, HttpAnswer

SOON = timedelta(seconds=1)


def read(provider, got):
    return provider.read(got, request(), issued_at=NOW, now=NOW)


async def test_outcomes_come_in_order_and_then_sessions():
    http, provider = FakeHttp([HttpAnswer(429, {"retry-after": "1"}), Broken(True, "cut off")]), FakeProvider()
    built = provider.build(request())

    first, second, third = [await http.call(built, timeout=SOON) for _ in range(3)]

    assert read(provider, first) == Problem(Kind.RATE_LIMITED, "HTTP 429", status=429, retry_after=SOON)
    assert provider.broken(second, request()).kind is Kind.UNKNOWN
    assert isinstance(read(provider, third), Session)
    assert http.requests == [built] * 3


async def test_each_session_has_a_token_of_its_own():
    http, provider = FakeHttp(), FakeProvider()

    sessions = [read(provider, await http.call(provider.build(request()), timeout=SOON)) for _ in range(3)]

    assert len({session.token for session in sessions}) == 3


async def test_outcomes_can_be_computed_from_the_request():
    async def slow(_):
        return HttpAnswer(503)

    assert (
        await FakeHttp(lambda r: HttpAnswer(len(r.body))).call(FakeProvider().build(request()), timeout=SOON)
    ).status
    assert await FakeHttp(slow).call(FakeProvider().build(request()), timeout=SOON) == HttpAnswer(503)


async def test_a_call_that_hangs_waits_until_it_is_released():
    http = FakeHttp([HANG, HANG])
    calls = [asyncio.create_task(http.call(FakeProvider().build(request()), timeout=SOON)) for _ in range(2)]
    await http.received(2)

    assert not any(call.done() for call in calls)
    http.release()

    assert [(await call).sent for call in calls] == [True, True]
    assert (http.in_flight, http.most_in_flight) == (0, 2)


async def test_a_call_that_hangs_can_be_cancelled():
    http = FakeHttp([HANG])
    call = asyncio.create_task(http.call(FakeProvider().build(request()), timeout=SOON))
    await http.received(1)

    call.cancel()
    await asyncio.wait([call])

    assert call.cancelled()
    assert http.in_flight == 0


def test_answers_given_beforehand_come_first():
    problem = Problem(Kind.RATE_LIMITED, "HTTP 429")
    provider = FakeProvider(answers=[problem])

    assert read(provider, FakeHttp().session(1)) is problem
    assert isinstance(read(provider, FakeHttp().session(1)), Session)


def test_a_fake_that_is_safe_to_repeat_knows_no_unknown():
    provider = FakeProvider(safe_to_repeat=True)

    assert provider.repeatable(request())
    assert provider.broken(Broken(True, "cut off"), request()).kind is Kind.TRANSIENT
