"""A token that is replaced in its file while messages are handed over."""

import asyncio
import base64
from datetime import timedelta

import pytest

from onboarding_worker.core.model.endings import Kind
from onboarding_worker.senders.contract import Receipt
from tests.senders.far_side import ACCOUNT, TAKEN, Token, error, sms_sender


@pytest.fixture
def text(message):
    return lambda: message(to="+37060000001", text="Welcome")


class Rotated:
    """Refuses the old token, each call only when `all_here` calls are in flight."""

    def __init__(self, all_here=1, late=0.0):
        self.all_here = asyncio.Barrier(all_here)
        self.late = late  # seconds
        self.timeouts = []

    async def call(self, request, *, timeout, may_write):  # noqa: ASYNC109
        self.timeouts.append(timeout)
        if base64.b64decode(request.headers["Authorization"][6:]).decode() == f"{ACCOUNT}:new":
            return TAKEN
        await self.all_here.wait()
        await asyncio.sleep(self.late)
        return error(401, 20003)

    async def close(self):
        pass


async def test_all_messages_in_flight_with_the_old_token_are_handed_over_with_the_new(text):
    sender = sms_sender(Rotated(all_here=5), token=Token("old", next_="new"))

    answers = await asyncio.gather(*(sender.send(text()) for _ in range(5)))

    assert [type(answer) for answer in answers] == [Receipt] * 5


async def test_both_calls_share_one_time_out(text):
    http = Rotated(late=0.02)

    answer = await sms_sender(http, token=Token("old", next_="new"), timeout=timedelta(hours=1)).send(text())

    first, second = http.timeouts
    assert isinstance(answer, Receipt)
    assert first == timedelta(hours=1)
    assert timedelta(minutes=30) <= second < first


async def test_a_refusal_that_took_the_time_out_leaves_the_message_for_later(text):
    http = Rotated(late=0.02)

    problem = await sms_sender(http, token=Token("old", next_="new"), timeout=timedelta(milliseconds=10)).send(text())

    assert (problem.kind, problem.concerns_account, len(http.timeouts)) == (Kind.TRANSIENT, False, 1)
